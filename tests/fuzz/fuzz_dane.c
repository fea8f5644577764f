/*
 * Certificates and TLSA records into pki/dane: whatever they are, there is a verdict whose parts fit together, and no record is believed that is
 * unusable. Input: a byte of switches, two bytes with the length of the certificates (DER, one behind another), these, and records, each behind two
 * bytes with its length.
 */
#include "pki/dane.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <talloc.h>

#include "base/base.h"
#include "pki/peer_chain.h"
#include "pki/trust.h"
#include "wire/tlsa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PKIX = 1, NAMELESS = 2, TRUSTED = 4, RECORDS_MAX = DANE_RECORDS_MAX + 2 };

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

static struct text take(struct text *rest)
{
	size_t len = rest->len < 2 ? 0 : (size_t)(uint8_t)rest->at[0] << 8 | (uint8_t)rest->at[1];
	struct text taken = text_first(text_from(*rest, MIN(rest->len, 2)), len);

	*rest = text_from(*rest, MIN(rest->len, 2 + taken.len));
	return taken;
}

static size_t read_records(struct text rest, struct tlsa_record *records)
{
	size_t count = 0;

	while (rest.len > 0 && count < RECORDS_MAX)
		if (tlsa_parse(take(&rest), &records[count]) == 0)
			count++;
	return count;
}

static bool some_is_usable(const struct dane_verify_facts *facts)
{
	for (size_t i = 0; i < facts->count; i++)
		if (dane_flaw(&facts->records[i], facts->pkix_usages) == NULL)
			return true;
	return false;
}

static void check_verdict(const struct dane_verify_facts *facts, const struct verify_verdict *verdict)
{
	must((verdict->checked & verdict->unchecked) == 0);
	must_be_printable(verdict->reason, sizeof verdict->reason);
	must_be_printable(verdict->matched, sizeof verdict->matched);
	must_be_printable(verdict->authority, sizeof verdict->authority);
	must_be_printable(verdict->record, sizeof verdict->record);
	must((verdict->result == VERIFY_FINE) == (verdict->unchecked == 0));
	must((verdict->result == VERIFY_FINE) == (verdict->reason[0] == '\0'));
	if (verdict->result != VERIFY_FINE)
		return;
	must(some_is_usable(facts) && verdict->depth < PEER_CHAIN_MAX + 1);
	must(verdict->record[0] == '3' ? verdict->depth == 0 && verdict->matched[0] == '\0'
				       : verdict->matched[0] != '\0' && facts->name_count > 0);
	must(verdict->record[0] >= '2' || (facts->pkix_usages && facts->trust != NULL));
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "mx.good.test", "good.test" };
	struct tlsa_record records[RECORDS_MAX];

	if (size < 3)
		return 0;
	unsigned how = data[0];
	struct text rest = { (const char *)data + 1, size - 1 };
	STACK_OF(X509) *chain = peer_chain_read(take(&rest));
	if (chain == NULL)
		return 0;

	void *scratch = talloc_new(NULL);
	struct dane_verify_facts facts = { .chain = chain,
		.records = records,
		.count = read_records(rest, records),
		.names = names,
		.name_count = how & NAMELESS ? 0 : COUNT(names),
		.trust = how & TRUSTED ? trust_last(scratch, chain) : NULL,
		.pkix_usages = (how & PKIX) != 0,
		.now_ms = now_ms };
	struct verify_verdict verdict, again;
	dane_verify(&facts, &verdict);
	check_verdict(&facts, &verdict);
	dane_verify(&facts, &again);
	must(again.result == verdict.result && strcmp(again.reason, verdict.reason) == 0);
	talloc_free(scratch);
	peer_chain_free(chain);
	return 0;
}
