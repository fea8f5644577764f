/* When something of the generation in use is read anew: role `upkeep` says what it fetched, and what comes close together is one refresh. Master reads it itself, as
 * a careful reader: `upkeep` talks to the Internet, and may have been taken over. */
#include <poll.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/bundle.h"
#include "config/problems.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "master/master_private.h"

enum { EVERY_MS = 1000, WORD_MS = 1000, WORDS_MAX = 64 };

static const struct {
	unsigned part;
	const char *word;
} words[MASTER_PARTS] = { { BUNDLE_CERTIFICATES, "certificates" }, { BUNDLE_REVOCATION, "revocation" },
	{ BUNDLE_STAPLES, "staples" }, { BUNDLE_AUTHORITIES, "authorities" } };

const char *master_parts_text(const void *owner, unsigned parts)
{
	char *text = text_must(talloc_strdup(owner, ""));

	for (size_t i = 0; i < COUNT(words); i++)
		if ((parts & words[i].part) != 0)
			text = text_must(talloc_asprintf_append(
				text, "%s%s", text[0] == '\0' ? "" : ",", words[i].word));
	return text;
}

void master_note_refusal(struct master *master, unsigned parts, const char *reason)
{
	for (size_t i = 0; i < MASTER_PARTS; i++) {
		struct refusal *refusal = &master->refusals[i];

		if ((parts & words[i].part) == 0)
			continue;
		TALLOC_FREE(refusal->reason);
		if (reason == NULL)
			refusal->since_ms = 0;
		else if (refusal->since_ms == 0)
			refusal->since_ms = clock_wall_ms();
		if (reason != NULL)
			refusal->reason = text_copy(master, text_of(reason));
	}
}

json_t *master_refusals_json(const struct master *master)
{
	json_t *json = json_array();

	for (size_t i = 0; i < MASTER_PARTS; i++) {
		const struct refusal *refusal = &master->refusals[i];
		char since[CLOCK_TEXT_MAX];

		if (refusal->since_ms != 0)
			json_array_append_new(json,
				json_pack("{s:s, s:s, s:s}", "part", words[i].word, "since",
					clock_iso(refusal->since_ms, since), "reason", refusal->reason));
	}
	return json;
}

void master_changed(struct master *master, unsigned parts)
{
	master->changed |= parts;
}

/* What is read together: an operator's file may be wrong, and hold up its own part only. */
static unsigned next_parts(const struct master *master)
{
	static const unsigned groups[] = { BUNDLE_REVOCATION | BUNDLE_STAPLES, BUNDLE_AUTHORITIES,
		BUNDLE_CERTIFICATES };
	unsigned parts = 0;

	for (size_t i = 0; i < COUNT(groups) && parts == 0; i++)
		parts = master->changed & groups[i];
	return parts;
}

/* One that hangs would hold up all the others; it is being ended. Each one that answers has done what master told it before. */
static bool somebody_is_silent(struct master *master)
{
	struct problems *problems = problems_new(NULL);
	bool silent;

	master_find_silent(master, problems);
	silent = problems->count > 0;
	talloc_free(problems);
	return silent;
}

int master_refresh_due(struct master *master)
{
	const int64_t now = clock_mono_ms();
	const bool waits = master->refreshed_at != 0 && now - master->refreshed_at < EVERY_MS;
	const unsigned parts = next_parts(master);

	if (parts == 0)
		return -1;
	if (waits)
		return (int)(master->refreshed_at + EVERY_MS - now);
	const bool later = somebody_is_silent(master);
	if (!later) {
		char *why;

		master->changed &= ~parts;
		master_refresh(master, parts, NULL, &why);
		talloc_free(why);
	}
	master->refreshed_at = clock_mono_ms();
	return later || master->changed != 0 ? EVERY_MS : -1;
}

/* Of what it may have changed; anything else it says ends the talk until it is started again. */
void master_serve_upkeep(struct master *master)
{
	struct frame *word;

	if (channel_receive(NULL, master->upkeep_fd, -1, clock_mono_ms() + WORD_MS, &word) < 0) {
		base_close(&master->upkeep_fd); /* it died */
		return;
	}

	const int64_t parts = frame_get_number(word);
	if (word->kind == FRAME_CHANGED && frame_done(word) == 0 && parts > 0 &&
		(parts & ~(int64_t)(BUNDLE_REVOCATION | BUNDLE_STAPLES)) == 0) {
		master_changed(master, (unsigned)parts);
	} else {
		log_event(LOG_WARN, "ask_refused", log_num("kind", word->kind), log_str("peer", "upkeep"));
		base_close(&master->upkeep_fd);
	}
	talloc_free(word);
}

bool master_refresh_now(struct master *master, unsigned parts, const void *owner, char **ret_why)
{
	struct pollfd said = { .fd = master->upkeep_fd, .events = POLLIN };

	/* Who asks for it heard from `upkeep` after it had said this. */
	for (int i = 0; i < WORDS_MAX && said.fd >= 0 && poll(&said, 1, 0) > 0; i++) {
		master_serve_upkeep(master);
		said.fd = master->upkeep_fd;
	}
	const bool silent = somebody_is_silent(master);
	const bool fine = !silent && master_refresh(master, parts, owner, ret_why);
	if (!silent)
		master->changed &= ~parts;
	master->refreshed_at = clock_mono_ms();
	if (!silent && (!fine || !somebody_is_silent(master)))
		return fine;
	*ret_why = text_must(talloc_strdup(owner,
		"a role does not answer, and is started again when it stays so; see `postern status`"));
	return false;
}
