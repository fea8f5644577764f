#include "pki/crl_source.h"

#include <errno.h>
#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "config/config.h"
#include "config/crl_sources.h"
#include "lookup/fetch.h"
#include "net/http.h"
#include "pki/crl_list.h"
#include "pki/crl_set.h"
#include "pki/trust.h"

int64_t crl_source_now(struct text list, int64_t now_ms)
{
	struct crl_facts facts;
	void *scratch = talloc_new(NULL);
	bool fine = crl_list_describe(scratch, list, &facts);

	talloc_free(scratch);
	return fine ? MAX(now_ms, facts.this_ms) : now_ms;
}

/* What is held of the source: nothing, when it can be relied on no longer. */
static struct crl_set *held(const struct crl_source_means *means, const char *name, const void *owner)
{
	struct crl_set *set = crl_set_new(owner);
	struct text list;
	const char *why;

	if (crl_file_read(owner, means->directory_fd, name, &list) == 0) {
		const struct crl_offer offer = {
			.bytes = list, .trust = means->trust, .now_ms = crl_source_now(list, clock_wall_ms())
		};

		crl_set_add(set, &offer, &why);
		talloc_free((void *)(uintptr_t)list.at);
	}
	return set;
}

/* Prove what came, and keep it; on failure with why, static or in `why`. */
static enum crl_renewal keep(const struct crl_source_means *means, const struct config_crl_source *source,
	struct crl_set *set, struct text list, char *why)
{
	const char *flaw = crl_list_flaw(list, source->type == CONFIG_CRL_PEM);
	const struct crl_offer offer = { .bytes = list, .trust = means->trust, .now_ms = clock_wall_ms() };
	enum crl_taken taken = flaw == NULL ? crl_set_renew(set, &offer, &flaw) : CRL_REFUSED;

	if (taken == CRL_OLDER)
		return CRL_SAME;
	snprintf(why, HTTP_WHY_MAX, "%s", flaw);
	if (taken == CRL_REFUSED)
		return CRL_FAILED;
	int r = crl_file_write(means->directory_fd, source->name, list);
	if (r < 0)
		snprintf(why, HTTP_WHY_MAX, "it cannot be written: %s", err_text(r));
	return r < 0 ? CRL_FAILED : CRL_RENEWED;
}

static enum crl_renewal try(const struct crl_source_means *means, const struct config_crl_source *source,
	struct crl_set *set, const char *url, char *why)
{
	const struct fetch_order order = { .url = url,
		.configured = true,
		.most = means->most,
		.deadline = clock_mono_ms() + means->within_ms };
	void *scratch = talloc_new(NULL);
	struct http_answer answer;
	enum crl_renewal renewal = CRL_FAILED;

	if (fetch_document(means->fetch, &order, scratch, &answer, why) == 0)
		renewal = keep(means, source, set, (struct text){ answer.body, answer.len }, why);
	talloc_free(scratch);
	return renewal;
}

enum crl_renewal crl_source_renew(
	const struct crl_source_means *means, const struct config_crl_source *source, struct crl_note *note)
{
	const char *const urls[] = { source->primary, source->secondary };
	char why[COUNT(urls)][HTTP_WHY_MAX] = { "", "" };
	enum crl_renewal renewal = CRL_FAILED;
	void *scratch = talloc_new(NULL);
	struct crl_set *set = held(means, source->name, scratch);

	for (size_t i = 0; i < COUNT(urls) && urls[i] != NULL && renewal == CRL_FAILED; i++) {
		renewal = try(means, source, set, urls[i], why[i]);
		if (renewal != CRL_FAILED)
			snprintf(note->from, sizeof note->from, "%s", urls[i]);
	}
	talloc_free(scratch);
	if (renewal == CRL_FAILED) {
		note->failed_ms = clock_wall_ms();
		note->failures++;
		snprintf(note->why, sizeof note->why, "primary: %.180s%s%.180s", why[0],
			urls[1] == NULL ? "" : "; secondary: ", why[1]);
	} else {
		note->fetched_ms = clock_wall_ms();
		note->failed_ms = 0;
		note->failures = 0;
		/* That the primary one does not work is worth knowing while the secondary one does. */
		snprintf(note->why, sizeof note->why, "%s%.180s",
			why[0][0] == '\0' ? "" : "primary: ", why[0]);
	}
	return renewal;
}

struct crl_set *crl_source_load(const void *owner, const struct config *config, const struct bundle *bundle,
	const struct trust *trust, struct crl_source_flaw **ret_flaws, size_t *ret_count)
{
	struct crl_set *set = crl_set_new(owner);
	const struct config_crl *crl = &config->crl;

	*ret_flaws = text_must(talloc_array(owner, struct crl_source_flaw, (unsigned)crl->source_count + 1));
	*ret_count = 0;
	for (size_t i = 0; i < crl->source_count; i++) {
		const struct config_crl_source *source = &crl->sources[i];
		struct text list =
			source->enabled ? crl_sources_find(bundle, source) : (struct text){ NULL, 0 };
		const struct crl_offer offer = { .bytes = list,
			.trust = trust,
			.now_ms = list.at == NULL ? 0 : crl_source_now(list, clock_wall_ms()) };
		const char *why;

		if (list.at != NULL && crl_set_add(set, &offer, &why) == CRL_REFUSED)
			(*ret_flaws)[(*ret_count)++] = (struct crl_source_flaw){ source->name, why };
	}
	return set;
}

enum revocation_mode crl_source_mode(const struct config *config, bool check)
{
	if (!check)
		return REVOCATION_OFF;
	return config->crl.strict ? REVOCATION_STRICT : REVOCATION_SOFT;
}
