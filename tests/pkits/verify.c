/*
 * pki/verify over directories, for test_pkits.py: `pkits_verify ANCHOR SECONDS DIRECTORY...`. Each directory holds leaf.pem, others.pem and crls.pem,
 * which may be empty. Revocation is strict, without names, as a server. One line of JSON for each: result, reason, and what became of each list.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/x509.h>
#include <talloc.h>

#include "base/base.h"
#include "net/tls.h"
#include "pki/peer_chain.h"
#include "pki/crl_set.h"
#include "pki/trust.h"
#include "pki/verify.h"

enum { FILE_MAX = 1 << 20 };

static struct text read_file(void *owner, const char *directory, const char *name)
{
	char *path = talloc_asprintf(owner, "%s/%s", directory, name);
	char *bytes = talloc_size(owner, FILE_MAX);
	CLEANUP(base_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, bytes, FILE_MAX);

	if (n < 0) {
		perror(path);
		exit(2);
	}
	return (struct text){ bytes, (size_t)n };
}

/* The list that begins `rest`, which then begins behind it; empty = there is none. */
static struct text next_list(struct text *rest)
{
	static const char end[] = "-----END X509 CRL-----";
	const char *found = rest->len == 0 ? NULL : memmem(rest->at, rest->len, end, strlen(end));
	struct text list = { NULL, 0 };

	if (found == NULL)
		return list;
	list = text_first(*rest, (size_t)(found - rest->at) + strlen(end));
	*rest = text_from(*rest, list.len);
	return list;
}

static json_t *take_lists(struct crl_set *set, struct crl_offer offer, struct text pem)
{
	static const char *const words[] = { "taken", "older", "refused" };
	json_t *said = json_array();

	while ((offer.bytes = next_list(&pem)).len > 0) {
		const char *why = "";
		enum crl_taken taken = crl_set_add(set, &offer, &why);

		json_array_append_new(
			said, json_sprintf("%s%s%s", words[taken], why[0] == '\0' ? "" : ": ", why));
	}
	return said;
}

static void verify_directory(const struct trust *trust, int64_t now_ms, const char *directory)
{
	void *scratch = talloc_new(NULL);
	STACK_OF(X509) *chain = peer_chain_read(read_file(scratch, directory, "leaf.pem"));
	STACK_OF(X509) *others = peer_chain_read(read_file(scratch, directory, "others.pem"));
	struct crl_set *set = crl_set_new(scratch);
	struct verify_verdict verdict;

	for (int i = 0; i < sk_X509_num(others); i++) {
		X509_up_ref(sk_X509_value(others, i));
		sk_X509_push(chain, sk_X509_value(others, i));
	}
	json_t *lists =
		take_lists(set, (struct crl_offer){ .trust = trust, .issuers = others, .now_ms = now_ms },
			read_file(scratch, directory, "crls.pem"));
	const struct verify_facts facts = {
		.chain = chain, .trust = trust, .now_ms = now_ms, .crls = set, .revocation = REVOCATION_STRICT
	};
	verify_peer(&facts, &verdict);
	json_t *json = json_pack("{s:s, s:s, s:s, s:o}", "directory", directory, "result",
		verify_result_word(verdict.result), "reason", verdict.reason, "lists", lists);
	json_dumpf(json, stdout, JSON_COMPACT);
	puts("");
	json_decref(json);
	peer_chain_free(chain);
	peer_chain_free(others);
	talloc_free(scratch);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: pkits_verify ANCHOR SECONDS DIRECTORY...\n");
		return 2;
	}
	void *scratch = talloc_new(NULL);
	struct trust *trust = trust_new(scratch);

	tls_start();
	if (trust_add(trust, read_file(scratch, "/", argv[1])) != 1)
		return 2;
	for (int i = 3; i < argc; i++)
		verify_directory(trust, strtoll(argv[2], NULL, 10) * 1000, argv[i]);
	talloc_free(scratch);
	return 0;
}
