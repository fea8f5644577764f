/* URLs: what is accepted lies inside the input, has no byte that could end a line or a name, and says the same when it is written anew. */
#include "wire/url.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

static bool inside(struct text part, struct text whole)
{
	return part.at >= whole.at && part.at + part.len <= whole.at + whole.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text t = { (const char *)data, size };
	char again_text[URL_MAX + 64];
	struct url url, again;

	if (size == 0 || url_parse(t, &url) < 0)
		return 0;
	must(inside(url.host, t) && inside(url.target, t) && url.host.len > 0 && url.port > 0);
	for (size_t i = 0; i < size; i++)
		must(data[i] > ' ' && data[i] < 0x7f);

	bool six = text_find(url.host, ':') < url.host.len;
	int len = snprintf(again_text, sizeof again_text, "http%s://%s" TEXT_FMT "%s:%u" TEXT_FMT,
		url.secure ? "s" : "", six ? "[" : "", TEXT_ARG(url.host), six ? "]" : "", (unsigned)url.port,
		TEXT_ARG(url.target));
	must(len > 0 && (size_t)len < sizeof again_text);
	if (len > URL_MAX)
		return 0;
	must(url_parse((struct text){ again_text, (size_t)len }, &again) == 0);
	must(again.secure == url.secure && again.port == url.port && text_equal(again.host, url.host) &&
		text_equal(again.target, url.target));
	return 0;
}
