/*
 * A fetch has a time of its own, whoever asked first: it goes on when that one has left, so that the next attempt finds its answer. What failed is not
 * tried again at once, however many mails there are.
 */
#include "roles/upkeep_ocsp.h"

#include <stdio.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "lookup/fetch.h"
#include "net/http.h"
#include "pki/ocsp_ask.h"
#include "pki/ocsp_cache.h"
#include "pki/ocsp_fetch.h"
#include "pki/peer_chain.h"
#include "roles/role.h"
#include "roles/upkeep_private.h"

enum { FETCH_MS = 10000, FAILED_MS = 60 * 1000 };

static void report(const struct ocsp_subject *subject, const struct ocsp_fetched *fetched)
{
	const struct ocsp_answer *answer = &fetched->answer;
	const bool known = answer->finding == OCSP_GOOD || answer->finding == OCSP_REVOKED;
	char name[PEER_CHAIN_SUBJECT_MAX], until[CLOCK_TEXT_MAX];

	peer_chain_subject(subject->certificate, name);
	if (known)
		log_event(LOG_INFO, "ocsp_fetched", log_str("subject", name), log_str("url", fetched->url),
			log_str("status", ocsp_word(answer->finding)),
			log_str("until", clock_iso(answer->until_ms, until)),
			log_str("reason", answer->reason));
	else
		log_event(LOG_WARN, "ocsp_failed", log_str("subject", name), log_str("url", fetched->url),
			log_str("status", ocsp_word(answer->finding)), log_str("reason", answer->reason));
}

/* False and why when nothing can be fetched. */
static bool fetch_by(struct upkeep *u, const struct upkeep_generation *generation,
	const struct ocsp_question *question, const void *owner, struct ocsp_fetched *ret_fetched,
	char *ret_why)
{
	const struct fetch_means means = { .http = upkeep_http(u, ret_why),
		.resolver = u->resolver,
		.rules = &generation->config->fetch,
		.stop_fd = u->role->stop_fd,
		.trust = generation->authorities };

	if (means.http == NULL) {
		log_event(LOG_ERROR, "fetching_impossible", log_str("reason", ret_why));
		return false;
	}
	ocsp_fetch(&means, question, clock_mono_ms() + FETCH_MS, owner, ret_fetched);
	return true;
}

static struct ocsp_kept fetch(struct upkeep *u, const struct ocsp_subject *subject, const void *owner)
{
	const struct ocsp_question question = { .certificate = subject->certificate,
		.issuer = subject->issuer };
	struct ocsp_kept kept = { .until_ms = clock_wall_ms() + FAILED_MS };
	struct upkeep_generation *generation = upkeep_hold(u);
	char why[HTTP_WHY_MAX] = "role upkeep has no configuration yet";
	struct ocsp_fetched fetched;

	if (generation != NULL && fetch_by(u, generation, &question, owner, &fetched, why)) {
		report(subject, &fetched);
		kept.response = fetched.response;
		snprintf(why, sizeof why, "%s", fetched.answer.reason);
		if (fetched.answer.finding == OCSP_GOOD || fetched.answer.finding == OCSP_REVOKED)
			kept.until_ms = fetched.answer.until_ms;
	}
	kept.why = text_copy(owner, text_of(why));
	upkeep_release(u, generation);
	return kept;
}

struct frame *upkeep_ocsp_answer(struct upkeep *u, struct frame *ask)
{
	const struct ocsp_subject *subject = ocsp_ask_read(ask, ask);
	struct ocsp_kept kept = { .why = "role upkeep has no time for it" };

	if (subject == NULL)
		return NULL;
	if (subject->anew)
		ocsp_cache_forget(u->ocsp, &subject->key);
	switch (ocsp_cache_claim(u->ocsp, &subject->key, clock_mono_ms() + FETCH_MS, ask, &kept)) {
	case OCSP_CLAIM_HELD:
	case OCSP_CLAIM_LATE:
		break;
	case OCSP_CLAIM_YOURS:
		kept = fetch(u, subject, ask);
		ocsp_cache_put(u->ocsp, &subject->key, &kept);
		break;
	}
	return ocsp_ask_answer(ask, kept.response, kept.why);
}
