/* Addresses: what is accepted lies inside the input, obeys the limits, and is accepted again on its own. */
#include "wire/address.h"

#include <stdlib.h>

#include "wire/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void check(struct text t, const struct address *address)
{
	struct address again;

	must(address->whole.at >= t.at && address->whole.at + address->whole.len <= t.at + t.len);
	must(address->local.len <= 64 && address->domain.len <= 255);
	must(address->local.at == address->whole.at);
	must(utf8_valid(address->local) && utf8_valid(address->domain));
	bool utf8 = false;
	for (size_t i = 0; i < address->whole.len; i++) {
		uint8_t byte = (uint8_t)address->whole.at[i];

		must(byte >= 0x20 && byte != 0x7f);
		utf8 |= byte > 0x7f;
	}
	must(utf8 == address->utf8);
	if (address->domain.len == 0)
		return;
	must(address->whole.len == address->local.len + 1 + address->domain.len);
	must(address->utf8 || address_is_domain(address->domain) || address_is_literal(address->domain));
	must(address_parse(address->whole, &again) == 0 && text_equal(again.local, address->local));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text t = { (const char *)data, size };
	struct address address;
	size_t used;

	if (size == 0)
		return 0;
	for (int allow_null = 0; allow_null < 2; allow_null++) {
		if (address_parse_path(t, allow_null != 0, &address, &used) < 0)
			continue;
		must(used <= size && t.at[used - 1] == '>');
		must(address.local.len > 0 || (allow_null && used == 2));
		check(t, &address);
	}
	if (address_parse(t, &address) == 0) {
		must(address.whole.len == size && address.domain.len > 0);
		check(t, &address);
	}
	return 0;
}
