#pragma once
/* Logging in to a server (RFC 4954) with PLAIN or LOGIN. */

#include <stdbool.h>
#include <stddef.h>

struct account;
struct link;

/* Log in as `account` on an open link whose server was verified. 0; or a negative error, with why in ret_why (`size` bytes: status and words
 * without any credentials), and ret_refused when the server does not take them. */
int auth_log_in(
	struct link *link, const struct account *account, char *ret_why, size_t size, bool *ret_refused);
