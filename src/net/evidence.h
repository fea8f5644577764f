#pragma once
/* What a connection's TLS was: wanted, obtained, and how. One per leg of every mail; tracking shows it. */

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"

enum { EVIDENCE_NAMES_MAX = 16, EVIDENCE_WORD_MAX = 64, EVIDENCE_NAME_MAX = 256, EVIDENCE_REASON_MAX = 200 };

/* What came of verifying the peer's certificate; pki/verify.h says what the words mean. */
struct evidence_verification {
	char result[EVIDENCE_WORD_MAX]; /* in TLSRPT's words, or `verified`; empty when it was not verified */
	char reason[2 * EVIDENCE_REASON_MAX]; /* why not, or what was not looked at; may be empty */
	char matched[EVIDENCE_NAME_MAX];      /* the name or address that it is for */
	char authority[EVIDENCE_NAME_MAX];    /* who vouches for it */
	char checked[2 * EVIDENCE_WORD_MAX], unchecked[2 * EVIDENCE_WORD_MAX]; /* words, divided by spaces */
};

struct evidence {
	const char *desired;		  /* static word: none, preferred, required, required-verify */
	const char *obtained;		  /* static word: none, encrypted, verified */
	char protocol[EVIDENCE_WORD_MAX]; /* "TLSv1.3"; empty in clear */
	char cipher[EVIDENCE_WORD_MAX];
	char group[EVIDENCE_WORD_MAX];	  /* key exchange group; empty when unknown */
	char peer_sha256[DIGEST_HEX_MAX]; /* of the peer's certificate; empty when it showed none */
	char reason[EVIDENCE_REASON_MAX]; /* why the leg was protected the way it was */
	bool resumed; /* by a session of an earlier handshake, whose certificate this is */
	struct evidence_verification verification;
	size_t name_count;
	char names[EVIDENCE_NAMES_MAX][EVIDENCE_NAME_MAX]; /* dNSNames of the peer's certificate */
};

/* The evidence as one JSON object: {desired, obtained, protocol, cipher, group, resumed, peer: {sha256, names}, verification: {result, reason,
 * matched, authority, checked, unchecked}, reason}; unknown parts are null. Owned by `owner`. */
char *evidence_json(const void *owner, const struct evidence *evidence);

/* Set the reason (cut to its room). */
void evidence_explain(struct evidence *evidence, const char *reason);
