#include "policy/dane.h"

/* [what came of the records] when the host is secure; FOUND apart */
static const struct {
	enum dane_finding secure_mx, insecure_mx;
} by_lookup[DANE_LOOKUP_COUNT] = {
	[DANE_LOOKUP_NOT_ASKED] = { DANE_NOT_LOOKED, DANE_INSECURE_MX },
	[DANE_LOOKUP_FAILED] = { DANE_UNKNOWN, DANE_UNKNOWN_INSECURE_MX },
	[DANE_LOOKUP_ABSENT] = { DANE_ABSENT, DANE_INSECURE_MX },
	[DANE_LOOKUP_INSECURE] = { DANE_INSECURE_RECORDS, DANE_INSECURE_MX },
	[DANE_LOOKUP_FOUND] = { DANE_UNUSABLE, DANE_UNUSABLE_INSECURE_MX },
};

enum dane_finding dane_find(const struct dane_facts *facts)
{
	const bool secure = facts->mx == DANE_TRUST_SECURE;

	if (facts->mx == DANE_TRUST_UNKNOWN)
		return DANE_MX_UNKNOWN;
	if (facts->host == DANE_TRUST_UNKNOWN)
		return secure ? DANE_HOST_UNKNOWN : DANE_UNKNOWN_INSECURE_MX;
	if (facts->host == DANE_TRUST_INSECURE)
		return secure ? DANE_INSECURE_HOST : DANE_INSECURE_MX;
	if (facts->tlsa == DANE_LOOKUP_FOUND && facts->usable)
		return secure ? DANE_USABLE : DANE_USABLE_INSECURE_MX;
	return secure ? by_lookup[facts->tlsa].secure_mx : by_lookup[facts->tlsa].insecure_mx;
}

static const struct {
	const char *word, *sentence;
	enum dane_result result; /* of usable ones when they match */
} findings[DANE_FINDING_COUNT] = {
	[DANE_NOT_LOOKED] = { "not-looked", "TLSA records were not looked up", DANE_RESULT_NOT_APPLICABLE },
	[DANE_INSECURE_MX] = { "insecure-mx", "the MX records are not signed", DANE_RESULT_INSECURE },
	[DANE_INSECURE_HOST] = { "insecure-host", "the host's address is not signed", DANE_RESULT_INSECURE },
	[DANE_ABSENT] = { "absent", "the host has no TLSA records", DANE_RESULT_NOT_APPLICABLE },
	[DANE_INSECURE_RECORDS] = { "insecure-records", "the host's TLSA records are not signed",
		DANE_RESULT_INSECURE },
	[DANE_UNUSABLE] = { "unusable", "the host has TLSA records, and none can be used",
		DANE_RESULT_UNUSABLE },
	[DANE_USABLE] = { "usable", "the host has TLSA records", DANE_RESULT_OK },
	[DANE_USABLE_INSECURE_MX] = { "usable-insecure-mx",
		"the host has TLSA records, and the MX records that name it are not signed", DANE_RESULT_OK },
	[DANE_UNUSABLE_INSECURE_MX] = { "unusable-insecure-mx",
		"the host has TLSA records, none can be used, and the MX records that name it are not signed",
		DANE_RESULT_UNUSABLE },
	[DANE_UNKNOWN_INSECURE_MX] = { "unknown-insecure-mx",
		"the host's TLSA records could not be looked up, and the MX records that name it are not signed",
		DANE_RESULT_TEMPFAIL },
	[DANE_MX_UNKNOWN] = { "mx-unknown", "the MX records could not be looked up", DANE_RESULT_TEMPFAIL },
	[DANE_HOST_UNKNOWN] = { "host-unknown", "whether the host's address is signed could not be looked up",
		DANE_RESULT_TEMPFAIL },
	[DANE_UNKNOWN] = { "unknown", "the host's TLSA records could not be looked up",
		DANE_RESULT_TEMPFAIL },
};

const char *dane_word(enum dane_finding finding)
{
	return findings[finding].word;
}

const char *dane_explain(enum dane_finding finding)
{
	return findings[finding].sentence;
}

enum dane_result dane_result(enum dane_finding finding, bool passed)
{
	const enum dane_result result = findings[finding].result;

	return result == DANE_RESULT_OK && !passed ? DANE_RESULT_FAILED : result;
}

const char *dane_result_word(enum dane_result result)
{
	static const char *const words[DANE_RESULT_COUNT] = { [DANE_RESULT_OK] = "ok",
		[DANE_RESULT_UNUSABLE] = "unusable",
		[DANE_RESULT_NOT_APPLICABLE] = "not_applicable",
		[DANE_RESULT_INSECURE] = "insecure",
		[DANE_RESULT_TEMPFAIL] = "tempfail",
		[DANE_RESULT_FAILED] = "failed" };

	return words[result];
}
