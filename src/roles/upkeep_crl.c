/*
 * One thread keeps the time and starts one for each source that is due, a few at once; a source is fetched by one at a time. What is known of a source stands in the
 * directory beside its list, so that a restart goes on where it was: what failed a minute ago is not tried again at once.
 * Due times are wall clock; the keeper looks at least once a minute, so that a clock that is set moves them.
 */
#include "roles/upkeep_crl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>
#include <utlist.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/log.h"
#include "base/thread.h"
#include "config/bundle.h"
#include "config/config.h"
#include "ipc/frame.h"
#include "lookup/fetch.h"
#include "net/http.h"
#include "net/tls.h"
#include "pki/crl_ask.h"
#include "pki/crl_file.h"
#include "pki/crl_list.h"
#include "pki/crl_set.h"
#include "pki/crl_source.h"
#include "pki/expiry.h"
#include "policy/timetable.h"
#include "report/metrics.h"
#include "roles/role.h"
#include "roles/upkeep_private.h"

enum { AT_ONCE = 4, LOOK_MS = 60 * 1000, FETCH_MS = 60 * 1000 };

struct source {
	char *name;
	bool busy;		  /* somebody fetches it */
	uint64_t tries;		  /* that ended */
	enum crl_renewal outcome; /* of the last one */
	struct crl_note note;
	int64_t this_ms, next_ms; /* of the list that is held; 0 = none */
	int told;		  /* expiry_step_late(): how far its end was told */
	struct source *next;
};

struct upkeep_crl {
	struct upkeep *upkeep;
	pthread_mutex_t lock; /* guards what follows; taken before that of struct upkeep */
	pthread_cond_t moved;
	struct source *sources; /* all that ever were in this process */
	unsigned fetching;
	bool keeper, anew; /* the keeper runs; and shall look at a new generation */
};

/* A fetch in a thread of its own. */
struct errand {
	struct upkeep_crl *crl;
	struct upkeep_generation *generation;
	const struct config_crl_source *wanted; /* of it */
	struct source *source;
	bool by_hand; /* before it was due */
};

struct upkeep_crl *upkeep_crl_new(struct upkeep *u)
{
	struct upkeep_crl *crl = text_must(talloc_zero(u, struct upkeep_crl));

	crl->upkeep = u;
	pthread_mutex_init(&crl->lock, NULL);
	thread_condition(&crl->moved);
	return crl;
}

/* What is held */

/* With the lock held. */
static struct source *source_called(struct upkeep_crl *crl, const char *name)
{
	struct source *source;

	LL_FOREACH(crl->sources, source)
	{
		if (strcmp(source->name, name) == 0)
			return source;
	}
	source = text_must(talloc_zero(crl, struct source));
	source->name = text_copy(source, text_of(name));
	LL_PREPEND(crl->sources, source);
	return source;
}

/* What stands in the directory of a source; true when its list is another one than that in use. */
static bool read_kept(
	const struct upkeep_generation *generation, size_t index, int directory_fd, struct source *ret)
{
	const char *name = generation->config->crl.sources[index].name, *why = "";
	void *scratch = talloc_new(NULL);
	struct crl_facts facts = { .this_ms = 0 };
	const struct digest none = { 0 };
	struct text list;
	bool other = false, in_use = memcmp(&none, &generation->lists[index], sizeof none) != 0;

	crl_file_read_note(directory_fd, name, &ret->note);
	int r = crl_file_read(scratch, directory_fd, name, &list);
	if (r == 0) {
		const struct crl_offer offer = { .bytes = list,
			.trust = generation->trust,
			.now_ms = crl_source_now(list, clock_wall_ms()) };
		const struct digest digest = digest_of(list);

		in_use &= memcmp(&digest, &generation->lists[index], sizeof digest) != 0;
		if (crl_set_add(crl_set_new(scratch), &offer, &why) == CRL_REFUSED)
			r = -EINVAL;
		else if (crl_list_describe(scratch, list, &facts))
			other = memcmp(&digest, &generation->lists[index], sizeof digest) != 0;
	} else {
		why = r == -ENOENT ? "its file was removed" : err_text(r);
	}
	if (r < 0 && (r != -ENOENT || in_use))
		log_event(LOG_ERROR, "crl_unusable", log_str("source", name), log_str("reason", why),
			log_str("instead", in_use ? "the list in use stays" : NULL));
	if (r < 0)
		ret->note.fetched_ms = 0;
	ret->this_ms = facts.this_ms;
	ret->next_ms = facts.next_ms;
	talloc_free(scratch);
	return other;
}

/* A new generation: read what is there. What is in the directory and not in use is announced (again). */
static void look_at_all(struct upkeep_crl *crl, struct upkeep_generation *generation)
{
	const struct config_crl *config = &generation->config->crl;
	CLEANUP(base_close) int directory_fd = crl_file_make(generation->directory_fd);
	bool other = false;

	for (size_t i = 0; i < config->source_count && directory_fd >= 0; i++) {
		struct source kept = { .name = NULL };

		if (!config->sources[i].enabled)
			continue;
		other |= read_kept(generation, i, directory_fd, &kept);
		pthread_mutex_lock(&crl->lock);
		struct source *source = source_called(crl, config->sources[i].name);
		if (!source->busy) {
			if (source->next_ms != kept.next_ms)
				source->told = EXPIRY_FINE;
			source->note = kept.note;
			source->this_ms = kept.this_ms;
			source->next_ms = kept.next_ms;
		}
		pthread_mutex_unlock(&crl->lock);
	}
	if (directory_fd < 0)
		log_event(LOG_ERROR, "crl_directory", log_str("reason", err_text(directory_fd)));
	if (other)
		upkeep_changed(crl->upkeep, BUNDLE_REVOCATION);
}

/* Fetching */

/* What a fetch depends on, of what an operator says, into `ret_text`: when it is another, failures of before mean nothing. */
static const char *circumstances(
	const struct upkeep_generation *generation, const struct config_crl_source *wanted, char *ret_text)
{
	char *all = text_must(talloc_asprintf(NULL, "%s\n%s\n%s", wanted->primary,
		wanted->secondary == NULL ? "" : wanted->secondary, generation->authorities_hex));
	const struct digest digest = digest_of(text_of(all));

	talloc_free(all);
	return digest_hex(&digest, ret_text);
}

static bool is_failing(const struct crl_note *note, const struct upkeep_generation *generation,
	const struct config_crl_source *wanted)
{
	char text[DIGEST_HEX_MAX];

	return note->failures > 0 && strcmp(note->tried, circumstances(generation, wanted, text)) == 0;
}

/* With the lock held: when it is due. */
static int64_t due_ms(const struct source *source, const struct upkeep_generation *generation,
	const struct config_crl_source *wanted, int64_t now_ms)
{
	if (is_failing(&source->note, generation, wanted))
		return timetable_again_ms(source->note.failed_ms, source->note.failures, now_ms);
	return source->note.failures > 0
		       ? now_ms
		       : timetable_next_ms(&wanted->timetable, source->note.fetched_ms, now_ms);
}

static void log_renewed(const char *name, const struct crl_note *note, const struct crl_facts *facts)
{
	char this_update[CLOCK_TEXT_MAX], next_update[CLOCK_TEXT_MAX];

	log_event(LOG_INFO, "crl_renewed", log_str("source", name), log_str("url", note->from),
		log_str("issuer", facts->issuer), log_str("number", facts->number),
		log_str("this_update", clock_iso(facts->this_ms, this_update)),
		log_str("next_update", clock_iso(facts->next_ms, next_update)),
		log_num("entries", (int64_t)facts->entries));
}

/* Say what came of it, and count it; with what the list says of itself in `facts`. */
static void report(struct upkeep_crl *crl, const char *name, enum crl_renewal renewal,
	const struct crl_note *note, const struct crl_facts *facts)
{
	struct metrics *metrics = &crl->upkeep->metrics;

	switch (renewal) {
	case CRL_RENEWED:
		log_renewed(name, note, facts);
		metrics_count(metrics, METRIC_CRL_RENEWED);
		break;
	case CRL_SAME:
		log_event(LOG_DEBUG, "crl_unchanged", log_str("source", name), log_str("url", note->from));
		metrics_count(metrics, METRIC_CRL_UNCHANGED);
		break;
	case CRL_FAILED:
		log_event(LOG_WARN, "crl_failed", log_str("source", name), log_str("reason", note->why),
			log_num("failures", note->failures));
		metrics_count(metrics, METRIC_CRL_FAILED);
	}
	if (renewal != CRL_FAILED && note->why[0] != '\0')
		log_event(LOG_WARN, "crl_secondary", log_str("source", name), log_str("reason", note->why));
}

static enum crl_renewal fetch(const struct errand *errand, int directory_fd, struct crl_note *note)
{
	struct upkeep *u = errand->crl->upkeep;
	const struct upkeep_generation *generation = errand->generation;
	char why[HTTP_WHY_MAX];
	struct fetch_means fetch = { .http = upkeep_http(u, why),
		.resolver = u->resolver,
		.rules = &generation->config->fetch,
		.stop_fd = u->role->stop_fd,
		.trust = generation->authorities };
	const struct crl_source_means means = { .fetch = &fetch,
		.trust = generation->trust,
		.directory_fd = directory_fd,
		.most = (size_t)generation->config->crl.max_size,
		.within_ms = FETCH_MS };

	if (fetch.http != NULL && directory_fd >= 0)
		return crl_source_renew(&means, errand->wanted, note);
	snprintf(note->why, sizeof note->why, "%s", fetch.http == NULL ? why : err_text(directory_fd));
	note->failed_ms = clock_wall_ms();
	note->failures++;
	return CRL_FAILED;
}

/* Fetch a source that is marked busy, and give the generation back. */
static void run_errand(const struct errand *errand)
{
	struct upkeep_crl *crl = errand->crl;
	struct source *source = errand->source;
	CLEANUP(base_close) int directory_fd = crl_file_make(errand->generation->directory_fd);
	void *scratch = talloc_new(NULL);
	struct crl_facts facts = { .issuer = "" };
	struct text list = TEXT("");

	pthread_mutex_lock(&crl->lock);
	struct crl_note note = source->note;
	pthread_mutex_unlock(&crl->lock);
	const bool failing = is_failing(&note, errand->generation, errand->wanted);
	const struct crl_note before = note;

	note.failures = failing ? note.failures : 0;
	enum crl_renewal renewal = fetch(errand, directory_fd, &note);
	if (renewal == CRL_FAILED && failing && errand->by_hand) {
		note.failed_ms = before.failed_ms; /* the schedule goes on as it was */
		note.failures = before.failures;
	}
	circumstances(errand->generation, errand->wanted, note.tried);
	if (renewal == CRL_RENEWED && crl_file_read(scratch, directory_fd, source->name, &list) == 0)
		crl_list_describe(scratch, list, &facts);
	if (directory_fd >= 0)
		crl_file_write_note(directory_fd, source->name, &note);
	report(crl, source->name, renewal, &note, &facts);
	if (renewal == CRL_RENEWED)
		upkeep_changed(crl->upkeep, BUNDLE_REVOCATION);

	pthread_mutex_lock(&crl->lock);
	source->note = note;
	if (renewal == CRL_RENEWED) {
		source->this_ms = facts.this_ms;
		source->next_ms = facts.next_ms;
		source->told = EXPIRY_FINE;
	}
	source->busy = false;
	source->outcome = renewal;
	source->tries++;
	pthread_cond_broadcast(&crl->moved);
	pthread_mutex_unlock(&crl->lock);
	upkeep_release(crl->upkeep, errand->generation);
	talloc_free(scratch);
}

static void *errand_run(void *argument)
{
	struct errand *errand = argument;
	struct upkeep_crl *crl = errand->crl;
	struct upkeep *u = crl->upkeep;

	run_errand(errand);
	talloc_free(errand);
	tls_thread_end();
	pthread_mutex_lock(&crl->lock);
	crl->fetching--;
	pthread_cond_broadcast(&crl->moved);
	pthread_mutex_unlock(&crl->lock);
	upkeep_end_thread(u);
	return NULL;
}

/* With the lock held. */
static void start_errand(
	struct upkeep_crl *crl, const struct config_crl_source *wanted, struct source *source, bool by_hand)
{
	struct errand *errand = text_must(talloc_zero(NULL, struct errand));

	*errand = (struct errand){
		.crl = crl, .generation = upkeep_hold(crl->upkeep), .source = source, .by_hand = by_hand
	};
	for (size_t i = 0; i < errand->generation->config->crl.source_count; i++)
		if (strcmp(errand->generation->config->crl.sources[i].name, wanted->name) == 0)
			errand->wanted = &errand->generation->config->crl.sources[i];
	if (errand->wanted != NULL && upkeep_start_thread(crl->upkeep, errand_run, errand)) {
		source->busy = true;
		crl->fetching++;
		return;
	}
	upkeep_release(crl->upkeep, errand->generation);
	talloc_free(errand);
}

/* The keeper */

/* With the lock held: say that the list comes to its end, and that it has, at each step once. */
static void tell_end(struct source *source, int64_t now_ms)
{
	const struct expiry expiry = expiry_of(source->this_ms / 1000, source->next_ms / 1000, now_ms / 1000);
	const int step = source->next_ms == 0 ? EXPIRY_FINE : expiry_step_late(&expiry);
	char text[CLOCK_TEXT_MAX];

	if (step > source->told && step < EXPIRY_ENDED)
		log_event(LOG_WARN, "crl_expires", log_str("source", source->name),
			log_str("next_update", clock_iso(source->next_ms, text)),
			log_num("seconds", expiry.left_s));
	else if (step > source->told)
		log_event(LOG_ERROR, "crl_expired", log_str("source", source->name),
			log_str("next_update", clock_iso(source->next_ms, text)),
			log_str("reason", source->note.why));
	source->told = step;
}

struct totals {
	int64_t current, stale, missing;
	int64_t age_ms, left_ms; /* of the oldest, and of the next to end */
};

static void add_totals(struct totals *totals, const struct source *source, int64_t now_ms)
{
	if (source->next_ms == 0) {
		totals->missing++;
		return;
	}
	totals->current += source->next_ms > now_ms;
	totals->stale += source->next_ms <= now_ms;
	totals->age_ms = MAX(totals->age_ms, now_ms - source->this_ms);
	totals->left_ms = MIN(totals->left_ms, source->next_ms - now_ms);
}

static void show_totals(struct metrics *metrics, const struct totals *totals)
{
	metrics_set(metrics, METRIC_CRL_CURRENT, totals->current);
	metrics_set(metrics, METRIC_CRL_STALE, totals->stale);
	metrics_set(metrics, METRIC_CRL_MISSING, totals->missing);
	metrics_set(metrics, METRIC_CRL_AGE, totals->age_ms / 1000);
	metrics_set(metrics, METRIC_CRL_LEFT, totals->left_ms == INT64_MAX ? 0 : totals->left_ms / 1000);
}

/* With the lock held: start what is due; milliseconds until something is. */
static int64_t go_round(struct upkeep_crl *crl, const struct upkeep_generation *generation)
{
	const struct config_crl *config = &generation->config->crl;
	const int64_t now = clock_wall_ms();
	struct totals totals = { .left_ms = INT64_MAX };
	int64_t wait = LOOK_MS;

	for (size_t i = 0; i < config->source_count; i++) {
		const struct config_crl_source *wanted = &config->sources[i];

		if (!wanted->enabled)
			continue;
		struct source *source = source_called(crl, wanted->name);
		tell_end(source, now);
		add_totals(&totals, source, now);
		if (source->busy)
			continue;
		int64_t left = due_ms(source, generation, wanted, now) - now;
		if (left <= 0 && crl->fetching < AT_ONCE)
			start_errand(crl, wanted, source, false);
		else
			wait = MIN(wait, MAX(left, (int64_t)1000));
	}
	show_totals(&crl->upkeep->metrics, &totals);
	return wait;
}

static bool is_stopping(const struct upkeep *u)
{
	return atomic_load(&u->stopping);
}

static void *keeper_run(void *argument)
{
	struct upkeep_crl *crl = argument;
	struct upkeep *u = crl->upkeep;

	pthread_mutex_lock(&crl->lock);
	while (!is_stopping(u)) {
		struct upkeep_generation *generation = upkeep_hold(u);
		const bool anew = crl->anew;

		crl->anew = false;
		if (anew) {
			pthread_mutex_unlock(&crl->lock);
			look_at_all(crl, generation);
			pthread_mutex_lock(&crl->lock);
		}
		int64_t wait = go_round(crl, generation);
		upkeep_release(u, generation);
		if (!crl->anew && !is_stopping(u))
			thread_wait(&crl->moved, &crl->lock, clock_mono_ms() + wait);
	}
	crl->keeper = false;
	pthread_mutex_unlock(&crl->lock);
	tls_thread_end();
	upkeep_end_thread(u);
	return NULL;
}

void upkeep_crl_use(struct upkeep_crl *crl)
{
	struct upkeep_generation *generation = upkeep_hold(crl->upkeep);

	pthread_mutex_lock(&crl->lock);
	crl->anew = true;
	if (!crl->keeper && generation->trust != NULL)
		crl->keeper = upkeep_start_thread(crl->upkeep, keeper_run, crl);
	pthread_cond_broadcast(&crl->moved);
	pthread_mutex_unlock(&crl->lock);
	upkeep_release(crl->upkeep, generation);
}

void upkeep_crl_stop(struct upkeep_crl *crl)
{
	pthread_mutex_lock(&crl->lock);
	pthread_cond_broadcast(&crl->moved);
	pthread_mutex_unlock(&crl->lock);
}

/* An operator's word */

static const struct config_crl_source *wanted_called(
	const struct upkeep_generation *generation, const char *name)
{
	for (size_t i = 0; generation != NULL && i < generation->config->crl.source_count; i++)
		if (strcmp(generation->config->crl.sources[i].name, name) == 0)
			return &generation->config->crl.sources[i];
	return NULL;
}

/* Begin, or join who is at it, and wait for the end; the reason is owned by `owner`. */
static struct crl_outcome fetch_now(
	struct upkeep_crl *crl, const struct config_crl_source *wanted, const void *owner)
{
	struct crl_outcome outcome = { .fine = false, .reason = "the gateway is stopping" };

	pthread_mutex_lock(&crl->lock);
	struct source *source = source_called(crl, wanted->name);
	const uint64_t before = source->tries;
	if (!source->busy)
		start_errand(crl, wanted, source, true);
	while (source->busy && source->tries == before && !is_stopping(crl->upkeep))
		thread_wait(&crl->moved, &crl->lock, clock_mono_ms() + LOOK_MS);
	if (source->tries != before)
		outcome = (struct crl_outcome){ .fine = source->note.failures == 0,
			.renewed = source->outcome == CRL_RENEWED,
			.reason = text_copy(owner, text_of(source->note.why)) };
	else if (!is_stopping(crl->upkeep))
		outcome.reason = "role upkeep has too much to do; try again";
	pthread_mutex_unlock(&crl->lock);
	return outcome;
}

struct frame *upkeep_crl_answer(struct upkeep_crl *crl, struct frame *ask)
{
	const char *name = crl_ask_read(ask, ask);
	struct crl_outcome outcome = { .fine = false };

	if (name == NULL)
		return NULL;
	struct upkeep_generation *generation = upkeep_hold(crl->upkeep);
	const struct config_crl_source *wanted = wanted_called(generation, name);
	if (wanted == NULL)
		outcome.reason =
			"the configuration in use has no such source; `postern reload` takes the file into use";
	else if (!wanted->enabled)
		outcome.reason = "it is switched off (`enabled: false`)";
	else
		outcome = fetch_now(crl, wanted, ask);
	upkeep_release(crl->upkeep, generation);
	return crl_ask_answer(ask, &outcome);
}
