/*
 * The configuration as the rest of the house sees it: read from a bundle (in every role), gathered from disk (in
 * master and `postern check`), held and released, and asked about domains.
 *
 * A config is its own talloc root: nothing outside owns it, its last holder frees it. It does not change after
 * config_read(), so threads share it without locks; only the count of holders is atomic.
 */
#include "config/config.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "base/text.h"
#include "config/bundle.h"
#include "config/check.h"
#include "config/crl_sources.h"
#include "config/destinations.h"
#include "config/domains.h"
#include "config/marks.h"
#include "config/problems.h"
#include "config/reader.h"
#include "config/recipient_list.h"
#include "config/outbound.h"
#include "config/routes.h"
#include "config/starttls_lists.h"
#include "config/stored.h"
#include "config/table.h"
#include "config/trust_anchors.h"
#include "config/trust_files.h"
#include "config/unverified.h"

struct counted {
	struct config config; /* first: a config is cast back to its struct counted */
	atomic_uint holders;
};

/* The directory of `file` with its slash; "" when it has none. */
static char *directory_of(const void *owner, const char *file)
{
	size_t slash = text_find_last(text_of(file), '/');

	if (file[slash] == '\0')
		return text_must(talloc_strdup(owner, ""));
	return text_copy(owner, text_first(text_of(file), slash + 1));
}

static bool says(const struct config_destination *destination, enum config_says key)
{
	switch (key) {
	case CONFIG_SAYS_TLS:
		return destination->tls != CONFIG_TLS_UNSET;
	case CONFIG_SAYS_DANE:
		return destination->dane != CONFIG_DANE_UNSET;
	case CONFIG_SAYS_CERTIFICATE:
		return destination->certificate != NULL;
	case CONFIG_SAYS_AUTHORITIES:
		return destination->authorities.line != 0;
	case CONFIG_SAYS_TLS_PROFILE:
		return destination->tls_profile != NULL;
	case CONFIG_SAYS_CONCURRENCY:
		return destination->concurrency != CONFIG_UNSET;
	case CONFIG_SAYS_RATE:
	case CONFIG_SAYS_END:
		break;
	}
	return destination->rate != CONFIG_UNSET;
}

/* Domains that a file with problems names wrongly are not there. */
static void index_domains(struct config *config, const void *owner)
{
	struct domains *routes = domains_new(owner), *accepted = domains_new(owner);

	for (size_t i = 0; i < config->route_count; i++)
		domains_add(routes, config->routes[i].domain, &config->routes[i]);
	for (size_t i = 0; i < config->accepted_domain_count; i++)
		domains_add(accepted, config->accepted_domains[i], &config->accepted_domains[i]);
	starttls_lists_finish(owner, config);
	config->routes_by_domain = routes;
	config->accepted_by_domain = accepted;
	for (int key = 0; key < CONFIG_SAYS_END; key++) {
		struct domains *destinations = domains_new(owner);

		for (size_t i = 0; i < config->destination_count; i++)
			if (says(&config->destinations[i], (enum config_says)key))
				domains_add(destinations, config->destinations[i].domain,
					&config->destinations[i]);
		config->destinations_by_domain[key] = destinations;
	}
}

static void choose_certificates(struct config *config)
{
	for (size_t i = 0; i < config->listener_count; i++) {
		struct config_listener *listener = &config->listeners[i];

		if (listener->certificate_count > 0)
			listener->certificate = listener->certificates[0];
	}
}

/* Read and check; problems are noted in `marks`. What the store of certificates says for the whole is added to `gathers`, if it is not NULL. Never NULL. */
static struct config *load(
	const struct bundle *bundle, struct bundle *gathers, const char *file, struct marks *marks)
{
	struct counted *counted = text_must(talloc_zero(NULL, struct counted));
	struct config *config = &counted->config;
	struct text yaml = bundle_find(bundle, file);
	char *directory = directory_of(counted, file);
	bool understood = false;

	atomic_init(&counted->holders, 1);
	config->generation = bundle_generation(bundle);
	config->file = text_must(talloc_strdup(counted, file));
	if (yaml.at == NULL) {
		marks_problem(marks, 0, "", "the configuration file is not in this generation");
		marks_sort(marks);
	} else {
		understood = reader_run(yaml, directory, config, marks);
	}
	if (understood) {
		destinations_finish(config);
		routes_finish(config);
		crl_sources_finish(config);
		if (gathers != NULL)
			stored_gather(gathers, config, marks);
		stored_finish(config, bundle, marks);
		check_references(config, marks);
	}
	index_domains(config, counted);
	if (understood) {
		stored_assign(config, bundle, marks);
		choose_certificates(config);
		check_whole(config, marks);
		routes_check(config, marks);
		outbound_check(config, marks);
		crl_sources_check(config, marks);
		unverified_warn(config, marks);
	}
	return config;
}

/* What is right in the file is read even when something else is wrong. */
int config_places(
	const void *owner, const char *file, char **ret_state_dir, char **ret_runtime_dir, char **ret_user)
{
	struct bundle *bundle = bundle_new(NULL, 0);
	struct marks *marks = marks_new(bundle);
	int r = bundle_add_file(bundle, file, BUNDLE_ALL);
	const struct config *config = load(bundle, NULL, file, marks);

	if (r == 0 && (config->state_dir == NULL || config->runtime_dir == NULL))
		r = -ENOENT;
	if (r == 0) {
		const char *user =
			config->user != NULL ? config->user : table_find(&table_top, TEXT("user"))->standard;

		*ret_user = text_copy(owner, text_of(user));
		*ret_state_dir = text_copy(owner, text_of(config->state_dir));
		*ret_runtime_dir = text_copy(owner, text_of(config->runtime_dir));
	}
	talloc_free(bundle);
	config_release(config);
	return r;
}

const struct config *config_read(const struct bundle *bundle, const char *file, struct problems *problems)
{
	struct marks *marks = marks_new(NULL);
	struct config *config = load(bundle, NULL, file, marks);

	/* The labels in the marks belong to the config: flush first. */
	if (marks_flush(marks, file, problems) > 0) {
		config_release(config);
		config = NULL;
	}
	talloc_free(marks);
	return config;
}

/* Note what went wrong with the file that `key` names; 0 is nothing. */
static void note_file(struct marks *marks, const char *key, const char *path, int r, const char *limit)
{
	if (r == -EFBIG)
		marks_problem(marks, MARKS_LOOK_UP, key, "`%s` is larger than %s", path, limit);
	else if (r == -EACCES || r == -EPERM)
		marks_problem(marks, MARKS_LOOK_UP, key,
			"`%s` cannot be read: %s; let the user that runs this read it", path, err_text(r));
	else if (r < 0)
		marks_problem(marks, MARKS_LOOK_UP, key,
			"`%s` cannot be read: %s; correct the path or put the file there", path, err_text(r));
}

static const char pem_limit[] = "1 MiB: name a PEM file";

static void gather_pem(
	struct bundle *bundle, const char *path, unsigned readers, struct marks *marks, const char *key)
{
	if (path != NULL)
		note_file(marks, key, path, bundle_add_file(bundle, path, readers), pem_limit);
}

static bool has_root(const struct trust_anchors *anchors)
{
	for (size_t i = 0; i < anchors->count; i++)
		if (anchors->list[i].zone[0] == '\0')
			return true;
	return false;
}

/* The file of trust anchors must hold some. Without the root's DANE is off nearly everywhere (conformance 3.11). */
static void gather_anchors(struct bundle *bundle, const struct config *config, struct marks *marks)
{
	static const char key[] = "dns.trust_anchor_file";
	const char *path = config->dns.trust_anchor_file, *why;
	const struct config_destination *entry;

	gather_pem(bundle, path, BUNDLE_RESOLVER, marks, key);
	if (path == NULL || bundle_find(bundle, path).at == NULL)
		return;
	const struct trust_anchors *anchors = trust_anchors_of(marks, config, bundle, &why);
	if (anchors == NULL)
		marks_problem(marks, MARKS_LOOK_UP, key, "`%s`: %s", path, why);
	else if (!has_root(anchors) && config_dane_for(config, TEXT(""), &entry) != CONFIG_DANE_NONE)
		marks_warn(marks, MARKS_LOOK_UP, key,
			"`%s` has no anchor for the root, so no answer from outside its zones is validated, and DANE "
			"never protects mail that goes there: add the root's DS records, or say so with `dane: none` for the default destination",
			path);
}

static void gather_list(
	struct bundle *bundle, const char *path, unsigned readers, struct marks *marks, const char *key)
{
	if (path != NULL)
		note_file(marks, key, path, bundle_add_list(bundle, path, readers),
			"64 MiB: name a list of addresses, one on a line");
}

/* A group may read a key: one for those who renew certificates is usual. */
static void check_key_mode(const char *path, struct marks *marks, const char *key)
{
	struct stat status;

	if (path == NULL || stat(path, &status) < 0)
		return; /* said by note_file() */
	if ((status.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)) == 0)
		return;
	const char *who = (status.st_mode & S_IROTH) != 0   ? "everybody read"
			  : (status.st_mode & S_IWOTH) != 0 ? "everybody change"
							    : "its group change";
	marks_warn(marks, MARKS_LOOK_UP, key,
		"the mode of `%s` lets %s this private key: run `chmod 600` on it, or 640", path, who);
}

/* A chain for who presents it, a key for `keys`, also when both stand in one file. */
static void gather_certificate(struct bundle *bundle, const struct config *config,
	const struct config_certificate *certificate, size_t number, struct marks *marks)
{
	const unsigned readers = BUNDLE_FRONT | BUNDLE_CERTIFICATES |
				 (config_delivery_shows(config, certificate) ? BUNDLE_DELIVER : 0);
	const char *path = certificate->chain,
		   *key = text_must(talloc_asprintf(marks, "certificates[%zu].chain", number));

	if (path != NULL)
		note_file(marks, key, path, bundle_add_chain(bundle, path, readers), pem_limit);
	path = certificate->key;
	key = text_must(talloc_asprintf(marks, "certificates[%zu].key", number));
	if (path != NULL)
		note_file(marks, key, path, bundle_add_key(bundle, path), pem_limit);
	check_key_mode(path, marks, key);
}

/* 0 when `run` can make or append to the log: a regular file, or none yet in a directory. Rights are for `run` to say, which may be another
 * user. */
static int log_place(const void *owner, const char *path)
{
	struct stat status;
	const char *directory = directory_of(owner, path);

	if (stat(path, &status) == 0)
		return S_ISREG(status.st_mode) ? 0 : S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
	if (errno != ENOENT)
		return errno == EACCES ? 0 : -errno;
	return stat(directory[0] == '\0' ? "." : directory, &status) == 0 || errno == EACCES ? 0 : -errno;
}

static void check_log(const struct config *config, struct marks *marks)
{
	const char *path = config->log.file;
	int r = config->log.to == CONFIG_LOG_FILE && path != NULL ? log_place(marks, path) : 0;

	if (r < 0)
		marks_problem(marks, MARKS_LOOK_UP, "log.to", "%s cannot be opened: %s%s", path, err_text(r),
			CONFIG_LOG_FILE_CURE);
}

/* Who we are. */
static void gather_certificates(struct bundle *bundle, const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->certificate_count; i++) {
		const struct config_certificate *certificate = &config->certificates[i];

		if (stored_take(bundle, config, i, marks))
			gather_certificate(bundle, config, certificate, i + 1, marks);
	}
}

/* What others are shown of who we are: chains in files, without their keys. */
static void gather_chains(struct bundle *bundle, const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->certificate_count; i++) {
		const struct config_certificate *certificate = &config->certificates[i];
		const char *key = text_must(talloc_asprintf(marks, "certificates[%zu].chain", i + 1));

		if (!certificate->stored && certificate->chain != NULL)
			note_file(marks, key, certificate->chain,
				bundle_add_chain(bundle, certificate->chain, BUNDLE_CERTIFICATES), pem_limit);
	}
}

/* Whom we trust. */
static void gather_authorities(struct bundle *bundle, const struct config *config, struct marks *marks)
{
	trust_files_gather(bundle, config, marks);
	gather_pem(bundle, config->authorities.custom,
		trust_files_is_on(config, bundle, TRUST_CUSTOM) ? TRUST_FILES_READERS : BUNDLE_AUTHORITIES,
		marks, "authorities.custom");
}

/* Every file that the configuration names, for the roles that need it. */
static void gather_files(struct bundle *bundle, const struct config *config, struct marks *marks)
{
	stored_check(config, BUNDLE_PARTS, marks);
	gather_certificates(bundle, config, marks);
	gather_authorities(bundle, config, marks);
	gather_anchors(bundle, config, marks);
	gather_list(bundle, config->recipients.file, BUNDLE_FRONT, marks, "recipients.file");
	routes_gather(bundle, config, marks);
	crl_sources_gather(bundle, config, marks);
	destinations_warn(config, marks);
	outbound_warn(config, marks);
}

/* The number of problems with the list of recipients; a file that cannot be read was noted before. */
static size_t check_list(const struct bundle *bundle, const struct config *config, struct problems *problems)
{
	struct text bytes = { NULL, 0 };

	if (config->recipients.file != NULL)
		bytes = bundle_find(bundle, config->recipients.file);
	return bytes.at == NULL ? 0 : recipient_list_check(config, bytes, problems);
}

enum gathered { GATHER_ALL, GATHER_TRUST, GATHER_CHAINS };

/* What the text `file` in `bundle` names, or a part of it, and the checks of that. Frees the bundle when there is a problem. */
static struct bundle *gather_into(struct bundle *bundle, const char *file, enum gathered part,
	struct problems *problems, const struct config **ret_config)
{
	struct marks *marks = marks_new(NULL);
	struct config *config = load(bundle, bundle, file, marks);
	if (part == GATHER_ALL) {
		gather_files(bundle, config, marks);
		check_log(config, marks);
	} else if (part == GATHER_TRUST) {
		gather_authorities(bundle, config, marks);
	} else {
		gather_chains(bundle, config, marks);
	}
	size_t wrong = marks_flush(marks, file, problems);
	if (part == GATHER_ALL)
		wrong += check_list(bundle, config, problems);
	if (wrong > 0) {
		config_release(config);
		talloc_free(bundle);
		bundle = NULL;
	} else {
		*ret_config = config;
	}
	talloc_free(marks);
	return bundle;
}

/* config_gather(), of everything or of a part. */
static struct bundle *gather(const void *owner, const char *file, uint64_t generation, enum gathered part,
	struct problems *problems, const struct config **ret_config)
{
	struct bundle *bundle = bundle_new(owner, generation);
	int r = bundle_add_file(bundle, file, BUNDLE_ALL);

	if (r < 0) {
		problems_add(problems, file, 0, "",
			"cannot be read: %s; name the configuration file with -c FILE",
			r == -EFBIG ? "it is larger than 1 MiB" : err_text(r));
		talloc_free(bundle);
		return NULL;
	}
	return gather_into(bundle, file, part, problems, ret_config);
}

struct bundle *config_gather_text(const void *owner, const char *file, struct text text,
	struct problems *problems, const struct config **ret_config)
{
	struct bundle *bundle = bundle_new(owner, 0);

	bundle_add(bundle, file, text, BUNDLE_ALL);
	return gather_into(bundle, file, GATHER_ALL, problems, ret_config);
}

struct bundle *config_gather(const void *owner, const char *file, uint64_t generation,
	struct problems *problems, const struct config **ret_config)
{
	return gather(owner, file, generation, GATHER_ALL, problems, ret_config);
}

struct bundle *config_gather_trust(
	const void *owner, const char *file, struct problems *problems, const struct config **ret_config)
{
	return gather(owner, file, 0, GATHER_TRUST, problems, ret_config);
}

struct bundle *config_gather_chains(
	const void *owner, const char *file, struct problems *problems, const struct config **ret_config)
{
	return gather(owner, file, 0, GATHER_CHAINS, problems, ret_config);
}

struct bundle *config_renew(const void *owner, const struct bundle *used, const char *file,
	uint64_t generation, unsigned parts, struct problems *problems, const struct config **ret_config)
{
	struct bundle *bundle = bundle_renew(owner, generation, used, parts);

	if (bundle == NULL) {
		problems_add(problems, file, 0, "",
			"the private keys cannot be kept in memory; see how much of it is free");
		return NULL;
	}

	struct marks *marks = marks_new(NULL);
	const bool certificates = (parts & BUNDLE_CERTIFICATES) != 0;
	struct config *config = load(bundle, certificates ? bundle : NULL, file, marks);
	if ((parts & (BUNDLE_CERTIFICATES | BUNDLE_AUTHORITIES)) != 0)
		stored_check(config, parts, marks);
	if (certificates)
		gather_certificates(bundle, config, marks);
	if ((parts & BUNDLE_AUTHORITIES) != 0)
		gather_authorities(bundle, config, marks);
	if ((parts & BUNDLE_REVOCATION) != 0)
		crl_sources_gather(bundle, config, marks);
	if (marks_flush(marks, file, problems) > 0) {
		config_release(config);
		talloc_free(bundle);
		bundle = NULL;
	} else {
		*ret_config = config;
	}
	talloc_free(marks);
	return bundle;
}

const struct config *config_hold(const struct config *config)
{
	atomic_fetch_add(&((struct counted *)config)->holders, 1);
	return config;
}

void config_release(const struct config *config)
{
	struct counted *counted = (struct counted *)config;

	if (counted != NULL && atomic_fetch_sub(&counted->holders, 1) == 1)
		talloc_free(counted);
}

const struct config_route *config_route_for(const struct config *config, struct text domain)
{
	return domains_fit(config->routes_by_domain, domain);
}

const struct config_certificate *config_listener_certificate(
	const struct config_listener *listener, size_t index)
{
	if (index == 0)
		return listener->certificate;
	return index < listener->certificate_count ? listener->certificates[index] : NULL;
}

bool config_listener_presents(
	const struct config_listener *listener, const struct config_certificate *certificate)
{
	const struct config_certificate *own;

	for (size_t i = 0; (own = config_listener_certificate(listener, i)) != NULL; i++)
		if (own == certificate)
			return true;
	return false;
}

bool config_accepts(const struct config *config, struct text domain)
{
	return domains_find(config->accepted_by_domain, domain) != NULL;
}

const char *config_tls_name(enum config_tls tls)
{
	const struct table_row *list = table_find(&table_top, TEXT("destinations"));
	const struct table_word *w = table_find(list->inner, TEXT("tls"))->words;

	while (w->word != NULL && w->value != (int)tls)
		w++;
	return w->word;
}
