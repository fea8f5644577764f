/*
 * Lines that begin with five dashes and BEGIN or END and end with five dashes, perhaps with blanks behind. Called where a file that may hold
 * certificates and keys is divided, so that a role gets no more of it than it needs.
 */
#include "wire/pem_frame.h"

#include "base/base.h"

/* The next line without its end; false at the end of `rest`. */
static bool next_line(struct text *rest, struct text *ret_line)
{
	if (rest->len == 0)
		return false;

	size_t end = text_find(*rest, '\n');
	*ret_line = text_first(*rest, end);
	*rest = text_from(*rest, end + 1);
	return true;
}

/* The label in a line such as `-----BEGIN label-----`; false when it is another line. */
static bool read_label(struct text line, struct text word, struct text *ret_label)
{
	const struct text dashes = TEXT("-----");

	while (line.len > 0 && (unsigned char)line.at[line.len - 1] <= ' ')
		line.len--;
	if (line.len < word.len + dashes.len || !text_equal(text_first(line, word.len), word) ||
		!text_equal(text_from(line, line.len - dashes.len), dashes))
		return false;
	*ret_label = text_first(text_from(line, word.len), line.len - word.len - dashes.len);
	return true;
}

bool pem_frame_next(struct text *rest, struct pem_frame *ret_block)
{
	const char *start = NULL; /* of the block that is open */
	struct text line, label, open = { 0 };

	while (next_line(rest, &line)) {
		if (read_label(line, TEXT("-----BEGIN "), &label)) {
			start = line.at;
			open = label;
		} else if (start != NULL && read_label(line, TEXT("-----END "), &label)) {
			const char *from = start;

			start = NULL;
			if (!text_equal(open, label))
				continue;
			*ret_block = (struct pem_frame){ .label = label,
				.whole = { from, (size_t)(line.at + line.len - from) } };
			return true;
		}
	}
	return false;
}

bool pem_frame_is_certificate(struct text label)
{
	return text_equal(label, TEXT("CERTIFICATE")) || text_equal(label, TEXT("X509 CERTIFICATE")) ||
	       text_equal(label, TEXT("TRUSTED CERTIFICATE"));
}
