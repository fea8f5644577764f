/* TLSA RDATA: what is read is all of it and stays inside it, and what is called usable has the form of a usable record. */
#include "wire/tlsa.h"

#include <stdlib.h>

#include <talloc.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t lengths[] = { [TLSA_SHA256] = 32, [TLSA_SHA512] = 64 };
	struct tlsa_record record;
	int r = tlsa_parse((struct text){ (const char *)data, size }, &record);

	must((r == 0) == (size > 3));
	if (r < 0)
		return 0;
	must(record.usage == data[0] && record.selector == data[1] && record.matching == data[2]);
	must(record.data.at == (const char *)data + 3 && record.data.len == size - 3);
	bool usable = tlsa_flaw(&record, false) == NULL;
	must(!usable || tlsa_flaw(&record, true) == NULL);
	must(!usable || (record.usage >= TLSA_DANE_TA && record.usage <= TLSA_DANE_EE));
	must(!usable || (record.selector <= TLSA_KEY && record.matching <= TLSA_SHA512));
	must(!usable || record.matching == TLSA_FULL || record.data.len == lengths[record.matching]);
	char *text = tlsa_text(NULL, &record, size);
	struct text t = text_of(text);
	must(t.len >= 6 + 2 * record.data.len && t.len <= 12 + 2 * record.data.len);
	talloc_free(text);
	return 0;
}
