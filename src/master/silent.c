/* A role that hangs is ended and started again like one that died. Asked are its counters: its main loop answers, and takes the locks of its work. */
#include <signal.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/problems.h"
#include "master/master_private.h"

enum { ANSWER_MS = 10000 };

static void look_at(struct child *child, int64_t passed_ms)
{
	child_hear(child);
	switch (silence_look(&child->silence, passed_ms)) {
	case SILENCE_ASK:
		child_ask(child);
		break;
	case SILENCE_WAIT:
		break;
	case SILENCE_END:
		log_event(LOG_ERROR, "role_silent", log_str("name", child->name), log_num("pid", child->pid),
			log_num("silent_ms", child->silence.waits_ms),
			log_str("cure", "it is killed and started again; if it returns, report it"));
		kill(child->pid, SIGKILL); /* reaped like any other death */
	}
}

int master_end_silent(struct master *master)
{
	const int64_t now = clock_mono_ms(), passed = now - master->looked;

	if (master->looked != 0 && passed < SILENCE_LOOK_MS)
		return (int)(SILENCE_LOOK_MS - passed);
	master->looked = now;
	for (size_t i = 0; i < CHILD_COUNT; i++)
		if (master->children[i].pid != 0)
			look_at(&master->children[i], passed);
	return SILENCE_LOOK_MS;
}

void master_find_silent(struct master *master, struct problems *problems)
{
	const int64_t deadline = clock_mono_ms() + ANSWER_MS;

	for (size_t i = 0; i < CHILD_COUNT; i++) {
		child_hear(&master->children[i]);
		child_ask(&master->children[i]);
	}
	for (size_t i = 0; i < CHILD_COUNT; i++) {
		struct child *child = &master->children[i];

		/* One that has owed an answer for long is given no more time. */
		if (child->pid == 0 ||
			child_stats(child, child->silence.waits_ms > 0 ? clock_mono_ms() : deadline) >= 0)
			continue;
		silence_missed(&child->silence);
		problems_add(problems, "", 0, "",
			"role %s does not answer; it is started again when it has been silent for %d s: reload when `postern status` says that it is up",
			child->name, SILENCE_END_MS / 1000);
	}
}
