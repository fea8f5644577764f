/* What is shown can be read again and means the same; gathering finds files; the manual names every key. */
#include "config/config.h"

#include <fcntl.h>
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

/* The example of the first issue, as it stands in the examples folder. */
#define RELAY                                                                                                \
	"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n\n"                                     \
	"certificates:\n  - name: main\n    chain: pki/server.pem\n    key: pki/server.key\n\n"              \
	"authorities:\n  system: false\n  custom: pki/ca.pem\n\n"                                            \
	"listeners:\n  - name: inbound\n    type: public\n    address: 127.0.0.1:2525\n    certificate: "    \
	"main\n"                                                                                             \
	"    policy: accepted\n\n"                                                                           \
	"mail_flow_policies:\n  - name: accepted\n    tls: preferred\n\n"                                    \
	"accepted_domains:\n  - good.test\n\n"                                                               \
	"routes:\n  - domain: good.test\n    next_hop: 127.0.0.1:2530\n\n"                                   \
	"destinations:\n  - domain: default\n    tls: preferred\n"

#define RECIPIENTS "recipients: {file: people}\ndns: {trust_anchor_file: ta.test}\n"

#define RELAY_SHOWN                                                                                                                                      \
	"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\nuser: postern\n"                                                                    \
	"certificates:\n  - name: main\n    chain: pki/server.pem\n    key: pki/server.key\n"                                                            \
	"watch_certificates: true\ntls:\n  enabled: true\n  cn_fallback: false\n  fqdn_validation: false\n  x509_validation: false\n  stapling: true\n"  \
	"  retry_without_tls: false\n  starttls_never: []\n  starttls_required: []\n"                                                                    \
	"  dane_pkix_usages: unusable\n  dane_insecure_mx: dane\n"                                                                                       \
	"authorities:\n  system: false\n  custom: pki/ca.pem\n"                                                                                          \
	"tls_profiles: []\n"                                                                                                                             \
	"listeners:\n  - name: inbound\n    type: public\n    address: 127.0.0.1:2525\n    certificate: "                                                \
	"main\n"                                                                                                                                         \
	"    policy: accepted\n    tls_profile: TLS-Server.Standard\n    proxy_protocol_from: []\n"                                                      \
	"    xclient_from: []\n"                                                                                                                         \
	"mail_flow_policies:\n  - name: accepted\n    action: accept\n    tls: preferred\n    refuse_null_mx: on\n"                                      \
	"sender_groups: []\naccepted_domains:\n  - good.test\n"                                                                                          \
	"routes:\n  - domain: good.test\n    next_hop: 127.0.0.1:2530\n    source: []\n"                                                                 \
	"    implicit_tls: false\n"                                                                                                                      \
	"destinations:\n  - domain: default\n    tls: preferred\ndestination_settings: {}\n"                                                             \
	"recipients:\n  call_ahead: off\n  cache: 1h\n"                                                                                                  \
	"dns:\n  forward: []\n  private_zones: []\n  timeout: 10s\nfetch:\n  allow_networks: []\n"                                                       \
	"crl_sources:\n  check:\n    inbound_smtp: false\n    outbound_smtp: false\n    web: false\n  strict: false\n  max_size: 16MiB\n  sources: []\n" \
	"delivery:\n  retry:\n    - 15m\n    - 15m\n    - 30m\n    - 1h\n    - 2h\n  expire: 5d\n"                                                       \
	"  delay_warning: 4h\n  bounce_size: 50KiB\n"                                                                                                    \
	"  concurrency: 20\n  connections: 40\n  rate: 0\n  port: 25\n"                                                                                  \
	"  timeouts:\n    connect: 30s\n    greeting: 5m\n    hello: 5m\n    starttls: 2m\n"                                                             \
	"    mail: 5m\n    rcpt: 5m\n    data: 2m\n    block: 3m\n    end: 10m\n"                                                                        \
	"limits:\n  connections: 1000\n  connections_per_network: 250\n  rate: 600\n"                                                                    \
	"  tls_rate: 0\n  commands: 100\n"                                                                                                               \
	"  errors: 20\n  recipients: 1000\n  line: 0\n  header: 256KiB\n  message_size: 50MiB\n"                                                         \
	"  idle_time: 5m\n  session_time: 1h\n  queue_quota: 0\n  min_free_space: 100MiB\n"                                                              \
	"  min_free_inodes: 1000\n"                                                                                                                      \
	"metrics: {}\n"                                                                                                                                  \
	"tracking:\n  keep: 30d\n"                                                                                                                       \
	"log:\n  to: stderr\n  level: info\n  format: plain\n"

static char *show(const void *owner, const char *file, const char *yaml, bool json)
{
	struct problems *problems = problems_new(NULL);
	struct bundle *bundle = bundle_new(NULL, 1);

	bundle_add(bundle, file, text_of(yaml), BUNDLE_ALL);
	const struct config *config = config_read(bundle, file, problems);
	for (size_t i = 0; i < problems->count; i++)
		print_error("%s\n", problems_format(problems, &problems->list[i]));
	assert_non_null(config);
	char *shown = config_show(owner, config, json);
	config_release(config);
	talloc_free(bundle);
	talloc_free(problems);
	return shown;
}

static void the_example_is_shown_with_its_defaults(void **state)
{
	char *shown = show(NULL, "relay.yaml", RELAY, false);

	(void)state;
	assert_string_equal(shown, RELAY_SHOWN);
	talloc_free(shown);
}

static void what_is_shown_can_be_read_again(void **state)
{
	static const struct {
		const char *name, *file, *yaml;
	} cases[] = {
		{ "the example", "relay.yaml", RELAY },
		{ "the example in a relative directory", "some/where/relay.yaml", RELAY },
		{ "the example in an absolute directory", "/etc/relay.yaml", RELAY },
		{ "nothing but what is required", "x.yaml", BASE },
		{ "odd strings", "x.yaml", BASE "authorities: {custom: \"a \\\"b\\\\ #c: d\"}\n" },
		{ "a path that begins with a dash", "x.yaml", BASE "authorities: {custom: '- a'}\n" },
		{ "a path with letters beyond ASCII", "x.yaml",
			BASE "authorities: {custom: zertifikate/m\xc3\xbcll.pem}\n" },
		{ "a path that is a word of YAML", "x.yaml", BASE "authorities: {custom: 'null'}\n" },
		{ "IPv6, groups and odd sizes", "x.yaml",
			BASE "sender_groups: [{name: g, policy: open, networks: ['2001:db8::/32', '::1', "
			     "10.0.0.0/8]}]\n"
			     "routes: [{domain: default, next_hop: '[2001:db8::1]:2525'}]\n"
			     "limits: {message_size: 65537, idle_time: 1500ms, session_time: 25h}\n"
			     "delivery: {retry: [100ms, 90s, 3600s], port: 2525}\n"
			     "log: {level: debug, format: json}\n" },
		{ "a route with all that goes with it", "x.yaml",
			BASE
			"routes:\n"
			"  - {domain: a.test, next_hop: 'MX:a.test:26', source: [192.0.2.1, '2001:db8::1'],\n"
			"     helo: out.good.test}\n"
			"  - {domain: default, next_hop: smart.good.test, implicit_tls: true, username: me@good.test,\n"
			"     password_file: secrets/smart}\n" },
		{ "profiles, one of them used", "x.yaml",
			"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n"
			"mail_flow_policies: [{name: open, tls: none}]\n"
			"listeners: [{name: in, type: public, address: '127.0.0.1:0', policy: open, tls_profile: "
			"new, proxy_protocol_from: [127.0.0.1], xclient_from: ['::1', 10.0.0.0/8]}]\n"
			"tls_profiles: [{name: old, min_version: 1.0, max_version: 1.2, pfs: none, compliance: "
			"false}, {name: new, min_version: 1.3, pfs: required, groups: 'X25519:P-256', ciphers: "
			"'DEFAULT:!aRSA:@STRENGTH'}]\n" },
		{ "recipients, metrics and limits", "x.yaml",
			BASE "recipients: {file: people.txt, call_ahead: on, cache: 90s}\n"
			     "metrics: {address: '[::1]:9464'}\n"
			     "limits: {line: 998, header: 9000, queue_quota: 7, min_free_space: 0, "
			     "tls_rate: 4, "
			     "min_free_inodes: 0, rate: 1, commands: 2, connections_per_network: 3}\n" },
		{ "destinations that say one thing each", "x.yaml",
			BASE "destinations: [{domain: a.test, tls: none}, {domain: .b.test, rate: 0}, "
			     "{domain: '[192.0.2.1]', concurrency: 64}, {domain: '2001:DB8::1'}]\n" },
		{ "dns", "x.yaml",
			BASE
			"dns: {forward: [127.0.0.53@5300, '2001:db8::53', 192.0.2.1@53], trust_anchor_file: dns/ta.test, "
			"private_zones: [test., 10.in-addr.arpa], timeout: 1500ms}\n" },
		{ "tracking for ever", "x.yaml", BASE "tracking: {keep: 0d}\n" },
		{ "a log file", "x.yaml", BASE "log: {to: log/a b}\n" },
		{ "a log file in a relative directory", "etc/x.yaml", BASE "log: {to: a.log}\n" },
		{ "a log file in an absolute directory", "/etc/x.yaml", BASE "log: {to: ./a}\n" },
		{ "a log that is called as a word", "etc/x.yaml", BASE "log: {to: ./syslog}\n" },
		{ "the system's log", "x.yaml", BASE "log: {to: syslog}\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		void *owner = talloc_new(NULL);

		char *once = show(owner, cases[i].file, cases[i].yaml, false);
		char *again = show(owner, cases[i].file, once, false);
		if (strcmp(once, again) != 0)
			fail_msg("%s:\n%s\n%s", cases[i].name, once, again);
		assert_string_equal(show(owner, cases[i].file, cases[i].yaml, true),
			show(owner, cases[i].file, once, true));
		talloc_free(owner);
	}
}

static void values_are_shown_in_their_shortest_form(void **state)
{
	static const struct {
		const char *yaml, *want;
	} cases[] = {
		{ "limits: {message_size: 65536}", "  message_size: 64KiB\n" },
		{ "limits: {message_size: 1024k}", "  message_size: 1MiB\n" },
		{ "limits: {message_size: 1024m}", "  message_size: 1GiB\n" },
		{ "limits: {message_size: 65537}", "  message_size: 65537\n" },
		{ "limits: {idle_time: 60s}", "  idle_time: 1m\n" },
		{ "limits: {idle_time: 60m}", "  idle_time: 1h\n" },
		{ "limits: {idle_time: 1001ms}", "  idle_time: 1001ms\n" },
		{ "delivery: {expire: 48h}", "  expire: 2d\n" },
		{ "delivery: {expire: 25h}", "  expire: 25h\n" },
		{ "delivery: {delay_warning: 0}", "  delay_warning: 0ms\n" },
		{ "delivery: {double_bounce: p@x.test}", "  double_bounce: \"p@x.test\"\n" },
		{ "log: {to: ./syslog}", "  to: ./syslog\n" },
		{ "log: {to: journal}", "  to: journal\n" },
		{ "dns: {forward: ['2001:db8::53'], private_zones: [Test.]}",
			"  forward:\n    - \"2001:db8::53@53\"\n  private_zones:\n    - test\n" },
		{ "limits: {line: 1024}", "  line: 1KiB\n" },
		{ "recipients: {call_ahead: on}", "  call_ahead: on\n" },
		{ "metrics: {address: '[::1]:1'}", "metrics:\n  address: \"[::1]:1\"\n" },
		{ "tls_profiles: [{name: p}]",
			"tls_profiles:\n  - name: p\n    min_version: 1.2\n    max_version: 1.3\n"
			"    pfs: allowed\n    ocsp: off\n    compliance: true\nlisteners:" },
		{ "authorities: {custom: 'a b'}", "  custom: \"a b\"\n" },
		{ "authorities: {custom: 'a\"b\\c'}", "  custom: \"a\\\"b\\\\c\"\n" },
		{ "authorities: {custom: /a/b}", "  custom: /a/b\n" },
		{ "sender_groups: [{name: g, policy: open, networks: [10.1.2.3, '2001:DB8::']}]",
			"      - 10.1.2.3/32\n      - 2001:db8::/128\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *yaml = talloc_asprintf(NULL, BASE "%s\n", cases[i].yaml);
		char *shown = show(yaml, "x.yaml", yaml, false);

		if (strstr(shown, cases[i].want) == NULL)
			fail_msg("%s: not found in\n%s", cases[i].want, shown);
		talloc_free(yaml);
	}
}

static void paths_are_shown_as_they_work(void **state)
{
	static const struct {
		const char *file, *want;
	} cases[] = {
		{ "relay.yaml", "\nstate_dir: state\n" },
		{ "etc/relay.yaml", "\nstate_dir: state\n" }, /* relative to the file, as written */
		{ "/etc/relay.yaml", "\nstate_dir: /etc/state\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *shown = show(NULL, cases[i].file, RELAY, false);

		if (strstr(shown, cases[i].want) == NULL)
			fail_msg("%s:\n%s", cases[i].file, shown);
		talloc_free(shown);
	}
}

static void json_has_numbers_and_truth_values(void **state)
{
	static const char *const wants[] = { "\"system\": true", "\"connections\": 1000",
		"\"idle_time\": \"5m\"",
		"\"listeners\": [{\"name\": \"in\", \"type\": \"public\", \"address\": \"127.0.0.1:0\", "
		"\"policy\": "
		"\"open\", \"tls_profile\": \"TLS-Server.Standard\", \"proxy_protocol_from\": [], "
		"\"xclient_from\": []}]",
		"\"tls_profiles\": []", "\"call_ahead\": \"off\"", "\"metrics\": {}", "\"to\": \"stderr\"",
		"\"routes\": []" };
	char *shown = show(NULL, "x.yaml", BASE, true);

	(void)state;
	for (size_t i = 0; i < COUNT(wants); i++)
		if (strstr(shown, wants[i]) == NULL)
			fail_msg("%s: not found in\n%s", wants[i], shown);
	assert_null(strchr(shown, '\n'));
	talloc_free(shown);
}

static void the_manual_names_every_key_that_is_shown(void **state)
{
	char *manual = config_manual(NULL);
	char *shown = show(manual, "relay.yaml", RELAY, false);

	(void)state;
	for (char *line = strtok(shown, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		size_t start = strspn(line, " -"), len = strcspn(line + start, ":");
		char *cell = talloc_asprintf(manual, "\n| `%.*s` | ", (int)len, line + start);

		if (line[start + len] == ':' && strstr(manual, cell) == NULL)
			fail_msg("the manual lacks %s", cell);
	}
	assert_non_null(strstr(manual, "\n## `limits`\n"));
	assert_non_null(strstr(
		manual, "| `message_size` | size | `50MiB` | 64KiB to 1GiB | Size of one message. |\n"));
	assert_non_null(
		strstr(manual, "| `retry` | list of durations | `[15m, 15m, 30m, 1h, 2h]` | 100ms to 7d | "));
	assert_non_null(strstr(manual, "| `line` | size | `0` | 0, or 998 to 10MiB | "));
	assert_non_null(
		strstr(manual, "| `tls_profile` | name in `tls_profiles` | `TLS-Server.Standard` |  | "));
	assert_non_null(
		strstr(manual, "| `to` | word or path | `stderr` | stderr, syslog, journal, PATH | "));
	assert_non_null(strstr(manual, "| `call_ahead` | on/off | `off` |  | "));
	assert_non_null(strstr(manual, "| `policy` | name in `mail_flow_policies` | required |  | "));
	talloc_free(manual);
}

/* Gathering from disk, in a directory of its own. */

static void put(const char *directory, const char *name, const char *bytes)
{
	char *path = talloc_asprintf(NULL, "%s/%s", directory, name);
	CLEANUP(base_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, strlen(bytes)), (ssize_t)strlen(bytes));
	talloc_free(path);
}

static int directory_make(void **state)
{
	char *directory = talloc_strdup(NULL, "/tmp/postern-test-config-XXXXXX");

	*state = directory;
	return mkdtemp(directory) == NULL;
}

static int directory_remove(void **state)
{
	static const char *const names[] = { "pki/server.pem", "pki/server.key", "pki/ca.pem", "people",
		"ta.test", "relay.yaml", "pki", "" };
	char *directory = *state;

	for (size_t i = 0; i < COUNT(names); i++)
		remove(talloc_asprintf(directory, "%s/%s", directory, names[i]));
	talloc_free(directory);
	return 0;
}

/* A configuration and all it names. */
static void put_all(const char *directory)
{
	char *pki = talloc_asprintf(NULL, "%s/pki", directory);

	mkdir(pki, 0700);
	talloc_free(pki);
	put(directory, "relay.yaml", RELAY RECIPIENTS);
	put(directory, "people", "bob@good.test\n");
	put(directory, "ta.test", ". IN DS 1 13 2 00ff\n");
	put(directory, "pki/server.pem", "the chain");
	put(directory, "pki/server.key", "the key");
	put(directory, "pki/ca.pem", "the authorities");
}

static void gathering_packs_what_each_role_may_see(void **state)
{
	static const struct {
		const char *name;
		unsigned readers;
	} files[] = {
		{ "relay.yaml",
			BUNDLE_FRONT | BUNDLE_QUEUE | BUNDLE_DELIVER | BUNDLE_RESOLVER | BUNDLE_KEYS },
		{ "pki/server.pem", BUNDLE_FRONT },
		{ "pki/server.key", BUNDLE_KEYS },
		{ "pki/ca.pem", BUNDLE_DELIVER },
		{ "people", BUNDLE_FRONT },
		{ "ta.test", BUNDLE_RESOLVER },
	};
	static const unsigned roles[] = { BUNDLE_FRONT, BUNDLE_QUEUE, BUNDLE_DELIVER, BUNDLE_RESOLVER,
		BUNDLE_KEYS };
	const char *directory = *state;
	void *owner = talloc_new(NULL);
	char *file = talloc_asprintf(owner, "%s/relay.yaml", directory);
	struct problems *problems = problems_new(owner);
	const struct config *config;

	put_all(directory);

	struct bundle *bundle = config_gather(owner, file, 42, problems, &config);
	assert_int_equal(problems->count, 0);
	assert_non_null(bundle);
	assert_int_equal(config->generation, 42);
	for (size_t r = 0; r < COUNT(roles); r++) {
		CLEANUP(base_close) int fd = bundle_seal(bundle, roles[r]);
		struct bundle *seen = bundle_open(owner, fd);
		assert_non_null(seen);

		for (size_t i = 0; i < COUNT(files); i++) {
			char *path = talloc_asprintf(owner, "%s/%s", directory, files[i].name);

			bool found =
				bundle_find(seen, path).at != NULL || bundle_find_key(seen, path).at != NULL;
			assert_int_equal(found, (files[i].readers & roles[r]) != 0);
		}
		const struct config *again = config_read(seen, file, problems);
		assert_non_null(again);
		assert_int_equal(again->generation, 42);
		config_release(again);
	}
	config_release(config);
	talloc_free(owner);
}

static void gathering_warns_of_keys_that_others_may_read_or_change(void **state)
{
	static const struct {
		mode_t mode;
		const char *who; /* NULL: no warning */
	} modes[] = {
		{ 0600, NULL },
		{ 0400, NULL },
		{ 0640, NULL },
		{ 0644, "lets everybody read this" },
		{ 0604, "lets everybody read this" },
		{ 0666, "lets everybody read this" },
		{ 0602, "lets everybody change this" },
		{ 0660, "lets its group change this" },
		{ 0620, "lets its group change this" },
	};
	const char *directory = *state;
	char *file = talloc_asprintf(NULL, "%s/relay.yaml", directory);
	char *key = talloc_asprintf(file, "%s/pki/server.key", directory);
	const struct config *config;

	put_all(directory);
	for (size_t i = 0; i < COUNT(modes); i++) {
		struct problems *problems = problems_new(file);

		assert_int_equal(chmod(key, modes[i].mode), 0);
		assert_non_null(config_gather(problems, file, 1, problems, &config));
		assert_int_equal(problems->count, 0);
		assert_int_equal(problems->warning_count, modes[i].who != NULL);
		if (modes[i].who != NULL) {
			assert_string_equal(problems->warnings[0].key, "certificates[main].key");
			assert_string_equal(problems->warnings[0].file, file);
			assert_int_equal(problems->warnings[0].line, 8);
			assert_non_null(strstr(problems->warnings[0].text, modes[i].who));
			assert_non_null(strstr(problems->warnings[0].text, key));
		}
		config_release(config);
		talloc_free(problems);
	}
	talloc_free(file);
}

static void gathering_names_files_that_are_missing(void **state)
{
	const char *directory = *state;
	char *file = talloc_asprintf(NULL, "%s/relay.yaml", directory);
	struct problems *problems = problems_new(file);
	const struct config *config = NULL;

	put(directory, "relay.yaml", RELAY RECIPIENTS);
	assert_null(config_gather(file, file, 1, problems, &config));
	assert_null(config);
	assert_int_equal(problems->count, 5);
	assert_string_equal(problems->list[0].key, "certificates[main].chain");
	assert_int_equal(problems->list[0].line, 7);
	assert_string_equal(problems->list[0].text, talloc_asprintf(file,
							    "`%s/pki/server.pem` cannot be read: No such "
							    "file or directory; correct the path or put the "
							    "file there",
							    directory));
	assert_string_equal(problems->list[1].key, "certificates[main].key");
	assert_int_equal(problems->list[1].line, 8);
	assert_string_equal(problems->list[2].key, "authorities.custom");
	assert_int_equal(problems->list[2].line, 12);
	assert_string_equal(problems->list[3].key, "recipients.file");
	assert_int_equal(problems->list[3].line, 35);
	assert_string_equal(problems->list[4].key, "dns.trust_anchor_file");
	assert_int_equal(problems->list[4].line, 36);
	talloc_free(file);
}

static void gathering_refuses_a_file_without_a_trust_anchor(void **state)
{
	const char *directory = *state;
	char *file = talloc_asprintf(NULL, "%s/relay.yaml", directory);
	struct problems *problems = problems_new(file);
	const struct config *config = NULL;

	put_all(directory);
	put(directory, "ta.test", "; nothing\n");
	assert_null(config_gather(file, file, 1, problems, &config));
	assert_null(config);
	assert_int_equal(problems->count, 1);
	assert_string_equal(problems->list[0].key, "dns.trust_anchor_file");
	assert_int_equal(problems->list[0].line, 36);
	assert_non_null(strstr(problems->list[0].text, "/ta.test`: has no trust anchor: write a DS"));
	talloc_free(file);
}

static void gathering_names_the_file_itself_when_it_is_missing(void **state)
{
	struct problems *problems = problems_new(NULL);
	const struct config *config = NULL;

	(void)state;
	assert_null(config_gather(problems, "/nonexistent/x.yaml", 1, problems, &config));
	assert_null(config);
	assert_int_equal(problems->count, 1);
	assert_string_equal(problems_format(problems, &problems->list[0]),
		"/nonexistent/x.yaml: cannot be read: No such file or directory; name the configuration file "
		"with -c "
		"FILE");
	talloc_free(problems);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_is_shown_with_its_defaults),
		cmocka_unit_test(what_is_shown_can_be_read_again),
		cmocka_unit_test(values_are_shown_in_their_shortest_form),
		cmocka_unit_test(paths_are_shown_as_they_work),
		cmocka_unit_test(json_has_numbers_and_truth_values),
		cmocka_unit_test(the_manual_names_every_key_that_is_shown),
		cmocka_unit_test_setup_teardown(
			gathering_packs_what_each_role_may_see, directory_make, directory_remove),
		cmocka_unit_test_setup_teardown(gathering_warns_of_keys_that_others_may_read_or_change,
			directory_make, directory_remove),
		cmocka_unit_test_setup_teardown(
			gathering_names_files_that_are_missing, directory_make, directory_remove),
		cmocka_unit_test_setup_teardown(
			gathering_refuses_a_file_without_a_trust_anchor, directory_make, directory_remove),
		cmocka_unit_test(gathering_names_the_file_itself_when_it_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
