#pragma once
/* An http or https URL from which a list or a policy is fetched: RFC 3986, without a user and without a fragment, ASCII only. */

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum { URL_MAX = 2048 };

struct url {
	bool secure;	  /* https */
	struct text host; /* a domain, an IPv4 address, or an IPv6 address without its brackets */
	uint16_t port;	  /* 80 or 443 unless it is written */
	struct text
		target; /* path and query, beginning with `/`; empty when nothing stands behind the host */
};

/* Parse all of `t`, at most URL_MAX bytes; the results borrow from it. 0, or ERR_FORMAT. */
int url_parse(struct text t, struct url *ret_url);
