/*
 * An OCSP response about certificates that are hostile, too: whatever they are, there is an answer whose parts fit together. Input: a byte, odd where a
 * nonce was sent, two bytes with the length of the certificates (DER, one behind another: about which, and its issuer), these, and the response.
 */
#include "pki/ocsp.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/x509.h>
#include <talloc.h>

#include "base/base.h"
#include "pki/peer_chain.h"
#include "wire/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SKEW_MS = 300 * 1000 };

static const int64_t now_ms = 1700000000000;

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void check_answer(const struct ocsp_answer *answer)
{
	bool answered = answer->finding != OCSP_NO_ANSWER;

	must(answer->finding == OCSP_GOOD || answer->finding == OCSP_REVOKED ||
		answer->finding == OCSP_UNKNOWN || !answered);
	must(strnlen(answer->reason, sizeof answer->reason) < sizeof answer->reason);
	for (const char *c = answer->reason; *c != '\0'; c++)
		must(*c >= ' ' && *c < 0x7f);
	must((answer->until_ms != 0) == answered);
	must(answer->reason[0] != '\0' || answer->finding == OCSP_GOOD || answer->finding == OCSP_UNKNOWN);
	if (!answered)
		return;
	must(answer->this_update_ms <= now_ms + SKEW_MS && answer->until_ms >= now_ms - SKEW_MS);
	must(answer->next_update_ms == 0 || answer->next_update_ms == answer->until_ms);
}

static void check_asking(const void *scratch, const struct ocsp_question *question)
{
	const char *urls[OCSP_URLS_MAX];
	size_t count = ocsp_urls(scratch, question->certificate, urls);
	struct url url;

	must(count <= OCSP_URLS_MAX);
	for (size_t i = 0; i < count; i++)
		must(url_parse(text_of(urls[i]), &url) == 0);
	must(ocsp_request(scratch, question).len > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char nonce[] = "0123456789abcdef0123456789abcdef";

	if (size < 3)
		return 0;
	struct text rest = { (const char *)data + 3, size - 3 };
	struct text certificates = text_first(rest, (size_t)data[1] << 8 | data[2]);
	STACK_OF(X509) *chain = peer_chain_read(certificates);
	if (chain == NULL)
		return 0;

	void *scratch = talloc_new(NULL);
	const struct ocsp_question question = { sk_X509_value(chain, 0),
		sk_X509_value(chain, MIN(1, sk_X509_num(chain) - 1)),
		{ nonce, data[0] & 1 ? OCSP_NONCE_LEN : 0 } };
	struct ocsp_answer answer;
	check_asking(scratch, &question);
	ocsp_judge(&question, text_from(rest, certificates.len), now_ms, &answer);
	check_answer(&answer);
	peer_chain_free(chain);
	talloc_free(scratch);
	return 0;
}
