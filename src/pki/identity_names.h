#pragma once
/* Several certificates on one listener: by the name that the client asks for (SNI), and by what it can verify. */

#include <stddef.h>

struct identity;
struct tls_context;

/* Let `context` prove itself with one of `identities` (kept; at least one), the first one for who asks for no name or for one that none of them
 * has. Once for a context; what it needs is owned by it. 0, or ERR_TLS. */
int identity_names_use(const struct identity *const *identities, size_t count, struct tls_context *context);
