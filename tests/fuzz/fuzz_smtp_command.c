/* Command lines: no line is read outside its bytes, and what is called fine keeps its promises. */
#include "wire/smtp_command.h"

#include <stdlib.h>

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

static void check(struct text line, const struct smtp_command *command)
{
	struct text a = command->argument;

	must(a.at >= line.at && a.at + a.len <= line.at + line.len);
	must(a.len == 0 || (a.at[0] != ' ' && a.at[a.len - 1] != ' '));
	if (command->verb == SMTP_UNKNOWN || command->flaw != SMTP_FINE)
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
		must(command->address.local.len > 0 && command->size == 0);
		return;
	case SMTP_MAIL:
		must(command->address.whole.at > a.at && command->address.whole.at < a.at + a.len);
		return;
	case SMTP_NOOP:
	case SMTP_VRFY:
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
