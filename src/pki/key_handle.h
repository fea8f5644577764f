#pragma once
/* Private keys that are not here: OpenSSL signs with a handle, and role `keys` makes the signature. */

struct key_handles;
struct peer;
typedef struct evp_pkey_st EVP_PKEY;

/* How long a handshake waits for a signature while `keys` is away. */
enum { KEY_HANDLE_WAIT_MS = 10000 };

/* What all handles of this process share, owned by `owner`; it must outlive every TLS context that has one. They ask `keys`, until stop_fd is
 * readable. */
struct key_handles *key_handle_start(const void *owner, struct peer *keys, int stop_fd);

/* A handle for the private half of `public`, called `name` in logs (copied); free it as any key. NULL when its kind is not known. */
EVP_PKEY *key_handle_new(struct key_handles *handles, EVP_PKEY *public, const char *name);
