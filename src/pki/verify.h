#pragma once
/* May this peer be believed? The one function that says so, for whatever side and protocol. It looks nothing up and calls nobody: facts in, verdict
 * out. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "policy/ocsp.h"
#include "policy/revocation.h"

struct crl_set;
struct ocsp_answer;
struct trust;
struct stack_st_X509;
typedef struct x509_st X509;

enum verify_purpose { VERIFY_SERVER, VERIFY_CLIENT };

/* In the words of TLSRPT (RFC 8460 section 4.3). */
enum verify_result {
	VERIFY_FINE,
	VERIFY_HOST_MISMATCH,
	VERIFY_EXPIRED,
	VERIFY_NOT_TRUSTED, /* whatever else is wrong with the certificates */
	VERIFY_FAILURE	    /* it could not be found out */
};

/* What can be looked at; a set. */
enum {
	VERIFY_CHAIN =
		1
		<< 0, /* signatures up to an authority we trust, CA rights, constraints, critical extensions */
	VERIFY_DATES = 1 << 1,	    /* of each certificate */
	VERIFY_USE = 1 << 2,	    /* as server or client */
	VERIFY_STRENGTH = 1 << 3,   /* keys and signature algorithms */
	VERIFY_NAMES = 1 << 4,	    /* that it is for one of the names */
	VERIFY_FQDN = 1 << 5,	    /* that its names are fully qualified */
	VERIFY_REVOCATION = 1 << 6, /* of each certificate below the authority */
	VERIFY_OCSP = 1 << 7,	    /* of the peer's certificate, by an OCSP responder */
	VERIFY_DANE = 1 << 8,	    /* by a TLSA record of its host (pki/dane) */
	VERIFY_CHECK_COUNT = 9
};

/* Whose certificate it has to be: one of all these will do. Names are in ASCII (A-labels); nothing = it may be anybody's. */
struct verify_reference {
	const char *const *hosts; /* one of its dNSNames, a wildcard too, stands for one of these ... */
	size_t host_count;
	const char *const
		*commons; /* ... or its common name for one of these, where cn_fallback allows it ... */
	size_t common_count;
	bool common_exact; /* (then without a wildcard) */
	struct ip address; /* ... or it is for this address; family 0 = none */
};

struct verify_facts {
	const struct stack_st_X509 *chain; /* as the peer showed it, its own certificate first; NULL = none */
	const struct trust *trust;	   /* NULL = nobody */
	enum verify_purpose purpose;
	const char *const *hosts; /* for verify_peer(): dNSName or common name, ... */
	size_t host_count;
	struct ip address;	    /* ... or address; as in struct verify_reference */
	int64_t now_ms;		    /* clock_wall_ms() */
	const struct crl_set *crls; /* NULL = none */
	enum revocation_mode revocation;
	enum ocsp_mode ocsp; /* what it says is added by verify_add_ocsp() */
	bool cn_fallback; /* without any dNSName, and without a constrained authority, the common name counts */
	bool fqdn;	  /* its names must be fully qualified */
	bool weak; /* security level 1 instead of 2: for what is only recorded, never for what is demanded */
};

enum { VERIFY_REASON_MAX = 400, VERIFY_NAME_MAX = 256, VERIFY_RECORD_MAX = 160 };

struct verify_verdict {
	enum verify_result result;
	unsigned checked;   /* what was looked at and found in order, of VERIFY_CHAIN, ... */
	unsigned unchecked; /* what was to be looked at, and was not, or not to the end */
	char reason
		[VERIFY_REASON_MAX]; /* why not, which certificate, and whose; printable; empty when it is fine and all was looked at */
	char matched[VERIFY_NAME_MAX]; /* the name or address that it is for; empty when none was asked for */
	char issuer_without_list
		[VERIFY_NAME_MAX]; /* the first issuer in the path whose list is missing or out of date, where that counts; else empty */
	char record
		[VERIFY_RECORD_MAX]; /* the TLSA record that matches (pki/dane), as zone files have it, long ones cut; else empty */
	unsigned depth;			 /* of the certificate that it matches; 0 = the peer's own */
	char authority[VERIFY_NAME_MAX]; /* the subject of who vouches for it; empty when nobody does */
};

void verify_peer(const struct verify_facts *facts, struct verify_verdict *ret_verdict);

/* The same, and who issued the peer's certificate, as far as it was verified: the caller's (verify_issuer_free()), NULL when the certificate is not fine or an
 * authority itself. */
void verify_peer_of(const struct verify_facts *facts, struct verify_verdict *ret_verdict, X509 **ret_issuer);
void verify_issuer_free(X509 *issuer);

/* A chain that was verified once, for several questions whose it is. */
struct verified;

/* Verify the chain of `facts`, which outlive it; owned by `owner`. */
struct verified *verify_open(const void *owner, const struct verify_facts *facts);

/* The verdict of the chain, and whether it is for one of `reference`; NULL = whoever it is for. */
void verify_for(const struct verified *verified, const struct verify_reference *reference,
	struct verify_verdict *ret_verdict);

/* Who issued the peer's certificate; NULL when the chain is not verified or the certificate is an authority itself. Belongs to `verified`. */
X509 *verify_issuer(const struct verified *verified);

/* Does the common name count here (decision 3)? Not without cn_fallback, beside a dNSName, or below a constrained authority. */
bool verify_common_name_counts(const struct verified *verified);

/* What came of asking about a certificate that is fine so far (pki/ocsp_ask); NULL = it is an authority itself, and nobody was asked. */
void verify_add_ocsp(
	const struct verify_facts *facts, const struct ocsp_answer *answer, struct verify_verdict *verdict);

/* `certificate-expired`, as TLSRPT calls it, or `verified`. Static. */
const char *verify_result_word(enum verify_result result);

/* One bit of VERIFY_CHAIN, ... in a word: `chain`. Static. */
const char *verify_check_word(unsigned check);
