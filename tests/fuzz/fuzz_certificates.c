/*
 * Certificates of strangers: any bytes as PEM are shown, built into a chain and looked at for a key; any bytes as PKCS#12 are opened. What is accepted is
 * accepted again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "pki/certificate.h"
#include "pki/chain.h"
#include "pki/expiry.h"
#include "pki/pkcs12.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void check_pem(const void *owner, struct text pem)
{
	struct certificate *list;
	const char *why = NULL;
	struct chain chain;
	struct expiry expiry;
	size_t count;
	char *key;

	if (certificate_list(owner, pem, &list, &count, &why) == 0) {
		must(count > 0);
		for (size_t i = 0; i < count; i++)
			for (size_t n = 0; n < list[i].alt_count; n++)
				must(text_is_ascii(text_of(list[i].alt_names[n])));
		certificate_check_names(owner, pem, CERTIFICATE_COMMON_NAMES | CERTIFICATE_ALT_NAMES, &why);
	} else {
		must(why != NULL);
	}
	expiry_of_chain(pem, 0, &expiry);
	if (chain_key(owner, pem, &key, &why) < 0 || chain_build(owner, pem, pem, 0, &chain, &why) < 0)
		return;
	struct chain again;
	must(chain_build(owner, text_of(chain.pem), text_of(key), 0, &again, &why) == 0);
	must(strcmp(chain.pem, again.pem) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *owner = talloc_new(NULL);
	const struct text bytes = { (const char *)data, size };
	char *certificates = NULL, *key = NULL;

	check_pem(owner, bytes);
	if (pkcs12_import(owner, bytes, "secret", &certificates, &key) == PKCS12_FLAW_NONE) {
		struct chain chain;
		const char *why;

		must(chain_build(owner, text_of(certificates), text_of(key), 0, &chain, &why) == 0);
	}
	if (pkcs12_open_key(owner, bytes, "secret", &key) == PKCS12_FLAW_NONE) {
		char *again;
		const char *why;

		must(chain_key(owner, text_of(key), &again, &why) == 0);
	}
	talloc_free(owner);
	return 0;
}
