/* The data stream: what ends it, what comes out, and that cutting it anywhere changes nothing. */
#include "wire/mail_data.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/base.h"

enum { ROOM = 256 };

struct decoded {
	char out[ROOM];
	size_t len, taken;
	struct mail_data_in in;
};

/* Feed `t` in an exactly sized buffer into an exactly sized one, so that ASan sees a byte too many. */
static void feed(struct decoded *d, struct text t)
{
	char *input = test_malloc(t.len + 1), *out = test_malloc(t.len + 2);
	size_t len;

	memcpy(input, t.at, t.len);
	d->taken += mail_data_in_take(&d->in, (struct text){ input, t.len }, out, &len);
	assert_true(len <= t.len + 2 && d->len + len <= ROOM);
	memcpy(d->out + d->len, out, len);
	d->len += len;
	test_free(input);
	test_free(out);
}

static void same_decoded(const char *name, const struct decoded *a, const struct decoded *b)
{
	if (!text_equal((struct text){ a->out, a->len }, (struct text){ b->out, b->len }) ||
		a->taken != b->taken || a->in.ended != b->in.ended || a->in.bare_lf != b->in.bare_lf ||
		a->in.bare_cr != b->in.bare_cr || a->in.eight_bit != b->in.eight_bit ||
		a->in.longest_line != b->in.longest_line)
		fail_msg("%s: another result when cut", name);
}

/* Decode in one piece, in every two pieces, and byte by byte; all must agree. */
static struct decoded decode(const char *name, struct text t)
{
	struct decoded whole = { .in = mail_data_in_start() }, bytes = { .in = mail_data_in_start() };

	feed(&whole, t);
	for (size_t cut = 0; cut <= t.len; cut++) {
		struct decoded halves = { .in = mail_data_in_start() };

		feed(&halves, text_first(t, cut));
		feed(&halves, text_from(t, cut));
		same_decoded(name, &whole, &halves);
	}
	for (size_t i = 0; i < t.len; i++)
		feed(&bytes, text_first(text_from(t, i), 1));
	same_decoded(name, &whole, &bytes);
	return whole;
}

enum flags { ENDED = 1 << 0, BARE_LF = 1 << 1, BARE_CR = 1 << 2 };

static const struct {
	const char *name;
	struct text input, want;
	unsigned flags;
	size_t rest; /* bytes behind the end mark */
} ins[] = {
	{ "an empty message", TEXT(".\r\n"), TEXT(""), ENDED, 0 },
	{ "an empty line", TEXT("\r\n.\r\n"), TEXT("\r\n"), ENDED, 0 },
	{ "the CRLF before the mark belongs to the message", TEXT("a\r\n.\r\n"), TEXT("a\r\n"), ENDED, 0 },
	{ "what follows the mark is left alone", TEXT("a\r\n.\r\nQUIT\r\n"), TEXT("a\r\n"), ENDED, 6 },
	{ "a stuffed dot", TEXT("..\r\n.\r\n"), TEXT(".\r\n"), ENDED, 0 },
	{ "one dot only is taken out", TEXT("...a\r\n.\r\n"), TEXT("..a\r\n"), ENDED, 0 },
	{ "a dot before a word goes too", TEXT("a\r\n.b\r\n.\r\n"), TEXT("a\r\nb\r\n"), ENDED, 0 },
	{ "dots inside a line stay", TEXT("a.b.\r\n.\r\n"), TEXT("a.b.\r\n"), ENDED, 0 },
	{ "a line that ends in a dot does not end the data", TEXT("a.\r\n"), TEXT("a.\r\n"), 0, 0 },
	{ "1.28 a dot far inside a line stays", TEXT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.\r\n.\r\n"),
		TEXT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.\r\n"), ENDED, 0 },
	{ "a bare LF is passed on and noticed", TEXT("a\nb\r\n.\r\n"), TEXT("a\nb\r\n"), ENDED | BARE_LF, 0 },
	{ "a bare CR is passed on and noticed", TEXT("a\rb\r\n.\r\n"), TEXT("a\rb\r\n"), ENDED | BARE_CR, 0 },
	{ "LF CR is both", TEXT("a\n\rb\r\n.\r\n"), TEXT("a\n\rb\r\n"), ENDED | BARE_LF | BARE_CR, 0 },
	{ "CR CR LF has a bare CR and ends the line", TEXT("a\r\r\n.\r\n"), TEXT("a\r\r\n"), ENDED | BARE_CR,
		0 },
	{ "a dot after CR CR LF is at the start of a line", TEXT("\r\r\n..\r\n.\r\n"), TEXT("\r\r\n.\r\n"),
		ENDED | BARE_CR, 0 },
	{ "dot CR X: the dot was stuffing", TEXT("a\r\n.\rX\r\n.\r\n"), TEXT("a\r\n\rX\r\n"), ENDED | BARE_CR,
		0 },
	{ "dot CR dot CR LF is no mark", TEXT(".\r.\r\n"), TEXT("\r.\r\n"), BARE_CR, 0 },
	{ "NUL and 8-bit bytes pass", TEXT("\0\xff\r\n.\r\n"), TEXT("\0\xff\r\n"), ENDED, 0 },
	{ "an unfinished CR is no bare CR yet", TEXT("a\r"), TEXT("a\r"), 0, 0 },
	{ "a CR behind a dot is held back", TEXT("a\r\n.\r"), TEXT("a\r\n"), 0, 0 },

	/* Conformance 1.22: each stands in the middle of data, with a smuggled command behind it. */
	{ "1.22 LF dot LF", TEXT("a\n.\nM\r\n"), TEXT("a\n.\nM\r\n"), BARE_LF, 0 },
	{ "1.22 LF dot CR LF", TEXT("a\n.\r\nM\r\n"), TEXT("a\n.\r\nM\r\n"), BARE_LF, 0 },
	{ "1.22 CR LF dot LF", TEXT("a\r\n.\nM\r\n"), TEXT("a\r\n\nM\r\n"), BARE_LF, 0 },
	{ "1.22 CR dot CR", TEXT("a\r.\rM\r\n"), TEXT("a\r.\rM\r\n"), BARE_CR, 0 },
	{ "1.22 CR LF dot CR", TEXT("a\r\n.\rM\r\n"), TEXT("a\r\n\rM\r\n"), BARE_CR, 0 },
	{ "1.22 CR dot CR LF", TEXT("a\r.\r\nM\r\n"), TEXT("a\r.\r\nM\r\n"), BARE_CR, 0 },
	{ "1.22 CR LF dot CR CR LF", TEXT("a\r\n.\r\r\nM\r\n"), TEXT("a\r\n\r\r\nM\r\n"), BARE_CR, 0 },
	{ "1.22 CR LF NUL dot CR LF", TEXT("a\r\n\0.\r\nM\r\n"), TEXT("a\r\n\0.\r\nM\r\n"), 0, 0 },
	{ "1.22 CR LF dot NUL CR LF", TEXT("a\r\n.\0\r\nM\r\n"), TEXT("a\r\n\0\r\nM\r\n"), 0, 0 },
	{ "1.22 CR LF dot blank CR LF", TEXT("a\r\n. \r\nM\r\n"), TEXT("a\r\n \r\nM\r\n"), 0, 0 },
	{ "1.22 LF CR dot CR LF", TEXT("a\n\r.\r\nM\r\n"), TEXT("a\n\r.\r\nM\r\n"), BARE_LF | BARE_CR, 0 },
	{ "1.22 LF LF dot LF LF", TEXT("a\n\n.\n\nM\r\n"), TEXT("a\n\n.\n\nM\r\n"), BARE_LF, 0 },
};

static void test_1_22_only_crlf_dot_crlf_ends_data(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(ins); i++) {
		struct decoded d = decode(ins[i].name, ins[i].input);
		unsigned flags = (d.in.ended ? ENDED : 0) | (d.in.bare_lf ? BARE_LF : 0) |
				 (d.in.bare_cr ? BARE_CR : 0);

		if (flags != ins[i].flags || d.taken != ins[i].input.len - ins[i].rest)
			fail_msg("%s: flags %u, %zu taken", ins[i].name, flags, d.taken);
		if (!text_equal((struct text){ d.out, d.len }, ins[i].want))
			fail_msg("%s: \"" TEXT_FMT "\" came out", ins[i].name, (int)d.len, d.out);
	}
}

/* Every string of up to seven bytes over { CR, LF, dot, a }: the data ends where the mark first stands, and
 * nowhere else. */
static void test_1_22_all_short_streams_end_only_at_the_mark(void **state)
{
	static const char alphabet[] = { '\r', '\n', '.', 'a' };

	(void)state;
	for (unsigned number = 0; number < 1u << 14; number++) {
		char stream[2 + 7] = "\r\n", out[16];
		struct mail_data_in in = mail_data_in_start();
		size_t len;

		for (unsigned i = 0; i < 7; i++)
			stream[2 + i] = alphabet[number >> (2 * i) & 3];
		const char *mark = memmem(stream, sizeof stream, "\r\n.\r\n", 5);
		size_t want = mark == NULL ? 7 : (size_t)(mark + 5 - stream) - 2;
		size_t taken = mail_data_in_take(&in, (struct text){ stream + 2, 7 }, out, &len);

		assert_int_equal(taken, want);
		assert_int_equal(in.ended, mark != NULL);
	}
}

static void test_nothing_is_taken_after_the_end(void **state)
{
	struct mail_data_in in = mail_data_in_start();
	char out[16];
	size_t len;

	(void)state;
	assert_int_equal(mail_data_in_take(&in, TEXT(".\r\n"), out, &len), 3);
	assert_int_equal(mail_data_in_take(&in, TEXT("abc"), out, &len), 0);
	assert_int_equal(len, 0);
}

static void test_1_29_the_longest_line_and_8_bit_bytes_are_noticed(void **state)
{
	static const struct {
		struct text input;
		size_t longest;
		bool eight_bit;
	} cases[] = {
		{ TEXT(".\r\n"), 0, false },
		{ TEXT("\r\n.\r\n"), 0, false },
		{ TEXT("abc\r\nab\r\n.\r\n"), 3, false },
		{ TEXT("ab\r\nabc"), 3, false },
		{ TEXT("..bc\r\n.\r\n"), 3, false },
		{ TEXT(".\rbc\r\n.\r\n"), 2, false },
		{ TEXT("ab\nabcd\rabc\r\n.\r\n"), 4, false },
		{ TEXT("a\0b\r\n.\r\n"), 3, false },
		{ TEXT("\xc3\xa4\r\n.\r\n"), 2, true },
		{ TEXT("\r\n.\x80"), 1, true },
		{ TEXT("\x7f\r\n.\r\n\xff"), 1, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct decoded d = decode("lines", cases[i].input);

		if (d.in.longest_line != cases[i].longest || d.in.eight_bit != cases[i].eight_bit)
			fail_msg("case %zu: %zu, %d", i, d.in.longest_line, d.in.eight_bit);
	}
}

static void test_1_33_1_37_chunks_are_looked_at_and_dots_mean_nothing(void **state)
{
	static const struct {
		struct text chunks[3];
		bool bare_lf, bare_cr, eight_bit;
		size_t longest;
	} cases[] = {
		{ { TEXT(".\r\n"), TEXT(".\r\n"), TEXT(".") }, false, false, false, 1 },
		{ { TEXT("ab\r"), TEXT("\ncde"), TEXT("f\r\n") }, false, false, false, 4 },
		{ { TEXT("ab\r"), TEXT(""), TEXT("\n") }, false, false, false, 2 },
		{ { TEXT("ab\r"), TEXT("cd\r"), TEXT("\n") }, false, true, false, 2 },
		{ { TEXT("ab"), TEXT("\n"), TEXT("c\xff") }, true, false, true, 2 },
		{ { TEXT(".\r"), TEXT("\n.\r"), TEXT("\nabc") }, false, false, false, 3 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mail_data_in in = mail_data_in_start();

		for (size_t j = 0; j < 3; j++)
			mail_data_in_look(&in, cases[i].chunks[j]);
		if (in.ended || in.bare_lf != cases[i].bare_lf || in.bare_cr != cases[i].bare_cr ||
			in.eight_bit != cases[i].eight_bit || in.longest_line != cases[i].longest)
			fail_msg("case %zu", i);
	}
}

struct encoded {
	char out[ROOM];
	size_t len;
	struct mail_data_out state;
};

static void push(struct encoded *e, struct text t)
{
	char *input = test_malloc(t.len + 1), *out = test_malloc(2 * t.len + 2);

	memcpy(input, t.at, t.len);
	size_t len = mail_data_out_take(&e->state, (struct text){ input, t.len }, out);
	assert_true(len <= 2 * t.len + 2 && e->len + len + 8 <= ROOM);
	memcpy(e->out + e->len, out, len);
	e->len += len;
	test_free(input);
	test_free(out);
}

static void finish(struct encoded *e)
{
	char *out = test_malloc(8);
	size_t len = mail_data_out_end(&e->state, out);

	memcpy(e->out + e->len, out, len);
	e->len += len;
	test_free(out);
}

static struct encoded encode_from(const char *name, struct mail_data_out start, struct text t)
{
	struct encoded whole = { .state = start }, bytes = { .state = start };

	push(&whole, t);
	finish(&whole);
	for (size_t cut = 0; cut <= t.len; cut++) {
		struct encoded halves = { .state = start };

		push(&halves, text_first(t, cut));
		push(&halves, text_from(t, cut));
		finish(&halves);
		if (!text_equal(
			    (struct text){ whole.out, whole.len }, (struct text){ halves.out, halves.len }))
			fail_msg("%s: another result when cut after %zu", name, cut);
	}
	for (size_t i = 0; i < t.len; i++)
		push(&bytes, text_first(text_from(t, i), 1));
	finish(&bytes);
	if (!text_equal((struct text){ whole.out, whole.len }, (struct text){ bytes.out, bytes.len }))
		fail_msg("%s: another result byte by byte", name);
	return whole;
}

static struct encoded encode(const char *name, struct text t)
{
	return encode_from(name, mail_data_out_start(), t);
}

static const struct {
	const char *name;
	struct text input, want;
} outs[] = {
	{ "nothing", TEXT(""), TEXT(".\r\n") },
	{ "a line", TEXT("a\r\n"), TEXT("a\r\n.\r\n") },
	{ "1.37 a line without its end", TEXT("a"), TEXT("a\r\n.\r\n") },
	{ "a dot alone", TEXT("."), TEXT("..\r\n.\r\n") },
	{ "1.27 a line of one dot comes first", TEXT(".\r\na\r\n"), TEXT("..\r\na\r\n.\r\n") },
	{ "a dot at the start of each line", TEXT(".a\r\n..b\r\n"), TEXT("..a\r\n...b\r\n.\r\n") },
	{ "dots inside a line", TEXT("a.b.\r\n"), TEXT("a.b.\r\n.\r\n") },
	{ "1.25 a bare LF becomes CRLF", TEXT("a\nb"), TEXT("a\r\nb\r\n.\r\n") },
	{ "1.25 a bare CR becomes CRLF", TEXT("a\rb"), TEXT("a\r\nb\r\n.\r\n") },
	{ "a CR at the end is a line end", TEXT("a\r"), TEXT("a\r\n.\r\n") },
	{ "two CRs are two line ends", TEXT("a\r\r"), TEXT("a\r\n\r\n.\r\n") },
	{ "CR CR LF is two line ends", TEXT("a\r\r\nb"), TEXT("a\r\n\r\nb\r\n.\r\n") },
	{ "1.26 LF dot LF is stuffed", TEXT("a\n.\nb"), TEXT("a\r\n..\r\nb\r\n.\r\n") },
	{ "1.26 CR dot CR is stuffed", TEXT("a\r.\rb"), TEXT("a\r\n..\r\nb\r\n.\r\n") },
	{ "1.26 LF dot CRLF is stuffed", TEXT("a\n.\r\nb"), TEXT("a\r\n..\r\nb\r\n.\r\n") },
	{ "empty lines", TEXT("\r\n\n\r\n"), TEXT("\r\n\r\n\r\n.\r\n") },
};

static void test_what_goes_out_is_stuffed_and_has_no_bare_cr_or_lf(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(outs); i++) {
		struct encoded e = encode(outs[i].name, outs[i].input);

		if (!text_equal((struct text){ e.out, e.len }, outs[i].want))
			fail_msg("%s: \"" TEXT_FMT "\" came out", outs[i].name, (int)e.len, e.out);
	}
}

static void test_1_37_counted_bytes_are_those_of_data_without_its_dots(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(outs); i++) {
		struct encoded counted =
			encode_from(outs[i].name, mail_data_out_start_counted(), outs[i].input);
		struct encoded e = encode(outs[i].name, outs[i].input);
		struct decoded d = decode(outs[i].name, (struct text){ e.out, e.len });

		if (!text_equal((struct text){ counted.out, counted.len }, (struct text){ d.out, d.len }))
			fail_msg(
				"%s: \"" TEXT_FMT "\" came out", outs[i].name, (int)counted.len, counted.out);
	}
}

static void test_out_and_in_again_gives_the_message_back(void **state)
{
	static const struct {
		const char *name;
		struct text message, want;
	} trips[] = {
		{ "nothing", TEXT(""), TEXT("") },
		{ "lines", TEXT("a\r\nb\r\n"), TEXT("a\r\nb\r\n") },
		{ "no final CRLF", TEXT("a\r\nb"), TEXT("a\r\nb\r\n") },
		{ "the end mark itself", TEXT("a\r\n.\r\nb\r\n"), TEXT("a\r\n.\r\nb\r\n") },
		{ "nothing but dots", TEXT(".\r\n..\r\n...\r\n"), TEXT(".\r\n..\r\n...\r\n") },
		{ "NUL and 8-bit bytes", TEXT("\0.\xff\r\n"), TEXT("\0.\xff\r\n") },
		{ "empty lines", TEXT("\r\n\r\n"), TEXT("\r\n\r\n") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(trips); i++) {
		struct encoded e = encode(trips[i].name, trips[i].message);
		struct decoded d = decode(trips[i].name, (struct text){ e.out, e.len });

		if (!d.in.ended || d.taken != e.len || d.in.bare_cr || d.in.bare_lf ||
			!text_equal((struct text){ d.out, d.len }, trips[i].want))
			fail_msg("%s: \"" TEXT_FMT "\" came back", trips[i].name, (int)d.len, d.out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_1_22_only_crlf_dot_crlf_ends_data),
		cmocka_unit_test(test_1_22_all_short_streams_end_only_at_the_mark),
		cmocka_unit_test(test_nothing_is_taken_after_the_end),
		cmocka_unit_test(test_1_29_the_longest_line_and_8_bit_bytes_are_noticed),
		cmocka_unit_test(test_1_33_1_37_chunks_are_looked_at_and_dots_mean_nothing),
		cmocka_unit_test(test_what_goes_out_is_stuffed_and_has_no_bare_cr_or_lf),
		cmocka_unit_test(test_1_37_counted_bytes_are_those_of_data_without_its_dots),
		cmocka_unit_test(test_out_and_in_again_gives_the_message_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
