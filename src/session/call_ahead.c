/* A bounded hash: when it is full the oldest answer goes (uthash keeps the order of insertion). */
#include "session/call_ahead.h"

#include <pthread.h>
#include <stdlib.h>

#include <talloc.h>
#include <uthash.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/text.h"
#include "deliver/verify.h"

enum { ANSWERS_MAX = 20000, ASK_MS = 45000 };

struct remembered {
	UT_hash_handle hh;
	char *recipient; /* lower case */
	enum recipient_answer answer;
	int64_t since;
};

struct call_ahead {
	pthread_mutex_t lock;
	struct peer *deliver;
	struct remembered *answers;
};

static void forget(struct call_ahead *c, struct remembered *remembered)
{
	HASH_DEL(c->answers, remembered);
	free(remembered->recipient);
	free(remembered);
}

static int call_ahead_destroy(struct call_ahead *c)
{
	while (c->answers != NULL)
		forget(c, c->answers);
	pthread_mutex_destroy(&c->lock);
	return 0;
}

struct call_ahead *call_ahead_new(const void *owner, struct peer *deliver)
{
	struct call_ahead *c = text_must(talloc_zero(owner, struct call_ahead));

	pthread_mutex_init(&c->lock, NULL);
	c->deliver = deliver;
	talloc_set_destructor(c, call_ahead_destroy);
	return c;
}

static enum recipient_answer recall(struct call_ahead *c, const char *recipient, int64_t cache_ms)
{
	struct remembered *found;
	enum recipient_answer answer = RECIPIENT_NOT_ASKED;

	pthread_mutex_lock(&c->lock);
	HASH_FIND_STR(c->answers, recipient, found);
	if (found != NULL && clock_mono_ms() - found->since <= cache_ms)
		answer = found->answer;
	else if (found != NULL)
		forget(c, found);
	pthread_mutex_unlock(&c->lock);
	return answer;
}

static void remember(struct call_ahead *c, const char *recipient, enum recipient_answer answer)
{
	struct remembered *new = text_must(calloc(1, sizeof *new)), *old;

	new->recipient = text_must(strdup(recipient));
	new->answer = answer;
	new->since = clock_mono_ms();
	pthread_mutex_lock(&c->lock);
	HASH_FIND_STR(c->answers, recipient, old);
	if (old != NULL)
		forget(c, old);
	else if (HASH_COUNT(c->answers) >= ANSWERS_MAX)
		forget(c, c->answers);
	HASH_ADD_KEYPTR(hh, c->answers, new->recipient, strlen(new->recipient), new);
	pthread_mutex_unlock(&c->lock);
}

enum recipient_answer call_ahead_ask(
	struct call_ahead *c, const char *icid, const char *recipient, int64_t cache_ms, int stop_fd)
{
	char *lower = text_copy_lower(NULL, text_of(recipient));
	enum recipient_answer answer = recall(c, lower, cache_ms);

	if (answer == RECIPIENT_NOT_ASKED) {
		answer = verify_ask(c->deliver, icid, recipient, stop_fd, ASK_MS);
		if (recipient_is_lasting(answer))
			remember(c, lower, answer);
	}
	talloc_free(lower);
	return answer;
}
