#include "policy/revocation.h"

static const struct revocation_decision off = { false, false, false, "revocation is not checked" };

/* [finding][strict] */
static const struct revocation_decision decisions[REVOCATION_FINDING_COUNT][2] = {
	[REVOCATION_LISTED] = { { true, true, true, "the certificate is revoked" },
		{ true, true, true, "the certificate is revoked" } },
	[REVOCATION_CLEAN] = { { false, true, false, "the certificate is not revoked" },
		{ false, true, false, "the certificate is not revoked" } },
	[REVOCATION_STALE] = { { false, false, true, "the list of revoked certificates is out of date" },
		{ true, false, true,
			"the list of revoked certificates is out of date, and strict checking is on" } },
	[REVOCATION_NO_LIST] = { { false, false, true, "there is no list of revoked certificates" },
		{ true, false, true,
			"there is no list of revoked certificates, and strict checking is on" } },
	[REVOCATION_NOT_NEEDED] = { { false, true, false, "the issuer never revokes the certificate" },
		{ false, true, false, "the issuer never revokes the certificate" } },
};

struct revocation_decision revocation_decide(enum revocation_finding finding, enum revocation_mode mode)
{
	return mode == REVOCATION_OFF ? off : decisions[finding][mode == REVOCATION_STRICT];
}
