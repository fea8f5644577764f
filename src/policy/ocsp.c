/* An authority without a responder is usual, so nobody hears of it unless that was demanded. */
#include "policy/ocsp.h"

static const struct ocsp_decision off = { false, false, false, "OCSP is not asked" };

/* [finding][strict] */
static const struct ocsp_decision decisions[OCSP_FINDING_COUNT][2] = {
	[OCSP_REVOKED] = { { true, true, true, "OCSP says that the certificate is revoked" },
		{ true, true, true, "OCSP says that the certificate is revoked" } },
	[OCSP_UNKNOWN] = { { false, false, true, "OCSP does not know the certificate" },
		{ true, false, true, "OCSP does not know the certificate, and strict checking is on" } },
	[OCSP_NO_ANSWER] = { { false, false, true, "there is no OCSP answer about the certificate" },
		{ true, false, true,
			"there is no OCSP answer about the certificate, and strict checking is on" } },
	[OCSP_NO_RESPONDER] = { { false, false, false, "the certificate names no OCSP responder" },
		{ true, false, true, "the certificate names no OCSP responder, and strict checking is on" } },
	[OCSP_GOOD] = { { false, true, false, "OCSP says that the certificate is good" },
		{ false, true, false, "OCSP says that the certificate is good" } },
	[OCSP_NOT_NEEDED] = { { false, true, false, "the issuer never revokes the certificate" },
		{ false, true, false, "the issuer never revokes the certificate" } },
};

struct ocsp_decision ocsp_decide(enum ocsp_finding finding, enum ocsp_mode mode)
{
	return mode == OCSP_OFF ? off : decisions[finding][mode == OCSP_STRICT];
}

const char *ocsp_word(enum ocsp_finding finding)
{
	static const char *const words[OCSP_FINDING_COUNT] = { [OCSP_REVOKED] = "revoked",
		[OCSP_UNKNOWN] = "unknown",
		[OCSP_NO_ANSWER] = "no-answer",
		[OCSP_NO_RESPONDER] = "no-responder",
		[OCSP_GOOD] = "good",
		[OCSP_NOT_NEEDED] = "not-needed" };

	return words[finding];
}
