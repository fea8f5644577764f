/* The null sender is used, as for a report: a server that refuses it for a real recipient refuses our reports too. Only a clear 5xx to RCPT means
 * no; everything else that is not 2xx means later (doubt is temporary). */
#include "deliver/verify.h"

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "deliver/deliver.h"
#include "deliver/link.h"
#include "ipc/frame.h"
#include "ipc/peer.h"
#include "lookup/route.h"
#include "lookup/tls_facts.h"
#include "queue/envelope.h"

enum { STEP_S = 20 };

enum recipient_answer verify_ask(struct peer *deliver, const char *recipient, int stop_fd, int64_t within_ms)
{
	struct frame *ask = frame_new(NULL, FRAME_VERIFY), *answer;
	enum recipient_answer result = RECIPIENT_LATER;

	frame_put_text(ask, text_of(recipient));
	if (peer_ask(deliver, ask, ask, stop_fd, clock_mono_ms() + within_ms, &answer) == 0) {
		int64_t number = frame_get_range(answer, RECIPIENT_NOT_ASKED, RECIPIENT_LATER);

		if (frame_done(answer) == 0)
			result = (enum recipient_answer)number;
	}
	talloc_free(ask);
	return result;
}

static enum recipient_answer ask_link(struct link *link, const char *recipient)
{
	struct smtp_reply reply;

	if (link_ask(link, STEP_S, &reply, "MAIL FROM:<>") < 0 || smtp_reply_class(&reply) != 2)
		return RECIPIENT_LATER;
	if (link_ask(link, STEP_S, &reply, "RCPT TO:<%s>", recipient) < 0)
		return RECIPIENT_LATER;
	return smtp_reply_class(&reply) == 2   ? RECIPIENT_YES
	       : smtp_reply_class(&reply) == 5 ? RECIPIENT_NO
					       : RECIPIENT_LATER;
}

static enum recipient_answer verify(
	const struct deliver_house *house, const char *recipient, const void *scratch)
{
	const char *domain = text_copy_lower(scratch, envelope_domain(recipient));
	const struct ip *address = route_address(house->config, domain);
	struct tls_facts facts = tls_facts_gather(house->config, domain);
	struct tls_decision decision = tls_decide(&facts);
	struct failure failure;
	struct link *link;

	if (address == NULL || link_open(house, address, route_destination(house->config, domain), &decision,
				       &link, &failure) < 0)
		return RECIPIENT_LATER;

	enum recipient_answer result = ask_link(link, recipient);
	link_close(link);
	return result;
}

struct frame *verify_answer(const struct deliver_house *house, struct frame *ask, const void *owner)
{
	const char *recipient = frame_get_copy(ask, ask);

	if (frame_done(ask) < 0)
		return NULL;

	enum recipient_answer result = verify(house, recipient, ask);
	struct frame *answer = frame_new(owner, FRAME_ANSWER);
	frame_put_number(answer, result);
	log_event(LOG_INFO, "recipient_verified", log_str("recipient", recipient), log_num("answer", result));
	return answer;
}
