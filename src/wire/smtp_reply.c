/*
 * Replies of the SMTP servers we deliver to, one line at a time, for deliver/. The server is a stranger:
 * codes outside 200..599, codes that change within a reply, more than SMTP_REPLY_LINES_MAX lines and lines
 * behind the last one are refused, and the text that is kept for logs and bounces is cut and made printable
 * ASCII: the words of all lines, because the first one often has the reason and the last one a link.
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

/* `words` without the enhanced code that the reply has already. */
static struct text without_status(const struct smtp_reply *reply, struct text words)
{
	struct text kept = text_from(text_of(reply->text), 4);
	struct text status = text_first(kept, text_find(kept, ' '));

	if (text_find(status, '.') < status.len && text_starts_nocase(words, status) &&
		(words.len == status.len || words.at[status.len] == ' '))
		return text_trim(text_from(words, status.len));
	return words;
}

static void keep_text(struct smtp_reply *reply, struct text line)
{
	size_t used = strlen(reply->text);
	struct text words = used == 0 ? line : without_status(reply, text_from(line, 4));

	if (used > 0 && words.len > 0 && used < sizeof reply->text - 1 && reply->text[used - 1] != ' ')
		reply->text[used++] = ' ';
	words = text_first(words, sizeof reply->text - 1 - used);
	for (size_t i = 0; i < words.len; i++)
		reply->text[used + i] = words.at[i] >= 0x20 && words.at[i] <= 0x7e ? words.at[i] : '?';
	reply->text[used + words.len] = '\0';
	if (reply->text[3] == '-')
		reply->text[3] = ' ';
}

/* The number behind SIZE; what is no number states no limit. */
static uint64_t size_limit(struct text argument)
{
	uint64_t size;

	return text_number(text_trim(argument), UINT64_MAX, &size) == 0 ? size : 0;
}

/* The value of RCPTMAX among the limits; 0 when there is none (RFC 9422). */
static uint64_t recipient_limit(struct text limits)
{
	static const struct text name = TEXT("RCPTMAX=");

	while (limits.len > 0) {
		size_t blank = text_find(limits, ' ');
		struct text limit = text_first(limits, blank);
		uint64_t value;

		if (text_starts_nocase(limit, name) &&
			text_number(text_from(limit, name.len), UINT64_MAX, &value) == 0)
			return value;
		limits = text_from(limits, blank + 1);
	}
	return 0;
}

/* Mechanisms that we can use (RFC 4954 section 3). */
static void note_auth(struct smtp_reply *reply, struct text mechanisms)
{
	while (mechanisms.len > 0) {
		size_t blank = text_find(mechanisms, ' ');
		struct text one = text_first(mechanisms, blank);

		reply->has_auth_plain |= text_equal_nocase(one, TEXT("PLAIN"));
		reply->has_auth_login |= text_equal_nocase(one, TEXT("LOGIN"));
		mechanisms = text_from(mechanisms, blank + 1);
	}
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

	if (text_equal_nocase(keyword, TEXT("LIMITS")))
		reply->rcpt_max = recipient_limit(text_from(line, blank + 1));
	if (text_equal_nocase(keyword, TEXT("AUTH")))
		note_auth(reply, text_from(line, blank + 1));
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

bool smtp_reply_too_many(const struct smtp_reply *reply)
{
	struct text words = text_from(text_of(reply->text), 4);
	bool enhanced = words.len >= 5 && words.at[1] == '.' && (words.at[0] == '4' || words.at[0] == '5') &&
			words.at[2] >= '0' && words.at[2] <= '9';

	if (enhanced)
		return text_starts_nocase(text_from(words, 1), TEXT(".5.3")) &&
		       (words.len == 5 || words.at[5] == ' ');
	return reply->code == 452 || reply->code == 552;
}
