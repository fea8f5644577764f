#include "pki/trust.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <talloc.h>

#include "base/base.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "config/trust_files.h"
#include "pki/authorities.h"
#include "pki/pem.h"

struct trust {
	X509_STORE *native;
	size_t count;
};

static int trust_destroy(struct trust *trust)
{
	X509_STORE_free(trust->native);
	return 0;
}

static int no_passphrase(char *buffer, int size, int writing, void *context)
{
	(void)buffer, (void)size, (void)writing, (void)context;
	return -1;
}

struct trust *trust_new(const void *owner)
{
	struct trust *trust = text_must(talloc_zero(owner, struct trust));

	trust->native = text_must(X509_STORE_new());
	talloc_set_destructor(trust, trust_destroy);
	return trust;
}

/* Damage ends a block, not the text. */
static bool is_end(void)
{
	const bool end = pem_is_end();

	ERR_clear_error();
	return end;
}

size_t trust_add(struct trust *trust, struct text pem)
{
	BIO *bio = text_must(BIO_new_mem_buf(pem.at == NULL ? "" : pem.at, (int)pem.len));
	size_t count = 0;
	X509 *next;

	ERR_clear_error();
	while ((next = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL || !is_end()) {
		count += next != NULL && X509_STORE_add_cert(trust->native, next) == 1;
		X509_free(next);
	}
	BIO_free(bio);
	ERR_clear_error();
	trust->count += count;
	return count;
}

size_t trust_count(const struct trust *trust)
{
	return trust->count;
}

enum { PATHS = 3 };

/* Entries of the bundle, NULL for those that are not there or off: a destination may name the same files, and switch them on for itself. */
static void find_paths(const struct config *config, const struct bundle *bundle, const char *ret_paths[PATHS])
{
	const bool system = trust_files_is_on(config, bundle, TRUST_SYSTEM),
		   custom = trust_files_is_on(config, bundle, TRUST_CUSTOM);

	ret_paths[0] = system ? CONFIG_SYSTEM_AUTHORITIES : NULL;
	ret_paths[1] = custom ? config->authorities.custom : NULL;
	ret_paths[2] = custom ? TRUST_FILES_KEPT : NULL;
}

struct text trust_pem_of(const void *owner, const struct config *config, const struct bundle *bundle)
{
	char *pem = text_must(talloc_strdup(owner, ""));
	const char *paths[PATHS];

	find_paths(config, bundle, paths);
	for (size_t i = 0; i < COUNT(paths); i++) {
		const struct text found = paths[i] == NULL ? TEXT("") : bundle_find(bundle, paths[i]);

		if (found.at != NULL)
			pem = text_must(talloc_asprintf_append_buffer(pem, TEXT_FMT "\n", TEXT_ARG(found)));
	}
	return text_of(pem);
}

struct trust *trust_of(const void *owner, const struct config *config, const struct bundle *bundle)
{
	struct trust *trust = trust_new(owner);
	const char *paths[PATHS];

	find_paths(config, bundle, paths);
	for (size_t i = 0; i < COUNT(paths); i++)
		if (paths[i] != NULL)
			trust_add(trust, bundle_find(bundle, paths[i]));
	return trust;
}

struct trust *trust_of_own(
	const void *owner, const struct config_authorities *own, const struct bundle *bundle)
{
	struct trust *trust = trust_new(owner);

	if (own->system && !trust_files_system_is_off(bundle))
		trust_add(trust, bundle_find(bundle, CONFIG_SYSTEM_AUTHORITIES));
	if (own->custom != NULL)
		trust_add(trust, bundle_find(bundle, own->custom));
	return trust;
}

/* Authorities that `postern ca import` would not take. */
static void warn_of_flaws(const struct config *config, const struct config_authorities *from, const char *key,
	struct text pem, struct problems *problems)
{
	struct authorities *found = authorities_parse(NULL, pem);

	for (size_t i = 0; i < found->count; i++) {
		const char *flaw = authorities_flaw(&found->all[i], false);

		if (flaw != NULL)
			problems_warn(problems, config->file, from->line, key,
				"block %zu of %s, `%s`: %s; take it out of the file", found->all[i].block,
				from->custom, found->all[i].name, flaw);
	}
	for (size_t i = 0; i < found->unreadable; i++)
		problems_warn(problems, config->file, from->line, key,
			"block %zu of %s: %s; put it right, or take it out of the file",
			found->damaged[i].block, from->custom, found->damaged[i].why);
	talloc_free(found);
}

static void check_file(const struct config *config, const struct config_authorities *from, const char *key,
	const struct bundle *bundle, struct problems *problems)
{
	struct text pem = from->custom == NULL ? (struct text){ NULL, 0 } : bundle_find(bundle, from->custom);
	struct trust *trust;

	if (pem.at == NULL)
		return;
	trust = trust_new(NULL);
	if (trust_add(trust, pem) == 0)
		problems_add(problems, config->file, from->line, key,
			"%s holds no certificate in PEM form; name a file with the CA certificates to trust",
			from->custom);
	else
		warn_of_flaws(config, from, key, pem, problems);
	talloc_free(trust);
}

void trust_check(const struct config *config, const struct bundle *bundle, struct problems *problems)
{
	check_file(config, &config->authorities, "authorities.custom", bundle, problems);
	for (size_t i = 0; i < config->destination_count; i++) {
		const struct config_destination *destination = &config->destinations[i];
		char *key = text_must(
			talloc_asprintf(NULL, "destinations[%s].authorities.custom", destination->domain));

		check_file(config, &destination->authorities, key, bundle, problems);
		talloc_free(key);
	}
}

X509_STORE *trust_native(const struct trust *trust)
{
	return trust->native;
}
