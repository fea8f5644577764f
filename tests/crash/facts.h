#pragma once
/* What the marks of the workload (load.c) say about the moment of the power cut: what was begun, and what was promised. */

#include <stdbool.h>
#include <stdint.h>

#include <uthash.h>

/* States of recipients as the database has them. */
enum { FACTS_QUEUED, FACTS_DELIVERED, FACTS_BOUNCED };

/* A mail of a client, or a DSN. */
struct facts_mail {
	UT_hash_handle hh;
	const char *token;
	uint64_t size;
	char **recipients; /* recipient i has rid i + 1 */
	size_t recipient_count;
	int64_t mid;		 /* promised; 0 = not */
	bool gone;		 /* broken off: must never be seen */
	bool in_hand;		 /* begun by the process that ran when the power went, and not finished */
	bool is_dsn;		 /* promised with its outcome */
	int64_t found;		 /* the checker's: its row, 0 = none */
	bool swept;		 /* the checker's: its file was there and the store removed it */
	unsigned long committed; /* when, by the count of marks */
};

/* A backup that was begun. */
struct facts_backup {
	struct facts_backup *next;
	const char *name;
	unsigned long begun; /* what was committed before is in it */
	bool done, restoring, restored;
};

/* A recipient with an outcome or a lease. */
struct facts_recipient {
	UT_hash_handle hh;
	struct {
		int64_t mid, rid;
	} key;
	unsigned allowed;	     /* set of 1 << state */
	unsigned tries, tries_begun; /* outcomes promised, and begun */
	uint64_t leased;	     /* to whom; 0 = nobody */
};

struct facts_outcome {
	UT_hash_handle hh;
	const char *id;
	struct facts_recipient **recipients;
	unsigned *states;
	size_t count;
	struct facts_mail *dsn; /* or NULL */
	bool promised;
	size_t found; /* the checker's: rows of its attempt */
};

struct facts {
	struct facts_mail *mails;
	struct facts_recipient *recipients;
	struct facts_backup *backups;
	unsigned long now; /* marks so far */
	struct facts_outcome *outcomes;
	bool old; /* it began with a database of an older version */
};

/* Read the file of marks, one a line; owned by `owner`. Ends the process when it is malformed. */
struct facts *facts_read(const void *owner, const char *path);

/* NULL when nothing is known of it. */
struct facts_mail *facts_find_mail(const struct facts *facts, const char *token);
struct facts_recipient *facts_find_recipient(const struct facts *facts, int64_t mid, int64_t rid);
struct facts_outcome *facts_find_outcome(const struct facts *facts, const char *id);
