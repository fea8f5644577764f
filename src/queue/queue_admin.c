/* Asks of `postern queue ...`. A page that is too large for a frame travels in a memfd (ipc/channel.h). */
#include "queue/queue_admin.h"

#include <errno.h>
#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "ipc/channel.h"
#include "ipc/frame.h"

enum { ASK_MS = 60000, SUSPENDED_MAX = 100000 };

const char *queue_admin_command_name(enum store_admin_command command)
{
	static const char *const names[STORE_ADMIN_COMMAND_END] = {
		[STORE_ADMIN_COUNT] = "count",
		[STORE_ADMIN_FLUSH] = "flush",
		[STORE_ADMIN_HOLD] = "hold",
		[STORE_ADMIN_RELEASE] = "release",
		[STORE_ADMIN_DELETE] = "delete",
		[STORE_ADMIN_EXPIRE] = "expire",
		[STORE_ADMIN_REROUTE] = "reroute",
	};

	return names[command];
}

static void put_filter(struct frame *frame, const struct store_admin_filter *filter)
{
	frame_put_number(frame, filter->mid);
	frame_put_optional(frame, filter->sender);
	frame_put_optional(frame, filter->recipient);
	frame_put_optional(frame, filter->domain);
	frame_put_optional(frame, filter->destination);
	frame_put_number(frame, filter->state);
	frame_put_number(frame, filter->before_ms);
}

static struct store_admin_filter get_filter(struct frame *frame)
{
	struct store_admin_filter filter = { .mid = frame_get_range(frame, 0, INT64_MAX) };

	filter.sender = frame_get_optional(frame);
	filter.recipient = frame_get_optional(frame);
	filter.domain = frame_get_optional(frame);
	filter.destination = frame_get_optional(frame);
	filter.state = (enum store_admin_state)frame_get_range(frame, 0, STORE_ADMIN_STATE_END - 1);
	filter.before_ms = frame_get_number(frame);
	return filter;
}

/* Where a page begins and how long it may be. */
static void put_place(struct frame *frame, int64_t after, size_t most)
{
	frame_put_number(frame, after);
	frame_put_number(frame, (int64_t)MIN(most, (size_t)STORE_ADMIN_PAGE));
}

/* Send `ask` (freed) and take the result in front of the answer (owned by `owner`): 0, or a negative error. */
static int exchange(int channel, struct frame *ask, const void *owner, struct frame **ret_answer)
{
	int r = channel_send(channel, ask, clock_mono_ms() + ASK_MS);

	if (r == 0)
		r = channel_receive(owner, channel, -1, clock_mono_ms() + ASK_MS, ret_answer);
	talloc_free(ask);
	if (r < 0)
		return r;
	r = (int)frame_get_range(*ret_answer, INT32_MIN, 0);
	if ((*ret_answer)->failed)
		return ERR_FORMAT;
	return r;
}

static struct frame *result(const void *owner, int number)
{
	struct frame *answer = frame_new(owner, FRAME_ANSWER);

	frame_put_number(answer, number);
	return answer;
}

/* A pause, as recipients and destinations have it. */

static void put_pause(struct frame *frame, const struct store_admin_pause *pause)
{
	frame_put_number(frame, pause->since_ms);
	frame_put_number(frame, pause->until_ms);
	frame_put_text(frame, text_of(pause->reason));
}

static struct store_admin_pause get_pause(struct frame *frame, const void *owner)
{
	struct store_admin_pause pause = { .since_ms = frame_get_number(frame) };

	pause.until_ms = frame_get_number(frame);
	pause.reason = frame_get_copy(frame, owner);
	return pause;
}

/* list */

static void put_recipient(struct frame *frame, const struct store_admin_recipient *r)
{
	const char *const texts[] = { r->address, r->domain, r->destination, r->next_hop, r->reply };

	frame_put_number(frame, r->rid);
	for (size_t i = 0; i < COUNT(texts); i++)
		frame_put_text(frame, text_of(texts[i]));
	frame_put_number(frame, r->state);
	frame_put_number(frame, r->attempts);
	frame_put_number(frame, r->next_try_ms);
	put_pause(frame, &r->pause);
}

static struct store_admin_recipient get_recipient(struct frame *frame, const void *owner)
{
	struct store_admin_recipient r = { .rid = frame_get_number(frame) };
	const char **const texts[] = { &r.address, &r.domain, &r.destination, &r.next_hop, &r.reply };

	for (size_t i = 0; i < COUNT(texts); i++)
		*texts[i] = frame_get_copy(frame, owner);
	r.state = (enum store_admin_state)frame_get_range(frame, 0, STORE_ADMIN_STATE_END - 1);
	r.attempts = frame_get_number(frame);
	r.next_try_ms = frame_get_number(frame);
	r.pause = get_pause(frame, owner);
	return r;
}

static struct store_admin_mail get_mail(struct frame *frame, const void *owner)
{
	struct store_admin_mail mail = { .mid = frame_get_number(frame) };

	mail.received_ms = frame_get_number(frame);
	mail.size = (uint64_t)frame_get_range(frame, 0, INT64_MAX);
	mail.sender = frame_get_copy(frame, owner);
	mail.recipient_count = (size_t)frame_get_range(frame, 0, ENVELOPE_RECIPIENTS_MAX);
	mail.recipients = text_must(
		talloc_zero_array(owner, struct store_admin_recipient, (unsigned)mail.recipient_count + 1));
	for (size_t i = 0; i < mail.recipient_count; i++)
		mail.recipients[i] = get_recipient(frame, owner);
	return mail;
}

int queue_admin_list(int channel, const void *owner, const struct store_admin_filter *filter, int64_t after,
	size_t most, struct store_admin_page *ret_page)
{
	struct frame *ask = frame_new(NULL, FRAME_QUEUE_LIST), *answer;
	struct store_admin_page page = { 0 };

	put_filter(ask, filter);
	put_place(ask, after, most);
	int r = exchange(channel, ask, owner, &answer);
	if (r < 0)
		return r;
	page.after = frame_get_number(answer);
	page.ended = frame_get_bool(answer);
	page.count = (size_t)frame_get_range(answer, 0, STORE_ADMIN_PAGE);
	page.mails = text_must(talloc_zero_array(owner, struct store_admin_mail, (unsigned)page.count + 1));
	for (size_t i = 0; i < page.count; i++)
		page.mails[i] = get_mail(answer, page.mails);
	if (frame_done(answer) < 0)
		return ERR_FORMAT;
	*ret_page = page;
	return 0;
}

static struct frame *answer_list(struct store *store, struct frame *ask, const void *owner)
{
	const struct store_admin_filter filter = get_filter(ask);
	const int64_t after = frame_get_range(ask, 0, INT64_MAX);
	const size_t most = (size_t)frame_get_range(ask, 1, STORE_ADMIN_PAGE);
	struct store_admin_page page;

	if (frame_done(ask) < 0)
		return NULL;
	int r = store_admin_list(store, ask, &filter, after, most, &page);
	struct frame *answer = result(owner, r);
	if (r < 0)
		return answer;
	frame_put_number(answer, page.after);
	frame_put_bool(answer, page.ended);
	frame_put_number(answer, (int64_t)page.count);
	for (size_t m = 0; m < page.count; m++) {
		const struct store_admin_mail *mail = &page.mails[m];

		frame_put_number(answer, mail->mid);
		frame_put_number(answer, mail->received_ms);
		frame_put_number(answer, (int64_t)mail->size);
		frame_put_text(answer, text_of(mail->sender));
		frame_put_number(answer, (int64_t)mail->recipient_count);
		for (size_t i = 0; i < mail->recipient_count; i++)
			put_recipient(answer, &mail->recipients[i]);
	}
	return answer;
}

/* apply */

int queue_admin_apply(int channel, const struct store_admin_order *order, int64_t after, size_t most,
	struct store_admin_done *ret_done)
{
	struct frame *ask = frame_new(NULL, FRAME_QUEUE_APPLY), *answer;
	struct store_admin_done done = { 0 };
	void *scratch = talloc_new(NULL);

	frame_put_number(ask, order->command);
	put_filter(ask, &order->filter);
	frame_put_text(ask, text_of(order->next_hop));
	put_place(ask, after, most);
	int r = exchange(channel, ask, scratch, &answer);
	if (r == 0) {
		done.matched = (uint64_t)frame_get_number(answer);
		done.mails = (uint64_t)frame_get_number(answer);
		done.recipients = (uint64_t)frame_get_number(answer);
		done.bytes = (uint64_t)frame_get_number(answer);
		for (size_t i = 0; i < STORE_ADMIN_LEFT_END; i++)
			done.left[i] = (uint64_t)frame_get_number(answer);
		done.unknown_hop = frame_get_bool(answer);
		done.after = frame_get_number(answer);
		done.ended = frame_get_bool(answer);
		r = frame_done(answer);
	}
	if (r == 0)
		*ret_done = done;
	talloc_free(scratch);
	return r;
}

/* The filter as it was typed, for the log. */
static char *describe(const void *owner, const struct store_admin_filter *filter)
{
	const struct {
		const char *name, *value;
	} texts[] = { { "sender", filter->sender }, { "recipient", filter->recipient },
		{ "domain", filter->domain }, { "destination", filter->destination },
		{ "state",
			filter->state == STORE_ADMIN_ANY ? NULL : store_admin_state_name(filter->state) } };
	char *text = text_must(talloc_strdup(owner, ""));
	char time[CLOCK_TEXT_MAX];

	if (filter->mid != 0)
		text = text_must(talloc_asprintf_append(text, "mid=%lld ", (long long)filter->mid));
	for (size_t i = 0; i < COUNT(texts); i++)
		if (texts[i].value != NULL)
			text = text_must(
				talloc_asprintf_append(text, "%s=%s ", texts[i].name, texts[i].value));
	if (filter->before_ms != 0)
		text = text_must(
			talloc_asprintf_append(text, "before=%s ", clock_iso(filter->before_ms, time)));
	text[text[0] == '\0' ? 0 : strlen(text) - 1] = '\0';
	return text;
}

static struct frame *answer_apply(struct store *store, struct frame *ask, const void *owner, int64_t uid)
{
	struct store_admin_order order = { .uid = uid };
	struct store_admin_done done;

	order.command = (enum store_admin_command)frame_get_range(ask, 0, STORE_ADMIN_COMMAND_END - 1);
	order.filter = get_filter(ask);
	order.next_hop = frame_get_copy(ask, ask);
	const int64_t after = frame_get_range(ask, 0, INT64_MAX);
	const size_t most = (size_t)frame_get_range(ask, 1, STORE_ADMIN_PAGE);
	if (frame_done(ask) < 0)
		return NULL;
	if (order.command == STORE_ADMIN_REROUTE && order.next_hop[0] != '\0' &&
		config_route_to(ask, NULL, order.next_hop) == NULL)
		return result(owner, -EINVAL);
	if (order.command != STORE_ADMIN_COUNT && after == 0)
		log_event(LOG_INFO, "queue_command",
			log_str("command", queue_admin_command_name(order.command)), log_num("uid", uid),
			log_str("filter", describe(ask, &order.filter)), log_str("next_hop", order.next_hop));

	int r = store_admin_apply(store, &order, after, most, &done);
	struct frame *answer = result(owner, r);
	if (r < 0)
		return answer;
	frame_put_number(answer, (int64_t)done.matched);
	frame_put_number(answer, (int64_t)done.mails);
	frame_put_number(answer, (int64_t)done.recipients);
	frame_put_number(answer, (int64_t)done.bytes);
	for (size_t i = 0; i < STORE_ADMIN_LEFT_END; i++)
		frame_put_number(answer, (int64_t)done.left[i]);
	frame_put_bool(answer, done.unknown_hop);
	frame_put_number(answer, done.after);
	frame_put_bool(answer, done.ended);
	return answer;
}

/* suspend, resume */

int queue_admin_suspend(
	int channel, const char *destination, bool suspend, struct store_admin_suspension *ret_done)
{
	struct frame *ask = frame_new(NULL, FRAME_QUEUE_SUSPEND), *answer;
	void *scratch = talloc_new(NULL);

	frame_put_text(ask, text_of(destination));
	frame_put_bool(ask, suspend);
	int r = exchange(channel, ask, scratch, &answer);
	if (r == 0) {
		ret_done->changed = frame_get_bool(answer);
		ret_done->unknown = frame_get_bool(answer);
		r = frame_done(answer);
	}
	talloc_free(scratch);
	return r;
}

static struct frame *answer_suspend(struct store *store, struct frame *ask, const void *owner, int64_t uid)
{
	const char *destination = frame_get_copy(ask, ask);
	const bool suspend = frame_get_bool(ask);

	if (frame_done(ask) < 0 || destination[0] == '\0')
		return NULL;
	struct store_admin_suspension done = { 0 };
	int r = store_admin_suspend(store, destination, suspend, uid, &done);
	if (r == 0 && done.changed && suspend)
		log_event(LOG_INFO, "destination_suspended", log_str("destination", destination),
			log_num("uid", uid));
	if (r == 0 && done.changed && !suspend)
		log_event(LOG_INFO, "destination_resumed", log_str("destination", destination),
			log_num("uid", uid));
	struct frame *answer = result(owner, r);
	if (r < 0)
		return answer;
	frame_put_bool(answer, done.changed);
	frame_put_bool(answer, done.unknown);
	return answer;
}

/* status */

int queue_admin_status(int channel, const void *owner, struct store_admin_status *ret_status)
{
	struct frame *ask = frame_new(NULL, FRAME_QUEUE_STATUS), *answer;
	struct store_admin_status status = { 0 };
	int r = exchange(channel, ask, owner, &answer);

	if (r < 0)
		return r;
	status.queued = (uint64_t)frame_get_number(answer);
	status.deferred = (uint64_t)frame_get_number(answer);
	status.active = (uint64_t)frame_get_number(answer);
	status.held = (uint64_t)frame_get_number(answer);
	status.corrupt = (uint64_t)frame_get_number(answer);
	status.waiting_suspended = (uint64_t)frame_get_number(answer);
	status.oldest_ms = frame_get_number(answer);
	status.suspended_count = (size_t)frame_get_range(answer, 0, SUSPENDED_MAX);
	status.suspended = text_must(
		talloc_zero_array(owner, struct store_admin_suspended, (unsigned)status.suspended_count + 1));
	for (size_t i = 0; i < status.suspended_count; i++) {
		status.suspended[i].destination = frame_get_copy(answer, owner);
		status.suspended[i].since_ms = frame_get_number(answer);
		status.suspended[i].uid = frame_get_number(answer);
		status.suspended[i].waiting = (uint64_t)frame_get_number(answer);
	}
	if (frame_done(answer) < 0)
		return ERR_FORMAT;
	*ret_status = status;
	return 0;
}

static struct frame *answer_status(struct store *store, struct frame *ask, const void *owner)
{
	struct store_admin_status status;

	if (frame_done(ask) < 0)
		return NULL;
	int r = store_admin_status(store, ask, &status);
	struct frame *answer = result(owner, r);
	if (r < 0)
		return answer;
	frame_put_number(answer, (int64_t)status.queued);
	frame_put_number(answer, (int64_t)status.deferred);
	frame_put_number(answer, (int64_t)status.active);
	frame_put_number(answer, (int64_t)status.held);
	frame_put_number(answer, (int64_t)status.corrupt);
	frame_put_number(answer, (int64_t)status.waiting_suspended);
	frame_put_number(answer, status.oldest_ms);
	const size_t count = MIN(status.suspended_count, (size_t)SUSPENDED_MAX);
	frame_put_number(answer, (int64_t)count);
	for (size_t i = 0; i < count; i++) {
		frame_put_text(answer, text_of(status.suspended[i].destination));
		frame_put_number(answer, status.suspended[i].since_ms);
		frame_put_number(answer, status.suspended[i].uid);
		frame_put_number(answer, (int64_t)status.suspended[i].waiting);
	}
	return answer;
}

/* destinations */

int queue_admin_destinations(int channel, const void *owner, const char *after, bool paused,
	struct store_admin_destinations *ret_page)
{
	struct frame *ask = frame_new(NULL, FRAME_QUEUE_DESTINATIONS), *answer;
	struct store_admin_destinations page = { 0 };

	frame_put_text(ask, text_of(after));
	frame_put_bool(ask, paused);
	int r = exchange(channel, ask, owner, &answer);
	if (r < 0)
		return r;
	page.ended = frame_get_bool(answer);
	page.count = (size_t)frame_get_range(answer, 0, STORE_ADMIN_PAGE);
	page.list =
		text_must(talloc_zero_array(owner, struct store_admin_destination, (unsigned)page.count + 1));
	for (size_t i = 0; i < page.count; i++) {
		struct store_admin_destination *d = &page.list[i];

		d->name = frame_get_copy(answer, owner);
		d->queued = (uint64_t)frame_get_number(answer);
		d->deferred = (uint64_t)frame_get_number(answer);
		d->active = (uint64_t)frame_get_number(answer);
		d->held = (uint64_t)frame_get_number(answer);
		d->suspended = frame_get_bool(answer);
		d->pause = get_pause(answer, owner);
		d->idle = (unsigned)frame_get_range(answer, 0, UINT32_MAX);
		d->allowed = (unsigned)frame_get_range(answer, 0, UINT32_MAX);
		d->rate = (uint64_t)frame_get_number(answer);
	}
	if (frame_done(answer) < 0)
		return ERR_FORMAT;
	*ret_page = page;
	return 0;
}

static struct frame *answer_destinations(struct store *store, struct frame *ask, const void *owner)
{
	const char *after = frame_get_copy(ask, ask);
	const bool paused = frame_get_bool(ask);
	struct store_admin_destinations page;

	if (frame_done(ask) < 0)
		return NULL;
	int r = store_admin_destinations(store, ask, after, paused, &page);
	struct frame *answer = result(owner, r);
	if (r < 0)
		return answer;
	frame_put_bool(answer, page.ended);
	frame_put_number(answer, (int64_t)page.count);
	for (size_t i = 0; i < page.count; i++) {
		const struct store_admin_destination *d = &page.list[i];

		frame_put_text(answer, text_of(d->name));
		frame_put_number(answer, (int64_t)d->queued);
		frame_put_number(answer, (int64_t)d->deferred);
		frame_put_number(answer, (int64_t)d->active);
		frame_put_number(answer, (int64_t)d->held);
		frame_put_bool(answer, d->suspended);
		put_pause(answer, &d->pause);
		frame_put_number(answer, d->idle);
		frame_put_number(answer, d->allowed);
		frame_put_number(answer, (int64_t)d->rate);
	}
	return answer;
}

/* show --content */

int queue_admin_content(int channel, const void *owner, int64_t mid, struct content *ret_content)
{
	struct frame *ask = frame_new(NULL, FRAME_QUEUE_CONTENT), *answer;

	frame_put_number(ask, mid);
	int r = exchange(channel, ask, owner, &answer);
	if (r < 0)
		return r;
	envelope_get_content(answer, ret_content);
	if (frame_done(answer) == 0)
		return 0;
	base_close(&ret_content->fd);
	return ERR_FORMAT;
}

static struct frame *answer_content(struct store *store, struct frame *ask, const void *owner)
{
	const int64_t mid = frame_get_range(ask, 1, INT64_MAX);
	struct content content;

	if (frame_done(ask) < 0)
		return NULL;
	int r = store_admin_content(store, ask, mid, &content);
	struct frame *answer = result(owner, r);
	if (r == 0) {
		envelope_put_content(answer, &content);
		base_close(&content.fd);
	}
	return answer;
}

struct frame *queue_admin_answer(struct store *store, struct frame *ask, const void *owner, int64_t uid)
{
	switch (ask->kind) {
	case FRAME_QUEUE_LIST:
		return answer_list(store, ask, owner);
	case FRAME_QUEUE_APPLY:
		return answer_apply(store, ask, owner, uid);
	case FRAME_QUEUE_SUSPEND:
		return answer_suspend(store, ask, owner, uid);
	case FRAME_QUEUE_STATUS:
		return answer_status(store, ask, owner);
	case FRAME_QUEUE_DESTINATIONS:
		return answer_destinations(store, ask, owner);
	case FRAME_QUEUE_CONTENT:
		return answer_content(store, ask, owner);
	default:
		return NULL;
	}
}
