#pragma once
/*
 * Fetching a document by GET or POST, over libcurl. The library is loaded when http_start() asks for it: it brings thirty others with it, and the roles that fetch
 * nothing start without them. No redirect is followed, no proxy is asked, no name is looked up: who asks says where the host is.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct http;
struct ip;

enum { HTTP_WHY_MAX = 256, HTTP_ADDRESSES_MAX = 8 };

struct http_request {
	const char *url; /* as url_parse() takes it; what it names is fetched */
	const struct ip *
		addresses; /* of its host, in the order in which they are tried, and no other is; none = the host is an address */
	size_t address_count;
	size_t most;	   /* bytes of the body */
	int64_t deadline;  /* clock_mono_ms(); for all of it */
	int stop_fd;	   /* readable: give up (-1 = none) */
	struct text trust; /* authorities that https servers are checked against, as PEM */
	struct text sent;  /* posted; empty = the document is got */
	const char *type;  /* of what is posted; such as `application/ocsp-request` */
};

struct http_answer {
	char *body; /* owned by the answer's owner */
	size_t len;
};

/* Load the library, once in a process and before there are threads; owned by `owner`. NULL, with why in `ret_why` (HTTP_WHY_MAX). */
struct http *http_start(const void *owner, char *ret_why);

/* Fetch it: 0 and the answer to a status of 200, whole; else negative with one phrase in `ret_why` (HTTP_WHY_MAX, always printable): -ETIMEDOUT,
 * ERR_STOPPED, -EMSGSIZE (a larger body), ERR_TLS, ERR_FORMAT (no URL), or ERR_CLOSED for all else. From any thread. */
int http_get(const struct http *http, const struct http_request *request, const void *owner,
	struct http_answer *ret_answer, char *ret_why);
