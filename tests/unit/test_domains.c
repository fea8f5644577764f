/* Entries by domain; test_config.c has the rules of precedence for whole configurations. */
#include "config/domains.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"

static void test_the_best_fit_is_found(void **state)
{
	static const char *const names[] = { "default", ".", ".test", ".b.test", "a.b.test", "b.test",
		".default" };
	static const struct {
		const char *domain, *fit, *exact; /* NULL = none */
	} cases[] = {
		{ "a.b.test", "a.b.test", "a.b.test" },
		{ "A.b.TEST", "a.b.test", "a.b.test" },
		{ "x.b.test", ".b.test", NULL },
		{ "x.y.B.test", ".b.test", NULL },
		{ "b.test", "b.test", "b.test" },
		{ "c.test", ".test", NULL },
		{ "test", "default", NULL },
		{ ".test", ".test", ".test" },
		{ "xtest", "default", NULL },
		{ "x.", "default", NULL },
		{ ".", ".", "." },
		{ "", "default", NULL },
		{ "default", "default", "default" },
		{ "x.default", ".default", NULL },
	};
	struct domains *domains = domains_new(NULL);

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++)
		domains_add(domains, names[i], names[i]);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *fit = domains_fit(domains, text_of(cases[i].domain)),
			   *exact = domains_find(domains, text_of(cases[i].domain));

		if (fit == NULL || strcmp(fit, cases[i].fit) != 0)
			fail_msg("%s fits %s", cases[i].domain, fit == NULL ? "nothing" : fit);
		if ((exact == NULL) != (cases[i].exact == NULL) ||
			(exact != NULL && strcmp(exact, cases[i].exact) != 0))
			fail_msg("%s is %s", cases[i].domain, exact == NULL ? "nothing" : exact);
	}
	talloc_free(domains);
}

static void test_without_a_default_there_may_be_none(void **state)
{
	struct domains *domains = domains_new(NULL);

	(void)state;
	assert_null(domains_fit(domains, TEXT("a.test")));
	domains_add(domains, ".test", domains);
	domains_add(domains, NULL, domains);
	assert_null(domains_fit(domains, TEXT("a.example")));
	assert_null(domains_fit(domains, TEXT("")));
	assert_non_null(domains_fit(domains, TEXT("a.test")));
	talloc_free(domains);
}

static void test_the_first_of_two_counts(void **state)
{
	struct domains *domains = domains_new(NULL);
	int first, second;

	(void)state;
	domains_add(domains, "a.test", &first);
	domains_add(domains, "a.test", &second);
	assert_ptr_equal(domains_find(domains, TEXT("a.test")), &first);
	talloc_free(domains);
}

/* No name is as long, but what is asked for may be: its parents count all the same. */
static void test_a_domain_of_any_length(void **state)
{
	struct domains *domains = domains_new(NULL);
	char text[1000];

	(void)state;
	memset(text, 'a', sizeof text);
	memcpy(text + sizeof text - 5, ".test", 5);
	domains_add(domains, ".test", domains);
	assert_ptr_equal(domains_fit(domains, (struct text){ text, sizeof text }), domains);
	assert_null(domains_find(domains, (struct text){ text, sizeof text }));
	talloc_free(domains);
}

static void test_many_are_all_found(void **state)
{
	struct domains *domains = domains_new(NULL);

	(void)state;
	for (uintptr_t i = 1; i <= 10000; i++)
		domains_add(domains, talloc_asprintf(domains, "d%u.test", (unsigned)i), (void *)i);
	for (uintptr_t i = 1; i <= 10000; i++) {
		char name[32];

		snprintf(name, sizeof name, "D%u.test", (unsigned)i);
		assert_ptr_equal(domains_fit(domains, text_of(name)), (void *)i);
	}
	talloc_free(domains);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_best_fit_is_found),
		cmocka_unit_test(test_without_a_default_there_may_be_none),
		cmocka_unit_test(test_the_first_of_two_counts),
		cmocka_unit_test(test_a_domain_of_any_length),
		cmocka_unit_test(test_many_are_all_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
