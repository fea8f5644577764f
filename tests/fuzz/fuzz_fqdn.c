/* Names of certificates: any bytes get a verdict, and what is a fully qualified name keeps the laws of one. */
#include "wire/fqdn.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct text name = { (const char *)data, size };

	if (fqdn_flaw(name) != NULL)
		return 0;
	if (size > 253 || text_find(name, '.') == size || name.at[size - 1] == '.' || !text_is_ascii(name) ||
		text_find(text_from(name, 1), '*') != size - 1)
		abort();
	return 0;
}
