#pragma once
/*
 * What a delivery's protection was decided on, and what came of it, as JSON in the evidence of each attempt; and back, so that another decision can be
 * made of the same facts later (`postern policy dry-run`).
 */

#include <stdbool.h>

#include <jansson.h>

#include "policy/tls_decide.h"

/* {level, level_from, implicit, credentials, lists: {never, required, temporary, retry_without_tls}, dane: {setting, insecure_mx, finding}, sts: {mode,
 * listed}, requiretls, mx_secure}. The caller's, as all of these. */
json_t *tls_record_facts(const struct tls_facts *facts);

/* {tls, level, checks, recorded, proofs, hold, conflict, bounce, may_list, decided_by, reason, against, demands: [{source, want, checks, recorded, hold,
 * dropped, reason}]}: sets as arrays of words. */
json_t *tls_record_policy(const struct tls_decision *decision);

/* {outcome, made, passed}: sets of enum tls_check. Not of a connection that never came to STARTTLS, or where it was switched off: that is null. */
json_t *tls_record_connection(enum tls_outcome outcome, unsigned made, unsigned passed);

/* `handshake-failed`. Static. */
const char *tls_record_outcome_word(enum tls_outcome outcome);

/* What an attempt left behind. */
struct tls_record {
	struct tls_facts facts;
	bool connected; /* the rest counts */
	enum tls_outcome outcome;
	unsigned made, passed; /* sets of enum tls_check: looked at; and held */
};

/* Read `facts` and `connection` of the evidence of an attempt. False when they are not there or not as they are written: nothing is guessed. */
bool tls_record_read(json_t *evidence, struct tls_record *ret_record);
