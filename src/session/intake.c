/*
 * The first flaw counts; reading goes on to the end of the data, because the client hears nothing before.
 *
 * Our Received field stands in front. Content that begins with a line that is no field gets an empty line between, else a blank would
 * continue our field, and each reader would end the header where it likes (conformance 1.27). So nothing is stored before the first
 * line has told: until then, at most limits.header bytes, it is held back.
 */
#include "session/intake.h"

#include <talloc.h>

#include "base/base.h"
#include "config/config.h"

enum { RECEIVED_MAX = 100 }; /* RFC 5321 section 6.3 */

static void note_stored(struct intake *intake, int result)
{
	if (result < 0) {
		intake->flaw = INTAKE_NOT_STORED;
		intake->error = result;
	}
}

static void keep(struct intake *intake, struct peer *queue, int stop_fd, struct text bytes)
{
	note_stored(intake, body_add(intake->body, queue, stop_fd, bytes));
}

struct intake *intake_new(const void *owner, struct peer *queue, int stop_fd, struct text received)
{
	struct intake *intake = text_must(talloc_zero(owner, struct intake));

	intake->body = body_new(intake);
	intake->data = mail_data_in_start();
	intake->scan = header_scan_start();
	keep(intake, queue, stop_fd, received);
	return intake;
}

static void hold(struct intake *intake, struct text bytes)
{
	if (intake->held_len + bytes.len > intake->held_room) {
		intake->held_room = MAX(intake->held_room * 2, intake->held_len + bytes.len);
		intake->held = text_must(talloc_realloc_size(intake, intake->held, intake->held_room));
	}
	if (bytes.len > 0)
		memcpy(intake->held + intake->held_len, bytes.at, bytes.len);
	intake->held_len += bytes.len;
}

/* Now the content: what parts it from our field, then what was held back. */
static void begin(struct intake *intake, struct peer *queue, int stop_fd)
{
	if (intake->begun)
		return;
	intake->begun = true;
	if (header_scan_beginning(&intake->scan) == HEADER_SCAN_BODY)
		keep(intake, queue, stop_fd, TEXT("\r\n"));
	if (intake->flaw == INTAKE_FINE)
		keep(intake, queue, stop_fd, (struct text){ intake->held, intake->held_len });
	TALLOC_FREE(intake->held);
}

static void store(struct intake *intake, struct peer *queue, int stop_fd, struct text bytes)
{
	if (header_scan_beginning(&intake->scan) == HEADER_SCAN_UNKNOWN) {
		hold(intake, bytes);
		return;
	}
	begin(intake, queue, stop_fd);
	if (intake->flaw == INTAKE_FINE)
		keep(intake, queue, stop_fd, bytes);
}

void intake_add(struct intake *intake, const struct config_limits *limits, struct peer *queue, int stop_fd,
	struct text bytes)
{
	intake->size += bytes.len;
	if (intake->flaw != INTAKE_FINE)
		return;

	header_scan_take(&intake->scan, bytes);
	if (intake->size > limits->message_size)
		intake->flaw = INTAKE_TOO_LARGE;
	else if (intake->scan.header_bytes > limits->header)
		intake->flaw = INTAKE_HEADER;
	else if (intake->scan.received > RECEIVED_MAX)
		intake->flaw = INTAKE_LOOP;
	else if (limits->line_length > 0 && intake->data.longest_line > limits->line_length)
		intake->flaw = INTAKE_LONG_LINE;
	else
		store(intake, queue, stop_fd, bytes);
}

void intake_end(struct intake *intake, struct peer *queue, int stop_fd)
{
	if (intake->flaw != INTAKE_FINE)
		return;
	header_scan_end(&intake->scan);
	begin(intake, queue, stop_fd);
	if (intake->flaw == INTAKE_FINE)
		note_stored(intake, body_end(intake->body, queue, stop_fd));
}
