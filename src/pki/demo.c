/* Every gateway makes its own: a key that comes with a program is everybody's. */
#include "pki/demo.h"

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/stored.h"
#include "pki/certificate.h"
#include "pki/changes.h"
#include "pki/make.h"
#include "pki/pki_store.h"

enum { DAYS = 365 };

bool demo_is_wanted(const struct config *config, const struct bundle *bundle)
{
	for (size_t i = 0; i < config->certificate_count; i++)
		if (stored_is_demo(&config->certificates[i]) &&
			bundle_find(bundle, config->certificates[i].chain).at == NULL)
			return true;
	return false;
}

static int store_one(const struct config *config, struct pki_store *store, const char *chain, const char *key,
	void *scratch)
{
	struct change change = { .what = "demo certificate", .name = STORED_DEMO };
	struct certificate *list;
	const char *why;
	size_t count;

	if (certificate_list(scratch, text_of(chain), &list, &count, &why) == 0)
		change.after = list[0].fingerprint_sha256;
	int r = changes_add(config->state_dir, &change);
	return r < 0 ? r : pki_store_write(store, STORED_DEMO, text_of(chain), text_of(key));
}

static int make(const struct config *config, void *scratch)
{
	/* a common name has 64 characters at most; a host name may have more, and stands among the names then */
	const bool fits = strlen(config->hostname) <= 64;
	const struct make_subject subject = { .common_name = fits ? config->hostname : "gateway.invalid",
		.organization = "Postern demo certificate",
		.alt = &config->hostname,
		.alt_count = 1,
		.days = DAYS };
	char *key = make_key(scratch, "p256"), *chain;
	struct pki_store *store;
	const char *why;
	int r = make_certificate(scratch, text_of(key), &subject, &chain, &why);

	if (r == 0)
		r = pki_store_open_writer(scratch, config->state_dir, &store);
	return r == 0 && !pki_store_has(store, STORED_DEMO) ? store_one(config, store, chain, key, scratch)
							    : r;
}

int demo_make(const struct config *config, const struct bundle *bundle)
{
	void *scratch;
	int r;

	if (!demo_is_wanted(config, bundle))
		return 0;
	scratch = talloc_new(NULL);
	r = make(config, scratch);
	talloc_free(scratch);
	return r == 0 ? 1 : r;
}
