/*
 * OpenSSL matches the records, on a connection object that never connects: its DANE code has no other door. A finished handshake is looked at, so a
 * resumed session is verified as a new one is. Usages 0 and 1 never share an object with 2 and 3 (CVE-2026-28387), and names are compared here
 * as everywhere (pki/verify_names), not by OpenSSL.
 */
#include "pki/dane.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <talloc.h>

#include "base/base.h"
#include "net/tls.h"
#include "pki/peer_chain.h"
#include "pki/trust.h"
#include "pki/verify_names.h"
#include "pki/verify_private.h"
#include "wire/tlsa.h"

enum { SHOWN_BYTES = 64, WAYS_MAX = 6 };

/* Whether they are usable */

static bool is_certificate(struct text data)
{
	const unsigned char *at = (const unsigned char *)data.at, *end = at + data.len;
	X509 *certificate = d2i_X509(NULL, &at, (long)data.len);
	bool whole = certificate != NULL && at == end && X509_get0_pubkey(certificate) != NULL;

	X509_free(certificate);
	return whole;
}

static bool is_key(struct text data)
{
	const unsigned char *at = (const unsigned char *)data.at, *end = at + data.len;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)data.len);
	bool whole = key != NULL && at == end;

	EVP_PKEY_free(key);
	return whole;
}

const char *dane_flaw(const struct tlsa_record *record, bool pkix_usages)
{
	const char *flaw = tlsa_flaw(record, pkix_usages);

	if (flaw != NULL || record->matching != TLSA_FULL)
		return flaw;
	if (record->selector == TLSA_CERTIFICATE && !is_certificate(record->data))
		flaw = "its data is no certificate";
	if (record->selector == TLSA_KEY && !is_key(record->data))
		flaw = "its data is no public key";
	ERR_clear_error();
	return flaw;
}

/* Matching */

static bool is_pkix(const struct tlsa_record *record)
{
	return record->usage <= TLSA_PKIX_EE;
}

/* How many of one half of the usages are usable; the first of them are written. */
static size_t choose(const struct dane_verify_facts *facts, bool pkix,
	const struct tlsa_record *ret_records[static DANE_RECORDS_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < facts->count; i++) {
		const struct tlsa_record *record = &facts->records[i];

		if (is_pkix(record) != pkix || dane_flaw(record, facts->pkix_usages) != NULL)
			continue;
		if (count < DANE_RECORDS_MAX)
			ret_records[count] = record;
		count++;
	}
	return count;
}

/* False when OpenSSL takes one of them not. */
static bool give_records(SSL *ssl, const struct tlsa_record *const *records, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (SSL_dane_tlsa_add(ssl, records[i]->usage, records[i]->selector, records[i]->matching,
			    (const unsigned char *)records[i]->data.at, records[i]->data.len) != 1)
			return false;
	return true;
}

/* An object that knows the records; NULL when OpenSSL wants them not. */
static SSL *with_records(SSL_CTX *context, const struct tlsa_record *const *records, size_t count)
{
	SSL *ssl = text_must(SSL_new(context));

	if (SSL_dane_enable(ssl, "unused.invalid") == 1 && give_records(ssl, records, count))
		return ssl;
	SSL_free(ssl);
	return NULL;
}

/* Which record, and who vouches; false when OpenSSL does not say. */
static bool note_match(SSL *ssl, struct verify_verdict *verdict, unsigned *ret_usage)
{
	struct tlsa_record record;
	const unsigned char *data;
	size_t len;
	X509 *authority = NULL;
	EVP_PKEY *key = NULL;
	int depth = SSL_get0_dane_authority(ssl, &authority, &key);

	if (depth < 0 ||
		SSL_get0_dane_tlsa(ssl, &record.usage, &record.selector, &record.matching, &data, &len) < 0)
		return false;
	record.data = (struct text){ (const char *)data, len };
	*ret_usage = record.usage;
	verdict->depth = (unsigned)depth;
	char *text = tlsa_text(NULL, &record, SHOWN_BYTES);
	snprintf(verdict->record, sizeof verdict->record, "%s", text);
	talloc_free(text);
	if (record.usage == TLSA_DANE_TA && authority == NULL)
		snprintf(verdict->authority, sizeof verdict->authority, "the key of a TLSA record");
	else if (authority != NULL && depth > 0)
		peer_chain_subject(authority, verdict->authority);
	return true;
}

/* What the record itself does not settle; usage 3 asks for nothing else (RFC 7672 section 3.1.1). */
static void check_rest(const struct dane_verify_facts *facts, const STACK_OF(X509) * path, unsigned usage,
	struct verify_verdict *verdict)
{
	const struct verify_reference named = { .hosts = facts->names, .host_count = facts->name_count };

	if (!verify_strength(path, verdict))
		return;
	verify_pass(verdict, VERIFY_STRENGTH);
	if (usage != TLSA_DANE_EE) {
		verify_pass(verdict, VERIFY_CHAIN | VERIFY_DATES | VERIFY_USE);
		if (facts->name_count == 0) {
			verify_refuse(verdict, VERIFY_FAILURE, "there is no name to look for in it", 0, NULL);
			return;
		}
		if (!verify_names_match(false, &named, path, verdict)) {
			verdict->result = VERIFY_HOST_MISMATCH;
			return;
		}
		verify_pass(verdict, VERIFY_NAMES);
	}
	verify_pass(verdict, VERIFY_DANE);
	verdict->result = VERIFY_FINE;
}

static void judge(const struct dane_verify_facts *facts, SSL *ssl, X509_STORE_CTX *context,
	struct verify_verdict *verdict)
{
	unsigned usage;

	if (X509_verify_cert(context) == 1 && X509_STORE_CTX_get_error(context) == X509_V_OK &&
		note_match(ssl, verdict, &usage))
		check_rest(facts, X509_STORE_CTX_get0_chain(context), usage, verdict);
	else if (X509_STORE_CTX_get_error(context) == X509_V_ERR_DANE_NO_MATCH)
		verify_refuse(verdict, VERIFY_NOT_TRUSTED, "no TLSA record matches what the server showed", 0,
			NULL);
	else
		verify_refuse_error(verdict, context);
}

/* The first PEER_CHAIN_MAX certificates; the caller frees the stack alone. */
static STACK_OF(X509) * bounded(const STACK_OF(X509) * chain)
{
	STACK_OF(X509) *some = text_must(sk_X509_new_null());

	for (int i = 0; i < MIN(sk_X509_num(chain), PEER_CHAIN_MAX); i++)
		if (sk_X509_push(some, sk_X509_value(chain, i)) == 0)
			abort();
	return some;
}

/* With DANE enabled; the caller gives the reference back. */
static SSL_CTX *context_of(const struct dane_verify_facts *facts)
{
	SSL_CTX *context = facts->client == NULL ? text_must(SSL_CTX_new(TLS_client_method()))
						 : tls_context_native(facts->client);

	if (facts->client != NULL)
		SSL_CTX_up_ref(context);
	else
		SSL_CTX_dane_enable(context);
	return context;
}

static void begin(struct verify_verdict *verdict)
{
	memset(verdict, 0, sizeof *verdict);
	verdict->result = VERIFY_FAILURE;
	verdict->unchecked = VERIFY_DANE;
}

/* An authority may be certified twice, and OpenSSL follows one of the two: without the last certificate of its way it takes another. False when there is no
 * other. */
static bool drop_last(STACK_OF(X509) * chain, const STACK_OF(X509) * path)
{
	int len = sk_X509_num(path);

	return len > 1 && sk_X509_delete_ptr(chain, sk_X509_value(path, len - 1)) != NULL;
}

/* True when no record matches on this way, and `chain` is left with another one. */
static bool follow(const struct dane_verify_facts *facts, X509_STORE *store, SSL *ssl, STACK_OF(X509) * chain,
	struct verify_verdict *verdict)
{
	X509_STORE_CTX *context = text_must(X509_STORE_CTX_new());
	bool another = false;

	begin(verdict);
	if (X509_STORE_CTX_init(context, store, sk_X509_value(facts->chain, 0), chain) != 1) {
		verify_refuse(verdict, VERIFY_FAILURE, "the certificates could not be used", 0, NULL);
	} else {
		verify_prepare(context, VERIFY_SERVER, facts->now_ms, false);
		X509_STORE_CTX_set0_dane(context, SSL_get0_dane(ssl));
		judge(facts, ssl, context, verdict);
		if (X509_STORE_CTX_get_error(context) == X509_V_ERR_DANE_NO_MATCH)
			another = drop_last(chain, X509_STORE_CTX_get0_chain(context));
	}
	X509_STORE_CTX_free(context);
	return another;
}

static void match(const struct dane_verify_facts *facts, const struct tlsa_record *const *records,
	size_t count, struct verify_verdict *verdict)
{
	SSL_CTX *house = context_of(facts);
	X509_STORE *nobody = text_must(X509_STORE_new());
	X509_STORE *store = is_pkix(records[0]) && facts->trust != NULL ? trust_native(facts->trust) : nobody;
	STACK_OF(X509) *chain = bounded(facts->chain);
	SSL *ssl = with_records(house, records, count);

	if (ssl == NULL)
		verify_refuse(verdict, VERIFY_FAILURE, "the TLSA records could not be used", 0, NULL);
	for (int i = 0; ssl != NULL && i < WAYS_MAX; i++)
		if (!follow(facts, store, ssl, chain, verdict))
			break;
	SSL_free(ssl);
	SSL_CTX_free(house);
	X509_STORE_free(nobody);
	sk_X509_free(chain);
}

/* By the records of usages 2 and 3, or of 0 and 1; false when there are none. */
static bool try_half(const struct dane_verify_facts *facts, bool pkix, struct verify_verdict *verdict)
{
	const struct tlsa_record *records[DANE_RECORDS_MAX];
	size_t count = choose(facts, pkix, records);

	if (count == 0)
		return false;
	begin(verdict);
	if (count > DANE_RECORDS_MAX)
		verify_refuse(verdict, VERIFY_FAILURE, "too many TLSA records", 0, NULL);
	else
		match(facts, records, count, verdict);
	return true;
}

void dane_verify(const struct dane_verify_facts *facts, struct verify_verdict *ret_verdict)
{
	struct verify_verdict other;

	begin(ret_verdict);
	ERR_clear_error();
	if (sk_X509_num(facts->chain) < 1)
		verify_refuse(ret_verdict, VERIFY_FAILURE, "the server showed no certificate", 0, NULL);
	else if (!try_half(facts, false, ret_verdict) && !try_half(facts, true, ret_verdict))
		verify_refuse(ret_verdict, VERIFY_FAILURE, "there is no usable TLSA record", 0, NULL);
	else if (ret_verdict->result != VERIFY_FINE && try_half(facts, true, &other) &&
		 other.result == VERIFY_FINE)
		*ret_verdict = other;
	ERR_clear_error();
}
