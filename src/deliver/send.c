/*
 * A mail in one transaction, or in several when the peer takes only so many recipients at a time. A recipient is open until it has a reply:
 * what the peer says to its RCPT settles it, what the peer says to the end of the message settles those that it had taken. A recipient
 * that was one too many stays open for the next transaction. Each transaction settles at least one.
 *
 * A connection that is lost after the end of the message leaves the outcome unknown: the mail is tried again, which may duplicate but
 * never lose it.
 */
#include "deliver/send.h"

#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "base/log.h"
#include "deliver/link.h"
#include "deliver/send_content.h"
#include "wire/address.h"
#include "wire/smtp_command.h"

enum { BATCH = 100, RSET_MS = 20000 };

struct sending {
	struct link *link;
	const struct lease *lease;
	struct outcome *outcome;
	struct send_content_facts content;
	uint64_t most; /* recipients of one transaction */
	bool heard;    /* the peer has answered a MAIL of this mail */

	/* Of the transaction: indexes of recipients. */
	size_t *asked, *taken;
	size_t asked_count, taken_count;
	bool done; /* its message was taken */
};

static void settle(struct outcome *outcome, size_t index, enum outcome_state state, const char *reply)
{
	outcome->recipients[index].state = state;
	outcome->recipients[index].reply = text_copy(outcome, text_of(reply));
}

static bool is_open(const struct outcome *outcome, size_t index)
{
	return outcome->recipients[index].reply == NULL;
}

/* Everything not settled yet gets the same end. */
static void settle_rest(struct outcome *outcome, enum outcome_state state, const char *reply)
{
	for (size_t i = 0; i < outcome->recipient_count; i++)
		if (is_open(outcome, i))
			settle(outcome, i, state, reply);
}

static enum outcome_state state_of(const struct smtp_reply *reply)
{
	switch (smtp_reply_class(reply)) {
	case 2:
		return OUTCOME_DELIVERED;
	case 5:
		return OUTCOME_BOUNCED;
	default:
		return OUTCOME_DEFERRED;
	}
}

static void settle_taken(struct sending *s, enum outcome_state state, const char *reply)
{
	for (size_t i = 0; i < s->taken_count; i++)
		settle(s->outcome, s->taken[i], state, reply);
}

/* What the peer said to the message or to DATA. One that cannot take it now hears it no second time for the recipients that are left. */
static void settle_message(struct sending *s, enum outcome_state state, const char *reply)
{
	settle_taken(s, state, reply);
	if (state == OUTCOME_DEFERRED)
		settle_rest(s->outcome, state, reply);
}

static void lost_reply(char *ret_reply, size_t size, int error, const char *where)
{
	bool nonsense = error == ERR_FORMAT || error == ERR_TOO_LONG;

	snprintf(ret_reply, size, "450 %s %s %s: %s", link_status(error),
		nonsense ? "the peer does not speak SMTP" : "the connection was lost", where,
		err_text(error));
}

static int lost(struct sending *s, int error, const char *where)
{
	char reply[200];

	lost_reply(reply, sizeof reply, error, where);
	settle_rest(s->outcome, OUTCOME_DEFERRED, reply);
	return error;
}

/* The end of the message was sent and not answered: it may have arrived (conformance 2.21). */
static int lost_at_end(struct sending *s, int error)
{
	char reply[240];

	lost_reply(reply, sizeof reply, error, "after the end of the message, which may have arrived");
	log_event(LOG_WARN, "delivery_uncertain", log_num("mid", s->outcome->mid),
		log_str("dcid", s->link->dcid), log_str("host", s->outcome->host),
		log_num("recipients", (int64_t)s->taken_count), log_str("reason", err_text(error)));
	settle_taken(s, OUTCOME_DEFERRED, reply);
	s->link->uncertain = true;
	return lost(s, error, "after the end of the message");
}

/* 421: the peer hangs up, whatever it was asked (RFC 5321 section 3.8). */
static int closing(struct sending *s, const struct smtp_reply *reply)
{
	s->link->broken = true;
	settle_rest(s->outcome, OUTCOME_DEFERRED, reply->text);
	return ERR_CLOSED;
}

static bool is_ascii(const char *text)
{
	for (const char *at = text; *at != '\0'; at++)
		if ((unsigned char)*at > 0x7e)
			return false;
	return true;
}

/* What the sender asked for travels on as far as the peer understands it. */
static int put_mail(struct sending *s)
{
	static const char *const rets[] = {
		[SMTP_RET_NONE] = "", [SMTP_RET_FULL] = " RET=FULL", [SMTP_RET_HDRS] = " RET=HDRS"
	};
	const struct smtp_reply *offers = &s->link->offers;
	const struct envelope *e = &s->lease->envelope;
	bool envid = offers->has_dsn && text_of(e->envid).len > 0;
	char size[40] = "";

	if (offers->has_size)
		snprintf(size, sizeof size, " SIZE=%llu", (unsigned long long)s->content.size);
	return link_put(s->link, "MAIL FROM:<%s>%s%s%s%s%s%s", e->sender, size,
		offers->has_8bitmime && (e->eight_bit || s->content.eight_bit) ? " BODY=8BITMIME" : "",
		offers->has_smtputf8 && e->utf8 ? " SMTPUTF8" : "", offers->has_dsn ? rets[e->ret] : "",
		envid ? " ENVID=" : "", envid ? e->envid : "");
}

static int put_recipient(struct sending *s, size_t index)
{
	static const struct {
		unsigned flag;
		const char *word;
	} words[] = { { SMTP_NOTIFY_NEVER, "NEVER" }, { SMTP_NOTIFY_SUCCESS, "SUCCESS" },
		{ SMTP_NOTIFY_FAILURE, "FAILURE" }, { SMTP_NOTIFY_DELAY, "DELAY" } };
	const struct smtp_reply *offers = &s->link->offers;
	const struct envelope *e = &s->lease->envelope;
	char notify[64] = "";
	size_t used = 0;

	if (!offers->has_dsn || e->notify == NULL)
		return link_put(s->link, "RCPT TO:<%s>", e->recipients[index]);
	for (size_t i = 0; i < COUNT(words); i++)
		if (e->notify[index] & words[i].flag)
			used += (size_t)snprintf(notify + used, sizeof notify - used, "%s%s",
				used == 0 ? " NOTIFY=" : ",", words[i].word);
	bool orcpt = e->orcpt[index][0] != '\0' && (offers->has_smtputf8 || is_ascii(e->orcpt[index]));
	return link_put(s->link, "RCPT TO:<%s>%s%s%s", e->recipients[index], notify, orcpt ? " ORCPT=" : "",
		orcpt ? e->orcpt[index] : "");
}

/* True when the transaction is full: this recipient stays open, and no more are asked. */
static bool hear_recipient(struct sending *s, size_t index, const struct smtp_reply *reply)
{
	if (smtp_reply_class(reply) == 2) {
		s->taken[s->taken_count++] = index;
		return false;
	}
	if (s->taken_count > 0 && smtp_reply_too_many(reply)) {
		s->most = MIN(s->most, s->taken_count);
		return true;
	}
	settle(s->outcome, index, state_of(reply), reply->text);
	return false;
}

/* Queue RCPTs from number `from` on, at most `room`; 0 and the number of those that were asked by now, or a negative error. */
static int put_recipients(struct sending *s, size_t from, size_t room, size_t *ret_asked)
{
	size_t to = MIN(from + room, s->asked_count);
	int r = 0;

	for (size_t i = from; r == 0 && i < to; i++)
		r = put_recipient(s, s->asked[i]);
	*ret_asked = to;
	return r;
}

/* MAIL and the recipients, at most BATCH commands on the way at a time so that neither side fills its buffers. */
static int say_envelope(struct sending *s)
{
	const size_t batch = s->link->offers.has_pipelining ? BATCH : 1;
	size_t asked = 0, answered = 0;
	struct smtp_reply mail, reply;
	bool full = false;

	int r = link_expect_silence(s->link);
	if (r == 0)
		r = put_mail(s);
	if (r == 0)
		r = put_recipients(s, 0, batch - 1, &asked);
	if (r == 0)
		r = link_reply(s->link, s->link->timeouts.mail_ms, &mail);
	if (r < 0)
		return lost(s, r, "at MAIL");
	if (mail.code == 421)
		return closing(s, &mail);

	s->heard = true;
	bool refused = smtp_reply_class(&mail) != 2;
	while (answered < asked || (answered < s->asked_count && !refused && !full)) {
		if (answered == asked) {
			r = link_expect_silence(s->link);
			if (r == 0)
				r = put_recipients(s, asked, batch, &asked);
		}
		if (r == 0)
			r = link_reply(s->link, s->link->timeouts.rcpt_ms, &reply);
		if (r < 0)
			break;
		if (reply.code == 421)
			return closing(s, refused ? &mail : &reply);
		if (!refused)
			full |= hear_recipient(s, s->asked[answered], &reply);
		answered++;
	}
	if (refused)
		settle_rest(s->outcome, state_of(&mail), mail.text);
	return r < 0 ? lost(s, r, "at RCPT") : 0;
}

/* The reply to the end of the message. */
static int hear_end(struct sending *s)
{
	struct smtp_reply reply;
	int r = link_reply(s->link, s->link->timeouts.end_ms, &reply);

	if (r < 0)
		return lost_at_end(s, r);
	s->done = smtp_reply_class(&reply) == 2;
	settle_message(s, state_of(&reply), reply.text);
	return reply.code == 421 ? closing(s, &reply) : 0;
}

static int say_data(struct sending *s)
{
	struct smtp_reply reply;
	int r = link_ask(s->link, s->link->timeouts.data_ms, &reply, "DATA");

	if (r == 0 && reply.code != 354 && smtp_reply_class(&reply) < 4) {
		s->link->broken = true; /* the answer to something else */
		r = ERR_FORMAT;
	}
	if (r < 0)
		return lost(s, r, "at DATA");
	if (reply.code != 354) {
		settle_message(
			s, smtp_reply_class(&reply) == 5 ? OUTCOME_BOUNCED : OUTCOME_DEFERRED, reply.text);
		return reply.code == 421 ? closing(s, &reply) : 0;
	}
	r = link_expect_silence(s->link);
	if (r == 0)
		r = send_content_data(s->link, &s->lease->content);
	return r < 0 ? lost(s, r, "during DATA") : hear_end(s);
}

static int say_chunk(struct sending *s)
{
	int r = link_expect_silence(s->link);

	if (r == 0)
		r = send_content_chunk(s->link, &s->lease->content, s->content.size);
	return r < 0 ? lost(s, r, "during BDAT") : hear_end(s);
}

/* The open recipients, as many as one transaction may have; false when there is none. */
static bool gather(struct sending *s)
{
	s->asked_count = s->taken_count = 0;
	s->done = false;
	for (size_t i = 0; i < s->outcome->recipient_count && s->asked_count < s->most; i++)
		if (is_open(s->outcome, i))
			s->asked[s->asked_count++] = i;
	return s->asked_count > 0;
}

static int transact(struct sending *s)
{
	struct smtp_reply reply;
	int r = say_envelope(s);

	if (r == 0 && s->taken_count > 0)
		r = s->link->offers.has_chunking ? say_chunk(s) : say_data(s);
	if (r == 0 && !s->done)
		r = link_ask(s->link, RSET_MS, &reply, "RSET");
	return r < 0 ? lost(s, r, "at RSET") : 0;
}

/* Without EHLO nobody knows what the peer could do, so that is for later. */
static void refuse_utf8(struct sending *s)
{
	const struct envelope *e = &s->lease->envelope;
	bool all = !is_ascii(e->sender) || (e->utf8 && s->content.utf8_header);
	bool knows_ehlo = s->link->offers.code != 0;

	if (s->link->offers.has_smtputf8)
		return;
	for (size_t i = 0; i < e->recipient_count; i++)
		if (is_open(s->outcome, i) && (all || !is_ascii(e->recipients[i])))
			settle(s->outcome, i, knows_ehlo ? OUTCOME_BOUNCED : OUTCOME_DEFERRED,
				knows_ehlo ? "553 5.6.7 the peer takes no UTF-8 in addresses and headers"
					   : "450 4.6.7 the peer did not take EHLO, which SMTPUTF8 needs");
}

/* What this peer cannot take is settled without sending it. */
static void refuse(struct sending *s)
{
	const struct smtp_reply *offers = &s->link->offers;

	if (offers->has_size && offers->size > 0 && s->content.size > offers->size)
		settle_rest(
			s->outcome, OUTCOME_BOUNCED, "552 5.3.4 the message is larger than the peer takes");
	if (!offers->has_8bitmime && s->content.eight_bit)
		settle_rest(s->outcome, OUTCOME_BOUNCED,
			"554 5.6.3 the message has 8-bit bytes and the peer takes 7 bits only");
	refuse_utf8(s);
}

int send_mail(struct link *link, const struct lease *lease, struct outcome *outcome, bool *ret_untouched)
{
	struct sending *s = text_must(talloc_zero(NULL, struct sending));

	*s = (struct sending){ .link = link, .lease = lease, .outcome = outcome };
	s->most = link->offers.rcpt_max > 0 ? link->offers.rcpt_max : UINT64_MAX;
	s->asked = text_must(talloc_array(s, size_t, (unsigned)outcome->recipient_count + 1));
	s->taken = text_must(talloc_array(s, size_t, (unsigned)outcome->recipient_count + 1));
	int r = send_content_look(&lease->content, &s->content);
	if (r < 0) {
		settle_rest(outcome, OUTCOME_DEFERRED, "450 4.3.0 the message could not be read");
		r = 0;
	}
	refuse(s);
	while (r == 0 && gather(s))
		r = transact(s);
	link->mails += s->heard;
	*ret_untouched = r < 0 && !s->heard;
	talloc_free(s);
	return r;
}

/* True when `path`, in its brackets, is one that our own parser takes whole. */
static bool is_path(const char *address, bool may_be_null)
{
	char *path = text_must(talloc_asprintf(NULL, "<%s>", address));
	struct address parsed;
	size_t used;
	bool fine = address_parse_path(text_of(path), may_be_null, &parsed, &used) == 0 &&
		    used == strlen(path) && parsed.whole.len == strlen(address);

	talloc_free(path);
	return fine;
}

/* True when `value` is one word: no blank and no control can end it. */
static bool is_word(const char *value)
{
	for (const char *at = value == NULL ? "" : value; *at != '\0'; at++)
		if ((unsigned char)*at <= ' ' || *at == 0x7f)
			return false;
	return true;
}

bool send_check(const struct lease *lease, struct outcome *outcome)
{
	const struct envelope *e = &lease->envelope;
	bool left = false;

	if (!is_path(e->sender, true) || !is_word(e->envid))
		settle_rest(outcome, OUTCOME_BOUNCED, "553 5.1.7 the sender's address is malformed");
	for (size_t i = 0; i < e->recipient_count; i++) {
		if (is_open(outcome, i) &&
			(!is_path(e->recipients[i], false) || (e->orcpt != NULL && !is_word(e->orcpt[i]))))
			settle(outcome, i, OUTCOME_BOUNCED, "553 5.1.3 the recipient's address is malformed");
		left = left || is_open(outcome, i);
	}
	return left;
}
