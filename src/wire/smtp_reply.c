/*
 * Replies of the SMTP servers we deliver to, one line at a time, for deliver/. The server is a stranger:
 * codes outside 200..599, codes that change within a reply, more than SMTP_REPLY_LINES_MAX lines and lines
 * behind the last one are refused, and the text that is kept for logs and bounces is cut and made printable
 * ASCII.
 *
 * What an EHLO reply offers is collected on the way (RFC 5321 section 4.1.1.1): the first line is the
 * greeting and may say anything, each later line starts with a keyword. A host called STARTTLS offers
 * nothing by its name.
 */
#include "wire/smtp_reply.h"

#include "base/base.h"
#include "base/err.h"

/* The code of a reply line, or 0. */
static unsigned line_code(struct text line)
{
	uint64_t code;

	if (line.len < 3 || text_number(text_first(line, 3), 599, &code) < 0 || code < 200)
		return 0;
	return (unsigned)code;
}

static void keep_text(struct smtp_reply *reply, struct text line)
{
	struct text kept = text_first(line, sizeof reply->text - 1);

	for (size_t i = 0; i < kept.len; i++)
		reply->text[i] = kept.at[i] >= 0x20 && kept.at[i] <= 0x7e ? kept.at[i] : '?';
	reply->text[kept.len] = '\0';
}

/* The number behind SIZE; what is no number states no limit. */
static uint64_t size_limit(struct text argument)
{
	uint64_t size;

	return text_number(text_trim(argument), UINT64_MAX, &size) == 0 ? size : 0;
}

static void note_extension(struct smtp_reply *reply, struct text line)
{
	const struct {
		struct text keyword;
		bool *has;
	} known[] = {
		{ TEXT("STARTTLS"), &reply->has_starttls },
		{ TEXT("PIPELINING"), &reply->has_pipelining },
		{ TEXT("SIZE"), &reply->has_size },
		{ TEXT("8BITMIME"), &reply->has_8bitmime },
		{ TEXT("SMTPUTF8"), &reply->has_smtputf8 },
		{ TEXT("CHUNKING"), &reply->has_chunking },
		{ TEXT("DSN"), &reply->has_dsn },
		{ TEXT("REQUIRETLS"), &reply->has_requiretls },
	};
	size_t blank = text_find(line, ' ');
	struct text keyword = text_first(line, blank);

	for (size_t i = 0; i < COUNT(known); i++) {
		if (!text_equal_nocase(keyword, known[i].keyword))
			continue;
		*known[i].has = true;
		if (known[i].has == &reply->has_size)
			reply->size = size_limit(text_from(line, blank));
	}
}

int smtp_reply_line(struct smtp_reply *reply, struct text line)
{
	unsigned code = line_code(line);

	if (code == 0 || (line.len > 3 && line.at[3] != ' ' && line.at[3] != '-'))
		return ERR_FORMAT;
	if (reply->complete || reply->lines >= SMTP_REPLY_LINES_MAX ||
		(reply->lines > 0 && reply->code != code))
		return ERR_FORMAT;

	if (reply->lines > 0)
		note_extension(reply, text_from(line, 4));
	keep_text(reply, line);
	reply->code = code;
	reply->lines++;
	reply->complete = line.len == 3 || line.at[3] == ' ';
	return 0;
}
