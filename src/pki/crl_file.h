#pragma once
/* The directory in which role `upkeep` keeps its lists (config/crl_sources.h): of each source its list, and a note of when it was fetched and what went wrong. Written by `upkeep`
 * alone; others read it as careful readers, because that role talks to strangers. */

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/text.h"

enum { CRL_FILE_WHY_MAX = 400, CRL_FILE_URL_MAX = 2049 };

struct crl_note {
	int64_t fetched_ms; /* wall clock: the last success; 0 = never */
	int64_t failed_ms;  /* the last failure of a try that was due; 0 = none since the last success */
	unsigned failures;  /* in a row, of such tries */
	char tried[DIGEST_HEX_MAX];  /* what they were made with (URLs, authorities) */
	char from[CRL_FILE_URL_MAX]; /* URL of the last success */
	char why[CRL_FILE_WHY_MAX];  /* of the last failure, printable */
};

/* The directory below `upkeep_fd`, made when it is missing; a descriptor, or a negative errno. */
int crl_file_make(int upkeep_fd);

/* The same of a state directory, for who only reads; -ENOENT when there is none. */
int crl_file_open(const char *state_dir);

/* The list of source `name`, as it was fetched, owned by `owner`; 0, or a negative errno (-ENOENT: none). */
int crl_file_read(const void *owner, int directory_fd, const char *name, struct text *ret_list);

/* Replace it, so that after a crash the old or the new one is there, whole; 0, or a negative errno. */
int crl_file_write(int directory_fd, const char *name, struct text list);

/* The note of source `name`; all zero when there is none that can be understood. */
void crl_file_read_note(int directory_fd, const char *name, struct crl_note *ret_note);
int crl_file_write_note(int directory_fd, const char *name, const struct crl_note *note);
