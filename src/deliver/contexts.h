#pragma once
/* How handshakes with servers are done under one configuration, and who may vouch for them. Immutable; safe from any thread. */

struct bundle;
struct config;
struct config_authorities;
struct config_certificate;
struct config_tls_profile;
struct contexts;
struct key_handles;
struct tls_context;
struct trust;

/* For every pair of a TLS profile and a client certificate that mail may meet, owned by `owner`; `handles` ask for signatures. NULL and why (static) when one
 * cannot be used. */
const struct contexts *contexts_new(const void *owner, const struct config *config,
	const struct bundle *bundle, struct key_handles *handles, const char **ret_why);

/* The one for handshakes as `profile` says (NULL = as TLS-Client.Standard) that show `certificate` to servers which ask for one (NULL = none). */
struct tls_context *contexts_find(const struct contexts *contexts, const struct config_tls_profile *profile,
	const struct config_certificate *certificate);

/* Whom a destination trusts that says `authorities`; borrowed. */
const struct trust *contexts_trust(
	const struct contexts *contexts, const struct config_authorities *authorities);
