#pragma once
/* Asking the responders that a certificate names, one after another. Only role `upkeep` does. */

#include <stdint.h>

#include "pki/ocsp.h"

struct fetch_means;

struct ocsp_fetched {
	struct text response; /* empty with OCSP_NO_RESPONDER, and with OCSP_NO_ANSWER */
	struct ocsp_answer answer;
	const char *url; /* who said it, or who was asked first; empty with OCSP_NO_RESPONDER */
};

/* Ask until one says good or revoked; else the best that was said. Before `deadline` (clock_mono_ms()); all owned by `owner`. */
void ocsp_fetch(const struct fetch_means *means, const struct ocsp_question *question, int64_t deadline,
	const void *owner, struct ocsp_fetched *ret_fetched);
