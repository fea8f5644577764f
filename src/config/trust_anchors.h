#pragma once
/* Trust anchors of DNSSEC: the file of setting dns.trust_anchor_file, and the root's keys. */

#include <stddef.h>

#include "base/text.h"

struct bundle;
struct config;

struct trust_anchor {
	const char *zone;   /* lower case, without a final dot; empty = the root */
	const char *record; /* `test. IN DS 12345 13 2 1A2B...`, one line */
};

struct trust_anchors {
	size_t count;
	struct trust_anchor *list;
};

/* Read DS and DNSKEY records as zone files, key files and the files of RFC 5011 hold them; owned by `owner`. NULL with one sentence that says what
 * is wrong and the cure in ret_why (owned by `owner`). */
struct trust_anchors *trust_anchors_parse(const void *owner, struct text file, const char **ret_why);

/* Those of `config`: of its file, which `bundle` holds, or else the root's keys of 2017 and 2024. As trust_anchors_parse(). */
struct trust_anchors *trust_anchors_of(
	const void *owner, const struct config *config, const struct bundle *bundle, const char **ret_why);
