/*
 * The header as it passes, one state per byte, so how the network cuts the content never matters. Called by
 * session/ for each piece of content, whether it came by DATA or BDAT; keeps nothing.
 *
 * A field is a name of printable ASCII, perhaps blanks (RFC 5322 section 4.5.8 still lets them), and a colon.
 * A line that is something else ends the header before itself. It counts as header while it is open, since
 * it may become a field, and is taken out again when it does not.
 */
#include "wire/header_scan.h"

#include "base/base.h"

enum state {
	LINE_START, /* of the first line: zero, a scan may start zeroed */
	NEXT_LINE,  /* at the start of a line behind a field */
	AFTER_CR,   /* the same, behind a CR: a LF belongs to it */
	NAME,
	BLANKS, /* between the name and the colon */
	VALUE,
};

static const struct text counted = TEXT("received");

struct header_scan header_scan_start(void)
{
	return (struct header_scan){ .state = LINE_START };
}

/* The open line is no field, or is empty: the header ended before it. */
static void end(struct header_scan *scan, bool malformed)
{
	scan->header_bytes -= scan->open;
	scan->open = 0;
	scan->malformed = malformed;
	scan->ended = true;
}

/* The first byte of a line. */
static void take_first(struct header_scan *scan, char c)
{
	bool blank = c == ' ' || c == '\t';

	if (c == '\r' || c == '\n') {
		end(scan, false);
	} else if (blank && scan->state != LINE_START) {
		scan->state = VALUE;
		scan->header_bytes++;
	} else if (blank || c <= 0x20 || c >= 0x7f || c == ':') {
		end(scan, true);
	} else {
		scan->state = NAME;
		scan->name = text_lower(c) == counted.at[0] ? 1 : counted.len + 1;
		scan->open = 1;
		scan->header_bytes++;
	}
}

/* A byte of the name, or of the blanks behind it, or their end. */
static void take_name(struct header_scan *scan, char c)
{
	bool blank = c == ' ' || c == '\t';

	if (c == ':') {
		scan->received += scan->name == counted.len;
		scan->state = VALUE;
		scan->open = 0;
		scan->header_bytes++;
		return;
	}
	if (!blank && (scan->state == BLANKS || c <= 0x20 || c >= 0x7f)) {
		end(scan, true);
		return;
	}
	scan->open++;
	scan->header_bytes++;
	if (blank)
		scan->state = BLANKS;
	else if (scan->name < counted.len && text_lower(c) == counted.at[scan->name])
		scan->name++;
	else
		scan->name = counted.len + 1;
}

static void take_value(struct header_scan *scan, char c)
{
	scan->header_bytes++;
	scan->eight_bit |= (uint8_t)c > 0x7f;
	if (c == '\r')
		scan->state = AFTER_CR;
	else if (c == '\n')
		scan->state = NEXT_LINE;
}

void header_scan_take(struct header_scan *scan, struct text content)
{
	for (size_t i = 0; i < content.len && !scan->ended; i++) {
		char c = content.at[i];

		switch ((enum state)scan->state) {
		case AFTER_CR:
			if (c == '\n') {
				scan->state = NEXT_LINE;
				scan->header_bytes++;
				break;
			}
			take_first(scan, c);
			break;
		case LINE_START:
		case NEXT_LINE:
			take_first(scan, c);
			break;
		case NAME:
		case BLANKS:
			take_name(scan, c);
			break;
		case VALUE:
			take_value(scan, c);
			break;
		}
	}
}

void header_scan_end(struct header_scan *scan)
{
	if (!scan->ended)
		end(scan, scan->state == NAME || scan->state == BLANKS);
}

enum header_scan_beginning header_scan_beginning(const struct header_scan *scan)
{
	if (!scan->ended && scan->header_bytes == scan->open)
		return HEADER_SCAN_UNKNOWN;
	return scan->malformed && scan->header_bytes == 0 ? HEADER_SCAN_BODY : HEADER_SCAN_HEADER;
}
