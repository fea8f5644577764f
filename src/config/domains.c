/* See domains.h. Each mail is looked up several times: with a thousand routes a walk through all of them cost a tenth of its delivery. */
#include "config/domains.h"

#define HASH_NONFATAL_OOM 0
#include <uthash.h>

#include <talloc.h>

#include "base/base.h"

enum { NAME_MAX_LEN = 255 };

struct named {
	UT_hash_handle hh;
	const char *name; /* lower case */
	const void *entry;
};

struct domains {
	struct named *names;
};

static int destroy(struct domains *domains)
{
	HASH_CLEAR(hh, domains->names); /* the entries are talloc's */
	return 0;
}

struct domains *domains_new(const void *owner)
{
	struct domains *domains = text_must(talloc_zero(owner, struct domains));

	talloc_set_destructor(domains, destroy);
	return domains;
}

static const struct named *find(const struct domains *domains, struct text name)
{
	struct named *named;

	HASH_FIND(hh, domains->names, name.at, name.len, named);
	return named;
}

const void *domains_find(const struct domains *domains, struct text name)
{
	char lower[NAME_MAX_LEN];

	if (name.len > sizeof lower)
		return NULL;
	for (size_t i = 0; i < name.len; i++)
		lower[i] = text_lower(name.at[i]);
	const struct named *named = find(domains, (struct text){ lower, name.len });
	return named == NULL ? NULL : named->entry;
}

void domains_add(struct domains *domains, const char *name, const void *entry)
{
	if (name == NULL || domains_find(domains, text_of(name)) != NULL)
		return;

	struct named *named = text_must(talloc_zero(domains, struct named));
	named->name = text_copy_lower(named, text_of(name));
	named->entry = entry;
	HASH_ADD_KEYPTR(hh, domains->names, named->name, strlen(named->name), named);
}

const void *domains_fit(const struct domains *domains, struct text domain)
{
	const void *entry = domains_find(domains, domain);

	for (size_t i = 0; entry == NULL && i + 1 < domain.len; i++)
		if (domain.at[i] == '.')
			entry = domains_find(domains, text_from(domain, i));
	return entry == NULL ? domains_find(domains, TEXT("default")) : entry;
}
