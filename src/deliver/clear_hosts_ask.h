#pragma once
/* Looking at the temporary list (deliver/clear_hosts.h), and emptying it: `postern tls temporary`. Ask and answer stand in one file. */

#include <stdbool.h>

struct clear_hosts;
struct frame;

/* The ask, owned by `owner`; `empty`: forget all hosts. */
struct frame *clear_hosts_ask_frame(const void *owner, bool empty);

/* The serving side: the answer frame, one text of JSON: {on, emptied, hosts: [ADDRESS], left_s}: tls.retry_without_tls, the hosts as they were before, and how long until all are forgotten
 * anyway. Owned by `owner`, NULL for a malformed ask. */
struct frame *clear_hosts_ask_answer(struct clear_hosts *hosts, struct frame *ask, const void *owner);
