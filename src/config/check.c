/*
 * Whole-file checks: what no single value can tell. Called once by config/config.c when the file could be read to its
 * end; config_gather() and every role run the same code, so a role never uses what `postern check` would refuse.
 *
 * The file may already have problems: a field can be NULL where its value was refused, and then the rules that need
 * it say nothing, so that one mistake is one line. The first rules keep the gateway from being an open relay.
 */
#include "config/check.h"

#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "config/config.h"
#include "config/marks.h"
#include "config/table.h"

#define PROBLEM(marks, i, path, ...)                                                                         \
	do {                                                                                                 \
		char *path_ = text_must(talloc_asprintf(marks, path, (i) + 1));                              \
		marks_problem(marks, MARKS_LOOK_UP, path_, __VA_ARGS__);                                     \
		talloc_free(path_);                                                                          \
	} while (0)

/* Things that must differ */

struct key {
	const char *text;
	size_t index;
};

static int by_text(const void *a, const void *b)
{
	const struct key *x = a, *y = b;
	int r = strcmp(x->text, y->text);

	return r != 0 ? r : (x->index > y->index) - (x->index < y->index);
}

/* Note each of `keys` that stands twice as a problem of `path` (with %zu for its number). */
static void check_differ(
	struct marks *marks, const char *list, const char *member, struct key *keys, size_t count)
{
	if (count > 1)
		qsort(keys, count, sizeof *keys, by_text);
	for (size_t i = 1; i < count; i++) {
		if (strcmp(keys[i - 1].text, keys[i].text) != 0)
			continue;
		char *path = text_must(talloc_asprintf(
			marks, "%s[%zu]%s%s", list, keys[i].index + 1, member[0] == '\0' ? "" : ".", member));
		marks_problem(marks, MARKS_LOOK_UP, path, "`%s` stands twice, first as entry %zu: remove one",
			keys[i].text, keys[i - 1].index + 1);
		talloc_free(path);
	}
}

static struct key *keys_new(const void *owner, size_t count)
{
	return text_must(talloc_array(owner, struct key, (unsigned)MAX(count, 1)));
}

/* Labels of every list that has them: names, domains. */
static void check_labels(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < table_top.count; i++) {
		const struct table_row *row = &table_top.rows[i];
		size_t count = 0, used = 0;

		if (row->type != TABLE_LIST || row->inner->label == NULL)
			continue;
		while (table_entry(row, config, count) != NULL)
			count++;
		count -=
			row->predefined_count; /* they stand last, and their names are refused by a row's check */
		struct key *keys = keys_new(marks, count);
		for (size_t n = 0; n < count; n++) {
			keys[used] = (struct key){ table_label(row->inner, table_entry(row, config, n)), n };
			used += keys[used].text != NULL;
		}
		check_differ(marks, row->name, row->inner->label, keys, used);
		talloc_free(keys);
	}
}

static void check_addresses(const struct config *config, struct marks *marks)
{
	struct key *keys = keys_new(marks, config->listener_count);
	size_t used = 0;

	for (size_t i = 0; i < config->listener_count; i++) {
		const struct ip *address = &config->listeners[i].address;
		char *text;

		if (address->family == 0 || address->port == 0)
			continue; /* each port 0 becomes another port */
		text = ip_format_port(address, text_must(talloc_size(keys, IP_TEXT_MAX)));
		keys[used++] = (struct key){ text, i };
	}
	check_differ(marks, "listeners", "address", keys, used);
	talloc_free(keys);
}

static void check_accepted_twice(const struct config *config, struct marks *marks)
{
	struct key *keys = keys_new(marks, config->accepted_domain_count);
	size_t used = 0;

	for (size_t i = 0; i < config->accepted_domain_count; i++)
		if (config->accepted_domains[i] != NULL)
			keys[used++] = (struct key){ config->accepted_domains[i], i };
	check_differ(marks, "accepted_domains", "", keys, used);
	talloc_free(keys);
}

/* Wider than any organisation's own addresses: relaying for two such halves would be relaying for all. */
static bool too_wide(const struct ip_network *network)
{
	return network->address.family != 0 &&
	       network->prefix < (network->address.family == AF_INET ? 8u : 16u);
}

/* Who may relay */

static void check_relay(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->listener_count; i++) {
		const struct config_listener *listener = &config->listeners[i];

		if (listener->policy == NULL || listener->policy->action != CONFIG_RELAY)
			continue;
		if (listener->type == CONFIG_PUBLIC)
			PROBLEM(marks, i, "listeners[%zu].policy",
				"policy `%s` relays, which a public listener would do for everybody: name a "
				"policy "
				"with `action: accept` here, and a relaying one in a sender group",
				listener->policy->name);
		else if (listener->address.family != 0 && !ip_is_loopback(&listener->address))
			PROBLEM(marks, i, "listeners[%zu].policy",
				"policy `%s` relays for every client that can reach this address: name a "
				"policy with "
				"`action: accept` or `reject` here, and a relaying one in a sender group",
				listener->policy->name);
	}
	for (size_t i = 0; i < config->group_count; i++) {
		const struct config_group *group = &config->groups[i];

		if (group->policy == NULL || group->policy->action != CONFIG_RELAY)
			continue;
		for (size_t n = 0; n < group->network_count; n++)
			if (too_wide(&group->networks[n]))
				PROBLEM(marks, i, "sender_groups[%zu].networks",
					"policy `%s` relays, and a network as wide as /%u is much of the Internet: name your own networks",
					group->policy->name, group->networks[n].prefix);
	}
}

/* TLS */

static void check_certificates_twice(
	const struct config_listener *listener, size_t index, struct marks *marks)
{
	for (size_t i = 0; i < listener->certificate_count; i++)
		for (size_t n = 0; n < i; n++)
			if (listener->certificates[i] != NULL &&
				listener->certificates[i] == listener->certificates[n])
				PROBLEM(marks, index, "listeners[%zu].certificate",
					"`%s` stands twice: remove one", listener->certificates[i]->name);
}

static void check_certificates(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->listener_count; i++) {
		const struct config_listener *listener = &config->listeners[i];
		char *path = text_must(talloc_asprintf(marks, "listeners[%zu].certificate", i + 1));
		bool named = marks_has(marks, path);

		talloc_free(path);
		if (named)
			check_certificates_twice(listener, i, marks);
		if (named || listener->certificate != NULL)
			continue;
		if (listener->policy != NULL && listener->policy->tls != CONFIG_TLS_NONE)
			PROBLEM(marks, i, "listeners[%zu].policy",
				"policy `%s` says `tls: %s`, but this listener has no certificate: name a "
				"certificate, or a policy with `tls: none`",
				listener->policy->name, config_tls_name(listener->policy->tls));
		for (size_t n = 0; n < config->group_count; n++) {
			const struct config_group *group = &config->groups[n];

			if (group->policy == NULL || group->policy->tls == CONFIG_TLS_NONE)
				continue;
			PROBLEM(marks, n, "sender_groups[%zu].policy",
				"policy `%s` says `tls: %s`, but listener `%s`, which this group can reach, "
				"has no "
				"certificate: name a certificate there, or a policy with `tls: none` here",
				group->policy->name, config_tls_name(group->policy->tls),
				listener->name == NULL ? "" : listener->name);
		}
	}
}

/* Where mail goes */

static void check_accepted_routes(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->route_count; i++)
		if (config->routes[i].domain == NULL)
			return; /* this may be the route that is missed below */

	for (size_t i = 0; i < config->accepted_domain_count; i++) {
		const char *domain = config->accepted_domains[i];

		if (domain != NULL && config_route_for(config, text_of(domain)) == NULL)
			PROBLEM(marks, i, "accepted_domains[%zu]",
				"there is no route for `%s`, and its MX records may name this gateway, so its mail "
				"would go in circles: add `- domain: %s` with its `next_hop` to routes, or a route "
				"for `default`",
				domain, domain);
	}
}

/* A connection to `hop` would arrive at `listener`. */
static bool is_own(const struct ip *hop, const struct ip *listener)
{
	const struct ip to = ip_unmapped(hop), ours = ip_unmapped(listener);

	if (to.family != ours.family || to.port != ours.port || to.family == 0)
		return false;
	if (ip_is_any(&ours) || ip_is_any(&to))
		return ip_is_any(&to) || ip_is_loopback(&to);
	return memcmp(to.bytes, ours.bytes, sizeof to.bytes) == 0;
}

static void check_loops(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->route_count; i++)
		for (size_t n = 0; n < config->listener_count; n++) {
			const struct config_listener *listener = &config->listeners[n];

			if (!is_own(&config->routes[i].address, &listener->address))
				continue;
			PROBLEM(marks, i, "routes[%zu].next_hop",
				"`%s` is listener `%s` of this gateway, so mail would go in circles: name "
				"the mail "
				"server behind the gateway",
				config->routes[i].next_hop, listener->name == NULL ? "" : listener->name);
			break;
		}
}

/* Handshakes */

static void check_profiles(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->tls_profile_count; i++) {
		const struct config_tls_profile *profile = &config->tls_profiles[i];

		if (profile->min_version > profile->max_version)
			PROBLEM(marks, i, "tls_profiles[%zu].min_version",
				"is newer than max_version, so no handshake could succeed: lower this one, or "
				"raise max_version");
		else if (profile->pfs == CONFIG_PFS_NONE && profile->min_version == CONFIG_TLS_1_3)
			PROBLEM(marks, i, "tls_profiles[%zu].pfs",
				"TLS 1.3 always has forward secrecy, so `none` leaves no version: write "
				"`min_version: 1.2`, or `pfs: allowed`");
	}
}

/* Who may speak for others: the named client would be believed, and may be one that relays. */

static void check_speakers(
	struct marks *marks, size_t index, const char *key, const struct ip_network *networks, size_t count)
{
	char *path = text_must(talloc_asprintf(marks, "listeners[%zu].%s", index + 1, key));

	for (size_t i = 0; i < count; i++)
		if (too_wide(&networks[i]))
			marks_problem(marks, MARKS_LOOK_UP, path,
				"a network as wide as /%u is much of the Internet, and whoever is in it could "
				"pass as any client: name your own servers",
				networks[i].prefix);
	talloc_free(path);
}

static void check_listeners(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->listener_count; i++) {
		const struct config_listener *listener = &config->listeners[i];

		check_speakers(marks, i, "proxy_protocol_from", listener->proxy_protocol_from,
			listener->proxy_protocol_from_count);
		check_speakers(
			marks, i, "xclient_from", listener->xclient_from, listener->xclient_from_count);
	}
}

static void check_metrics(const struct config *config, struct marks *marks)
{
	const struct ip *address = &config->metrics.address;

	if (address->family != 0 && !ip_is_loopback(address))
		marks_problem(marks, MARKS_LOOK_UP, "metrics.address",
			"the metrics page is for this machine only, because it asks nobody for a password: "
			"name a loopback address such as 127.0.0.1:9464");
}

void check_whole(const struct config *config, struct marks *marks)
{
	check_labels(config, marks);
	check_addresses(config, marks);
	check_accepted_twice(config, marks);
	check_relay(config, marks);
	check_certificates(config, marks);
	check_accepted_routes(config, marks);
	check_loops(config, marks);
	check_profiles(config, marks);
	check_listeners(config, marks);
	check_metrics(config, marks);
}
