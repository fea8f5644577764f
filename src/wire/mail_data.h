#pragma once
/* The bytes after 354: taking the dots out on the way in, putting them in on the way out (RFC 5321 section 4.5.2).
 * Only CR LF . CR LF ends the data; nothing else ever does (conformance 1.22). */

#include <stdbool.h>

#include "base/text.h"

struct mail_data_in {
	unsigned state; /* private */
	bool ended;	/* CRLF.CRLF was seen */
	bool bare_lf;	/* a LF without CR before it was seen */
	bool bare_cr;	/* a CR without LF behind it was seen */
	bool eight_bit; /* a byte over 0x7f was seen */

	size_t line; /* private: bytes of the open line */
	size_t longest_line; /* bytes of the longest line so far, the open one too, without stuffing and line end, which is
				CRLF, a bare CR or a bare LF, as mail_data_out_take() makes lines */
};

/* A decoder at the start of the data (which counts as the start of a line). */
struct mail_data_in mail_data_in_start(void);

/* Decode `input` into `out` (room for input.len + 2 bytes). Returns how many input bytes were taken: all of them, or up
 * to and including the end mark, after which `ended` is set. ret_len: bytes written. Message bytes come out as
 * they came in, bare CR and LF included, dot-stuffing removed; the end mark itself does not come out, the CRLF before it does. */
size_t mail_data_in_take(struct mail_data_in *in, struct text input, char *out, size_t *ret_len);

/* Note what is seen in `input`, the next bytes of a BDAT chunk (RFC 3030), where no dot means anything: the same
 * flags and lines, across chunks too; never `ended`. Not for a decoder that takes DATA. */
void mail_data_in_look(struct mail_data_in *in, struct text input);

struct mail_data_out {
	unsigned state; /* private */
	bool counted;	/* private */
};

/* An encoder at the start of the data. */
struct mail_data_out mail_data_out_start(void);

/* As mail_data_out_start(), for BDAT, whose bytes are counted: no dots are put in, and no end mark behind. */
struct mail_data_out mail_data_out_start_counted(void);

/* Encode `input` into `out` (room for 2 * input.len + 2): lines that start with a dot get another one, a bare CR or LF becomes
 * CRLF. Returns the bytes written. A CR at the end of `input` is held back until the next call. */
size_t mail_data_out_take(struct mail_data_out *out_state, struct text input, char *out);

/* The end: completes an open line, then `.CRLF` unless the bytes are counted. `out` has room for 8 bytes. Returns the bytes written. */
size_t mail_data_out_end(struct mail_data_out *out_state, char *out);
