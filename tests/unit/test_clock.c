/* Times as text, there and back. */
#include "base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"

#define NOW 1795256430123LL /* 2026-11-21T10:20:30.123Z, a Saturday */

static void test_times_are_written(void **state)
{
	static const struct {
		int64_t ms;
		const char *iso, *mail;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 +0000" },
		{ NOW, "2026-11-21T10:20:30.123Z", "Sat, 21 Nov 2026 10:20:30 +0000" },
		{ 951782399999, "2000-02-28T23:59:59.999Z", "Mon, 28 Feb 2000 23:59:59 +0000" },
		{ 951782400000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 +0000" },
		{ 4102444799001, "2099-12-31T23:59:59.001Z", "Thu, 31 Dec 2099 23:59:59 +0000" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[CLOCK_TEXT_MAX];

		assert_string_equal(clock_iso(cases[i].ms, text), cases[i].iso);
		assert_string_equal(clock_mail_date(cases[i].ms, text), cases[i].mail);
	}
}

static const struct {
	const char *t;
	int want;
	int64_t ms;
} texts[] = {
	{ "2026-11-21", 0, NOW - 37230123 },
	{ "2026-11-21T10:20:30Z", 0, NOW - 123 },
	{ "1970-01-01", 0, 0 },
	{ "2000-02-29", 0, 951782400000 },
	{ "0s", 0, NOW },
	{ "90s", 0, NOW - 90000 },
	{ "15m", 0, NOW - 900000 },
	{ "2h", 0, NOW - 7200000 },
	{ "7d", 0, NOW - 604800000 },
	{ "2h30m", 0, NOW - 9000000 },
	{ "1d1h1m1s", 0, NOW - 90061000 },
	{ "2026-11-21T10:20:30", 0, NOW - 123 },
	{ "2026-11-21 10:20:30", 0, NOW - 123 },
	{ "2026-11-21T10:20", 0, NOW - 30123 },
	{ "2026-11-21T10:20Z", 0, NOW - 30123 },
	{ "2026-11-21T10:20:30.1234Z", 0, NOW },
	{ "2026-11-21T10:20:30.5", 0, NOW + 377 },
	{ "2026-11-21T12:20:30+02:00", 0, NOW - 123 },
	{ "2026-11-21T05:50-04:30", 0, NOW - 30123 },
	{ "", -EINVAL, 0 },
	{ "s", -EINVAL, 0 },
	{ "7", -EINVAL, 0 },
	{ "7w", -EINVAL, 0 },
	{ "-7d", -EINVAL, 0 },
	{ "7 d", -EINVAL, 0 },
	{ "99999999999999999999d", -EINVAL, 0 },
	{ "yesterday", -EINVAL, 0 },
	{ "2026-11", -EINVAL, 0 },
	{ "2026-11-21T", -EINVAL, 0 },
	{ "2h30", -EINVAL, 0 },
	{ "h", -EINVAL, 0 },
	{ "100000d100000d", -EINVAL, 0 },
	{ "2026-11-21T10", -EINVAL, 0 },
	{ "2026-11-21T10:2", -EINVAL, 0 },
	{ "2026-11-21T10:20:3", -EINVAL, 0 },
	{ "2026-11-21T10:20+2:00", -EINVAL, 0 },
	{ "2026-11-21T10:20+0200", -EINVAL, 0 },
	{ "2026-11-21T10:20*02:00", -EINVAL, 0 },
	{ "2026-11-21T10:20+24:00", -EINVAL, 0 },
	{ "2026-11-21T10:20+02:60", -EINVAL, 0 },
	{ "2026-11-21T10:20+02:00Z", -EINVAL, 0 },
	{ "2026-11-21T10:20:30Zx", -EINVAL, 0 },
	{ "2026-11-21x", -EINVAL, 0 },
	{ "2026-1-1", -EINVAL, 0 },
	{ "2026-13-01", -EINVAL, 0 },
	{ "2026-00-01", -EINVAL, 0 },
	{ "2026-02-30", -EINVAL, 0 },
	{ "2026-11-21T25:00:00Z", -EINVAL, 0 },
	{ "2026-11-21T10:60:00Z", -EINVAL, 0 },
	{ "2026-11-21T-1:00:00Z", -EINVAL, 0 },
};

static void test_times_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		int64_t ms = 77;
		int r = clock_parse(texts[i].t, NOW, &ms);

		if (r != texts[i].want || ms != (r == 0 ? texts[i].ms : 77))
			fail_msg("\"%s\" gave %d, %lld", texts[i].t, r, (long long)ms);
	}
}

static void test_clocks_go_forward(void **state)
{
	int64_t mono = clock_mono_ms();

	(void)state;
	assert_true(mono > 0 && clock_mono_ms() >= mono);
	assert_true(clock_wall_ms() > 1700000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times_are_written),
		cmocka_unit_test(test_times_are_read),
		cmocka_unit_test(test_clocks_go_forward),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
