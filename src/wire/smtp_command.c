/*
 * One SMTP command line into a struct, for session/. The verb comes first and alone decides which grammar
 * reads the rest: a table says what kind of argument each verb takes, a function per kind checks it. The
 * result never depends on state, so `MAIL` parses the same before and after EHLO; order is the session's
 * business.
 *
 * A line that holds a NUL or another control byte (tab too) is a syntax error for every known verb. Only
 * the space separates: RFC 5321 section 4.1.1 knows no other blank. Of the parameters of MAIL and RCPT only
 * SIZE (RFC 1870) is known.
 */
#include "wire/smtp_command.h"

#include "base/base.h"

enum { NAME_MAX_OCTETS = 255, SIZE_MAX_DIGITS = 20 };

/* What a verb wants behind itself. */
enum kind { NOTHING, ANYTHING, NAME, SENDER, RECIPIENT };

static const struct {
	struct text word;
	enum smtp_verb verb;
	enum kind kind;
} verbs[] = {
	{ TEXT("EHLO"), SMTP_EHLO, NAME },
	{ TEXT("HELO"), SMTP_HELO, NAME },
	{ TEXT("STARTTLS"), SMTP_STARTTLS, NOTHING },
	{ TEXT("MAIL"), SMTP_MAIL, SENDER },
	{ TEXT("RCPT"), SMTP_RCPT, RECIPIENT },
	{ TEXT("DATA"), SMTP_DATA, NOTHING },
	{ TEXT("RSET"), SMTP_RSET, NOTHING },
	{ TEXT("NOOP"), SMTP_NOOP, ANYTHING },
	{ TEXT("QUIT"), SMTP_QUIT, NOTHING },
	{ TEXT("VRFY"), SMTP_VRFY, ANYTHING },
	{ TEXT("HELP"), SMTP_HELP, ANYTHING },
};

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/* RFC 5321 esmtp-value and the names of clients: printable, no blank, seven bits. */
static bool is_graphic(char c)
{
	return c > 0x20 && c < 0x7f;
}

static struct text trim_spaces(struct text t)
{
	while (t.len > 0 && t.at[0] == ' ')
		t = text_from(t, 1);
	while (t.len > 0 && t.at[t.len - 1] == ' ')
		t.len--;
	return t;
}

/* The bytes before the first space or control byte. */
static struct text first_word(struct text t)
{
	size_t len = 0;

	while (len < t.len && t.at[len] != ' ' && !is_control(t.at[len]))
		len++;
	return text_first(t, len);
}

static bool has_control(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (is_control(t.at[i]))
			return true;
	return false;
}

/* The client's name: any graphic bytes but those with a meaning in comments (conformance 1.19). What is no
 * domain passes: clients call themselves strange names, and refusing them is policy. */
static enum smtp_flaw check_name(struct text t)
{
	if (t.len == 0 || t.len > NAME_MAX_OCTETS)
		return SMTP_BAD_SYNTAX;

	for (size_t i = 0; i < t.len; i++)
		if (!is_graphic(t.at[i]) || t.at[i] == '(' || t.at[i] == ')' || t.at[i] == '\\')
			return SMTP_BAD_SYNTAX;
	return SMTP_FINE;
}

/* RFC 5321 section 4.1.2: esmtp-keyword, then perhaps `=` and a value without `=`. */
static bool is_parameter(struct text t)
{
	size_t equals = text_find(t, '=');

	if (equals == 0 || t.at[0] == '-' || equals + 1 == t.len)
		return false;

	for (size_t i = 0; i < t.len; i++) {
		char c = t.at[i], lower = text_lower(c);
		bool keyword = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-';

		if (i < equals ? !keyword : i > equals && (!is_graphic(c) || c == '='))
			return false;
	}
	return true;
}

/* SIZE's value; seen tells whether there was one before. */
static enum smtp_flaw parse_size(struct text value, bool *seen, uint64_t *ret_size)
{
	if (*seen || value.len > SIZE_MAX_DIGITS || text_number(value, UINT64_MAX, ret_size) < 0)
		return SMTP_BAD_SYNTAX;
	*seen = true;
	return SMTP_FINE;
}

/* The parameters behind the path; the first flaw counts. */
static enum smtp_flaw parse_parameters(struct text rest, struct smtp_command *command)
{
	static const struct text size = TEXT("SIZE=");
	bool size_seen = false;

	if (rest.len > 0 && rest.at[0] != ' ')
		return SMTP_BAD_SYNTAX;

	for (rest = trim_spaces(rest); rest.len > 0; rest = trim_spaces(rest)) {
		struct text word = first_word(rest);
		enum smtp_flaw flaw = is_parameter(word) ? SMTP_UNKNOWN_PARAMETER : SMTP_BAD_SYNTAX;

		if (command->verb == SMTP_MAIL && text_starts_nocase(word, size))
			flaw = parse_size(text_from(word, size.len), &size_seen, &command->size);
		else if (command->verb == SMTP_MAIL &&
			 text_equal_nocase(word, text_first(size, size.len - 1)))
			flaw = SMTP_BAD_SYNTAX;
		if (flaw != SMTP_FINE)
			return flaw;
		rest = text_from(rest, word.len);
	}
	return SMTP_FINE;
}

/* `FROM:<path> parameters` or `TO:<path> parameters`; allow_null as in address_parse_path(). */
static enum smtp_flaw parse_path(struct text prefix, bool allow_null, struct smtp_command *command)
{
	size_t used;

	if (!text_starts_nocase(command->argument, prefix))
		return SMTP_BAD_SYNTAX;

	struct text path = trim_spaces(text_from(command->argument, prefix.len));
	if (path.len == 0)
		return SMTP_BAD_SYNTAX;
	if (address_parse_path(path, allow_null, &command->address, &used) < 0)
		return SMTP_BAD_ADDRESS;
	return parse_parameters(text_from(path, used), command);
}

static enum smtp_flaw parse_argument(enum kind kind, struct smtp_command *command)
{
	switch (kind) {
	case NOTHING:
		return command->argument.len == 0 ? SMTP_FINE : SMTP_BAD_SYNTAX;
	case ANYTHING:
		return SMTP_FINE;
	case NAME:
		return check_name(command->argument);
	case SENDER:
		return parse_path(TEXT("FROM:"), true, command);
	case RECIPIENT:
		return parse_path(TEXT("TO:"), false, command);
	}
	return SMTP_BAD_SYNTAX;
}

struct smtp_command smtp_command_parse(struct text line)
{
	struct text word = first_word(line);
	struct smtp_command command = {
		.verb = SMTP_UNKNOWN,
		.argument = trim_spaces(text_from(line, word.len)),
	};

	for (size_t i = 0; i < COUNT(verbs); i++) {
		if (!text_equal_nocase(word, verbs[i].word))
			continue;
		command.verb = verbs[i].verb;
		command.flaw = has_control(line) ? SMTP_BAD_SYNTAX : parse_argument(verbs[i].kind, &command);
	}
	return command;
}
