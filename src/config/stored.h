#pragma once
/* Where the store of certificates (pki/pki_store) lies, and what the configuration takes from it. Called by config/config.c around check_references(). */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct bundle;
struct config;
struct config_certificate;
struct marks;

/* Names below state_dir. */
#define STORED_DIRECTORY    "pki"
#define STORED_CERTIFICATES "certificates"
#define STORED_CHAIN	    "chain.pem"
#define STORED_KEY	    "key.pem"
#define STORED_ACTIVE	    "active"

/* The certificate that the gateway makes for itself when a listener names it and it does not exist. */
#define STORED_DEMO "demo"

/* True when `name` may name a certificate of the store: at most 64 letters, digits, `-`, `_` and `.`; the first is a letter or digit, and `.new` is not its
 * end. */
bool stored_is_name(struct text name);

/* True for the demo certificate of the store. */
bool stored_is_demo(const struct config_certificate *certificate);

/* Say it once when something of `parts` in the store (BUNDLE_CERTIFICATES) or in the lists of authorities beside it (BUNDLE_AUTHORITIES) belongs to others than root and the caller, or may be changed by others. */
void stored_check(const struct config *config, unsigned parts, struct marks *marks);

/* Add the name of the active certificate to `bundle`, if a listener wants it. */
void stored_gather(struct bundle *bundle, const struct config *config, struct marks *marks);

/* Before references: give entries without files those of the store, and add entries for the demo certificate and the active one where they are used. */
void stored_finish(struct config *config, const struct bundle *bundle, struct marks *marks);

/* After references: listeners that name no certificate get the active one. */
void stored_assign(struct config *config, const struct bundle *bundle, const struct marks *marks);

/* Add chain and key of entry number `index`, if it is of the store, to `bundle`, the chain for no reader yet; they belong together. False when it lacks them: said as a
 * problem, for the demo certificate as a warning. Listeners that present the demo certificate are warned about. */
bool stored_take(struct bundle *bundle, const struct config *config, size_t index, struct marks *marks);
