/*
 * The transaction. Recipients that the peer refuses are settled one by one; what the peer says to the final dot settles all the others.
 * A connection that is lost after the dot leaves the outcome unknown: the mail is tried again, which may duplicate but never lose it.
 */
#include "deliver/send.h"

#include <stdio.h>
#include <unistd.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "deliver/link.h"
#include "wire/mail_data.h"
#include "wire/smtp_command.h"

/* RFC 5321 section 4.5.3.2, in seconds. */
enum { MAIL_S = 300, RCPT_S = 300, DATA_S = 120, BLOCK_S = 180, DOT_S = 600, RSET_S = 20 };
enum { BATCH = 100, CHUNK = 4096 };

static void settle(struct outcome *outcome, size_t index, enum outcome_state state, const char *reply)
{
	outcome->recipients[index].state = state;
	outcome->recipients[index].reply = text_copy(outcome, text_of(reply));
}

static bool open_recipient(const struct outcome *outcome, size_t index)
{
	return outcome->recipients[index].reply == NULL;
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

/* Everything not settled yet gets the same end. */
static void settle_rest(struct outcome *outcome, enum outcome_state state, const char *reply)
{
	for (size_t i = 0; i < outcome->recipient_count; i++)
		if (open_recipient(outcome, i))
			settle(outcome, i, state, reply);
}

static int lost(struct outcome *outcome, int error, const char *where)
{
	char reply[200];

	snprintf(reply, sizeof reply, "450 4.4.2 the connection was lost %s: %s", where, err_text(error));
	settle_rest(outcome, OUTCOME_DEFERRED, reply);
	return error;
}

/* What the sender asked for travels on as far as the peer understands it. */
static char *mail_parameters(const struct link *link, const struct lease *lease)
{
	static const char *const rets[] = {
		[SMTP_RET_NONE] = "", [SMTP_RET_FULL] = " RET=FULL", [SMTP_RET_HDRS] = " RET=HDRS"
	};
	const struct envelope *e = &lease->envelope;
	char *parameters = text_must(talloc_strdup(NULL, ""));

	if (link->offers.has_size)
		parameters = talloc_asprintf_append_buffer(
			parameters, " SIZE=%llu", (unsigned long long)lease->content.size);
	if (link->offers.has_8bitmime && e->eight_bit)
		parameters = talloc_asprintf_append_buffer(parameters, " BODY=8BITMIME");
	if (link->offers.has_smtputf8 && e->utf8)
		parameters = talloc_asprintf_append_buffer(parameters, " SMTPUTF8");
	if (link->offers.has_dsn)
		parameters = talloc_asprintf_append_buffer(parameters, "%s%s%s", rets[e->ret],
			text_of(e->envid).len == 0 ? "" : " ENVID=", text_of(e->envid).at);
	return text_must(parameters);
}

static int put_recipient(struct link *link, const struct lease *lease, size_t index)
{
	static const struct {
		unsigned flag;
		const char *word;
	} words[] = { { SMTP_NOTIFY_NEVER, "NEVER" }, { SMTP_NOTIFY_SUCCESS, "SUCCESS" },
		{ SMTP_NOTIFY_FAILURE, "FAILURE" }, { SMTP_NOTIFY_DELAY, "DELAY" } };
	const struct envelope *e = &lease->envelope;
	char notify[64] = "";
	size_t used = 0;

	if (!link->offers.has_dsn || e->notify == NULL)
		return link_put(link, "RCPT TO:<%s>", e->recipients[index]);
	for (size_t i = 0; i < COUNT(words); i++)
		if (e->notify[index] & words[i].flag)
			used += (size_t)snprintf(notify + used, sizeof notify - used, "%s%s",
				used == 0 ? " NOTIFY=" : ",", words[i].word);
	return link_put(link, "RCPT TO:<%s>%s%s%s", e->recipients[index], notify,
		e->orcpt[index][0] == '\0' ? "" : " ORCPT=", e->orcpt[index]);
}

/* MAIL and the recipients, at most BATCH commands on the way at a time so that neither side fills its buffers. ret_accepted: recipients
 * that the peer took. */
static int send_envelope(struct link *link, const struct lease *lease, struct outcome *outcome,
	size_t *ret_accepted, bool *ret_untouched)
{
	const size_t batch = link->offers.has_pipelining ? BATCH : 1;
	size_t asked = 0, answered = 0;
	struct smtp_reply reply, mail_reply;
	*ret_accepted = 0;
	*ret_untouched = true;
	char *parameters = mail_parameters(link, lease);
	int r = link_put(link, "MAIL FROM:<%s>%s", lease->envelope.sender, parameters);
	talloc_free(parameters);
	for (; r == 0 && asked + 1 < batch && asked < outcome->recipient_count; asked++)
		r = put_recipient(link, lease, asked);
	if (r == 0)
		r = link_reply(link, MAIL_S, &mail_reply);
	if (r < 0)
		return lost(outcome, r, "at MAIL");

	*ret_untouched = false;
	if (smtp_reply_class(&mail_reply) != 2 && asked == 0) {
		settle_rest(outcome, state_of(&mail_reply), mail_reply.text);
		return 0;
	}
	while (answered < outcome->recipient_count) {
		if (answered == asked)
			for (; r == 0 && asked < answered + batch && asked < outcome->recipient_count;
				asked++)
				r = put_recipient(link, lease, asked);
		if (r == 0)
			r = link_reply(link, RCPT_S, &reply);
		if (r < 0)
			return lost(outcome, r, "at RCPT");
		if (smtp_reply_class(&mail_reply) == 2 && smtp_reply_class(&reply) == 2)
			(*ret_accepted)++;
		else if (smtp_reply_class(&mail_reply) == 2)
			settle(outcome, answered, state_of(&reply), reply.text);
		answered++;
	}
	if (smtp_reply_class(&mail_reply) != 2)
		settle_rest(outcome, state_of(&mail_reply), mail_reply.text);
	return 0;
}

/* A piece of the content at `offset`; its length, or a negative error. */
static ssize_t content_piece(const struct content *content, uint64_t offset, char *buffer)
{
	size_t want = (size_t)MIN(content->size - offset, (uint64_t)CHUNK);

	if (content->fd < 0) {
		memcpy(buffer, content->bytes.at + offset, want);
		return (ssize_t)want;
	}
	ssize_t n = pread(content->fd, buffer, want, (off_t)offset);
	return n < 0 ? -errno : n == 0 ? -ENODATA : n;
}

static int send_content(struct link *link, const struct content *content)
{
	struct mail_data_out out = mail_data_out_start();
	char raw[CHUNK], encoded[2 * CHUNK + 8];
	uint64_t done = 0;
	int r = 0;

	while (r == 0 && done < content->size) {
		ssize_t n = content_piece(content, done, raw);

		if (n < 0)
			return (int)n;
		conn_set_deadline(link->conn, clock_mono_ms() + BLOCK_S * 1000);
		r = conn_write(link->conn,
			(struct text){ encoded,
				mail_data_out_take(&out, (struct text){ raw, (size_t)n }, encoded) });
		done += (uint64_t)n;
	}
	if (r == 0)
		r = conn_write(link->conn, (struct text){ encoded, mail_data_out_end(&out, encoded) });
	return r;
}

/* DATA and what the peer says to it. */
static int send_data(struct link *link, const struct lease *lease, struct outcome *outcome)
{
	struct smtp_reply reply;
	int r = link_ask(link, DATA_S, &reply, "DATA");

	if (r < 0)
		return lost(outcome, r, "at DATA");
	if (reply.code != 354) {
		settle_rest(outcome, smtp_reply_class(&reply) == 5 ? OUTCOME_BOUNCED : OUTCOME_DEFERRED,
			reply.text);
		return 0;
	}
	r = send_content(link, &lease->content);
	if (r < 0) {
		link->broken = true;
		return lost(outcome, r, "during DATA");
	}
	r = link_reply(link, DOT_S, &reply);
	if (r < 0)
		return lost(outcome, r, "after the end of the data");
	settle_rest(outcome, state_of(&reply), reply.text);
	return 0;
}

static bool is_ascii(const char *text)
{
	for (const char *at = text; *at != '\0'; at++)
		if ((unsigned char)*at > 0x7e)
			return false;
	return true;
}

static bool needs_utf8(const struct envelope *envelope)
{
	bool ascii = is_ascii(envelope->sender);

	for (size_t i = 0; ascii && i < envelope->recipient_count; i++)
		ascii = is_ascii(envelope->recipients[i]);
	return !ascii;
}

int send_mail(struct link *link, const struct lease *lease, struct outcome *outcome, bool *ret_untouched)
{
	const struct smtp_reply *offers = &link->offers;
	struct smtp_reply reply;
	size_t accepted;
	int r;

	*ret_untouched = false;
	if (offers->has_size && offers->size > 0 && lease->content.size > offers->size) {
		settle_rest(outcome, OUTCOME_BOUNCED, "552 5.3.4 the message is larger than the peer takes");
		return 0;
	}
	if (!offers->has_smtputf8 && needs_utf8(&lease->envelope)) {
		settle_rest(outcome, OUTCOME_BOUNCED, "553 5.6.7 the peer takes no addresses with UTF-8");
		return 0;
	}
	r = send_envelope(link, lease, outcome, &accepted, ret_untouched);
	if (r < 0)
		return r;
	link->mails++;
	if (accepted > 0)
		r = send_data(link, lease, outcome);
	bool delivered = false;
	for (size_t i = 0; i < outcome->recipient_count; i++)
		delivered = delivered || outcome->recipients[i].state == OUTCOME_DELIVERED;
	if (r == 0 && !delivered)
		r = link_ask(link, RSET_S, &reply, "RSET");
	return r;
}
