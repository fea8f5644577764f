/* What the configuration file says about outbound TLS: levels, DANE, certificates and authorities of destinations, and the lists of peers. */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "config/bundle.h"
#include "config/problems.h"

#define BASE                                                                                                 \
	"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n"                                       \
	"mail_flow_policies: [{name: open, tls: none}]\n"                                                    \
	"listeners: [{name: in, type: public, address: '127.0.0.1:0', policy: open}]\n"
#define CERTIFICATES                                                                                         \
	"certificates: [{name: a, chain: a.pem, key: a.key}, {name: b, chain: b.pem, key: b.key}]\n"

static const struct config *read_yaml(const char *yaml)
{
	struct problems *problems = problems_new(NULL);
	struct bundle *bundle = bundle_new(NULL, 1);

	bundle_add(bundle, "x.yaml", text_of(yaml), BUNDLE_ALL);
	const struct config *config = config_read(bundle, "x.yaml", problems);
	for (size_t i = 0; i < problems->count; i++)
		print_error("%s\n", problems_format(problems, &problems->list[i]));
	assert_non_null(config);
	talloc_free(bundle);
	talloc_free(problems);
	return config;
}

/* Exact name, then the longest parent, then default; each key for itself. */
static void test_B36_B37_B38_B39_B73_each_key_is_that_of_the_nearest_entry_that_says_it(void **state)
{
	static const struct {
		const char *domain;
		enum config_tls tls;
		enum config_dane dane;
		const char *certificate, *custom;
	} cases[] = {
		{ "other.test", CONFIG_TLS_REQUIRED_VERIFY_HOSTED, CONFIG_DANE_AUDIT, "a", NULL },
		{ "good.test", CONFIG_TLS_REQUIRED_VERIFY_HOSTED, CONFIG_DANE_AUDIT, "a", NULL },
		{ "x.good.test", CONFIG_TLS_PREFERRED_VERIFY, CONFIG_DANE_AUDIT, "b", "good.pem" },
		{ "X.Good.Test", CONFIG_TLS_PREFERRED_VERIFY, CONFIG_DANE_AUDIT, "b", "good.pem" },
		{ "a.good.test", CONFIG_TLS_PREFERRED_VERIFY, CONFIG_DANE_MANDATORY, "b", "good.pem" },
		{ "x.a.good.test", CONFIG_TLS_REQUIRED, CONFIG_DANE_AUDIT, "b", "a.pem" },
		{ "b.a.good.test", CONFIG_TLS_REQUIRED_VERIFY, CONFIG_DANE_OPPORTUNISTIC, "a", "a.pem" },
		{ "none.test", CONFIG_TLS_NONE, CONFIG_DANE_NONE, "a", NULL },
		{ "x.none.test", CONFIG_TLS_PREFERRED, CONFIG_DANE_NONE, "a", NULL },
		{ "y.none.test", CONFIG_TLS_NONE, CONFIG_DANE_NONE, "a", NULL },
	};
	const struct config *c = read_yaml(BASE CERTIFICATES
		"destination_settings: {certificate: a}\n"
		"destinations:\n"
		"  - {domain: default, tls: required-verify-hosted, dane: audit}\n"
		"  - {domain: .good.test, tls: preferred-verify, certificate: b, authorities: {custom: good.pem}}\n"
		"  - {domain: a.good.test, dane: mandatory}\n"
		"  - {domain: .a.good.test, tls: required, authorities: {custom: a.pem, system: true}}\n"
		"  - {domain: b.a.good.test, tls: required-verify, dane: opportunistic, certificate: a}\n"
		"  - {domain: none.test, tls: none}\n"
		"  - {domain: .none.test, tls: none}\n"
		"  - {domain: x.none.test, tls: preferred}\n");

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct text domain = text_of(cases[i].domain);
		const struct config_destination *level, *dane;
		const struct config_authorities *trust = config_authorities_for(c, domain);

		if (config_tls_for(c, domain, &level) != cases[i].tls || level == NULL)
			fail_msg("tls of %s", cases[i].domain);
		if (config_dane_for(c, domain, &dane) != cases[i].dane || dane == NULL)
			fail_msg("dane of %s", cases[i].domain);
		if (strcmp(config_client_certificate_for(c, domain)->name, cases[i].certificate) != 0)
			fail_msg("certificate of %s", cases[i].domain);
		if ((trust == NULL) != (cases[i].custom == NULL) ||
			(trust != NULL && strcmp(trust->custom, cases[i].custom) != 0))
			fail_msg("authorities of %s", cases[i].domain);
	}
	assert_false(config_authorities_for(c, TEXT("x.good.test"))->system);
	assert_true(config_authorities_for(c, TEXT("x.a.good.test"))->system);
	config_release(c);
}

/* Decision 10, and F5: where nobody says anything. */
static void test_C5_F5_levels_and_dane_where_no_entry_says_any(void **state)
{
	static const struct {
		const char *yaml;
		enum config_tls tls;
		enum config_dane dane;
		bool said;
	} cases[] = {
		{ "", CONFIG_TLS_PREFERRED, CONFIG_DANE_OPPORTUNISTIC, false },
		{ "tls: {starttls_when_possible: true}\n", CONFIG_TLS_PREFERRED, CONFIG_DANE_OPPORTUNISTIC,
			false },
		{ "tls: {starttls_when_possible: false}\n", CONFIG_TLS_NONE, CONFIG_DANE_NONE, false },
		{ "destinations: [{domain: default, concurrency: 3}]\n", CONFIG_TLS_PREFERRED,
			CONFIG_DANE_OPPORTUNISTIC, false },
		{ "destinations: [{domain: default, tls: none}]\n", CONFIG_TLS_NONE, CONFIG_DANE_NONE, true },
		{ "destinations: [{domain: default, tls: required}]\n", CONFIG_TLS_REQUIRED,
			CONFIG_DANE_OPPORTUNISTIC, true },
		{ "destinations: [{domain: default, dane: none}]\n", CONFIG_TLS_PREFERRED, CONFIG_DANE_NONE,
			false },
		{ "tls: {starttls_when_possible: false}\ndestinations: [{domain: a.test, dane: mandatory}]\n",
			CONFIG_TLS_NONE, CONFIG_DANE_MANDATORY, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *yaml = talloc_asprintf(NULL, BASE "%s", cases[i].yaml);
		const struct config *c = read_yaml(yaml);
		const struct config_destination *level, *dane;

		if (config_tls_for(c, TEXT("a.test"), &level) != cases[i].tls ||
			(level != NULL) != cases[i].said)
			fail_msg("level of %s", cases[i].yaml);
		if (config_dane_for(c, TEXT("a.test"), &dane) != cases[i].dane)
			fail_msg("dane of %s", cases[i].yaml);
		assert_null(config_client_certificate_for(c, TEXT("a.test")));
		assert_null(config_authorities_for(c, TEXT("a.test")));
		config_release(c);
		talloc_free(yaml);
	}
}

static void every_key_of_outbound_tls_reaches_its_field(void **state)
{
	const struct config *c = read_yaml(BASE
		"tls: {enabled: false, starttls_when_possible: false, retry_without_tls: true, x509_validation: true, dane_pkix_usages: enforce,\n"
		"  dane_insecure_mx: encrypt, starttls_never: [192.0.2.0/24], starttls_required: [Bank.test, '*.B.test']}\n");
	const struct config *standard = read_yaml(BASE);

	(void)state;
	assert_false(c->tls.enabled || c->tls.starttls_when_possible);
	assert_true(c->tls.retry_without_tls && c->tls.x509_validation);
	assert_int_equal(c->tls.dane_pkix_usages, CONFIG_PKIX_USAGES_ENFORCE);
	assert_int_equal(c->tls.dane_insecure_mx, CONFIG_INSECURE_MX_ENCRYPT);
	assert_int_equal(c->tls.starttls_never_count, 1);
	assert_int_equal(c->tls.starttls_required_count, 2);
	assert_string_equal(c->tls.starttls_required[0].text, "Bank.test");
	assert_string_equal(c->tls.starttls_required[1].name, ".b.test");
	assert_true(standard->tls.enabled && standard->tls.starttls_when_possible);
	assert_false(standard->tls.retry_without_tls || standard->tls.x509_validation);
	assert_int_equal(standard->tls.dane_pkix_usages, CONFIG_PKIX_USAGES_UNUSABLE);
	assert_int_equal(standard->tls.dane_insecure_mx, CONFIG_INSECURE_MX_DANE);
	assert_int_equal(standard->tls.starttls_never_count + standard->tls.starttls_required_count, 0);
	config_release(c);
	config_release(standard);
}

static void test_C10_a_server_is_listed_by_address_host_and_domain(void **state)
{
	static const struct {
		const char *address, *host, *domain, *entry;
	} cases[] = {
		{ "192.0.2.1", NULL, "", "192.0.2.1" },
		{ "::ffff:192.0.2.1", NULL, "", "192.0.2.1" },
		{ "192.0.2.2", NULL, "", NULL },
		{ "198.51.100.255", NULL, "", "198.51.100.0/24" },
		{ "198.51.101.0", NULL, "", NULL },
		{ "2001:db8::1", NULL, "", "2001:db8::/32" },
		{ "2001:db9::1", NULL, "", NULL },
		{ NULL, "mx.bank.test", "", "mx.bank.test" },
		{ NULL, "MX.Bank.test.", "", "mx.bank.test" },
		{ NULL, "a.mx.bank.test", "", NULL },
		{ NULL, "bank.test", "", NULL },
		{ NULL, "mxxbank.test", "", NULL },
		{ NULL, "x.y.test", "z.test", "*.Y.test" },
		{ NULL, "w.x.y.test", "z.test", "*.Y.test" },
		{ NULL, "mx.z.test", "w.Y.test", "*.Y.test" },
		{ NULL, "y.test", "y.test", NULL },
		{ NULL, "xy.test", "ay.test", NULL },
		{ NULL, NULL, "c.d.test", ".d.test" },
		{ NULL, NULL, "d.test", NULL },
		{ NULL, NULL, "E.test", "e.test" },
		{ NULL, "mx.e.test", "f.test", NULL },
		{ "192.0.2.1", "mx.bank.test", "e.test", "192.0.2.1" },
		{ "192.0.2.9", "mx.bank.test", "e.test", "mx.bank.test" },
		{ "203.0.113.1", "x.example", "example", NULL },
		{ NULL, "", "", NULL },
	};
	const struct config *c =
		read_yaml(BASE "tls:\n"
			       "  starttls_required: [192.0.2.1, 198.51.100.0/24, "
			       "'2001:db8::/32', mx.bank.test, '*.Y.test', .d.test, e.test]\n"
			       "  starttls_never: [203.0.113.0/24]\n");

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ip ip;

		if (cases[i].address != NULL)
			assert_int_equal(ip_parse(text_of(cases[i].address), &ip), 0);
		const struct config_peer *peer = config_listed(c, CONFIG_STARTTLS_REQUIRED,
			cases[i].address == NULL ? NULL : &ip, cases[i].host, text_of(cases[i].domain));
		if ((peer == NULL) != (cases[i].entry == NULL) ||
			(peer != NULL && strcmp(peer->text, cases[i].entry) != 0))
			fail_msg("case %zu: %s", i, peer == NULL ? "none" : peer->text);
		peer = config_listed(c, CONFIG_STARTTLS_NEVER, cases[i].address == NULL ? NULL : &ip,
			cases[i].host, text_of(cases[i].domain));
		assert_true((peer != NULL) ==
			    (cases[i].address != NULL && strncmp(cases[i].address, "203", 3) == 0));
	}
	config_release(c);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* Problems, then warnings, of a file with `ca.pem` beside it. */
static char *checked(const void *owner, const char *yaml, size_t *ret_problems)
{
	struct problems *problems = problems_new(owner);
	const struct config *config;
	char folder[] = "/tmp/postern-outbound-XXXXXX", *text = talloc_strdup(owner, "");

	assert_non_null(mkdtemp(folder));
	char *path = talloc_asprintf(owner, "%s/x.yaml", folder),
	     *ca = talloc_asprintf(owner, "%s/ca.pem", folder);
	write_file(path, yaml);
	write_file(ca, "-----\n");
	assert_int_equal(chmod(ca, 0600), 0); /* for a password, too */
	if (config_gather(owner, path, 1, problems, &config) != NULL)
		config_release(config);
	unlink(path);
	unlink(ca);
	rmdir(folder);
	for (size_t i = 0; i < problems->count; i++)
		text = talloc_asprintf_append(
			text, "%s: %s\n", problems->list[i].key, problems->list[i].text);
	for (size_t i = 0; i < problems->warning_count; i++)
		text = talloc_asprintf_append(
			text, "%s: %s\n", problems->warnings[i].key, problems->warnings[i].text);
	*ret_problems = problems->count;
	return text;
}

#define NO_TLS(domain)                                                                                       \
	"destinations[" domain                                                                               \
	"].dane: `tls: none` never uses TLS, so that no TLSA record can be heeded: write `dane: none`, or another level\n"
#define NO_LEVEL(i, other)                                                                                   \
	"destinations[" i "].dane: no mail for `" i                                                          \
	"` can be delivered: DANE needs TLS, and `tls: none` of the entry `" other                           \
	"` counts for it; write a level here\n"
#define CANCELS(i, other)                                                                                    \
	"destinations[" i "].tls: `none` never uses TLS, so that `dane: mandatory` of the entry `" other     \
	"` does not count here; if that is meant, write `dane: none`, too\n"
#define OF_HOP(i, key, domains)                                                                                                                  \
	"destinations[" i "]." key ": has no effect on mail that routes send to `" i                                                             \
	"`: `tls`, `dane`, `tls_profile`, `certificate` and `authorities` go by the domain of the recipient; write them in entries for " domains \
	"\n"
#define WIDE(i, network)                                                                                     \
	"tls.starttls_never[" i "]: `" network                                                               \
	"` is much of the Internet, which gets all its mail in clear: name single servers\n"
#define COMMON(i, a, b)                                                                                      \
	"tls.starttls_never[" i "]: `" a "` has servers in common with `" b                                  \
	"` of starttls_required, which wins: they get no mail without TLS; take them out of one of the lists\n"
#define BLOCKED(i, key, peer)                                                                                \
	"destinations[" i "]." key ": no mail for `" i "` can be delivered: it demands TLS, and `" peer      \
	"` of tls.starttls_never forbids it; take that out, or add `" i                                      \
	"` to tls.starttls_required, which wins\n"
#define UNTRUSTED(i) "destinations[" i "].tls: no authority is trusted, so that no certificate is good"
#define CURE                                                                                                 \
	": write `authorities: {system: true}`, name a file as authorities.custom, or run `postern ca import`\n"

/* What contradicts itself is refused; what never counts or never delivers, in a good file, is warned of. */
static void test_B72_C12_B82_what_cannot_be_meant_is_said(void **state)
{
	static const struct {
		const char *yaml, *want;
		size_t problems;
	} cases[] = {
		{ "destinations: [{domain: a.test, tls: none, dane: opportunistic}, {domain: default, tls: none, dane: mandatory},\n"
		  "  {domain: .a.test, dane: audit, tls: none}, {domain: b.test, tls: none, dane: none}, {domain: c.test, dane: mandatory},\n"
		  "  {domain: .c.test, tls: none}, {domain: d.test, tls: preferred, dane: opportunistic}]\n",
			NO_TLS("a.test") NO_TLS("default") NO_TLS(".a.test") NO_LEVEL("c.test", "default")
				CANCELS(".c.test", "default"),
			3 },
		{ "tls: {starttls_when_possible: true}\ndestinations: [{domain: default, tls: required}]\n",
			"tls.starttls_when_possible: is `tls: preferred` for all destinations, and the entry `default` of destinations says `tls: required`: leave this key out\n",
			1 },
		{ "tls: {starttls_when_possible: false}\ndestinations: [{domain: default, tls: preferred}]\n",
			"tls.starttls_when_possible: is `tls: none` for all destinations, and the entry `default` of destinations says `tls: preferred`: leave this key out\n",
			1 },
		{ "tls: {starttls_when_possible: true}\ndestinations: [{domain: default, tls: preferred}]\n",
			"", 0 },
		{ "tls: {starttls_when_possible: false}\ndestinations: [{domain: default, tls: none}, {domain: a.test, tls: required}]\n",
			"", 0 },
		{ "tls: {starttls_when_possible: false}\ndestinations: [{domain: default, rate: 3}]\n", "",
			0 },
		{ "destinations: [{domain: default, tls: required}]\n", "", 0 },
		{ "destinations: [{domain: a.test, authorities: {}}, {domain: b.test, authorities: {system: false}}]\n",
			"destinations[a.test].authorities: trusts nobody: name a file as `custom`, write `system: true`, or leave the key out\n"
			"destinations[b.test].authorities: trusts nobody: name a file as `custom`, write `system: true`, or leave the key out\n",
			2 },
		{ "tls: {starttls_never: [a.test, .b.test, x.c.test, d.test, 10.0.0.0/8, 192.0.2.7, 198.51.100.0/24, '2001:db8::/32'],\n"
		  "  starttls_required: [A.test, y.b.test, .c.test, .d.test, 10.1.0.0/16, 10.2.0.0/16, 192.0.2.0/24, 192.0.2.7, 198.51.101.0/24, '2001:db8::1']}\n",
			COMMON("1", "a.test", "A.test") COMMON("3", "x.c.test", ".c.test")
				COMMON("2", ".b.test", "y.b.test") COMMON("5", "10.0.0.0/8", "10.1.0.0/16")
					COMMON("5", "10.0.0.0/8", "10.2.0.0/16") COMMON("6", "192.0.2.7",
						"192.0.2.0/24") COMMON("6", "192.0.2.7", "192.0.2.7")
						COMMON("8", "2001:db8::/32", "2001:db8::1"),
			0 },
		{ "tls: {starttls_never: [10.0.0.0/8, 10.0.0.0/8, 10.1.0.0/16], starttls_required: [10.2.0.0/16, 10.1.1.0/24]}\n",
			COMMON("3", "10.1.0.0/16", "10.1.1.0/24") COMMON("1", "10.0.0.0/8", "10.2.0.0/16"),
			0 },
		{ "tls: {starttls_never: [.test, mx.a.test, 192.0.2.1, b.test], starttls_required: [r.test]}\n"
		  "routes: [{domain: a.example, next_hop: mx.a.test}, {domain: b.example, next_hop: '192.0.2.1:26'}, {domain: c.example, next_hop: 'mx:mx.a.test'},\n"
		  "  {domain: i.example, next_hop: mx.a.test, implicit_tls: true}]\n"
		  "destinations: [{domain: a.example, tls: required}, {domain: b.example, tls: required-verify}, {domain: c.example, tls: required},\n"
		  "  {domain: r.test, tls: required}, {domain: x.test, dane: mandatory}, {domain: .x.test, tls: required-verify-hosted},\n"
		  "  {domain: y.test, tls: preferred-verify}, {domain: default, tls: required}]\nauthorities: {system: false, custom: ca.pem}\n",
			COMMON("1", ".test", "r.test") "routes[i.example].implicit_tls: no mail can be delivered by this route: it needs TLS, and `mx.a.test` of tls.starttls_never forbids it; take that out\n" BLOCKED(
				"a.example", "tls", "mx.a.test") BLOCKED("b.example", "tls", "192.0.2.1")
				BLOCKED("x.test", "dane", ".test") BLOCKED(".x.test", "tls", ".test"),
			0 },
		{ "routes: [{domain: a.test, next_hop: '192.0.2.1:26'}, {domain: b.test, next_hop: mx.b.test}]\n"
		  "destinations: [{domain: a.test, dane: mandatory}, {domain: b.test, dane: mandatory}]\n",
			"destinations[a.test].dane: no mail for `a.test` can be delivered: its route leads to the address `192.0.2.1:26`, and TLSA records belong to names; name the host as next_hop\n",
			0 },
		{ "destinations: [{domain: .q.test, tls: none}, {domain: x.q.test, dane: mandatory}, {domain: .x.q.test, dane: mandatory},\n"
		  "  {domain: y.q.test, tls: preferred, dane: mandatory}, {domain: q.test, dane: mandatory}]\n",
			NO_LEVEL("x.q.test", ".q.test") NO_LEVEL(".x.q.test", ".q.test"), 0 },
		{ "tls: {starttls_when_possible: false}\ndestinations: [{domain: x.test, dane: mandatory}]\n",
			"", 0 },
		{ "destinations: [{domain: .q.test, dane: mandatory}, {domain: x.q.test, tls: none}, {domain: y.q.test, tls: none, dane: none},\n"
		  "  {domain: .z.q.test, dane: none}, {domain: a.z.q.test, tls: none}, {domain: q.test, tls: none}]\n",
			CANCELS("x.q.test", ".q.test"), 0 },
		{ "destinations: [{domain: default, dane: mandatory}, {domain: x.test, tls: none}]\n",
			CANCELS("x.test", "default"), 0 },
		{ "routes: [{domain: a.test, next_hop: '192.0.2.1:26'}, {domain: .b.test, next_hop: '192.0.2.1:26'}, {domain: c.test, next_hop: mx.c.test},\n"
		  "  {domain: d.test, next_hop: e.test}, {domain: e.test, next_hop: mx.c.test}]\n"
		  "destinations: [{domain: '192.0.2.1', tls: required}, {domain: mx.c.test, dane: none}, {domain: e.test, tls: required},\n"
		  "  {domain: '192.0.2.2', tls: required}, {domain: c.test, tls: required}]\n",
			OF_HOP("192.0.2.1", "tls", "`a.test`, `.b.test`")
				OF_HOP("mx.c.test", "dane", "`c.test`, `e.test`"),
			0 },
		{ "tls: {starttls_never: [10.0.0.0/8, '2001::/16', 0.0.0.0/0, '::/0']}\n",
			WIDE("3", "0.0.0.0/0") WIDE("4", "::/0"), 0 },
		{ "authorities: {system: false}\n"
		  "destinations: [{domain: a.test, tls: required-verify}, {domain: b.test, tls: preferred-verify}, {domain: c.test, tls: required},\n"
		  "  {domain: d.test, tls: required-verify-hosted, authorities: {custom: ca.pem}}]\n",
			UNTRUSTED("a.test") ", and this mail can be delivered by DANE only" CURE UNTRUSTED(
				"b.test") CURE,
			0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		void *scratch = talloc_new(NULL);
		char *yaml = talloc_asprintf(scratch, BASE "%s", cases[i].yaml);
		size_t problems;
		const char *text = checked(scratch, yaml, &problems);

		if (strcmp(text, cases[i].want) != 0)
			fail_msg("%s\n--- found\n%s\n--- expected\n%s", cases[i].yaml, text, cases[i].want);
		assert_int_equal(problems, cases[i].problems);
		talloc_free(scratch);
	}
}

#define TOO_OLD(i, key, profile)                                                                                               \
	"destinations[" i "]." key ": no mail for `" i                                                                         \
	"` can be delivered: a certificate is demanded, for which TLS is 1.2 at least, and `max_version` of profile `" profile \
	"` is older; raise it, or name another profile\n"

/* Whoever says the demand and whoever the profile: where they meet, each entry that has a part in it is named, and no other. */
static void test_3_35_profiles_too_old_for_a_certificate_are_warned_of(void **state)
{
	static const char yaml[] = BASE
		"authorities: {system: false, custom: ca.pem}\n"
		"tls_profiles: [{name: old, min_version: 1.0, max_version: 1.1}, {name: just, max_version: 1.2}]\n"
		"routes: [{domain: l.test, next_hop: mx.l.test, username: u, password_file: ca.pem},\n"
		"  {domain: m.test, next_hop: mx.m.test, username: u, password_file: ca.pem}, {domain: i.test, next_hop: mx.i.test, implicit_tls: true}]\n"
		"destinations: [{domain: default, tls_profile: old}, {domain: a.test, tls: required-verify}, {domain: .b.test, tls: required-verify-hosted},\n"
		"  {domain: x.b.test, tls_profile: old}, {domain: c.test, dane: mandatory, tls_profile: old}, {domain: d.test, dane: mandatory, tls_profile: just},\n"
		"  {domain: e.test, tls: preferred-verify}, {domain: f.test, tls: required}, {domain: y.b.test, concurrency: 3}, {domain: m.test, tls_profile: just},\n"
		"  {domain: z.b.test, tls: required}]\n";
	static const char want[] =
		"routes[l.test].username: no mail can be delivered by this route: a login wants TLS 1.2 at least, and `max_version` of profile `old`, which the destination names, is older; raise it, or name another profile\n" TOO_OLD(
			"a.test", "tls", "old") TOO_OLD(".b.test", "tls", "old")
			TOO_OLD("x.b.test", "tls_profile", "old") TOO_OLD("c.test", "tls_profile", "old");
	void *scratch = talloc_new(NULL);
	size_t problems;
	const char *text = checked(scratch, yaml, &problems);

	(void)state;
	assert_string_equal(text, want);
	assert_int_equal(problems, 0);
	talloc_free(scratch);
}

/* Off is a banner, and everything that gets no mail by it is named; what the lists say besides is as true as before. */
static void test_F4_all_tls_off_is_said_with_what_gets_no_mail(void **state)
{
	static const char yaml[] =
		"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\ncertificates: []\n"
		"mail_flow_policies: [{name: open, tls: none}, {name: may, tls: preferred}, {name: must, tls: required}]\n"
		"listeners: [{name: in, type: public, address: '127.0.0.1:0', policy: open}]\n"
		"tls: {enabled: false, starttls_never: [a.test], starttls_required: [r.test]}\n"
		"routes: [{domain: i.example, next_hop: mx.a.test, implicit_tls: true}, {domain: p.example, next_hop: mx.a.test}]\n"
		"destinations: [{domain: a.test, tls: required}, {domain: b.test, tls: preferred-verify}, {domain: c.test, dane: mandatory},\n"
		"  {domain: d.test, tls: none}, {domain: default, tls: required-verify-hosted}]\n"
		"authorities: {system: false, custom: ca.pem}\n";
	static const char want[] =
		"mail_flow_policies[must].tls: no client with this policy can send mail: it demands TLS, and tls.enabled is off\n"
		"tls.enabled: TLS is switched off: all mail comes and goes in clear, and what demands TLS is refused or waits\n"
		"tls.starttls_required: no mail can be delivered to these servers: they get none without TLS, and tls.enabled is off\n"
		"routes[i.example].implicit_tls: no mail can be delivered by this route: it needs TLS, and tls.enabled is off\n"
		"destinations[a.test].tls: no mail for `a.test` can be delivered: it demands TLS, and tls.enabled is off\n"
		"destinations[c.test].dane: no mail for `c.test` can be delivered: it demands TLS, and tls.enabled is off\n"
		"destinations[default].tls: no mail for `default` can be delivered: it demands TLS, and tls.enabled is off\n";
	void *scratch = talloc_new(NULL);
	size_t problems;
	const char *text = checked(scratch, yaml, &problems);

	(void)state;
	assert_string_equal(text, want);
	assert_int_equal(problems, 0);
	talloc_free(scratch);
}

/* What is shown can be read again and means the same. */
static void what_is_not_said_is_not_shown(void **state)
{
	const struct config *c = read_yaml(BASE CERTIFICATES
		"tls: {starttls_never: ['*.A.test', 192.0.2.1, '2001:db8::/32']}\n"
		"destinations: [{domain: a.test, authorities: {custom: a.pem}}, {domain: b.test, tls: none}, {domain: c.test, certificate: b}]\n");
	char *yaml = config_show(NULL, c, false);
	const struct config *again = read_yaml(yaml);
	char *shown = config_show(yaml, again, false);

	(void)state;
	assert_string_equal(yaml, shown);
	assert_non_null(strstr(
		yaml, "  starttls_never:\n    - \"*.A.test\"\n    - 192.0.2.1\n    - 2001:db8::/32\n"));
	assert_non_null(strstr(yaml,
		"  - domain: a.test\n    authorities:\n      system: false\n      custom: a.pem\n"
		"  - domain: b.test\n    tls: none\n    dane: none\n"
		"  - domain: c.test\n    certificate: b\ndestination_settings: {}\n"));
	assert_null(config_authorities_for(again, TEXT("b.test")));
	config_release(c);
	config_release(again);
	talloc_free(yaml);
}

static void test_C5_the_switch_is_shown_where_it_was_said(void **state)
{
	static const struct {
		const char *yaml, *shown, *json;
	} cases[] = {
		{ "destinations: [{domain: default, tls: required}]\n", NULL, NULL },
		{ "destinations: [{domain: default, tls: none}]\n", NULL, NULL },
		{ "tls: {starttls_when_possible: true}\n", "  starttls_when_possible: true\n",
			"\"starttls_when_possible\": true" },
		{ "tls: {starttls_when_possible: false}\n", "  starttls_when_possible: false\n",
			"\"starttls_when_possible\": false" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *file = talloc_asprintf(NULL, BASE "%s", cases[i].yaml);
		const struct config *c = read_yaml(file);
		char *yaml = config_show(file, c, false), *json = config_show(file, c, true);
		const struct config *again = read_yaml(yaml);
		const char *found = strstr(yaml, "  starttls_when_possible");

		assert_true((found != NULL) == (cases[i].shown != NULL));
		if (found != NULL) {
			assert_memory_equal(found, cases[i].shown, strlen(cases[i].shown));
			assert_non_null(strstr(json, cases[i].json));
		}
		assert_true(c->tls.starttls_when_possible == again->tls.starttls_when_possible);
		config_release(c);
		config_release(again);
		talloc_free(file);
	}
}

/* They are of issues to come, and said to be. */
static void keys_that_wait_are_taken_with_a_warning(void **state)
{
	static const char yaml[] = BASE
		"tls: {requiretls: true, mta_sts: [a]}\n"
		"destinations: [{domain: a.test, mta_sts: x}]\n"
		"destination_settings: {alert_on_required_tls_failure: true}\n"
		"reports: {tlsrpt: {send: true, dkim: {domain: good.test}}}\n"
		"alerts: {recipients: [{address: a@good.test, classes: [system]}], webhook: 'http://127.0.0.1:1/a'}\n";
	static const char *const keys[] = { "tls.requiretls", "tls.mta_sts", "destinations[a.test].mta_sts",
		"destination_settings.alert_on_required_tls_failure", "reports", "alerts" };
	struct problems *problems = problems_new(NULL);
	struct bundle *bundle = bundle_new(NULL, 1);

	(void)state;
	bundle_add(bundle, "x.yaml", text_of(yaml), BUNDLE_ALL);
	const struct config *config = config_read(bundle, "x.yaml", problems);
	assert_non_null(config);
	assert_int_equal(problems->count, 0);
	assert_int_equal(problems->warning_count, COUNT(keys));
	for (size_t i = 0; i < COUNT(keys); i++) {
		char *line = problems_format(problems, &problems->warnings[i]);

		if (strstr(line, keys[i]) == NULL ||
			strstr(line, "has no effect in this version yet") == NULL)
			fail_msg("%s", line);
	}
	config_release(config);
	talloc_free(bundle);
	talloc_free(problems);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B36_B37_B38_B39_B73_each_key_is_that_of_the_nearest_entry_that_says_it),
		cmocka_unit_test(test_C5_F5_levels_and_dane_where_no_entry_says_any),
		cmocka_unit_test(every_key_of_outbound_tls_reaches_its_field),
		cmocka_unit_test(test_C10_a_server_is_listed_by_address_host_and_domain),
		cmocka_unit_test(test_B72_C12_B82_what_cannot_be_meant_is_said),
		cmocka_unit_test(test_3_35_profiles_too_old_for_a_certificate_are_warned_of),
		cmocka_unit_test(test_F4_all_tls_off_is_said_with_what_gets_no_mail),
		cmocka_unit_test(test_C5_the_switch_is_shown_where_it_was_said),
		cmocka_unit_test(what_is_not_said_is_not_shown),
		cmocka_unit_test(keys_that_wait_are_taken_with_a_warning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
