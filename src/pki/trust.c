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

struct text trust_pem_of(const void *owner, const struct config *config, const struct bundle *bundle)
{
	const char *const paths[] = { CONFIG_SYSTEM_AUTHORITIES, config->authorities.custom,
		TRUST_FILES_KEPT };
	char *pem = text_must(talloc_strdup(owner, ""));

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
	const char *const paths[] = { CONFIG_SYSTEM_AUTHORITIES, config->authorities.custom,
		TRUST_FILES_KEPT };

	for (size_t i = 0; i < COUNT(paths); i++)
		if (paths[i] != NULL)
			trust_add(trust, bundle_find(bundle, paths[i]));
	return trust;
}

/* Authorities that `postern ca import` would not take. */
static void warn_of_flaws(const struct config *config, struct text pem, struct problems *problems)
{
	struct authorities *found = authorities_parse(NULL, pem);
	const char *path = config->authorities.custom;

	for (size_t i = 0; i < found->count; i++) {
		const char *flaw = authorities_flaw(&found->all[i], false);

		if (flaw != NULL)
			problems_warn(problems, config->file, config->authorities.line, "authorities.custom",
				"block %zu of %s, `%s`: %s; take it out of the file", found->all[i].block,
				path, found->all[i].name, flaw);
	}
	for (size_t i = 0; i < found->unreadable; i++)
		problems_warn(problems, config->file, config->authorities.line, "authorities.custom",
			"block %zu of %s: %s; put it right, or take it out of the file",
			found->damaged[i].block, path, found->damaged[i].why);
	talloc_free(found);
}

void trust_check(const struct config *config, const struct bundle *bundle, struct problems *problems)
{
	const char *path = config->authorities.custom;
	struct text pem = path == NULL ? (struct text){ NULL, 0 } : bundle_find(bundle, path);
	struct trust *trust;

	if (pem.at == NULL)
		return;
	trust = trust_new(NULL);
	if (trust_add(trust, pem) == 0)
		problems_add(problems, config->file, config->authorities.line, "authorities.custom",
			"%s holds no certificate in PEM form; name a file with the CA certificates to trust",
			path);
	else
		warn_of_flaws(config, pem, problems);
	talloc_free(trust);
}

X509_STORE *trust_native(const struct trust *trust)
{
	return trust->native;
}
