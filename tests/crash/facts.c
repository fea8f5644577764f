/* See facts.h; the lines are described in load.c. */
#include "facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/text.h"

static void must(bool right, const char *what)
{
	if (right)
		return;
	printf("check: %s\n", what);
	exit(EXIT_FAILURE);
}

/* The parts of `list` between commas; owned by `owner`. */
static char **split(const void *owner, const char *list, size_t *ret_count)
{
	char **parts = NULL, *copy = text_must(talloc_strdup(owner, list)), *rest = copy, *part;
	size_t count = 0;

	while ((part = strsep(&rest, ",")) != NULL) {
		parts = text_must(talloc_realloc(owner, parts, char *, (unsigned)count + 1));
		parts[count++] = part;
	}
	*ret_count = count;
	return parts;
}

struct facts_mail *facts_find_mail(const struct facts *facts, const char *token)
{
	struct facts_mail *mail;

	HASH_FIND_STR(facts->mails, token, mail);
	return mail;
}

struct facts_outcome *facts_find_outcome(const struct facts *facts, const char *id)
{
	struct facts_outcome *outcome;

	HASH_FIND_STR(facts->outcomes, id, outcome);
	return outcome;
}

struct facts_recipient *facts_find_recipient(const struct facts *facts, int64_t mid, int64_t rid)
{
	typeof(((struct facts_recipient *)NULL)->key) key = { mid, rid };
	struct facts_recipient *recipient;

	HASH_FIND(hh, facts->recipients, &key, sizeof key, recipient);
	return recipient;
}

static struct facts_recipient *recipient_of(struct facts *facts, int64_t mid, int64_t rid)
{
	struct facts_recipient *recipient = facts_find_recipient(facts, mid, rid);

	if (recipient == NULL) {
		recipient = text_must(talloc_zero(facts, struct facts_recipient));
		recipient->key.mid = mid;
		recipient->key.rid = rid;
		recipient->allowed = 1 << FACTS_QUEUED;
		HASH_ADD(hh, facts->recipients, key, sizeof recipient->key, recipient);
	}
	return recipient;
}

static void on_start(struct facts *facts, char **words)
{
	(void)words;
	for (struct facts_mail *mail = facts->mails; mail != NULL; mail = mail->hh.next)
		mail->in_hand = false;
	for (struct facts_recipient *r = facts->recipients; r != NULL; r = r->hh.next)
		r->leased = 0;
}

static void on_old(struct facts *facts, char **words)
{
	(void)words;
	facts->old = true;
}

static void on_backing(struct facts *facts, char **words)
{
	struct facts_backup *backup = text_must(talloc_zero(facts, struct facts_backup));

	backup->name = text_copy(backup, text_of(words[0]));
	backup->begun = facts->now;
	backup->next = facts->backups;
	facts->backups = backup;
}

static struct facts_backup *known_backup(struct facts *facts, const char *name)
{
	struct facts_backup *backup = facts->backups;

	while (backup != NULL && strcmp(backup->name, name) != 0)
		backup = backup->next;
	must(backup != NULL, "the marks name a backup that was never begun");
	return backup;
}

static void on_backed(struct facts *facts, char **words)
{
	known_backup(facts, words[0])->done = true;
}

static void on_restoring(struct facts *facts, char **words)
{
	known_backup(facts, words[0])->restoring = true;
}

static void on_restored(struct facts *facts, char **words)
{
	known_backup(facts, words[0])->restored = true;
}

static void on_begin(struct facts *facts, char **words)
{
	struct facts_mail *mail = text_must(talloc_zero(facts, struct facts_mail));

	mail->token = text_copy(mail, text_of(words[0]));
	mail->size = strtoull(words[1], NULL, 10);
	mail->recipients = split(mail, words[2], &mail->recipient_count);
	mail->in_hand = true;
	must(facts_find_mail(facts, mail->token) == NULL, "a token stands twice in the marks");
	HASH_ADD_KEYPTR(hh, facts->mails, mail->token, strlen(mail->token), mail);
}

static struct facts_mail *known_mail(struct facts *facts, const char *token)
{
	struct facts_mail *mail = facts_find_mail(facts, token);

	must(mail != NULL, "the marks name a mail that was never begun");
	return mail;
}

static void on_commit(struct facts *facts, char **words)
{
	struct facts_mail *mail = known_mail(facts, words[0]);

	mail->mid = strtoll(words[1], NULL, 10);
	mail->committed = facts->now;
	mail->in_hand = false;
}

static void on_gone(struct facts *facts, char **words)
{
	struct facts_mail *mail = known_mail(facts, words[0]);

	mail->gone = true;
	mail->in_hand = false;
}

static void on_lease(struct facts *facts, char **words)
{
	int64_t mid = strtoll(words[1], NULL, 10);
	size_t count;
	char **rids = split(facts, words[2], &count);

	for (size_t i = 0; i < count; i++)
		recipient_of(facts, mid, strtoll(rids[i], NULL, 10))->leased = strtoull(words[0], NULL, 10);
}

static void on_dead(struct facts *facts, char **words)
{
	uint64_t owner = strtoull(words[0], NULL, 10);

	for (struct facts_recipient *r = facts->recipients; r != NULL; r = r->hh.next)
		if (r->leased == owner)
			r->leased = 0;
}

static void on_record(struct facts *facts, char **words)
{
	struct facts_outcome *outcome = text_must(talloc_zero(facts, struct facts_outcome));
	char **entries = split(outcome, words[2], &outcome->count);

	outcome->id = text_copy(outcome, text_of(words[0]));
	outcome->recipients =
		text_must(talloc_array(outcome, struct facts_recipient *, (unsigned)outcome->count));
	outcome->states = text_must(talloc_array(outcome, unsigned, (unsigned)outcome->count));
	if (strcmp(words[1], "-") != 0) {
		outcome->dsn = known_mail(facts, words[1]);
		outcome->dsn->is_dsn = true;
	}
	for (size_t i = 0; i < outcome->count; i++) {
		long long mid, rid;
		char state;

		must(sscanf(entries[i], "%lld:%lld:%c", &mid, &rid, &state) == 3,
			"a mark `record` is malformed");
		outcome->states[i] = state == 'd'   ? FACTS_DELIVERED
				     : state == 'b' ? FACTS_BOUNCED
						    : FACTS_QUEUED;
		outcome->recipients[i] = recipient_of(facts, mid, rid);
		outcome->recipients[i]->allowed |= 1u << outcome->states[i];
		outcome->recipients[i]->tries_begun++;
	}
	HASH_ADD_KEYPTR(hh, facts->outcomes, outcome->id, strlen(outcome->id), outcome);
}

/* From now on only this state is right, until the next outcome begins. */
static void on_recorded(struct facts *facts, char **words)
{
	struct facts_outcome *outcome = facts_find_outcome(facts, words[0]);

	must(outcome != NULL, "the marks name an outcome that was never begun");
	if (outcome->promised)
		return; /* repeated, because the acknowledgement was lost */
	outcome->promised = true;
	if (outcome->dsn != NULL)
		outcome->dsn->in_hand = false;
	for (size_t i = 0; i < outcome->count; i++) {
		outcome->recipients[i]->allowed = 1u << outcome->states[i];
		outcome->recipients[i]->tries++;
		outcome->recipients[i]->leased = 0;
	}
}

static const struct verb {
	const char *name;
	size_t words;
	void (*run)(struct facts *facts, char **words);
} verbs[] = {
	{ "old", 0, on_old },
	{ "start", 0, on_start },
	{ "begin", 3, on_begin },
	{ "commit", 2, on_commit },
	{ "gone", 1, on_gone },
	{ "lease", 3, on_lease },
	{ "dead", 1, on_dead },
	{ "record", 3, on_record },
	{ "recorded", 1, on_recorded },
	{ "backing", 1, on_backing },
	{ "backed", 1, on_backed },
	{ "restoring", 1, on_restoring },
	{ "restored", 1, on_restored },
};

static void read_line(struct facts *facts, char *line)
{
	char *words[8], *rest = line;
	size_t count = 0;

	line[strcspn(line, "\n")] = '\0';
	facts->now++;
	while (count < COUNT(words) && (words[count] = strsep(&rest, " ")) != NULL)
		count++;
	for (size_t i = 0; i < COUNT(verbs); i++) {
		if (strcmp(words[0], verbs[i].name) != 0)
			continue;
		must(count == verbs[i].words + 1, "a mark has too few or too many words");
		verbs[i].run(facts, words + 1);
		return;
	}
	must(false, "the marks hold an unknown word");
}

static int facts_destroy(struct facts *facts)
{
	HASH_CLEAR(hh, facts->mails);
	HASH_CLEAR(hh, facts->recipients);
	HASH_CLEAR(hh, facts->outcomes);
	return 0;
}

struct facts *facts_read(const void *owner, const char *path)
{
	struct facts *facts = text_must(talloc_zero(owner, struct facts));
	FILE *file = fopen(path, "re");
	char line[2048];

	talloc_set_destructor(facts, facts_destroy);
	must(file != NULL, "the file of marks cannot be opened");
	while (fgets(line, sizeof line, file) != NULL)
		read_line(facts, line);
	fclose(file);
	return facts;
}
