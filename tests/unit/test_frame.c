/* Fields go in and come out; whatever else the bytes are, the reader says so and never runs over. */
#include "ipc/frame.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "base/err.h"

static int some_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static struct frame *sample(void)
{
	struct frame *frame = frame_new(NULL, FRAME_COMMIT);

	frame_put_bool(frame, true);
	frame_put_bool(frame, false);
	frame_put_number(frame, INT64_MIN);
	frame_put_number(frame, 77);
	frame_put_text(frame, TEXT("a\0b"));
	frame_put_text(frame, TEXT(""));
	frame_put_text(frame, TEXT("copy"));
	return frame;
}

/* Take the fields of sample() as a reader would; 0 when all of them are fine. */
static int take_sample(struct frame *frame)
{
	bool yes = frame_get_bool(frame), no = frame_get_bool(frame);
	int64_t least = frame_get_number(frame), number = frame_get_range(frame, 70, 80);
	struct text text = frame_get_text(frame), empty = frame_get_text(frame);
	char *copy = frame_get_copy(frame, frame);

	if (frame_done(frame) < 0)
		return ERR_FORMAT;
	return yes && !no && least == INT64_MIN && number == 77 && text_equal(text, TEXT("a\0b")) &&
			       empty.len == 0 && strcmp(copy, "copy") == 0
		       ? 0
		       : 1;
}

static void test_fields_come_out_as_they_went_in(void **state)
{
	struct frame *frame = sample();

	(void)state;
	assert_int_equal(frame->kind, FRAME_COMMIT);
	assert_int_equal(take_sample(frame), 0);
	talloc_free(frame);
}

static void test_a_frame_cut_at_any_byte_has_failed(void **state)
{
	(void)state;
	for (size_t len = 0;; len++) {
		struct frame *frame = sample();
		size_t whole = frame->len;

		if (len == whole) {
			talloc_free(frame);
			break;
		}
		frame->len = len;
		frame->at =
			text_must(talloc_realloc(frame, frame->at, uint8_t, (unsigned)MAX(len, (size_t)1)));
		assert_int_equal(take_sample(frame), ERR_FORMAT);
		assert_true(frame->failed);
		talloc_free(frame);
	}
}

static void test_a_field_left_over_is_a_failure(void **state)
{
	struct frame *frame = sample();

	(void)state;
	frame_put_bool(frame, true);
	assert_int_equal(take_sample(frame), ERR_FORMAT);
	talloc_free(frame);
}

/* One flipped bit changes a value or breaks the frame; it never reads out of bounds (the sanitizer watches). */
static void test_a_flipped_bit_is_harmless(void **state)
{
	struct frame *probe = sample();
	size_t bits = probe->len * 8;

	(void)state;
	talloc_free(probe);
	for (size_t bit = 0; bit < bits; bit++) {
		struct frame *frame = sample();

		frame->at[bit / 8] ^= (uint8_t)(1 << bit % 8);
		frame->at = text_must(talloc_realloc(frame, frame->at, uint8_t, (unsigned)frame->len));
		assert_int_not_equal(take_sample(frame), 0);
		talloc_free(frame);
	}
}

static void test_random_bytes_are_harmless(void **state)
{
	(void)state;
	srand(3);
	for (int i = 0; i < 5000; i++) {
		struct frame *frame = frame_new(NULL, FRAME_ANSWER);
		size_t len = (size_t)rand() % 60;

		frame->at = text_must(talloc_array(frame, uint8_t, (unsigned)MAX(len, (size_t)1)));
		frame->len = len;
		for (size_t n = 0; n < len; n++)
			frame->at[n] = (uint8_t)(rand() % 4 ? rand() % 3 : rand());
		for (int n = 0; n < 12; n++) {
			struct text text = TEXT("");

			switch (rand() % 5) {
			case 0:
				frame_get_bool(frame);
				break;
			case 1:
				frame_get_number(frame);
				break;
			case 2:
				text = frame_get_text(frame);
				break;
			case 3:
				text = text_of(frame_get_copy(frame, frame));
				break;
			case 4:
				assert_int_equal(frame_get_fd(frame), -1);
				break;
			}
			for (size_t c = 0; c < text.len; c++)
				(void)*(volatile const char *)(text.at + c);
		}
		talloc_free(frame);
	}
}

static void test_after_a_failure_every_get_gives_nothing(void **state)
{
	struct frame *frame = frame_new(NULL, FRAME_ANSWER);
	int fd = some_fd();

	(void)state;
	frame_put_fd(frame, fd);
	frame_put_bool(frame, true);
	assert_int_equal(frame_get_number(frame), 0);
	assert_true(frame->failed);
	assert_false(frame_get_bool(frame));
	assert_int_equal(frame_get_number(frame), 0);
	assert_int_equal(frame_get_range(frame, 5, 9), 5);
	assert_int_equal(frame_get_text(frame).len, 0);
	assert_string_equal(frame_get_copy(frame, frame), "");
	assert_int_equal(frame_get_fd(frame), -1);
	assert_int_equal(frame_done(frame), ERR_FORMAT);
	talloc_free(frame);
	assert_false(is_open(fd));
}

static void test_ranges_and_bools_are_checked(void **state)
{
	static const struct {
		int64_t value;
		bool fine;
	} cases[] = { { 4, false }, { 5, true }, { 9, true }, { 10, false }, { INT64_MIN, false },
		{ INT64_MAX, false } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct frame *frame = frame_new(NULL, FRAME_ANSWER);

		frame_put_number(frame, cases[i].value);
		assert_int_equal(frame_get_range(frame, 5, 9), cases[i].fine ? cases[i].value : 5);
		assert_int_equal(frame->failed, !cases[i].fine);
		talloc_free(frame);
	}
	for (int byte = 0; byte < 256; byte++) {
		struct frame *frame = frame_new(NULL, FRAME_ANSWER);

		frame_put_bool(frame, true);
		frame->at[0] = (uint8_t)byte;
		assert_int_equal(frame_get_bool(frame), byte == 1);
		assert_int_equal(frame->failed, byte > 1);
		talloc_free(frame);
	}
}

static void test_a_body_grows_to_its_limit_and_no_further(void **state)
{
	static char block[1024 * 1024];
	struct frame *frame = frame_new(NULL, FRAME_COMMIT);

	(void)state;
	for (int i = 0; i < 63; i++)
		frame_put_text(frame, (struct text){ block, sizeof block });
	assert_false(frame->failed);
	frame_put_text(frame, (struct text){ block, sizeof block - 64 * 4 });
	assert_false(frame->failed);
	assert_int_equal(frame->len, FRAME_BODY_MAX);
	frame_put_bool(frame, true);
	assert_true(frame->failed);
	assert_int_equal(frame->len, FRAME_BODY_MAX);
	talloc_free(frame);

	frame = frame_new(NULL, FRAME_COMMIT);
	frame_put_text(frame, (struct text){ block, FRAME_BODY_MAX + 1 });
	assert_true(frame->failed);
	talloc_free(frame);
}

static void test_descriptors_are_owned_by_the_frame_until_they_are_taken(void **state)
{
	struct frame *frame = frame_new(NULL, FRAME_ANSWER);
	int first = some_fd(), second = some_fd();

	(void)state;
	frame_put_fd(frame, first);
	frame_put_fd(frame, second);
	assert_int_equal(frame_done(frame), ERR_FORMAT);
	assert_int_equal(frame_get_fd(frame), first);
	talloc_free(frame);
	assert_true(is_open(first));
	assert_false(is_open(second));
	close(first);
}

static void test_one_descriptor_too_many_is_closed_and_a_failure(void **state)
{
	struct frame *frame = frame_new(NULL, FRAME_ANSWER);
	int fd = some_fd();

	(void)state;
	for (int i = 0; i < FRAME_FDS_MAX; i++)
		frame_put_fd(frame, some_fd());
	assert_false(frame->failed);
	frame_put_fd(frame, fd);
	assert_true(frame->failed);
	assert_false(is_open(fd));
	talloc_free(frame);

	frame = frame_new(NULL, FRAME_ANSWER);
	frame_put_fd(frame, -1);
	assert_true(frame->failed);
	talloc_free(frame);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields_come_out_as_they_went_in),
		cmocka_unit_test(test_a_frame_cut_at_any_byte_has_failed),
		cmocka_unit_test(test_a_field_left_over_is_a_failure),
		cmocka_unit_test(test_a_flipped_bit_is_harmless),
		cmocka_unit_test(test_random_bytes_are_harmless),
		cmocka_unit_test(test_after_a_failure_every_get_gives_nothing),
		cmocka_unit_test(test_ranges_and_bools_are_checked),
		cmocka_unit_test(test_a_body_grows_to_its_limit_and_no_further),
		cmocka_unit_test(test_descriptors_are_owned_by_the_frame_until_they_are_taken),
		cmocka_unit_test(test_one_descriptor_too_many_is_closed_and_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
