#include "wire/tlsa.h"

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"

enum { NUMBERS = 3, SHA256_SIZE = 32, SHA512_SIZE = 64 };

int tlsa_parse(struct text rdata, struct tlsa_record *ret_record)
{
	if (rdata.len <= NUMBERS)
		return ERR_FORMAT;
	*ret_record = (struct tlsa_record){
		.usage = (uint8_t)rdata.at[0],
		.selector = (uint8_t)rdata.at[1],
		.matching = (uint8_t)rdata.at[2],
		.data = text_from(rdata, NUMBERS),
	};
	return 0;
}

const char *tlsa_flaw(const struct tlsa_record *record, bool pkix_usages)
{
	if (record->usage > TLSA_DANE_EE)
		return "its usage is unknown";
	if (record->usage < TLSA_DANE_TA && !pkix_usages)
		return "usages 0 and 1 mean nothing for mail (RFC 7672 section 3.1.3)";
	if (record->selector > TLSA_KEY)
		return "its selector is unknown";
	if (record->matching == TLSA_PRIVATE)
		return "its matching type is for private use";
	if (record->matching > TLSA_SHA512)
		return "its matching type is unknown";
	if (record->matching == TLSA_SHA256 && record->data.len != SHA256_SIZE)
		return "its data has not the length of SHA-256";
	if (record->matching == TLSA_SHA512 && record->data.len != SHA512_SIZE)
		return "its data has not the length of SHA-512";
	return record->data.len == 0 ? "it has no data" : NULL;
}

char *tlsa_text(const void *owner, const struct tlsa_record *record, size_t bytes)
{
	static const char digits[] = "0123456789abcdef";
	size_t shown = MIN(record->data.len, bytes);
	char *hex = text_must(talloc_size(NULL, 2 * shown + 1));

	for (size_t i = 0; i < shown; i++) {
		hex[2 * i] = digits[(uint8_t)record->data.at[i] >> 4];
		hex[2 * i + 1] = digits[(uint8_t)record->data.at[i] & 15];
	}
	hex[2 * shown] = '\0';
	char *text = text_must(talloc_asprintf(owner, "%u %u %u %s%s", record->usage, record->selector,
		record->matching, hex, shown < record->data.len ? "..." : ""));
	talloc_free(hex);
	return text;
}
