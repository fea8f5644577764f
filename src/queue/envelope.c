/* Packing of what crosses between roles. Counts and enumerations are checked before anything is allocated from them. */
#include "queue/envelope.h"

#include <fcntl.h>

#include <talloc.h>

#include "base/base.h"
#include "ipc/frame.h"

static const char *const state_names[] = {
	[OUTCOME_DELIVERED] = "delivered",
	[OUTCOME_DEFERRED] = "deferred",
	[OUTCOME_BOUNCED] = "bounced",
};

const char *envelope_state_name(enum outcome_state state)
{
	return state_names[state];
}

struct text envelope_domain(const char *address)
{
	struct text whole = text_of(address);

	return text_from(whole, text_find_last(whole, '@') + 1);
}

static void put_string(struct frame *frame, const char *string)
{
	frame_put_text(frame, text_of(string));
}

void envelope_put(struct frame *frame, const struct envelope *envelope)
{
	frame_put_number(frame, envelope->received_ms);
	put_string(frame, envelope->icid);
	put_string(frame, envelope->client);
	put_string(frame, envelope->helo);
	put_string(frame, envelope->tls);
	put_string(frame, envelope->sender);
	frame_put_bool(frame, envelope->eight_bit);
	frame_put_bool(frame, envelope->utf8);
	frame_put_number(frame, envelope->ret);
	put_string(frame, envelope->envid);
	frame_put_number(frame, (int64_t)envelope->recipient_count);
	for (size_t i = 0; i < envelope->recipient_count; i++) {
		put_string(frame, envelope->recipients[i]);
		frame_put_number(frame, envelope->notify == NULL ? 0 : envelope->notify[i]);
		put_string(frame, envelope->orcpt == NULL ? "" : envelope->orcpt[i]);
	}
}

void envelope_get(struct frame *frame, const void *owner, struct envelope *ret_envelope)
{
	struct envelope *e = ret_envelope;

	e->received_ms = frame_get_number(frame);
	e->icid = frame_get_copy(frame, owner);
	e->client = frame_get_copy(frame, owner);
	e->helo = frame_get_copy(frame, owner);
	e->tls = frame_get_copy(frame, owner);
	e->sender = frame_get_copy(frame, owner);
	e->eight_bit = frame_get_bool(frame);
	e->utf8 = frame_get_bool(frame);
	e->ret = (int)frame_get_range(frame, 0, ENVELOPE_RET_MAX);
	e->envid = frame_get_copy(frame, owner);
	e->recipient_count = (size_t)frame_get_range(frame, 0, ENVELOPE_RECIPIENTS_MAX);
	e->recipients = text_must(talloc_zero_array(owner, const char *, (unsigned)e->recipient_count + 1));
	e->notify = text_must(talloc_zero_array(owner, unsigned, (unsigned)e->recipient_count + 1));
	e->orcpt = text_must(talloc_zero_array(owner, const char *, (unsigned)e->recipient_count + 1));
	for (size_t i = 0; i < e->recipient_count; i++) {
		e->recipients[i] = frame_get_copy(frame, owner);
		e->notify[i] = (unsigned)frame_get_range(frame, 0, ENVELOPE_NOTIFY_MAX);
		e->orcpt[i] = frame_get_copy(frame, owner);
	}
}

void envelope_put_content(struct frame *frame, const struct content *content)
{
	frame_put_bool(frame, content->fd >= 0);
	frame_put_number(frame, (int64_t)content->size);
	if (content->fd >= 0)
		frame_put_fd(frame, fcntl(content->fd, F_DUPFD_CLOEXEC, 0));
	else
		frame_put_text(frame, content->bytes);
}

void envelope_get_content(struct frame *frame, struct content *ret_content)
{
	bool in_file = frame_get_bool(frame);

	*ret_content = (struct content){ .fd = -1 };
	ret_content->size = (uint64_t)frame_get_range(frame, 0, INT64_MAX);
	if (in_file) {
		ret_content->fd = frame_get_fd(frame);
	} else {
		ret_content->bytes = frame_get_text(frame);
		if (ret_content->size != ret_content->bytes.len)
			frame->failed = true;
	}
}

void envelope_put_lease(struct frame *frame, const struct lease *lease)
{
	frame_put_number(frame, lease->mid);
	put_string(frame, lease->destination);
	put_string(frame, lease->domain);
	put_string(frame, lease->next_hop);
	frame_put_bool(frame, lease->expired);
	frame_put_number(frame, lease->attempts);
	envelope_put(frame, &lease->envelope);
	for (size_t i = 0; i < lease->envelope.recipient_count; i++)
		frame_put_number(frame, lease->rids[i]);
	for (size_t i = 0; i < lease->envelope.recipient_count; i++)
		put_string(frame, lease->replies == NULL ? "" : lease->replies[i]);
	for (size_t i = 0; i < lease->envelope.recipient_count; i++)
		frame_put_bool(frame, lease->warned != NULL && lease->warned[i]);
	frame_put_bool(frame, lease->untried);
	frame_put_number(frame, lease->age_ms);
	envelope_put_content(frame, &lease->content);
}

static int lease_destroy(struct lease *lease)
{
	base_close(&lease->content.fd);
	return 0;
}

struct lease *envelope_get_lease(struct frame *frame, const void *owner)
{
	struct lease *lease = text_must(talloc_zero(owner, struct lease));
	struct content content;

	lease->content.fd = -1;
	talloc_set_destructor(lease, lease_destroy);
	lease->mid = frame_get_range(frame, 1, INT64_MAX);
	lease->destination = frame_get_copy(frame, lease);
	lease->domain = frame_get_copy(frame, lease);
	lease->next_hop = frame_get_copy(frame, lease);
	lease->expired = frame_get_bool(frame);
	lease->attempts = (uint32_t)frame_get_range(frame, 0, UINT32_MAX);
	envelope_get(frame, lease, &lease->envelope);
	lease->rids =
		text_must(talloc_zero_array(lease, int64_t, (unsigned)lease->envelope.recipient_count + 1));
	for (size_t i = 0; i < lease->envelope.recipient_count; i++)
		lease->rids[i] = frame_get_number(frame);
	lease->replies = text_must(
		talloc_zero_array(lease, const char *, (unsigned)lease->envelope.recipient_count + 1));
	for (size_t i = 0; i < lease->envelope.recipient_count; i++)
		lease->replies[i] = frame_get_copy(frame, lease);
	lease->warned =
		text_must(talloc_zero_array(lease, bool, (unsigned)lease->envelope.recipient_count + 1));
	for (size_t i = 0; i < lease->envelope.recipient_count; i++)
		lease->warned[i] = frame_get_bool(frame);
	lease->untried = frame_get_bool(frame);
	lease->age_ms = frame_get_number(frame);
	envelope_get_content(frame, &content);
	lease->content = content;
	if (content.fd < 0)
		lease->content.bytes.at = text_copy(lease, content.bytes);
	if (frame_done(frame) == 0)
		return lease;
	talloc_free(lease);
	return NULL;
}

struct outcome_leg envelope_leg(const struct outcome *outcome, size_t index)
{
	size_t leg = outcome->recipients[index].leg;

	if (leg > 0)
		return outcome->legs[leg - 1];
	return (struct outcome_leg){
		.dcid = outcome->dcid, .host = outcome->host, .address = outcome->address, .tls = outcome->tls
	};
}

void envelope_put_outcome(struct frame *frame, const struct outcome *outcome)
{
	frame_put_number(frame, outcome->mid);
	put_string(frame, outcome->domain);
	frame_put_number(frame, outcome->attempt);
	frame_put_number(frame, outcome->time_ms);
	put_string(frame, outcome->dcid);
	put_string(frame, outcome->host);
	put_string(frame, outcome->address);
	put_string(frame, outcome->tls);
	frame_put_number(frame, (int64_t)outcome->leg_count);
	for (size_t i = 0; i < outcome->leg_count; i++) {
		put_string(frame, outcome->legs[i].dcid);
		put_string(frame, outcome->legs[i].host);
		put_string(frame, outcome->legs[i].address);
		put_string(frame, outcome->legs[i].tls);
	}
	frame_put_bool(frame, outcome->unreachable);
	frame_put_bool(frame, outcome->untried);
	frame_put_number(frame, (int64_t)outcome->recipient_count);
	for (size_t i = 0; i < outcome->recipient_count; i++) {
		frame_put_number(frame, outcome->recipients[i].rid);
		frame_put_number(frame, outcome->recipients[i].state);
		put_string(frame, outcome->recipients[i].reply);
		frame_put_number(frame, (int64_t)outcome->recipients[i].leg);
		frame_put_bool(frame, outcome->recipients[i].warned);
	}
	frame_put_bool(frame, outcome->dsn != NULL);
	if (outcome->dsn != NULL) {
		envelope_put(frame, outcome->dsn);
		frame_put_text(frame, outcome->dsn_content);
	}
}

struct outcome *envelope_get_outcome(struct frame *frame, const void *owner)
{
	struct outcome *o = text_must(talloc_zero(owner, struct outcome));

	o->mid = frame_get_range(frame, 1, INT64_MAX);
	o->domain = frame_get_copy(frame, o);
	o->attempt = (uint32_t)frame_get_range(frame, 1, UINT32_MAX);
	o->time_ms = frame_get_number(frame);
	o->dcid = frame_get_copy(frame, o);
	o->host = frame_get_copy(frame, o);
	o->address = frame_get_copy(frame, o);
	o->tls = frame_get_copy(frame, o);
	o->leg_count = (size_t)frame_get_range(frame, 0, ENVELOPE_LEGS_MAX);
	o->legs = text_must(talloc_zero_array(o, struct outcome_leg, (unsigned)o->leg_count + 1));
	for (size_t i = 0; i < o->leg_count; i++) {
		o->legs[i].dcid = frame_get_copy(frame, o);
		o->legs[i].host = frame_get_copy(frame, o);
		o->legs[i].address = frame_get_copy(frame, o);
		o->legs[i].tls = frame_get_copy(frame, o);
	}
	o->unreachable = frame_get_bool(frame);
	o->untried = frame_get_bool(frame);
	o->recipient_count = (size_t)frame_get_range(frame, 0, ENVELOPE_RECIPIENTS_MAX);
	o->recipients =
		text_must(talloc_zero_array(o, struct outcome_recipient, (unsigned)o->recipient_count + 1));
	for (size_t i = 0; i < o->recipient_count; i++) {
		o->recipients[i].rid = frame_get_number(frame);
		o->recipients[i].state =
			(enum outcome_state)frame_get_range(frame, OUTCOME_DELIVERED, OUTCOME_BOUNCED);
		o->recipients[i].reply = frame_get_copy(frame, o);
		o->recipients[i].leg = (size_t)frame_get_range(frame, 0, (int64_t)o->leg_count);
		o->recipients[i].warned = frame_get_bool(frame);
	}
	if (frame_get_bool(frame)) {
		o->dsn = text_must(talloc_zero(o, struct envelope));
		envelope_get(frame, o, o->dsn);
		o->dsn_content = frame_get_text(frame);
	}
	if (frame_done(frame) == 0)
		return o;
	talloc_free(o);
	return NULL;
}
