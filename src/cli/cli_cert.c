/* `cert ...`: the table of verbs and what they share. Commands work on the store itself, so that they need no gateway; one that runs is asked to reload. */
#include "cli/cli_cert_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "config/stored.h"
#include "net/tls.h"
#include "pki/make.h"

enum { RELOAD_MS = 200000 };

/* What a verb takes and needs. */
enum {
	NAME = 1 << 0,
	CREATE = 1 << 1,
	UPLOAD = 1 << 2,
	IMPORT = 1 << 3,
	EXPORT = 1 << 4,
	TLSA = 1 << 5,
	WRITES = 1 << 6,
	REMOVE = 1 << 7
};

enum { LIST, SHOW, CREATE_ONE, CSR, UPLOAD_ONE, IMPORT_ONE, EXPORT_ONE, ACTIVATE, DELETE, PRINT_TLSA };

static const struct cli_verb verbs[] = {
	{ "list", 0, LIST, "", "one line for each certificate" },
	{ "show", NAME, SHOW, "NAME", "what stands in it, its chain, and which listeners use it" },
	{ "create", NAME | CREATE | WRITES, CREATE_ONE,
		"NAME --common-name HOST [--alt NAME,...] [--organization O] [--unit OU] [--city L] [--state ST] [--country CC]\n"
		"          [--days N] [--key KIND] [--legacy] [--replace] [--validate-fqdn[=cn|san]]",
		"make a private key and a self-signed certificate" },
	{ "csr", NAME, CSR, "NAME", "print a signing request for a CA, with the stored key" },
	{ "upload", NAME | UPLOAD | WRITES, UPLOAD_ONE,
		"NAME --in PEM [--chain PEM] [--validate-fqdn[=cn|san]]",
		"put what the CA signed for that request into the place of the certificate" },
	{ "import", NAME | IMPORT | WRITES, IMPORT_ONE,
		"NAME --in FILE [--key PEM] [--chain PEM] [--passphrase-file FILE] [--replace] [--validate-fqdn[=cn|san]]",
		"store a key with its certificates: a PKCS#12 file, or PEM" },
	{ "export", NAME | EXPORT, EXPORT_ONE, "NAME --out FILE [--passphrase-file FILE]",
		"write key and chain into a new PKCS#12 file" },
	{ "activate", NAME | WRITES, ACTIVATE, "NAME",
		"use it for every listener that names no certificate" },
	{ "delete", NAME | REMOVE, DELETE, "NAME [--yes]", "remove certificate and key for ever" },
	{ "tlsa", NAME | TLSA, PRINT_TLSA, "NAME --host HOST [--port N]",
		"print the TLSA record for the DNS" },
};

static const struct cli_verbs_note notes[] = {
	{ CREATE,
		"  --key KIND         " MAKE_KEYS " (unless said: rsa:2048); with --legacy also rsa:1024\n"
		"  --days N           until it expires, from 1 to 36500 (unless said: 365)\n"
		"  --alt NAME,...     further names and addresses; the common name is always among them\n" },
	{ CREATE | UPLOAD | IMPORT,
		"  --validate-fqdn    refuse common and alternative names that are not fully qualified; =cn or =san: only the ones or the others\n" },
	{ CREATE | IMPORT,
		"  --replace          put it into the place of the certificate that has this name\n" },
	{ UPLOAD | IMPORT, "  --chain PEM        certificates of the issuers, in any order\n" },
	{ IMPORT | EXPORT,
		"  --passphrase-file  its first line is the passphrase; - is standard input; unless given, the terminal is asked\n" },
	{ REMOVE, "  --yes              do not ask; without a terminal it is needed\n" },
	{ 0, "A configuration uses a stored certificate by `certificates: [{name: NAME}]`, without chain and key.\n" },
};

_Static_assert(MAKE_DAYS_MAX == 36500, "what the help says");

static const struct cli_verbs command = {
	.command = "cert", .verbs = verbs, .count = COUNT(verbs), .notes = notes, .note_count = COUNT(notes)
};

int cli_cert_refuse(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fprintf(stderr, "postern: ");
	vfprintf(stderr, format, list);
	fprintf(stderr, "\n");
	va_end(list);
	return CLI_FAILED;
}

void cli_cert_note(struct cli_cert *cert, const char *sentence)
{
	cert->notes = text_must(
		talloc_realloc(cert->scratch, cert->notes, const char *, (unsigned)(cert->note_count + 1)));
	cert->notes[cert->note_count++] = sentence;
}

int cli_cert_wrong(const struct cli_cert *cert, const char *what, const char *value)
{
	return cli_verbs_wrong(&command, cert->verb, what, value);
}

/* What a verb cannot do without. */
static int check_options(const struct cli_cert *cert)
{
	const unsigned needs = cert->verb->takes;

	if (needs & NAME && cert->name == NULL)
		return cli_cert_wrong(cert, "the name of the certificate is missing", "");
	if (needs & NAME && !stored_is_name(text_of(cert->name)))
		return cli_cert_wrong(cert,
			"a name has at most 64 letters, digits, `-`, `_` and `.`, begins with a letter or digit and does not end with `.new`; not ",
			cert->name);
	if (needs & (CREATE | IMPORT | UPLOAD) && strcmp(cert->name, STORED_DEMO) == 0)
		return cli_cert_wrong(cert,
			"the name is reserved for the certificate that the gateway makes for itself, and of which it warns: choose another one than ",
			cert->name);
	if (needs & CREATE && cert->common_name == NULL)
		return cli_cert_wrong(cert, "--common-name is missing: the host name that peers know", "");
	if (needs & (UPLOAD | IMPORT) && cert->in == NULL)
		return cli_cert_wrong(cert, "--in is missing: the file to read", "");
	if (cert->fqdn != NULL && strcmp(cert->fqdn, "cn") != 0 && strcmp(cert->fqdn, "san") != 0)
		return cli_cert_wrong(cert,
			"--validate-fqdn checks all names; =cn the common names only, =san the alternative ones; not =",
			cert->fqdn);
	if (needs & EXPORT && cert->out == NULL)
		return cli_cert_wrong(cert, "--out is missing: the file to write", "");
	if (needs & TLSA && cert->host == NULL)
		return cli_cert_wrong(cert, "--host is missing: the name of the server in its MX record", "");
	return CLI_FINE;
}

static int store_failed(const struct cli_cert *cert, int r)
{
	if (r == -EPERM || r == -EACCES)
		return cli_cert_refuse(
			"the store of certificates in %s/" STORED_DIRECTORY
			" belongs to another user: run this as the one who runs `postern run`, mostly root",
			cert->gateway.state_dir);
	if (r == -ENOENT && cert->store != NULL && pki_store_has(cert->store, cert->name))
		return cli_cert_refuse("certificate `%s` lacks one of its files, " STORED_CHAIN
				       " or " STORED_KEY ", in %s/" STORED_DIRECTORY "/" STORED_CERTIFICATES
				       "; import or create it anew with --replace",
			cert->name, cert->gateway.state_dir);
	if (r == -ENOENT)
		return cli_cert_refuse(
			"there is no certificate `%s` in the store; `cert list` shows them all", cert->name);
	return cli_cert_refuse("the store of certificates in %s/" STORED_DIRECTORY " cannot be used: %s",
		cert->gateway.state_dir, err_text(r));
}

int cli_cert_open_writer(struct cli_cert *cert)
{
	talloc_free(cert->store);
	cert->store = NULL;
	int r = pki_store_open_writer(cert->scratch, cert->gateway.state_dir, &cert->store);
	return r == 0 ? CLI_FINE : store_failed(cert, r);
}

static int open_store(struct cli_cert *cert)
{
	int r;

	if (cert->verb->takes & WRITES)
		return cli_make_state_dir(&cert->gateway) == CLI_FINE ? cli_cert_open_writer(cert)
								      : CLI_FAILED;
	r = pki_store_open(cert->scratch, cert->gateway.state_dir, &cert->store);
	return r == 0 ? CLI_FINE : store_failed(cert, r);
}

int cli_cert_read(const struct cli_cert *cert, struct pki_store_pair *ret_pair)
{
	int r = pki_store_read(cert->store, cert->scratch, cert->name, ret_pair);

	return r == 0 ? CLI_FINE : store_failed(cert, r);
}

const char *cli_cert_fingerprint(const struct cli_cert *cert, const char *name)
{
	struct pki_store_pair pair;
	struct certificate *list;
	const char *why;
	size_t count;

	if (name == NULL || pki_store_read(cert->store, cert->scratch, name, &pair) < 0 ||
		certificate_list(cert->scratch, text_of(pair.chain), &list, &count, &why) < 0)
		return NULL;
	return list[0].fingerprint_sha256;
}

int cli_cert_file(const struct cli_cert *cert, const char *path, struct text *ret_bytes)
{
	struct bundle *bundle = bundle_new(cert->scratch, 0);
	int r = bundle_add_file(bundle, path, BUNDLE_ALL);

	if (r < 0)
		return cli_cert_refuse("%s cannot be read: %s", path,
			r == -EFBIG    ? "it is larger than 1 MiB; give only the certificates of this chain"
			: r == -EINVAL ? "it is no regular file; give one"
				       : err_text(r));
	*ret_bytes = bundle_find(bundle, path);
	return CLI_FINE;
}

bool cli_cert_is_free(const struct cli_cert *cert)
{
	if (cert->replace || !pki_store_has(cert->store, cert->name))
		return true;
	cli_cert_refuse(
		"there is a certificate `%s` already; choose another name, or give --replace to put this one with its new key into its place",
		cert->name);
	return false;
}

const struct config *cli_cert_config(struct cli_cert *cert)
{
	if (!cert->config_is_read)
		cert->bundle = config_gather(
			cert->scratch, cert->gateway.file, 0, problems_new(cert->scratch), &cert->config);
	cert->config_is_read = true;
	return cert->config;
}

/* What it says may be different now. */
static void forget_config(struct cli_cert *cert)
{
	config_release(cert->config);
	cert->config = NULL;
	cert->bundle = NULL;
	cert->config_is_read = false;
}

static bool is_that(const struct config_certificate *used, const char *name)
{
	return used != NULL && used->stored && strcmp(used->name, name) == 0;
}

/* Names of listeners have no blanks. */
static void add_deliveries(const struct config *config, const char *name, json_t *uses)
{
	if (is_that(config->destination_settings.certificate, name))
		json_array_append_new(uses, json_string("delivery"));
	for (size_t i = 0; i < config->destination_count; i++)
		if (is_that(config->destinations[i].certificate, name))
			json_array_append_new(
				uses, json_sprintf("delivery to %s", config->destinations[i].domain));
}

json_t *cli_cert_uses(struct cli_cert *cert, const char *name, bool *ret_named)
{
	const struct config *config = cli_cert_config(cert);
	json_t *uses = config == NULL ? NULL : json_array();

	*ret_named = false;
	for (size_t i = 0; config != NULL && i < config->certificate_count; i++)
		*ret_named = *ret_named || (config->certificates[i].stored &&
						   strcmp(config->certificates[i].name, name) == 0);
	for (size_t i = 0; config != NULL && i < config->listener_count; i++) {
		const struct config_certificate *used;

		for (size_t n = 0; (used = config_listener_certificate(&config->listeners[i], n)) != NULL;
			n++)
			if (is_that(used, name))
				json_array_append_new(uses, json_string(config->listeners[i].name));
	}
	if (config != NULL)
		add_deliveries(config, name, uses);
	return uses;
}

/* A running gateway reads everything again; false after saying why it did not. */
static bool reload(const struct cli_cert *cert)
{
	struct frame *answer;

	if (cli_ask(&cert->gateway, FRAME_CONTROL_RELOAD, RELOAD_MS, cert->scratch, &answer) != CLI_FINE)
		return false;
	const bool ok = frame_get_bool(answer);
	const struct text text = frame_get_text(answer);
	if (!ok)
		fprintf(stderr,
			"postern: the store is changed, but the running gateway refused to reload and keeps what it had:\n" TEXT_FMT,
			TEXT_ARG(text));
	return ok;
}

static json_t *notes_json(const struct cli_cert *cert)
{
	json_t *array = json_array();

	for (size_t i = 0; i < cert->note_count; i++)
		json_array_append_new(array, json_string(cert->notes[i]));
	return array;
}

int cli_cert_changed(struct cli_cert *cert, const struct change *change, const char *done,
	const struct certificate *certificate)
{
	char ends[CLOCK_TEXT_MAX] = "";
	bool named, fine = true, reloaded = false;
	json_t *uses;

	talloc_free(cert->store); /* and with it the lock: a reload may write the demo certificate */
	cert->store = NULL;
	cli_change_end(&cert->gateway, change, 0);
	forget_config(cert);
	uses = cli_cert_uses(cert, cert->name, &named);
	if ((uses == NULL || json_array_size(uses) > 0) && cli_is_running(&cert->gateway))
		fine = reloaded = reload(cert);
	for (size_t i = 0; i < cert->note_count; i++)
		fprintf(stderr, "postern: note: %s\n", cert->notes[i]);
	if (certificate != NULL)
		clock_iso(certificate->not_after_ms, ends);
	json_t *json = json_pack("{s:s, s:s, s:s?, s:s?, s:s?, s:o, s:o?, s:b}", "name", cert->name, "done",
		done, "key", certificate == NULL ? NULL : certificate->key, "not_after",
		certificate == NULL ? NULL : ends, "fingerprint_sha256",
		certificate == NULL ? NULL : certificate->fingerprint_sha256, "notes", notes_json(cert),
		"uses", uses, "reloaded", (int)reloaded);
	if (cert->json)
		cli_print_json(json_incref(json));
	else if (certificate == NULL)
		printf("%s: %s%s\n", cert->name, done, reloaded ? ", and in use" : "");
	else
		printf("%s: %s, %s, ends %s%s\n", cert->name, done, certificate->key, ends,
			reloaded ? ", and in use" : "");
	json_decref(json);
	return fine ? CLI_FINE : CLI_FAILED;
}

const char *cli_cert_what(const struct cli_cert *cert)
{
	return text_must(talloc_asprintf(cert->scratch, "cert %s", cert->verb->name));
}

/* Of which names --validate-fqdn speaks. */
static unsigned fqdn_names(const struct cli_cert *cert)
{
	if (cert->fqdn == NULL)
		return CERTIFICATE_COMMON_NAMES | CERTIFICATE_ALT_NAMES;
	return strcmp(cert->fqdn, "cn") == 0 ? CERTIFICATE_COMMON_NAMES : CERTIFICATE_ALT_NAMES;
}

int cli_cert_store(struct cli_cert *cert, const char *done, const char *chain, const char *key)
{
	struct certificate *list;
	const char *why = "";
	size_t count;

	if (cert->validate_fqdn &&
		certificate_check_names(cert->scratch, text_of(chain), fqdn_names(cert), &why) < 0)
		return cli_cert_refuse(
			"%s; nothing was stored. Leave --validate-fqdn out to take it as it is", why);
	if (certificate_list(cert->scratch, text_of(chain), &list, &count, &why) < 0)
		return cli_cert_refuse("what was to be stored %s", why);
	const struct change change = { .what = cli_cert_what(cert),
		.name = cert->name,
		.before = cli_cert_fingerprint(cert, cert->name),
		.after = list[0].fingerprint_sha256 };
	if (cli_change_begin(&cert->gateway, &change) != CLI_FINE)
		return CLI_FAILED;
	int r = pki_store_write(cert->store, cert->name, text_of(chain), text_of(key));
	if (r < 0) {
		cli_change_end(&cert->gateway, &change, r);
		return store_failed(cert, r);
	}
	return cli_cert_changed(cert, &change, done, &list[0]);
}

static int run(struct cli_cert *cert)
{
	switch (cert->verb->number) {
	case LIST:
		return cli_cert_list(cert);
	case SHOW:
		return cli_cert_show(cert);
	case CREATE_ONE:
		return cli_cert_create(cert);
	case CSR:
		return cli_cert_csr(cert);
	case UPLOAD_ONE:
		return cli_cert_upload(cert);
	case IMPORT_ONE:
		return cli_cert_import(cert);
	case EXPORT_ONE:
		return cli_cert_export(cert);
	case ACTIVATE:
		return cli_cert_activate(cert);
	case DELETE:
		return cli_cert_delete(cert);
	default:
		return cli_cert_tlsa(cert);
	}
}

/* CLI_FINE, or the exit status when there is nothing more to do. */
static int read_line(struct cli_cert *cert, int argc, char **argv)
{
	const struct cli_verbs_option known[] = {
		{ 0, { .name = "json", .flag = &cert->json } },
		{ NAME, { .name = NULL, .value = &cert->name } },
		{ CREATE, { .name = "common-name", .value = &cert->common_name } },
		{ CREATE, { .name = "organization", .value = &cert->organization } },
		{ CREATE, { .name = "unit", .value = &cert->unit } },
		{ CREATE, { .name = "city", .value = &cert->city } },
		{ CREATE, { .name = "state", .value = &cert->state } },
		{ CREATE, { .name = "country", .value = &cert->country } },
		{ CREATE, { .name = "days", .value = &cert->days } },
		{ CREATE | IMPORT, { .name = "key", .value = &cert->key } },
		{ CREATE, { .name = "alt", .value = &cert->alt } },
		{ CREATE, { .name = "legacy", .flag = &cert->legacy } },
		{ CREATE | IMPORT, { .name = "replace", .flag = &cert->replace } },
		{ CREATE | UPLOAD | IMPORT,
			{ .name = "validate-fqdn", .flag = &cert->validate_fqdn, .value = &cert->fqdn } },
		{ UPLOAD | IMPORT, { .name = "in", .value = &cert->in } },
		{ UPLOAD | IMPORT, { .name = "chain", .value = &cert->chain } },
		{ EXPORT, { .name = "out", .value = &cert->out } },
		{ IMPORT | EXPORT, { .name = "passphrase-file", .value = &cert->passphrase_file } },
		{ REMOVE, { .name = "yes", .flag = &cert->yes } },
		{ TLSA, { .name = "host", .value = &cert->host } },
		{ TLSA, { .name = "port", .value = &cert->port } },
	};
	int status;

	cert->verb = cli_verbs_read(&command, argc, argv, known, COUNT(known), &status);
	return cert->verb == NULL ? status : check_options(cert);
}

int cli_cert(const char *file, int argc, char **argv)
{
	struct cli_cert cert = { 0 };
	int status = read_line(&cert, argc, argv);

	if (cert.verb == NULL || status != CLI_FINE)
		return status;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* private keys pass through here */
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	cert.scratch = talloc_new(NULL);
	tls_start();
	status = cli_find(file, cert.scratch, &cert.gateway) ? open_store(&cert) : CLI_FAILED;
	if (status == CLI_FINE)
		status = run(&cert);
	forget_config(&cert);
	talloc_free(cert.scratch);
	return status;
}
