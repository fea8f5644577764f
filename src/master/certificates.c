/*
 * What master says of the certificates that listeners present, and of authorities on the custom list: when they end, and that the demo certificate is none. Each step towards an end is told once;
 * after a start and with a new certificate it begins anew.
 */
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/crl_sources.h"
#include "config/problems.h"
#include "config/stored.h"
#include "config/trust_files.h"
#include "master/master_private.h"
#include "pki/authorities.h"
#include "pki/certificate.h"
#include "pki/demo.h"
#include "pki/expiry.h"

enum { LOOK_S = 3600, DAY_S = 86400 }; /* an hour: the wall clock may be set */

/* What was told of a certificate. */
struct told {
	char *name;
	bool authority; /* not one of ours */
	int64_t ends_s; /* wall clock: another one has another end */
	int step;
};

static struct told *told_of(struct master *master, const char *name, bool authority, int64_t ends_s)
{
	for (size_t i = 0; i < master->told_count; i++)
		if (strcmp(master->told[i].name, name) == 0 && master->told[i].ends_s == ends_s &&
			master->told[i].authority == authority)
			return &master->told[i];
	master->told = text_must(
		talloc_realloc(master, master->told, struct told, (unsigned)(master->told_count + 1)));
	struct told *told = &master->told[master->told_count++];
	*told = (struct told){
		.name = text_copy(master->told, text_of(name)), .authority = authority, .ends_s = ends_s
	};
	return told;
}

static void tell(struct told *told, const struct expiry *expiry)
{
	const int64_t left = expiry->left_s;
	const int step = expiry_step(expiry);
	char text[CLOCK_TEXT_MAX];

	clock_iso(told->ends_s * 1000, text);
	if (step == EXPIRY_FINE || step == told->step)
		;
	else if (told->authority && step < EXPIRY_ENDED)
		log_event(LOG_WARN, "authority_expires", log_str("authority", told->name),
			log_str("ends", text), log_num("days", left / DAY_S));
	else if (told->authority)
		log_event(LOG_ERROR, "authority_expired", log_str("authority", told->name),
			log_str("ends", text), log_num("days", -left / DAY_S));
	else if (step < EXPIRY_ENDED)
		log_event(LOG_WARN, "certificate_expires", log_str("certificate", told->name),
			log_str("ends", text), log_num("days", left / DAY_S));
	else
		log_event(LOG_ERROR, "certificate_expired", log_str("certificate", told->name),
			log_str("ends", text), log_num("days", -left / DAY_S));
	told->step = step;
}

static char *append_pem(const struct master *master, char *pem, const char *path)
{
	const struct text part = path == NULL ? TEXT("") : bundle_find(master->bundle, path);

	return text_must(talloc_asprintf_append_buffer(pem, TEXT_FMT "\n", TEXT_ARG(part)));
}

/* Those of the custom list and of destinations, each once; those of the system are for the system to renew. Owned by `owner`. */
static struct authorities *custom_authorities(const struct master *master, const void *owner)
{
	const struct config *config = master->config;
	char *pem = text_must(talloc_strdup(owner, ""));

	pem = append_pem(master, pem, config->authorities.custom);
	pem = append_pem(master, pem, TRUST_FILES_KEPT);
	for (size_t i = 0; i < config->destination_count; i++)
		pem = append_pem(master, pem, config->destinations[i].authorities.custom);
	struct authorities *all = authorities_parse(owner, text_of(pem));
	size_t kept = 0;

	for (size_t i = 0; i < all->count; i++)
		if (authorities_find(all, all->all[i].sha256, 0) == i && all->all[i].ends_ms != 0)
			all->all[kept++] = all->all[i];
	all->count = kept;
	return all;
}

static struct expiry expiry_of_authority(const struct authority *authority, int64_t now_s)
{
	return expiry_of(authority->starts_ms / 1000, authority->ends_ms / 1000, now_s);
}

/* Seconds until one of them passes its next step. */
static int64_t look_at_authorities(struct master *master, int64_t now_s)
{
	void *scratch = talloc_new(NULL);
	const struct authorities *found = custom_authorities(master, scratch);
	int64_t wait_s = LOOK_S;

	for (size_t i = 0; i < found->count; i++) {
		const struct authority *authority = &found->all[i];
		const struct expiry expiry = expiry_of_authority(authority, now_s);

		tell(told_of(master, authority->name, true, authority->ends_ms / 1000), &expiry);
		wait_s = MIN(wait_s, expiry_next(&expiry));
	}
	talloc_free(scratch);
	return wait_s;
}

/* Milliseconds until a certificate passes its next step, an hour at most. */
static int look(struct master *master)
{
	const struct config *config = master->config;
	const int64_t now_ms = clock_wall_ms();
	int64_t wait_s = look_at_authorities(master, now_ms / 1000);
	struct expiry expiry;

	for (size_t i = 0; i < config->certificate_count; i++) {
		const struct config_certificate *certificate = &config->certificates[i];

		if (expiry_of_chain(bundle_find(master->bundle, certificate->chain), now_ms, &expiry) < 0)
			continue;
		tell(told_of(master, certificate->name, false, now_ms / 1000 + expiry.left_s), &expiry);
		wait_s = MIN(wait_s, expiry_next(&expiry));
	}
	return (int)wait_s * 1000;
}

int master_tell_expiry(struct master *master)
{
	const int64_t now = clock_mono_ms();

	if (master->told_generation != master->generation || now >= master->told_until) {
		master->told_generation = master->generation;
		master->told_until = now + look(master);
	}
	return (int)(master->told_until - now);
}

void master_tell_demo(const struct master *master)
{
	const struct config *config = master->config;

	for (size_t i = 0; i < config->listener_count; i++) {
		const struct config_listener *listener = &config->listeners[i];
		const struct config_certificate *used;

		for (size_t n = 0; (used = config_listener_certificate(listener, n)) != NULL; n++)
			if (stored_is_demo(used))
				log_event(LOG_WARN, "certificate_demo", log_str("listener", listener->name));
	}
}

/* A certificate as whoever connects meets it; NULL when there is none. */
static json_t *certificate_json(
	const struct master *master, const struct config_certificate *certificate, const void *scratch)
{
	const struct text chain = bundle_find(master->bundle, certificate->chain);
	const int64_t now = clock_wall_ms();
	struct expiry expiry;
	char text[CLOCK_TEXT_MAX];
	struct certificate *list;
	const char *why;
	size_t count;

	if (expiry_of_chain(chain, now, &expiry) < 0 ||
		certificate_list(scratch, chain, &list, &count, &why) < 0)
		return NULL;
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:b, s:b, s:b}", "name", certificate->name,
		"subject", list[0].subject, "fingerprint_sha256", list[0].fingerprint_sha256, "expires",
		clock_iso((now / 1000 + expiry.left_s) * 1000, text), "seconds_left",
		(json_int_t)expiry.left_s, "state", expiry_word(&expiry), "stored", (int)certificate->stored,
		"demo", (int)stored_is_demo(certificate), "delivery",
		(int)config_delivery_shows(master->config, certificate));
}

static void append(json_t *array, json_t *item)
{
	if (item != NULL)
		json_array_append_new(array, item);
}

json_t *master_certificates_json(const struct master *master)
{
	const struct config *config = master->config;
	json_t *certificates = json_array();
	void *scratch = talloc_new(NULL);

	for (size_t i = 0; i < config->certificate_count; i++)
		append(certificates, certificate_json(master, &config->certificates[i], scratch));
	talloc_free(scratch);
	return certificates;
}

json_t *master_presented_json(const struct master *master, const struct config_listener *listener)
{
	json_t *certificates = json_array();
	const struct config_certificate *used;
	void *scratch = talloc_new(NULL);

	for (size_t i = 0; (used = config_listener_certificate(listener, i)) != NULL; i++)
		append(certificates, certificate_json(master, used, scratch));
	talloc_free(scratch);
	return certificates;
}

json_t *master_custom_authorities_json(const struct master *master)
{
	json_t *authorities = json_array();
	void *scratch = talloc_new(NULL);
	const struct authorities *found = custom_authorities(master, scratch);

	for (size_t i = 0; i < found->count; i++) {
		const struct authority *authority = &found->all[i];
		const struct expiry expiry = expiry_of_authority(authority, clock_wall_ms() / 1000);
		char text[CLOCK_TEXT_MAX];

		append(authorities,
			json_pack("{s:s, s:s, s:s, s:I, s:s}", "name", authority->name, "fingerprint_sha256",
				authority->sha256, "expires", clock_iso(authority->ends_ms, text),
				"seconds_left", (json_int_t)expiry.left_s, "state", expiry_word(&expiry)));
	}
	talloc_free(scratch);
	return authorities;
}

/* Read and gather once more after the demo certificate was made. */
struct bundle *master_gather(const struct master *master, const void *owner, uint64_t generation,
	struct problems *problems, const struct config **ret_config)
{
	const struct config *config = NULL;
	struct bundle *bundle = config_gather(owner, master->file, generation, problems, &config);
	int r = bundle == NULL || master->state_fd < 0 ? 0 : demo_make(config, bundle);

	if (r < 0)
		problems_add(problems, master->file, 0, "state_dir",
			"the demo certificate cannot be stored: %s", err_text(r));
	if (r > 0) {
		config_release(config);
		talloc_free(bundle);
		config = NULL;
		bundle = config_gather(owner, master->file, generation, problems, &config);
	}
	if (bundle != NULL && master->bundle != NULL)
		crl_sources_keep(bundle, config, master->bundle);
	*ret_config = config;
	return bundle;
}
