/* The part of the table that is about where mail goes, and how: config/table.c says how it is read. */
#include "config/idn.h"
#include "config/routes.h"
#include "config/table_private.h"

static const struct table_word levels[] = {
	{ "none", CONFIG_TLS_NONE },
	{ "preferred", CONFIG_TLS_PREFERRED },
	{ "required", CONFIG_TLS_REQUIRED },
	{ "preferred-verify", CONFIG_TLS_PREFERRED_VERIFY },
	{ "required-verify", CONFIG_TLS_REQUIRED_VERIFY },
	{ "required-verify-hosted", CONFIG_TLS_REQUIRED_VERIFY_HOSTED },
	{ "dane", TABLE_KEY },
	{ "mta_sts", TABLE_KEY },
	{ NULL, 0 },
};

static const struct table_word dane_words[] = {
	{ "none", CONFIG_DANE_NONE },
	{ "opportunistic", CONFIG_DANE_OPPORTUNISTIC },
	{ "mandatory", CONFIG_DANE_MANDATORY },
	{ "audit", CONFIG_DANE_AUDIT },
	{ NULL, 0 },
};

static char *read_helo(const void *owner, struct text value, void *entry)
{
	return idn_read_host(owner, value, &((struct config_route *)entry)->helo);
}

static const struct table_row route_rows[] = {
	{ "domain", TABLE_DOMAIN, AT(route, domain), .required = true,
		.manual = "The recipient domain; `.example.com` means all domains below it, `default` all "
			  "others." },
	{ "next_hop", TABLE_NEXT_HOP, AT(route, next_hop), .required = true, .check = routes_read_hop,
		.manual =
			"The server that takes this mail, each with an optional port: an address such as `192.0.2.1`, "
			"`192.0.2.1:2525` or `[2001:db8::1]:2525`; a host name such as `mail.example.com` (its MX "
			"records do not count); or `mx:example.com`, the hosts that the MX records of this domain "
			"name. The port is 25, with `mx:` that of `delivery.port`, and 465 with `implicit_tls`." },
	{ "source", TABLE_ADDRESSES, AT(route, source), AT(route, source_count),
		.manual =
			"Addresses of this machine to connect from, one IPv4 and one IPv6 address at most. With only "
			"one of them servers are reached by its family only. Without any the system chooses." },
	{ "helo", TABLE_HOSTNAME, AT(route, helo), .check = read_helo,
		.manual = "The name that EHLO says; the default is `hostname`." },
	{ "implicit_tls", TABLE_BOOL, AT(route, implicit_tls), .standard = "false",
		.manual =
			"The server expects TLS from the first byte (submissions, port 465); STARTTLS is not used." },
	{ "username", TABLE_TEXT, AT(route, username),
		.manual =
			"Log in to the server (AUTH PLAIN or LOGIN) under this name. It happens only in TLS and after the "
			"server's certificate was verified: by `authorities`, and for the host name or address of "
			"`next_hop`, which therefore cannot be `mx:`. Otherwise the mail is deferred." },
	{ "password_file", TABLE_PATH, AT(route, password_file),
		.manual =
			"File whose first line is the password for `username`; others must not be able to read it." },
};

const struct table_section table_routes = { "routes", "domain", sizeof(struct config_route), ROWS(route_rows),
	.manual =
		"Where mail goes; the entry that fits a domain best counts. Mail for other domains goes to the hosts "
		"that the MX records of the domain name, or to the domain itself when it has none." };

static const struct table_row destination_rows[] = {
	{ "domain", TABLE_DESTINATION, AT(destination, domain), .required = true,
		.manual =
			"A domain; `.example.com` means all domains below it, `default` all others. `concurrency` and `rate` are about the next hop, "
			"the other keys about the domain of the recipient. A next hop is the domain whose MX "
			"records are used, or the host, or the address without its port, that a route names." },
	{ "tls", TABLE_CHOICE, AT(destination, tls), .optional = true, .words = levels,
		.manual =
			"none: never STARTTLS; preferred: STARTTLS where the server offers it; required: no delivery without it. At these the certificate of the server is recorded, and nothing depends on it. "
			"preferred-verify: as preferred, and it is recorded whether the certificate is good; required-verify: no delivery without a good one, from an authority that we trust "
			"(`authorities`) and for the domain of the recipient; required-verify-hosted: the same, but it may also be for the host that an MX record or a route names, or for the name that the "
			"DNS gives its address. Those names are as trustworthy as the DNS: without DNSSEC the hosted level shows that mail is encrypted for a server with a certificate, not that it is the right one." },
	{ "dane", TABLE_CHOICE, AT(destination, dane), .optional = true, .words = dane_words,
		.manual =
			"TLSA records of the servers (DANE, RFC 7672). none: they are not looked up; opportunistic: where a server has them, TLS is demanded and its certificate must match; mandatory: no "
			"delivery to a server without them; audit: the result is recorded, and nothing depends on it. With `tls: none` in the same entry only none, which is meant there when nothing is written." },
	{ "tls_profile", TABLE_REFERENCE, AT(destination, tls_profile), .inner = &table_profiles,
		.manual =
			"How handshakes with the servers of this domain are done, an entry of `tls_profiles`; without one as `TLS-Client.Standard`." },
	{ "certificate", TABLE_REFERENCE, AT(destination, certificate), .inner = &table_certificates,
		.manual = "The certificate that is shown to servers of this domain that ask for one." },
	{ "authorities", TABLE_SECTION, AT(destination, authorities), .optional = true,
		.inner = &table_destination_authorities },
	{ "mta_sts", TABLE_WAITING, .manual = "MTA-STS for this domain." },
	{ "concurrency", TABLE_NUMBER, AT(destination, concurrency), .optional = true, LIMITS(1, 64),
		.manual = "As `concurrency` in `delivery`, for this next hop." },
	{ "rate", TABLE_NUMBER, AT(destination, rate), .optional = true, LIMITS(0, 1000000),
		.manual = "As `rate` in `delivery`, for this next hop." },
};

static const char *const destination_later[] = { "smtp_auth", "limits", "interface", NULL };

const struct table_section table_destinations = {
	"destinations", "domain", sizeof(struct config_destination), ROWS(destination_rows),
	destination_later,
	"How mail is delivered. What an entry does not say, the next wider one does (`.example.com`, then `default`); after that "
	"`tls` is what `starttls_when_possible` in `tls` says, `dane` is opportunistic, or none where that level is none, the certificate is that of `destination_settings`, and `concurrency` and `rate` are those of `delivery`."
};

static const struct table_row destination_setting_rows[] = {
	{ "certificate", TABLE_REFERENCE, AT(destination_settings, certificate), .inner = &table_certificates,
		.manual =
			"The certificate that is shown to servers that ask for one, unless `destinations` says otherwise; without any nothing is shown." },
	{ "alert_on_required_tls_failure", TABLE_WAITING,
		.manual = "Tell somebody when mail cannot be delivered because it demands TLS." },
};

const struct table_section table_destination_settings = { "destination_settings", NULL,
	sizeof(struct config_destination_settings), ROWS(destination_setting_rows),
	.manual = "What holds towards all destinations." };

#define TIMEOUT(name, default, text)                                                                         \
	{                                                                                                    \
#name, TABLE_DURATION, AT(timeouts, name##_ms), .standard = (default),                       \
								LIMITS(100, HOURS(1)), .manual = (text)      \
	}

static const struct table_row timeout_rows[] = {
	TIMEOUT(connect, "30s", "The connection, for each address."),
	TIMEOUT(greeting, "5m", "The greeting."),
	TIMEOUT(hello, "5m", "The reply to EHLO or HELO."),
	TIMEOUT(starttls, "2m", "The reply to STARTTLS, and the handshake behind it."),
	TIMEOUT(mail, "5m", "The reply to MAIL."),
	TIMEOUT(rcpt, "5m", "The reply to each RCPT."),
	TIMEOUT(data, "2m", "The reply to DATA."),
	TIMEOUT(block, "3m", "Taking the next piece of the message."),
	TIMEOUT(end, "10m", "The reply to the end of the message, during which the peer stores it."),
};

static const struct table_section timeouts = {
	"delivery.timeouts", NULL, sizeof(struct config_timeouts), ROWS(timeout_rows),
	.manual =
		"How long a peer may take for each step of a delivery; the defaults are those of RFC 5321, and a peer that needs longer is tried again."
};

static const struct table_row delivery_rows[] = {
	{ "retry", TABLE_DURATIONS, AT(delivery, retry_ms), AT(delivery, retry_count),
		.standard = "15m, 15m, 30m, 1h, 2h", LIMITS(100, DAYS(7)),
		.manual =
			"Waiting times before the second, third, ... attempt; the last one repeats. A change counts "
			"from the next attempt on. A next hop that cannot be reached pauses as a whole: 30 s, then twice as long each time it is tried in vain, ten minutes at most; never longer than the longest time here, nor at first than the first." },
	{ "expire", TABLE_DURATION, AT(delivery, expire_ms), .standard = "5d", LIMITS(SECONDS(1), DAYS(30)),
		.manual =
			"Age at which a mail that could not be delivered is returned to its sender. Only time counts in "
			"which the gateway ran (and a rest of an hour at most): a jump of the clock returns nothing." },
	{ "delay_warning", TABLE_DURATION, AT(delivery, delay_warning_ms), .standard = "4h",
		LIMITS(SECONDS(1), DAYS(30)), .or_zero = true,
		.manual =
			"Age from which the sender of a mail that still waits is told so, once for each recipient; "
			"0 = never. A sender who says `NOTIFY=` without `DELAY` is not told." },
	{ "bounce_size", TABLE_SIZE, AT(delivery, bounce_size), .standard = "50KiB", LIMITS(0, MiB(10)),
		.manual =
			"Largest mail that is returned whole in a failure report, when its sender said `RET=FULL`. "
			"Without that, and above it, a report has the header only." },
	{ "double_bounce", TABLE_MAILBOX, AT(delivery, double_bounce),
		.manual =
			"Address that is told when mail without a sender, such as a report, fails: with the header of "
			"that mail. Without it such mail is dropped, with the event `dsn_dropped`." },
	{ "concurrency", TABLE_NUMBER, AT(delivery, concurrency), .standard = "20", LIMITS(1, 64),
		.manual =
			"Connections at once to one destination, unless `destinations` says otherwise. It begins with two and earns one more with each mail it answers; a failure halves them. All destinations share `connections`: none gets more than it leaves free." },
	{ "connections", TABLE_NUMBER, AT(delivery, connections), .standard = "40", LIMITS(1, 60),
		.manual =
			"Connections at once to all destinations together. Those that do not answer get half of them at most, so that they never delay the others." },
	{ "rate", TABLE_NUMBER, AT(delivery, rate), .standard = "0", LIMITS(0, 1000000),
		.manual =
			"Mails a minute to one destination, evenly spaced, unless `destinations` says otherwise; 0 = any "
			"number." },
	{ "port", TABLE_NUMBER, AT(delivery, port), .standard = "25", LIMITS(1, 65535),
		.manual = "Port of the hosts that MX records name." },
	{ "timeouts", TABLE_SECTION, AT(delivery, timeouts), .inner = &timeouts },
};

const struct table_section table_delivery = { "delivery", NULL, sizeof(struct config_delivery),
	ROWS(delivery_rows), .manual = "When and how eagerly mail is delivered." };
