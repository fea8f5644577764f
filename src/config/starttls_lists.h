#pragma once
/* tls.starttls_never and tls.starttls_required: servers by address, host name or domain. Private to the room; others ask config_listed(). */

#include "base/text.h"
#include "config/config.h"

struct marks;

/* Read an entry; its texts are owned by `owner`. 0, or -EINVAL. */
int starttls_lists_read(const void *owner, struct text t, struct config_peer *ret_peer);

/* Call once after the file is read: prepares config_listed(). */
void starttls_lists_finish(const void *owner, struct config *config);

/* Warn of servers that are in both lists. */
void starttls_lists_warn(const struct config *config, struct marks *marks);
