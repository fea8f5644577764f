#pragma once
/* Where the store of certificates (pki/pki_store) lies. */

#include <stdbool.h>

#include "base/text.h"

/* Names below state_dir. */
#define STORED_DIRECTORY    "pki"
#define STORED_CERTIFICATES "certificates"
#define STORED_CHAIN	    "chain.pem"
#define STORED_KEY	    "key.pem"
#define STORED_ACTIVE	    "active"

/* True when `name` may name a certificate of the store: at most 64 letters, digits, `-`, `_` and `.`; the first is a letter or digit, and `.new` is not its
 * end. */
bool stored_is_name(struct text name);
