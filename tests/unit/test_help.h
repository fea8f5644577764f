#pragma once
/* What several unit tests share: a configuration from YAML, a directory of their own, a certificate made on the spot. Static inline
 * functions only, so that each test stays one program of one file. Include it behind <cmocka.h>. */

#include <ftw.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sqlite3.h>
#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "queue/checksum.h"

/* A configuration with `yaml` behind hostname, directories and a listener; one reference. */
static inline const struct config *help_config(const char *yaml)
{
	struct problems *problems = problems_new(NULL);
	struct bundle *bundle = bundle_new(problems, 1);
	char *whole = talloc_asprintf(problems,
		"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n"
		"certificates: [{name: main, chain: server.pem, key: server.key}]\n"
		"listeners: [{name: in, type: public, address: '127.0.0.1:0', certificate: main, policy: open}]\n%s",
		yaml);

	bundle_add(bundle, "test.yaml", text_of(whole), BUNDLE_ALL);
	const struct config *config = config_read(bundle, "test.yaml", problems);
	for (size_t i = 0; i < problems->count; i++)
		print_error("%s\n", problems_format(problems, &problems->list[i]));
	assert_non_null(config);
	talloc_free(problems);
	return config;
}

/* A new directory of our own; its path in `ret_path` (64 bytes). */
static inline void help_directory(char *ret_path)
{
	const char *base = getenv("TMPDIR");

	snprintf(ret_path, 64, "%.40s/postern-test-XXXXXX", base == NULL ? "/tmp" : base);
	assert_non_null(mkdtemp(ret_path));
}

static inline int help_remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status, (void)kind, (void)where;
	return remove(path);
}

/* The directory with everything in it. */
static inline void help_remove(const char *path)
{
	nftw(path, help_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Change the database of a store in `directory` behind its back, with sums that are right again where it has any. */
static inline void help_sql(const char *directory, const char *statement)
{
	static const char seal[] = "UPDATE message SET sum = " CHECKSUM_OF_MESSAGE
				   ";UPDATE recipient SET sum = " CHECKSUM_OF_RECIPIENT;
	char path[100];
	sqlite3 *db;

	snprintf(path, sizeof path, "%s/queue.db", directory);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	checksum_register(db);
	if (sqlite3_exec(db, statement, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", statement, sqlite3_errmsg(db));
	sqlite3_exec(db, seal, NULL, NULL, NULL);
	sqlite3_close(db);
}

/* A listening socket on loopback with a port of the kernel's choice. */
static inline int help_listen(struct sockaddr_in *ret_at)
{
	socklen_t len = sizeof *ret_at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret_at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(fd, (struct sockaddr *)ret_at, sizeof *ret_at), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret_at, &len), 0);
	return fd;
}

/* Both ends of a TCP connection over loopback. */
static inline void help_tcp_pair(int ret_fds[2])
{
	struct sockaddr_in at;
	int listener = help_listen(&at);

	ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(ret_fds[0], (struct sockaddr *)&at, sizeof at), 0);
	ret_fds[1] = accept(listener, NULL, NULL);
	assert_true(ret_fds[1] >= 0);
	close(listener);
}

struct help_identity {
	char *chain, *key; /* PEM; owned by the caller's talloc parent */
	size_t key_len;
};

static inline char *help_bio_text(const void *owner, BIO *bio)
{
	char *at;
	long len = BIO_get_mem_data(bio, &at);
	char *copy = text_copy(owner, (struct text){ at, (size_t)len });

	BIO_free(bio);
	return copy;
}

/* A self-signed certificate of mx.good.test for `key` (given) and `names` ("DNS:a.test,DNS:b.test"). */
static inline struct help_identity help_identity_with(const void *owner, EVP_PKEY *key, const char *names)
{
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
	BIO *chain_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
	struct help_identity identity;

	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_NAME_add_entry_by_txt(
		name, "CN", MBSTRING_ASC, (const unsigned char *)"mx.good.test", -1, -1, 0);
	X509_set_issuer_name(certificate, name);
	X509_set_pubkey(certificate, key);
	X509_add_ext(certificate, extension, -1);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509(chain_bio, certificate), 1);
	assert_int_equal(PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL), 1);
	identity.chain = help_bio_text(owner, chain_bio);
	identity.key = help_bio_text(owner, key_bio);
	identity.key_len = strlen(identity.key);
	X509_EXTENSION_free(extension);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return identity;
}

/* A new P-256 key and a self-signed certificate for mx.good.test and good.test. */
static inline struct help_identity help_identity(const void *owner)
{
	return help_identity_with(
		owner, EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), "DNS:mx.good.test,DNS:good.test");
}

/* The same with an RSA key. */
static inline struct help_identity help_rsa_identity(const void *owner)
{
	return help_identity_with(
		owner, EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048), "DNS:mx.good.test,DNS:good.test");
}
