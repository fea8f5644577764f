/*
 * Profile, certificate and authorities come from different entries of `destinations`, as each key does for itself. Those that come together for some domain do so for
 * an entry of the file, too, or for a domain that no entry names.
 */
#include "deliver/contexts.h"

#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "config/bundle.h"
#include "config/config.h"
#include "net/tls.h"
#include "pki/identity.h"
#include "pki/trust.h"

struct pair {
	const struct config_tls_profile *profile;
	const struct config_certificate *certificate;
	struct tls_context *context;
};

struct contexts {
	const struct config *config;
	const struct identity **identities; /* as `certificates`; NULL for those that are not shown */
	struct pair *pairs;
	size_t pair_count;
	const struct trust **trusts; /* as `destinations`; NULL for those that do not say it */
};

static const struct pair *find(const struct contexts *contexts, const struct config_tls_profile *profile,
	const struct config_certificate *certificate)
{
	for (size_t i = 0; i < contexts->pair_count; i++)
		if (contexts->pairs[i].profile == profile && contexts->pairs[i].certificate == certificate)
			return &contexts->pairs[i];
	return NULL;
}

static const char *add(struct contexts *contexts, const struct config_tls_profile *profile,
	const struct config_certificate *certificate)
{
	struct tls_context *context;

	if (find(contexts, profile, certificate) != NULL)
		return NULL;
	context = tls_context_client(contexts);
	if (profile != NULL && tls_use_profile(context, profile) < 0)
		return "the TLS profile of a destination cannot be used";
	if (certificate != NULL &&
		identity_use(contexts->identities[certificate - contexts->config->certificates], context) < 0)
		return "the certificate of a destination cannot be used by OpenSSL";
	contexts->pairs[contexts->pair_count++] = (struct pair){ profile, certificate, context };
	return NULL;
}

/* Those of `domain`; an entry for all names below a domain is asked as a name that only such entries fit. */
static const char *add_of(struct contexts *contexts, const char *domain)
{
	char *name = text_must(talloc_asprintf(NULL, "%s%s", domain[0] == '.' ? "*" : "", domain));
	const char *why = add(contexts, config_tls_profile_for(contexts->config, text_of(name)),
		config_client_certificate_for(contexts->config, text_of(name)));

	talloc_free(name);
	return why;
}

static const char *load_certificates(
	struct contexts *contexts, const struct bundle *bundle, struct key_handles *handles)
{
	const struct config *config = contexts->config;
	struct identity_flaw flaw;

	contexts->identities = text_must(talloc_zero_array(
		contexts, const struct identity *, (unsigned)MAX(config->certificate_count, 1)));
	for (size_t i = 0; i < config->certificate_count; i++) {
		const struct config_certificate *certificate = &config->certificates[i];

		if (!config_delivery_shows(config, certificate))
			continue;
		contexts->identities[i] = identity_load_chain(
			contexts, bundle_find(bundle, certificate->chain), handles, certificate->name, &flaw);
		if (contexts->identities[i] == NULL)
			return flaw.text;
	}
	return NULL;
}

static const char *load_contexts(struct contexts *contexts)
{
	const struct config *config = contexts->config;
	const char *why = NULL;

	contexts->pairs =
		text_must(talloc_array(contexts, struct pair, (unsigned)config->destination_count + 1));
	for (size_t i = 0; i < config->destination_count && why == NULL; i++)
		why = add_of(contexts, config->destinations[i].domain);
	return why != NULL ? why : add_of(contexts, "default");
}

static void load_trusts(struct contexts *contexts, const struct bundle *bundle)
{
	const struct config *config = contexts->config;

	contexts->trusts = text_must(talloc_zero_array(
		contexts, const struct trust *, (unsigned)MAX(config->destination_count, 1)));
	for (size_t i = 0; i < config->destination_count; i++)
		if (config->destinations[i].authorities.line != 0)
			contexts->trusts[i] =
				trust_of_own(contexts, &config->destinations[i].authorities, bundle);
}

const struct contexts *contexts_new(const void *owner, const struct config *config,
	const struct bundle *bundle, struct key_handles *handles, const char **ret_why)
{
	struct contexts *contexts = text_must(talloc_zero(owner, struct contexts));
	const char *why;

	contexts->config = config;
	load_trusts(contexts, bundle);
	why = load_certificates(contexts, bundle, handles);
	if (why == NULL)
		why = load_contexts(contexts);
	if (why == NULL)
		return contexts;
	*ret_why = why;
	talloc_free(contexts);
	return NULL;
}

struct tls_context *contexts_find(const struct contexts *contexts, const struct config_tls_profile *profile,
	const struct config_certificate *certificate)
{
	return find(contexts, profile, certificate)->context;
}

const struct trust *contexts_trust(
	const struct contexts *contexts, const struct config_authorities *authorities)
{
	size_t i = 0;

	while (&contexts->config->destinations[i].authorities != authorities)
		i++;
	return contexts->trusts[i];
}
