/* The first flaw counts; reading goes on to the end of the data, because the client hears nothing before. */
#include "session/intake.h"

#include <talloc.h>

#include "config/config.h"

enum { RECEIVED_MAX = 100 }; /* RFC 5321 section 6.3 */

static void keep(struct intake *intake, struct peer *queue, int stop_fd, struct text bytes)
{
	int r = body_add(intake->body, queue, stop_fd, bytes);

	if (r < 0) {
		intake->flaw = INTAKE_NOT_STORED;
		intake->error = r;
	}
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
		keep(intake, queue, stop_fd, bytes);
}
