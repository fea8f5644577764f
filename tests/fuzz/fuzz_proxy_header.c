/*
 * PROXY headers: a right one is right whatever follows, and no shorter piece of it is anything but
 * incomplete; a wrong one stays wrong; nothing waits for more than the longest header.
 */
#include "wire/proxy_header.h"

#include <stdlib.h>

#include "base/base.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

/* In memory of exactly that size. */
static int parse(const uint8_t *data, size_t size, struct ip *ret_client, size_t *ret_used)
{
	char *copy = malloc(size + (size == 0));

	must(copy != NULL);
	memcpy(copy, data, size);
	int r = proxy_header_parse((struct text){ copy, size }, ret_client, ret_used);
	free(copy);
	return r;
}

/* Each cut of a short header, some of a long one. */
static void must_wait(const uint8_t *data, size_t size)
{
	struct ip client;
	size_t used;

	for (size_t cut = 0; cut < size; cut += cut < 300 ? 1 : 997)
		must(parse(data, cut, &client, &used) == 0);
	must(parse(data, size - 1, &client, &used) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ip client = { 0 }, again = { 0 };
	size_t used = 0, used_again = 0;

	if (size == 0)
		return 0;

	int r = parse(data, size, &client, &used);
	must(r == 0 || r == ERR_FORMAT || r == PROXY_HEADER_LOCAL || r == PROXY_HEADER_PROXIED);
	if (r == 0) {
		must(size < PROXY_HEADER_MAX && used == 0);
		must_wait(data, size);
	} else if (r == ERR_FORMAT) {
		char *longer = malloc(size + 8);

		must(longer != NULL);
		memcpy(longer, data, size);
		memcpy(longer + size, "\r\n250 ok", 8);
		must(proxy_header_parse((struct text){ longer, size + 8 }, &again, &used) == ERR_FORMAT);
		free(longer);
	} else {
		must(used >= 15 && used <= MIN(size, (size_t)PROXY_HEADER_MAX));
		must(parse(data, used, &again, &used_again) == r && used_again == used);
		must(again.port == client.port && again.family == client.family);
		must((r == PROXY_HEADER_PROXIED) == (client.family == AF_INET || client.family == AF_INET6));
		must_wait(data, used);
	}
	return 0;
}
