/* What is said of a connection: the same for one mail after the other, but only while it follows from the same facts. */
#include "deliver/leg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "deliver/stop.h"
#include "lookup/dane.h"
#include "queue/envelope.h"

/* Everything that one leg is made of. */
struct scene {
	struct route route;
	struct dane_lookup_result dane;
	struct tls_findings found;
	struct stop stop;
	struct link *link;
};

static struct link *link_to_here(const void *owner)
{
	struct link *link = talloc_zero(owner, struct link);

	link->conn = talloc_zero(link, struct conn);
	link->dcid = text_copy(link, TEXT("1-1"));
	link->target.host = "mx.a.test";
	link->target.domain = "a.test";
	return link;
}

static struct scene *scene_new(void)
{
	struct scene *scene = talloc_zero(NULL, struct scene);

	scene->route.domain = "a.test";
	scene->dane = (struct dane_lookup_result){ .flaw = "", .why = "", .ttl_s = 300 };
	scene->found.dane = &scene->dane;
	scene->found.facts.dane = DANE_SETTING_OPPORTUNISTIC;
	scene->stop.route = &scene->route;
	scene->stop.found = &scene->found;
	scene->link = link_to_here(scene);
	return scene;
}

/* What the next mail says over `link`. */
static const char *said(struct scene *scene, struct link *link)
{
	struct outcome *outcome = talloc_zero(scene, struct outcome);
	struct legs legs = { .outcome = outcome };

	scene->stop.decision = tls_decide(&scene->found.facts);
	outcome->dcid = outcome->host = outcome->address = outcome->tls = "";
	leg_use(&legs, link, &scene->stop);
	return outcome->tls;
}

static void change_level(struct scene *scene)
{
	scene->found.facts.level = TLS_LEVEL_REQUIRED;
}

static void change_finding(struct scene *scene)
{
	scene->found.facts.dane_found = DANE_ABSENT;
}

static void change_list(struct scene *scene)
{
	scene->found.facts.temporary_listed = true;
}

static void change_records(struct scene *scene)
{
	static struct tlsa_record record = { 3, 1, 1, { "abc", 3 } };

	scene->dane.records = &record;
	scene->dane.count = 1;
	scene->dane.digest.bytes[0]++;
}

static void change_left_out(struct scene *scene)
{
	scene->dane.left_out++;
}

static void change_flaw(struct scene *scene)
{
	scene->dane.flaw = "its usage is unknown";
}

static void change_why(struct scene *scene)
{
	scene->dane.why = "TLSA of _25._tcp.mx.a.test: too late";
}

static void change_domain(struct scene *scene)
{
	scene->route.domain = "b.test";
}

static void change_nothing(struct scene *scene)
{
	(void)scene;
}

static void test_F8_each_mail_says_what_holds_for_it(void **state)
{
	static void (*const changes[])(struct scene *) = { change_level, change_finding, change_list,
		change_records, change_left_out, change_flaw, change_why, change_domain, change_nothing };

	(void)state;
	for (size_t i = 0; i < COUNT(changes); i++) {
		struct scene *scene = scene_new();
		const char *first = said(scene, scene->link), *second;

		changes[i](scene);
		second = said(scene, scene->link);
		assert_string_equal(
			second, said(scene, link_to_here(scene))); /* as if nothing had been said */
		if (changes[i] != change_nothing && changes[i] != change_domain)
			assert_string_not_equal(first, second);
		talloc_free(scene);
	}
}

static void test_one_text_serves_mails_in_a_row(void **state)
{
	struct scene *scene = scene_new();
	const char *first = said(scene, scene->link);
	const struct leg_told *told = scene->link->told;

	(void)state;
	scene->dane.ttl_s = 299;
	assert_string_equal(said(scene, scene->link), first);
	assert_ptr_equal(scene->link->told, told);
	talloc_free(scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_F8_each_mail_says_what_holds_for_it),
		cmocka_unit_test(test_one_text_serves_mails_in_a_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
