/* Called by `postern cert create` and `csr`, and by master for the demo certificate. What is made is in the form that CAs give out, so that it can be tried
 * out before the CA has signed. */
#include "pki/make.h"

#include <time.h>

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "config/idn.h"
#include "pki/pem.h"

enum { SERIAL_BYTES = 16, DNS_NAME_MAX = 253, DAY_S = 86400 };

static const struct kind {
	const char *word, *type;
	int bits;	   /* of RSA */
	const char *curve; /* of EC */
	bool legacy;
} kinds[] = {
	{ "rsa:2048", "RSA", 2048, NULL, false },
	{ "rsa:3072", "RSA", 3072, NULL, false },
	{ "rsa:4096", "RSA", 4096, NULL, false },
	{ "p256", "EC", 0, "P-256", false },
	{ "p384", "EC", 0, "P-384", false },
	{ "rsa:1024", "RSA", 1024, NULL, true },
};

static const struct kind *kind_of(const char *word)
{
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (strcmp(kinds[i].word, word) == 0)
			return &kinds[i];
	return NULL;
}

bool make_knows_key(const char *kind, bool legacy)
{
	const struct kind *found = kind_of(kind);

	return found != NULL && (legacy || !found->legacy);
}

char *make_key(const void *owner, const char *kind)
{
	const struct kind *found = text_must((void *)kind_of(kind));
	EVP_PKEY *key =
		text_must(found->curve == NULL ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)found->bits)
					       : EVP_PKEY_Q_keygen(NULL, NULL, "EC", found->curve));
	char *pem = pem_of_key(owner, key);

	EVP_PKEY_free(key);
	return pem;
}

static bool has_control(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

/* The lengths are those of RFC 5280, which OpenSSL knows. */
static int fill_name(
	const void *owner, X509_NAME *name, const struct make_subject *subject, const char **ret_why)
{
	const struct {
		int nid;
		const char *value, *what, *limit;
	} parts[] = {
		{ NID_countryName, subject->country, "country", "two letters, such as DE" },
		{ NID_stateOrProvinceName, subject->state, "state", "at most 128 characters" },
		{ NID_localityName, subject->city, "city", "at most 128 characters" },
		{ NID_organizationName, subject->organization, "organization", "at most 64 characters" },
		{ NID_organizationalUnitName, subject->unit, "unit", "at most 64 characters" },
		{ NID_commonName, subject->common_name, "common name",
			"at most 64 characters; a longer name goes into --alt" },
	};

	for (size_t i = 0; i < COUNT(parts); i++) {
		const unsigned char *value = (const unsigned char *)parts[i].value;

		if (value == NULL ||
			(!has_control(parts[i].value) && X509_NAME_add_entry_by_NID(name, parts[i].nid,
								 MBSTRING_UTF8, value, -1, -1, 0) == 1))
			continue;
		ERR_clear_error();
		*ret_why = text_must(
			talloc_asprintf(owner, "the %s must have %s, in UTF-8 without control characters",
				parts[i].what, parts[i].limit));
		return ERR_FORMAT;
	}
	return 0;
}

static bool is_dns_name(struct text name)
{
	for (size_t i = 0; i < name.len; i++) {
		const char c = text_lower(name.at[i]);

		if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && (c == '\0' || strchr("-_.*", c) == NULL))
			return false;
	}
	return name.len > 0 && name.len <= DNS_NAME_MAX;
}

static GENERAL_NAME *general_name(const void *scratch, struct text name)
{
	ASN1_OCTET_STRING *octets = a2i_IPADDRESS(text_copy(scratch, name));

	ERR_clear_error();
	if (octets == NULL && !is_dns_name(name))
		return NULL;
	GENERAL_NAME *general = text_must(GENERAL_NAME_new());
	if (octets != NULL) {
		GENERAL_NAME_set0_value(general, GEN_IPADD, octets);
	} else {
		ASN1_IA5STRING *string = text_must(ASN1_IA5STRING_new());

		ASN1_STRING_set(string, text_copy_lower(scratch, name), (int)name.len);
		GENERAL_NAME_set0_value(general, GEN_DNS, string);
	}
	return general;
}

static bool has_name(const GENERAL_NAMES *names, GENERAL_NAME *name)
{
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
		if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(names, i), name) == 0)
			return true;
	return false;
}

/* As certificates have it (RFC 5280 section 7.2); NULL and why. */
static const char *in_ascii(const void *owner, const char *name, const char **ret_why)
{
	const char *why;
	const char *ascii = idn_to_ascii(owner, text_of(name), &why);

	if (ascii == NULL)
		*ret_why = text_must(talloc_asprintf(owner, "`%s` cannot be a host name: %s", name, why));
	return ascii;
}

static int add_name(const void *owner, GENERAL_NAMES *names, const char *name, const char **ret_why)
{
	const char *ascii = in_ascii(owner, name, ret_why);
	GENERAL_NAME *general = ascii == NULL ? NULL : general_name(owner, text_of(ascii));

	if (ascii == NULL)
		return ERR_FORMAT;
	if (general == NULL) {
		*ret_why = text_must(talloc_asprintf(owner,
			"`%s` is neither an address nor a name for the DNS (letters, digits, `-` and `.`)",
			name));
		return ERR_FORMAT;
	}
	if (has_name(names, general))
		GENERAL_NAME_free(general);
	else
		sk_GENERAL_NAME_push(names, general);
	return 0;
}

/* The common name first, then the others, each once. */
static int alternative_names(const void *owner, const struct make_subject *subject, GENERAL_NAMES **ret_names,
	const char **ret_why)
{
	GENERAL_NAMES *names = text_must(sk_GENERAL_NAME_new_null());
	int r = add_name(owner, names, subject->common_name, ret_why);

	for (size_t i = 0; r == 0 && i < subject->alt_count; i++)
		r = add_name(owner, names, subject->alt[i], ret_why);
	if (r < 0)
		GENERAL_NAMES_free(names);
	else
		*ret_names = names;
	return r;
}

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509V3_CTX context;

	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = text_must(X509V3_EXT_conf_nid(NULL, &context, nid, value));
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

static void set_serial(X509 *certificate)
{
	unsigned char bytes[SERIAL_BYTES];

	text_must(RAND_bytes(bytes, sizeof bytes) == 1 ? bytes : NULL);
	bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, and always of the same length */
	BIGNUM *number = text_must(BN_bin2bn(bytes, sizeof bytes, NULL));
	BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
}

static void fill(X509 *certificate, EVP_PKEY *key, const GENERAL_NAMES *names, uint64_t days)
{
	const time_t now = (time_t)(clock_wall_ms() / 1000);

	X509_set_version(certificate, X509_VERSION_3);
	set_serial(certificate);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	X509_time_adj_ex(X509_getm_notBefore(certificate), 0, 0, &(time_t){ now });
	X509_time_adj_ex(X509_getm_notAfter(certificate), (int)days, 0, &(time_t){ now });
	X509_set_pubkey(certificate, key);
	add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE");
	add_extension(certificate, NID_key_usage,
		EVP_PKEY_is_a(key, "RSA") ? "critical,digitalSignature,keyEncipherment"
					  : "critical,digitalSignature");
	add_extension(certificate, NID_ext_key_usage, "serverAuth,clientAuth");
	add_extension(certificate, NID_subject_key_identifier, "hash");
	X509_add1_ext_i2d(certificate, NID_subject_alt_name, (void *)names, 0, X509V3_ADD_DEFAULT);
}

int make_certificate(const void *owner, struct text key, const struct make_subject *subject, char **ret_pem,
	const char **ret_why)
{
	const char *common_name = in_ascii(owner, subject->common_name, ret_why);
	struct make_subject named = *subject;
	GENERAL_NAMES *names;
	EVP_PKEY *pkey;
	int r = common_name == NULL ? ERR_FORMAT : pem_key(key, &pkey, ret_why);

	if (r < 0)
		return r;
	X509 *certificate = text_must(X509_new());
	named.common_name = common_name;
	r = fill_name(owner, X509_get_subject_name(certificate), &named, ret_why);
	if (r == 0)
		r = alternative_names(owner, subject, &names, ret_why);
	if (r == 0) {
		fill(certificate, pkey, names, subject->days);
		GENERAL_NAMES_free(names);
		text_must(X509_sign(certificate, pkey, pem_digest_for(pkey)) > 0 ? certificate : NULL);
		*ret_pem = pem_of_certificate(owner, certificate);
	}
	X509_free(certificate);
	EVP_PKEY_free(pkey);
	return r;
}

/* The alternative names of the certificate, as they are. */
static void request_names(X509_REQ *request, X509 *certificate)
{
	const int at = X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1);
	STACK_OF(X509_EXTENSION) *extensions = text_must(sk_X509_EXTENSION_new_null());

	if (at >= 0) {
		sk_X509_EXTENSION_push(extensions, X509_get_ext(certificate, at));
		X509_REQ_add_extensions(request, extensions);
	}
	sk_X509_EXTENSION_free(extensions);
}

int make_request(const void *owner, struct text key, struct text chain, char **ret_pem, const char **ret_why)
{
	STACK_OF(X509) *certificates = NULL;
	EVP_PKEY *pkey = NULL;
	int r = pem_key(key, &pkey, ret_why);

	if (r == 0)
		r = pem_certificates(chain, &certificates, ret_why);
	if (r == 0 && X509_check_private_key(sk_X509_value(certificates, 0), pkey) != 1) {
		ERR_clear_error();
		*ret_why = "the stored key does not belong to the stored certificate";
		r = ERR_FORMAT;
	}
	if (r == 0) {
		X509_REQ *request = text_must(X509_REQ_new());

		X509_REQ_set_version(request, X509_REQ_VERSION_1);
		X509_REQ_set_subject_name(request, X509_get_subject_name(sk_X509_value(certificates, 0)));
		X509_REQ_set_pubkey(request, pkey);
		request_names(request, sk_X509_value(certificates, 0));
		if (X509_REQ_sign(request, pkey, pem_digest_for(pkey)) > 0) {
			*ret_pem = pem_of_request(owner, request);
		} else {
			ERR_clear_error();
			*ret_why = "the stored key is of a kind that cannot sign";
			r = ERR_FORMAT;
		}
		X509_REQ_free(request);
	}
	sk_X509_pop_free(certificates, X509_free);
	EVP_PKEY_free(pkey);
	return r;
}
