#pragma once
/* The files in which libunbound keeps the trust anchors that it follows (RFC 5011), in the current directory of role `resolver`. */

#include <stdbool.h>
#include <stddef.h>

struct trust_anchors;

struct anchor_files {
	size_t count;
	const char **
		names; /* one for each zone, with a digest of its configured anchors: other anchors begin a new file */
};

/* Make the files that are missing (with `fresh` all of them) from the configured anchors, durably. 0 and the names, owned by `owner`, or a negative
 * errno. */
int anchor_files_make(
	const void *owner, const struct trust_anchors *anchors, bool fresh, struct anchor_files **ret_files);
