#pragma once
/* What the threads of the workload share. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "queue/store.h"

struct checkpoint;

/* Sizes of content: in a row (small), in a row, in a file. */
enum { LOAD_SMALL_MAX = 6000, LOAD_ROW_MAX = ENVELOPE_INLINE_MAX, LOAD_FILE_MAX = 300 * 1024 };

struct load_worker {
	struct store *store;
	struct checkpoint *checkpoint;
	const char *directory; /* of the store */
	uint64_t seed, number; /* of the run; of the thread, from 1 */
	uint64_t dice;
	unsigned count;		  /* of tokens */
	atomic_int *clients_left; /* deliverers end with the last client */
};

/* Append a line to the trace (load.c lists them). */
void load_mark(const char *format, ...) PRINTF(1, 2);

/* End the process when the store did not do what it must. */
void load_must(bool done, const char *what);

/* A number below `limit`. */
size_t load_throw(struct load_worker *w, size_t limit);

/* A name that nothing else has; owned by `owner`. */
const char *load_token(const void *owner, struct load_worker *w, const char *kind);

/* Mark that a mail whose icid is its token is about to be committed. */
void load_mark_begin(const void *owner, const struct envelope *envelope, size_t size);

/* Before all threads: `deliver` announces itself to the store and repeats the outcomes that the last process did not
 * acknowledge; they are files in `directory`, which outlives the store's process (and no power cut). */
void load_deliver_start(const void *owner, struct store *store, const char *directory);

/* In some processes: a backup of the store into a directory beside, and a restore of it. The argument is a struct load_worker. */
void *load_backup_run(void *argument);

/* A deliverer: take mails and record outcomes until the clients are done. The argument is a struct load_worker. */
void *load_deliver_run(void *argument);
