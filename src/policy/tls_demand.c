/* One function for each source; those with more than a case are tables. Nothing here knows of another source, but that usable DANE stands in for the
 * check of the host's name by an authority (RFC 8461 section 2, RFC 8689 section 4.2.1). */
#include "policy/tls_demand.h"

#include <stddef.h>

/* DANE as the RFC means it: not with insecure MX records, not for the record only. */
static bool dane_stands_in(const struct tls_facts *facts)
{
	return facts->dane_found == DANE_USABLE &&
	       (facts->dane == DANE_SETTING_OPPORTUNISTIC || facts->dane == DANE_SETTING_MANDATORY);
}

static unsigned authenticate_host(const struct tls_facts *facts)
{
	return dane_stands_in(facts) ? TLS_CHECK_DANE : TLS_CHECK_HOST;
}

/* What may be wrong with the MX record is not known to be so only for now, hence a bounce; a lookup that failed is DANE's or the route's matter. */
struct tls_demand tls_demand_requiretls(const struct tls_facts *facts)
{
	struct tls_demand demand = { .source = TLS_SOURCE_REQUIRETLS };

	if (!facts->requiretls)
		return demand;
	demand.want = TLS_MUST;
	demand.weight = TLS_WEIGHT_FIRM;
	demand.checks = demand.proofs = authenticate_host(facts);
	demand.mx = TLS_MX_LISTED_OR_SECURE;
	demand.peer_requiretls = demand.bounce = true;
	demand.reason = "the sender asks for REQUIRETLS";
	if (facts->mx_secure || (facts->sts == STS_MODE_ENFORCE && facts->sts_listed))
		return demand;
	demand.hold = TLS_SKIP_HOST;
	demand.reason = "the sender asks for REQUIRETLS, and neither DNSSEC nor MTA-STS vouches for the host";
	return demand;
}

/* Table B81, with conformance 3.08: what opportunistic, mandatory and audited DANE make of each finding. */
static const struct {
	struct {
		enum tls_want want;
		enum tls_hold hold;
		bool check;
	} opportunistic;
	struct {
		enum tls_hold hold;
		const char *reason; /* of the hold */
	} mandatory;
	bool insecure_mx, audited;
	const char *reason;
} dane[DANE_FINDING_COUNT] = {
	[DANE_NOT_LOOKED] = { .mandatory = { TLS_SKIP_HOST,
				      "DANE is mandatory, and there is no name to look it up for" } },
	[DANE_INSECURE_MX] = { .mandatory = { TLS_DEFER,
				       "DANE is mandatory, and the MX records are not signed" } },
	[DANE_INSECURE_HOST] = { .mandatory = { TLS_SKIP_HOST,
					 "DANE is mandatory, and the host's address is not signed" } },
	[DANE_ABSENT] = { .mandatory = { TLS_SKIP_HOST,
				  "DANE is mandatory, and the host has no TLSA records" } },
	[DANE_INSECURE_RECORDS] = { .mandatory = { TLS_SKIP_HOST,
					    "DANE is mandatory, and the host's TLSA records are not signed" } },
	[DANE_UNUSABLE] = { .opportunistic = { TLS_MUST, TLS_GO, false },
		.mandatory = { TLS_SKIP_HOST,
			"DANE is mandatory, and none of the host's TLSA records can be used" },
		.reason = "the host has TLSA records, none of which can be used" },
	[DANE_USABLE] = { .opportunistic = { TLS_MUST, TLS_GO, true },
		.mandatory = { TLS_GO, "DANE is mandatory" },
		.audited = true,
		.reason = "the host has TLSA records" },
	[DANE_USABLE_INSECURE_MX] = { .opportunistic = { TLS_MUST, TLS_GO, true },
		.mandatory = { TLS_DEFER, "DANE is mandatory, and the MX records are not signed" },
		.insecure_mx = true,
		.audited = true,
		.reason = "the host has TLSA records, and the MX records are not signed" },
	[DANE_UNUSABLE_INSECURE_MX] = { .opportunistic = { TLS_MUST, TLS_GO, false },
		.mandatory = { TLS_DEFER, "DANE is mandatory, and the MX records are not signed" },
		.insecure_mx = true,
		.reason = "the host has TLSA records, none of which can be used" },
	[DANE_UNKNOWN_INSECURE_MX] = { .opportunistic = { TLS_MUST, TLS_SKIP_HOST, false },
		.mandatory = { TLS_DEFER, "DANE is mandatory, and the MX records are not signed" },
		.insecure_mx = true,
		.reason = "the host's TLSA records could not be looked up" },
	[DANE_MX_UNKNOWN] = { .opportunistic = { TLS_MUST, TLS_DEFER, false },
		.mandatory = { TLS_DEFER, "DANE is mandatory, and the MX records could not be looked up" },
		.reason = "the MX records could not be looked up" },
	[DANE_HOST_UNKNOWN] = { .opportunistic = { TLS_MUST, TLS_SKIP_HOST, false },
		.mandatory = { TLS_SKIP_HOST,
			"DANE is mandatory, and whether the host's address is signed could not be looked up" },
		.reason = "whether the host's address is signed could not be looked up" },
	[DANE_UNKNOWN] = { .opportunistic = { TLS_MUST, TLS_SKIP_HOST, false },
		.mandatory = { TLS_SKIP_HOST,
			"DANE is mandatory, and the host's TLSA records could not be looked up" },
		.reason = "the host's TLSA records could not be looked up" },
};

static struct tls_demand dane_mandatory(enum dane_finding found)
{
	return (struct tls_demand){ .source = TLS_SOURCE_DANE_MANDATORY,
		.want = TLS_MUST,
		.weight = TLS_WEIGHT_FIRM,
		.checks = TLS_CHECK_DANE,
		.proofs = TLS_CHECK_DANE,
		.hold = dane[found].mandatory.hold,
		.reason = dane[found].mandatory.reason };
}

static struct tls_demand dane_opportunistic(enum dane_finding found, enum dane_insecure_mx setting)
{
	const bool insecure_mx = dane[found].insecure_mx;
	const unsigned check = dane[found].opportunistic.check ? TLS_CHECK_DANE : 0;
	const bool only_encrypt = insecure_mx && setting == DANE_INSECURE_MX_ENCRYPT;
	struct tls_demand demand = { .source = TLS_SOURCE_DANE };

	if (dane[found].opportunistic.want == TLS_SILENT || (insecure_mx && setting == DANE_INSECURE_MX_MAY))
		return demand;
	demand.want = TLS_MUST;
	demand.weight = TLS_WEIGHT_OPPORTUNISTIC;
	demand.checks = only_encrypt ? 0 : check;
	demand.recorded = only_encrypt ? check : 0;
	demand.proofs = insecure_mx ? 0 : check;
	demand.hold = dane[found].opportunistic.hold;
	demand.reason = dane[found].reason;
	return demand;
}

struct tls_demand tls_demand_dane(const struct tls_facts *facts)
{
	const enum dane_finding found = facts->dane_found;

	switch (facts->dane) {
	case DANE_SETTING_OPPORTUNISTIC:
		return dane_opportunistic(found, facts->dane_insecure_mx);
	case DANE_SETTING_MANDATORY:
		return dane_mandatory(found);
	case DANE_SETTING_AUDIT:
		return (struct tls_demand){ .source = TLS_SOURCE_DANE,
			.recorded = dane[found].audited ? TLS_CHECK_DANE : 0,
			.reason = dane[found].audited ? "DANE is only watched" : NULL };
	case DANE_SETTING_NONE:
	case DANE_SETTING_COUNT:
		break;
	}
	return (struct tls_demand){ .source = TLS_SOURCE_DANE };
}

struct tls_demand tls_demand_mta_sts(const struct tls_facts *facts)
{
	struct tls_demand demand = { .source = TLS_SOURCE_MTA_STS };

	if (facts->sts == STS_MODE_NONE)
		return demand;
	if (facts->sts == STS_MODE_TESTING) {
		demand.recorded = TLS_CHECK_HOST;
		demand.reason = "MTA-STS is being tested";
		return demand;
	}
	demand.want = TLS_MUST;
	demand.weight = TLS_WEIGHT_FIRM;
	demand.checks = demand.proofs = authenticate_host(facts);
	demand.mx = TLS_MX_LISTED;
	demand.hold = facts->sts_listed ? TLS_GO : TLS_SKIP_HOST;
	demand.reason = facts->sts_listed ? "the domain's MTA-STS policy is enforced"
					  : "the domain's MTA-STS policy does not name the host";
	return demand;
}

/* B36-B45. What is not demanded of the certificate is recorded: for reports, and to know what a higher level would do. */
static const struct {
	enum tls_source source;
	enum tls_want want;
	unsigned checks, recorded, proofs;
	const char *word, *reasons[TLS_FROM_COUNT];
} levels[TLS_LEVEL_COUNT] = {
	[TLS_LEVEL_NONE] = { TLS_SOURCE_DESTINATION_NONE, TLS_NEVER, 0, 0, 0, "none",
		{ "TLS is switched off by default", "TLS is switched off by destination `default`",
			"TLS is switched off for this destination" } },
	[TLS_LEVEL_PREFERRED] = { TLS_SOURCE_DESTINATION, TLS_MAY, 0, TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED, 0,
		"preferred",
		{ "TLS is preferred by default", "TLS is preferred by destination `default`",
			"TLS is preferred for this destination" } },
	[TLS_LEVEL_REQUIRED] = { TLS_SOURCE_DESTINATION_REQUIRED, TLS_MUST, 0,
		TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED, 0, "required",
		{ "TLS is required by default", "TLS is required by destination `default`",
			"TLS is required for this destination" } },
	[TLS_LEVEL_PREFERRED_VERIFY] = { TLS_SOURCE_DESTINATION, TLS_MAY, 0,
		TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED, TLS_CHECK_DOMAIN, "preferred-verify",
		{ "TLS is preferred and verified by default",
			"TLS is preferred and verified by destination `default`",
			"TLS is preferred and verified for this destination" } },
	[TLS_LEVEL_REQUIRED_VERIFY] = { TLS_SOURCE_DESTINATION_REQUIRED, TLS_MUST, TLS_CHECK_DOMAIN,
		TLS_CHECK_HOSTED, TLS_CHECK_DOMAIN, "required-verify",
		{ "TLS for the recipient's domain is required by default",
			"TLS for the recipient's domain is required by destination `default`",
			"TLS for the recipient's domain is required for this destination" } },
	[TLS_LEVEL_REQUIRED_VERIFY_HOSTED] = { TLS_SOURCE_DESTINATION_REQUIRED, TLS_MUST, TLS_CHECK_HOSTED,
		TLS_CHECK_DOMAIN, TLS_CHECK_HOSTED, "required-verify-hosted",
		{ "TLS for the domain or its server is required by default",
			"TLS for the domain or its server is required by destination `default`",
			"TLS for the domain or its server is required for this destination" } },
};

/* The switch for all destinations is no contradiction to what is said of one of them; an entry is. */
struct tls_demand tls_demand_destination(const struct tls_facts *facts)
{
	const bool by_switch = facts->level == TLS_LEVEL_NONE && facts->level_from == TLS_FROM_NOBODY;

	return (struct tls_demand){ .source = levels[facts->level].source,
		.want = levels[facts->level].want,
		.weight = by_switch ? TLS_WEIGHT_SWITCH : TLS_WEIGHT_FIRM,
		.checks = levels[facts->level].checks,
		.recorded = levels[facts->level].recorded,
		.proofs = levels[facts->level].proofs,
		.reason = levels[facts->level].reasons[facts->level_from] };
}

struct tls_demand tls_demand_route(const struct tls_facts *facts)
{
	struct tls_demand demand = { .source = TLS_SOURCE_ROUTE };

	if (!facts->implicit && !facts->credentials)
		return demand;
	demand.want = TLS_MUST;
	demand.weight = TLS_WEIGHT_FIRM;
	demand.checks = demand.proofs = facts->credentials ? TLS_CHECK_HOST : 0;
	demand.reason = facts->credentials ? "credentials are sent only to a verified server"
					   : "the route uses TLS from the first byte";
	return demand;
}

struct tls_demand tls_demand_required_list(const struct tls_facts *facts)
{
	return (struct tls_demand){ .source = TLS_SOURCE_REQUIRED_LIST,
		.want = facts->required_listed ? TLS_MUST : TLS_SILENT,
		.weight = TLS_WEIGHT_FIRM,
		.reason = "the host is listed in tls.starttls_required" };
}

struct tls_demand tls_demand_tls_off(const struct tls_facts *facts)
{
	return (struct tls_demand){ .source = TLS_SOURCE_TLS_OFF,
		.want = facts->tls_off ? TLS_NEVER : TLS_SILENT,
		.weight = TLS_WEIGHT_FIRM,
		.reason = "tls.enabled is off" };
}

struct tls_demand tls_demand_allow_list(const struct tls_facts *facts)
{
	return (struct tls_demand){ .source = TLS_SOURCE_ALLOW_LIST,
		.want = facts->allow_listed ? TLS_NEVER : TLS_SILENT,
		.weight = TLS_WEIGHT_FIRM,
		.reason = "the host is listed in tls.starttls_never" };
}

struct tls_demand tls_demand_temporary_list(const struct tls_facts *facts)
{
	return (struct tls_demand){ .source = TLS_SOURCE_TEMPORARY_LIST,
		.want = facts->temporary_listed ? TLS_NEVER : TLS_SILENT,
		.weight = TLS_WEIGHT_TEMPORARY,
		.reason = "the TLS handshake with the host failed within the hour" };
}

const char *tls_demand_level_word(enum tls_level level)
{
	return levels[level].word;
}

const char *tls_demand_level_from_word(enum tls_level_from from)
{
	static const char *const words[TLS_FROM_COUNT] = { [TLS_FROM_NOBODY] = "nobody",
		[TLS_FROM_DEFAULT] = "default",
		[TLS_FROM_DESTINATION] = "destination" };

	return words[from];
}

const char *tls_demand_source_word(enum tls_source source)
{
	static const char *const words[TLS_SOURCE_COUNT] = { [TLS_SOURCE_REQUIRETLS] = "requiretls",
		[TLS_SOURCE_DANE_MANDATORY] = "dane-mandatory",
		[TLS_SOURCE_MTA_STS] = "mta-sts",
		[TLS_SOURCE_DESTINATION_REQUIRED] = "destination-required",
		[TLS_SOURCE_ROUTE] = "route",
		[TLS_SOURCE_REQUIRED_LIST] = "required-list",
		[TLS_SOURCE_DANE] = "dane",
		[TLS_SOURCE_DESTINATION] = "destination-preferred",
		[TLS_SOURCE_TLS_OFF] = "tls-off",
		[TLS_SOURCE_ALLOW_LIST] = "allow-list",
		[TLS_SOURCE_DESTINATION_NONE] = "destination-none",
		[TLS_SOURCE_TEMPORARY_LIST] = "temporary-list" };

	return words[source];
}

const char *tls_demand_want_word(enum tls_want want)
{
	static const char *const words[] = {
		[TLS_SILENT] = "silent", [TLS_NEVER] = "never", [TLS_MAY] = "may", [TLS_MUST] = "must"
	};

	return words[want];
}

const char *tls_demand_check_word(enum tls_check check)
{
	static const char *const words[] = { [TLS_CHECK_DANE] = "dane",
		[TLS_CHECK_HOST] = "host",
		[TLS_CHECK_DOMAIN] = "domain",
		[TLS_CHECK_HOSTED] = "hosted" };

	return words[check];
}

const char *tls_demand_hold_word(enum tls_hold hold)
{
	static const char *const words[] = {
		[TLS_GO] = "go", [TLS_SKIP_HOST] = "skip-host", [TLS_DEFER] = "defer"
	};

	return words[hold];
}

const char *tls_demand_mx_word(enum tls_mx mx)
{
	static const char *const words[] = { [TLS_MX_ANY] = "any",
		[TLS_MX_LISTED_OR_SECURE] = "listed-or-secure",
		[TLS_MX_LISTED] = "listed" };

	return words[mx];
}

const char *tls_demand_dane_word(enum dane_setting setting)
{
	static const char *const words[DANE_SETTING_COUNT] = { [DANE_SETTING_NONE] = "none",
		[DANE_SETTING_OPPORTUNISTIC] = "opportunistic",
		[DANE_SETTING_MANDATORY] = "mandatory",
		[DANE_SETTING_AUDIT] = "audit" };

	return words[setting];
}

const char *tls_demand_insecure_mx_word(enum dane_insecure_mx setting)
{
	static const char *const words[DANE_INSECURE_MX_COUNT] = { [DANE_INSECURE_MX_DANE] = "dane",
		[DANE_INSECURE_MX_ENCRYPT] = "encrypt",
		[DANE_INSECURE_MX_MAY] = "may" };

	return words[setting];
}

const char *tls_demand_sts_word(enum sts_mode mode)
{
	static const char *const words[STS_MODE_COUNT] = {
		[STS_MODE_NONE] = "none", [STS_MODE_TESTING] = "testing", [STS_MODE_ENFORCE] = "enforce"
	};

	return words[mode];
}
