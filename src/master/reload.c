/* Two phases: every role prepares the new generation and says ready, then all use it; one refusal, and all keep what they have. */
#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "base/log.h"
#include "base/text.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "ipc/frame.h"
#include "master/master_private.h"
#include "pki/identity.h"

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

/* Phase one for every role; the first refusal is a problem. */
static void prepare_all(struct master *master, const struct bundle *bundle, const struct config *config,
	const struct bound *bound, struct problems *problems)
{
	for (size_t i = 0; i < CHILD_COUNT && problems->count == 0; i++) {
		const char *why;

		if (master->children[i].pid != 0 && child_prepare(master, &master->children[i], bundle,
							    config, bound, problems, &why) < 0)
			problems_add(problems, config->file, 0, "", "role %s refused it: %s",
				master->children[i].name, why);
	}
}

static void tell_all(struct master *master, int kind)
{
	for (size_t i = 0; i < CHILD_COUNT; i++)
		child_tell(&master->children[i], kind);
}

bool master_reload(struct master *master, const void *owner, char **ret_text)
{
	struct problems *problems = problems_new(owner);
	const struct config *config = NULL;
	struct bound *bound = NULL;
	size_t count = 0;
	struct bundle *bundle =
		config_gather(master, master->file, master->generation + 1, problems, &config);

	if (bundle != NULL) {
		identity_check(config, bundle, problems);
		check_fixed(master->config, config, problems);
	}
	if (problems->count == 0)
		master_bind(master, config, problems, &bound, &count);
	if (problems->count == 0)
		prepare_all(master, bundle, config, bound, problems);

	if (problems->count > 0) {
		tell_all(master, FRAME_DROP);
		if (bound != NULL)
			master_close_sockets(master, bound, count);
		config_release(config);
		talloc_free(bundle);
		log_event(LOG_ERROR, "reload_refused", log_num("problems", (int64_t)problems->count),
			log_num("generation", (int64_t)master->generation));
		*ret_text = list(owner, problems);
		return false;
	}

	tell_all(master, FRAME_USE);
	master_keep_sockets(master, bound, count);
	config_release(master->config);
	talloc_free(master->bundle);
	master->config = config;
	master->bundle = bundle;
	master->generation++;
	log_open(STDERR_FILENO, "master", config->log.level, config->log.format);
	log_event(LOG_INFO, "reloaded", log_num("generation", (int64_t)master->generation));
	*ret_text = text_must(talloc_asprintf(
		owner, "generation %llu is in use\n", (unsigned long long)master->generation));
	return true;
}
