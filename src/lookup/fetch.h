#pragma once
/* Fetching a document of the Internet, as role `upkeep` does: its host is asked of the DNS, and only public addresses are connected to, whatever others
 * wrote into a URL or into the DNS (7.35, 7.43). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct config_fetch;
struct http;
struct http_answer;
struct peer;

struct fetch_means {
	const struct http *http;
	struct peer *resolver;
	const struct config_fetch *rules;
	int stop_fd;	   /* readable: give up (-1 = none) */
	struct text trust; /* authorities that https servers are checked against, as PEM */
};

struct fetch_order {
	const char *url;
	bool configured;  /* an administrator wrote the URL: where it names an address, that one is meant */
	size_t most;	  /* bytes of the answer */
	int64_t deadline; /* clock_mono_ms(); for all of it */
	struct text sent; /* posted; empty = the document is got */
	const char *type; /* of what is posted */
};

/* As http_get(). */
int fetch_document(const struct fetch_means *means, const struct fetch_order *order, const void *owner,
	struct http_answer *ret_answer, char *ret_why);
