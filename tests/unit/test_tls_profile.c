/*
 * TLS profiles (E38-E44): what a real OpenSSL client gets from a listener with a profile, over a TCP pair, and what `postern check` says
 * about profiles that this OpenSSL cannot follow. The client is at security level 0, so that it is the profile that decides.
 */
#include "net/tls.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "base/err.h"
#include "net/conn.h"
#include "pki/identity.h"
#include "test_help.h"

static const int protocols[] = { TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION };
static const char *const protocol_names[] = { "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3" };

static struct help_identity ec, rsa;

/* A client, and afterwards what it met. */
struct client {
	int min, max; /* 0 = any */
	const char *ciphers, *groups;
	SSL_SESSION **session; /* offered when it holds one; filled after the handshake when it does not */
	int fd;
	bool secured, resumed;
	int alert; /* what the server said, or -1 */
};

struct outcome {
	int result; /* of conn_tls_accept() */
	struct client client;
	struct evidence evidence;
};

static void *client_run(void *argument)
{
	struct client *client = argument;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	char byte;

	SSL_CTX_set_security_level(context, 0);
	SSL_CTX_set_min_proto_version(context, client->min);
	SSL_CTX_set_max_proto_version(context, client->max);
	if (client->ciphers != NULL)
		SSL_CTX_set_cipher_list(context, client->ciphers);
	if (client->groups != NULL)
		SSL_CTX_set1_groups_list(context, client->groups);
	SSL *ssl = SSL_new(context);
	SSL_set_fd(ssl, client->fd);
	if (client->session != NULL && *client->session != NULL)
		SSL_set_session(ssl, *client->session);
	ERR_clear_error();
	client->secured = SSL_connect(ssl) == 1;
	client->resumed = SSL_session_reused(ssl) == 1;
	client->alert = ERR_GET_REASON(ERR_peek_error()) - SSL_AD_REASON_OFFSET;
	if (client->alert < 0)
		client->alert = -1;
	if (client->secured)
		SSL_read(ssl, &byte, 1); /* the ticket of TLS 1.3 comes before it */
	if (client->session != NULL && *client->session == NULL)
		*client->session = SSL_get1_session(ssl);
	if (client->secured)
		SSL_shutdown(ssl);
	SSL_free(ssl);
	SSL_CTX_free(context);
	ERR_clear_error();
	return NULL;
}

static struct tls_context *listener_new(const void *owner, const char *name,
	const struct config_tls_profile *profile, const struct help_identity *files)
{
	struct tls_context *context = tls_context_server(owner, name);
	struct identity_flaw flaw;

	assert_int_equal(tls_use_profile(context, profile), 0);
	struct identity *identity = identity_load(owner, text_of(files->chain), text_of(files->key), &flaw);
	assert_non_null(identity);
	assert_int_equal(identity_use(identity, context), 0);
	return context;
}

/* One handshake of `client` with `context`. */
static struct outcome meet(struct tls_context *context, struct client client)
{
	struct outcome outcome = { .client = client };
	pthread_t thread;
	int fds[2];

	help_tcp_pair(fds);
	outcome.client.fd = fds[0];
	struct conn *server = conn_new(fds[1]);
	conn_set_deadline(server, clock_mono_ms() + 30000);
	assert_int_equal(pthread_create(&thread, NULL, client_run, &outcome.client), 0);
	outcome.result = conn_tls_accept(server, context);
	if (outcome.result == 0) {
		assert_int_equal(conn_write(server, TEXT("x")), 0);
		assert_int_equal(conn_flush(server), 0);
	}
	outcome.evidence = server->evidence;
	conn_free(server);
	pthread_join(thread, NULL);
	close(fds[0]);
	assert_int_equal(outcome.result == 0, outcome.client.secured);
	if (outcome.result != 0) {
		assert_int_equal(outcome.result, ERR_TLS);
		assert_true(outcome.evidence.reason[0] != '\0');
		assert_string_equal(outcome.evidence.obtained, "none");
	}
	return outcome;
}

static struct outcome meet_profile(
	const struct config_tls_profile *profile, const struct help_identity *files, struct client client)
{
	void *owner = talloc_new(NULL);
	struct outcome outcome = meet(listener_new(owner, "in", profile, files), client);

	talloc_free(owner);
	return outcome;
}

/* A profile for these versions; what follows are further fields. */
#define VERSIONS(min, max, ...)                                                                              \
	{                                                                                                    \
		.name = "own", .min_version = (min), .max_version = (max), __VA_ARGS__                       \
	}
#define PROFILE(...) VERSIONS(CONFIG_TLS_1_2, CONFIG_TLS_1_3, __VA_ARGS__)

/* All pairs of what a profile and a client may want: the newest common version, or no handshake. */
static void check_versions(struct config_tls_profile profile)
{
	for (int from = 0; from < 4; from++)
		for (int to = from; to < 4; to++) {
			const struct client client = { .min = protocols[from], .max = protocols[to] };
			struct outcome o = meet_profile(&profile, &ec, client);
			int common = MIN(to, (int)profile.max_version);
			bool want = common >= from && common >= (int)profile.min_version;

			if (want ? strcmp(o.evidence.protocol, protocol_names[common]) != 0 : o.result == 0)
				fail_msg("profile %d-%d, client %d-%d: `%s` %s", profile.min_version,
					profile.max_version, from, to, o.evidence.protocol,
					o.evidence.reason);
			if (to < (int)profile.min_version) {
				assert_int_equal(o.client.alert, SSL_AD_PROTOCOL_VERSION);
				assert_string_equal(o.evidence.reason, "unsupported protocol");
			}
		}
}

static void test_E39_the_newest_common_version_is_used_and_older_ones_are_refused(void **state)
{
	(void)state;
	for (int min = 0; min < 4; min++)
		for (int max = min; max < 4; max++)
			check_versions((struct config_tls_profile)VERSIONS(
				(enum config_version)min, (enum config_version)max));
}

/* What the peer gets that sends `bytes` for a ClientHello; at most `size` bytes. */
static ssize_t answer(
	const struct config_tls_profile *profile, struct text bytes, char *ret_bytes, size_t size)
{
	void *owner = talloc_new(NULL);
	struct tls_context *context = listener_new(owner, "in", profile, &ec);
	int fds[2];

	help_tcp_pair(fds);
	struct conn *server = conn_new(fds[1]);
	conn_set_deadline(server, clock_mono_ms() + 30000);
	assert_int_equal(send(fds[0], bytes.at, bytes.len, MSG_NOSIGNAL), bytes.len);
	shutdown(fds[0], SHUT_WR);
	assert_int_equal(conn_tls_accept(server, context), ERR_TLS);
	assert_false(server->secured);
	assert_true(server->evidence.reason[0] != '\0');
	conn_free(server);
	ssize_t n = recv(fds[0], ret_bytes, size, MSG_WAITALL);
	close(fds[0]);
	talloc_free(owner);
	return n;
}

static void test_E39_ssl_3_is_refused_at_once(void **state)
{
	/* A ClientHello of SSL 3.0: record 3.0, version 3.0, 32 bytes of random, no session, one cipher (AES128-SHA), no compression. */
	static const char hello[] = "\x16\x03\x00\x00\x2d\x01\x00\x00\x29\x03\x00"
				    "0123456789abcdef0123456789abcdef"
				    "\x00\x00\x02\x00\x2f\x01\x00";
	char bytes[64];

	(void)state;
	for (int min = CONFIG_TLS_1_0; min <= CONFIG_TLS_1_3; min++) {
		const struct config_tls_profile profile = VERSIONS((enum config_version)min, CONFIG_TLS_1_3);

		assert_int_equal(answer(&profile, TEXT(hello), bytes, sizeof bytes), 7);
		assert_int_equal(bytes[0], 21); /* an alert, fatal; SSL 3.0 has no protocol_version yet */
		assert_int_equal(bytes[5], 2);
		assert_int_equal(bytes[6], SSL_AD_HANDSHAKE_FAILURE);
	}
}

static void test_E40_what_is_no_handshake_is_dropped_whatever_compliance_says(void **state)
{
	static const struct {
		const char *name;
		struct text bytes;
	} cases[] = {
		{ "words", TEXT("this is not TLS at all\r\n") },
		{ "a command", TEXT("MAIL FROM:<evil@sender.test>\r\nRCPT TO:<bob@good.test>\r\n") },
		{ "HTTP", TEXT("GET / HTTP/1.1\r\nHost: gw.good.test\r\n\r\n") },
		{ "application data first", TEXT("\x17\x03\x03\x00\x05hello") },
		{ "a record with an impossible length", TEXT("\x16\x03\x01\xff\xff\x01\x00\x00\x00") },
		{ "an empty handshake record", TEXT("\x16\x03\x01\x00\x00\x16\x03\x01\x00\x00") },
		{ "a server's hello", TEXT("\x16\x03\x03\x00\x04\x02\x00\x00\x00") },
		{ "half a hello", TEXT("\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03") },
		{ "nothing", TEXT("") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases) * 2; i++) {
		const struct config_tls_profile profile = PROFILE(.compliance = i % 2 == 0);
		char bytes[64];
		ssize_t n = answer(&profile, cases[i / 2].bytes, bytes, sizeof bytes);

		/* Nothing, or one fatal alert; never a word in clear. */
		if (n > 0 && (n != 7 || bytes[0] != 21 || bytes[5] != 2))
			fail_msg("%s: %zd bytes, the first is %d", cases[i / 2].name, n, bytes[0]);
	}
}

static void test_E42_forward_secrecy_is_as_the_profile_says(void **state)
{
	static const struct client ecdhe = { .max = TLS1_2_VERSION, .ciphers = "kECDHE" },
				   dhe = { .max = TLS1_2_VERSION, .ciphers = "kDHE" },
				   plain = { .max = TLS1_2_VERSION, .ciphers = "kRSA" }, any = { 0 },
				   any_12 = { .max = TLS1_2_VERSION }, only_13 = { .min = TLS1_3_VERSION };
	static const struct {
		const char *name;
		struct config_tls_profile profile;
		const struct help_identity *files;
		const struct client *client;
		const char *protocol, *cipher; /* the cipher's beginning; NULL = refused */
	} cases[] = {
		{ "allowed, with", PROFILE(), &rsa, &ecdhe, "TLSv1.2", "ECDHE-" },
		{ "allowed, without", PROFILE(), &rsa, &plain, "TLSv1.2", "AES" },
		{ "allowed, any", PROFILE(), &rsa, &any, "TLSv1.3", "TLS_" },
		{ "allowed, TLS 1.2", PROFILE(), &rsa, &any_12, "TLSv1.2", "ECDHE-" },
		{ "allowed, DHE, which nobody named", PROFILE(), &rsa, &dhe, NULL, NULL },
		{ "required, with", PROFILE(.pfs = CONFIG_PFS_REQUIRED), &rsa, &ecdhe, "TLSv1.2", "ECDHE-" },
		{ "required, without", PROFILE(.pfs = CONFIG_PFS_REQUIRED), &rsa, &plain, NULL, NULL },
		{ "required, any", PROFILE(.pfs = CONFIG_PFS_REQUIRED), &rsa, &any, "TLSv1.3", "TLS_" },
		{ "required, TLS 1.2", PROFILE(.pfs = CONFIG_PFS_REQUIRED), &rsa, &any_12, "TLSv1.2",
			"ECDHE-" },
		{ "required, TLS 1.3", PROFILE(.pfs = CONFIG_PFS_REQUIRED), &rsa, &only_13, "TLSv1.3",
			"TLS_" },
		{ "required, DHE by name", PROFILE(.pfs = CONFIG_PFS_REQUIRED, .ciphers = "DHE+AESGCM"), &rsa,
			&dhe, "TLSv1.2", "DHE-RSA-" },
		{ "required, without, in TLS 1.0",
			VERSIONS(CONFIG_TLS_1_0, CONFIG_TLS_1_3, .pfs = CONFIG_PFS_REQUIRED), &rsa, &plain,
			NULL, NULL },
		{ "required, although all ciphers are listed",
			PROFILE(.pfs = CONFIG_PFS_REQUIRED, .ciphers = "ALL"), &rsa, &plain, NULL, NULL },
		{ "none, with", PROFILE(.pfs = CONFIG_PFS_NONE), &rsa, &ecdhe, NULL, NULL },
		{ "none, without", PROFILE(.pfs = CONFIG_PFS_NONE), &rsa, &plain, "TLSv1.2", "AES" },
		{ "none, any", PROFILE(.pfs = CONFIG_PFS_NONE), &rsa, &any, "TLSv1.2", "AES" },
		{ "none, TLS 1.3", PROFILE(.pfs = CONFIG_PFS_NONE), &rsa, &only_13, NULL, NULL },
		{ "none, DHE", PROFILE(.pfs = CONFIG_PFS_NONE, .ciphers = "ALL"), &rsa, &dhe, NULL, NULL },
		{ "none, with a certificate that cannot", PROFILE(.pfs = CONFIG_PFS_NONE), &ec, &any, NULL,
			NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct outcome o = meet_profile(&cases[i].profile, cases[i].files, *cases[i].client);

		if (cases[i].protocol == NULL) {
			if (o.result == 0)
				fail_msg("%s: got %s", cases[i].name, o.evidence.cipher);
			assert_int_equal(o.client.alert, cases[i].client == &only_13
								 ? SSL_AD_PROTOCOL_VERSION
								 : SSL_AD_HANDSHAKE_FAILURE);
			assert_string_equal(o.evidence.reason,
				cases[i].client == &only_13 ? "unsupported protocol" : "no shared cipher");
		} else if (o.result < 0 || strcmp(o.evidence.protocol, cases[i].protocol) != 0 ||
			   strncmp(o.evidence.cipher, cases[i].cipher, strlen(cases[i].cipher)) != 0) {
			fail_msg("%s: %s %s %s", cases[i].name, o.evidence.protocol, o.evidence.cipher,
				o.evidence.reason);
		}
	}
}

static void test_groups_are_those_of_the_profile(void **state)
{
	static const struct {
		const char *name, *profile, *client;
		int max;
		const char *group; /* NULL = refused */
	} cases[] = {
		{ "the one group", "P-384", "P-384", TLS1_3_VERSION, "secp384r1" },
		{ "the only common one", "P-384", "X25519:P-256:P-384", TLS1_3_VERSION, "secp384r1" },
		{ "none in common", "P-384", "X25519:P-256", TLS1_3_VERSION, NULL },
		{ "the only common one in TLS 1.2", "P-384", "X25519:P-256:P-384", TLS1_2_VERSION,
			"secp384r1" },
		{ "none in common in TLS 1.2", "X25519", "P-384", TLS1_2_VERSION, NULL },
		{ "the order is ours in TLS 1.2", "P-384:P-256", "P-256:P-384", TLS1_2_VERSION, "secp384r1" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct config_tls_profile profile = PROFILE(.groups = cases[i].profile);
		struct outcome o = meet_profile(&profile, &rsa,
			(struct client){
				.max = cases[i].max, .ciphers = "kECDHE", .groups = cases[i].client });

		if (cases[i].group == NULL ? o.result == 0 : strcmp(o.evidence.group, cases[i].group) != 0)
			fail_msg("%s: `%s` %s", cases[i].name, o.evidence.group, o.evidence.reason);
	}
}

static void test_ciphers_are_those_of_the_profile(void **state)
{
	static const struct {
		const char *name, *profile, *client;
		enum config_version min;
		const char *cipher; /* NULL = refused */
	} cases[] = {
		{ "the one cipher", "ECDHE-RSA-CHACHA20-POLY1305", "DEFAULT", CONFIG_TLS_1_2,
			"ECDHE-RSA-CHACHA20-POLY1305" },
		{ "none in common", "ECDHE+CHACHA20", "ECDHE+AESGCM", CONFIG_TLS_1_2, NULL },
		{ "the order is ours", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384",
			"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256", CONFIG_TLS_1_2,
			"ECDHE-RSA-AES128-GCM-SHA256" },
		{ "words divided by spaces", "ECDHE+CHACHA20 ECDHE+AESGCM", "ECDHE+AESGCM", CONFIG_TLS_1_2,
			"ECDHE-RSA-AES256-GCM-SHA384" },
		{ "never without a certificate", "ALL:aNULL:@SECLEVEL=0", "aNULL", CONFIG_TLS_1_2, NULL },
		{ "never without a certificate, old versions", "ALL:aNULL", "aNULL", CONFIG_TLS_1_0, NULL },
		{ "never in clear", "ALL:eNULL:@SECLEVEL=0", "eNULL", CONFIG_TLS_1_2, NULL },
		{ "never in clear, old versions", "ALL:eNULL", "eNULL", CONFIG_TLS_1_0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct config_tls_profile profile =
			VERSIONS(cases[i].min, CONFIG_TLS_1_3, .ciphers = cases[i].profile);
		struct outcome o = meet_profile(
			&profile, &rsa, (struct client){ .max = TLS1_2_VERSION, .ciphers = cases[i].client });

		if (cases[i].cipher == NULL ? o.result == 0 : strcmp(o.evidence.cipher, cases[i].cipher) != 0)
			fail_msg("%s: `%s` %s", cases[i].name, o.evidence.cipher, o.evidence.reason);
	}
}

static void test_the_security_level_is_lowered_for_old_versions_only(void **state)
{
	static const struct {
		enum config_version min;
		const char *ciphers;
		int level;
	} cases[] = {
		{ CONFIG_TLS_1_0, NULL, 0 },
		{ CONFIG_TLS_1_1, NULL, 0 },
		{ CONFIG_TLS_1_2, NULL, 2 },
		{ CONFIG_TLS_1_3, NULL, 2 },
		{ CONFIG_TLS_1_2, "DEFAULT:@SECLEVEL=0", 2 },
		{ CONFIG_TLS_1_2, "DEFAULT:@SECLEVEL=5", 2 },
	};
	void *owner = talloc_new(NULL);

	(void)state;
	assert_int_equal(SSL_CTX_get_security_level(tls_context_native(tls_context_server(owner, "in"))), 2);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct config_tls_profile profile =
			VERSIONS(cases[i].min, CONFIG_TLS_1_3, .ciphers = cases[i].ciphers);
		struct tls_context *context = tls_context_server(owner, "in");

		assert_int_equal(tls_use_profile(context, &profile), 0);
		assert_int_equal(SSL_CTX_get_security_level(tls_context_native(context)), cases[i].level);
	}
	talloc_free(owner);
}

static void test_a_profile_that_openssl_does_not_know_is_not_used(void **state)
{
	const struct config_tls_profile ciphers = PROFILE(.ciphers = "NONSENSE"),
					groups = PROFILE(.groups = "P-257");
	void *owner = talloc_new(NULL);

	(void)state;
	assert_int_equal(tls_use_profile(tls_context_server(owner, "in"), &ciphers), ERR_TLS);
	assert_int_equal(tls_use_profile(tls_context_server(owner, "in"), &groups), ERR_TLS);
	assert_int_equal(ERR_peek_error(), 0);
	talloc_free(owner);
}

static void test_tickets_stay_bound_to_their_listener(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	const struct config_tls_profile profile = PROFILE();
	void *owner = talloc_new(NULL);
	struct tls_context *here = listener_new(owner, "here", &profile, &ec),
			   *there = listener_new(owner, "there", &profile, &ec);

	(void)state;
	for (size_t i = 0; i < COUNT(versions); i++) {
		SSL_SESSION *session = NULL;
		const struct client client = { .max = versions[i], .session = &session };

		assert_false(meet(here, client).client.resumed);
		assert_non_null(session);
		assert_true(meet(here, client).client.resumed);
		assert_false(meet(there, client).client.resumed);
		SSL_SESSION_free(session);
	}
	talloc_free(owner);
}

/* Configurations */

#define BASE                                                                                                 \
	"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n"                                       \
	"mail_flow_policies: [{name: open}, {name: clear, tls: none}]\n"                                     \
	"certificates: [{name: main, chain: ec.pem, key: ec.key}, {name: old, chain: rsa.pem, key: "         \
	"rsa.key}]\n"
#define LISTENER                                                                                             \
	"listeners: [{name: in, type: public, address: '127.0.0.1:0', certificate: main, policy: open}]\n"

/* The problems that tls_check() finds in `yaml`, one on a line; owned by `owner`. */
static char *found(const void *owner, const char *yaml)
{
	struct problems *problems = problems_new(owner);
	struct bundle *bundle = bundle_new(owner, 1);
	char *text = talloc_strdup(owner, "");

	bundle_add(bundle, "x.yaml", text_of(yaml), BUNDLE_ALL);
	bundle_add(bundle, "ec.pem", text_of(ec.chain), BUNDLE_ALL);
	bundle_add(bundle, "rsa.pem", text_of(rsa.chain), BUNDLE_ALL);
	const struct config *config = config_read(bundle, "x.yaml", problems);
	if (config != NULL)
		tls_check(config, bundle, problems);
	for (size_t i = 0; i < problems->count; i++)
		text = talloc_asprintf_append(
			text, "%s\n", problems_format(owner, &problems->list[i]) + strlen("x.yaml:"));
	config_release(config);
	assert_int_equal(ERR_peek_error(), 0);
	return text;
}

static void test_check_says_what_openssl_does_not_know(void **state)
{
	static const struct {
		const char *name, *yaml, *want;
	} cases[] = {
		{ "E43 the predefined ones are fine", "", "" },
		{ "E44 a profile that nobody uses", "tls_profiles: [{name: p}]\n", "" },
		{ "everything said",
			"tls_profiles: [{name: p, min_version: 1.0, max_version: 1.2, pfs: required, ciphers: "
			"'ECDHE+AESGCM:DHE+AESGCM:!RC4:-ARIA:+AES256:@STRENGTH', groups: 'X25519:P-256'}]\n",
			"" },
		{ "commas and spaces between ciphers",
			"tls_profiles: [{name: p, ciphers: 'ECDHE+AESGCM,ECDHE+CHACHA20 DHE+AESGCM'}]\n",
			"" },
		{ "a cipher of which nobody knows", "tls_profiles: [{name: p, ciphers: 'DEFAULT:ECDEH'}]\n",
			"7: tls_profiles[p].ciphers: `ECDEH` names no cipher of TLS 1.2 or below that this "
			"OpenSSL has: expected words such as ECDHE+AESGCM divided by `:` (`openssl ciphers "
			"-v` shows what there is)\n" },
		{ "a cipher of TLS 1.3", "tls_profiles: [{name: p, ciphers: TLS_AES_256_GCM_SHA384}]\n",
			"7: tls_profiles[p].ciphers: `TLS_AES_256_GCM_SHA384` names no cipher of TLS 1.2 or "
			"below that this OpenSSL has: expected words such as ECDHE+AESGCM divided by `:` "
			"(`openssl ciphers -v` shows what there is)\n" },
		{ "nothing that encrypts", "tls_profiles: [{name: p, ciphers: 'eNULL:aNULL'}]\n",
			"7: tls_profiles[p].ciphers: no cipher is left that encrypts and proves who the server "
			"is: expected a list such as ECDHE+AESGCM:ECDHE+CHACHA20\n" },
		{ "E42 forward secrecy of ciphers that have none",
			"tls_profiles: [{name: p, pfs: required, ciphers: 'kRSA'}]\n",
			"7: tls_profiles[p].ciphers: no cipher is left of this list with `pfs: required`: name "
			"ciphers with forward secrecy such as ECDHE+AESGCM, or write `pfs: allowed`\n" },
		{ "E42 no forward secrecy of ciphers that have it",
			"tls_profiles: [{name: p, pfs: none, ciphers: 'ECDHE+AESGCM'}]\n",
			"7: tls_profiles[p].ciphers: no cipher is left of this list with `pfs: none`: name "
			"ciphers with RSA key exchange such as AES256-GCM-SHA384, or write `pfs: allowed`\n" },
		{ "a group of which nobody knows",
			"tls_profiles:\n  - {name: p, groups: 'X25519:P-257'}\n  - {name: q, groups: X25591}\n",
			"8: tls_profiles[p].groups: `P-257` is no group that this OpenSSL has: expected names "
			"such as X25519 and P-256 divided by `:`\n"
			"9: tls_profiles[q].groups: `X25591` is no group that this OpenSSL has: expected names "
			"such as X25519 and P-256 divided by `:`\n" },
		{ "a group too much", "tls_profiles: [{name: p, groups: 'X25519:P-256:X25519'}]\n",
			"7: tls_profiles[p].groups: a group stands twice: remove one\n" },
		{ "groups without a name", "tls_profiles: [{name: p, groups: ':'}]\n",
			"7: tls_profiles[p].groups: `` is no group that this OpenSSL has: expected names such "
			"as X25519 and P-256 divided by `:`\n" },
	};
	void *owner = talloc_new(NULL);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *text = found(owner, talloc_asprintf(owner, BASE LISTENER "%s", cases[i].yaml));

		if (strcmp(text, cases[i].want) != 0)
			fail_msg("%s:\n%s", cases[i].name, text);
	}
	talloc_free(owner);
}

static void test_E42_check_wants_an_rsa_key_where_there_is_no_forward_secrecy(void **state)
{
	static const struct {
		const char *listener, *want;
	} cases[] = {
		{ "policy: open, certificate: old, tls_profile: bare", "" },
		{ "policy: open, certificate: main, tls_profile: full", "" },
		{ "policy: clear, tls_profile: bare", "" },
		{ "policy: open, certificate: main, tls_profile: bare",
			"7: listeners[in].certificate: profile `bare` says `pfs: none`, which needs an RSA key, "
			"and certificate `main` holds another: name an RSA certificate, or a profile with "
			"forward secrecy\n" },
	};
	void *owner = talloc_new(NULL);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *yaml = talloc_asprintf(owner,
			BASE "tls_profiles: [{name: bare, pfs: none}, {name: full, pfs: required}]\n"
			     "listeners: [{name: in, type: public, address: '127.0.0.1:0', %s}]\n",
			cases[i].listener);

		assert_string_equal(found(owner, yaml), cases[i].want);
	}
	talloc_free(owner);
}

static void test_E43_a_listener_without_a_profile_has_the_standard_one(void **state)
{
	const struct config *config = help_config("mail_flow_policies: [{name: open}]\n");
	const struct config_tls_profile *profile = config->listeners[0].tls_profile;

	(void)state;
	assert_string_equal(profile->name, "TLS-Server.Standard");
	check_versions(*profile);
	config_release(config);
}

static int set_up(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	tls_start();
	*state = talloc_new(NULL);
	ec = help_identity(*state);
	rsa = help_rsa_identity(*state);
	return 0;
}

static int tear_down(void **state)
{
	talloc_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_E39_the_newest_common_version_is_used_and_older_ones_are_refused),
		cmocka_unit_test(test_E39_ssl_3_is_refused_at_once),
		cmocka_unit_test(test_E40_what_is_no_handshake_is_dropped_whatever_compliance_says),
		cmocka_unit_test(test_E42_forward_secrecy_is_as_the_profile_says),
		cmocka_unit_test(test_groups_are_those_of_the_profile),
		cmocka_unit_test(test_ciphers_are_those_of_the_profile),
		cmocka_unit_test(test_the_security_level_is_lowered_for_old_versions_only),
		cmocka_unit_test(test_a_profile_that_openssl_does_not_know_is_not_used),
		cmocka_unit_test(test_tickets_stay_bound_to_their_listener),
		cmocka_unit_test(test_check_says_what_openssl_does_not_know),
		cmocka_unit_test(test_E42_check_wants_an_rsa_key_where_there_is_no_forward_secrecy),
		cmocka_unit_test(test_E43_a_listener_without_a_profile_has_the_standard_one),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
