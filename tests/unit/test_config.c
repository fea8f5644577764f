/* Good configurations: what the text says is what the structs hold, defaults included; domains find their entries. */
#include "config/config.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "base/base.h"
#include "config/bundle.h"
#include "config/problems.h"

#define DIRS	 "hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n"
#define POLICY	 "mail_flow_policies: [{name: open, tls: none}]\n"
#define LISTENER "listeners: [{name: in, type: public, address: '127.0.0.1:0', policy: open}]\n"
#define BASE	 DIRS POLICY LISTENER

static const struct config *read_as(const char *file, const char *yaml)
{
	struct problems *problems = problems_new(NULL);
	struct bundle *bundle = bundle_new(NULL, 7);

	bundle_add(bundle, file, text_of(yaml), BUNDLE_ALL);
	const struct config *config = config_read(bundle, file, problems);
	for (size_t i = 0; i < problems->count; i++)
		print_error("%s\n", problems_format(problems, &problems->list[i]));
	assert_non_null(config);
	assert_int_equal(problems->count, 0);
	talloc_free(bundle);
	talloc_free(problems);
	return config;
}

static void defaults_are_those_of_the_manual(void **state)
{
	static const int64_t retry[] = { 900000, 900000, 1800000, 3600000, 7200000 };
	const struct config *c = read_as("x.yaml", BASE);

	(void)state;
	assert_int_equal(c->generation, 7);
	assert_string_equal(c->file, "x.yaml");
	assert_string_equal(c->user, "postern");
	assert_true(c->authorities.system);
	assert_null(c->authorities.custom);
	assert_false(c->tls.cn_fallback);
	assert_false(c->tls.fqdn_validation);
	assert_int_equal(c->policies[0].action, CONFIG_ACCEPT);
	assert_int_equal(c->delivery.retry_count, COUNT(retry));
	assert_memory_equal(c->delivery.retry_ms, retry, sizeof retry);
	assert_int_equal(c->delivery.expire_ms, 5 * 24 * 3600 * INT64_C(1000));
	assert_int_equal(c->delivery.delay_warning_ms, 4 * 3600 * 1000);
	assert_int_equal(c->delivery.bounce_size, 50 << 10);
	assert_null(c->delivery.double_bounce);
	assert_int_equal(c->delivery.concurrency, 20);
	assert_int_equal(c->delivery.connections, 40);
	assert_int_equal(c->delivery.port, 25);
	assert_int_equal(c->delivery.timeouts.connect_ms, 30 * 1000); /* conformance 2.19 */
	assert_int_equal(c->delivery.timeouts.greeting_ms, 300 * 1000);
	assert_int_equal(c->delivery.timeouts.hello_ms, 300 * 1000);
	assert_int_equal(c->delivery.timeouts.starttls_ms, 120 * 1000);
	assert_int_equal(c->delivery.timeouts.mail_ms, 300 * 1000);
	assert_int_equal(c->delivery.timeouts.rcpt_ms, 300 * 1000);
	assert_int_equal(c->delivery.timeouts.data_ms, 120 * 1000);
	assert_int_equal(c->delivery.timeouts.block_ms, 180 * 1000);
	assert_int_equal(c->delivery.timeouts.end_ms, 600 * 1000);
	assert_int_equal(c->limits.connections, 1000);
	assert_int_equal(c->limits.connections_per_network, 250);
	assert_int_equal(c->limits.rate, 600);
	assert_int_equal(c->limits.tls_rate, 0);
	assert_int_equal(c->limits.commands, 100);
	assert_int_equal(c->limits.line_length, 0);
	assert_int_equal(c->limits.header, 256 << 10);
	assert_int_equal(c->limits.queue_quota, 0);
	assert_int_equal(c->limits.min_free_space, 100 << 20);
	assert_int_equal(c->limits.min_free_inodes, 1000);
	assert_null(c->recipients.file);
	assert_false(c->recipients.call_ahead);
	assert_int_equal(c->recipients.cache_ms, 3600000);
	assert_int_equal(c->dns.forward_count, 0);
	assert_null(c->dns.trust_anchor_file);
	assert_int_equal(c->dns.private_zone_count, 0);
	assert_int_equal(c->dns.timeout_ms, 10000);
	assert_int_equal(c->metrics.address.family, 0);
	assert_int_equal(c->limits.errors, 20);
	assert_int_equal(c->limits.recipients, 1000);
	assert_int_equal(c->limits.message_size, 50 << 20);
	assert_int_equal(c->limits.idle_time_ms, 300000);
	assert_int_equal(c->limits.session_time_ms, 3600000);
	assert_int_equal(c->log.to, CONFIG_LOG_STDERR);
	assert_null(c->log.file);
	assert_int_equal(c->log.level, LOG_INFO);
	assert_int_equal(c->log.format, LOG_PLAIN);
	assert_int_equal(
		c->destination_count + c->route_count + c->group_count + c->accepted_domain_count, 0);
	config_release(c);
}

static const struct config_tls_profile *profile(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->tls_profile_count; i++)
		if (strcmp(c->tls_profiles[i].name, name) == 0)
			return &c->tls_profiles[i];
	fail_msg("there is no profile %s", name);
	return NULL;
}

static void E43_predefined_profiles_exist_without_being_written(void **state)
{
	static const char *const files[] = { BASE, BASE "tls_profiles: []\n",
		BASE "tls_profiles: [{name: own}]\n",
		BASE "tls_profiles: [{name: a}, {name: b}, {name: c}, {name: d}, {name: e}]\n" };

	(void)state;
	for (size_t i = 0; i < COUNT(files); i++) {
		const struct config *c = read_as("x.yaml", files[i]);
		const struct config_tls_profile *server = profile(c, "TLS-Server.Standard"),
						*client = profile(c, "TLS-Client.Standard");

		assert_ptr_equal(c->listeners[0].tls_profile, server);
		assert_int_equal(server->line, 0);
		assert_int_equal(server->min_version, CONFIG_TLS_1_2);
		assert_int_equal(server->max_version, CONFIG_TLS_1_3);
		assert_int_equal(server->pfs, CONFIG_PFS_ALLOWED);
		assert_string_equal(server->ciphers, "ECDHE+AESGCM:ECDHE+CHACHA20");
		assert_null(server->groups);
		assert_true(server->compliance);
		assert_int_equal(client->min_version, CONFIG_TLS_1_2);
		assert_int_equal(client->max_version, CONFIG_TLS_1_3);
		assert_false(client->compliance);
		config_release(c);
	}
}

static void E39_a_new_profile_begins_at_tls_1_2(void **state)
{
	const struct config *c = read_as("x.yaml", BASE "tls_profiles: [{name: own}]\n");
	const struct config_tls_profile *own = profile(c, "own");

	(void)state;
	assert_int_equal(own->min_version, CONFIG_TLS_1_2);
	assert_int_equal(own->max_version, CONFIG_TLS_1_3);
	assert_int_equal(own->pfs, CONFIG_PFS_ALLOWED);
	assert_true(own->compliance);
	assert_int_equal(own->line, 6);
	config_release(c);
}

static void E42_each_word_of_a_profile_has_its_value(void **state)
{
	static const char *const versions[] = { "1.0", "1.1", "1.2", "1.3" }, *const pfs[] = { "allowed",
		"required", "none" };

	(void)state;
	for (size_t i = 0; i < COUNT(versions) * COUNT(pfs); i++) {
		size_t v = i / COUNT(pfs), p = i % COUNT(pfs);
		char *yaml = talloc_asprintf(NULL,
			BASE "tls_profiles: [{name: own, min_version: %s, max_version: %s, pfs: %s}]\n",
			versions[p == CONFIG_PFS_NONE ? 0 : v], versions[v], pfs[p]);
		const struct config *c = read_as("x.yaml", yaml);

		assert_int_equal(profile(c, "own")->max_version, v);
		assert_int_equal(profile(c, "own")->min_version, p == CONFIG_PFS_NONE ? 0 : v);
		assert_int_equal(profile(c, "own")->pfs, p);
		config_release(c);
		talloc_free(yaml);
	}
}

static void a_log_goes_to_a_word_or_a_path(void **state)
{
	static const struct {
		const char *text;
		enum config_log_to to;
		const char *file;
	} cases[] = {
		{ "stderr", CONFIG_LOG_STDERR, NULL },
		{ "syslog", CONFIG_LOG_SYSLOG, NULL },
		{ "journal", CONFIG_LOG_JOURNAL, NULL },
		{ "/var/log/postern", CONFIG_LOG_FILE, "/var/log/postern" },
		{ "log/postern", CONFIG_LOG_FILE, "etc/log/postern" },
		{ "postern.log", CONFIG_LOG_FILE, "etc/postern.log" },
		{ "./syslog", CONFIG_LOG_FILE, "etc/./syslog" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *yaml = talloc_asprintf(NULL, BASE "log: {to: %s}\n", cases[i].text);
		const struct config *c = read_as("etc/x.yaml", yaml);

		assert_int_equal(c->log.to, cases[i].to);
		if (cases[i].file == NULL)
			assert_null(c->log.file);
		else
			assert_string_equal(c->log.file, cases[i].file);
		config_release(c);
		talloc_free(yaml);
	}
}

static void a_listener_has_one_certificate_or_several(void **state)
{
	static const struct {
		const char *written;
		size_t count, which[3];
	} cases[] = {
		{ "", 0, { 0 } },
		{ "certificate: b", 1, { 1 } },
		{ "certificate: [b]", 1, { 1 } },
		{ "certificate: [c, a, b]", 3, { 2, 0, 1 } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *yaml = talloc_asprintf(NULL,
			DIRS
			"certificates: [{name: a, chain: a.pem, key: a.key}, {name: b, chain: b.pem, key: b.key}, "
			"{name: c, chain: c.pem, key: c.key}]\n"
			"mail_flow_policies: [{name: clear, tls: none}]\n"
			"listeners: [{name: in, type: public, address: '127.0.0.1:0', policy: clear%s%s}]\n",
			cases[i].count == 0 ? "" : ", ", cases[i].written);
		const struct config *c = read_as("p.yaml", yaml);

		for (size_t n = 0; n < cases[i].count; n++)
			assert_ptr_equal(config_listener_certificate(&c->listeners[0], n),
				&c->certificates[cases[i].which[n]]);
		assert_null(config_listener_certificate(&c->listeners[0], cases[i].count));
		config_release(c);
		talloc_free(yaml);
	}
}

static void every_key_reaches_its_field(void **state)
{
	const struct config *c = read_as("/etc/postern/p.yaml", DIRS
		"user: mail\n"
		"certificates:\n"
		"  - {name: spare, chain: a.pem, key: a.key}\n"
		"  - {key: /keys/m.key, chain: pki/m.pem, name: main}\n"
		"authorities: {system: false, custom: ca.pem}\n"
		"tls: {cn_fallback: true, fqdn_validation: true}\n"
		"listeners:\n"
		"  - name: in\n"
		"    type: private\n"
		"    address: '[::1]:2525'\n"
		"    certificate: main\n"
		"    policy: trusted\n"
		"    tls_profile: modern\n"
		"    proxy_protocol_from: [192.0.2.9, '2001:db8:9::/48']\n"
		"    xclient_from: [127.0.0.0/8]\n"
		"tls_profiles:\n"
		"  - {name: old, min_version: 1.0, max_version: 1.1}\n"
		"  - name: modern\n"
		"    min_version: 1.3\n"
		"    ciphers: ECDHE+AESGCM:ECDHE+CHACHA20\n"
		"    groups: X25519:P-256\n"
		"    pfs: required\n"
		"    compliance: false\n"
		"mail_flow_policies:\n"
		"  - name: trusted\n"
		"    action: relay\n"
		"    tls: required\n"
		"  - {name: shut, action: reject}\n"
		"sender_groups:\n"
		"  - {name: ours, networks: [192.0.2.0/24, '2001:db8::/32'], policy: trusted}\n"
		"  - {name: rest, networks: [0.0.0.0/0], policy: shut}\n"
		"accepted_domains: [Good.Test, other.test]\n"
		"routes:\n"
		"  - {domain: GOOD.test, next_hop: 192.0.2.7}\n"
		"  - {domain: default, next_hop: '[2001:db8::7]:2526'}\n"
		"destinations: [{domain: .test, tls: required}]\n"
		"delivery: {retry: [500ms, 2s], expire: 1h, delay_warning: 0, bounce_size: 0, "
		"double_bounce: Postmaster@good.test, concurrency: 3, connections: 4, rate: 600, port: 26,\n"
		"  timeouts: {connect: 1s, end: 2s}}\n"
		"recipients: {file: people, call_ahead: on, cache: 2h}\n"
		"metrics: {address: '127.0.0.1:9464'}\n"
		"dns: {forward: [127.0.0.53@5300, '2001:db8::53'], trust_anchor_file: dns/ta.test, "
		"private_zones: [Test., 10.in-addr.arpa], timeout: 2s}\n"
		"limits: {connections: 5, errors: 6, recipients: 100, message_size: 64k, idle_time: 8s, "
		"session_time: 1d, connections_per_network: 7, rate: 8, commands: 9, line: 998, header: "
		"8KiB, tls_rate: 11, "
		"queue_quota: 11, min_free_space: 1GiB, min_free_inodes: 12}\n"
		"log: {to: postern.log, level: debug, format: json}\n");

	(void)state;
	assert_string_equal(c->hostname, "gw.good.test");
	assert_string_equal(c->state_dir, "/etc/postern/state");
	assert_string_equal(c->runtime_dir, "/etc/postern/run");
	assert_string_equal(c->user, "mail");
	assert_int_equal(c->certificate_count, 2);
	assert_string_equal(c->certificates[1].name, "main");
	assert_string_equal(c->certificates[1].chain, "/etc/postern/pki/m.pem");
	assert_string_equal(c->certificates[1].key, "/keys/m.key");
	assert_int_equal(c->certificates[1].line, 7);
	assert_false(c->authorities.system);
	assert_string_equal(c->authorities.custom, "/etc/postern/ca.pem");
	assert_true(c->tls.cn_fallback);
	assert_true(c->tls.fqdn_validation);
	assert_int_equal(c->listeners[0].type, CONFIG_PRIVATE);
	assert_int_equal(c->listeners[0].address.family, AF_INET6);
	assert_int_equal(c->listeners[0].address.port, 2525);
	assert_ptr_equal(c->listeners[0].certificate, &c->certificates[1]);
	assert_ptr_equal(c->listeners[0].policy, &c->policies[0]);
	assert_int_equal(c->listeners[0].line, 11);
	assert_int_equal(c->tls_profile_count, 4);
	assert_ptr_equal(c->listeners[0].tls_profile, &c->tls_profiles[1]);
	assert_int_equal(c->listeners[0].proxy_protocol_from_count, 2);
	assert_int_equal(c->listeners[0].proxy_protocol_from[0].prefix, 32);
	assert_int_equal(c->listeners[0].proxy_protocol_from[1].address.family, AF_INET6);
	assert_int_equal(c->listeners[0].xclient_from_count, 1);
	assert_int_equal(c->listeners[0].xclient_from[0].prefix, 8);
	assert_int_equal(c->tls_profiles[0].min_version, CONFIG_TLS_1_0);
	assert_int_equal(c->tls_profiles[0].max_version, CONFIG_TLS_1_1);
	assert_int_equal(c->tls_profiles[1].min_version, CONFIG_TLS_1_3);
	assert_string_equal(c->tls_profiles[1].ciphers, "ECDHE+AESGCM:ECDHE+CHACHA20");
	assert_string_equal(c->tls_profiles[1].groups, "X25519:P-256");
	assert_int_equal(c->tls_profiles[1].pfs, CONFIG_PFS_REQUIRED);
	assert_false(c->tls_profiles[1].compliance);
	assert_int_equal(c->tls_profiles[1].line, 21);
	assert_string_equal(c->recipients.file, "/etc/postern/people");
	assert_true(c->recipients.call_ahead);
	assert_int_equal(c->recipients.cache_ms, 7200000);
	assert_true(ip_is_loopback(&c->metrics.address));
	assert_int_equal(c->metrics.address.port, 9464);
	assert_int_equal(c->dns.forward_count, 2);
	assert_true(ip_is_loopback(&c->dns.forward[0]));
	assert_int_equal(c->dns.forward[0].port, 5300);
	assert_int_equal(c->dns.forward[1].family, AF_INET6);
	assert_int_equal(c->dns.forward[1].port, 53);
	assert_string_equal(c->dns.trust_anchor_file, "/etc/postern/dns/ta.test");
	assert_int_equal(c->dns.private_zone_count, 2);
	assert_string_equal(c->dns.private_zones[0], "test");
	assert_string_equal(c->dns.private_zones[1], "10.in-addr.arpa");
	assert_int_equal(c->dns.timeout_ms, 2000);
	assert_int_equal(c->limits.connections_per_network, 7);
	assert_int_equal(c->limits.rate, 8);
	assert_int_equal(c->limits.tls_rate, 11);
	assert_int_equal(c->limits.commands, 9);
	assert_int_equal(c->limits.line_length, 998);
	assert_int_equal(c->limits.header, 8192);
	assert_int_equal(c->limits.queue_quota, 11);
	assert_int_equal(c->limits.min_free_space, 1 << 30);
	assert_int_equal(c->limits.min_free_inodes, 12);
	assert_int_equal(c->log.to, CONFIG_LOG_FILE);
	assert_string_equal(c->log.file, "/etc/postern/postern.log");
	assert_int_equal(c->policies[0].action, CONFIG_RELAY);
	assert_int_equal(c->policies[0].tls, CONFIG_TLS_REQUIRED);
	assert_int_equal(c->policies[1].action, CONFIG_REJECT);
	assert_int_equal(c->policies[1].tls, CONFIG_TLS_PREFERRED);
	assert_int_equal(c->groups[0].network_count, 2);
	assert_int_equal(c->groups[0].networks[0].prefix, 24);
	assert_int_equal(c->groups[0].networks[1].address.family, AF_INET6);
	assert_ptr_equal(c->groups[1].policy, &c->policies[1]);
	assert_string_equal(c->accepted_domains[0], "good.test");
	assert_string_equal(c->routes[0].domain, "good.test");
	assert_string_equal(c->routes[0].next_hop, "192.0.2.7");
	assert_int_equal(c->routes[0].address.port, 25);
	assert_int_equal(c->routes[1].address.port, 2526);
	assert_int_equal(c->destinations[0].tls, CONFIG_TLS_REQUIRED);
	assert_int_equal(c->delivery.retry_count, 2);
	assert_int_equal(c->delivery.retry_ms[0], 500);
	assert_int_equal(c->delivery.retry_ms[1], 2000);
	assert_int_equal(c->delivery.expire_ms, 3600000);
	assert_int_equal(c->delivery.delay_warning_ms, 0);
	assert_int_equal(c->delivery.bounce_size, 0);
	assert_string_equal(c->delivery.double_bounce, "Postmaster@good.test");
	assert_int_equal(c->delivery.concurrency, 3);
	assert_int_equal(c->delivery.rate, 600);
	assert_int_equal(c->delivery.connections, 4);
	assert_int_equal(c->delivery.port, 26);
	assert_int_equal(c->delivery.timeouts.connect_ms, 1000);
	assert_int_equal(c->delivery.timeouts.greeting_ms, 300 * 1000);
	assert_int_equal(c->delivery.timeouts.end_ms, 2000);
	assert_int_equal(c->limits.connections, 5);
	assert_int_equal(c->limits.errors, 6);
	assert_int_equal(c->limits.recipients, 100);
	assert_int_equal(c->limits.message_size, 65536);
	assert_int_equal(c->limits.idle_time_ms, 8000);
	assert_int_equal(c->limits.session_time_ms, 24 * 3600 * INT64_C(1000));
	assert_int_equal(c->log.level, LOG_DEBUG);
	assert_int_equal(c->log.format, LOG_JSON);
	config_release(c);
}

static void relative_paths_start_at_the_file(void **state)
{
	static const struct {
		const char *name, *file, *want;
	} cases[] = {
		{ "no directory", "x.yaml", "state" },
		{ "a relative directory", "etc/x.yaml", "etc/state" },
		{ "the working directory", "./x.yaml", "./state" },
		{ "an absolute directory", "/a/b/x.yaml", "/a/b/state" },
		{ "the root", "/x.yaml", "/state" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct config *c = read_as(cases[i].file, BASE);

		if (strcmp(c->state_dir, cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].name, c->state_dir);
		config_release(c);
	}
}

static void next_hops_may_stand_in_brackets(void **state)
{
	static const struct {
		const char *next_hop, *want;
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1:25" },
		{ "192.0.2.1:2525", "192.0.2.1:2525" },
		{ "[192.0.2.1]", "192.0.2.1:25" },
		{ "[192.0.2.1]:26", "192.0.2.1:26" },
		{ "2001:db8::1", "[2001:db8::1]:25" },
		{ "2001:db8::0", "[2001:db8::]:25" },
		{ "[2001:db8::1]", "[2001:db8::1]:25" },
		{ "[2001:db8::1]:65535", "[2001:db8::1]:65535" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *yaml = talloc_asprintf(
			NULL, BASE "routes: [{domain: default, next_hop: '%s'}]\n", cases[i].next_hop);
		const struct config *c = read_as("x.yaml", yaml);
		char text[IP_TEXT_MAX];

		assert_string_equal(c->routes[0].next_hop, cases[i].next_hop);
		assert_string_equal(ip_format_port(&c->routes[0].address, text), cases[i].want);
		config_release(c);
		talloc_free(yaml);
	}
}

static void the_nearest_domain_entry_counts(void **state)
{
	static const struct {
		const char *name, *domain, *route, *destination;
	} cases[] = {
		{ "the exact name", "good.test", "good.test", NULL },
		{ "in any case", "GOOD.Test", "good.test", NULL },
		{ "the exact name before its parent", "a.good.test", "a.good.test", ".good.test" },
		{ "the longest parent", "b.a.good.test", ".a.good.test", ".good.test" },
		{ "a shorter parent", "x.good.test", ".good.test", ".good.test" },
		{ "no parent of itself, so default", "a.test", "default", NULL },
		{ "a name that ends alike is no child", "xgood.test", "default", NULL },
		{ "all others", "other.example", "default", NULL },
		{ "nothing", "", "default", NULL },
		{ "a lone dot", ".good.test", ".good.test", ".good.test" },
	};
	const struct config *c = read_as("x.yaml", BASE "routes:\n"
							"  - {domain: default, next_hop: 192.0.2.1}\n"
							"  - {domain: .good.test, next_hop: 192.0.2.2}\n"
							"  - {domain: .a.good.test, next_hop: 192.0.2.3}\n"
							"  - {domain: a.good.test, next_hop: 192.0.2.4}\n"
							"  - {domain: good.test, next_hop: 192.0.2.5}\n"
							"destinations: [{domain: .good.test, tls: none}]\n");

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct config_route *route = config_route_for(c, text_of(cases[i].domain));
		const struct config_destination *d =
			config_destination_for(c, text_of(cases[i].domain), CONFIG_SAYS_TLS);

		if (route == NULL || strcmp(route->domain, cases[i].route) != 0)
			fail_msg("route of %s: %s", cases[i].name, route == NULL ? "none" : route->domain);
		if ((d == NULL) != (cases[i].destination == NULL) ||
			(d != NULL && strcmp(d->domain, cases[i].destination) != 0))
			fail_msg("destination of %s: %s", cases[i].name, d == NULL ? "none" : d->domain);
	}
	config_release(c);
}

#define DESTINATIONS                                                                                         \
	"delivery: {concurrency: 7, rate: 70}\n"                                                             \
	"routes:\n"                                                                                          \
	"  - {domain: r.test, next_hop: 'Mail.R.test:26'}\n"                                                 \
	"tls_profiles: [{name: p}, {name: q}]\n"                                                             \
	"destinations:\n"                                                                                    \
	"  - {domain: default, tls: required}\n"                                                             \
	"  - {domain: .good.test, concurrency: 3, tls: none, tls_profile: q}\n"                              \
	"  - {domain: a.good.test, rate: 0}\n"                                                               \
	"  - {domain: b.good.test, tls_profile: TLS-Client.Standard}\n"                                      \
	"  - {domain: mail.r.test, concurrency: 1, rate: 5}\n"                                               \
	"  - {domain: '[192.0.2.1]', rate: 1, tls: none}\n"                                                  \
	"  - {domain: '2001:DB8::1', rate: 2, tls: preferred}\n"

/* Each key for itself: what an entry does not say, a wider one does. */
static void what_a_destination_does_not_say_a_wider_one_does(void **state)
{
	static const struct {
		const char *domain;
		enum config_tls tls; /* towards recipients there */
		uint64_t concurrency, rate;
		const char *profile;
	} cases[] = {
		{ "other.test", CONFIG_TLS_REQUIRED, 7, 70 },
		{ "b.good.test", CONFIG_TLS_NONE, 3, 70, "TLS-Client.Standard" },
		{ "a.good.test", CONFIG_TLS_NONE, 3, 0, "q" },
		{ "A.GOOD.test", CONFIG_TLS_NONE, 3, 0, "q" },
		{ "mail.r.test", CONFIG_TLS_REQUIRED, 1, 5 },
		{ "[192.0.2.1]", CONFIG_TLS_NONE, 7, 1 },
		{ "[192.0.2.2]", CONFIG_TLS_REQUIRED, 7, 70 },
		{ "[IPv6:2001:db8::1]", CONFIG_TLS_PREFERRED, 7, 2 },
		{ "", CONFIG_TLS_REQUIRED, 7, 70 },
	};
	const struct config *c = read_as("x.yaml", BASE DESTINATIONS);

	(void)state;
	assert_int_equal(c->destinations[2].tls, CONFIG_TLS_UNSET);
	assert_true(
		c->destinations[0].rate == CONFIG_UNSET && c->destinations[2].concurrency == CONFIG_UNSET);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct config_pace pace = config_pace_of(c, cases[i].domain);
		enum config_tls tls =
			config_destination_for(c, text_of(cases[i].domain), CONFIG_SAYS_TLS)->tls;

		if (tls != cases[i].tls || pace.concurrency != cases[i].concurrency ||
			pace.rate != cases[i].rate)
			fail_msg("%s", cases[i].domain);
		const struct config_tls_profile *profile =
			config_tls_profile_for(c, text_of(cases[i].domain));
		if ((profile == NULL) != (cases[i].profile == NULL) ||
			(profile != NULL && strcmp(profile->name, cases[i].profile) != 0))
			fail_msg("%s: %s", cases[i].domain, profile == NULL ? "none" : profile->name);
	}
	config_release(c);
}

/* As a route writes it, with and without its port, or a domain without a route. */
static void a_next_hop_is_known_by_its_name_without_the_port(void **state)
{
	static const char *const cases[][2] = {
		{ "Mail.R.test:26", "mail.r.test" },
		{ "mail.r.test", "mail.r.test" },
		{ "mx:A.good.test:26", "a.good.test" },
		{ "192.0.2.1", "192.0.2.1" },
		{ "192.0.2.1:2525", "192.0.2.1" },
		{ "[192.0.2.1]:2525", "192.0.2.1" },
		{ "[2001:DB8::1]:2525", "2001:db8::1" },
		{ "2001:db8::1", "2001:db8::1" },
		{ "[IPv6:2001:db8::1]", "2001:db8::1" },
		{ "[192.0.2.1]", "192.0.2.1" },
		{ "_odd.test", "_odd.test" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *name = config_hop_name(NULL, cases[i][0]);

		assert_string_equal(name, cases[i][1]);
		talloc_free(name);
	}
}

static void only_listed_domains_are_ours(void **state)
{
	const struct config *c = read_as("x.yaml", BASE "accepted_domains: [good.test, '2.test']\n"
							"routes: [{domain: .test, next_hop: 192.0.2.1}, "
							"{domain: default, next_hop: 192.0.2.1}]\n");

	(void)state;
	assert_true(config_accepts(c, TEXT("good.test")));
	assert_true(config_accepts(c, TEXT("GOOD.TEST")));
	assert_true(config_accepts(c, TEXT("2.test")));
	assert_false(config_accepts(c, TEXT("a.good.test")));
	assert_false(config_accepts(c, TEXT("good.tes")));
	assert_false(config_accepts(c, TEXT("")));
	config_release(c);
}

static void the_last_holder_frees(void **state)
{
	const struct config *c = read_as("x.yaml", BASE);

	(void)state;
	assert_ptr_equal(config_hold(c), c);
	config_release(c);
	assert_string_equal(c->hostname, "gw.good.test"); /* ASan: still there */
	config_release(c);
	config_release(NULL);
}

static void words_have_their_names(void **state)
{
	(void)state;
	assert_string_equal(config_tls_name(CONFIG_TLS_NONE), "none");
	assert_string_equal(config_tls_name(CONFIG_TLS_PREFERRED), "preferred");
	assert_string_equal(config_tls_name(CONFIG_TLS_REQUIRED), "required");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_manual),
		cmocka_unit_test(a_listener_has_one_certificate_or_several),
		cmocka_unit_test(every_key_reaches_its_field),
		cmocka_unit_test(E43_predefined_profiles_exist_without_being_written),
		cmocka_unit_test(E39_a_new_profile_begins_at_tls_1_2),
		cmocka_unit_test(E42_each_word_of_a_profile_has_its_value),
		cmocka_unit_test(a_log_goes_to_a_word_or_a_path),
		cmocka_unit_test(relative_paths_start_at_the_file),
		cmocka_unit_test(next_hops_may_stand_in_brackets),
		cmocka_unit_test(the_nearest_domain_entry_counts),
		cmocka_unit_test(what_a_destination_does_not_say_a_wider_one_does),
		cmocka_unit_test(a_next_hop_is_known_by_its_name_without_the_port),
		cmocka_unit_test(only_listed_domains_are_ours),
		cmocka_unit_test(the_last_holder_frees),
		cmocka_unit_test(words_have_their_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
