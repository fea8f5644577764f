/* Delivery TLS as tables: levels 1 to 3 of B36-B42 and the rows of B59. */
#include "policy/tls_decide.h"

#include "base/base.h"

static const struct tls_decision by_level[][TLS_SOURCE_DESTINATION + 1] = {
	[TLS_LEVEL_NONE] = { [TLS_SOURCE_NOBODY] = { TLS_NEVER, "none", "TLS is switched off by default" },
		[TLS_SOURCE_DEFAULT] = { TLS_NEVER, "none", "TLS is switched off by destination `default`" },
		[TLS_SOURCE_DESTINATION] = { TLS_NEVER, "none",
			"TLS is switched off for this destination" } },
	[TLS_LEVEL_PREFERRED] = { [TLS_SOURCE_NOBODY] = { TLS_MAY, "preferred",
					  "TLS is preferred by default" },
		[TLS_SOURCE_DEFAULT] = { TLS_MAY, "preferred", "TLS is preferred by destination `default`" },
		[TLS_SOURCE_DESTINATION] = { TLS_MAY, "preferred",
			"TLS is preferred for this destination" } },
	[TLS_LEVEL_REQUIRED] = { [TLS_SOURCE_NOBODY] = { TLS_MUST, "required", "TLS is required by default" },
		[TLS_SOURCE_DEFAULT] = { TLS_MUST, "required", "TLS is required by destination `default`" },
		[TLS_SOURCE_DESTINATION] = { TLS_MUST, "required", "TLS is required for this destination" } },
};

/* What the route adds; [credentials][TLS is switched off]. */
static const struct tls_decision by_route[][2] = {
	{ { .tls = TLS_MUST, .level = "required", .reason = "the route uses TLS from the first byte" },
		{ .tls = TLS_MUST,
			.conflict = true,
			.level = "required",
			.reason = "the route uses TLS from the first byte, and TLS is switched off" } },
	{ { .tls = TLS_MUST,
		  .verify = true,
		  .level = "required-verify",
		  .reason = "credentials are sent only to a verified server" },
		{ .tls = TLS_MUST,
			.verify = true,
			.conflict = true,
			.level = "required-verify",
			.reason =
				"credentials are sent only to a verified server, and TLS is switched off" } },
};

struct tls_decision tls_decide(const struct tls_facts *facts)
{
	if (facts->implicit || facts->credentials)
		return by_route[facts->credentials][facts->level == TLS_LEVEL_NONE];
	return by_level[facts->level][facts->level_from];
}

/* After the 220 there is no way back to clear (decision 2 of the architecture; RFC 3207 section 4.1). A level that never sends
 * STARTTLS cannot meet the last two outcomes; if it does, nothing is sent. */
static const struct {
	enum tls_step never, may, must;
	const char *reason;
} steps[] = {
	/*                               never            may              must */
	[TLS_OUTCOME_NO_ESMTP] = { TLS_STEP_CLEAR, TLS_STEP_CLEAR, TLS_STEP_DROP,
		"the peer does not speak ESMTP" },
	[TLS_OUTCOME_NOT_OFFERED] = { TLS_STEP_CLEAR, TLS_STEP_CLEAR, TLS_STEP_DROP,
		"the peer does not offer STARTTLS" },
	[TLS_OUTCOME_REFUSED] = { TLS_STEP_CLEAR, TLS_STEP_CLEAR, TLS_STEP_DROP,
		"the peer refused STARTTLS" },
	[TLS_OUTCOME_HANDSHAKE_FAILED] = { TLS_STEP_DROP, TLS_STEP_DROP, TLS_STEP_DROP,
		"the TLS handshake failed" },
	[TLS_OUTCOME_NOT_VERIFIED] = { TLS_STEP_DROP, TLS_STEP_DROP, TLS_STEP_DROP,
		"the certificate was not accepted" },
	[TLS_OUTCOME_UP] = { TLS_STEP_DROP, TLS_STEP_SEND, TLS_STEP_SEND,
		"the certificate is not checked at this level" },
	[TLS_OUTCOME_VERIFIED] = { TLS_STEP_DROP, TLS_STEP_SEND, TLS_STEP_SEND,
		"the certificate was verified" },
};

enum tls_step tls_decide_step(
	const struct tls_decision *decision, enum tls_outcome outcome, const char **ret_reason)
{
	*ret_reason = steps[outcome].reason;
	if (decision->verify && outcome != TLS_OUTCOME_VERIFIED)
		return TLS_STEP_DROP;
	switch (decision->tls) {
	case TLS_NEVER:
		return steps[outcome].never;
	case TLS_MAY:
		return steps[outcome].may;
	case TLS_MUST:
		return steps[outcome].must;
	}
	return TLS_STEP_DROP;
}

const char *tls_decide_word(enum tls_outcome outcome)
{
	switch (outcome) {
	case TLS_OUTCOME_NO_ESMTP:
	case TLS_OUTCOME_NOT_OFFERED:
	case TLS_OUTCOME_REFUSED:
		return "starttls-not-supported";
	case TLS_OUTCOME_HANDSHAKE_FAILED:
		return "validation-failure";
	case TLS_OUTCOME_NOT_VERIFIED:
	case TLS_OUTCOME_UP:
	case TLS_OUTCOME_VERIFIED:
		break;
	}
	return NULL;
}
