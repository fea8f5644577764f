/* Two phases: every role prepares the new generation and says ready, then all use it; one refusal, and all keep what they have. */
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/log.h"
#include "base/text.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "config/trust_files.h"
#include "ipc/frame.h"
#include "master/master_private.h"
#include "net/tls.h"
#include "pki/identity.h"
#include "pki/trust.h"

enum { STOP_MS = 5000 };

#define NO_MEMORY "the private keys cannot be kept in memory; see how much of it is free"

static bool same(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* What cannot change while the house stands. */
static void check_fixed(const struct config *now, const struct config *next, struct problems *problems)
{
	const struct {
		const char *key, *now, *next;
	} fixed[] = {
		{ "state_dir", now->state_dir, next->state_dir },
		{ "runtime_dir", now->runtime_dir, next->runtime_dir },
		{ "user", now->user, next->user },
	};

	for (size_t i = 0; i < COUNT(fixed); i++)
		if (!same(fixed[i].now, fixed[i].next))
			problems_add(problems, next->file, 0, fixed[i].key,
				"cannot change from %s to %s by a reload; stop the gateway and start it again",
				fixed[i].now, fixed[i].next);
}

/* Every problem on a line of its own, for the caller, and as an event for the log. */
static char *list(const void *owner, const struct problems *problems)
{
	char *text = text_must(talloc_strdup(owner, ""));

	for (size_t i = 0; i < problems->count; i++) {
		const char *line = problems_format(problems, &problems->list[i]);

		log_event(LOG_ERROR, "config_problem", log_str("text", line));
		text = text_must(talloc_asprintf_append_buffer(text, "%s\n", line));
	}
	return text;
}

/* Phase one: running roles prepare it, a role that it is the first to need is started; the first refusal is a problem. */
static void prepare_all(
	struct master *master, const struct child_offer *offer, struct problems *problems, bool *started)
{
	master_find_silent(master, problems);
	for (size_t i = 0; i < CHILD_COUNT && problems->count == 0; i++) {
		struct child *child = &master->children[i];
		const char *why = "";
		int r = 0;

		if (!master_wants(offer->config, i))
			continue;
		started[i] = child->pid == 0 && child->again_at == 0;
		if (started[i])
			r = child_start(master, child, offer, problems, &why);
		else if (child->pid != 0)
			r = child_prepare(master, child, offer, problems, &why);
		if (r < 0)
			problems_add(problems, offer->config->file, 0, "", "role %s %s%s", child->name,
				r == -EINVAL ? "refused it: " : "", why);
	}
}

static void tell_all(struct master *master, int kind)
{
	for (size_t i = 0; i < CHILD_COUNT; i++)
		child_tell(&master->children[i], kind);
}

static void stop(struct child *child)
{
	child->again_at = 0;
	child_tell(child, FRAME_STOP);
	child_finish(child, STOP_MS);
}

/* All are ready: roles that were started join, those that are not needed any more end. */
static void use_all(struct master *master, const struct config *config, const bool *started)
{
	for (size_t i = 0; i < CHILD_COUNT; i++) {
		struct child *child = &master->children[i];
		pid_t pid = child->pid;

		if (started[i]) {
			child_join(master, child);
		} else if (master_wants(config, i)) {
			child_tell(child, FRAME_USE);
		} else {
			stop(child);
			if (pid != 0)
				log_event(LOG_INFO, "role_stopped", log_str("name", child->name),
					log_num("pid", pid));
		}
	}
}

/* A rotated log is opened anew whatever the file says: the generation in use is offered once more, with the new descriptor. */
static void follow_log(struct master *master)
{
	struct problems *problems = problems_new(NULL);
	bool started[CHILD_COUNT] = { false };
	int fd = master_log_moved(master) ? master_open_log(master->config, problems) : -1;
	struct child_offer offer = master_offer(master);

	if (fd >= 0) {
		offer.log_fd = fd;
		prepare_all(master, &offer, problems, started);
		if (problems->count == 0)
			use_all(master, master->config, started);
		else
			tell_all(master, FRAME_DROP);
		master_use_log(master, fd);
	}
	talloc_free(problems);
}

static void refuse(struct master *master, const struct child_offer *offer, size_t count, const bool *started)
{
	tell_all(master, FRAME_DROP);
	for (size_t i = 0; i < CHILD_COUNT; i++)
		if (started[i])
			stop(&master->children[i]);
	if (offer->bound != NULL)
		master_close_sockets(master, (struct bound *)offer->bound, count);
	base_close(&(int){ offer->log_fd });
	config_release(offer->config);
	talloc_free((void *)offer->bundle);
	master->reloads_refused++;
	follow_log(master);
}

void master_warn_of_trust(const struct master *master)
{
	for (int list = 0; list < TRUST_LIST_COUNT; list++)
		if (trust_files_is_on(master->config, master->bundle, (enum trust_list)list))
			return;
	log_event(LOG_WARN, "authorities_off",
		log_str("reason",
			"both lists of authorities are off: no certificate of another server can be verified"));
}

void master_tell_tls_off(const struct master *master)
{
	if (!master->config->tls.enabled)
		log_event(LOG_WARN, "tls_off",
			log_str("reason",
				"tls.enabled is off: all mail comes and goes in clear, and what demands TLS is refused or waits"));
}

static void forget_refresh(struct master *master, const struct child_offer *offer, const bool *started,
	const struct problems *problems)
{
	tell_all(master, FRAME_DROP);
	for (size_t i = 0; i < CHILD_COUNT; i++)
		if (started[i])
			stop(&master->children[i]);
	for (size_t i = 0; i < problems->count; i++)
		log_event(problems->list[i].is_half ? LOG_WARN : LOG_ERROR, "refresh_refused",
			log_num("generation", (int64_t)master->generation),
			log_str("parts", master_parts_text(problems, offer->parts)),
			log_str("reason", problems_format(problems, &problems->list[i])));
	master->refreshes_refused++;
	master_note_refusal(master, offer->parts, problems_format(problems, &problems->list[0]));
	config_release(offer->config);
	talloc_free((void *)offer->bundle);
}

/* In one line, owned by `owner`; empty when there is none. */
static char *refresh_text(const void *owner, const struct problems *problems)
{
	char *text = text_must(talloc_strdup(owner, ""));

	for (size_t i = 0; i < problems->count; i++)
		text = text_must(talloc_asprintf_append_buffer(
			text, "%s%s", i == 0 ? "" : "; ", problems_format(problems, &problems->list[i])));
	return text;
}

static void use_refresh(struct master *master, const struct child_offer *offer, const bool *started,
	const struct problems *problems)
{
	master->generation++;
	use_all(master, offer->config, started);
	config_release(master->config);
	talloc_free(master->bundle);
	master->config = offer->config;
	master->bundle = (struct bundle *)offer->bundle;
	log_event(LOG_INFO, "refreshed", log_num("generation", (int64_t)master->generation),
		log_str("parts", master_parts_text(problems, offer->parts)));
	if ((offer->parts & BUNDLE_AUTHORITIES) != 0)
		master_warn_of_trust(master);
}

bool master_refresh(struct master *master, unsigned parts, const void *owner, char **ret_why)
{
	struct problems *problems = problems_new(NULL);
	const struct config *config = NULL;
	bool started[CHILD_COUNT] = { false };
	struct child_offer offer = master_offer(master);

	parts = bundle_parts_with(master->bundle, parts);
	struct bundle *bundle = config_renew(
		master, master->bundle, master->file, master->generation + 1, parts, problems, &config);

	if (bundle != NULL && (parts & BUNDLE_AUTHORITIES) != 0)
		trust_check(config, bundle, problems);
	if (bundle != NULL && (parts & BUNDLE_CERTIFICATES) != 0) {
		identity_check_certificates(config, bundle, problems);
		tls_check(config, bundle, problems);
		if (problems->count == 0 && bundle_put_keys_away(bundle) < 0)
			problems_add(problems, config->file, 0, "", NO_MEMORY);
	}
	offer.bundle = bundle;
	offer.config = config;
	offer.parts = parts;

	const bool same = problems->count == 0 && bundle_is_same(bundle, master->bundle, parts);
	if (problems->count == 0 && !same)
		prepare_all(master, &offer, problems, started);

	const bool fine = problems->count == 0;
	if (same) {
		config_release(config);
		talloc_free(bundle);
	} else if (fine) {
		use_refresh(master, &offer, started, problems);
	} else {
		forget_refresh(master, &offer, started, problems);
	}
	if (fine)
		master_note_refusal(master, parts, NULL);
	*ret_why = refresh_text(owner, problems);
	talloc_free(problems);
	return fine;
}

bool master_reload(
	struct master *master, const void *owner, char **ret_text, const struct problems **ret_problems)
{
	struct problems *problems = problems_new(owner);
	const struct config *config = NULL;
	struct child_offer offer = { .log_fd = -1 };
	struct bound *bound = NULL;
	bool started[CHILD_COUNT] = { false };
	size_t count = 0;
	struct bundle *bundle = master_gather(master, master, master->generation + 1, problems, &config);

	if (bundle != NULL) {
		identity_check(config, bundle, problems);
		tls_check(config, bundle, problems);
		check_fixed(master->config, config, problems);
	}
	if (problems->count == 0 && bundle_put_keys_away(bundle) < 0)
		problems_add(problems, config->file, 0, "", NO_MEMORY);
	if (problems->count == 0)
		master_bind(master, config, problems, &bound, &count);
	offer = (struct child_offer){ .bundle = bundle, .config = config, .bound = bound, .log_fd = -1 };
	if (problems->count == 0)
		offer.log_fd = master_open_log(config, problems);
	if (problems->count == 0)
		prepare_all(master, &offer, problems, started);

	*ret_problems = problems;
	if (problems->count > 0) {
		refuse(master, &offer, count, started);
		log_event(LOG_ERROR, "reload_refused", log_num("problems", (int64_t)problems->count),
			log_num("generation", (int64_t)master->generation));
		*ret_text = list(owner, problems);
		return false;
	}

	master->generation++;
	use_all(master, config, started);
	master_keep_sockets(master, bound, count);
	config_release(master->config);
	talloc_free(master->bundle);
	master->config = config;
	master->bundle = bundle;
	master_use_log(master, offer.log_fd);
	master_note_refusal(master, BUNDLE_PARTS, NULL);
	log_event(LOG_INFO, "reloaded", log_num("generation", (int64_t)master->generation));
	master_tell_demo(master);
	master_warn_of_trust(master);
	master_tell_tls_off(master);
	*ret_text = text_must(talloc_asprintf(
		owner, "generation %llu is in use\n", (unsigned long long)master->generation));
	return true;
}
