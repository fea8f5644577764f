#pragma once
/* The lists of revoked certificates that role `upkeep` fetches: when each is due, and what came of it. */

#include <stdbool.h>

#include "base/text.h"

struct frame;
struct upkeep;
struct upkeep_crl;

/* Nothing to do yet; owned by `u`. */
struct upkeep_crl *upkeep_crl_new(struct upkeep *u);

/* The generation of `u` changed: look what is due. From the main thread. */
void upkeep_crl_use(struct upkeep_crl *crl);

/* The role ends: wake who waits. */
void upkeep_crl_stop(struct upkeep_crl *crl);

/* The serving side of upkeep_crl_ask(): fetch now. NULL for a malformed ask. */
struct frame *upkeep_crl_answer(struct upkeep_crl *crl, struct frame *ask);
