/*
 * The format: one address a line; `@domain` is every address of the domain; blank lines and lines that start with # are skipped; case
 * does not count. Read by session/recipients.c; checked by config_gather() before any role sees it, because a line that can never match
 * would refuse somebody's mail without a word, and a list without entries everybody's.
 */
#include "config/recipient_list.h"

#include <talloc.h>

#include "base/base.h"
#include "config/config.h"
#include "config/problems.h"
#include "wire/address.h"

enum { PROBLEMS_SHOWN = 10, ENTRY_SHOWN = 80 };

bool recipient_list_next(struct text *rest, unsigned *line, struct text *ret_entry)
{
	while (rest->len > 0) {
		size_t end = text_find(*rest, '\n');
		struct text one = text_first(*rest, end);

		*rest = text_from(*rest, end + 1);
		(*line)++;
		if (one.len > 0 && one.at[one.len - 1] == '\r')
			one.len--;
		one = text_trim(one);
		if (one.len == 0 || one.at[0] == '#')
			continue;
		*ret_entry = one;
		return true;
	}
	return false;
}

/* The domain of an entry; false when it is neither an address nor `@domain`. */
static bool domain_of(struct text entry, struct text *ret_domain)
{
	struct address address;

	if (entry.len > 0 && entry.at[0] == '@') {
		*ret_domain = text_from(entry, 1);
		return address_is_domain(*ret_domain);
	}
	if (address_parse(entry, &address) < 0)
		return false;
	*ret_domain = address.domain;
	return true;
}

/* `entry` as a terminal may have it: short, and nothing but printable ASCII. */
static char *shown(const void *owner, struct text entry)
{
	char *copy = text_copy(owner, text_first(entry, ENTRY_SHOWN));

	for (size_t i = 0; i < MIN(entry.len, (size_t)ENTRY_SHOWN); i++)
		if (copy[i] < ' ' || copy[i] > '~')
			copy[i] = '?';
	return copy;
}

/* What is wrong with `entry` and how to mend it, owned by `owner`; NULL when nothing is. */
static char *flaw_of(const void *owner, const struct config *config, struct text entry)
{
	struct text first = text_first(entry, MIN(text_find(entry, ' '), text_find(entry, '\t'))), domain;

	if (domain_of(entry, &domain))
		return config_accepts(config, domain)
			       ? NULL
			       : text_must(talloc_asprintf(owner,
					 "`%s` is not in a domain of accepted_domains: add the domain there, or "
					 "remove this line",
					 shown(owner, entry)));
	if (first.len < entry.len && domain_of(first, &domain))
		return text_must(talloc_asprintf(owner,
			"something stands behind `%s`: write one address on a line, and comments on lines "
			"of their own that start with #",
			shown(owner, first)));
	return text_must(talloc_asprintf(owner,
		"`%s` is no mail address: write one on a line, such as bob@example.com, or @example.com for "
		"every address of the domain",
		shown(owner, entry)));
}

/* A domain that was refused may be the one that is missed. */
static bool knows_domains(const struct config *config)
{
	for (size_t i = 0; i < config->accepted_domain_count; i++)
		if (config->accepted_domains[i] == NULL)
			return false;
	return true;
}

size_t recipient_list_check(const struct config *config, struct text bytes, struct problems *problems)
{
	const char *file = config->recipients.file, *key = "recipients.file";
	size_t entries = 0, flaws = 0;
	struct text entry;
	unsigned line = 0;

	if (!knows_domains(config))
		return 0;
	while (recipient_list_next(&bytes, &line, &entry)) {
		char *flaw = flaw_of(problems, config, entry);

		entries++;
		if (flaw != NULL && ++flaws <= PROBLEMS_SHOWN)
			problems_add(problems, file, line, key, "%s", flaw);
		talloc_free(flaw);
	}
	if (flaws > PROBLEMS_SHOWN)
		problems_add(problems, file, 0, key, "%zu more of its lines cannot be used",
			flaws - PROBLEMS_SHOWN);
	if (entries == 0)
		problems_add(problems, file, 0, key,
			"has no address, so all mail would be refused: write one on a line, such as "
			"bob@example.com, or leave recipients.file out");
	return entries == 0 ? 1 : MIN(flaws, (size_t)PROBLEMS_SHOWN + 1);
}
