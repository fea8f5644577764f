/*
 * The Received field that session/ puts in front of each message. Clauses stand in the order of RFC 5321
 * section 4.4: from, by, with, id, for, and then the additional registered ones, of which we write `tls`
 * (RFC 8314 section 4.3). Each clause begins a line of its own; inside a clause a word that would pass
 * column 78 goes to the next line.
 *
 * Three kinds of words are written. Names and addresses only when they are syntactically right; else they
 * become `unknown`, a comment, or nothing. Atoms with every other byte replaced. Comments with quoting, cut
 * to WORD_MAX. So whatever the client says, no line passes 998 octets, nothing ends the field, and nothing
 * forges a clause (conformance 1.65).
 */
#include "wire/received.h"

#include <talloc.h>

#include "base/base.h"
#include "wire/address.h"

enum { LINE_WISHED = 78, WORD_MAX = 200 };

struct field {
	char *text;    /* owned by the caller of received_format() */
	size_t column; /* bytes since the last CRLF */
};

static void put(struct field *field, struct text t)
{
	field->text = text_must(talloc_strndup_append_buffer(field->text, t.at, t.len));
	field->column += t.len;
}

static void put_fold(struct field *field)
{
	put(field, TEXT("\r\n"));
	field->column = 0;
	put(field, TEXT("\t"));
}

/* The keyword of a clause, on a new line unless it is the first. */
static void put_clause(struct field *field, const char *keyword)
{
	if (field->column > 0)
		put_fold(field);
	put(field, text_of(keyword));
}

/* One word behind a blank, or on the next line when this one would get too long. */
static void put_word(struct field *field, struct text word)
{
	if (field->column + 1 + word.len > LINE_WISHED)
		put_fold(field);
	else
		put(field, TEXT(" "));
	put(field, word);
}

/* `t` as an atom (dots allowed): letters, digits and what names of ciphers and ids need; the rest becomes
 * `?`. */
static void put_atom(struct field *field, struct text t)
{
	char word[WORD_MAX];
	size_t len = 0;

	for (; len < t.len && len < sizeof word; len++) {
		char c = t.at[len], lower = text_lower(c);
		bool fine = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
			    c == '_' || c == '.';

		word[len] = fine ? c : '?';
	}
	put_word(field, len == 0 ? TEXT("unknown") : (struct text){ word, len });
}

/* Append `t` to the inside of a comment: quoted, printable, cut. */
static size_t quote(char *out, struct text t)
{
	size_t len = 0;

	t = text_first(t, WORD_MAX);
	for (size_t i = 0; i < t.len; i++) {
		char c = t.at[i];

		if (c == '(' || c == ')' || c == '\\')
			out[len++] = '\\';
		out[len++] = c >= 0x20 && c <= 0x7e ? c : '?';
	}
	return len;
}

/* A comment `(first second)`, with `between` between the two when both are there; nothing when both are
 * empty. */
static void put_comment(struct field *field, struct text first, const char *between, struct text second)
{
	char word[4 * WORD_MAX + 16] = "(";
	size_t len = 1;

	if (first.len == 0 && second.len == 0)
		return;

	len += quote(word + len, first);
	if (first.len > 0 && second.len > 0)
		for (const char *c = between; *c != '\0'; c++)
			word[len++] = *c;
	len += quote(word + len, second);
	word[len++] = ')';
	put_word(field, (struct text){ word, len });
}

static bool is_host(struct text t)
{
	return address_is_domain(t) || address_is_literal(t);
}

/* `with` (RFC 3848, RFC 6531 section 4.3): how the client greeted, TLS, AUTH. */
static struct text protocol_of(const struct received *received)
{
	static const struct text names[2][2][2] = {
		/* clear: alone, with AUTH;        TLS: alone, with AUTH */
		{ { TEXT("ESMTP"), TEXT("ESMTPA") }, { TEXT("ESMTPS"), TEXT("ESMTPSA") } },
		{ { TEXT("UTF8SMTP"), TEXT("UTF8SMTPA") }, { TEXT("UTF8SMTPS"), TEXT("UTF8SMTPSA") } },
	};

	return received->esmtp ? names[received->utf8][received->protocol.len > 0][received->authenticated]
			       : TEXT("SMTP");
}

/* A name from the client's certificate, as a comment that says which. */
static void put_certificate(struct field *field, const char *which, struct text name)
{
	if (name.len > 0)
		put_comment(field, text_of(which), " ", name);
}

char *received_format(const void *owner, const struct received *received)
{
	struct field field = { .text = text_copy(owner, TEXT("")) };
	bool named = is_host(received->helo);
	struct address rcpt;

	put_clause(&field, "Received: from");
	put_word(&field, named ? received->helo : TEXT("unknown"));
	put_comment(&field, received->client, "", TEXT(""));
	if (!named)
		put_comment(&field, received->helo, "", TEXT(""));

	put_clause(&field, "by");
	put_word(&field, is_host(received->hostname) ? received->hostname : TEXT("unknown"));
	put_word(&field, TEXT("(Postern)"));
	put_word(&field, TEXT("with"));
	put_word(&field, protocol_of(received));

	put_clause(&field, "id");
	put_atom(&field, received->id);

	if (address_parse(received->rcpt, &rcpt) == 0 && (received->utf8 || !rcpt.utf8)) {
		put_clause(&field, "for <");
		put(&field, rcpt.whole);
		put(&field, TEXT(">"));
	}

	if (received->cipher.len > 0) {
		put_clause(&field, "tls");
		put_atom(&field, received->cipher);
		put_comment(&field, received->protocol, ", ", received->group);
		put_certificate(&field, "client certificate", received->certificate_subject);
		put_certificate(&field, "issued by", received->certificate_issuer);
	}

	put(&field, TEXT(";"));
	put_clause(&field, "");
	put(&field, received->date);
	put(&field, TEXT("\r\n"));
	return field.text;
}
