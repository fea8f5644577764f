/* DATA: the content, then the promise (RFC 5321 section 4.1.1.4). Whatever goes wrong meanwhile, the data is read to its end, so that
 * the client hears the reply and nothing in it is ever taken for a command. */
#include <stdio.h>

#include <talloc.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "queue/queue.h"
#include "queue/storage_fault.h"
#include "report/metrics.h"
#include "session/intake.h"
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
		.utf8 = transaction->utf8,
		.protocol = text_of(evidence->protocol),
		.cipher = text_of(evidence->cipher),
		.group = text_of(evidence->group),
		.id = text_of(id),
		.rcpt = transaction->recipient_count == 1 ? text_of(transaction->recipients[0]) : TEXT(""),
		.date = text_of(clock_mail_date(now_ms, date)),
	};

	return received_format(owner, &received);
}

struct intake *smtp_intake(struct smtp *s)
{
	struct transaction *transaction = s->greeting->transaction;
	char id[80];

	snprintf(id, sizeof id, "%.60s-%llu", s->icid, (unsigned long long)s->mails + 1);
	char *received = received_field(s, transaction, clock_wall_ms(), id);
	struct intake *intake =
		intake_new(transaction, s->house->queue, s->house->stop_fd, text_of(received));
	talloc_free(received);
	return intake;
}

/* A client that trickles its data is cut off: besides the idle time it has ten milliseconds for each byte (100 bytes a second). */
static void set_data_deadline(struct smtp *s, int64_t started, uint64_t size)
{
	int64_t allowed =
		started + s->house->config->limits.idle_time_ms + (int64_t)MIN(size, UINT64_C(1) << 40) * 10;

	smtp_set_deadline(s);
	if (clock_mono_ms() + s->house->config->limits.idle_time_ms > allowed)
		conn_set_deadline(s->conn, MIN(s->ends, allowed));
}

/* Read to the end mark; 0, or negative when the connection is lost. */
static int receive(struct smtp *s, struct intake *intake)
{
	int64_t started = clock_mono_ms();
	char decoded[CHUNK + 2];

	while (!intake->data.ended) {
		struct text raw;
		size_t len;

		set_data_deadline(s, started, intake->size);
		int r = conn_peek(s->conn, &raw);
		if (r < 0)
			return r;
		conn_take(s->conn, mail_data_in_take(&intake->data, text_first(raw, CHUNK), decoded, &len));
		intake_add(intake, &s->house->config->limits, s->house->queue, s->house->stop_fd,
			(struct text){ decoded, len });
	}
	return 0;
}

/* The client's network has as many mails in the queue as it may. */
static enum smtp_next refuse_quota(struct smtp *s)
{
	static const char reply[] =
		"452 4.7.0 the queue holds as many mails from your network as it may, try later";

	smtp_note(s, METRIC_REJECTED_LIMIT, "mail_refused", s->greeting->transaction->recipients[0], reply,
		"limits.queue_quota");
	return smtp_say(s, reply);
}

static enum smtp_next say_not_stored(struct smtp *s, int error)
{
	const char *reply = error == -ENOSPC || error == -EDQUOT
				    ? "452 4.3.1 insufficient storage, try later"
				    : "451 4.3.0 the message could not be stored, try later";

	if (error == ERR_QUOTA)
		return refuse_quota(s);
	metrics_count(s->house->metrics, METRIC_NOT_ACCEPTED);
	log_event(LOG_WARN, "mail_not_accepted", log_str("icid", s->icid), log_str("client", s->client),
		log_str("sender", s->greeting->transaction->sender), log_str("reply", reply),
		log_str("reason", err_text(error)), log_str("cure", storage_fault_cure(error)));
	return smtp_say(s, reply);
}

static enum smtp_next refuse_content(struct smtp *s, const struct intake *intake)
{
	static const struct {
		const char *reply, *reason;
	} flaws[] = {
		[INTAKE_TOO_LARGE] = { "552 5.3.4 message too large", "limits.message_size" },
		[INTAKE_HEADER] = { "552 5.3.4 message header too large", "limits.header" },
		[INTAKE_LONG_LINE] = { "554 5.6.0 a line of the message is too long", "limits.line" },
		[INTAKE_LOOP] = { "554 5.4.6 too many Received fields: the message goes in circles",
			"too many Received fields" },
	};

	if (intake->flaw == INTAKE_NOT_STORED)
		return say_not_stored(s, intake->error);
	smtp_note(s, intake->flaw == INTAKE_TOO_LARGE ? METRIC_REJECTED_LIMIT : METRIC_REJECTED_CONTENT,
		"mail_refused", s->greeting->transaction->recipients[0], flaws[intake->flaw].reply,
		flaws[intake->flaw].reason);
	return smtp_refuse(s, flaws[intake->flaw].reply);
}

/* The promise: 250 only after queue_commit() has returned. */
static enum smtp_next commit(struct smtp *s, struct body *body)
{
	const struct transaction *transaction = s->greeting->transaction;
	char *tls = evidence_json(body, &s->conn->evidence);
	int64_t mid;
	const struct envelope envelope = {
		.received_ms = clock_wall_ms(),
		.icid = s->icid,
		.client = s->client,
		.helo = s->greeting->name,
		.tls = tls,
		.sender = transaction->sender,
		.eight_bit = transaction->eight_bit,
		.utf8 = transaction->utf8,
		.ret = (int)transaction->ret,
		.envid = transaction->envid,
		.recipients = transaction->recipients,
		.recipient_count = transaction->recipient_count,
		.notify = transaction->notify,
		.orcpt = transaction->orcpt,
	};
	int r = queue_commit(s->house->queue, &envelope, &body->content, s->house->stop_fd, &mid);

	if (r < 0)
		return say_not_stored(s, r);

	s->mails++;
	s->idle_commands = 0;
	s->refused_addresses = 0;
	metrics_count(s->house->metrics, METRIC_ACCEPTED);
	log_event(LOG_INFO, "mail_accepted", log_str("icid", s->icid), log_num("mid", mid),
		log_str("sender", envelope.sender), log_num("recipients", (int64_t)envelope.recipient_count),
		log_num("size", (int64_t)body->content.size));
	return smtp_sayf(s, "250 2.0.0 accepted as %lld", (long long)mid);
}

enum smtp_next smtp_finish(struct smtp *s, struct intake *intake)
{
	intake_end(intake, s->house->queue, s->house->stop_fd);
	smtp_set_deadline(s);
	enum smtp_next next =
		intake->flaw == INTAKE_FINE ? commit(s, intake->body) : refuse_content(s, intake);

	TALLOC_FREE(s->greeting->transaction);
	return next;
}

enum smtp_next smtp_data(struct smtp *s, const struct smtp_command *command)
{
	struct transaction *transaction = s->greeting->transaction;

	(void)command;
	if (transaction->intake != NULL)
		return smtp_refuse(s, "503 5.5.1 BDAT has begun this message");
	if (transaction->recipient_count == 0)
		return smtp_refuse(s, transaction->attempted == 0 ? "503 5.5.1 RCPT comes first"
								  : "554 5.5.1 no valid recipients");

	smtp_say(s, "354 end data with <CR><LF>.<CR><LF>");
	if (conn_flush(s->conn) < 0)
		return SMTP_HANG_UP;

	struct intake *intake = smtp_intake(s);
	if (receive(s, intake) < 0) {
		log_event(LOG_INFO, "data_interrupted", log_str("icid", s->icid),
			log_num("size", (int64_t)intake->size));
		return SMTP_HANG_UP;
	}
	if (!intake->data.bare_lf)
		return smtp_finish(s, intake);
	smtp_say(s, "521 5.5.2 bare <LF> received");
	smtp_note(s, METRIC_REJECTED_PROTOCOL, "mail_refused", transaction->recipients[0],
		"521 5.5.2 bare <LF> received", "bare LF in the data");
	return SMTP_HANG_UP;
}
