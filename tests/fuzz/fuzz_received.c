/*
 * The Received field: the input, cut at 0xfe, gives every member that a peer can reach. Whatever is said,
 * the result is one field: printable ASCII (UTF-8 in an SMTPUTF8 transaction) in folded lines under 998
 * octets, comments balanced, and one semicolon outside comments and quotes.
 */
#include "wire/received.h"

#include <stdlib.h>

#include <talloc.h>

#include "base/base.h"
#include "wire/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

static struct text next(struct text *rest)
{
	size_t end = text_find(*rest, '\xfe');
	struct text t = text_first(*rest, end);

	*rest = text_from(*rest, end + 1);
	return t;
}

static void check_lines(const char *field, bool utf8)
{
	must(utf8_valid(text_of(field)));
	must(strncmp(field, "Received: from ", 15) == 0 || strncmp(field, "Received: from\r\n\t", 17) == 0);
	for (const char *line = field, *end; *line != '\0'; line = end + 2) {
		end = strstr(line, "\r\n");
		must(end != NULL && end - line <= 998);
		must(line == field || (line[0] == '\t' && end - line > 1));
		for (const char *c = line == field ? line : line + 1; c < end; c++)
			must((*c >= 0x20 && *c <= 0x7e) || (utf8 && (uint8_t)*c > 0x7f));
	}
}

static void check_structure(const char *field)
{
	int depth = 0, semicolons = 0;
	bool quoted = false;

	for (const char *c = field; *c != '\0'; c++) {
		if (*c == '\\' && (depth > 0 || quoted)) {
			must(*++c != '\0');
			continue;
		}
		if (*c == '"' && depth == 0)
			quoted = !quoted;
		if (quoted)
			continue;
		depth += *c == '(' ? 1 : *c == ')' ? -1 : 0;
		must(depth == 0 || depth == 1);
		semicolons += *c == ';' && depth == 0;
	}
	must(depth == 0 && !quoted && semicolons == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text rest = { (const char *)data, size };

	if (size == 0)
		return 0;

	struct received received = {
		.esmtp = data[0] & 1,
		.utf8 = data[0] & 2,
		.authenticated = data[0] & 4,
		.client = TEXT("[192.0.2.1]"),
		.date = TEXT("Fri, 20 Nov 2026 10:20:30 +0000"),
	};
	received.helo = next(&rest);
	received.rcpt = next(&rest);
	received.cipher = next(&rest);
	received.protocol = next(&rest);
	received.group = next(&rest);
	received.id = next(&rest);
	received.hostname = next(&rest);
	if (rest.len > 0)
		received.client = next(&rest);
	received.certificate_subject = next(&rest);
	received.certificate_issuer = next(&rest);

	char *field = received_format(NULL, &received);
	check_lines(field, received.utf8);
	check_structure(field);
	talloc_free(field);
	return 0;
}
