#pragma once
/* What the workload and the checker must agree on: the configuration of the store, and the bytes of each mail. */

#include <stddef.h>

struct store;

enum { MAIL_DOMAINS = 24 };

/* Open the store in `directory` with the domains d0.test, d1.test, ... and the retry times `retry` (YAML); ends the process
 * with exit status 1 and the store's words on standard output (after `prefix`) when it cannot. Owned by `owner`. */
struct store *mail_open_store(
	const void *owner, const char *directory, const char *retry, const char *prefix);

/* The content of the mail called `token`: exactly `size` bytes (at least 100), never with two equal sectors. Owned by `owner`. */
char *mail_content(const void *owner, const char *token, size_t size);
