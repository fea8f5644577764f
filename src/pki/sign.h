#pragma once
/* Asking role `keys` to use a private key. */

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/text.h"
#include "policy/key_use.h"

struct frame;
struct peer;

/* The most bytes that can be signed or opened, and that an answer has. */
enum { SIGN_BYTES_MAX = 2048 };

struct sign_request {
	struct digest key; /* identity_key_id() of its public half */
	enum key_use_kind kind;
	enum key_use_digest digest; /* of KEY_USE_PREMASTER nothing */
	unsigned version;	    /* of KEY_USE_PREMASTER: the protocol that the client offered */
	struct text bytes;	    /* the digest, or the encrypted secret */
};

/* Ask until `deadline` (clock_mono_ms()), again and again while `keys` is being restarted or has no time. The number of bytes in `ret_bytes`
 * (SIGN_BYTES_MAX) with *ret_verdict KEY_USE_YES; 0 with another verdict; or a negative error: nobody answered. */
int sign_ask(struct peer *keys, const struct sign_request *request, int stop_fd, int64_t deadline,
	char *ret_bytes, enum key_use *ret_verdict);

/* The serving side: what is asked, borrowing from the frame; false when it is malformed. */
bool sign_read(struct frame *ask, struct sign_request *ret_request);

/* The answer, owned by `owner`; `bytes` is empty unless the verdict is KEY_USE_YES. */
struct frame *sign_answer(const void *owner, enum key_use verdict, struct text bytes);
