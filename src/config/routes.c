/*
 * Where mail goes, as the operator says it. A next hop is an address, a host name or `mx:` and a domain; what goes with it (source, helo,
 * TLS, credentials) is checked here, because no single key can tell. A password never is in the configuration: only the file's path is.
 */
#include "config/routes.h"

#include <string.h>
#include <sys/stat.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "base/interfaces.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/idn.h"
#include "config/marks.h"
#include "config/names.h"
#include "config/value.h"

enum { PORT_SMTP = 25, PORT_SUBMISSIONS = 465, PASSWORD_MAX = 1024 };

#define PROBLEM(marks, i, key, ...)                                                                          \
	do {                                                                                                 \
		char *path_ = text_must(talloc_asprintf(marks, "routes[%zu]." key, (i) + 1));                \
		marks_problem(marks, MARKS_LOOK_UP, path_, __VA_ARGS__);                                     \
		talloc_free(path_);                                                                          \
	} while (0)

/* Next hops */

static char *bad_port(const void *owner)
{
	return text_must(talloc_strdup(owner, "must name a port from 1 to 65535, or none for the usual one"));
}

/* `[192.0.2.1]` and `[192.0.2.1]:25` are `192.0.2.1` and `192.0.2.1:25`. */
static struct text without_brackets(const void *owner, struct text value)
{
	size_t close = text_find(value, ']');

	if (value.len == 0 || value.at[0] != '[' || close == value.len ||
		text_find(text_first(value, close), ':') < close)
		return value;
	return text_of(text_must(talloc_asprintf(owner, TEXT_FMT TEXT_FMT,
		TEXT_ARG(text_from(text_first(value, close), 1)), TEXT_ARG(text_from(value, close + 1)))));
}

/* No host name has two colons, or no letter at all; bytes beyond ASCII are letters. */
static bool looks_like_address(struct text value)
{
	size_t letters = 0, colons = 0;

	for (size_t i = 0; i < value.len; i++) {
		char c = text_lower(value.at[i]);

		letters += (c >= 'a' && c <= 'z') || (unsigned char)c > 0x7f;
		colons += c == ':';
	}
	return value.len > 0 && (letters == 0 || colons >= 2);
}

char *routes_read_hop(const void *owner, struct text value, void *entry)
{
	struct config_route *route = entry;
	struct text bare = without_brackets(owner, value);
	bool mx = text_starts_nocase(value, TEXT("mx:"));
	uint64_t port = 0;

	route->port = 0;
	if (!mx && ip_parse(bare, &route->address) == 0) {
		route->hop = CONFIG_HOP_ADDRESS;
		route->port = route->address.port;
		return route->port == 0 && value_names_port(bare, &route->address) ? bad_port(owner) : NULL;
	}

	if (!mx && looks_like_address(bare))
		return text_must(talloc_asprintf(owner,
			"`%s` looks like an address with a mistake in it: write one such as 192.0.2.1:25 or "
			"[2001:db8::1]:25",
			value_short(owner, value)));

	struct text rest = mx ? text_from(value, 3) : value;
	size_t colon = text_find(rest, ':');
	const char *why;
	const char *host = idn_to_ascii(owner, text_first(rest, colon), &why);
	if (host == NULL)
		return text_must(talloc_asprintf(
			owner, "`%s` cannot be a next hop: %s", value_short(owner, value), why));
	if (!names_is_domain(text_of(host), 1))
		return text_must(talloc_asprintf(
			owner, "expected %s; found `%s`", ROUTES_HOP_EXPECTED, value_short(owner, value)));
	if (colon < rest.len && (text_number(text_from(rest, colon + 1), UINT16_MAX, &port) < 0 || port == 0))
		return bad_port(owner);

	route->hop = mx ? CONFIG_HOP_MX : CONFIG_HOP_HOST;
	route->host = text_copy_lower(owner, text_of(host));
	route->port = (uint16_t)port;
	return NULL;
}

static void set_port(struct config_route *route, uint16_t mx_port)
{
	if (route->port == 0)
		route->port = route->implicit_tls	    ? PORT_SUBMISSIONS
			      : route->hop == CONFIG_HOP_MX ? mx_port
							    : PORT_SMTP;
	if (route->hop == CONFIG_HOP_ADDRESS && route->address.family != 0)
		route->address.port = route->port;
}

void routes_finish(struct config *config)
{
	for (size_t i = 0; i < config->route_count; i++)
		set_port(&config->routes[i], (uint16_t)config->delivery.port);
}

const struct config_route *config_route_to(
	const void *owner, const struct config *config, const char *next_hop)
{
	struct config_route *route = text_must(talloc_zero(owner, struct config_route));

	route->domain = "";
	route->next_hop = text_copy(route, text_of(next_hop));
	if (routes_read_hop(route, text_of(next_hop), route) != NULL)
		return NULL;
	set_port(route, config == NULL ? PORT_SMTP : (uint16_t)config->delivery.port);
	return route;
}

const char *config_next_hop_flaw(const void *owner, const char *next_hop)
{
	struct config_route *route = text_must(talloc_zero(owner, struct config_route));

	return routes_read_hop(route, text_of(next_hop), route);
}

bool config_route_source(const struct config_route *route, sa_family_t family, const struct ip **ret_source)
{
	*ret_source = NULL;
	if (route == NULL || route->source_count == 0)
		return true;
	for (size_t i = 0; i < route->source_count; i++)
		if (route->source[i].family == family)
			*ret_source = &route->source[i];
	return *ret_source != NULL;
}

struct text config_password(struct text bytes)
{
	struct text line = text_first(bytes, text_find(bytes, '\n'));

	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	for (size_t i = 0; i < line.len; i++)
		if ((unsigned char)line.at[i] < 0x20 || line.at[i] == 0x7f)
			line.len = 0;
	return line;
}

/* What contradicts itself */

static void check_sources(const struct config_route *route, size_t i, struct marks *marks)
{
	static const uint8_t zero[16];
	const struct ip *source;

	for (size_t n = 0; n < route->source_count; n++) {
		if (route->source[n].family == 0)
			return; /* said before */
		if (memcmp(route->source[n].bytes, zero, sizeof zero) == 0)
			PROBLEM(marks, i, "source",
				"an address of zeros is none: remove it to let the system choose");
		for (size_t m = 0; m < n; m++)
			if (route->source[m].family == route->source[n].family)
				PROBLEM(marks, i, "source",
					"two addresses of one family: keep one IPv4 and one IPv6 address at most");
	}
	if (route->hop == CONFIG_HOP_ADDRESS && route->address.family != 0 &&
		!config_route_source(route, route->address.family, &source))
		PROBLEM(marks, i, "source",
			"no address here has the family of `%s`: add one, or name a next hop of the other family",
			route->next_hop);
}

static void check_credentials(const struct config_route *route, size_t i, struct marks *marks)
{
	if (route->username == NULL && route->password_file != NULL)
		PROBLEM(marks, i, "password_file",
			"there is no `username` to use it for: add it, or remove this");
	if (route->username == NULL)
		return;
	if (route->password_file == NULL)
		PROBLEM(marks, i, "username",
			"there is no password: add `password_file` with the path of a file that holds it");
	if (route->hop == CONFIG_HOP_MX && route->host != NULL)
		PROBLEM(marks, i, "username",
			"credentials go only to a server that is named here, not to whatever MX records say: write "
			"the host's name as next_hop");
}

/* `tls: none` and a route that cannot do without would defer all mail. */
static void check_levels(
	const struct config *config, const struct config_route *route, size_t i, struct marks *marks)
{
	const struct config_destination *destination;

	if ((!route->implicit_tls && route->username == NULL) || route->domain == NULL)
		return;
	for (size_t n = 0; n < config->destination_count; n++)
		if (config->destinations[n].domain == NULL)
			return;
	destination = config_destination_for(config, text_of(route->domain), CONFIG_SAYS_TLS);
	if (destination == NULL || destination->tls != CONFIG_TLS_NONE)
		return;
	if (route->implicit_tls)
		PROBLEM(marks, i, "implicit_tls",
			"destination `%s` says `tls: none`, so nothing could be delivered: write `tls: required` "
			"there",
			destination->domain);
	else
		PROBLEM(marks, i, "username",
			"destination `%s` says `tls: none`, and credentials need TLS: write `tls: required` there",
			destination->domain);
}

/* Mail for our own name would come back to us. */
static void check_own_name(
	const struct config *config, const struct config_route *route, size_t i, struct marks *marks)
{
	if (route->hop != CONFIG_HOP_HOST || route->host == NULL || config->hostname == NULL ||
		!text_equal_nocase(text_of(route->host), text_of(config->hostname)))
		return;
	for (size_t n = 0; n < config->listener_count; n++) {
		const struct config_listener *listener = &config->listeners[n];

		if (listener->address.port != route->port)
			continue;
		PROBLEM(marks, i, "next_hop",
			"`%s` is this gateway and its port that of listener `%s`, so mail would go in circles: name "
			"the mail server behind the gateway",
			route->next_hop, listener->name == NULL ? "" : listener->name);
		return;
	}
}

void routes_check(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->route_count; i++) {
		const struct config_route *route = &config->routes[i];

		if (route->next_hop == NULL)
			continue;
		check_sources(route, i, marks);
		check_credentials(route, i, marks);
		check_levels(config, route, i, marks);
		check_own_name(config, route, i, marks);
	}
}

/* What the disk and the machine can tell */

static void warn_sources(const struct config_route *route, size_t i, struct marks *marks)
{
	char text[IP_TEXT_MAX];

	for (size_t n = 0; n < route->source_count; n++) {
		if (route->source[n].family == 0 || interfaces_have(&route->source[n]))
			continue;
		char *path = text_must(talloc_asprintf(marks, "routes[%zu].source", i + 1));
		marks_warn(marks, MARKS_LOOK_UP, path,
			"`%s` is no address of this machine now: mail of this route waits until it is",
			ip_format(&route->source[n], text));
		talloc_free(path);
	}
}

/* A password that others can read is refused, not only warned of: it is worth something on another machine. */
static void gather_password(
	struct bundle *bundle, const struct config_route *route, size_t i, struct marks *marks)
{
	const char *path = route->password_file;
	struct stat status;
	int r;

	if (path == NULL)
		return;
	if (stat(path, &status) == 0 && (status.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)) != 0) {
		PROBLEM(marks, i, "password_file",
			"the mode of `%s` lets %s this password: run `chmod 600` on it, or 640", path,
			(status.st_mode & S_IROTH) != 0	  ? "everybody read"
			: (status.st_mode & S_IWOTH) != 0 ? "everybody change"
							  : "its group change");
		return;
	}
	r = bundle_add_file(bundle, path, BUNDLE_DELIVER);
	if (r < 0) {
		PROBLEM(marks, i, "password_file",
			"`%s` cannot be read: %s; correct the path or put the file there", path,
			r == -EFBIG ? "it is larger than 1 MiB" : err_text(r));
		return;
	}
	size_t len = config_password(bundle_find(bundle, path)).len;
	if (len == 0)
		PROBLEM(marks, i, "password_file",
			"the first line of `%s` is empty or holds control characters: write the password there",
			path);
	else if (len > PASSWORD_MAX)
		PROBLEM(marks, i, "password_file", "the first line of `%s` is longer than %d bytes", path,
			PASSWORD_MAX);
}

void routes_gather(struct bundle *bundle, const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->route_count; i++) {
		warn_sources(&config->routes[i], i, marks);
		gather_password(bundle, &config->routes[i], i, marks);
	}
}
