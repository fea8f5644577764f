/*
 * One record after the other: comments go, parentheses join lines. Only what a trust anchor needs is understood: an absolute owner, an
 * optional TTL and class, DS or DNSKEY, numbers, and the key or digest. What is taken here is what libunbound takes.
 */
#include "config/trust_anchors.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <talloc.h>

#include "base/base.h"
#include "config/bundle.h"
#include "config/config.h"

enum { WORDS_MAX = 64, ANCHORS_MAX = 100, ZONE_MAX = 253, REVOKED = 0x80, ZONE_KEY = 0x100 };

/* As IANA publishes them (https://data.iana.org/root-anchors/root-anchors.xml). */
static const char root[] =
	". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"
	". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16\n";

/* The words of one record. */
struct words {
	struct text list[WORDS_MAX];
	size_t count;
	bool too_many;
	unsigned line; /* of the first one */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '(' || c == ')';
}

static void split(struct text line, struct words *words, int *depth)
{
	size_t at = 0;

	line = text_first(line, text_find(line, ';'));
	while (at < line.len) {
		size_t start = at;

		while (at < line.len && !is_blank(line.at[at]))
			at++;
		if (at > start && words->count < WORDS_MAX)
			words->list[words->count++] = (struct text){ line.at + start, at - start };
		else if (at > start)
			words->too_many = true;
		if (at < line.len)
			*depth += line.at[at] == '(' ? 1 : line.at[at] == ')' ? -1 : 0;
		at++;
	}
}

/* The words of the next record; false at the end of the file. */
static bool next(struct text *rest, unsigned *line, struct words *words)
{
	int depth = 0;

	*words = (struct words){ 0 };
	while (rest->len > 0 && (words->count == 0 || depth > 0)) {
		size_t end = text_find(*rest, '\n');

		++*line;
		if (words->count == 0)
			words->line = *line;
		split(text_first(*rest, end), words, &depth);
		*rest = text_from(*rest, end + 1);
	}
	return words->count > 0;
}

static bool is_all(struct text t, const char *more, int (*fits)(int c))
{
	for (size_t i = 0; i < t.len; i++)
		if (!fits((unsigned char)t.at[i]) && (t.at[i] == '\0' || strchr(more, t.at[i]) == NULL))
			return false;
	return t.len > 0;
}

static bool is_number(struct text t, uint64_t max, uint64_t *ret_number)
{
	return text_number(t, max, ret_number) == 0;
}

/* The three numbers and the data behind the type, with their words joined; NULL when they are none. */
static char *join(const void *owner, const struct words *words, size_t at, bool key)
{
	uint64_t a, b, c;
	char *data = text_must(talloc_strdup(owner, ""));

	if (words->too_many || words->count < at + 4 || !is_number(words->list[at], 65535, &a) ||
		!is_number(words->list[at + 1], 255, &b) || !is_number(words->list[at + 2], 255, &c) ||
		(key && ((a & ZONE_KEY) == 0 || b != 3)))
		return NULL;
	for (size_t i = at + 3; i < words->count; i++)
		data = text_must(talloc_asprintf_append(data, TEXT_FMT, TEXT_ARG(words->list[i])));
	if (!(key ? is_all(text_of(data), "+/=", isalnum)
		  : is_all(text_of(data), "", isxdigit) && strlen(data) % 2 == 0))
		return NULL;
	return text_must(talloc_asprintf(owner, "%llu %llu %llu %s", (unsigned long long)a,
		(unsigned long long)b, (unsigned long long)c, data));
}

/* A key that its zone has revoked (RFC 5011 section 2.1). */
static bool is_revoked(const struct words *words, size_t at)
{
	uint64_t flags;

	return at < words->count && is_number(words->list[at], 65535, &flags) && (flags & REVOKED) != 0;
}

static bool take(struct trust_anchors *anchors, const struct words *words)
{
	size_t at = 1;
	uint64_t ttl;
	struct text zone = words->list[0];

	if (zone.len > 0 && zone.at[zone.len - 1] == '.')
		zone.len--;
	while (at < words->count && (is_number(words->list[at], UINT32_MAX, &ttl) ||
					    text_equal_nocase(words->list[at], TEXT("IN"))))
		at++;
	bool key = at < words->count && text_equal_nocase(words->list[at], TEXT("DNSKEY"));
	bool ds = at < words->count && text_equal_nocase(words->list[at], TEXT("DS"));
	if (key && is_revoked(words, at + 1))
		return true;
	char *data = key || ds ? join(anchors, words, at + 1, key) : NULL;

	if (data == NULL || anchors->count == ANCHORS_MAX || zone.len > ZONE_MAX ||
		(zone.len > 0 && !is_all(zone, ".-_/", isalnum)))
		return false;
	struct trust_anchor *anchor = &anchors->list[anchors->count++];
	anchor->zone = text_copy_lower(anchors, zone);
	anchor->record = text_must(
		talloc_asprintf(anchors, "%s. IN %s %s", anchor->zone, key ? "DNSKEY" : "DS", data));
	return true;
}

struct trust_anchors *trust_anchors_parse(const void *owner, struct text file, const char **ret_why)
{
	struct trust_anchors *anchors = text_must(talloc_zero(owner, struct trust_anchors));
	unsigned line = 0;
	struct words words;

	anchors->list = text_must(talloc_array(anchors, struct trust_anchor, ANCHORS_MAX));
	while (next(&file, &line, &words)) {
		if (words.list[0].at[0] == '$' || take(anchors, &words))
			continue;
		*ret_why = text_must(talloc_asprintf(owner,
			"line %u is no DS or DNSKEY record that can be trusted: write one such as `test. IN DS 12345 13 2 1A2B...`, at most %d of them",
			words.line, ANCHORS_MAX));
		talloc_free(anchors);
		return NULL;
	}
	if (anchors->count > 0)
		return anchors;
	*ret_why =
		"has no trust anchor: write a DS or DNSKEY record into it, or leave the key out for the root's keys";
	talloc_free(anchors);
	return NULL;
}

struct trust_anchors *trust_anchors_of(
	const void *owner, const struct config *config, const struct bundle *bundle, const char **ret_why)
{
	const char *path = config->dns.trust_anchor_file;

	return trust_anchors_parse(owner, path == NULL ? TEXT(root) : bundle_find(bundle, path), ret_why);
}
