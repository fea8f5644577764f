#pragma once
/* Staples: what responders say about our own certificates, shown in handshakes to who asks for it (RFC 6066 section 8). Safe from any thread once they are in
 * use. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct peer;
struct staples;
struct tls_context;

/* None; owned by `owner`. */
struct staples *staples_new(const void *owner);

/* There shall be one for the first certificate of `chain` (PEM) if it names a responder and its issuer is in the chain, too. `name` is the certificate's in
 * logs. The same certificate counts once. */
void staples_add(struct staples *staples, const char *name, struct text chain);

/* Why clients that insist on a staple will refuse the first certificate of `chain`, whose issuer wants it to be shown with one (must-staple, RFC 7633); `on`: we
 * staple. Static; NULL when it needs none, or can have one. */
const char *staples_flaw(struct text chain, bool on);

/* How many there shall be. */
size_t staples_count(const struct staples *staples);

/* Take over what `before` has for the same certificates (NULL = nothing). */
void staples_inherit(struct staples *staples, struct staples *before);

/* Handshakes of `context` show the staple of the certificate that they present, while it is good. The context lives no longer than the staples. */
void staples_use(struct staples *staples, struct tls_context *context);

/* Ask role `upkeep` for those that are due: halfway to their ends; again and again, ever more slowly, while it fails. An old one stays until it ends. One
 * thread at a time; stop_fd readable ends it. Milliseconds until the next is due. */
int64_t staples_renew(struct staples *staples, struct peer *upkeep, int stop_fd);
