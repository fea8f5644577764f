/* Command lines: no line is read outside its bytes, and what is called fine keeps its promises. */
#include "wire/smtp_command.h"

#include <stdlib.h>

#include "wire/utf8.h"
#include "wire/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

static bool has_control(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if ((uint8_t)t.at[i] < 0x20 || t.at[i] == 0x7f)
			return true;
	return false;
}

static bool inside(struct text part, struct text whole)
{
	return part.len == 0 || (part.at >= whole.at && part.at + part.len <= whole.at + whole.len);
}

/* What a notification will quote holds no control byte, however it is decoded. */
static void check_xtext(struct text t, size_t max)
{
	char decoded[500];
	size_t len = 0;

	must(t.len > 0 && t.len <= sizeof decoded && xtext_decode(t, decoded, &len) == 0 && len <= max);
	must(!has_control((struct text){ decoded, len }));
}

static void check_mail(struct text line, const struct smtp_command *command)
{
	must(command->address.whole.at > command->argument.at && inside(command->address.whole, line));
	must(!command->utf8_address || command->smtputf8);
	must(command->utf8_address == command->address.utf8);
	must(inside(command->envid, line) && command->notify == 0 && command->orcpt.len == 0);
	if (command->envid.len > 0)
		check_xtext(command->envid, 100);
}

static void check_rcpt(struct text line, const struct smtp_command *command)
{
	struct text orcpt = command->orcpt;

	must(command->address.local.len > 0 && inside(command->address.whole, line));
	must(command->size == 0 && command->envid.len == 0 && !command->smtputf8);
	must(command->notify < 16 && (command->notify <= 1 || !(command->notify & SMTP_NOTIFY_NEVER)));
	must(inside(orcpt, line) && (orcpt.len == 0 || text_find(orcpt, ';') > 0));
	if (orcpt.len > 0 && !command->utf8_address)
		check_xtext(text_from(orcpt, text_find(orcpt, ';') + 1), 500);
}

static void check(struct text line, const struct smtp_command *command)
{
	struct text a = command->argument;

	must(a.at >= line.at && a.at + a.len <= line.at + line.len);
	must(a.len == 0 || (a.at[0] != ' ' && a.at[a.len - 1] != ' '));
	if (command->verb == SMTP_UNKNOWN) {
		must(command->flaw == SMTP_FINE);
		return;
	}
	must((command->flaw == SMTP_BAD_UTF8) == !utf8_valid(line));
	if (command->flaw != SMTP_FINE)
		return;

	must(!has_control(line));
	switch (command->verb) {
	case SMTP_EHLO:
	case SMTP_HELO:
		must(a.len > 0 && a.len <= 255 && text_find(a, ' ') == a.len);
		return;
	case SMTP_STARTTLS:
	case SMTP_DATA:
	case SMTP_RSET:
	case SMTP_QUIT:
		must(a.len == 0);
		return;
	case SMTP_RCPT:
		check_rcpt(line, command);
		return;
	case SMTP_MAIL:
		check_mail(line, command);
		return;
	case SMTP_BDAT:
		must(command->size <= INT64_MAX && a.len > 0);
		return;
	case SMTP_NOOP:
	case SMTP_VRFY:
	case SMTP_EXPN:
	case SMTP_XCLIENT:
	case SMTP_HELP:
	case SMTP_UNKNOWN:
		return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text line = { (const char *)data, size };

	if (size > 0) {
		struct smtp_command command = smtp_command_parse(line);

		check(line, &command);
	}
	return 0;
}
