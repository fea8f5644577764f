#pragma once
/* What the MX records of a domain come to: the answer of the DNS, as policy/mx.h understands it. */

#include <stdint.h>

#include "policy/mx.h"

struct dns_answer;
struct peer;

/* The hosts that take mail for `domain` by `answer` to the question for its MX records; names are borrowed from both, memory is owned by
 * `owner`. `own_name` is this gateway's. */
struct mx_plan dns_mx_plan(
	const void *owner, const struct dns_answer *answer, const char *domain, const char *own_name);

/* Ask `resolver` for the MX records of `domain`, and whether they leave anybody to give mail to. MX_END_UNKNOWN when there is no answer by
 * `deadline` (clock_mono_ms()), when stop_fd becomes readable, or without a resolver (NULL). */
enum mx_end dns_mx_end(
	struct peer *resolver, const char *domain, const char *own_name, int stop_fd, int64_t deadline);
