#include "config/starttls_lists.h"

#include <errno.h>

#include "base/base.h"
#include "config/names.h"

int starttls_lists_read(const void *owner, struct text t, struct config_peer *ret_peer)
{
	struct config_peer peer = { 0 };
	struct text name = t;

	if (ip_network_parse(t, &peer.network) < 0) {
		peer.network = (struct ip_network){ 0 };
		if (name.len > 1 && name.at[0] == '*' && name.at[1] == '.')
			name = text_from(name, 1);
		peer.below = name.len > 0 && name.at[0] == '.';
		name = text_from(name, peer.below);
		if (!names_is_domain(name, 1) || text_equal_nocase(name, TEXT("default")))
			return -EINVAL;
		peer.name = text_copy_lower(owner, name);
	}
	peer.text = text_copy(owner, t);
	*ret_peer = peer;
	return 0;
}

static bool fits_name(const struct config_peer *peer, struct text name)
{
	const struct text own = text_of(peer->name);

	if (name.len > 0 && name.at[name.len - 1] == '.')
		name.len--;
	if (!peer->below)
		return text_equal_nocase(name, own);
	return name.len > own.len + 1 && name.at[name.len - own.len - 1] == '.' &&
	       text_equal_nocase(text_from(name, name.len - own.len), own);
}

static bool fits(
	const struct config_peer *peer, const struct ip *address, struct text host, struct text domain)
{
	if (peer->name != NULL)
		return fits_name(peer, host) || fits_name(peer, domain);
	return peer->network.address.family != 0 && address != NULL && ip_in_network(address, &peer->network);
}

const struct config_peer *config_listed(const struct config *config, enum config_list list,
	const struct ip *address, const char *host, struct text domain)
{
	const bool never = list == CONFIG_STARTTLS_NEVER;
	const struct config_peer *peers = never ? config->tls.starttls_never : config->tls.starttls_required;
	const size_t count = never ? config->tls.starttls_never_count : config->tls.starttls_required_count;
	const struct text name = host == NULL ? (struct text){ "", 0 } : text_of(host);

	for (size_t i = 0; i < count; i++)
		if (fits(&peers[i], address, name, domain))
			return &peers[i];
	return NULL;
}
