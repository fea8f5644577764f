/* xtext, both round trips: what was encoded decodes to the same bytes, and what decodes has one decoding. */
#include "wire/xtext.h"

#include <stdlib.h>

#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

static char *room(size_t size)
{
	char *bytes = malloc(size + (size == 0));

	must(bytes != NULL);
	return bytes;
}

static void check_encode(struct text t)
{
	char *coded = room(3 * t.len);
	size_t len = xtext_encode(t, coded), back_len;
	char *back = room(len);

	for (size_t i = 0; i < len; i++)
		must(coded[i] > 0x20 && coded[i] < 0x7f && coded[i] != '=');
	if (text_find(t, '\0') < t.len) {
		must(xtext_decode((struct text){ coded, len }, back, &back_len) == ERR_FORMAT);
	} else {
		must(xtext_decode((struct text){ coded, len }, back, &back_len) == 0);
		must(text_equal((struct text){ back, back_len }, t));
	}
	free(coded);
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text t = { (const char *)data, size };
	char *plain = room(size);
	size_t len;

	check_encode(t);
	if (size > 0 && xtext_decode(t, plain, &len) == 0) {
		must(len <= size && text_find((struct text){ plain, len }, '\0') == len);
		check_encode((struct text){ plain, len });
	}
	free(plain);
	return 0;
}
