#pragma once
/* What a connection's TLS was: wanted, obtained, and how. One per leg of every mail; tracking shows it. */

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/digest.h"

enum {
	EVIDENCE_NAMES_MAX = 16,
	EVIDENCE_WORD_MAX = 64,
	EVIDENCE_NAME_MAX = 256,
	EVIDENCE_REASON_MAX = 200,
	EVIDENCE_CHECKS_MAX = 4
};

/* What came of verifying the peer's certificate; pki/verify.h says what the words mean. */
struct evidence_verification {
	const char *check; /* static word: what was looked for, where that may differ; else NULL */
	char result[EVIDENCE_WORD_MAX]; /* in TLSRPT's words, or `verified`; empty when it was not verified */
	char reason[2 * EVIDENCE_REASON_MAX]; /* why not, or what was not looked at; may be empty */
	char matched[EVIDENCE_NAME_MAX];      /* the name or address that it is for */
	char authority[EVIDENCE_NAME_MAX];    /* who vouches for it */
	char checked[2 * EVIDENCE_WORD_MAX], unchecked[2 * EVIDENCE_WORD_MAX]; /* words, divided by spaces */
};

/* One of several looks at the same certificate, in short. */
struct evidence_check {
	const char *check; /* static word */
	char result[EVIDENCE_WORD_MAX];
	char reason[2 * EVIDENCE_REASON_MAX];
	char matched[EVIDENCE_NAME_MAX]; /* a name, or a TLSA record */
};

struct evidence {
	const char *desired;		  /* static word: none, preferred, required, ... */
	const char *obtained;		  /* static word: none, encrypted, trusted, verified */
	char protocol[EVIDENCE_WORD_MAX]; /* "TLSv1.3"; empty in clear */
	char cipher[EVIDENCE_WORD_MAX];
	char group[EVIDENCE_WORD_MAX];	  /* key exchange group; empty when unknown */
	char peer_sha256[DIGEST_HEX_MAX]; /* of the peer's certificate; empty when it showed none */
	char reason[EVIDENCE_REASON_MAX]; /* why the leg was protected the way it was */
	bool resumed; /* by a session of an earlier handshake, whose certificate this is */
	struct evidence_verification verification; /* the one that counted */
	size_t check_count;
	struct evidence_check checks[EVIDENCE_CHECKS_MAX]; /* all of them */
	size_t name_count;
	char names[EVIDENCE_NAMES_MAX][EVIDENCE_NAME_MAX]; /* dNSNames of the peer's certificate */
};

/* The evidence as one JSON object: {desired, obtained, protocol, cipher, group, resumed, peer: {sha256, names}, verification: {check, result, reason,
 * matched, authority, checked, unchecked}, reason}; unknown parts are null; and `checks`: {CHECK: {result, reason,
 * matched}} where there were any. Owned by `owner`. */
char *evidence_json(const void *owner, const struct evidence *evidence);

/* The same for who has something to add. */
json_t *evidence_object(const struct evidence *evidence);

/* Set the reason (cut to its room). */
void evidence_explain(struct evidence *evidence, const char *reason);
