/*
 * One SMTP command line into a struct, for session/. The verb comes first and alone decides which grammar
 * reads the rest: a table says what kind of argument each verb takes, a function per kind checks it. The
 * result never depends on state, so `MAIL` parses the same before and after EHLO; order is the session's
 * business.
 *
 * A line that holds malformed UTF-8, a NUL or another control byte (tab too) is refused for every known verb,
 * whatever stands around it. Only the space separates: RFC 5321 section 4.1.1 knows no other blank.
 *
 * The parameters of MAIL and RCPT are a table as well: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531),
 * RET, ENVID, NOTIFY and ORCPT (RFC 3461), AUTH (RFC 4954; checked and forgotten). What goes into a delivery
 * status notification one day (ENVID, ORCPT) may decode to printable characters only, so that nobody writes
 * a header into it.
 */
#include "wire/smtp_command.h"

#include "base/base.h"
#include "wire/utf8.h"
#include "wire/xtext.h"

enum {
	NAME_MAX_OCTETS = 255,
	SIZE_MAX_DIGITS = 20,
	CHUNK_MAX_DIGITS = 19,
	ENVID_MAX = 100, /* RFC 3461 section 4.4, decoded */
	XTEXT_MAX = 500, /* section 4.2, as written; RFC 4954 section 4 for AUTH */
};

/* What a verb wants behind itself. */
enum kind { NOTHING, ANYTHING, NAME, SENDER, RECIPIENT, CHUNK, WHO };

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
	{ TEXT("BDAT"), SMTP_BDAT, CHUNK },
	{ TEXT("VRFY"), SMTP_VRFY, WHO },
	{ TEXT("EXPN"), SMTP_EXPN, WHO },
	{ TEXT("HELP"), SMTP_HELP, ANYTHING },
	{ TEXT("XCLIENT"), SMTP_XCLIENT, ANYTHING },
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

static bool is_8bit(char c)
{
	return (unsigned char)c > 0x7f;
}

static bool has_8bit(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (is_8bit(t.at[i]))
			return true;
	return false;
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
		bool value = (is_graphic(c) && c != '=') || is_8bit(c);

		if (i < equals ? !keyword : i > equals && !value)
			return false;
	}
	return true;
}

static bool take_size(struct smtp_command *command, struct text value)
{
	return value.len <= SIZE_MAX_DIGITS && text_number(value, UINT64_MAX, &command->size) == 0;
}

/* BINARYMIME is not offered, so it is as wrong as anything else (conformance 1.38). */
static bool take_body(struct smtp_command *command, struct text value)
{
	bool eight = text_equal_nocase(value, TEXT("8BITMIME"));

	command->body = eight ? SMTP_BODY_8BIT : SMTP_BODY_7BIT;
	return eight || text_equal_nocase(value, TEXT("7BIT"));
}

static bool take_smtputf8(struct smtp_command *command, struct text value)
{
	command->smtputf8 = true;
	return value.len == 0;
}

static bool take_ret(struct smtp_command *command, struct text value)
{
	bool full = text_equal_nocase(value, TEXT("FULL"));

	command->ret = full ? SMTP_RET_FULL : SMTP_RET_HDRS;
	return full || text_equal_nocase(value, TEXT("HDRS"));
}

/* xtext that decodes to at most `max` bytes without a control; over 0x7f only when `eight_bit`, as Postfix writes the UTF-8 address of an
 * ORCPT (RFC 3461 sections 4.2 and 4.4). */
static bool is_harmless_xtext(struct text value, size_t max, bool eight_bit)
{
	char decoded[XTEXT_MAX];
	size_t len;

	if (value.len == 0 || value.len > sizeof decoded || xtext_decode(value, decoded, &len) < 0)
		return false;

	struct text plain = { decoded, len };
	return len <= max && !has_control(plain) && (eight_bit || !has_8bit(plain));
}

static bool take_envid(struct smtp_command *command, struct text value)
{
	command->envid = value;
	return is_harmless_xtext(value, ENVID_MAX, false);
}

/* `<>` is xtext, too. Nobody believes the value (RFC 4954 section 5): it is checked and not kept. */
static bool take_auth(struct smtp_command *command, struct text value)
{
	char decoded[XTEXT_MAX];
	size_t len;

	(void)command;
	return value.len > 0 && value.len <= sizeof decoded && xtext_decode(value, decoded, &len) == 0;
}

/* NEVER alone, or a list of the others. */
static bool take_notify(struct smtp_command *command, struct text value)
{
	static const struct {
		struct text word;
		enum smtp_notify bit;
	} words[] = {
		{ TEXT("NEVER"), SMTP_NOTIFY_NEVER },
		{ TEXT("SUCCESS"), SMTP_NOTIFY_SUCCESS },
		{ TEXT("FAILURE"), SMTP_NOTIFY_FAILURE },
		{ TEXT("DELAY"), SMTP_NOTIFY_DELAY },
	};

	for (bool more = true; more;) {
		size_t comma = text_find(value, ','), i = 0;

		while (i < COUNT(words) && !text_equal_nocase(text_first(value, comma), words[i].word))
			i++;
		if (i == COUNT(words))
			return false;
		command->notify |= words[i].bit;
		more = comma < value.len;
		value = text_from(value, comma + 1);
	}
	return command->notify == SMTP_NOTIFY_NEVER || (command->notify & SMTP_NOTIFY_NEVER) == 0;
}

/* RFC 6533 section 3: behind `utf-8;`, characters beyond ASCII may stand as they are, under SMTPUTF8. */
static bool is_utf8_orcpt(struct text value)
{
	static const struct text type = TEXT("utf-8;");

	if (!text_starts_nocase(value, type) || !has_8bit(value))
		return false;

	uint32_t code;
	for (value = text_from(value, type.len); value.len > 0;) {
		size_t len = utf8_first(value, &code);

		if (len == 0 || (code >= 0x80 && code < 0xa0) || (len == 1 && value.at[0] == '+'))
			return false;
		value = text_from(value, len);
	}
	return true;
}

/* An atom, `;`, xtext. */
static bool take_orcpt(struct smtp_command *command, struct text value)
{
	static const struct text no_atom = TEXT("()<>[]:;@\\,.\"");
	size_t semicolon = text_find(value, ';');

	command->orcpt = value;
	if (semicolon == 0 || semicolon + 1 >= value.len || value.len > XTEXT_MAX)
		return false;

	for (size_t i = 0; i < semicolon; i++)
		if (is_8bit(value.at[i]) || text_find(no_atom, value.at[i]) < no_atom.len)
			return false;
	if (is_utf8_orcpt(value)) {
		command->utf8_address = true;
		return true;
	}
	return is_harmless_xtext(text_from(value, semicolon + 1), XTEXT_MAX, true);
}

/* The parameters: `take` gets the value, empty when there is none, and tells whether it is right. */
static const struct {
	struct text word;
	enum smtp_verb verb;
	bool (*take)(struct smtp_command *command, struct text value);
} parameters[] = {
	{ TEXT("SIZE"), SMTP_MAIL, take_size },
	{ TEXT("BODY"), SMTP_MAIL, take_body },
	{ TEXT("SMTPUTF8"), SMTP_MAIL, take_smtputf8 },
	{ TEXT("RET"), SMTP_MAIL, take_ret },
	{ TEXT("ENVID"), SMTP_MAIL, take_envid },
	{ TEXT("AUTH"), SMTP_MAIL, take_auth },
	{ TEXT("NOTIFY"), SMTP_RCPT, take_notify },
	{ TEXT("ORCPT"), SMTP_RCPT, take_orcpt },
};

/* One parameter; `seen` has a bit for each row of the table that was there before. */
static enum smtp_flaw take_parameter(struct text word, unsigned *seen, struct smtp_command *command)
{
	size_t equals = text_find(word, '=');

	if (!is_parameter(word))
		return SMTP_BAD_SYNTAX;

	for (size_t i = 0; i < COUNT(parameters); i++) {
		if (command->verb != parameters[i].verb ||
			!text_equal_nocase(text_first(word, equals), parameters[i].word))
			continue;
		if (*seen & 1u << i || !parameters[i].take(command, text_from(word, equals + 1)))
			return SMTP_BAD_SYNTAX;
		*seen |= 1u << i;
		return SMTP_FINE;
	}
	return SMTP_UNKNOWN_PARAMETER;
}

/* The parameters behind the path; the first flaw counts. */
static enum smtp_flaw parse_parameters(struct text rest, struct smtp_command *command)
{
	unsigned seen = 0;

	if (rest.len > 0 && rest.at[0] != ' ')
		return SMTP_BAD_SYNTAX;

	for (rest = trim_spaces(rest); rest.len > 0; rest = trim_spaces(rest)) {
		struct text word = first_word(rest);
		enum smtp_flaw flaw = take_parameter(word, &seen, command);

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

	command->utf8_address = command->address.utf8;
	enum smtp_flaw flaw = parse_parameters(text_from(path, used), command);
	if (flaw == SMTP_FINE && command->verb == SMTP_MAIL && command->utf8_address && !command->smtputf8)
		return SMTP_NEEDS_UTF8;
	return flaw;
}

/* RFC 3030 section 2: the size of the chunk, then perhaps LAST. */
static enum smtp_flaw parse_chunk(struct smtp_command *command)
{
	struct text size = first_word(command->argument);
	struct text rest = trim_spaces(text_from(command->argument, size.len));

	command->last = text_equal_nocase(rest, TEXT("LAST"));
	if ((rest.len > 0 && !command->last) || size.len > CHUNK_MAX_DIGITS ||
		text_number(size, INT64_MAX, &command->size) < 0)
		return SMTP_BAD_SYNTAX;
	return SMTP_FINE;
}

/* The argument of VRFY and EXPN, any string; RFC 6531 section 3.7.4.2 lets SMTPUTF8 follow it. */
static enum smtp_flaw check_who(struct smtp_command *command)
{
	command->smtputf8 = text_ends_nocase(command->argument, TEXT(" SMTPUTF8"));
	return has_8bit(command->argument) && !command->smtputf8 ? SMTP_NEEDS_UTF8 : SMTP_FINE;
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
	case CHUNK:
		return parse_chunk(command);
	case WHO:
		return check_who(command);
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
		if (!utf8_valid(line))
			command.flaw = SMTP_BAD_UTF8;
		else if (has_control(line))
			command.flaw = SMTP_BAD_SYNTAX;
		else
			command.flaw = parse_argument(verbs[i].kind, &command);
	}
	return command;
}
