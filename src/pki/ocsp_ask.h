#pragma once
/* Asking role `upkeep`, which alone talks to responders, for the status of a certificate. Whoever asks judges the answer itself: that role hears
 * strangers, and is not believed. */

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/text.h"
#include "pki/ocsp.h"

struct frame;
struct peer;
struct stack_st_X509;

/* What is known of the first certificate of `chain`, which `issuer` issued in a verified path: before that nobody is asked (7.43). Waits until `deadline` (clock_mono_ms())
 * or until stop_fd is readable: then it is OCSP_NO_ANSWER. A NULL peer, too. */
void ocsp_ask(struct peer *upkeep, const struct stack_st_X509 *chain, X509 *issuer, int stop_fd,
	int64_t deadline, struct ocsp_answer *ret_answer);

/* The same, not from what is kept (but a minute), with the response (owned by `owner`; empty unless it is OCSP_GOOD, OCSP_REVOKED or OCSP_UNKNOWN). */
void ocsp_ask_anew(struct peer *upkeep, const struct stack_st_X509 *chain, X509 *issuer, int stop_fd,
	int64_t deadline, const void *owner, struct text *ret_response, struct ocsp_answer *ret_answer);

/* What is asked about. */
struct ocsp_subject {
	X509 *certificate, *issuer;
	bool anew;
	struct digest key; /* of both */
};

/* The serving side: owned by `owner`; NULL when the ask is malformed. */
struct ocsp_subject *ocsp_ask_read(const void *owner, struct frame *ask);

/* The answer, owned by `owner`: a response, or (empty) why there is none. */
struct frame *ocsp_ask_answer(const void *owner, struct text response, const char *why);
