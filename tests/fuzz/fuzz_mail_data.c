/*
 * The data stream against a slow reference that needs no state: the decoder's answer, however the input is
 * cut, must be what one gets by searching the whole stream for CRLF.CRLF and then deleting the dots behind
 * each CRLF. The encoder's output must hold no bare CR or LF, end at its end mark only, and decode to the
 * input with its line ends made right. The first byte of the input seeds the cuts.
 */
#include "wire/mail_data.h"

#include <stdlib.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
	char *at;
	size_t len;
};

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void same(const struct bytes *a, const struct bytes *b)
{
	must(a->len == b->len && memcmp(a->at, b->at, a->len) == 0);
}

static struct bytes room(size_t size)
{
	struct bytes b = { malloc(size + 1), 0 };

	must(b.at != NULL);
	return b;
}

static void bytes_done(struct bytes *b)
{
	free(b->at);
}

/* The next piece: a pseudo-random length from 0 to 8, or all of the rest when `seed` is 0. */
static size_t piece(uint32_t *seed, size_t rest)
{
	if (*seed == 0)
		return rest;
	*seed = *seed * 1664525u + 1013904223u;
	if (*seed == 0)
		*seed = 1;
	return MIN(rest, (*seed >> 24) % 9);
}

/* Is the byte at `i` at the start of a line? The stream counts as having a CRLF in front. */
static bool at_line_start(struct text t, size_t i)
{
	return i == 0 || (i >= 2 && t.at[i - 2] == '\r' && t.at[i - 1] == '\n');
}

/* What is said of the lines of `t` however it came: the longest run without CR and LF, and the 8-bit bytes. */
static void reference_lines_of(struct text t, struct mail_data_in *flags)
{
	flags->longest_line = 0;
	flags->eight_bit = false;
	for (size_t i = 0; i < t.len; i++) {
		size_t end = i;

		flags->eight_bit |= (t.at[i] & 0x80) != 0;
		while (end < t.len && t.at[end] != '\r' && t.at[end] != '\n')
			end++;
		flags->longest_line = MAX(flags->longest_line, end - i);
	}
}

static void same_flags(const struct mail_data_in *a, const struct mail_data_in *b)
{
	must(a->ended == b->ended && a->bare_lf == b->bare_lf && a->bare_cr == b->bare_cr);
	must(a->eight_bit == b->eight_bit && a->longest_line == b->longest_line);
}

/* The stream as chunks of BDAT. */
static void check_look(struct text t, uint32_t seed)
{
	struct mail_data_in in = mail_data_in_start(), flags = { 0 };

	for (size_t taken = 0; taken < t.len;) {
		size_t want = piece(&seed, t.len - taken);

		mail_data_in_look(&in, text_first(text_from(t, taken), want));
		taken += want;
	}
	for (size_t i = 0; i < t.len; i++) {
		flags.bare_lf |= t.at[i] == '\n' && (i == 0 || t.at[i - 1] != '\r');
		flags.bare_cr |= t.at[i] == '\r' && i + 1 < t.len && t.at[i + 1] != '\n';
	}
	reference_lines_of(t, &flags);
	same_flags(&in, &flags);
}

/* What decoding all of `t` must give; returns the bytes taken. */
static size_t reference_in(struct text t, struct bytes *out, struct mail_data_in *flags)
{
	size_t end = t.len;

	*flags = (struct mail_data_in){ 0 };
	for (size_t i = 0; i + 3 <= t.len && !flags->ended; i++) {
		if (at_line_start(t, i) && memcmp(t.at + i, ".\r\n", 3) == 0) {
			flags->ended = true;
			end = i;
		}
	}
	for (size_t i = 0; i < end; i++) {
		char c = t.at[i];

		flags->bare_lf |= c == '\n' && (i == 0 || t.at[i - 1] != '\r');
		flags->bare_cr |= c == '\r' && i + 1 < t.len && t.at[i + 1] != '\n';
		/* Unfinished: a dot at the start of a line and a CR at the very end are not decided. */
		bool undecided =
			c == '\r' && i + 1 == t.len && i > 0 && t.at[i - 1] == '.' && at_line_start(t, i - 1);
		if (!(c == '.' && at_line_start(t, i)) && !undecided)
			out->at[out->len++] = c;
	}
	reference_lines_of((struct text){ out->at, out->len }, flags);
	return flags->ended ? end + 3 : t.len;
}

/* Decode in pieces, each in exactly sized memory. */
static size_t decode(struct text t, uint32_t seed, struct bytes *out, struct mail_data_in *in)
{
	size_t taken = 0;

	*in = mail_data_in_start();
	while (taken < t.len && !in->ended) {
		size_t want = piece(&seed, t.len - taken), len = 0;
		struct bytes input = room(want), output = room(want + 1); /* want + 2 in all */

		memcpy(input.at, t.at + taken, want);
		size_t got = mail_data_in_take(in, (struct text){ input.at, want }, output.at, &len);
		must(got == want || (in->ended && got < want));
		memcpy(out->at + out->len, output.at, len);
		out->len += len;
		taken += got;
		bytes_done(&input);
		bytes_done(&output);
	}
	return taken;
}

static void check_in(struct text t, uint32_t seed)
{
	CLEANUP(bytes_done) struct bytes want = room(t.len), got = { 0 };
	struct mail_data_in flags, in;
	size_t taken = reference_in(t, &want, &flags);
	uint32_t seeds[] = { 0, seed };

	for (size_t i = 0; i < COUNT(seeds); i++) {
		got = room(t.len);
		must(decode(t, seeds[i], &got, &in) == taken);
		same_flags(&in, &flags);
		same(&got, &want);
		if (i == 0)
			bytes_done(&got);
	}
}

/* What sending `t` and reading it must give: every line end CRLF, one more at the end of an open line. */
static void reference_lines(struct text t, struct bytes *out)
{
	for (size_t i = 0; i < t.len; i++) {
		char c = t.at[i];

		if (c == '\n' && i > 0 && t.at[i - 1] == '\r')
			continue;
		if (c == '\r' || c == '\n')
			out->at[out->len++] = '\r';
		out->at[out->len++] = c == '\r' ? '\n' : c;
	}
	if (out->len > 0 && out->at[out->len - 1] != '\n') {
		out->at[out->len++] = '\r';
		out->at[out->len++] = '\n';
	}
}

static void encode(struct mail_data_out state, struct text t, uint32_t seed, struct bytes *out)
{
	for (size_t taken = 0; taken < t.len;) {
		size_t want = piece(&seed, t.len - taken);
		struct bytes input = room(want), output = room(2 * want + 1);

		memcpy(input.at, t.at + taken, want);
		size_t len = mail_data_out_take(&state, (struct text){ input.at, want }, output.at);
		memcpy(out->at + out->len, output.at, len);
		out->len += len;
		taken += want;
		bytes_done(&input);
		bytes_done(&output);
	}
	struct bytes output = room(7);
	size_t len = mail_data_out_end(&state, output.at);
	memcpy(out->at + out->len, output.at, len);
	out->len += len;
	bytes_done(&output);
}

static void check_out(struct text t, uint32_t seed)
{
	CLEANUP(bytes_done) struct bytes whole = room(2 * t.len + 10);
	CLEANUP(bytes_done) struct bytes cut = room(2 * t.len + 10);
	CLEANUP(bytes_done) struct bytes want = room(2 * t.len + 2);
	CLEANUP(bytes_done) struct bytes back = room(2 * t.len + 10);
	struct mail_data_in in;

	encode(mail_data_out_start(), t, 0, &whole);
	encode(mail_data_out_start(), t, seed, &cut);
	same(&whole, &cut);
	must(decode((struct text){ whole.at, whole.len }, seed, &back, &in) == whole.len);
	must(in.ended && !in.bare_cr && !in.bare_lf);
	reference_lines(t, &want);
	same(&back, &want);
	cut.len = 0;
	encode(mail_data_out_start_counted(), t, seed, &cut);
	same(&cut, &want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;

	struct text t = { (const char *)data + 1, size - 1 };
	check_in(t, data[0] + 1u);
	check_out(t, data[0] + 1u);
	check_look(t, data[0] + 1u);
	return 0;
}
