#pragma once
/* A borrowed slice of bytes. It is never NUL-terminated by promise; C strings appear only at library borders. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
	const char *at;
	size_t len;
};

#define TEXT(literal) ((struct text){ (literal), sizeof(literal) - 1 })
#define TEXT_FMT      "%.*s"
#define TEXT_ARG(t)   (int)(t).len, (t).at

/* View a C string as text; NULL becomes the empty text. Borrowed. */
static inline struct text text_of(const char *string)
{
	return string == NULL ? (struct text){ "", 0 } : (struct text){ string, strlen(string) };
}

/* The part of `t` from byte `start` on; empty when `start` lies behind the end. */
static inline struct text text_from(struct text t, size_t start)
{
	return start >= t.len ? (struct text){ t.at + t.len, 0 }
			      : (struct text){ t.at + start, t.len - start };
}

/* The first `len` bytes of `t`, or all of it when it is shorter. */
static inline struct text text_first(struct text t, size_t len)
{
	return (struct text){ t.at, len < t.len ? len : t.len };
}

/* True when both hold the same bytes. */
bool text_equal(struct text a, struct text b);

/* True when both hold the same bytes, ASCII letters compared without case. */
bool text_equal_nocase(struct text a, struct text b);

/* True when `t` begins with `prefix`, ASCII letters compared without case. */
bool text_starts_nocase(struct text t, struct text prefix);

/* True when `t` ends with `suffix`, ASCII letters compared without case. */
bool text_ends_nocase(struct text t, struct text suffix);

/* Position of the first `c` in `t`, or t.len when there is none. */
size_t text_find(struct text t, char c);

/* Position of the last `c` in `t`, or t.len when there is none. */
size_t text_find_last(struct text t, char c);

/* True when no byte of `t` is over 0x7f. */
bool text_is_ascii(struct text t);

/* `t` without spaces and tabs at both ends. Borrowed. */
struct text text_trim(struct text t);

/* Parse all of `t` as an unsigned decimal number no larger than `max`; 0, or -EINVAL / -ERANGE. */
int text_number(struct text t, uint64_t max, uint64_t *ret_number);

/* A NUL-terminated copy owned by talloc parent `owner`; never NULL (out of memory ends the role). */
char *text_copy(const void *owner, struct text t);

/* As text_copy(), with ASCII letters in lower case. */
char *text_copy_lower(const void *owner, struct text t);

/* End the process with a clear message when `pointer` is NULL (out of memory); else return it. */
void *text_must(void *pointer) __attribute__((returns_nonnull));

/* Lower case of one ASCII character; everything else unchanged, whatever the locale. */
static inline char text_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* How many edits turn `a` into `b` (Levenshtein, ASCII case ignored); texts over 64 bytes count as far apart. */
size_t text_distance(struct text a, struct text b);
