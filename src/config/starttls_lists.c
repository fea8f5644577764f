#include "config/starttls_lists.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "config/domains.h"
#include "config/marks.h"
#include "config/names.h"

struct list {
	const struct config_peer *peers;
	size_t count;
};

static struct list list_of(const struct config *config, enum config_list list)
{
	const struct config_tls_settings *tls = &config->tls;

	return list == CONFIG_STARTTLS_NEVER
		       ? (struct list){ tls->starttls_never, tls->starttls_never_count }
		       : (struct list){ tls->starttls_required, tls->starttls_required_count };
}

int starttls_lists_read(const void *owner, struct text t, struct config_peer *ret_peer)
{
	struct config_peer peer = { 0 };
	struct text name = t;

	if (ip_network_parse(t, &peer.network) < 0) {
		peer.network = (struct ip_network){ 0 };
		if (name.len > 1 && name.at[0] == '*' && name.at[1] == '.')
			name = text_from(name, 1);
		const bool below = name.len > 0 && name.at[0] == '.';
		if (!names_is_domain(text_from(name, below), 1) || text_equal_nocase(name, TEXT("default")))
			return -EINVAL;
		peer.name = text_copy_lower(owner, name);
	}
	peer.text = text_copy(owner, t);
	*ret_peer = peer;
	return 0;
}

/* An entry that was refused is all zero. */
static bool is_network(const struct config_peer *peer)
{
	return peer->network.address.family != 0;
}

void starttls_lists_finish(const void *owner, struct config *config)
{
	for (int which = 0; which < CONFIG_LIST_END; which++) {
		const struct list list = list_of(config, (enum config_list)which);
		struct domains *names = domains_new(owner);

		for (size_t i = 0; i < list.count; i++)
			domains_add(names, list.peers[i].name, &list.peers[i]);
		config->listed_names[which] = names;
	}
}

static const struct config_peer *find_name(const struct domains *names, struct text name)
{
	if (name.len > 0 && name.at[name.len - 1] == '.')
		name.len--;
	return name.len == 0 ? NULL : domains_fit(names, name);
}

const struct config_peer *config_listed(const struct config *config, enum config_list which,
	const struct ip *address, const char *host, struct text domain)
{
	const struct list list = list_of(config, which);
	const struct config_peer *peer = NULL;

	for (size_t i = 0; address != NULL && i < list.count; i++)
		if (is_network(&list.peers[i]) && ip_in_network(address, &list.peers[i].network))
			return &list.peers[i];
	if (host != NULL)
		peer = find_name(config->listed_names[which], text_of(host));
	return peer != NULL ? peer : find_name(config->listed_names[which], domain);
}

/* Servers in both lists */

static void warn(const struct config *config, struct marks *marks, const struct config_peer *never,
	const struct config_peer *required)
{
	char *path = text_must(talloc_asprintf(
		marks, "tls.starttls_never[%zu]", (size_t)(never - config->tls.starttls_never) + 1));

	marks_warn(marks, MARKS_LOOK_UP, path,
		"`%s` has servers in common with `%s` of starttls_required, which wins: they get no mail without TLS; take them out of one of the lists",
		never->text, required->text);
	talloc_free(path);
}

static void warn_names(const struct config *config, struct marks *marks)
{
	const struct list never = list_of(config, CONFIG_STARTTLS_NEVER),
			  required = list_of(config, CONFIG_STARTTLS_REQUIRED);
	const struct config_peer *other;

	for (size_t i = 0; i < never.count; i++) {
		other = never.peers[i].name == NULL
				? NULL
				: find_name(config->listed_names[CONFIG_STARTTLS_REQUIRED],
					  text_of(never.peers[i].name));
		if (other != NULL)
			warn(config, marks, &never.peers[i], other);
	}
	for (size_t i = 0; i < required.count; i++) {
		other = required.peers[i].name == NULL
				? NULL
				: find_name(config->listed_names[CONFIG_STARTTLS_NEVER],
					  text_of(required.peers[i].name));
		if (other != NULL && strcmp(other->name, required.peers[i].name) != 0)
			warn(config, marks, other, &required.peers[i]);
	}
}

struct listed {
	const struct config_peer *peer;
	enum config_list list;
};

/* A network stands before those in it. */
static int by_network(const void *a, const void *b)
{
	const struct listed *left = a, *right = b;
	const struct ip_network *x = &left->peer->network, *y = &right->peer->network;
	int r = x->address.family - y->address.family;

	if (r == 0)
		r = memcmp(x->address.bytes, y->address.bytes, sizeof x->address.bytes);
	return r != 0 ? r : (int)x->prefix - (int)y->prefix;
}

/* The networks of both lists, sorted; how many. */
static size_t all_networks(const struct config *config, struct listed *ret_all)
{
	size_t count = 0;

	for (int which = 0; which < CONFIG_LIST_END; which++) {
		const struct list list = list_of(config, (enum config_list)which);

		for (size_t i = 0; i < list.count; i++)
			if (is_network(&list.peers[i]))
				ret_all[count++] = (struct listed){ &list.peers[i], (enum config_list)which };
	}
	qsort(ret_all, count, sizeof *ret_all, by_network);
	return count;
}

static bool holds(const struct config_peer *outer, const struct config_peer *inner)
{
	return outer->network.prefix <= inner->network.prefix &&
	       ip_in_network(&inner->network.address, &outer->network);
}

/* Sorted, the networks that hold an entry stand before it, and are those that are left on a stack. */
static void warn_networks(const struct config *config, struct marks *marks)
{
	enum { NESTED_MAX = CONFIG_LIST_END * 129 };
	const size_t most = config->tls.starttls_never_count + config->tls.starttls_required_count;
	struct listed *all = text_must(talloc_array(marks, struct listed, (unsigned)MAX(most, 1)));
	size_t count = all_networks(config, all), depth = 0;
	struct listed around[NESTED_MAX];

	for (size_t i = 0; i < count; i++) {
		while (depth > 0 && !holds(around[depth - 1].peer, all[i].peer))
			depth--;
		size_t n = depth;
		while (n > 0 && around[n - 1].list == all[i].list)
			n--;
		if (n > 0 && all[i].list == CONFIG_STARTTLS_NEVER)
			warn(config, marks, all[i].peer, around[n - 1].peer);
		else if (n > 0)
			warn(config, marks, around[n - 1].peer, all[i].peer);
		if (depth > 0 && around[depth - 1].list == all[i].list &&
			around[depth - 1].peer->network.prefix == all[i].peer->network.prefix)
			continue; /* the same once more */
		if (depth < NESTED_MAX)
			around[depth++] = all[i];
	}
	talloc_free(all);
}

/* A slip of the pen that would take TLS from all mail. */
static void warn_wide(const struct config *config, struct marks *marks)
{
	for (size_t i = 0; i < config->tls.starttls_never_count; i++) {
		const struct config_peer *peer = &config->tls.starttls_never[i];

		if (!is_network(peer) ||
			peer->network.prefix >= (peer->network.address.family == AF_INET ? 8u : 16u))
			continue;
		char *path = text_must(talloc_asprintf(marks, "tls.starttls_never[%zu]", i + 1));
		marks_warn(marks, MARKS_LOOK_UP, path,
			"`%s` is much of the Internet, which gets all its mail in clear: name single servers",
			peer->text);
		talloc_free(path);
	}
}

void starttls_lists_warn(const struct config *config, struct marks *marks)
{
	warn_wide(config, marks);
	warn_names(config, marks);
	warn_networks(config, marks);
}
