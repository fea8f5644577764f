/* For `postern cert show` and `list`. A certificate that lacks something or lies about its lengths is shown without that. */
#include "pki/certificate.h"

#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "base/ip.h"
#include "pki/pem.h"
#include "wire/fqdn.h"

enum { ALT_NAMES_MAX = 1000 };

static int64_t time_ms(const ASN1_TIME *time)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(time, &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm) * 1000;
}

static struct text string_of(const ASN1_STRING *string)
{
	return (struct text){ (const char *)ASN1_STRING_get0_data(string),
		(size_t)ASN1_STRING_length(string) };
}

/* Bytes as text: printable ASCII as it is, other bytes as \xNN. */
static const char *shown(const void *owner, struct text bytes)
{
	char *text = text_must(talloc_strdup(owner, ""));

	for (size_t i = 0; i < bytes.len; i++) {
		const unsigned char c = (unsigned char)bytes.at[i];

		text = text_must(talloc_asprintf_append_buffer(
			text, c > 0x20 && c < 0x7f && c != '\\' ? "%c" : "\\x%02x", c));
	}
	return text;
}

static const char *address_text(const void *owner, struct text bytes)
{
	char text[IP_TEXT_MAX];
	struct ip ip = { .family = bytes.len == 4 ? AF_INET : AF_INET6 };

	if (bytes.len != 4 && bytes.len != 16)
		return NULL;
	memcpy(ip.bytes, bytes.at, bytes.len);
	return text_must(talloc_strdup(owner, ip_format(&ip, text)));
}

static void read_names(const void *owner, X509 *x509, struct certificate *certificate)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
	const int count = names == NULL ? 0 : MIN(sk_GENERAL_NAME_num(names), (int)ALT_NAMES_MAX);

	certificate->alt_names = text_must(talloc_array(owner, const char *, (unsigned)MAX(count, 1)));
	for (int i = 0; i < count; i++) {
		int type;
		const void *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
		const char *text = type == GEN_DNS     ? shown(owner, string_of(value))
				   : type == GEN_IPADD ? address_text(owner, string_of(value))
						       : NULL;
		if (text != NULL)
			certificate->alt_names[certificate->alt_count++] = text;
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error();
}

static const char *key_text(const void *owner, X509 *x509)
{
	EVP_PKEY *key = X509_get0_pubkey(x509);
	char group[64];

	if (key == NULL)
		return "unknown";
	if (EVP_PKEY_is_a(key, "RSA"))
		return text_must(talloc_asprintf(owner, "rsa:%d", EVP_PKEY_get_bits(key)));
	if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1)
		return strcmp(group, "prime256v1") == 0	 ? "p256"
		       : strcmp(group, "secp384r1") == 0 ? "p384"
							 : text_must(talloc_strdup(owner, group));
	const char *name = EVP_PKEY_get0_type_name(key);
	return name == NULL ? "unknown" : text_must(talloc_strdup(owner, name));
}

static void read_digests(X509 *x509, struct certificate *certificate)
{
	struct digest digest = { { 0 } };
	unsigned char *spki = NULL;
	const int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &spki);

	X509_digest(x509, EVP_sha256(), digest.bytes, NULL);
	digest_hex(&digest, certificate->fingerprint_sha256);
	digest = digest_of((struct text){ (char *)spki, (size_t)MAX(len, 0) });
	digest_hex(&digest, certificate->spki_sha256);
	OPENSSL_free(spki);
}

void certificate_describe(const void *owner, X509 *x509, struct certificate *certificate)
{
	*certificate = (struct certificate){ .subject = pem_name(owner, X509_get_subject_name(x509)),
		.issuer = pem_name(owner, X509_get_issuer_name(x509)),
		.not_before_ms = time_ms(X509_get0_notBefore(x509)),
		.not_after_ms = time_ms(X509_get0_notAfter(x509)),
		.key = key_text(owner, x509),
		.self_signed = X509_self_signed(x509, 1) == 1 };
	read_names(owner, x509, certificate);
	read_digests(x509, certificate);
	ERR_clear_error();
}

int certificate_list(const void *owner, struct text pem, struct certificate **ret_list, size_t *ret_count,
	const char **ret_why)
{
	STACK_OF(X509) * certificates;
	int r = pem_certificates(pem, &certificates, ret_why);

	if (r < 0)
		return r;
	const int count = sk_X509_num(certificates);
	struct certificate *list = text_must(talloc_array(owner, struct certificate, (unsigned)count));
	for (int i = 0; i < count; i++)
		certificate_describe(list, sk_X509_value(certificates, i), &list[i]);
	sk_X509_pop_free(certificates, X509_free);
	*ret_list = list;
	*ret_count = (size_t)count;
	return 0;
}

static const char *check_name(const void *owner, const char *what, struct text name)
{
	const char *flaw = fqdn_flaw(name);

	return flaw == NULL
		       ? NULL
		       : text_must(talloc_asprintf(owner, "the %s `%s` %s", what, shown(owner, name), flaw));
}

static const char *check_common_names(const void *owner, X509 *x509)
{
	const X509_NAME *subject = X509_get_subject_name(x509);
	const char *flaw = NULL;

	for (int at = -1;
		flaw == NULL && (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;)
		flaw = check_name(owner, "common name",
			string_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
	return flaw;
}

static const char *check_alternative_names(const void *owner, X509 *x509)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
	const char *flaw = NULL;

	for (int i = 0; flaw == NULL && i < sk_GENERAL_NAME_num(names); i++) {
		int type;
		const void *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);

		if (type == GEN_DNS)
			flaw = check_name(owner, "alternative name", string_of(value));
	}
	GENERAL_NAMES_free(names);
	return flaw;
}

int certificate_check_names(const void *owner, struct text pem, unsigned which, const char **ret_why)
{
	STACK_OF(X509) * certificates;
	int r = pem_certificates(pem, &certificates, ret_why);

	if (r < 0)
		return r;
	const char *flaw = NULL;
	if (which & CERTIFICATE_COMMON_NAMES)
		flaw = check_common_names(owner, sk_X509_value(certificates, 0));
	if (flaw == NULL && which & CERTIFICATE_ALT_NAMES)
		flaw = check_alternative_names(owner, sk_X509_value(certificates, 0));
	sk_X509_pop_free(certificates, X509_free);
	ERR_clear_error();
	if (flaw == NULL)
		return 0;
	*ret_why = flaw;
	return ERR_FORMAT;
}
