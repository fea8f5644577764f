/* PEM files: blocks lie in the file one behind the other, begin and end with their lines, and hold no other block's beginning. */
#include "wire/pem_frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct text begin = { "-----BEGIN ", 11 };
	const char *behind = (const char *)data;
	struct text rest = { behind, size };
	struct pem_frame block;

	while (pem_frame_next(&rest, &block)) {
		const char *end = block.whole.at + block.whole.len;

		must(block.whole.at >= behind && end <= (const char *)data + size);
		must(rest.at >= end && rest.at + rest.len == (const char *)data + size);
		must(text_equal(text_first(block.whole, begin.len), begin));
		must(block.whole.at == (const char *)data || block.whole.at[-1] == '\n');
		must(block.label.at > block.whole.at && block.label.at + block.label.len + 5 <= end);
		must(text_find(block.label, '\n') == block.label.len);
		/* what lies behind the first line holds no whole block */
		struct text inside = text_from(block.whole, text_find(block.whole, '\n') + 1);
		struct pem_frame other;
		must(!pem_frame_next(&inside, &other));
		behind = end;
	}
	must(rest.len == 0);
	return 0;
}
