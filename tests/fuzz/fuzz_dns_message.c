/*
 * Answers of the DNS: whatever the bytes say, there is a message with names that could be asked for again, or an error; a cut message is never
 * a longer answer. The first byte chooses the type.
 */
#include "wire/dns_message.h"

#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void must_be_name(const char *name)
{
	char *again = dns_message_name(NULL, text_of(name));

	must(again != NULL && strcmp(again, name) == 0);
	talloc_free(again);
}

static void check_record(enum dns_type type, const struct dns_record *record)
{
	bool is_address = type == DNS_A || type == DNS_AAAA;
	volatile char sum = 0;

	must(record->address.family == (type == DNS_A ? AF_INET : type == DNS_AAAA ? AF_INET6 : 0));
	must_be_name(record->name);
	must(record->name[0] == '\0' || (!is_address && type != DNS_TXT && type != DNS_TLSA));
	must(record->data.len == 0 || type == DNS_TXT || type == DNS_TLSA);
	for (size_t i = 0; i < record->data.len; i++)
		sum = (char)(sum + record->data.at[i]);
}

/* In memory of exactly that size. */
static struct dns_message *parse(const uint8_t *data, size_t size, enum dns_type type)
{
	struct dns_message *message = NULL;
	char *copy = malloc(size + (size == 0));

	must(copy != NULL);
	memcpy(copy, data, size);
	int r = dns_message_parse(NULL, (struct text){ copy, size }, type, &message);
	free(copy);
	must((r == 0 && message != NULL) || (r == ERR_FORMAT && message == NULL));
	return message;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = { DNS_A, DNS_AAAA, DNS_CNAME, DNS_MX, DNS_PTR, DNS_TXT,
		DNS_TLSA };

	if (size == 0 || size > 65536)
		return 0;

	enum dns_type type = types[data[0] % COUNT(types)];
	struct dns_message *message = parse(data + 1, size - 1, type);
	struct dns_message *shorter = parse(data + 1, (size - 1) / 2, type);
	if (message != NULL) {
		must(message->code <= 15 && message->count <= DNS_RECORDS_MAX);
		must(message->ttl_s >= 0 && message->ttl_s <= INT32_MAX);
		must_be_name(message->canonical);
		for (size_t i = 0; i < message->count; i++)
			check_record(type, &message->records[i]);
	}
	must(shorter == NULL || message == NULL || shorter->count <= message->count);
	talloc_free(message);
	talloc_free(shorter);
	return 0;
}
