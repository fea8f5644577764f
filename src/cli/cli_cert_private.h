#pragma once
/* What the files of `cert` share. */

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/base.h"
#include "base/text.h"
#include "cli/cli_private.h"
#include "cli/cli_verbs.h"
#include "pki/certificate.h"
#include "pki/chain.h"
#include "pki/changes.h"
#include "pki/pki_store.h"

/* One `cert` command: what was typed (NULL = not given), where the gateway lives, and its store. */
struct cli_cert {
	const struct cli_verb *verb;
	const char *name;
	const char *common_name, *organization, *unit, *city, *state, *country, *days, *key, *alt;
	const char *fqdn, *in, *chain, *out, *passphrase_file, *host, *port;
	bool json, yes, replace, legacy, validate_fqdn;
	void *scratch; /* owns everything below */
	struct cli_gateway gateway;
	struct pki_store *store;
	const struct config *config; /* NULL: not read, or it has problems */
	const struct bundle *bundle; /* what it names, when it is there */
	bool config_is_read;
	const char **notes; /* for the operator, one sentence each */
	size_t note_count;
};

/* Say what is wrong, with the cure, on stderr; CLI_FAILED. */
int cli_cert_refuse(const char *format, ...) PRINTF(1, 2);

/* Say that the command line is wrong: `what`, then `value`; CLI_USAGE. */
int cli_cert_wrong(const struct cli_cert *cert, const char *what, const char *value);

/* Remember a sentence for the operator. */
void cli_cert_note(struct cli_cert *cert, const char *sentence);

/* The stored pair of the command's certificate; CLI_FINE, or CLI_FAILED after saying why. */
int cli_cert_read(const struct cli_cert *cert, struct pki_store_pair *ret_pair);

/* The bytes of a file of at most 1 MiB, wiped with the command; as cli_cert_read(). */
int cli_cert_file(const struct cli_cert *cert, const char *path, struct text *ret_bytes);

/* False when the name is taken and --replace was not given, after saying so. */
bool cli_cert_is_free(const struct cli_cert *cert);

/* The configuration, with what it names in cert->bundle; NULL when it has problems. */
const struct config *cli_cert_config(struct cli_cert *cert);

/* Which listeners present certificate `name` of the store: a new array; NULL when the configuration has problems. `ret_named`: an entry of `certificates`
 * names it. */
json_t *cli_cert_uses(struct cli_cert *cert, const char *name, bool *ret_named);

/* Put chain and key into the store, let a running gateway use them if its configuration does, and say so (`done`: "created"). The exit status. */
int cli_cert_store(struct cli_cert *cert, const char *done, const char *chain, const char *key);

/* `cert create`, as records of changes call it. */
const char *cli_cert_what(const struct cli_cert *cert);

/* SHA-256 of certificate `name` of the store, owned by the command; NULL when there is none that can be read. */
const char *cli_cert_fingerprint(const struct cli_cert *cert, const char *name);

/* What comes after a change of the store: it is told, the gateway reloads, and the word about it. */
int cli_cert_changed(struct cli_cert *cert, const struct change *change, const char *done,
	const struct certificate *certificate);

/* Open the store anew, for writing; CLI_FINE, or CLI_FAILED after saying why. */
int cli_cert_open_writer(struct cli_cert *cert);

/* One function per verb; each gets the store opened as the table of verbs says. */
int cli_cert_list(struct cli_cert *cert);
int cli_cert_show(struct cli_cert *cert);
int cli_cert_tlsa(struct cli_cert *cert);
int cli_cert_create(struct cli_cert *cert);
int cli_cert_csr(struct cli_cert *cert);
int cli_cert_upload(struct cli_cert *cert);
int cli_cert_import(struct cli_cert *cert);
int cli_cert_export(struct cli_cert *cert);
int cli_cert_activate(struct cli_cert *cert);
int cli_cert_delete(struct cli_cert *cert);
