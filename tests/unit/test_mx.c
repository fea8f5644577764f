/* The order of MX hosts over all lists of up to three records, against a model that is written the other way round; and each end. */
#include "policy/mx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

#define OWN "gw.good.test"

static struct mx_plan decide(const struct mx_record *records, size_t count, uint64_t seed)
{
	struct mx_facts facts = { .domain = "a.test",
		.lookup = MX_LOOKUP_FOUND,
		.records = records,
		.count = count,
		.own_name = OWN,
		.seed = seed };

	return mx_decide(&facts);
}

/* Names with what they are. */
static const struct {
	const char *name;
	bool host, own;
} names[] = {
	{ "a.test", true, false },
	{ "b.test", true, false },
	{ "_c_.test", true, false },
	{ "GW.good.test", true, true },
	{ "192.0.2.1", false, false },
	{ "", false, false },
};
static const uint16_t preferences[] = { 0, 10, 65535 };

enum { KINDS = COUNT(names) * COUNT(preferences), RECORDS = 3 };

static size_t kind_name(size_t kind)
{
	return kind / COUNT(preferences);
}

static uint16_t kind_preference(size_t kind)
{
	return preferences[kind % COUNT(preferences)];
}

/* What every plan must be, told from the records. */
static void check_plan(const size_t *kinds, size_t count, const struct mx_plan *plan)
{
	bool null = count == 1 && names[kind_name(kinds[0])].name[0] == '\0', own = false;
	uint32_t limit = 65536;
	size_t want = 0;

	for (size_t i = 0; i < count; i++)
		if (names[kind_name(kinds[i])].own) {
			own = true;
			limit = MIN(limit, kind_preference(kinds[i]));
		}
	for (size_t n = 0; n < COUNT(names); n++) {
		uint32_t best = 65536;
		size_t at = 0;

		for (size_t i = 0; i < count; i++)
			if (kind_name(kinds[i]) == n && names[n].host)
				best = MIN(best, kind_preference(kinds[i]));
		if (best >= limit)
			continue;
		want++;
		while (at < plan->count && strcmp(plan->hosts[at].name, names[n].name) != 0)
			at++;
		assert_true(at < plan->count);
		assert_int_equal(plan->hosts[at].preference, best);
	}
	assert_int_equal(plan->count, want);
	for (size_t i = 1; i < plan->count; i++)
		assert_true(plan->hosts[i - 1].preference <= plan->hosts[i].preference);
	assert_int_equal(plan->end, want > 0 ? MX_GO
				    : null   ? MX_END_NULL
				    : own    ? MX_END_LOOP
					     : MX_END_NO_SERVER);
}

static void test_2_01_2_02_2_05_every_list_of_up_to_three_records(void **state)
{
	(void)state;
	for (size_t count = 1, lists = KINDS; count <= RECORDS; count++, lists *= KINDS)
		for (size_t list = 0; list < lists; list++) {
			struct mx_record records[RECORDS];
			size_t kinds[RECORDS], rest = list;

			for (size_t i = 0; i < count; i++, rest /= KINDS) {
				kinds[i] = rest % KINDS;
				records[i] = (struct mx_record){ names[kind_name(kinds[i])].name,
					kind_preference(kinds[i]) };
			}
			struct mx_plan plan = decide(records, count, list);
			check_plan(kinds, count, &plan);
		}
}

/* Each of the orders of three equal hosts comes up about as often, and the worse one never before them. */
static void test_2_01_equal_preference_is_shuffled_and_worse_comes_later(void **state)
{
	static const struct mx_record records[] = { { "z.test", 20 }, { "a.test", 10 }, { "b.test", 10 },
		{ "c.test", 10 } };
	unsigned orders[3][3] = { 0 };

	(void)state;
	for (uint64_t seed = 0; seed < 6000; seed++) {
		struct mx_plan plan = decide(records, COUNT(records), seed);

		assert_int_equal(plan.count, 4);
		assert_string_equal(plan.hosts[3].name, "z.test");
		orders[plan.hosts[0].name[0] - 'a'][plan.hosts[1].name[0] - 'a']++;
	}
	for (int first = 0; first < 3; first++)
		for (int second = 0; second < 3; second++)
			if (first == second)
				assert_int_equal(orders[first][second], 0);
			else
				assert_in_range(orders[first][second], 800, 1200);
}

static void test_the_same_seed_gives_the_same_order(void **state)
{
	static const struct mx_record records[] = { { "a.test", 10 }, { "b.test", 10 }, { "c.test", 10 } };

	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		struct mx_plan one = decide(records, 3, seed), two = decide(records, 3, seed);

		for (size_t i = 0; i < 3; i++)
			assert_string_equal(one.hosts[i].name, two.hosts[i].name);
	}
}

static void test_of_many_records_the_best_are_kept(void **state)
{
	struct mx_record records[500];
	char written[500][16];

	(void)state;
	for (size_t i = 0; i < COUNT(records); i++) {
		snprintf(written[i], sizeof written[i], "h%zu.test", i);
		records[i] = (struct mx_record){ written[i], (uint16_t)(1000 - i) };
	}
	struct mx_plan plan = decide(records, COUNT(records), 1);
	assert_int_equal(plan.count, MX_HOSTS_MAX);
	for (size_t i = 0; i < plan.count; i++)
		assert_int_equal(plan.hosts[i].preference, 501 + i);
}

static void test_2_05_names_that_are_none_are_left_out(void **state)
{
	static const char *const bad[] = { "192.0.2.1", "1", "a.1", "2001:db8::1", "[192.0.2.1]", "a b.test",
		"a..test", ".test", "a.test.", "a.test\r\n", "\xc3\xa9.test", "a.99999999999999999999" };
	char label[80];

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		const struct mx_record records[] = { { bad[i], 5 }, { "mail_1.b.test", 10 } };
		struct mx_plan plan = decide(records, 2, 0);

		assert_int_equal(plan.count, 1);
		assert_string_equal(plan.hosts[0].name, "mail_1.b.test");
		assert_int_equal(decide(records, 1, 0).end, MX_END_NO_SERVER);
	}
	for (size_t len = 62; len < 66; len++) {
		memset(label, 'x', len);
		label[len] = '\0';
		assert_int_equal(decide(&(struct mx_record){ label, 5 }, 1, 0).end,
			len <= 63 ? MX_GO : MX_END_NO_SERVER);
	}
}

/* Each answer that is no list. */
static const struct {
	const char *name, *domain;
	enum mx_lookup lookup;
	enum mx_end end;
} answers[] = {
	{ "2.03 no MX: the domain itself", "a.test", MX_LOOKUP_NO_DATA, MX_GO },
	{ "2.02 no MX, and the domain is ours", OWN, MX_LOOKUP_NO_DATA, MX_END_LOOP },
	{ "2.03 no such domain", "a.test", MX_LOOKUP_NO_NAME, MX_END_NO_NAME },
	{ "2.03 not known: no implicit MX", "a.test", MX_LOOKUP_FAILED, MX_END_UNKNOWN },
};

static void test_2_03_what_is_no_list_of_records(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(answers); i++) {
		struct mx_facts facts = {
			.domain = answers[i].domain, .lookup = answers[i].lookup, .own_name = OWN
		};
		struct mx_plan plan = mx_decide(&facts);

		if (plan.end != answers[i].end || plan.count != (answers[i].end == MX_GO))
			fail_msg("%s", answers[i].name);
		if (plan.count == 1)
			assert_string_equal(plan.hosts[0].name, "a.test");
	}
}

static void test_2_02_what_is_not_better_than_ours_is_cut(void **state)
{
	static const struct mx_record records[] = { { "a.test", 10 }, { "b.test", 20 }, { "c.test", 20 },
		{ "d.test", 30 } };
	static const struct {
		uint16_t preference;
		size_t left;
	} cuts[] = { { 0, 0 }, { 10, 0 }, { 11, 1 }, { 20, 1 }, { 30, 3 }, { 31, 4 } };

	(void)state;
	for (size_t i = 0; i < COUNT(cuts); i++) {
		struct mx_plan plan = decide(records, COUNT(records), 7);

		mx_cut(&plan, cuts[i].preference);
		assert_int_equal(plan.count, cuts[i].left);
		assert_int_equal(plan.end, cuts[i].left == 0 ? MX_END_LOOP : MX_GO);
	}
	struct mx_plan none = { .end = MX_END_UNKNOWN };
	mx_cut(&none, 0);
	assert_int_equal(none.end, MX_END_UNKNOWN);
}

static void test_doubt_comes_first_when_no_server_was_found(void **state)
{
	(void)state;
	assert_int_equal(mx_decide_end(&(struct mx_tally){ false, false }), MX_END_NO_ADDRESS);
	assert_int_equal(mx_decide_end(&(struct mx_tally){ true, false }), MX_END_LOOP);
	assert_int_equal(mx_decide_end(&(struct mx_tally){ false, true }), MX_END_UNKNOWN);
	assert_int_equal(mx_decide_end(&(struct mx_tally){ true, true }), MX_END_UNKNOWN);
}

static void test_2_03_each_end_has_its_status(void **state)
{
	static const char *const starts[] = { [MX_END_UNKNOWN] = "451 4.4.3 ",
		[MX_END_NO_NAME] = "550 5.1.2 ",
		[MX_END_NULL] = "556 5.1.10 ",
		[MX_END_LOOP] = "554 5.4.6 ",
		[MX_END_NO_SERVER] = "550 5.4.4 ",
		[MX_END_NO_ADDRESS] = "550 5.4.4 " };

	(void)state;
	for (int end = MX_GO + 1; end < MX_END_COUNT; end++) {
		struct mx_word word = mx_explain((enum mx_end)end, false);

		assert_int_equal(strncmp(word.reply, starts[end], strlen(starts[end])), 0);
		assert_int_equal(word.permanent, word.reply[0] == '5');
		word = mx_explain((enum mx_end)end, true);
		assert_false(word.permanent);
		assert_int_equal(strncmp(word.reply, "451 4.4.", 8), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_2_01_2_02_2_05_every_list_of_up_to_three_records),
		cmocka_unit_test(test_2_01_equal_preference_is_shuffled_and_worse_comes_later),
		cmocka_unit_test(test_the_same_seed_gives_the_same_order),
		cmocka_unit_test(test_of_many_records_the_best_are_kept),
		cmocka_unit_test(test_2_05_names_that_are_none_are_left_out),
		cmocka_unit_test(test_2_03_what_is_no_list_of_records),
		cmocka_unit_test(test_2_02_what_is_not_better_than_ours_is_cut),
		cmocka_unit_test(test_doubt_comes_first_when_no_server_was_found),
		cmocka_unit_test(test_2_03_each_end_has_its_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
