/* Chains from what operators have: a small hierarchy is made once, and its certificates are given in every way that conformance 8.13 names. */
#include "pki/chain.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/err.h"
#include "test_help.h"

enum { DAY_S = 86400 };

struct party {
	EVP_PKEY *key;
	X509 *certificate;
	char *pem, *key_pem;
};

static struct party root, middle, leaf, other, late, early, twin, old;

/* `days` from now on; negative: it ended as long ago. */
static struct party make(void *owner, const char *name, const struct party *issuer, EVP_PKEY *key, int days)
{
	struct party made = { .key = key == NULL ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256") : key,
		.certificate = X509_new() };
	X509 *x = made.certificate;
	BIO *bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());

	if (key != NULL)
		EVP_PKEY_up_ref(key);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), days + 1000);
	X509_gmtime_adj(X509_getm_notBefore(x), days == 99 ? DAY_S : -100L * DAY_S);
	X509_gmtime_adj(X509_getm_notAfter(x), (long)days * DAY_S);
	X509_NAME_add_entry_by_txt(
		X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(issuer == NULL ? x : issuer->certificate));
	X509_set_pubkey(x, made.key);
	assert_true(X509_sign(x, issuer == NULL ? made.key : issuer->key, EVP_sha256()) > 0);
	PEM_write_bio_X509(bio, x);
	PEM_write_bio_PrivateKey(key_bio, made.key, NULL, NULL, 0, NULL, NULL);
	made.pem = help_bio_text(owner, bio);
	made.key_pem = help_bio_text(owner, key_bio);
	return made;
}

static void done(struct party *party)
{
	EVP_PKEY_free(party->key);
	X509_free(party->certificate);
}

static char *all_notes(const void *owner, const struct chain *chain)
{
	char *notes = talloc_strdup(owner, "");

	for (size_t i = 0; i < chain->note_count; i++)
		notes = talloc_asprintf_append(notes, "%s\n", chain->notes[i]);
	return notes;
}

static char *crlf(const void *owner, const char *text)
{
	char *out = talloc_strdup(owner, "");

	for (; *text != '\0'; text++)
		out = talloc_asprintf_append(out, *text == '\n' ? "\r\n" : "%c", *text);
	return out;
}

static void test_8_13_chains_are_mended_and_what_is_missing_is_said(void **state)
{
	void *owner = talloc_new(NULL);
	const struct {
		const char *name, *given[4], *want[3], *words[3];
		enum chain_time time;
	} cases[] = {
		{ "as it should be", { leaf.pem, middle.pem }, { leaf.pem, middle.pem },
			{ "the issuer of `CN=middle`, `CN=root`, is not among" }, CHAIN_VALID },
		{ "with its root", { leaf.pem, middle.pem, root.pem }, { leaf.pem, middle.pem },
			{ "the root `CN=root` was left out" }, CHAIN_VALID },
		{ "the root first", { root.pem, middle.pem, leaf.pem }, { leaf.pem, middle.pem },
			{ "order was mended", "left out" }, CHAIN_VALID },
		{ "without the intermediate", { leaf.pem, root.pem }, { leaf.pem },
			{ "the issuer of `CN=leaf`, `CN=middle`, is not among", "`CN=root` does not belong" },
			CHAIN_VALID },
		{ "twice", { leaf.pem, leaf.pem, middle.pem, root.pem }, { leaf.pem, middle.pem },
			{ "the root" }, CHAIN_VALID },
		{ "with a stranger", { leaf.pem, other.pem, middle.pem, root.pem }, { leaf.pem, middle.pem },
			{ "`CN=other` does not belong" }, CHAIN_VALID },
		{ "an issuer of the same name with another key", { leaf.pem, twin.pem, root.pem },
			{ leaf.pem }, { "is not among", "`CN=middle` does not belong" }, CHAIN_VALID },
		{ "the twin beside the right one", { leaf.pem, twin.pem, middle.pem, root.pem },
			{ leaf.pem, middle.pem }, { "`CN=middle` does not belong" }, CHAIN_VALID },
		{ "an issuer and its expired predecessor", { leaf.pem, middle.pem, old.pem, root.pem },
			{ leaf.pem, middle.pem }, { "`CN=middle` does not belong" }, CHAIN_VALID },
		{ "the predecessor first", { leaf.pem, old.pem, middle.pem, root.pem },
			{ leaf.pem, middle.pem }, { "`CN=middle` does not belong" }, CHAIN_VALID },
		{ "the predecessor alone", { leaf.pem, old.pem, root.pem }, { leaf.pem, old.pem },
			{ "the issuer `CN=middle` has expired" }, CHAIN_VALID },
		{ "expired", { late.pem, middle.pem, root.pem }, { late.pem, middle.pem }, { "root" },
			CHAIN_EXPIRED },
		{ "not valid yet", { early.pem, middle.pem, root.pem }, { early.pem, middle.pem }, { "root" },
			CHAIN_NOT_YET },
		{ "the old one and the new one of the same key", { late.pem, leaf.pem, middle.pem, root.pem },
			{ leaf.pem, middle.pem }, { "`CN=late` does not belong" }, CHAIN_VALID },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *given = talloc_strdup(owner, "bag attributes\n"), *want = talloc_strdup(owner, "");
		struct chain chain = { 0 };
		const char *why = "";

		for (size_t n = 0; n < COUNT(cases[i].given) && cases[i].given[n] != NULL; n++)
			given = talloc_asprintf_append(given, "%s", cases[i].given[n]);
		for (size_t n = 0; n < COUNT(cases[i].want) && cases[i].want[n] != NULL; n++)
			want = talloc_asprintf_append(want, "%s", cases[i].want[n]);
		for (int ends = 0; ends < 2; ends++) {
			const char *pem = ends == 0 ? given : crlf(owner, given);

			if (chain_build(owner, text_of(pem), text_of(leaf.key_pem), clock_wall_ms(), &chain,
				    &why) < 0)
				fail_msg("%s: %s", cases[i].name, why);
			if (strcmp(chain.pem, want) != 0)
				fail_msg("%s: another chain: %s", cases[i].name, all_notes(owner, &chain));
			assert_int_equal(chain.time, cases[i].time);
		}
		for (size_t n = 0; n < COUNT(cases[i].words) && cases[i].words[n] != NULL; n++)
			if (strstr(all_notes(owner, &chain), cases[i].words[n]) == NULL)
				fail_msg("%s: %s", cases[i].name, all_notes(owner, &chain));
	}
	talloc_free(owner);
}

static void test_8_13_a_self_signed_certificate_is_its_own_chain(void **state)
{
	void *owner = talloc_new(NULL);
	struct chain chain;
	const char *why = "";

	(void)state;
	assert_int_equal(
		chain_build(owner, text_of(root.pem), text_of(root.key_pem), clock_wall_ms(), &chain, &why),
		0);
	assert_string_equal(chain.pem, root.pem);
	assert_int_equal(chain.note_count, 0);
	talloc_free(owner);
}

static void test_B3_B15_what_cannot_be_a_chain_is_refused(void **state)
{
	void *owner = talloc_new(NULL);
	char *cut = text_copy(owner, text_first(text_of(leaf.pem), strlen(leaf.pem) / 2)),
	     *late_cut = talloc_asprintf(owner, "%s%s", leaf.pem, cut),
	     *big = talloc_zero_size(owner, (1 << 20) + 2), *many = talloc_strdup(owner, "");
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PKCS8PrivateKey(bio, leaf.key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
	memset(big, 'x', (1 << 20) + 1);
	for (int i = 0; i < 101; i++)
		many = talloc_strdup_append_buffer(many, other.pem);
	const struct {
		const char *name, *pem, *key;
		int r;
		const char *word;
	} cases[] = {
		{ "another key", leaf.pem, other.key_pem, -EKEYREJECTED, "belongs to the private key" },
		{ "nothing", "", leaf.key_pem, ERR_FORMAT, "no certificate" },
		{ "a key instead", leaf.key_pem, leaf.key_pem, ERR_FORMAT, "no certificate" },
		{ "cut off", cut, leaf.key_pem, ERR_FORMAT, "damaged or cut off" },
		{ "the second one cut off", late_cut, leaf.key_pem, ERR_FORMAT, "damaged or cut off" },
		{ "more than 1 MiB", big, leaf.key_pem, -EFBIG, "1 MiB" },
		{ "more than 100", many, leaf.key_pem, -EFBIG, "100" },
		{ "no key", leaf.pem, leaf.pem, ERR_FORMAT, "no private key" },
		{ "an encrypted key", leaf.pem, help_bio_text(owner, bio), ERR_FORMAT,
			"encrypted private key" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct chain chain;
		const char *why = "";
		const int r = chain_build(
			owner, text_of(cases[i].pem), text_of(cases[i].key), clock_wall_ms(), &chain, &why);

		if (r != cases[i].r || strstr(why, cases[i].word) == NULL)
			fail_msg("%s: %d %s", cases[i].name, r, why);
	}
	talloc_free(owner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_8_13_chains_are_mended_and_what_is_missing_is_said),
		cmocka_unit_test(test_8_13_a_self_signed_certificate_is_its_own_chain),
		cmocka_unit_test(test_B3_B15_what_cannot_be_a_chain_is_refused),
	};
	void *owner = talloc_new(NULL);
	struct party *all[] = { &root, &middle, &leaf, &other, &late, &early, &twin, &old };

	root = make(owner, "root", NULL, NULL, 100);
	middle = make(owner, "middle", &root, NULL, 100);
	old = make(owner, "middle", &root, middle.key, -1);
	twin = make(owner, "middle", &root, NULL, 98);
	other = make(owner, "other", NULL, NULL, 100);
	leaf = make(owner, "leaf", &middle, NULL, 100);
	late = make(owner, "late", &middle, leaf.key, -1);
	early = make(owner, "early", &middle, leaf.key, 99);
	const int failed = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 0; i < COUNT(all); i++)
		done(all[i]);
	talloc_free(owner);
	return failed;
}
