#pragma once
/*
 * What each source demands of the leg to one host: REQUIRETLS, DANE, MTA-STS, the destination, the route, the lists. One function for each;
 * policy/tls_decide.h joins them. Pure.
 */

#include <stdbool.h>

#include "policy/dane.h"

/* Of a destination (B36-B45). */
enum tls_level {
	TLS_LEVEL_NONE,
	TLS_LEVEL_PREFERRED,
	TLS_LEVEL_REQUIRED,
	TLS_LEVEL_PREFERRED_VERIFY,
	TLS_LEVEL_REQUIRED_VERIFY,
	TLS_LEVEL_REQUIRED_VERIFY_HOSTED,
	TLS_LEVEL_COUNT
};

/* Who said it: nobody (tls.starttls_when_possible), the entry `default` of `destinations`, or one for the domain. */
enum tls_level_from { TLS_FROM_NOBODY, TLS_FROM_DEFAULT, TLS_FROM_DESTINATION, TLS_FROM_COUNT };

/* What a server's certificate can be checked for; a set. All but DANE: by an authority we trust, and for a name. */
enum tls_check {
	TLS_CHECK_DANE = 1,
	TLS_CHECK_HOST = 2,   /* the name of the host (logins, MTA-STS, REQUIRETLS) */
	TLS_CHECK_DOMAIN = 4, /* the recipient's domain (B49) */
	TLS_CHECK_HOSTED = 8, /* one of the names of B50 */
	TLS_CHECK_ALL = 15
};

enum dane_setting {
	DANE_SETTING_NONE,
	DANE_SETTING_OPPORTUNISTIC,
	DANE_SETTING_MANDATORY,
	DANE_SETTING_AUDIT,
	DANE_SETTING_COUNT
};

/* What opportunistic DANE makes of TLSA records of a host that insecure MX records name (conformance 3.08): they count; TLS without a look at
 * the certificate; nothing. */
enum dane_insecure_mx {
	DANE_INSECURE_MX_DANE,
	DANE_INSECURE_MX_ENCRYPT,
	DANE_INSECURE_MX_MAY,
	DANE_INSECURE_MX_COUNT
};

enum sts_mode { STS_MODE_NONE, STS_MODE_TESTING, STS_MODE_ENFORCE, STS_MODE_COUNT };

/* All that is known before a host is dialled. All zero but the level: nobody demands anything else. */
struct tls_facts {
	enum tls_level level; /* of the destination */
	enum tls_level_from level_from;
	bool implicit;			    /* the route uses TLS from the first byte */
	bool credentials;		    /* the route logs in to the server */
	bool tls_off;			    /* tls.enabled is false */
	bool allow_listed, required_listed; /* tls.starttls_never, tls.starttls_required */
	bool temporary_listed;		    /* its handshake failed within the hour */
	bool retry_without_tls; /* tls.retry_without_tls: a failed handshake may put the host on that list */
	enum dane_setting dane;
	enum dane_insecure_mx dane_insecure_mx;
	enum dane_finding dane_found;
	enum sts_mode sts;
	bool sts_listed; /* the policy names the host */
	bool requiretls; /* the mail asks for it (RFC 8689) */
	bool mx_secure;	 /* DNSSEC says that the host is the domain's server, or the configuration names it */
};

/* In the order in which one of them is shown as the reason (F1). */
enum tls_source {
	TLS_SOURCE_REQUIRETLS,
	TLS_SOURCE_DANE_MANDATORY,
	TLS_SOURCE_MTA_STS,
	TLS_SOURCE_DESTINATION_REQUIRED,
	TLS_SOURCE_ROUTE,
	TLS_SOURCE_REQUIRED_LIST,
	TLS_SOURCE_DANE,
	TLS_SOURCE_DESTINATION, /* preferred, with or without verify */
	TLS_SOURCE_TLS_OFF,	/* the switch for all TLS (F4) */
	TLS_SOURCE_ALLOW_LIST,
	TLS_SOURCE_DESTINATION_NONE,
	TLS_SOURCE_TEMPORARY_LIST,
	TLS_SOURCE_COUNT
};

/* Never = STARTTLS is not sent; may = used when offered; must = nothing is sent without it. */
enum tls_want { TLS_SILENT, TLS_NEVER, TLS_MAY, TLS_MUST };

/* Of a must and a never the heavier one counts, and the other is dropped; two firm ones exclude each other. */
enum tls_weight {
	TLS_WEIGHT_TEMPORARY,	  /* the temporary list: any must is heavier (C7) */
	TLS_WEIGHT_OPPORTUNISTIC, /* DANE that nobody asked for */
	TLS_WEIGHT_SWITCH,	  /* tls.starttls_when_possible is off */
	TLS_WEIGHT_FIRM
};

/* What is wrong before the host is dialled; the worst counts. */
enum tls_hold { TLS_GO, TLS_SKIP_HOST, TLS_DEFER };

/* Which hosts may be given the mail; the later includes the earlier. */
enum tls_mx { TLS_MX_ANY, TLS_MX_LISTED_OR_SECURE, TLS_MX_LISTED };

struct tls_demand {
	enum tls_source source;
	enum tls_want want;
	enum tls_weight weight; /* of a must or a never */
	unsigned checks;	/* set of enum tls_check: all must hold; only of a must */
	unsigned recorded;	/* looked at for the record; nothing depends on them */
	unsigned proofs; /* of checks and recorded, those with which a delivery may be called verified */
	enum tls_mx mx;
	bool peer_requiretls; /* the server must offer REQUIRETLS */
	enum tls_hold hold;   /* only of a must */
	bool bounce;	      /* when no host will do, the mail is given back now */
	bool dropped;	      /* tls_decide(): a heavier one, or the required list, outweighs it */
	const char *reason;   /* static; a clause without a full stop */
};

/* What each source demands. TLS_SILENT without `recorded` = nothing. */
struct tls_demand tls_demand_requiretls(const struct tls_facts *facts);
struct tls_demand tls_demand_dane(const struct tls_facts *facts);
struct tls_demand tls_demand_mta_sts(const struct tls_facts *facts);
struct tls_demand tls_demand_destination(const struct tls_facts *facts);
struct tls_demand tls_demand_route(const struct tls_facts *facts);
struct tls_demand tls_demand_required_list(const struct tls_facts *facts);
struct tls_demand tls_demand_tls_off(const struct tls_facts *facts);
struct tls_demand tls_demand_allow_list(const struct tls_facts *facts);
struct tls_demand tls_demand_temporary_list(const struct tls_facts *facts);

/* Words for evidence, logs and labels. Static. Levels as in the configuration; `required-list`; `must`; `host`; `skip-host`; `mandatory`;
 * `encrypt`; `enforce`; `listed-or-secure`. */
const char *tls_demand_level_word(enum tls_level level);
const char *tls_demand_level_from_word(enum tls_level_from from);
const char *tls_demand_source_word(enum tls_source source);
const char *tls_demand_want_word(enum tls_want want);
const char *tls_demand_check_word(enum tls_check check);
const char *tls_demand_hold_word(enum tls_hold hold);
const char *tls_demand_mx_word(enum tls_mx mx);
const char *tls_demand_dane_word(enum dane_setting setting);
const char *tls_demand_insecure_mx_word(enum dane_insecure_mx setting);
const char *tls_demand_sts_word(enum sts_mode mode);
