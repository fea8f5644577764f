/*
 * Certificates and a list of revoked ones into pki/verify: whatever they are, there is a verdict whose parts fit together. The last certificate is the
 * authority that is trusted, so that much can be verified. Input: a byte of switches, two bytes with the length of the certificates (DER, one
 * behind another), these, and the list.
 */
#include "pki/verify.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <talloc.h>

#include "base/base.h"
#include "pki/peer_chain.h"
#include "pki/crl_set.h"
#include "pki/trust.h"
#include "pki/verify_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WEAK = 1, FQDN = 2, COMMON_NAME = 4, STRICT = 8, SOFT = 16, NAMED = 32, CLIENT = 64, ADDRESS = 128 };

static const int64_t now_ms = 1800000000000;

static void must(bool fine)
{
	if (!fine)
		abort();
}

/* A NUL within the size, and nothing before it that a log could stumble over. */
static void must_be_printable(const char *text, size_t size)
{
	must(strnlen(text, size) < size);
	for (; *text != '\0'; text++)
		must(*text >= ' ' && *text < 0x7f);
}

static struct trust *trust_last(const void *owner, const STACK_OF(X509) * chain)
{
	struct trust *trust = trust_new(owner);
	BIO *bio = BIO_new(BIO_s_mem());
	char *at;

	PEM_write_bio_X509(bio, sk_X509_value(chain, sk_X509_num(chain) - 1));
	size_t len = (size_t)BIO_get_mem_data(bio, &at);
	trust_add(trust, (struct text){ at, len });
	BIO_free(bio);
	return trust;
}

static void check_list(const struct crl_set *set, const STACK_OF(X509) * chain, enum crl_taken taken)
{
	must(crl_set_count(set) == (taken == CRL_TAKEN));
	for (int i = 0; i + 1 < sk_X509_num(chain); i++) {
		enum revocation_finding finding = crl_set_find(set, chain, i, now_ms);

		must(finding < REVOCATION_FINDING_COUNT);
		must(taken == CRL_TAKEN || finding == REVOCATION_NO_LIST || finding == REVOCATION_NOT_NEEDED);
	}
}

static void check_verdict(const struct verify_facts *facts, const struct verify_verdict *verdict)
{
	const unsigned always = VERIFY_CHAIN | VERIFY_DATES | VERIFY_USE | VERIFY_STRENGTH;

	must((verdict->checked & verdict->unchecked) == 0);
	must(((verdict->checked | verdict->unchecked) & always) == always);
	must_be_printable(verdict->reason, sizeof verdict->reason);
	must_be_printable(verdict->matched, sizeof verdict->matched);
	must_be_printable(verdict->authority, sizeof verdict->authority);
	if (verdict->result != VERIFY_FINE) {
		must(verdict->reason[0] != '\0' && verdict->unchecked != 0);
		return;
	}
	must((verdict->unchecked & ~(unsigned)VERIFY_REVOCATION) == 0);
	must((verdict->unchecked == 0) == (verdict->reason[0] == '\0'));
	must(verdict->unchecked == 0 || facts->revocation == REVOCATION_SOFT);
	must((verdict->matched[0] != '\0') == (facts->host_count > 0 || facts->address.family != 0));
}

/* One chain, three questions: what is wrong with the chain is wrong for each, and a name more never makes it worse. */
static void check_questions(const struct verify_facts *facts)
{
	static const enum tls_check checks[] = { TLS_CHECK_HOST, TLS_CHECK_DOMAIN, TLS_CHECK_HOSTED };
	const struct verify_server with_ptr = { .domain = "foo.bar.test",
		.host = "mx.good.test",
		.route = "gw.good.test",
		.ptr = "a-1.good.test" };
	struct verify_server server = with_ptr;
	struct verified *verified = verify_open(NULL, facts);

	server.ptr = NULL;
	for (size_t i = 0; i < COUNT(checks); i++) {
		struct verify_verdict verdict, more;

		verify_server_ask(verified, checks[i], &server, &verdict);
		verify_server_ask(verified, checks[i], &with_ptr, &more);
		must_be_printable(verdict.reason, sizeof verdict.reason);
		must(verdict.result != VERIFY_FINE || verdict.matched[0] != '\0');
		must(verdict.result != VERIFY_FINE || more.result == VERIFY_FINE);
		must(verdict.result == more.result || verify_server_wants_ptr(verified, checks[i], &verdict));
	}
	talloc_free(verified);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const hosts[] = { "mx.good.test", "foo.bar.test" };

	if (size < 3)
		return 0;
	unsigned how = data[0];
	struct text rest = { (const char *)data + 3, size - 3 };
	struct text certificates = text_first(rest, (size_t)data[1] << 8 | data[2]);
	STACK_OF(X509) *chain = peer_chain_read(certificates);
	if (chain == NULL)
		return 0;

	void *scratch = talloc_new(NULL);
	struct trust *trust = trust_last(scratch, chain);
	struct crl_set *set = crl_set_new(scratch);
	const char *why = "";
	const struct crl_offer offer = {
		.bytes = text_from(rest, certificates.len), .trust = trust, .issuers = chain, .now_ms = now_ms
	};
	enum crl_taken taken = crl_set_add(set, &offer, &why);
	must((taken == CRL_TAKEN) == (why[0] == '\0'));
	must(taken != CRL_TAKEN || crl_set_add(set, &offer, &why) == CRL_OLDER);
	check_list(set, chain, taken);

	struct verify_facts facts = { .chain = chain,
		.trust = trust,
		.purpose = how & CLIENT ? VERIFY_CLIENT : VERIFY_SERVER,
		.hosts = hosts,
		.host_count = how & NAMED ? COUNT(hosts) : 0,
		.now_ms = now_ms,
		.crls = set,
		.revocation = how & STRICT ? REVOCATION_STRICT
			      : how & SOFT ? REVOCATION_SOFT
					   : REVOCATION_OFF,
		.cn_fallback = (how & COMMON_NAME) != 0,
		.fqdn = (how & FQDN) != 0,
		.weak = (how & WEAK) != 0 };
	if (how & ADDRESS)
		facts.address = (struct ip){ .family = AF_INET, .bytes = { 192, 0, 2, 1 } };
	struct verify_verdict verdict;
	verify_peer(&facts, &verdict);
	check_verdict(&facts, &verdict);
	check_questions(&facts);
	peer_chain_free(chain);
	talloc_free(scratch);
	return 0;
}
