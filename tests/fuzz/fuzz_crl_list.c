/* Lists of revoked certificates from servers: one form or the other, never both; and what is shown of one can be printed and is not larger than it. */
#include "pki/crl_list.h"

#include <stdlib.h>
#include <string.h>

#include <talloc.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct text bytes = { (const char *)data, size };
	const char *as_pem = crl_list_flaw(bytes, true), *as_der = crl_list_flaw(bytes, false);
	void *scratch = talloc_new(NULL);
	struct crl_facts facts;

	must(as_pem != NULL || as_der != NULL);
	if (crl_list_describe(scratch, bytes, &facts)) {
		for (const char *c = facts.issuer; *c != '\0'; c++)
			must(*c >= ' ' && *c <= '~');
		must(strspn(facts.number, "-0123456789ABCDEF") == strlen(facts.number));
		must(strlen(facts.number) < CRL_LIST_NUMBER_MAX);
		must(facts.entries < size);
	}
	talloc_free(scratch);
	return 0;
}
