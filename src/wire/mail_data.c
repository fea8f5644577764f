/*
 * The bytes between 354 and the reply to the dot, both ways (RFC 5321 section 4.5.2). session/ decodes what
 * a client sends, deliver/ encodes what a server gets. Both are one state per byte, so how the network cuts
 * the stream never matters.
 *
 * Inwards a line starts after CR LF and at the start of the data, and nowhere else; only there a dot means
 * anything. That dot never comes out: it is either the first byte of the end mark or was stuffed. So after
 * `CRLF . CR` with something else than LF behind it, the dot was stuffing and is gone, the CR comes out as
 * the bare CR it is, and the next byte is read as if it stood in the middle of a line. The other way
 * (keeping the dot) would give one message two readings, which is what smuggling lives from (conformance
 * 1.22).
 *
 * Outwards no bare CR or LF ever leaves, whatever came in (conformance 1.25, 1.26).
 */
#include "wire/mail_data.h"

#include "base/base.h"

/* Where the next byte stands. LINE_START is zero: a decoder or encoder may start zeroed. */
enum state {
	LINE_START,
	IN_LINE,
	AFTER_CR,     /* in: the CR came out; out: the CR is held back */
	AFTER_DOT,    /* in: a dot at the start of a line, dropped */
	AFTER_DOT_CR, /* in: that dot and a CR, which is held back */
};

/* Where the next CR and the next LF of `input` are (its length when there is none): each is searched once, as the bytes before it are not
 * looked at one by one, and again when it was passed. */
struct line_ends {
	struct text input;
	size_t cr, lf;
};

static struct line_ends line_ends_of(struct text input)
{
	return (struct line_ends){ input, text_find(input, '\r'), text_find(input, '\n') };
}

/* The bytes at `at` that are neither CR nor LF. */
static struct text next_run(struct line_ends *ends, size_t at)
{
	const struct text rest = text_from(ends->input, at);

	if (ends->cr < at)
		ends->cr = at + text_find(rest, '\r');
	if (ends->lf < at)
		ends->lf = at + text_find(rest, '\n');
	return text_first(rest, MIN(ends->cr, ends->lf) - at);
}

struct mail_data_in mail_data_in_start(void)
{
	return (struct mail_data_in){ .state = LINE_START };
}

/* The state after `c` came out, where no dot has a meaning. */
static unsigned after_byte(struct mail_data_in *in, char c)
{
	bool after_cr = in->state == AFTER_CR;

	in->bare_cr |= after_cr && c != '\n';
	in->bare_lf |= !after_cr && c == '\n';
	in->eight_bit |= (uint8_t)c > 0x7f;
	in->line = c == '\r' || c == '\n' ? 0 : in->line + 1;
	in->longest_line = MAX(in->longest_line, in->line);
	if (c == '\r')
		return AFTER_CR;
	return after_cr && c == '\n' ? LINE_START : IN_LINE;
}

/* The same for many bytes in a line, among which is no CR or LF. */
static void look_at_run(struct mail_data_in *in, struct text run)
{
	in->eight_bit = in->eight_bit || !text_is_ascii(run);
	in->line += run.len;
	in->longest_line = MAX(in->longest_line, in->line);
}

size_t mail_data_in_take(struct mail_data_in *in, struct text input, char *out, size_t *ret_len)
{
	struct line_ends ends = line_ends_of(input);
	size_t taken = 0, len = 0;

	while (taken < input.len && !in->ended) {
		if (in->state == IN_LINE) {
			const struct text run = next_run(&ends, taken);

			look_at_run(in, run);
			memcpy(out + len, run.at, run.len);
			len += run.len;
			taken += run.len;
			if (taken == input.len)
				break;
		}

		const char c = input.at[taken++];

		if (in->state == LINE_START && c == '.') {
			in->state = AFTER_DOT;
			continue;
		}
		if (in->state == AFTER_DOT && c == '\r') {
			in->state = AFTER_DOT_CR;
			continue;
		}
		if (in->state == AFTER_DOT_CR && c == '\n') {
			in->ended = true;
			continue;
		}
		if (in->state == AFTER_DOT_CR) {
			out[len++] = '\r';
			in->state = AFTER_CR;
		}
		out[len++] = c;
		in->state = after_byte(in, c);
	}
	*ret_len = len;
	return taken;
}

void mail_data_in_look(struct mail_data_in *in, struct text input)
{
	struct line_ends ends = line_ends_of(input);

	for (size_t taken = 0; taken < input.len; taken++) {
		if (in->state == IN_LINE) {
			const struct text run = next_run(&ends, taken);

			look_at_run(in, run);
			taken += run.len;
			if (taken == input.len)
				break;
		}
		in->state = after_byte(in, input.at[taken]);
	}
}

struct mail_data_out mail_data_out_start(void)
{
	return (struct mail_data_out){ .state = LINE_START };
}

struct mail_data_out mail_data_out_start_counted(void)
{
	return (struct mail_data_out){ .state = LINE_START, .counted = true };
}

static size_t put_line_end(char *out)
{
	out[0] = '\r';
	out[1] = '\n';
	return 2;
}

size_t mail_data_out_take(struct mail_data_out *out_state, struct text input, char *out)
{
	struct line_ends ends = line_ends_of(input);
	unsigned state = out_state->state;
	size_t len = 0;

	for (size_t i = 0; i < input.len; i++) {
		if (state == IN_LINE) {
			const struct text run = next_run(&ends, i);

			memcpy(out + len, run.at, run.len);
			len += run.len;
			i += run.len;
			if (i == input.len)
				break;
		}

		const char c = input.at[i];

		if (state == AFTER_CR || c == '\n') {
			/* CRLF, a bare LF, or the bare CR before `c`: one line end. */
			len += put_line_end(out + len);
			state = LINE_START;
			if (c == '\n')
				continue;
		}
		if (c == '\r') {
			state = AFTER_CR;
			continue;
		}
		if (state == LINE_START && c == '.' && !out_state->counted)
			out[len++] = '.';
		out[len++] = c;
		state = IN_LINE;
	}
	out_state->state = state;
	return len;
}

size_t mail_data_out_end(struct mail_data_out *out_state, char *out)
{
	size_t len = out_state->state == LINE_START ? 0 : put_line_end(out);

	if (!out_state->counted) {
		out[len++] = '.';
		len += put_line_end(out + len);
	}
	out_state->state = LINE_START;
	return len;
}
