/* The catalogue's tables of outbound TLS, row by row, with the cells that docs/decisions.md changes: B59, B81 and the one below it, C13. */
#include "policy/tls_decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

/* What becomes of a mail to one host. */
enum end {
	CLEAR,	    /* sent in clear, STARTTLS was possible */
	NEVER,	    /* sent in clear, STARTTLS is not sent whatever the peer offers */
	TLS,	    /* sent in TLS, nobody looked at the certificate for it */
	VERIFIED,   /* sent in TLS */
	TRUSTED,    /* the same, by DANE at a host that insecure MX records name */
	UNVERIFIED, /* sent in TLS, and the log says that it is not verified */
	FAILS,	    /* not sent over this connection, TLS was only preferred */
	LISTED,	  /* not sent over it, but in clear over the next, and all others for the rest of the hour */
	NOT,	  /* not sent over this connection, TLS is required */
	SKIP,	  /* the host is not dialled */
	DEFER,	  /* no host is dialled */
	CONFLICT, /* the demands exclude each other */
};

static enum end of_up(const struct tls_decision *decision, unsigned passed, const char *reason)
{
	const char *obtained = tls_decide_obtained(decision, passed);
	const bool watched = decision->recorded & ~decision->proofs & ~passed & TLS_CHECK_DANE;

	/* who watches DANE is told when it fails, whatever else is said */
	assert_true((strstr(reason, "DANE is only watched: ") != NULL) ==
		    (watched && !(decision->checks & ~passed)));
	if (watched && strcmp(obtained, "encrypted") == 0)
		return decision->proofs == 0 ? TLS : UNVERIFIED;

	if (strcmp(obtained, "verified") == 0) {
		assert_ptr_equal(strstr(reason, "the certificate was verified"), reason);
		return VERIFIED;
	}
	if (strcmp(obtained, "trusted") == 0)
		return TRUSTED;
	if (strcmp(reason, "the certificate is not checked at this level") == 0)
		return TLS;
	assert_string_equal(reason, "the certificate was not verified, which is not required");
	return UNVERIFIED;
}

/* What a mail meets whose STARTTLS is sent only when the decision says so. */
static enum end end_of(const struct tls_facts *facts, enum tls_outcome outcome, unsigned passed)
{
	const struct tls_decision decision = tls_decide(facts);
	const char *reason = NULL;
	const enum tls_step step = tls_decide_step(&decision, outcome, passed, &reason);

	assert_non_null(reason);
	if (decision.conflict || decision.hold != TLS_GO) {
		assert_int_equal(step, TLS_STEP_DROP);
		return decision.conflict ? CONFLICT : decision.hold == TLS_DEFER ? DEFER : SKIP;
	}
	if (decision.tls == TLS_NEVER) {
		/* TLS that is up although nobody asked for it is not used */
		assert_int_equal(
			step, outcome < TLS_OUTCOME_HANDSHAKE_FAILED ? TLS_STEP_CLEAR : TLS_STEP_DROP);
		return NEVER;
	}
	switch (step) {
	case TLS_STEP_CLEAR:
		return CLEAR;
	case TLS_STEP_SEND:
		assert_int_equal(outcome, TLS_OUTCOME_UP);
		return of_up(&decision, passed, reason);
	case TLS_STEP_DROP:
		break;
	}
	if (outcome == TLS_OUTCOME_HANDSHAKE_FAILED && decision.may_list) {
		struct tls_facts again = *facts;

		again.temporary_listed = true;
		assert_int_equal(tls_decide(&again).tls, TLS_NEVER);
		return LISTED;
	}
	return decision.tls == TLS_MUST ? NOT : FAILS;
}

/* The rows that differ in why the certificate was not accepted are one to the policy; the name says which. */
static const struct {
	const char *name;
	enum tls_outcome outcome;
	unsigned passed;
	enum end ends[TLS_LEVEL_COUNT];
} b59[] = {
	/*                                                            No     Preferred Required Pref-V    Req-V     Hosted */
	{ "EHLO refused", TLS_OUTCOME_NO_ESMTP, 0, { NEVER, CLEAR, NOT, CLEAR, NOT, NOT } },
	{ "STARTTLS not in EHLO", TLS_OUTCOME_NOT_OFFERED, 0, { NEVER, CLEAR, NOT, CLEAR, NOT, NOT } },
	{ "STARTTLS answered other than 220", TLS_OUTCOME_REFUSED, 0,
		{ NEVER, CLEAR, NOT, CLEAR, NOT, NOT } },
	{ "220, then handshake error", TLS_OUTCOME_HANDSHAKE_FAILED, 0,
		{ NEVER, FAILS, NOT, FAILS, NOT, NOT } },
	{ "TLS up, chain and name ok", TLS_OUTCOME_UP, TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED,
		{ NEVER, TLS, TLS, VERIFIED, VERIFIED, VERIFIED } },
	{ "TLS up, chain untrusted or expired", TLS_OUTCOME_UP, 0,
		{ NEVER, TLS, TLS, UNVERIFIED, NOT, NOT } },
	{ "TLS up, chain ok, name mismatch", TLS_OUTCOME_UP, 0, { NEVER, TLS, TLS, UNVERIFIED, NOT, NOT } },
	{ "TLS up, revoked", TLS_OUTCOME_UP, 0, { NEVER, TLS, TLS, UNVERIFIED, NOT, NOT } },
	{ "TLS up, FQDN validation fails", TLS_OUTCOME_UP, 0, { NEVER, TLS, TLS, UNVERIFIED, NOT, NOT } },
	{ "TLS up, signature algorithm validation fails", TLS_OUTCOME_UP, 0,
		{ NEVER, TLS, TLS, UNVERIFIED, NOT, NOT } },
	/* B45, B49, B50: the names of level 6 are not those of levels 4 and 5 (decision 12) */
	{ "TLS up, only a name of B50", TLS_OUTCOME_UP, TLS_CHECK_HOSTED,
		{ NEVER, TLS, TLS, UNVERIFIED, NOT, VERIFIED } },
	{ "TLS up, only the domain", TLS_OUTCOME_UP, TLS_CHECK_DOMAIN,
		{ NEVER, TLS, TLS, VERIFIED, VERIFIED, NOT } },
	{ "TLS up, only the host's name", TLS_OUTCOME_UP, TLS_CHECK_HOST,
		{ NEVER, TLS, TLS, UNVERIFIED, NOT, NOT } },
};

static void test_B59_B38_each_row_at_each_level(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(b59); i++)
		for (int level = 0; level < TLS_LEVEL_COUNT; level++)
			for (int from = 0; from < TLS_FROM_COUNT; from++) {
				const struct tls_facts facts = { .level = (enum tls_level)level,
					.level_from = (enum tls_level_from)from };
				const enum end end = end_of(&facts, b59[i].outcome, b59[i].passed);

				if (end != b59[i].ends[level])
					fail_msg("%s, %s: %d", b59[i].name,
						tls_demand_level_word((enum tls_level)level), (int)end);
			}
}

#define SECURE	 DANE_TRUST_SECURE
#define INSECURE DANE_TRUST_INSECURE
#define UNKNOWN	 DANE_TRUST_UNKNOWN

/* The columns opportunistic and mandatory; DANE `none` and `audit` do what is configured, as if no row were there. The destination prefers TLS, and
 * the peer offers none where no handshake is named: what is "ordinary TLS" goes in clear, and nothing else does. */
static const struct {
	const char *name;
	struct dane_facts facts;
	enum dane_finding found;
	enum tls_outcome outcome;
	unsigned passed;
	enum end configured, opportunistic, mandatory;
} b81[] = {
	{ "MX answer insecure", { INSECURE, SECURE, DANE_LOOKUP_ABSENT, false }, DANE_INSECURE_MX,
		TLS_OUTCOME_NOT_OFFERED, 0, CLEAR, CLEAR, DEFER },
	/* decision 1: what can be proved is proved */
	{ "MX answer insecure, TLSA matches", { INSECURE, SECURE, DANE_LOOKUP_FOUND, true },
		DANE_USABLE_INSECURE_MX, TLS_OUTCOME_UP, TLS_CHECK_DANE, TLS, TRUSTED, DEFER },
	{ "MX answer insecure, TLSA does not match", { INSECURE, SECURE, DANE_LOOKUP_FOUND, true },
		DANE_USABLE_INSECURE_MX, TLS_OUTCOME_UP, 0, TLS, NOT, DEFER },
	{ "MX answer insecure, no STARTTLS", { INSECURE, SECURE, DANE_LOOKUP_FOUND, true },
		DANE_USABLE_INSECURE_MX, TLS_OUTCOME_NOT_OFFERED, 0, CLEAR, NOT, DEFER },
	{ "MX answer insecure, no record usable", { INSECURE, SECURE, DANE_LOOKUP_FOUND, false },
		DANE_UNUSABLE_INSECURE_MX, TLS_OUTCOME_NOT_OFFERED, 0, CLEAR, NOT, DEFER },
	{ "MX answer insecure, TLSA lookup failed", { INSECURE, SECURE, DANE_LOOKUP_FAILED, false },
		DANE_UNKNOWN_INSECURE_MX, TLS_OUTCOME_UP, TLS_CHECK_DANE, TLS, SKIP, DEFER },
	{ "MX answer insecure, host unknown", { INSECURE, UNKNOWN, DANE_LOOKUP_NOT_ASKED, false },
		DANE_UNKNOWN_INSECURE_MX, TLS_OUTCOME_UP, TLS_CHECK_DANE, TLS, SKIP, DEFER },
	{ "MX lookup bogus or SERVFAIL", { UNKNOWN, SECURE, DANE_LOOKUP_NOT_ASKED, false }, DANE_MX_UNKNOWN,
		TLS_OUTCOME_UP, TLS_CHECK_DANE, TLS, DEFER, DEFER },
	{ "MX secure, A and AAAA insecure", { SECURE, INSECURE, DANE_LOOKUP_NOT_ASKED, false },
		DANE_INSECURE_HOST, TLS_OUTCOME_NOT_OFFERED, 0, CLEAR, CLEAR, SKIP },
	{ "MX secure, A and AAAA bogus", { SECURE, UNKNOWN, DANE_LOOKUP_NOT_ASKED, false }, DANE_HOST_UNKNOWN,
		TLS_OUTCOME_UP, TLS_CHECK_DANE, TLS, SKIP, SKIP },
	{ "TLSA proven absent", { SECURE, SECURE, DANE_LOOKUP_ABSENT, false }, DANE_ABSENT,
		TLS_OUTCOME_NOT_OFFERED, 0, CLEAR, CLEAR, SKIP },
	{ "TLSA answer insecure", { SECURE, SECURE, DANE_LOOKUP_INSECURE, false }, DANE_INSECURE_RECORDS,
		TLS_OUTCOME_NOT_OFFERED, 0, CLEAR, CLEAR, SKIP },
	{ "TLSA lookup failed", { SECURE, SECURE, DANE_LOOKUP_FAILED, false }, DANE_UNKNOWN, TLS_OUTCOME_UP,
		TLS_CHECK_DANE, TLS, SKIP, SKIP },
	{ "TLSA secure, none usable", { SECURE, SECURE, DANE_LOOKUP_FOUND, false }, DANE_UNUSABLE,
		TLS_OUTCOME_UP, 0, TLS, TLS, SKIP },
	{ "TLSA secure, none usable, no STARTTLS", { SECURE, SECURE, DANE_LOOKUP_FOUND, false },
		DANE_UNUSABLE, TLS_OUTCOME_NOT_OFFERED, 0, CLEAR, NOT, SKIP },
	{ "TLSA usable, STARTTLS not offered", { SECURE, SECURE, DANE_LOOKUP_FOUND, true }, DANE_USABLE,
		TLS_OUTCOME_NOT_OFFERED, 0, CLEAR, NOT, NOT },
	{ "TLSA usable, STARTTLS refused", { SECURE, SECURE, DANE_LOOKUP_FOUND, true }, DANE_USABLE,
		TLS_OUTCOME_REFUSED, 0, CLEAR, NOT, NOT },
	{ "TLSA usable, no ESMTP", { SECURE, SECURE, DANE_LOOKUP_FOUND, true }, DANE_USABLE,
		TLS_OUTCOME_NO_ESMTP, 0, CLEAR, NOT, NOT },
	{ "TLSA usable, handshake error", { SECURE, SECURE, DANE_LOOKUP_FOUND, true }, DANE_USABLE,
		TLS_OUTCOME_HANDSHAKE_FAILED, 0, FAILS, NOT, NOT },
	{ "TLSA usable, certificate matches", { SECURE, SECURE, DANE_LOOKUP_FOUND, true }, DANE_USABLE,
		TLS_OUTCOME_UP, TLS_CHECK_DANE, TLS, VERIFIED, VERIFIED },
	{ "TLSA usable, certificate does not match", { SECURE, SECURE, DANE_LOOKUP_FOUND, true }, DANE_USABLE,
		TLS_OUTCOME_UP, TLS_CHECK_ALL & ~TLS_CHECK_DANE, TLS, NOT, NOT },
};

static void test_B81_3_01_3_02_3_03_3_04_3_05_each_row_at_each_setting(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(b81); i++) {
		const enum end want[DANE_SETTING_COUNT] = { [DANE_SETTING_NONE] = b81[i].configured,
			[DANE_SETTING_OPPORTUNISTIC] = b81[i].opportunistic,
			[DANE_SETTING_MANDATORY] = b81[i].mandatory,
			[DANE_SETTING_AUDIT] = b81[i].configured };

		assert_int_equal(dane_find(&b81[i].facts), b81[i].found);
		for (int setting = 0; setting < DANE_SETTING_COUNT; setting++) {
			const struct tls_facts facts = { .level = TLS_LEVEL_PREFERRED,
				.dane = (enum dane_setting)setting,
				.dane_found = b81[i].found };
			const enum end end = end_of(&facts, b81[i].outcome, b81[i].passed);

			if (end != want[setting])
				fail_msg("%s, %s: %d", b81[i].name,
					tls_demand_dane_word((enum dane_setting)setting), (int)end);
			assert_false(tls_decide(&facts).bounce);
		}
	}
}

/* The last row: when no host will do, the mail waits (3.33); a host that fails does not fail for the next one (3.34). */
static void test_B81_3_33_what_fails_dane_is_deferred_at_every_host(void **state)
{
	size_t failed = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(b81); i++) {
		const struct tls_facts facts = { .level = TLS_LEVEL_REQUIRED,
			.dane = DANE_SETTING_MANDATORY,
			.dane_found = b81[i].found };
		const struct tls_decision decision = tls_decide(&facts);
		const enum end end = end_of(&facts, b81[i].outcome, b81[i].passed);

		assert_false(decision.bounce || decision.conflict);
		if (end == VERIFIED)
			continue;
		assert_true(end == NOT || end == SKIP || end == DEFER);
		failed++;
	}
	assert_int_equal(failed, COUNT(b81) - 1);
}

static void test_3_08_the_setting_for_insecure_mx_records(void **state)
{
	static const struct {
		enum dane_finding found;
		enum tls_outcome outcome;
		unsigned passed;
		enum end ends[DANE_INSECURE_MX_COUNT]; /* dane, encrypt, may */
	} rows[] = {
		{ DANE_USABLE_INSECURE_MX, TLS_OUTCOME_UP, TLS_CHECK_DANE, { TRUSTED, TLS, TLS } },
		{ DANE_USABLE_INSECURE_MX, TLS_OUTCOME_UP, 0, { NOT, TLS, TLS } },
		{ DANE_USABLE_INSECURE_MX, TLS_OUTCOME_REFUSED, 0, { NOT, NOT, CLEAR } },
		{ DANE_UNUSABLE_INSECURE_MX, TLS_OUTCOME_UP, 0, { TLS, TLS, TLS } },
		{ DANE_UNUSABLE_INSECURE_MX, TLS_OUTCOME_REFUSED, 0, { NOT, NOT, CLEAR } },
		{ DANE_UNKNOWN_INSECURE_MX, TLS_OUTCOME_UP, 0, { SKIP, SKIP, TLS } },
		{ DANE_INSECURE_MX, TLS_OUTCOME_REFUSED, 0, { CLEAR, CLEAR, CLEAR } },
		/* a secure MX record does not care */
		{ DANE_USABLE, TLS_OUTCOME_UP, TLS_CHECK_DANE, { VERIFIED, VERIFIED, VERIFIED } },
		{ DANE_USABLE, TLS_OUTCOME_UP, 0, { NOT, NOT, NOT } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int setting = 0; setting < DANE_INSECURE_MX_COUNT; setting++) {
			const struct tls_facts facts = { .level = TLS_LEVEL_PREFERRED,
				.dane = DANE_SETTING_OPPORTUNISTIC,
				.dane_insecure_mx = (enum dane_insecure_mx)setting,
				.dane_found = rows[i].found };
			const enum end end = end_of(&facts, rows[i].outcome, rows[i].passed);

			if (end != rows[i].ends[setting])
				fail_msg("row %zu, setting %d: %d", i, setting, (int)end);
		}
}

/* The table below B81; "configuration refused" is config's when one entry says both (B72), and otherwise what the join makes of it. */
static void test_B81_B72_each_level_with_each_setting(void **state)
{
	static const struct {
		unsigned passed;
		enum end ends[TLS_LEVEL_COUNT][3]; /* of usable records: none, opportunistic, mandatory */
	} rows[] = {
		{ TLS_CHECK_DANE | TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED,
			{ { NEVER, NEVER, CONFLICT }, { TLS, VERIFIED, VERIFIED },
				{ TLS, VERIFIED, VERIFIED }, { VERIFIED, VERIFIED, VERIFIED },
				{ VERIFIED, VERIFIED, VERIFIED }, { VERIFIED, VERIFIED, VERIFIED } } },
		/* the certificate is that of the records, but no authority vouches for it: an entry that wants both gets both */
		{ TLS_CHECK_DANE, { { NEVER, NEVER, CONFLICT }, { TLS, VERIFIED, VERIFIED },
					  { TLS, VERIFIED, VERIFIED }, { UNVERIFIED, VERIFIED, VERIFIED },
					  { NOT, NOT, NOT }, { NOT, NOT, NOT } } },
		{ TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED,
			{ { NEVER, NEVER, CONFLICT }, { TLS, NOT, NOT }, { TLS, NOT, NOT },
				{ VERIFIED, NOT, NOT }, { VERIFIED, NOT, NOT }, { VERIFIED, NOT, NOT } } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (int level = 0; level < TLS_LEVEL_COUNT; level++)
			for (int setting = 0; setting <= DANE_SETTING_MANDATORY; setting++) {
				const struct tls_facts facts = { .level = (enum tls_level)level,
					.level_from = TLS_FROM_DESTINATION,
					.dane = (enum dane_setting)setting,
					.dane_found = DANE_USABLE };
				const enum end end = end_of(&facts, TLS_OUTCOME_UP, rows[i].passed);

				if (end != rows[i].ends[level][setting])
					fail_msg("row %zu, %s, %s: %d", i,
						tls_demand_level_word((enum tls_level)level),
						tls_demand_dane_word((enum dane_setting)setting), (int)end);
			}
}

/* "Send with STARTTLS when possible" is the level of who has no entry (decision 10). */
enum list { ON_NONE, ON_ALLOW, ON_REQUIRED, ON_BOTH };
enum peer { NO_STARTTLS, HANDSHAKE_FAILS, TLS_OK };
static const struct {
	enum list list;
	bool possible;
	enum peer peer;
	bool retry;
	enum end end;
} c13[] = {
	/*  1 */ { ON_NONE, false, NO_STARTTLS, false, NEVER },
	/*  2 */ { ON_NONE, false, NO_STARTTLS, true, NEVER },
	/*  3 */ { ON_NONE, false, HANDSHAKE_FAILS, false, NEVER },
	/*  4 */ { ON_NONE, false, HANDSHAKE_FAILS, true, NEVER },
	/*  5 */ { ON_NONE, false, TLS_OK, false, NEVER },
	/*  6 */ { ON_NONE, false, TLS_OK, true, NEVER },
	/*  7 */ { ON_NONE, true, NO_STARTTLS, false, CLEAR },
	/*  8 */ { ON_NONE, true, NO_STARTTLS, true, CLEAR },
	/*  9 */ { ON_NONE, true, HANDSHAKE_FAILS, false, FAILS },
	/* 10 */ { ON_NONE, true, HANDSHAKE_FAILS, true, LISTED },
	/* 11 */ { ON_NONE, true, TLS_OK, false, TLS },
	/* 12 */ { ON_NONE, true, TLS_OK, true, TLS },
	/* 13 */ { ON_ALLOW, false, NO_STARTTLS, false, NEVER },
	/* 14 */ { ON_ALLOW, false, NO_STARTTLS, true, NEVER },
	/* 15 */ { ON_ALLOW, false, HANDSHAKE_FAILS, false, NEVER },
	/* 16 */ { ON_ALLOW, false, HANDSHAKE_FAILS, true, NEVER },
	/* 17 */ { ON_ALLOW, false, TLS_OK, false, NEVER },
	/* 18 */ { ON_ALLOW, false, TLS_OK, true, NEVER },
	/* 19 */ { ON_ALLOW, true, NO_STARTTLS, false, NEVER },
	/* 20 */ { ON_ALLOW, true, NO_STARTTLS, true, NEVER },
	/* 21 */ { ON_ALLOW, true, HANDSHAKE_FAILS, false, NEVER },
	/* 22 */ { ON_ALLOW, true, HANDSHAKE_FAILS, true, NEVER },
	/* 23 */ { ON_ALLOW, true, TLS_OK, false, NEVER },
	/* 24 */ { ON_ALLOW, true, TLS_OK, true, NEVER },
	/* what follows from C11 and C12 */
	/* 25 */ { ON_REQUIRED, false, NO_STARTTLS, false, NOT },
	/* 26 */ { ON_REQUIRED, false, NO_STARTTLS, true, NOT },
	/* 27 */ { ON_REQUIRED, false, HANDSHAKE_FAILS, false, NOT },
	/* 28 */ { ON_REQUIRED, false, HANDSHAKE_FAILS, true, NOT },
	/* 29 */ { ON_REQUIRED, false, TLS_OK, false, TLS },
	/* 30 */ { ON_REQUIRED, false, TLS_OK, true, TLS },
	/* 31 */ { ON_REQUIRED, true, NO_STARTTLS, false, NOT },
	/* 32 */ { ON_REQUIRED, true, NO_STARTTLS, true, NOT },
	/* 33 */ { ON_REQUIRED, true, HANDSHAKE_FAILS, false, NOT },
	/* 34 */ { ON_REQUIRED, true, HANDSHAKE_FAILS, true, NOT },
	/* 35 */ { ON_REQUIRED, true, TLS_OK, false, TLS },
	/* 36 */ { ON_REQUIRED, true, TLS_OK, true, TLS },
	/* 37 */ { ON_BOTH, false, NO_STARTTLS, false, NOT },
	/* 38 */ { ON_BOTH, false, NO_STARTTLS, true, NOT },
	/* 39 */ { ON_BOTH, false, HANDSHAKE_FAILS, false, NOT },
	/* 40 */ { ON_BOTH, false, HANDSHAKE_FAILS, true, NOT },
	/* 41 */ { ON_BOTH, false, TLS_OK, false, TLS },
	/* 42 */ { ON_BOTH, false, TLS_OK, true, TLS },
	/* 43 */ { ON_BOTH, true, NO_STARTTLS, false, NOT },
	/* 44 */ { ON_BOTH, true, NO_STARTTLS, true, NOT },
	/* 45 */ { ON_BOTH, true, HANDSHAKE_FAILS, false, NOT },
	/* 46 */ { ON_BOTH, true, HANDSHAKE_FAILS, true, NOT },
	/* 47 */ { ON_BOTH, true, TLS_OK, false, TLS },
	/* 48 */ { ON_BOTH, true, TLS_OK, true, TLS },
};

static void test_C13_C5_C12_each_row(void **state)
{
	static const enum tls_outcome outcomes[] = { [NO_STARTTLS] = TLS_OUTCOME_NOT_OFFERED,
		[HANDSHAKE_FAILS] = TLS_OUTCOME_HANDSHAKE_FAILED,
		[TLS_OK] = TLS_OUTCOME_UP };

	(void)state;
	assert_int_equal(COUNT(c13), 48);
	for (size_t i = 0; i < COUNT(c13); i++)
		for (int listed = 0; listed < 2; listed++) {
			const struct tls_facts facts = { .level = c13[i].possible ? TLS_LEVEL_PREFERRED
										  : TLS_LEVEL_NONE,
				.allow_listed = c13[i].list == ON_ALLOW || c13[i].list == ON_BOTH,
				.required_listed = c13[i].list == ON_REQUIRED || c13[i].list == ON_BOTH,
				.temporary_listed = listed != 0,
				.retry_without_tls = c13[i].retry };
			const enum end end = end_of(&facts, outcomes[c13[i].peer], 0);

			/* row 10 goes on: in clear, to whom TLS is not required */
			if (end != (listed && !facts.required_listed ? NEVER : c13[i].end))
				fail_msg("row %zu, %d: %d", i + 1, listed, (int)end);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_B59_B38_each_row_at_each_level),
		cmocka_unit_test(test_B81_3_01_3_02_3_03_3_04_3_05_each_row_at_each_setting),
		cmocka_unit_test(test_B81_3_33_what_fails_dane_is_deferred_at_every_host),
		cmocka_unit_test(test_3_08_the_setting_for_insecure_mx_records),
		cmocka_unit_test(test_B81_B72_each_level_with_each_setting),
		cmocka_unit_test(test_C13_C5_C12_each_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
