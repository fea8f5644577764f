#pragma once
/* What role `upkeep` does about OCSP. */

struct frame;
struct upkeep;

/* Say what a responder says about a certificate: what is kept, or what is fetched now. The answer frame owned by `ask`; NULL for a malformed one. */
struct frame *upkeep_ocsp_answer(struct upkeep *upkeep, struct frame *ask);
