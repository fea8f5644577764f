/* DATA: the content, then the promise (RFC 5321 section 4.1.1.4). Whatever goes wrong meanwhile, the data is read to its end, so that
 * the client hears the reply and nothing in it is ever taken for a command. */
#include <stdio.h>

#include <talloc.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "queue/queue.h"
#include "report/metrics.h"
#include "session/body.h"
#include "session/smtp_private.h"
#include "wire/mail_data.h"
#include "wire/received.h"

enum { CHUNK = 4096 };

/* Our own trace field, with the facts of this leg. */
static char *received_field(const struct smtp *s, const void *owner, int64_t now_ms, const char *id)
{
	const struct transaction *transaction = s->greeting->transaction;
	const struct evidence *evidence = &s->conn->evidence;
	char date[CLOCK_TEXT_MAX], client[IP_TEXT_MAX];
	struct received received = {
		.helo = text_of(s->greeting->name),
		.client = text_of(ip_format_literal(&s->conn->peer, client)),
		.hostname = text_of(s->house->config->hostname),
		.esmtp = s->greeting->esmtp,
		.protocol = text_of(evidence->protocol),
		.cipher = text_of(evidence->cipher),
		.group = text_of(evidence->group),
		.id = text_of(id),
		.rcpt = transaction->recipient_count == 1 ? text_of(transaction->recipients[0]) : TEXT(""),
		.date = text_of(clock_mail_date(now_ms, date)),
	};

	return received_format(owner, &received);
}

/* Read to the end mark. Negative: the connection is lost. Else ret_error tells what happened to the content: 0, -EFBIG, or why it cannot
 * be kept. */
static int receive(struct smtp *s, struct body *body, struct mail_data_in *in, int *ret_error)
{
	const uint64_t limit = s->house->config->limits.message_size +
			       body->content.size; /* our own field is not the client's */
	char decoded[CHUNK + 2];

	while (!in->ended) {
		struct text raw;
		size_t len;

		smtp_set_deadline(s);
		int r = conn_peek(s->conn, &raw);
		if (r < 0)
			return r;
		conn_take(s->conn, mail_data_in_take(in, text_first(raw, CHUNK), decoded, &len));
		if (*ret_error == 0 && body->content.size + len > limit)
			*ret_error = -EFBIG;
		if (*ret_error == 0)
			*ret_error = body_add(
				body, s->house->queue, s->house->stop_fd, (struct text){ decoded, len });
	}
	return 0;
}

static enum smtp_next say_failure(struct smtp *s, int error)
{
	log_event(
		LOG_WARN, "mail_not_accepted", log_str("icid", s->icid), log_str("reason", err_text(error)));
	switch (error) {
	case -EFBIG:
		return smtp_refuse(s, "552 5.3.4 message too large");
	case -ENOSPC:
	case -EDQUOT:
		return smtp_say(s, "452 4.3.1 insufficient storage, try later");
	default:
		return smtp_say(s, "451 4.3.0 the message could not be stored, try later");
	}
}

/* The promise: 250 only after queue_commit() has returned. */
static enum smtp_next commit(struct smtp *s, struct body *body, int64_t now_ms)
{
	const struct transaction *transaction = s->greeting->transaction;
	char *tls = evidence_json(body, &s->conn->evidence);
	int64_t mid;
	const struct envelope envelope = {
		.received_ms = now_ms,
		.icid = s->icid,
		.client = s->client,
		.helo = s->greeting->name,
		.tls = tls,
		.sender = transaction->sender,
		.recipients = transaction->recipients,
		.recipient_count = transaction->recipient_count,
	};
	int r = queue_commit(s->house->queue, &envelope, &body->content, s->house->stop_fd, &mid);

	if (r < 0)
		return say_failure(s, r);

	s->mails++;
	metrics_count(s->house->metrics, METRIC_ACCEPTED);
	log_event(LOG_INFO, "mail_accepted", log_str("icid", s->icid), log_num("mid", mid),
		log_str("sender", envelope.sender), log_num("recipients", (int64_t)envelope.recipient_count),
		log_num("size", (int64_t)body->content.size));
	return smtp_sayf(s, "250 2.0.0 accepted as %lld", (long long)mid);
}

enum smtp_next smtp_data(struct smtp *s, const struct smtp_command *command)
{
	struct transaction *transaction = s->greeting->transaction;
	struct mail_data_in in = mail_data_in_start();
	int64_t now_ms = clock_wall_ms();
	char id[80];
	int error = 0;

	(void)command;
	if (transaction->recipient_count == 0)
		return smtp_refuse(s, transaction->attempted == 0 ? "503 5.5.1 RCPT comes first"
								  : "554 5.5.1 no valid recipients");

	smtp_say(s, "354 end data with <CR><LF>.<CR><LF>");
	if (conn_flush(s->conn) < 0)
		return SMTP_HANG_UP;

	struct body *body = body_new(s->greeting);
	snprintf(id, sizeof id, "%.60s-%llu", s->icid, (unsigned long long)s->mails + 1);
	error = body_add(
		body, s->house->queue, s->house->stop_fd, text_of(received_field(s, body, now_ms, id)));
	if (receive(s, body, &in, &error) < 0) {
		log_event(LOG_INFO, "data_interrupted", log_str("icid", s->icid),
			log_num("size", (int64_t)body->content.size));
		return SMTP_HANG_UP;
	}

	enum smtp_next next = SMTP_HANG_UP;
	if (in.bare_lf) {
		smtp_say(s, "521 5.5.2 bare <LF> received");
		smtp_note(s, "mail_refused", transaction->recipients[0], "521 5.5.2 bare <LF> received",
			"bare LF in the data");
	} else {
		smtp_set_deadline(s);
		next = error < 0 ? say_failure(s, error) : commit(s, body, now_ms);
	}
	talloc_free(body);
	TALLOC_FREE(s->greeting->transaction);
	return next;
}
