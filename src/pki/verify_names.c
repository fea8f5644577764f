/*
 * The comparison is OpenSSL's, with what it gets wrong by default switched off: partial wildcards, common names. Done before it: references that
 * it would read as patterns (`.example.com` is any subdomain to it) are refused. Done after it: a name that a wildcard matches, and that an
 * authority of the chain is not to vouch for, does not count; OpenSSL compares the wildcard itself with the excluded names (conformance 8.06).
 */
#include "pki/verify_names.h"

#include <stdio.h>
#include <string.h>

#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/base.h"
#include "pki/public_suffix.h"
#include "wire/fqdn.h"

enum { FLAGS = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NAME_LEN_MAX = 253, LABEL_LEN_MAX = 63, SHOWN_MAX = 8 };

static void explain(struct verify_verdict *verdict, const char *text)
{
	size_t i;

	for (i = 0; text[i] != '\0' && i < sizeof verdict->reason - 1; i++)
		verdict->reason[i] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?';
	verdict->reason[i] = '\0';
}

static bool is_host_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Labels of 1 to 63 characters, 253 in all. */
static bool are_labels(struct text name)
{
	if (name.len == 0 || name.len > NAME_LEN_MAX)
		return false;
	for (;;) {
		size_t len = text_find(name, '.');

		if (len == 0 || len > LABEL_LEN_MAX)
			return false;
		for (size_t i = 0; i < len; i++)
			if (!is_host_character(text_lower(name.at[i])))
				return false;
		if (len == name.len)
			return true;
		name = text_from(name, len + 1);
	}
}

char *verify_names_reference(const void *owner, const char *host)
{
	struct text name = text_of(host);
	struct ip ip;

	if (name.len > 0 && name.at[name.len - 1] == '.')
		name.len--;
	if (!are_labels(name) || ip_parse(name, &ip) == 0)
		return NULL;
	return text_copy_lower(owner, name);
}

/* The certificate's names */

static GENERAL_NAMES *names_of(const X509 *leaf)
{
	return X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
}

static struct text dns_name(const GENERAL_NAME *name)
{
	if (name->type != GEN_DNS)
		return (struct text){ NULL, 0 };
	return (struct text){ (const char *)ASN1_STRING_get0_data(name->d.dNSName),
		(size_t)ASN1_STRING_length(name->d.dNSName) };
}

static bool has_dns_name(const X509 *leaf)
{
	GENERAL_NAMES *names = names_of(leaf);
	bool found = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
		found = found || sk_GENERAL_NAME_value(names, i)->type == GEN_DNS;
	GENERAL_NAMES_free(names);
	return found;
}

/* The one common name, in UTF-8 and owned by `owner`; NULL when there are none or several, or it holds a NUL. */
static char *common_name(const void *owner, const X509 *leaf)
{
	const X509_NAME *subject = X509_get_subject_name(leaf);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	unsigned char *utf8 = NULL;
	char *name = NULL;

	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return NULL;
	int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (len > 0 && memchr(utf8, '\0', (size_t)len) == NULL)
		name = text_copy(owner, (struct text){ (const char *)utf8, (size_t)len });
	OPENSSL_free(utf8);
	return name;
}

static NAME_CONSTRAINTS *constraints_of(const STACK_OF(X509) * chain, int depth)
{
	return X509_get_ext_d2i(sk_X509_value(chain, depth), NID_name_constraints, NULL, NULL);
}

/* Any authority of the chain, the one that we trust included. */
static bool is_constrained(const STACK_OF(X509) * chain)
{
	for (int depth = 1; depth < sk_X509_num(chain); depth++)
		if (X509_get_ext_by_NID(sk_X509_value(chain, depth), NID_name_constraints, -1) >= 0)
			return true;
	return false;
}

bool verify_names_common_counts(bool cn_fallback, const STACK_OF(X509) * chain)
{
	return cn_fallback && !has_dns_name(sk_X509_value(chain, 0)) && !is_constrained(chain);
}

/* What authorities are not to vouch for */

/* True when `name` is `subtree` or below it; a subtree with a leading dot does not hold the name behind it. */
static bool lies_below(struct text name, struct text subtree)
{
	if (subtree.len == 0)
		return true;
	if (subtree.at[0] == '.')
		return name.len > subtree.len && text_ends_nocase(name, subtree);
	if (!text_ends_nocase(name, subtree))
		return false;
	return name.len == subtree.len || name.at[name.len - subtree.len - 1] == '.';
}

/* True when some name that the wildcard `*.base` stands for lies below `subtree`: where the subtree is one label longer than the base. What
 * lies below it as a whole, OpenSSL has refused. */
static bool reaches_into(struct text base, struct text subtree)
{
	struct text parent = text_from(subtree, text_find(subtree, '.') + 1);

	return subtree.len > 0 && subtree.at[0] != '.' && parent.len > 0 && text_equal_nocase(parent, base);
}

typedef bool (*excludes_fn)(struct text name, struct text subtree);

/* The first excluded dNSName of the chain to which `name` stands in that relation, written to `ret_subtree`. */
static bool is_excluded(const STACK_OF(X509) * chain, struct text name, excludes_fn relation,
	char ret_subtree[static VERIFY_NAME_MAX])
{
	for (int depth = 1; depth < sk_X509_num(chain); depth++) {
		NAME_CONSTRAINTS *constraints = constraints_of(chain, depth);
		bool found = false;

		for (int i = 0; constraints != NULL && !found &&
				i < sk_GENERAL_SUBTREE_num(constraints->excludedSubtrees);
			i++) {
			const GENERAL_SUBTREE *excluded =
				sk_GENERAL_SUBTREE_value(constraints->excludedSubtrees, i);

			if (excluded->base->type != GEN_DNS)
				continue;
			struct text subtree = dns_name(excluded->base);
			found = relation(name, subtree);
			snprintf(
				ret_subtree, VERIFY_NAME_MAX, "%.*s", (int)MIN(subtree.len, 200), subtree.at);
		}
		NAME_CONSTRAINTS_free(constraints);
		if (found)
			return true;
	}
	return false;
}

bool verify_names_asked(const struct verify_reference *reference)
{
	return reference->host_count > 0 || reference->common_count > 0 || reference->address.family != 0;
}

bool verify_names_permitted(const struct verify_reference *reference, const STACK_OF(X509) * chain,
	struct verify_verdict *verdict)
{
	GENERAL_NAMES *names = names_of(sk_X509_value(chain, 0));
	char subtree[VERIFY_NAME_MAX], text[VERIFY_REASON_MAX];
	bool permitted = true, asked = verify_names_asked(reference);

	for (int i = 0; !asked && permitted && i < sk_GENERAL_NAME_num(names); i++) {
		struct text name = dns_name(sk_GENERAL_NAME_value(names, i));

		if (name.len < 3 || name.at[0] != '*' || name.at[1] != '.')
			continue;
		permitted = !is_excluded(chain, text_from(name, 2), reaches_into, subtree);
		if (!permitted) {
			snprintf(text, sizeof text,
				"excluded subtree violation: %.*s takes in %s, which an authority is not to vouch for",
				(int)MIN(name.len, 200), name.at, subtree);
			explain(verdict, text);
		}
	}
	GENERAL_NAMES_free(names);
	return permitted;
}

/* Whether it is for us */

/* `gw.good.test, *.good.test`, owned by `owner`. */
static char *shown_names(const void *owner, const X509 *leaf)
{
	GENERAL_NAMES *names = names_of(leaf);
	char *text = text_must(talloc_strdup(owner, ""));
	int shown = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		struct text name = dns_name(sk_GENERAL_NAME_value(names, i));

		if (name.len == 0)
			continue;
		if (shown++ == SHOWN_MAX)
			break;
		text = text_must(talloc_asprintf_append(
			text, "%s%.*s", text[0] == '\0' ? "" : ", ", (int)MIN(name.len, 253), name.at));
	}
	if (shown > SHOWN_MAX)
		text = text_must(talloc_strdup_append(text, ", ..."));
	GENERAL_NAMES_free(names);
	return text[0] == '\0' ? text_must(talloc_strdup(owner, "no host name")) : text;
}

/* True when the certificate is for `name` by the names that `flags` leave; a wildcard counts for a label, and not for all that a registry gives out
 * (B51). */
static bool is_for(const X509 *leaf, const char *name, unsigned flags)
{
	char *found = NULL;
	bool is = X509_check_host((X509 *)(uintptr_t)leaf, name, 0, FLAGS | flags, &found) == 1;
	bool wide = is && found != NULL && found[0] == '*' && public_suffix_is(strchr(name, '.') + 1);

	OPENSSL_free(found);
	return wide ? X509_check_host((X509 *)(uintptr_t)leaf, name, 0,
			      FLAGS | flags | X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1
		    : is;
}

/* What is compared: one certificate with a reference. */
struct comparison {
	const STACK_OF(X509) * chain;
	void *scratch;
	const char *common; /* the common name where it counts, else NULL */
	bool common_exact;
	const char *why; /* the last thing that was wrong */
};

static bool has_dns(const struct comparison *comparison, const char *name)
{
	return is_for(sk_X509_value(comparison->chain, 0), name, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
}

static bool has_common(const struct comparison *comparison, const char *name)
{
	if (comparison->common == NULL)
		return false;
	if (comparison->common_exact)
		return text_equal_nocase(text_of(comparison->common), text_of(name));
	return is_for(sk_X509_value(comparison->chain, 0), name, 0);
}

/* The first of `hosts` for which the certificate is, owned by the scratch; else NULL. */
static const char *first_of(struct comparison *comparison, const char *const *hosts, size_t count,
	bool (*has)(const struct comparison *comparison, const char *name))
{
	char subtree[VERIFY_NAME_MAX];

	for (size_t i = 0; i < count; i++) {
		const char *name = verify_names_reference(comparison->scratch, hosts[i]);

		if (name == NULL)
			comparison->why = text_must(talloc_asprintf(comparison->scratch,
				"hostname mismatch: `%s` cannot be the name of a host", hosts[i]));
		else if (!has(comparison, name))
			continue;
		else if (is_excluded(comparison->chain, text_of(name), lies_below, subtree))
			comparison->why = text_must(talloc_asprintf(comparison->scratch,
				"hostname mismatch: an authority of the certificate is not to vouch for %s",
				subtree));
		else
			return name;
	}
	return NULL;
}

static bool has_address(const STACK_OF(X509) * chain, const struct ip *address)
{
	return address->family != 0 && X509_check_ip(sk_X509_value(chain, 0), address->bytes,
					       address->family == AF_INET ? 4 : 16, 0) == 1;
}

static const char *mismatch(
	const struct comparison *comparison, const struct verify_reference *reference, const char *address)
{
	const char *shown = shown_names(comparison->scratch, sk_X509_value(comparison->chain, 0));

	if (comparison->why != NULL)
		return comparison->why;
	if (reference->host_count == 0 && reference->common_count == 0)
		return text_must(talloc_asprintf(comparison->scratch,
			"IP address mismatch: the certificate is not for %s, but for %s", address, shown));
	return text_must(
		talloc_asprintf(comparison->scratch, "hostname mismatch: the certificate is for %s", shown));
}

bool verify_names_match(bool cn_fallback, const struct verify_reference *reference,
	const STACK_OF(X509) * chain, struct verify_verdict *verdict)
{
	struct comparison comparison = {
		.chain = chain, .scratch = talloc_new(NULL), .common_exact = reference->common_exact
	};
	char address[IP_TEXT_MAX];
	const char *name;

	if (verify_names_common_counts(cn_fallback, chain))
		comparison.common = common_name(comparison.scratch, sk_X509_value(chain, 0));
	ip_format(&reference->address, address);
	name = first_of(&comparison, reference->hosts, reference->host_count, has_dns);
	if (name == NULL)
		name = first_of(&comparison, reference->commons, reference->common_count, has_common);
	if (name == NULL && has_address(chain, &reference->address))
		name = address;
	if (name != NULL)
		snprintf(verdict->matched, sizeof verdict->matched, "%s", name);
	else
		explain(verdict, mismatch(&comparison, reference, address));
	talloc_free(comparison.scratch);
	return name != NULL;
}

/* Fully qualified (B46) */

/* The first name that is not, owned by `owner`; NULL = all are. */
static char *unqualified_name(const void *owner, const X509 *leaf, bool with_common_name)
{
	GENERAL_NAMES *names = names_of(leaf);
	char *bad = NULL;

	for (int i = 0; bad == NULL && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_DNS && fqdn_flaw(dns_name(name)) != NULL)
			bad = text_copy(owner, dns_name(name));
	}
	GENERAL_NAMES_free(names);
	if (bad == NULL && with_common_name) {
		char *common = common_name(owner, leaf);

		if (common != NULL && fqdn_flaw(text_of(common)) != NULL)
			bad = common;
	}
	return bad;
}

bool verify_names_are_qualified(const X509 *certificate)
{
	void *scratch = talloc_new(NULL);
	bool qualified = unqualified_name(scratch, certificate, true) == NULL;

	talloc_free(scratch);
	return qualified;
}

bool verify_names_qualified(bool cn_fallback, const STACK_OF(X509) * chain, struct verify_verdict *verdict)
{
	void *scratch = talloc_new(NULL);
	const char *bad = unqualified_name(
		scratch, sk_X509_value(chain, 0), verify_names_common_counts(cn_fallback, chain));

	if (bad != NULL)
		explain(verdict, text_must(talloc_asprintf(scratch,
					 "`%.200s` in the certificate is no fully qualified name", bad)));
	talloc_free(scratch);
	return bad == NULL;
}
