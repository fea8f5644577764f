/* One ask; what it asks for ends with its channel, so a command that dies holds nothing back. */
#include "queue/queue_backup.h"

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "ipc/channel.h"
#include "ipc/frame.h"
#include "queue/store.h"

enum { ASK_MS = 30000 };

int queue_backup_hold(int channel)
{
	struct frame *ask = frame_new(NULL, FRAME_BACKUP), *answer;
	int r = channel_send(channel, ask, clock_mono_ms() + ASK_MS);

	if (r == 0)
		r = channel_receive(ask, channel, -1, clock_mono_ms() + ASK_MS, &answer);
	if (r == 0)
		r = frame_get_bool(answer) && frame_done(answer) == 0 ? 0 : ERR_FORMAT;
	talloc_free(ask);
	return r;
}

struct frame *queue_backup_answer(struct store *store, struct frame *ask, const void *owner)
{
	if (ask->kind != FRAME_BACKUP || frame_done(ask) < 0)
		return NULL;

	struct frame *answer = frame_new(owner, FRAME_ANSWER);
	store_hold_files(store);
	frame_put_bool(answer, true);
	return answer;
}
