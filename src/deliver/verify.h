#pragma once
/* Call-ahead: asking the next hop whether it takes mail for a recipient, without sending any (setting recipients.call_ahead). `front` asks role
 * `deliver`, which has the outbound network; ask and answer stand in one file. */

#include <stdint.h>

#include "policy/recipient.h"

struct deliver_house;
struct frame;
struct peer;

/* Ask `deliver` about `recipient` for the session `icid`; RECIPIENT_LATER when it cannot be found out within `within_ms`. */
enum recipient_answer verify_ask(
	struct peer *deliver, const char *icid, const char *recipient, int stop_fd, int64_t within_ms);

/* The serving side: connect, MAIL FROM:<>, RCPT TO, and hang up. The answer frame owned by `owner`; NULL for a malformed ask. */
struct frame *verify_answer(const struct deliver_house *house, struct frame *ask, const void *owner);
