#pragma once
/*
 * The configuration of a gateway: one YAML file, read by one table (config/table.c) into these const structs.
 * The table feeds the reader, `check`, `config show` and docs/configuration.md. Immutable after load, reference-counted.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/log.h"
#include "policy/ocsp.h"
#include "policy/timetable.h"

struct bundle;
struct domains;
struct problems;

enum config_listener_type { CONFIG_PUBLIC, CONFIG_PRIVATE };
enum config_action { CONFIG_ACCEPT, CONFIG_RELAY, CONFIG_REJECT };
/* The last three are of destinations only. */
enum config_tls {
	CONFIG_TLS_UNSET = -1,
	CONFIG_TLS_NONE,
	CONFIG_TLS_PREFERRED,
	CONFIG_TLS_REQUIRED,
	CONFIG_TLS_PREFERRED_VERIFY,
	CONFIG_TLS_REQUIRED_VERIFY,
	CONFIG_TLS_REQUIRED_VERIFY_HOSTED
};

/* Audit: looked up, compared and recorded; nothing depends on it. */
enum config_dane {
	CONFIG_DANE_UNSET = -1,
	CONFIG_DANE_NONE,
	CONFIG_DANE_OPPORTUNISTIC,
	CONFIG_DANE_MANDATORY,
	CONFIG_DANE_AUDIT
};

/* TLSA records of usages 0 and 1: ignored, or compared like the others, with an authority's word besides. */
enum config_pkix_usages { CONFIG_PKIX_USAGES_UNUSABLE, CONFIG_PKIX_USAGES_ENFORCE };

/* What opportunistic DANE does about a host that has secure TLSA records, but is named by an insecure MX record. */
enum config_insecure_mx { CONFIG_INSECURE_MX_DANE, CONFIG_INSECURE_MX_ENCRYPT, CONFIG_INSECURE_MX_MAY };

enum config_version { CONFIG_TLS_1_0, CONFIG_TLS_1_1, CONFIG_TLS_1_2, CONFIG_TLS_1_3 };
enum config_pfs { CONFIG_PFS_ALLOWED, CONFIG_PFS_REQUIRED, CONFIG_PFS_NONE };
enum config_log_to { CONFIG_LOG_STDERR, CONFIG_LOG_FILE, CONFIG_LOG_SYSLOG, CONFIG_LOG_JOURNAL };

struct config_certificate {
	unsigned line;
	const char *name;
	const char *chain; /* path of the PEM chain, leaf first */
	const char *key;   /* path of the PEM private key */
	bool stored;	   /* they are those of the store (config/stored.h) */
};

struct config_authorities {
	unsigned line;
	bool system;	    /* trust the system's CA list */
	const char *custom; /* path of a PEM file with further CAs, or NULL */
};

/* true, false, or neither. */
enum config_said { CONFIG_SAID_NOTHING = -1, CONFIG_SAID_FALSE, CONFIG_SAID_TRUE };

/* An entry of the lists of peers, in one of three forms. */
struct config_peer {
	const char *text;	   /* as written */
	struct ip_network network; /* its address has family 0: a name */
	const char *name;	   /* else a host or a domain, lower case; `.example.com` = all below it */
};

/* tls: what holds for every certificate that is verified or shown, and for every delivery. */
struct config_tls_settings {
	unsigned line;
	bool enabled;	      /* off: no TLS anywhere, and what demands it is refused or waits (F4) */
	bool cn_fallback;     /* the common name counts where a certificate has no host name */
	bool fqdn_validation; /* names in certificates must be fully qualified */
	bool x509_validation; /* certificates must be signed soundly */
	bool stapling;	      /* handshakes show what responders say about our certificates */
	enum config_said starttls_said;
	bool starttls_when_possible; /* what that means: the level where no destination says one: preferred, or none */
	bool retry_without_tls; /* a host whose handshake fails gets its mail in clear for a while */
	struct config_peer *starttls_never, *starttls_required; /* see config_listed() */
	size_t starttls_never_count, starttls_required_count;
	enum config_pkix_usages dane_pkix_usages;
	enum config_insecure_mx dane_insecure_mx;
};

/* Where Debian keeps the certificates of the system's authorities. */
#define CONFIG_SYSTEM_AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"

/* tls_profiles: how a handshake is done (E38-E43). The predefined ones cannot be changed. */
struct config_tls_profile {
	unsigned line; /* 0 = predefined */
	const char *name;
	enum config_version min_version, max_version;
	const char *ciphers; /* OpenSSL cipher list for TLS 1.2 and below; NULL = the library's default */
	const char *groups;  /* OpenSSL groups list; NULL = the library's default */
	enum config_pfs pfs;
	enum ocsp_mode ocsp; /* of the peer's certificate, where that is verified */
	bool compliance;     /* a handshake that does not follow the protocol is dropped */
};

/* mail_flow_policies: what a client may do and how it must connect. */
struct config_policy {
	unsigned line;
	const char *name;
	enum config_action action; /* default accept: mail for accepted_domains only */
	enum config_tls tls;	   /* default preferred */
	bool refuse_null_mx;	   /* mail of senders whose domain takes none (RFC 7505) */
};

struct config_listener {
	unsigned line;
	const char *name;
	enum config_listener_type type;
	struct ip address;
	const struct config_certificate **certificates; /* as the file names them */
	size_t certificate_count;
	const struct config_certificate *certificate; /* the first; NULL = none: STARTTLS is not offered */
	const struct config_policy *policy;	      /* for clients that no sender group names */
	const struct config_tls_profile *tls_profile; /* never NULL after load */
	struct ip_network *proxy_protocol_from;	      /* who must send a PROXY header */
	size_t proxy_protocol_from_count;
	struct ip_network *xclient_from; /* who may use XCLIENT */
	size_t xclient_from_count;
};

struct config_group {
	unsigned line;
	const char *name;
	struct ip_network *networks;
	size_t network_count;
	const struct config_policy *policy;
};

enum config_hop { CONFIG_HOP_ADDRESS, CONFIG_HOP_HOST, CONFIG_HOP_MX };

struct config_route {
	unsigned line;
	const char *domain;   /* lower case; `.example.com` = all below; `default` = all others */
	const char *next_hop; /* as written */
	enum config_hop hop;  /* what it is */
	struct ip address;    /* CONFIG_HOP_ADDRESS: with its port */
	const char *host;     /* else: the host, or the domain whose MX records count; lower case */
	uint16_t port;	      /* to connect to */
	struct ip *source;    /* to connect from: one of a family at most; none = the system chooses */
	size_t source_count;
	const char *helo;	   /* NULL = hostname */
	bool implicit_tls;	   /* TLS from the first byte */
	const char *username;	   /* NULL = no AUTH */
	const char *password_file; /* path; NULL exactly when username is */
};

/* A number that the file need not say, and does not. */
#define CONFIG_UNSET UINT64_MAX

/* destinations: each key may be unset; ask config_destination_for(). */
struct config_destination {
	unsigned line;
	const char *domain;			      /* as in config_route, or an address without a port */
	enum config_tls tls;			      /* towards recipients of the domain */
	enum config_dane dane;			      /* towards the same, as the next three */
	const struct config_tls_profile *tls_profile; /* NULL = unset */
	const struct config_certificate *certificate; /* shown to servers that ask for one; NULL = unset */
	struct config_authorities authorities;	      /* instead of all others; line 0 = unset */
	uint64_t concurrency;			      /* as config_delivery; of the next hop called so */
	uint64_t rate;
};

/* destination_settings: what holds towards all of them. */
struct config_destination_settings {
	unsigned line;
	const struct config_certificate *certificate; /* where no destination says one; NULL = none */
};

/* delivery.timeouts: how long a peer may take for each step of the dialogue, in milliseconds (RFC 5321 section 4.5.3.2). */
struct config_timeouts {
	unsigned line;
	int64_t connect_ms, greeting_ms, hello_ms, starttls_ms, mail_ms, rcpt_ms, data_ms, block_ms, end_ms;
};

struct config_delivery {
	unsigned line;
	int64_t *retry_ms; /* waiting time before attempt 2, 3, ...; the last one repeats */
	size_t retry_count;
	int64_t expire_ms;	   /* age at which a deferred mail is returned */
	int64_t delay_warning_ms;  /* age from which a waiting mail is reported, 0 = never */
	uint64_t bounce_size;	   /* the largest mail that is returned whole */
	const char *double_bounce; /* who is told of mail without a sender that fails; NULL = nobody */
	uint64_t concurrency;	   /* connections to one destination */
	uint64_t connections;	   /* connections in all, at most 64 */
	uint64_t port;		   /* of the hosts that MX records name */
	struct config_timeouts timeouts;
	uint64_t rate; /* mails a minute to one destination; 0 = any number */
};

struct config_tracking {
	unsigned line;
	int64_t keep_ms; /* of a finished mail; 0 = for ever */
};

/* recipients: which addresses of the accepted domains exist. */
struct config_recipients {
	unsigned line;
	const char *file; /* path of the list, or NULL = every address is taken */
	bool call_ahead;  /* ask the next hop at RCPT */
	int64_t cache_ms; /* how long its answer is kept */
};

/* A client network is the client's /24 (IPv4) or /56 (IPv6). */
struct config_limits {
	unsigned line;
	uint64_t connections; /* sessions at once, all listeners */
	uint64_t connections_per_network;
	uint64_t rate;	       /* new connections of one client network in a minute */
	uint64_t tls_rate;     /* TLS handshakes of one client network in a minute; 0 = any number */
	uint64_t commands;     /* commands without a mail (NOOP, RSET, EHLO, VRFY, ...) before 421 */
	uint64_t errors;       /* protocol errors before 421 */
	uint64_t recipients;   /* of one message */
	uint64_t line_length;  /* key `line`: bytes of the longest line of a message; 0 = any */
	uint64_t header;       /* bytes of a message's header */
	uint64_t message_size; /* bytes */
	int64_t idle_time_ms;  /* between two commands */
	int64_t session_time_ms;
	uint64_t queue_quota;	 /* queued mails that came from one client network; 0 = any number */
	uint64_t min_free_space; /* bytes on the store's file system, below which no mail is taken */
	uint64_t min_free_inodes;
};

/* What to do about a log file that cannot be opened. */
#define CONFIG_LOG_FILE_CURE "; make its directory, or name another file, a regular one"

struct config_log {
	unsigned line;
	enum config_log_to to;
	const char *file; /* path, when `to` is a file */
	enum log_level level;
	enum log_format format;
};

struct config_dns {
	unsigned line;
	struct ip *forward; /* resolvers that are asked; none = the authoritative servers, from the root on */
	size_t forward_count;
	const char *trust_anchor_file; /* path, or NULL = the root's anchors that are built in */
	const char **private_zones;    /* lower case, without a final dot */
	size_t private_zone_count;
	int64_t timeout_ms;
};

/* fetch: what role `upkeep` may fetch. */
struct config_fetch {
	unsigned line;
	struct ip_network *allow_networks; /* besides public addresses */
	size_t allow_network_count;
};

struct config_metrics {
	unsigned line;
	struct ip address; /* family 0 = no metrics page */
};

enum config_crl_type { CONFIG_CRL_ASN1, CONFIG_CRL_PEM };

/* crl_sources.check: where revocation counts. */
struct config_crl_check {
	unsigned line;
	bool inbound_smtp, outbound_smtp, web;
};

struct config_crl_source {
	unsigned line;
	const char *name;
	enum config_crl_type type;	 /* what the server sends */
	const char *primary, *secondary; /* URLs; the second may be NULL */
	const char *schedule;		 /* as written */
	struct timetable timetable;	 /* what that means */
	bool enabled;
};

/* crl_sources: lists of revoked certificates. */
struct config_crl {
	unsigned line;
	struct config_crl_check check;
	bool strict;	   /* where it is checked, what is not known to be good is refused */
	uint64_t max_size; /* bytes of a list */
	struct config_crl_source *sources;
	size_t source_count;
};

/* The keys of an entry of `destinations`. */
enum config_says {
	CONFIG_SAYS_TLS,
	CONFIG_SAYS_DANE,
	CONFIG_SAYS_TLS_PROFILE,
	CONFIG_SAYS_CERTIFICATE,
	CONFIG_SAYS_AUTHORITIES,
	CONFIG_SAYS_CONCURRENCY,
	CONFIG_SAYS_RATE,
	CONFIG_SAYS_END
};

/* The lists of servers for STARTTLS. */
enum config_list { CONFIG_STARTTLS_NEVER, CONFIG_STARTTLS_REQUIRED, CONFIG_LIST_END };

struct config {
	uint64_t generation;
	const char *file; /* path of the configuration file as given */
	const char *hostname;
	const char *state_dir, *runtime_dir; /* made relative to the file's directory */
	const char *user;
	struct config_certificate *certificates;
	size_t certificate_count;
	bool watch_certificates;
	struct config_tls_settings tls;
	struct config_authorities authorities;
	struct config_listener *listeners;
	size_t listener_count;
	struct config_tls_profile *tls_profiles;
	size_t tls_profile_count;
	struct config_policy *policies;
	size_t policy_count;
	struct config_group *groups;
	size_t group_count;
	const char **accepted_domains; /* lower case */
	size_t accepted_domain_count;
	struct config_route *routes;
	size_t route_count;
	struct config_destination *destinations;
	size_t destination_count;
	struct config_destination_settings destination_settings;
	struct config_recipients recipients;
	struct config_dns dns;
	struct config_fetch fetch;
	struct config_crl crl;
	struct config_metrics metrics;
	struct config_delivery delivery;
	struct config_limits limits;
	struct config_tracking tracking;
	struct config_log log;
	/* The lists by domain; destinations once for each key, with those that say something of it. */
	const struct domains *routes_by_domain, *accepted_by_domain, *destinations_by_domain[CONFIG_SAYS_END],
		*listed_names[CONFIG_LIST_END];
};

/* Read the entry of `bundle` that is called `file` into a new config with one reference; problems are added.
 * Relative paths in it become relative to the directory of `file`. NULL when anything in the file is wrong. */
const struct config *config_read(const struct bundle *bundle, const char *file, struct problems *problems);

/* Read `file` and every file it names from disk into a bundle (owned by `owner`) with their readers, and check it:
 * syntax, values, references, the place of the log, and what only the whole can tell (open relay, accepted domain without a route).
 * NULL with at least one problem; else the bundle, and the config in ret_config with one reference. */
struct bundle *config_gather(const void *owner, const char *file, uint64_t generation,
	struct problems *problems, const struct config **ret_config);

/* config_gather() of a file that has `text` in place of what stands in it. */
struct bundle *config_gather_text(const void *owner, const char *file, struct text text,
	struct problems *problems, const struct config **ret_config);

/* Read `file`, and of the files that it names only those with authorities: for commands that ask whom to trust while another file is being written. As config_gather(). */
struct bundle *config_gather_trust(
	const void *owner, const char *file, struct problems *problems, const struct config **ret_config);

/* The same, but of the files those with chains of `certificates`: neither keys nor the store. */
struct bundle *config_gather_chains(
	const void *owner, const char *file, struct problems *problems, const struct config **ret_config);

/* The generation after `used`, which was gathered from `file`: the same text and the same files, but those that belong to `parts` (BUNDLE_CERTIFICATES, ...) are
 * read from disk anew. As config_gather(). */
struct bundle *config_renew(const void *owner, const struct bundle *used, const char *file,
	uint64_t generation, unsigned parts, struct problems *problems, const struct config **ret_config);

/* Where a gateway of `file` lives and as whom: just state_dir, runtime_dir and user, found even when the rest of the file is wrong, so that a running
 * gateway can be asked while its file is being edited. Owned by `owner`. 0, or a negative error when a directory is missing. */
int config_places(
	const void *owner, const char *file, char **ret_state_dir, char **ret_runtime_dir, char **ret_user);

/* Another reference; returns config. */
const struct config *config_hold(const struct config *config);

/* Give a reference back; the last one frees. NULL is fine. */
void config_release(const struct config *config);

/* The effective configuration, defaults included, as YAML or as one JSON object; owned by `owner`. */
char *config_show(const void *owner, const struct config *config, bool json);

/* docs/configuration.md from the table; owned by `owner`. */
char *config_manual(const void *owner);

/* The entry for `domain`: exact name, else the longest `.parent`, else `default`; NULL when there is none. */
const struct config_route *config_route_for(const struct config *config, struct text domain);

/* A route to `next_hop`, written as in the file, with nothing else set, owned by `owner`; NULL when it is no next hop. Without a configuration
 * MX hosts have port 25. */
const struct config_route *config_route_to(
	const void *owner, const struct config *config, const char *next_hop);

/* Why `next_hop` is none, as routes have it: one clause, owned by `owner`; NULL when it is one. */
const char *config_next_hop_flaw(const void *owner, const char *next_hop);

/* The same among the entries that say `key`. Of a domain that is an address literal the address counts. */
const struct config_destination *config_destination_for(
	const struct config *config, struct text domain, enum config_says key);

/* The level for mail to `domain`, never unset; *ret_entry is the entry that says it, NULL = none does (then it is that of
 * tls.starttls_when_possible). */
enum config_tls config_tls_for(
	const struct config *config, struct text domain, const struct config_destination **ret_entry);

/* The same for DANE; without an entry opportunistic, but none where that level is none. An entry with the level none that says nothing of DANE says none. */
enum config_dane config_dane_for(
	const struct config *config, struct text domain, const struct config_destination **ret_entry);

/* How handshakes for mail to `domain` are done; NULL = nobody said it. */
const struct config_tls_profile *config_tls_profile_for(const struct config *config, struct text domain);

/* What is shown to servers of `domain` that ask for a certificate; NULL = none. */
const struct config_certificate *config_client_certificate_for(
	const struct config *config, struct text domain);

/* Whether it is shown to servers of some domain. */
bool config_delivery_shows(const struct config *config, const struct config_certificate *certificate);

/* Who may vouch for servers of `domain` instead of the authorities of all; NULL = nobody said it. */
const struct config_authorities *config_authorities_for(const struct config *config, struct text domain);

/* An entry of the list that names a server: by its address (NULL = not known yet), its host name (NULL = none) or the domain of the recipient; NULL when
 * none does. Names may be in any case, and end in a dot. */
const struct config_peer *config_listed(const struct config *config, enum config_list list,
	const struct ip *address, const char *host, struct text domain);

/* The name by which `destinations` know a next hop, as a route writes it, or a domain that has none: host, domain or address without the
 * port, owned by `owner`. */
char *config_hop_name(const void *owner, const char *next_hop);

/* How eagerly mail is delivered to a next hop (or a domain without a route): by its entry in `destinations`, else by `delivery`. */
struct config_pace {
	uint64_t concurrency, rate; /* as in config_delivery */
};
struct config_pace config_pace_of(const struct config *config, const char *next_hop);

/* The address to connect from to one of `family`, NULL = the system chooses; false when `route` (NULL is fine) names only addresses of the other
 * family, so that this one is not used. */
bool config_route_source(const struct config_route *route, sa_family_t family, const struct ip **ret_source);

/* The password in the bytes of a route's password_file: its first line, borrowed. Empty when there is none or it holds control characters. */
struct text config_password(struct text bytes);

/* Whether `certificate` is one of the listener's. */
bool config_listener_presents(
	const struct config_listener *listener, const struct config_certificate *certificate);

/* The certificates of a listener: number `index` from 0, NULL behind the last. */
const struct config_certificate *config_listener_certificate(
	const struct config_listener *listener, size_t index);

/* True when mail for `domain` is ours to take. */
bool config_accepts(const struct config *config, struct text domain);

/* Word of the configuration file for a value: "preferred". Static. */
const char *config_tls_name(enum config_tls tls);
