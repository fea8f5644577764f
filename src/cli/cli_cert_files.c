/* `cert upload`, `import` and `export`: certificates and keys as files of others. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "cli/cli_cert_private.h"
#include "cli/cli_passphrase.h"
#include "pki/pkcs12.h"
#include "pki/secret.h"

static bool is_pem(struct text bytes)
{
	return memmem(bytes.at, bytes.len, "-----BEGIN ", 11) != NULL;
}

/* Whether PEM holds what `cert upload` and `--chain` do not take. */
static bool holds_key(struct text pem)
{
	return memmem(pem.at, pem.len, "PRIVATE KEY-----", 16) != NULL;
}

/* The chain of `key` from `pem` and the file of --chain, mended; CLI_FINE, or CLI_FAILED after saying why. `where` is the file of `pem`. */
static int build(struct cli_cert *cert, const char *where, struct text pem, struct text key,
	const char *mismatch, struct chain *ret_chain)
{
	struct text more = TEXT("");
	const char *why = "";

	if (cert->chain != NULL && cli_cert_file(cert, cert->chain, &more) != CLI_FINE)
		return CLI_FAILED;
	if (chain_check(pem, &why) < 0)
		return cli_cert_refuse("%s: %s", where, why);
	if (cert->chain != NULL && chain_check(more, &why) < 0)
		return cli_cert_refuse("%s: %s", cert->chain, why);
	const size_t len = pem.len + 1 + more.len;
	char *all = secret_room(cert->scratch, len); /* a key may stand beside the certificates */
	memcpy(all, pem.at, pem.len);
	all[pem.len] = '\n';
	memcpy(all + pem.len + 1, more.at, more.len);
	int r = chain_build(cert->scratch, (struct text){ all, len }, key, clock_wall_ms(), ret_chain, &why);

	if (r == -EKEYREJECTED)
		return cli_cert_refuse("%s: %s", where, mismatch);
	if (r < 0)
		return cli_cert_refuse("%s%s%s: %s", where, cert->chain == NULL ? "" : " or ",
			cert->chain == NULL ? "" : cert->chain, why);
	if (ret_chain->time != CHAIN_VALID)
		return cli_cert_refuse("%s: the certificate %s; nothing was stored. %s", where,
			ret_chain->time == CHAIN_EXPIRED ? "has expired" : "is not valid yet",
			ret_chain->time == CHAIN_EXPIRED
				? "Get a new one from the CA"
				: "Do this again when it is, or set the clock of this machine right");
	for (size_t i = 0; i < ret_chain->note_count; i++)
		cli_cert_note(cert, ret_chain->notes[i]);
	return CLI_FINE;
}

int cli_cert_upload(struct cli_cert *cert)
{
	struct pki_store_pair pair;
	struct chain chain;
	struct text signed_pem;

	if (cli_cert_read(cert, &pair) != CLI_FINE || cli_cert_file(cert, cert->in, &signed_pem) != CLI_FINE)
		return CLI_FAILED;
	if (holds_key(signed_pem))
		return cli_cert_refuse(
			"%s holds a private key, and a CA never sends one: give the file with the certificate that it signed;"
			" a certificate that comes with its key is stored with: postern cert import",
			cert->in);
	if (build(cert, cert->in, signed_pem, text_of(pair.key),
		    "no certificate in it belongs to the key of this entry; give what the CA signed for `cert csr`, or use `cert import` for a certificate that"
		    " comes with a key of its own",
		    &chain) != CLI_FINE)
		return CLI_FAILED;
	return cli_cert_store(cert, "uploaded", chain.pem, pair.key);
}

/* Key and certificates of a PKCS#12 file. */
static int open_pkcs12(struct cli_cert *cert, struct text bytes, char **ret_certificates, char **ret_key)
{
	char *passphrase;
	int status;

	if (cert->key != NULL)
		return cli_cert_refuse(
			"%s is not in PEM form, and --key goes with PEM only: a PKCS#12 file holds its key",
			cert->in);
	status = cli_passphrase(cert->scratch, cert->passphrase_file, false, &passphrase);
	if (status != CLI_FINE)
		return status;
	const enum pkcs12_flaw flaw =
		pkcs12_import(cert->scratch, bytes, passphrase, ret_certificates, ret_key);
	return flaw == PKCS12_FLAW_NONE ? CLI_FINE
					: cli_cert_refuse("%s %s", cert->in, pkcs12_flaw_text(flaw));
}

/* A key that is encrypted, when there is a passphrase for it: *key becomes the key in clear. */
static int unlock(const struct cli_cert *cert, struct text *key)
{
	static const char *const locked[] = { "-----BEGIN ENCRYPTED PRIVATE KEY-----",
		"Proc-Type: 4,ENCRYPTED" };
	const char *where = cert->key == NULL ? cert->in : cert->key;
	char *passphrase, *opened;

	if ((memmem(key->at, key->len, locked[0], strlen(locked[0])) == NULL &&
		    memmem(key->at, key->len, locked[1], strlen(locked[1])) == NULL) ||
		(cert->passphrase_file == NULL && !isatty(STDIN_FILENO)))
		return CLI_FINE; /* that it is encrypted is said by who reads it */
	const int status = cli_passphrase(cert->scratch, cert->passphrase_file, false, &passphrase);
	if (status != CLI_FINE)
		return status;
	const enum pkcs12_flaw flaw = pkcs12_open_key(cert->scratch, *key, passphrase, &opened);
	if (flaw == PKCS12_FLAW_DAMAGED || flaw == PKCS12_FLAW_NO_KEY)
		return cli_cert_refuse("%s: its encrypted private key is damaged; get the file again", where);
	if (flaw != PKCS12_FLAW_NONE)
		return cli_cert_refuse("%s: its private key %s", where, pkcs12_flaw_text(flaw));
	*key = text_of(opened);
	return CLI_FINE;
}

int cli_cert_import(struct cli_cert *cert)
{
	struct text bytes, key_bytes;
	struct chain chain;
	char *certificates, *key;
	int status = CLI_FINE;

	if (cli_cert_file(cert, cert->in, &bytes) != CLI_FINE || !cli_cert_is_free(cert))
		return CLI_FAILED;
	key_bytes = bytes;
	if (is_pem(bytes) && cert->key != NULL && cli_cert_file(cert, cert->key, &key_bytes) != CLI_FINE)
		return CLI_FAILED;
	if (chain_hint(bytes) != NULL)
		return cli_cert_refuse("%s %s", cert->in, chain_hint(bytes));
	if (!is_pem(bytes)) {
		status = open_pkcs12(cert, bytes, &certificates, &key);
		if (status != CLI_FINE)
			return status;
		bytes = text_of(certificates);
		key_bytes = text_of(key);
	} else if (!holds_key(key_bytes)) {
		return cli_cert_refuse("%s holds no private key: name its file with --key",
			cert->key == NULL ? cert->in : cert->key);
	} else {
		status = unlock(cert, &key_bytes);
		if (status != CLI_FINE)
			return status;
	}
	if (build(cert, cert->in, bytes, key_bytes,
		    "no certificate in it belongs to the private key; give the key that it was issued for",
		    &chain) != CLI_FINE)
		return CLI_FAILED;
	const char *why = "";
	if (chain_key(cert->scratch, key_bytes, &key, &why) < 0)
		return cli_cert_refuse("%s: %s", cert->in, why);
	return cli_cert_store(cert, "imported", chain.pem, key);
}

/* A new file for its owner only, on the disk when this returns. */
static int write_new(const char *path, struct text bytes)
{
	CLEANUP(base_close)
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : io_write_all(fd, bytes);

	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r < 0 && fd >= 0)
		unlink(path);
	return r;
}

int cli_cert_export(struct cli_cert *cert)
{
	struct pki_store_pair pair;
	struct text bytes;
	const char *why = "";
	char *passphrase;
	int r;

	if (cli_cert_read(cert, &pair) != CLI_FINE)
		return CLI_FAILED;
	r = cli_passphrase(cert->scratch, cert->passphrase_file, true, &passphrase);
	if (r != CLI_FINE)
		return r;
	if (passphrase[0] == '\0')
		return cli_cert_refuse(
			"the passphrase is empty, and would not protect the private key; give one");
	if (pkcs12_export(cert->scratch, text_of(pair.chain), text_of(pair.key), cert->name, passphrase,
		    &bytes, &why) < 0)
		return cli_cert_refuse("certificate `%s`: %s", cert->name, why);
	const char *digest = cli_cert_fingerprint(cert, cert->name);
	const struct change change = {
		.what = cli_cert_what(cert), .name = cert->name, .before = digest, .after = digest
	};
	if (cli_change_begin(&cert->gateway, &change) != CLI_FINE)
		return CLI_FAILED;
	r = write_new(cert->out, bytes);
	cli_change_end(&cert->gateway, &change, r);
	if (r == -EEXIST)
		return cli_cert_refuse("%s exists already; remove it, or name another file", cert->out);
	if (r < 0)
		return cli_cert_refuse("%s cannot be written: %s", cert->out, err_text(r));
	if (cert->json)
		cli_print_json(json_pack("{s:s, s:s, s:s, s:I}", "name", cert->name, "done", "exported",
			"file", cert->out, "bytes", (json_int_t)bytes.len));
	else
		printf("%s: exported with its private key to %s\n", cert->name, cert->out);
	return CLI_FINE;
}
