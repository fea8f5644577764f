/* BDAT: content in chunks of announced size, no dots (RFC 3030). Whatever is answered, the announced bytes are read first, so that they are
 * never taken for commands. */
#include <talloc.h>

#include "base/base.h"
#include "base/log.h"
#include "config/config.h"
#include "session/intake.h"
#include "session/smtp_private.h"
#include "wire/mail_data.h"

/* Read the chunk into `intake` (NULL = throw it away); 0, or negative when the connection is lost. */
static int read_chunk(struct smtp *s, uint64_t size, struct intake *intake)
{
	const struct config_limits *limits = &s->house->config->limits;

	while (size > 0) {
		struct text bytes;

		smtp_set_deadline(s);
		int r = conn_peek(s->conn, &bytes);
		if (r < 0)
			return r;
		bytes = text_first(bytes, (size_t)MIN(size, (uint64_t)bytes.len));
		if (intake != NULL && limits->line_length > 0)
			mail_data_in_look(&intake->data, bytes);
		if (intake != NULL)
			intake_add(intake, limits, s->house->queue, s->house->stop_fd, bytes);
		conn_take(s->conn, bytes.len);
		size -= bytes.len;
	}
	return 0;
}

/* A chunk that has no place here: more than a message's worth of it is not even read. */
static enum smtp_next refuse_chunk(struct smtp *s, uint64_t size, const char *reply)
{
	if (size > s->house->config->limits.message_size || read_chunk(s, size, NULL) < 0) {
		smtp_refuse(s, reply);
		return SMTP_HANG_UP;
	}
	if (s->greeting != NULL)
		TALLOC_FREE(s->greeting->transaction);
	return smtp_refuse(s, reply);
}

/* Why a chunk cannot be taken now; NULL when it can. */
static const char *objection(const struct smtp *s, const struct smtp_command *command)
{
	const struct transaction *transaction = s->greeting == NULL ? NULL : s->greeting->transaction;

	if (transaction == NULL)
		return s->greeting == NULL ? "503 5.5.1 EHLO comes first" : "503 5.5.1 MAIL comes first";
	if (transaction->recipient_count == 0)
		return transaction->attempted == 0 ? "503 5.5.1 RCPT comes first"
						   : "554 5.5.1 no valid recipients";
	if (command->size == 0 && !command->last)
		return "551 5.7.1 an empty chunk that is not the last one";
	return NULL;
}

enum smtp_next smtp_bdat(struct smtp *s, const struct smtp_command *command)
{
	const char *reply = objection(s, command);

	if (reply != NULL)
		return refuse_chunk(s, command->size, reply);

	struct transaction *transaction = s->greeting->transaction;
	if (transaction->intake == NULL)
		transaction->intake = smtp_intake(s);
	struct intake *intake = transaction->intake;
	if (read_chunk(s, command->size, intake) < 0) {
		log_event(LOG_INFO, "data_interrupted", log_str("icid", s->icid),
			log_num("size", (int64_t)intake->size));
		return SMTP_HANG_UP;
	}
	if (command->last)
		return smtp_finish(s, intake);
	if (intake->flaw == INTAKE_FINE)
		return smtp_sayf(s, "250 2.0.0 %llu bytes so far", (unsigned long long)intake->size);
	/* The message is lost already; its further chunks are read and answered alike until the last one. */
	return smtp_say(s, intake->flaw == INTAKE_NOT_STORED ? "452 4.3.1 insufficient storage, try later"
							     : "552 5.3.4 the message is refused");
}
