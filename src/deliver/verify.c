/* The null sender is used, as for a report: a server that refuses it for a real recipient refuses our reports too. Only what is said to RCPT
 * says anything about the recipient (policy/recipient.c knows what); everything else means later (doubt is temporary). */
#include "deliver/verify.h"

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "deliver/deliver.h"
#include "deliver/link.h"
#include "deliver/stop.h"
#include "ipc/frame.h"
#include "ipc/peer.h"
#include "lookup/route.h"
#include "queue/envelope.h"

enum { STEP_MS = 20000, ALL_MS = 40000 }; /* `front` waits 45 s */

enum recipient_answer verify_ask(
	struct peer *deliver, const char *icid, const char *recipient, int stop_fd, int64_t within_ms)
{
	struct frame *ask = frame_new(NULL, FRAME_VERIFY), *answer;
	enum recipient_answer result = RECIPIENT_LATER;

	frame_put_text(ask, text_of(icid));
	frame_put_text(ask, text_of(recipient));
	if (peer_ask(deliver, ask, ask, stop_fd, clock_mono_ms() + within_ms, &answer) == 0) {
		int64_t number = frame_get_range(answer, RECIPIENT_NOT_ASKED, RECIPIENT_LATER);

		if (frame_done(answer) == 0)
			result = (enum recipient_answer)number;
	}
	talloc_free(ask);
	return result;
}

/* What was found out, and the words it rests on: the peer's, or ours when it said nothing. */
struct finding {
	enum recipient_answer answer;
	const char *host; /* the next hop as configured, or the domain */
	const char *reply;
};

static void ask_link(struct link *link, const char *recipient, const void *scratch, struct finding *finding)
{
	struct smtp_reply reply;
	int r = link_ask(link, STEP_MS, &reply, "MAIL FROM:<>");
	bool asked = r == 0 && smtp_reply_class(&reply) == 2;

	if (asked)
		r = link_ask(link, STEP_MS, &reply, "RCPT TO:<%s>", recipient);
	if (asked && r == 0)
		finding->answer = recipient_understand(reply.code, text_from(text_of(reply.text), 4));
	finding->reply = r == 0 ? text_copy(scratch, text_of(reply.text))
				: text_must(talloc_asprintf(scratch, "450 4.4.2 no reply: %s", err_text(r)));
}

/* A link to the first server that can be reached; NULL with the reply of `finding`. */
static struct link *open_link(const struct deliver_house *house, const struct route_means *means,
	struct route *route, struct finding *finding)
{
	const char *destination = finding->host;
	struct failure failure = { .final = false };
	struct route_stop place;
	struct link *link;
	bool permanent;

	finding->reply = "";
	while (!failure.final && route_next(route, &place)) {
		const struct stop *stop = stop_new(route, house, means, route, &place);
		struct link_target target = stop_target(house, stop, destination);

		finding->host = place.host;
		if (stop_may_dial(house, stop, destination, &failure) &&
			link_open(house, &target, means->deadline, &link, &failure) == 0)
			return link;
		finding->reply = text_copy(route, text_of(failure.reply));
	}
	if (finding->reply[0] == '\0')
		finding->reply = route_end(route, &permanent);
	return NULL;
}

static struct finding verify(const struct deliver_house *house, const char *recipient, const void *scratch)
{
	const char *domain = text_copy_lower(scratch, envelope_domain(recipient));
	const struct route_means means = { .config = house->config,
		.resolver = house->resolver,
		.cache = house->dns_cache,
		.stop_fd = house->stop_fd,
		.deadline = clock_mono_ms() + ALL_MS };
	struct finding finding = { RECIPIENT_LATER, route_destination(house->config, domain), "" };
	struct route *route = route_new(scratch, &means, domain, "");
	struct link *link = open_link(house, &means, route, &finding);

	if (link == NULL)
		return finding;
	ask_link(link, recipient, scratch, &finding);
	link_close(link);
	return finding;
}

struct frame *verify_answer(const struct deliver_house *house, struct frame *ask, const void *owner)
{
	const char *icid = frame_get_copy(ask, ask), *recipient = frame_get_copy(ask, ask);

	if (frame_done(ask) < 0)
		return NULL;

	struct finding finding = verify(house, recipient, ask);
	struct frame *answer = frame_new(owner, FRAME_ANSWER);
	frame_put_number(answer, finding.answer);
	log_event(LOG_INFO, "recipient_verified", log_str("icid", icid), log_str("recipient", recipient),
		log_str("host", finding.host), log_str("answer", recipient_word(finding.answer)),
		log_str("reply", finding.reply));
	return answer;
}
