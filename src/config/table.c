/*
 * The table of the configuration file. The reader, `postern check`, `postern config show` and the manual all walk it,
 * so a key stands here once and nowhere else: name, type, field, default, limits and its sentence of manual.
 *
 * A new setting is one row here, its field in config.h, and a case in tests/unit/test_config.c. Rules that need more
 * than one value are in check.c. Keys and words of the product that are not built yet are in the `later` lists, so
 * that the operator hears "not yet" instead of a spelling suggestion.
 */
#include "config/table.h"

#include <string.h>

#include "config/idn.h"
#include "config/table_private.h"

_Static_assert(
	sizeof(enum config_tls) == sizeof(int) && sizeof(enum config_action) == sizeof(int) &&
		sizeof(enum config_listener_type) == sizeof(int) && sizeof(enum log_level) == sizeof(int) &&
		sizeof(enum log_format) == sizeof(int) && sizeof(enum config_version) == sizeof(int) &&
		sizeof(enum config_pfs) == sizeof(int) && sizeof(enum config_log_to) == sizeof(int) &&
		sizeof(enum config_dane) == sizeof(int) && sizeof(enum config_pkix_usages) == sizeof(int) &&
		sizeof(enum config_insecure_mx) == sizeof(int) && sizeof(enum config_said) == sizeof(int),
	"TABLE_CHOICE stores an int");

/* Words */

static const struct table_word listener_types[] = {
	{ "public", CONFIG_PUBLIC },
	{ "private", CONFIG_PRIVATE },
	{ "submission", TABLE_LATER },
	{ "proxy", TABLE_LATER },
	{ NULL, 0 },
};

static const struct table_word actions[] = {
	{ "accept", CONFIG_ACCEPT },
	{ "relay", CONFIG_RELAY },
	{ "reject", CONFIG_REJECT },
	{ NULL, 0 },
};

static const struct table_word policy_levels[] = {
	{ "none", CONFIG_TLS_NONE },
	{ "preferred", CONFIG_TLS_PREFERRED },
	{ "required", CONFIG_TLS_REQUIRED },
	{ NULL, 0 },
};

static const struct table_word log_targets[] = {
	{ "stderr", CONFIG_LOG_STDERR },
	{ "syslog", CONFIG_LOG_SYSLOG },
	{ "journal", CONFIG_LOG_JOURNAL },
	{ TABLE_PATH_WORD, CONFIG_LOG_FILE },
	{ NULL, 0 },
};

static const struct table_word log_levels[] = {
	{ "error", LOG_ERROR },
	{ "warn", LOG_WARN },
	{ "info", LOG_INFO },
	{ "debug", LOG_DEBUG },
	{ NULL, 0 },
};

static const struct table_word log_formats[] = {
	{ "plain", LOG_PLAIN },
	{ "json", LOG_JSON },
	{ NULL, 0 },
};

/* Sections */

static const struct table_row policy_rows[] = {
	{ "name", TABLE_NAME, AT(policy, name), .required = true,
		.manual = "Name by which listeners and sender groups refer to this policy." },
	{ "action", TABLE_CHOICE, AT(policy, action), .standard = "accept", .words = actions,
		.manual = "accept: take mail for accepted_domains only; relay: take mail for every domain; "
			  "reject: refuse the client." },
	{ "tls", TABLE_CHOICE, AT(policy, tls), .standard = "preferred", .words = policy_levels,
		.manual =
			"none: STARTTLS is not offered; preferred: it is offered; required: no mail is taken "
			"without it." },
	{ "refuse_null_mx", TABLE_SWITCH, AT(policy, refuse_null_mx), .standard = "on",
		.manual =
			"Refuse mail whose sender's domain says in the DNS that it takes none (null MX, RFC 7505) with "
			"`550 5.7.27`: nobody could answer it, or be told that it failed. A domain with a route is not "
			"looked up, and what the DNS does not answer within 3 s is taken. Write `off` for systems of your "
			"own that send from such a domain. (Recipients of such a domain are always refused.)" },
};

static const char *const policy_later[] = { "verify_client", "smtp_auth", "tls_profile", "limits", NULL };

static const struct table_section policies = { "mail_flow_policies", "name", sizeof(struct config_policy),
	ROWS(policy_rows), policy_later, "What a client may do and how it must connect." };

static const struct table_row listener_rows[] = {
	{ "name", TABLE_NAME, AT(listener, name), .required = true,
		.manual = "Name of the listener in logs and reports." },
	{ "type", TABLE_CHOICE, AT(listener, type), .required = true, .words = listener_types,
		.manual = "public: takes mail from the Internet; private: takes mail from our own systems." },
	{ "address", TABLE_ADDRESS, AT(listener, address), .required = true,
		.manual = "Address and port to listen on; port 0 lets the kernel choose one." },
	{ "certificate", TABLE_REFERENCES, AT(listener, certificates), AT(listener, certificate_count),
		.inner = &table_certificates,
		.manual =
			"The certificate to present. Unless said it is the active one of the store (`postern cert activate`); without one "
			"STARTTLS is not offered. `demo` is made by the gateway itself, and known to nobody. Of a list the one for the name that "
			"the client asks for (SNI) is presented, a wildcard for one label; of RSA and ECDSA for the same name what the client can "
			"verify. For any other name, and for none, the first one, or the one of the other kind of key that has a name in common with it." },
	{ "policy", TABLE_REFERENCE, AT(listener, policy), .required = true, .inner = &policies,
		.manual = "The mail flow policy of clients that no sender group names." },
	{ "tls_profile", TABLE_REFERENCE, AT(listener, tls_profile), .standard = "TLS-Server.Standard",
		.inner = &table_profiles, .manual = "How TLS handshakes are done here." },
	{ "proxy_protocol_from", TABLE_NETWORKS, AT(listener, proxy_protocol_from),
		AT(listener, proxy_protocol_from_count),
		.manual =
			"Load balancers that must begin each connection with a PROXY protocol header; the "
			"client it names counts. Without a whole header within 5 s the connection is closed "
			"without a word." },
	{ "xclient_from", TABLE_NETWORKS, AT(listener, xclient_from), AT(listener, xclient_from_count),
		.manual =
			"Mail servers that may name the client with XCLIENT. ADDR and PORT are used; NAME, HELO, "
			"PROTO, LOGIN, DESTADDR and DESTPORT are taken and ignored; others are refused." },
};

static const char *const listener_later[] = { "interface", NULL };

static const struct table_section listeners = { "listeners", "name", sizeof(struct config_listener),
	ROWS(listener_rows), listener_later, "Sockets on which the gateway takes mail." };

static const struct table_row group_rows[] = {
	{ "name", TABLE_NAME, AT(group, name), .required = true,
		.manual = "Name of the group in logs and reports." },
	{ "networks", TABLE_NETWORKS, AT(group, networks), AT(group, network_count), .required = true,
		.manual = "The networks and addresses of the clients in this group." },
	{ "policy", TABLE_REFERENCE, AT(group, policy), .required = true, .inner = &policies,
		.manual = "The mail flow policy of these clients, on every listener." },
};

static const struct table_section groups = { "sender_groups", "name", sizeof(struct config_group),
	ROWS(group_rows),
	.manual = "Clients that get a policy of their own; the first group that matches counts." };

static const struct table_row recipient_rows[] = {
	{ "file", TABLE_PATH, AT(recipients, file),
		.manual =
			"File with the addresses that exist in accepted_domains: one address on a line, `@domain` "
			"for every address of a domain; case does not count, blank lines and lines that start with "
			"`#` are skipped. Others hear `550 5.1.1`, but postmaster and abuse are always taken. A "
			"change needs `postern reload`. Without the file every address is taken." },
	{ "call_ahead", TABLE_SWITCH, AT(recipients, call_ahead), .standard = "off",
		.manual =
			"Ask the next hop, before a recipient is taken, whether it exists; with `file` only about "
			"those on the list. What it refuses as unknown hears `550 5.1.1`; for another reason "
			"`550 5.7.1`; a full mailbox `452 4.2.2`. A client waits for the answer at most 45 s and "
			"hears `450 4.1.1` when there is none." },
	{ "cache", TABLE_DURATION, AT(recipients, cache_ms), .standard = "1h", LIMITS(SECONDS(1), DAYS(7)),
		.manual =
			"How long it is remembered that a recipient exists, or does not: one that is new on the "
			"next hop may be refused for so long. Other answers are not remembered, and a reload "
			"forgets all." },
};

static const struct table_section recipients = { "recipients", NULL, sizeof(struct config_recipients),
	ROWS(recipient_rows), .manual = "Which addresses of the accepted domains exist." };

static const struct table_row metrics_rows[] = {
	{ "address", TABLE_ADDRESS, AT(metrics, address),
		.manual =
			"Loopback address and port of the page `/metrics` (Prometheus text); without it there "
			"is none." },
};

static const struct table_section metrics = { "metrics", NULL, sizeof(struct config_metrics),
	ROWS(metrics_rows), .manual = "Counters for a monitoring system." };

static const struct table_row limit_rows[] = {
	{ "connections", TABLE_NUMBER, AT(limits, connections), .standard = "1000", LIMITS(1, 20000),
		.manual = "Sessions at once on all listeners together." },
	{ "connections_per_network", TABLE_NUMBER, AT(limits, connections_per_network), .standard = "250",
		LIMITS(1, 20000), .manual = "Sessions at once of one client network." },
	{ "rate", TABLE_NUMBER, AT(limits, rate), .standard = "600", LIMITS(1, 1000000),
		.manual = "New connections of one client network in a minute." },
	{ "tls_rate", TABLE_NUMBER, AT(limits, tls_rate), .standard = "0", LIMITS(1, 1000000),
		.or_zero = true,
		.manual =
			"TLS handshakes of one client network in a minute, failed ones too; more are refused with "
			"454. 0 = as many as connections, each of which has at most one. Mail servers that do not "
			"insist on TLS may send in clear when they are refused it." },
	{ "commands", TABLE_NUMBER, AT(limits, commands), .standard = "100", LIMITS(1, 100000),
		.manual =
			"Commands without a mail (NOOP, RSET, EHLO, VRFY, ...) that a session may have since the "
			"last mail; the next one ends it." },
	{ "errors", TABLE_NUMBER, AT(limits, errors), .standard = "20", LIMITS(1, 1000),
		.manual =
			"Protocol errors that a session may have; the next one ends it. Refused addresses are "
			"none: of those it may have ten times as many since the last mail." },
	{ "recipients", TABLE_NUMBER, AT(limits, recipients), .standard = "1000", LIMITS(100, 10000),
		.manual = "Recipients of one message." },
	{ "line", TABLE_SIZE, AT(limits, line_length), .standard = "0", LIMITS(998, MiB(10)), .or_zero = true,
		.manual = "The longest line of a message; 0 = any length." },
	{ "header", TABLE_SIZE, AT(limits, header), .standard = "256KiB", LIMITS(KiB(8), MiB(10)),
		.manual = "Size of the header of a message." },
	{ "message_size", TABLE_SIZE, AT(limits, message_size), .standard = "50MiB",
		LIMITS(KiB(64), MiB(1024)), .manual = "Size of one message." },
	{ "idle_time", TABLE_DURATION, AT(limits, idle_time_ms), .standard = "5m",
		LIMITS(SECONDS(1), HOURS(1)),
		.manual = "Silence between two commands after which a session ends." },
	{ "session_time", TABLE_DURATION, AT(limits, session_time_ms), .standard = "1h",
		LIMITS(SECONDS(1), DAYS(7)), .manual = "Age at which a session ends." },
	{ "queue_quota", TABLE_NUMBER, AT(limits, queue_quota), .standard = "0", LIMITS(1, 1000000000),
		.or_zero = true,
		.manual = "Queued mails that came from one client network; 0 = any number." },
	{ "min_free_space", TABLE_SIZE, AT(limits, min_free_space), .standard = "100MiB",
		LIMITS(0, GiB(1024)),
		.manual = "Free space on the file system of state_dir below which no mail is taken." },
	{ "min_free_inodes", TABLE_NUMBER, AT(limits, min_free_inodes), .standard = "1000",
		LIMITS(0, 1000000000),
		.manual = "Free inodes on the file system of state_dir below which no mail is taken." },
};

static const struct table_section limits = {
	"limits", NULL, sizeof(struct config_limits), ROWS(limit_rows),
	.manual =
		"What a client may use up. A client network is the /24 (IPv4) or /56 (IPv6) of a client's "
		"address. After a reload an open session keeps the limits of the configuration it began with."
};

static const struct table_row dns_rows[] = {
	{ "forward", TABLE_SERVERS, AT(dns, forward), AT(dns, forward_count),
		.manual =
			"Resolvers that are asked instead of the servers of the Internet, from the root on: IP addresses, each perhaps with a port as in `192.0.2.53@5353` (53 unless said); they must pass on DNSSEC records. Their answers are validated here." },
	{ "trust_anchor_file", TABLE_PATH, AT(dns, trust_anchor_file),
		.manual =
			"File with DS or DNSKEY records to trust instead of the root's keys, which are built in; several zones may be in it. "
			"Keys that succeed them are followed (RFC 5011) in `state_dir/resolver`." },
	{ "private_zones", TABLE_ZONES, AT(dns, private_zones), AT(dns, private_zone_count),
		.manual =
			"Zones that the public DNS does not know, such as those of a closed network, `test` or `10.in-addr.arpa`. Without an entry here the gateway itself answers that names in reserved zones such as `test`, `home.arpa` or `10.in-addr.arpa` do not exist, and asks nobody. "
			"They are not validated, unless trust_anchor_file has an anchor for them or for a zone above them other than the root." },
	{ "timeout", TABLE_DURATION, AT(dns, timeout_ms), .standard = "10s", LIMITS(500, SECONDS(60)),
		.manual = "How long a question may take; then its mail is tried again later." },
};

static const struct table_section dns = { "dns", NULL, sizeof(struct config_dns), ROWS(dns_rows),
	.manual = "How names are looked up. All answers are validated by the gateway itself (DNSSEC)." };

static const struct table_row fetch_rows[] = {
	{ "allow_networks", TABLE_NETWORKS, AT(fetch, allow_networks), AT(fetch, allow_network_count),
		.manual =
			"Networks such as `10.0.0.0/8` or `127.0.0.1` that may be asked although they are not public. Certificates of strangers name "
			"responders, too, and shall not lead the gateway to machines of the inside. A URL of this file that holds an address is always asked." },
};

static const struct table_section fetch = {
	"fetch", NULL, sizeof(struct config_fetch), ROWS(fetch_rows),
	.manual =
		"What is fetched from the Internet by HTTP and HTTPS (lists of revoked certificates, answers of OCSP responders)."
};

static const struct table_row tracking_rows[] = {
	{ "keep", TABLE_DURATION, AT(tracking, keep_ms), .standard = "30d", LIMITS(0, DAYS(3650)),
		.manual =
			"How long `postern track` knows a mail after its last recipient was served, or a refusal; 0d: for ever." },
};

static const struct table_section tracking = { "tracking", NULL, sizeof(struct config_tracking),
	ROWS(tracking_rows), .manual = "What became of mail." };

static const struct table_row log_rows[] = {
	{ "to", TABLE_TARGET, AT(log, to), AT(log, file), .standard = "stderr", .words = log_targets,
		.manual = "Where events go; a path has a `/` or a `.`." },
	{ "level", TABLE_CHOICE, AT(log, level), .standard = "info", .words = log_levels,
		.manual = "error: an operator must act; warn: will be tried again; info: sessions, mails and "
			  "deliveries; debug: the dialogue." },
	{ "format", TABLE_CHOICE, AT(log, format), .standard = "plain", .words = log_formats,
		.manual = "One event per line, as `event key=value ...` or as a JSON object." },
};

static const struct table_section logging = { "log", NULL, sizeof(struct config_log), ROWS(log_rows),
	.manual = "What is logged, and where." };

static char *read_hostname(const void *owner, struct text value, void *entry)
{
	return idn_read_host(owner, value, &((struct config *)entry)->hostname);
}

static const struct table_row top_rows[] = {
	{ "hostname", TABLE_HOSTNAME, TOP(hostname), .required = true, .check = read_hostname,
		.manual =
			"Full name of this gateway; it stands in greetings, EHLO and Received lines. Letters beyond ASCII are converted (IDNA2008)." },
	{ "state_dir", TABLE_PATH, TOP(state_dir), .required = true,
		.manual = "Directory of the queue; it must survive a reboot." },
	{ "runtime_dir", TABLE_PATH, TOP(runtime_dir), .required = true,
		.manual = "Directory of the control socket." },
	{ "user", TABLE_NAME, TOP(user), .standard = "postern",
		.manual = "User that the roles run as when the gateway is started by root." },
	{ "certificates", TABLE_LIST, TOP_LIST(certificate, certificates), .inner = &table_certificates },
	{ "watch_certificates", TABLE_BOOL, TOP(watch_certificates), .standard = "true",
		.manual =
			"Use files of certificates, keys and authorities as soon as they change, those of `postern cert` and `postern ca` too, without a reload." },
	{ "tls", TABLE_SECTION, TOP(tls), .inner = &table_tls },
	{ "authorities", TABLE_SECTION, TOP(authorities), .inner = &table_authorities },
	{ "tls_profiles", TABLE_LIST, TOP_LIST(tls_profile, tls_profiles), .inner = &table_profiles,
		.predefined = table_predefined_profiles, .predefined_count = TABLE_PREDEFINED_PROFILES },
	{ "listeners", TABLE_LIST, TOP_LIST(listener, listeners), .required = true, .inner = &listeners },
	{ "mail_flow_policies", TABLE_LIST, TOP_LIST(policy, policies), .inner = &policies },
	{ "sender_groups", TABLE_LIST, TOP_LIST(group, groups), .inner = &groups },
	{ "accepted_domains", TABLE_DOMAINS, TOP_LIST(accepted_domain, accepted_domains),
		.manual = "Domains whose mail the gateway takes from everybody; each needs a route." },
	{ "routes", TABLE_LIST, TOP_LIST(route, routes), .inner = &table_routes },
	{ "destinations", TABLE_LIST, TOP_LIST(destination, destinations), .inner = &table_destinations },
	{ "destination_settings", TABLE_SECTION, TOP(destination_settings),
		.inner = &table_destination_settings },
	{ "recipients", TABLE_SECTION, TOP(recipients), .inner = &recipients },
	{ "dns", TABLE_SECTION, TOP(dns), .inner = &dns },
	{ "fetch", TABLE_SECTION, TOP(fetch), .inner = &fetch },
	{ "crl_sources", TABLE_SECTION, TOP(crl), .inner = &table_crl },
	{ "delivery", TABLE_SECTION, TOP(delivery), .inner = &table_delivery },
	{ "limits", TABLE_SECTION, TOP(limits), .inner = &limits },
	{ "metrics", TABLE_SECTION, TOP(metrics), .inner = &metrics },
	{ "tracking", TABLE_SECTION, TOP(tracking), .inner = &tracking },
	{ "log", TABLE_SECTION, TOP(log), .inner = &logging },
	{ "reports", TABLE_WAITING, .manual = "Reports to other domains (TLSRPT)." },
	{ "alerts", TABLE_WAITING, .manual = "Who is told when something needs attention." },
};

static const char *const top_later[] = { "acme", "interfaces", "mta_sts", "smtp_auth_profiles",
	"ldap_servers", "radius_servers", "users_file", "aaa_groups", "group_policies", "email_proxy",
	"proxy_actions", "content_rules", "admin", "store", NULL };

const struct table_section table_top = { NULL, NULL, sizeof(struct config), ROWS(top_rows), top_later,
	"The top level of the file." };

_Static_assert(
	COUNT(top_rows) <= TABLE_ROWS_MAX, "the reader remembers the keys of a section in a fixed array");

const struct table_row *table_find(const struct table_section *section, struct text name)
{
	for (size_t i = 0; i < section->count; i++)
		if (text_equal(text_of(section->rows[i].name), name))
			return &section->rows[i];
	return NULL;
}

const struct table_row *table_list_of(const struct table_section *section)
{
	for (size_t i = 0; i < table_top.count; i++)
		if (table_top.rows[i].type == TABLE_LIST && table_top.rows[i].inner == section)
			return &table_top.rows[i];
	return NULL;
}

bool table_is_list(const struct table_row *row)
{
	return row->type == TABLE_LIST || row->type == TABLE_REFERENCES || row->type == TABLE_DURATIONS ||
	       row->type == TABLE_NETWORKS || row->type == TABLE_ADDRESSES || row->type == TABLE_DOMAINS ||
	       row->type == TABLE_ZONES || row->type == TABLE_SERVERS || row->type == TABLE_PEERS;
}

void *table_entry(const struct table_row *row, const void *base, size_t index)
{
	size_t count;
	char *array;

	memcpy(&count, (const char *)base + row->count, sizeof count);
	memcpy(&array, (const char *)base + row->offset, sizeof array);
	return index < count ? array + index * row->inner->size : NULL;
}

bool table_is_predefined(const void *entry)
{
	unsigned line;

	memcpy(&line, entry, sizeof line);
	return line == 0;
}

const char *table_label(const struct table_section *section, const void *entry)
{
	const char *label;

	if (section->label == NULL)
		return NULL;
	memcpy(&label, (const char *)entry + table_find(section, text_of(section->label))->offset,
		sizeof label);
	return label;
}
