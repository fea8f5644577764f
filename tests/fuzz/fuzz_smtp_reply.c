/* Replies: the input is cut at LF and fed line by line, as the network does; what is kept stays bounded. */
#include "wire/smtp_reply.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void check(const struct smtp_reply *reply)
{
	size_t len = strnlen(reply->text, sizeof reply->text);

	must(len >= 3 && len < sizeof reply->text);
	for (size_t i = 0; i < len; i++)
		must(reply->text[i] >= 0x20 && reply->text[i] <= 0x7e);
	must(reply->code >= 200 && reply->code <= 599);
	must(smtp_reply_class(reply) == (unsigned)(reply->text[0] - '0'));
	must(reply->lines >= 1 && reply->lines <= SMTP_REPLY_LINES_MAX);
	must(reply->size == 0 || reply->has_size);
	must(len == 3 || reply->text[3] == ' ');
	must(!smtp_reply_too_many(reply) || smtp_reply_class(reply) >= 4 || len > 4);
	must(reply->lines > 1 || reply->rcpt_max == 0);
	must(reply->lines > 1 || !(reply->has_starttls || reply->has_pipelining || reply->has_size ||
					 reply->has_dsn || reply->has_requiretls));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text rest = { (const char *)data, size };
	struct smtp_reply reply = { 0 };

	while (rest.len > 0) {
		size_t end = text_find(rest, '\n');
		struct smtp_reply before = reply;

		if (smtp_reply_line(&reply, text_first(rest, end)) == 0) {
			must(!before.complete && reply.lines == before.lines + 1);
			must(before.lines == 0 || before.code == reply.code);
			check(&reply);
		} else {
			must(memcmp(&before, &reply, sizeof reply) == 0);
		}
		if (reply.complete && (reply.code & 1) == 0)
			reply = (struct smtp_reply){ 0 };
		rest = text_from(rest, end + 1);
	}
	return 0;
}
