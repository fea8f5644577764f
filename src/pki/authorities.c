/* A kept authority is a file of its own, called after its fingerprint: importing the same one twice changes nothing, and each change is one rename. */
#include "pki/authorities.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/io.h"
#include "pki/certificate.h"
#include "pki/pem.h"
#include "pki/verify_names.h"

enum { FINGERPRINT_MIN = 4, ADDED_MAX = 65536 };

/* What they are */

/* The last common name, or the last organisation, in UTF-8. */
static char *short_name(const void *owner, const X509_NAME *name)
{
	static const int nids[] = { NID_commonName, NID_organizationalUnitName, NID_organizationName };

	for (size_t i = 0; i < COUNT(nids); i++) {
		int at = X509_NAME_get_index_by_NID(name, nids[i], -1);
		unsigned char *utf8 = NULL;
		int len = at < 0 ? -1
				 : ASN1_STRING_to_UTF8(
					   &utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
		char *text = len > 0 && memchr(utf8, '\0', (size_t)len) == NULL
				     ? text_copy(owner, (struct text){ (char *)utf8, (size_t)len })
				     : NULL;

		OPENSSL_free(utf8);
		if (text != NULL)
			return text;
	}
	return pem_name(owner, name);
}

static char *serial_text(const void *owner, const X509 *certificate)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	char *hex = number == NULL ? NULL : BN_bn2hex(number);
	char *text = text_copy(owner, text_of(hex));

	OPENSSL_free(hex);
	BN_free(number);
	return text;
}

static struct authority describe(const void *owner, X509 *x509)
{
	const X509_NAME *subject = X509_get_subject_name(x509);
	const char *pem = pem_of_certificate(owner, x509);
	struct certificate certificate;

	certificate_describe(owner, x509, &certificate);
	return (struct authority){ .sha256 = text_copy(owner, text_of(certificate.fingerprint_sha256)),
		.name = short_name(owner, subject),
		.subject = certificate.subject,
		.issuer = certificate.issuer,
		.serial = serial_text(owner, x509),
		.starts_ms = certificate.not_before_ms,
		.ends_ms = certificate.not_after_ms,
		.key = certificate.key,
		.signature = text_copy(owner, text_of(OBJ_nid2ln(X509_get_signature_nid(x509)))),
		.pem = text_of(pem),
		.is_authority = X509_check_ca(x509) != 0,
		.self_signed = certificate.self_signed,
		.self_issued = X509_NAME_cmp(subject, X509_get_issuer_name(x509)) == 0,
		.expired = X509_cmp_current_time(X509_get0_notAfter(x509)) <= 0,
		.qualified = verify_names_are_qualified(x509) };
}

static const char begin[] = "-----BEGIN ";

static size_t blocks_of(struct text pem)
{
	size_t count = 0;

	for (const char *at; pem.len > 0 && (at = memmem(pem.at, pem.len, begin, strlen(begin))) != NULL;
		count++)
		pem = text_from(pem, (size_t)(at - pem.at) + strlen(begin));
	return count;
}

/* PEM that is read, and how many blocks began in what was read of it. */
struct reader {
	BIO *bio;
	struct text rest;
	size_t blocks;
};

static void count_blocks(struct reader *reader)
{
	const size_t len = reader->rest.len - (size_t)BIO_pending(reader->bio);

	reader->blocks += blocks_of(text_first(reader->rest, len));
	reader->rest = text_from(reader->rest, len);
}

/* The next block that is a certificate, or else damaged (`ret_why`); false at the end. */
static bool next_block(struct reader *reader, X509 **ret_certificate, const char **ret_why)
{
	for (;;) {
		char *name = NULL, *header = NULL;
		unsigned char *bytes = NULL;
		long len = 0;
		bool found = PEM_read_bio(reader->bio, &name, &header, &bytes, &len) == 1;
		const unsigned char *at = bytes;
		bool is_certificate = found && (strcmp(name, PEM_STRING_X509) == 0 ||
						       strcmp(name, PEM_STRING_X509_OLD) == 0);

		count_blocks(reader);
		*ret_certificate = is_certificate ? d2i_X509(NULL, &at, len) : NULL;
		*ret_why = found ? "what it holds is no certificate, or damaged" : "it is damaged or cut off";
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(bytes);
		if (is_certificate)
			return true;
		if (!found) /* damaged base64 ends its block, not the file */
			return !pem_is_end();
		ERR_clear_error();
	}
}

struct authorities *authorities_parse(const void *owner, struct text pem)
{
	struct authorities *authorities = text_must(talloc_zero(owner, struct authorities));
	struct reader reader = {
		.bio = text_must(BIO_new_mem_buf(pem.at == NULL ? "" : pem.at, (int)pem.len)), .rest = pem
	};
	const size_t room = MIN(blocks_of(pem), (size_t)ADDED_MAX);
	X509 *certificate;
	const char *why;

	authorities->all = text_must(talloc_array(authorities, struct authority, (unsigned)MAX(room, 1)));
	authorities->damaged =
		text_must(talloc_array(authorities, struct authorities_damage, (unsigned)MAX(room, 1)));
	while (authorities->count + authorities->unreadable < room &&
		next_block(&reader, &certificate, &why)) {
		if (certificate != NULL) {
			authorities->all[authorities->count] = describe(authorities, certificate);
			authorities->all[authorities->count++].block = reader.blocks;
		} else {
			authorities->damaged[authorities->unreadable++] =
				(struct authorities_damage){ reader.blocks, why };
		}
		X509_free(certificate);
		ERR_clear_error();
	}
	BIO_free(reader.bio);
	ERR_clear_error();
	return authorities;
}

/* True when `sha256` begins with the digits of `wanted`, whose colons and case do not count. */
static bool is_fingerprint(const char *sha256, const char *wanted)
{
	size_t at = 0;

	for (; *wanted != '\0'; wanted++) {
		if (*wanted == ':')
			continue;
		if (at >= 64 || sha256[at++] != text_lower(*wanted))
			return false;
	}
	return at >= FINGERPRINT_MIN;
}

size_t authorities_find(const struct authorities *authorities, const char *wanted, size_t from)
{
	size_t i = from;

	while (i < authorities->count && !is_fingerprint(authorities->all[i].sha256, wanted) &&
		!text_equal_nocase(text_of(authorities->all[i].name), text_of(wanted)))
		i++;
	return i;
}

const char *authorities_flaw(const struct authority *authority, bool validate_fqdn)
{
	if (!authority->is_authority && !authority->self_signed)
		return "it is no authority: it may not issue certificates";
	if (authority->expired)
		return "it has expired";
	if (validate_fqdn && !authority->qualified)
		return "its names are not fully qualified (--validate-fqdn)";
	return NULL;
}

char *authorities_export(const void *owner, const struct authorities *authorities)
{
	char *text = text_must(talloc_strdup(owner, "")), ends[CLOCK_TEXT_MAX];

	for (size_t i = 0; i < authorities->count; i++) {
		const struct authority *authority = &authorities->all[i];

		text = text_must(talloc_asprintf_append_buffer(text,
			"# %s\n# until %s, SHA-256 %s\n" TEXT_FMT "\n", authority->subject,
			clock_iso(authority->ends_ms, ends), authority->sha256, TEXT_ARG(authority->pem)));
	}
	return text;
}

/* What is kept */

int authorities_kept(const void *owner, const char *state_dir, struct authorities **ret_kept)
{
	struct text pem;
	int r = trust_files_read(owner, state_dir, &pem);

	*ret_kept = authorities_parse(owner, r < 0 ? TEXT("") : pem);
	return r < 0 ? r : 0;
}

/* A directory in `at`, made if it is missing, and durable: who made it may have died before that. */
static int open_directory(int at, const char *name, int *ret_fd)
{
	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	*ret_fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (*ret_fd < 0 || fsync(at) < 0)
		return -errno;
	return 0;
}

/* The directories, and the lock of those who write; they last as long as the descriptors. */
struct place {
	int state, pki, lock, lists, kept;
};

static void place_close(struct place *place)
{
	base_close(&place->kept);
	base_close(&place->lists);
	base_close(&place->lock);
	base_close(&place->pki);
	base_close(&place->state);
}

static int place_open(const char *state_dir, struct place *place)
{
	int r;

	place->state = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = place->state < 0 ? -errno : open_directory(place->state, "pki", &place->pki);
	if (r == 0) {
		place->lock = openat(place->pki, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (place->lock < 0 || flock(place->lock, LOCK_EX) < 0)
			r = -errno;
	}
	if (r == 0)
		r = open_directory(place->pki, "authorities", &place->lists);
	return r == 0 ? open_directory(place->lists, "custom", &place->kept) : r;
}

#define PLACE(name) CLEANUP(place_close) struct place name = { -1, -1, -1, -1, -1 }

/* Somebody else made or removed it, and may have died before that was durable. */
static int unchanged(int directory)
{
	return fsync(directory) < 0 ? -errno : 1;
}

static int remove_file(int directory, const char *name)
{
	if (unlinkat(directory, name, 0) < 0)
		return errno == ENOENT ? unchanged(directory) : -errno;
	return fsync(directory) < 0 ? -errno : 0;
}

static bool has_file(int directory, const char *name)
{
	return faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static char *file_of(const struct authority *authority, char *name, size_t size)
{
	snprintf(name, size, "%.64s.pem", authority->sha256);
	return name;
}

int authorities_keep(const char *state_dir, const struct authority *authority)
{
	char name[TRUST_FILES_NAME_LEN + 1];
	PLACE(place);
	int r = place_open(state_dir, &place);

	if (r < 0)
		return r;
	if (has_file(place.kept, file_of(authority, name, sizeof name)))
		return unchanged(place.kept);
	return io_replace_file(place.kept, name, authority->pem);
}

int authorities_drop(const char *state_dir, const struct authority *authority)
{
	char name[TRUST_FILES_NAME_LEN + 1];
	PLACE(place);
	int r = place_open(state_dir, &place);

	return r < 0 ? r : remove_file(place.kept, file_of(authority, name, sizeof name));
}

int authorities_switch(const char *state_dir, enum trust_list list, bool on)
{
	const char *name = list == TRUST_SYSTEM ? "system-off" : "custom-off";
	PLACE(place);
	int r = place_open(state_dir, &place);

	if (r < 0)
		return r;
	if (has_file(place.lists, name) != on)
		return unchanged(place.lists);
	return on ? remove_file(place.lists, name) : io_replace_file(place.lists, name, TEXT(""));
}
