#pragma once
/* What was said already: of an issuer whose list is missing or out of date the operator hears once an hour, not with each mail. Safe from any thread. */

#include <stdbool.h>
#include <stdint.h>

struct crl_told;

/* Nothing was said; owned by `owner`. */
struct crl_told *crl_told_new(const void *owner);

/* True when this is to be said at `now_ms` (clock_mono_ms()): the first time in an hour for `issuer` and `reason`. */
bool crl_told_first(struct crl_told *told, const char *issuer, const char *reason, int64_t now_ms);
