/* `cert list`, `show`, `tlsa`, `activate` and `delete`: what is there, and which of it counts. */
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "cli/cli_cert_private.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/idn.h"
#include "config/problems.h"
#include "config/stored.h"
#include "wire/fqdn.h"

static json_t *strings(const char *const *list, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_string(list[i]));
	return array;
}

static json_t *certificate_json(const struct certificate *certificate)
{
	char from[CLOCK_TEXT_MAX], to[CLOCK_TEXT_MAX];

	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:b}", "subject", certificate->subject,
		"issuer", certificate->issuer, "alt_names",
		strings(certificate->alt_names, certificate->alt_count), "not_before",
		clock_iso(certificate->not_before_ms, from), "not_after",
		clock_iso(certificate->not_after_ms, to), "key", certificate->key, "fingerprint_sha256",
		certificate->fingerprint_sha256, "spki_sha256", certificate->spki_sha256, "self_signed",
		(int)certificate->self_signed);
}

/* Everything about certificate `name`; NULL after saying what is wrong with it. */
static json_t *describe(struct cli_cert *cert, const char *name)
{
	struct pki_store_pair pair;
	struct certificate *list;
	const char *why = "", *active = pki_store_active(cert->store, cert->scratch);
	size_t count;
	bool named;

	cert->name = name;
	if (cli_cert_read(cert, &pair) != CLI_FINE)
		return NULL;
	if (certificate_list(cert->scratch, text_of(pair.chain), &list, &count, &why) < 0) {
		cli_cert_refuse("certificate `%s`: its chain %s", name, why);
		return NULL;
	}
	json_t *json = json_pack("{s:s, s:b}", "name", name, "active",
		       (int)(active != NULL && strcmp(active, name) == 0)),
	       *first = certificate_json(&list[0]), *chain = json_array(),
	       *uses = cli_cert_uses(cert, name, &named);
	for (size_t i = 1; i < count; i++)
		json_array_append_new(chain, certificate_json(&list[i]));
	json_object_update(json, first);
	json_object_set_new(json, "chain", chain);
	json_object_set_new(json, "uses", uses == NULL ? json_null() : uses);
	json_decref(first);
	return json;
}

static const char *word(json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

/* "a, b, c"; `none` when there is none. */
static char *joined(const void *owner, json_t *array, const char *none)
{
	char *text = text_must(talloc_strdup(owner, json_array_size(array) == 0 ? none : ""));
	json_t *item;
	size_t i;

	json_array_foreach(array, i, item) text =
		text_must(talloc_asprintf_append(text, "%s%s", i == 0 ? "" : ", ", json_string_value(item)));
	return text;
}

static char *used_by(const void *owner, json_t *json)
{
	json_t *uses = json_object_get(json, "uses");

	return json_is_null(uses) ? text_must(talloc_strdup(owner,
					    "unknown: the configuration has problems, see `postern check`"))
				  : joined(owner, uses, "nobody");
}

int cli_cert_list(struct cli_cert *cert)
{
	char **names;
	size_t count;
	int r = pki_store_list(cert->store, cert->scratch, &names, &count), status = CLI_FINE;

	if (r < 0)
		return cli_cert_refuse("the store of certificates cannot be read: %s", err_text(r));
	for (size_t i = 0; i < count; i++) {
		json_t *json = describe(cert, names[i]);

		if (json == NULL)
			status = CLI_FAILED;
		else if (cert->json)
			cli_print_json(json_incref(json));
		else
			printf("%-20s %-8s ends %s  %s%s, used by %s\n", names[i], word(json, "key"),
				word(json, "not_after"), word(json, "subject"),
				json_is_true(json_object_get(json, "active")) ? ", active" : "",
				used_by(cert->scratch, json));
		json_decref(json);
	}
	return status;
}

static void print_chain(json_t *chain)
{
	json_t *item;
	size_t i;

	json_array_foreach(chain, i, item) printf("%s %s, ends %s\n",
		i == 0 ? "chain:       " : "             ", word(item, "subject"), word(item, "not_after"));
}

int cli_cert_show(struct cli_cert *cert)
{
	json_t *json = describe(cert, cert->name);

	if (json == NULL)
		return CLI_FAILED;
	if (cert->json) {
		cli_print_json(json);
		return CLI_FINE;
	}
	printf("certificate:  %s%s\nsubject:      %s\nissuer:       %s%s\nnames:        %s\nvalid:        %s to %s\nkey:          %s\n"
	       "SHA-256:      %s\nkey's SHA-256: %s\n",
		cert->name, json_is_true(json_object_get(json, "active")) ? " (active)" : "",
		word(json, "subject"), word(json, "issuer"),
		json_is_true(json_object_get(json, "self_signed")) ? " (self-signed)" : "",
		joined(cert->scratch, json_object_get(json, "alt_names"), "none"), word(json, "not_before"),
		word(json, "not_after"), word(json, "key"), word(json, "fingerprint_sha256"),
		word(json, "spki_sha256"));
	print_chain(json_object_get(json, "chain"));
	printf("used by:      %s\n", used_by(cert->scratch, json));
	json_decref(json);
	return CLI_FINE;
}

static char *tlsa_record(const struct cli_cert *cert, uint64_t port, const char *spki_sha256)
{
	return text_must(talloc_asprintf(cert->scratch, "_%llu._tcp.%s. IN TLSA 3 1 1 %s",
		(unsigned long long)port, cert->host, spki_sha256));
}

/* The configuration and the chains in files that it names, for they may be all that the caller may read. */
static void read_chains(struct cli_cert *cert)
{
	cert->bundle = config_gather_chains(
		cert->scratch, cert->gateway.file, problems_new(cert->scratch), &cert->config);
	cert->config_is_read = true;
}

/* The entry of `certificates` that the command names; NULL when there is none. */
static const struct config_certificate *configured(const struct cli_cert *cert)
{
	for (size_t i = 0; cert->config != NULL && i < cert->config->certificate_count; i++)
		if (strcmp(cert->config->certificates[i].name, cert->name) == 0)
			return &cert->config->certificates[i];
	return NULL;
}

/* The chain of the certificate that the command names, of the configuration's files or of the store. */
static int tlsa_chain(struct cli_cert *cert, struct text *ret_chain)
{
	const struct config_certificate *entry = configured(cert);
	struct pki_store_pair pair;

	if (entry != NULL && !entry->stored) {
		*ret_chain = bundle_find(cert->bundle, entry->chain);
		return CLI_FINE;
	}
	if (entry == NULL && !pki_store_has(cert->store, cert->name))
		return cli_cert_refuse(
			cert->config == NULL
				? "there is no certificate `%s` in the store, and the configuration has problems: see `postern check`"
				: "there is no certificate `%s`, neither in `certificates` nor in the store; `cert list` shows those of the store",
			cert->name);
	const int status = cli_cert_read(cert, &pair);
	if (status == CLI_FINE)
		*ret_chain = text_of(pair.chain);
	return status;
}

/* The chain that a listener presents; empty when it cannot be read. */
static struct text chain_of(const struct cli_cert *cert, const struct config_certificate *used)
{
	struct pki_store_pair pair;

	if (!used->stored)
		return bundle_find(cert->bundle, used->chain);
	return pki_store_read(cert->store, cert->scratch, used->name, &pair) == 0 ? text_of(pair.chain)
										  : TEXT("");
}

/* Whether the certificate of the command is among those of a listener. */
static bool is_presented_by(const struct cli_cert *cert, const struct config_listener *listener)
{
	const struct config_certificate *used;

	for (size_t i = 0; (used = config_listener_certificate(listener, i)) != NULL; i++)
		if (strcmp(used->name, cert->name) == 0)
			return true;
	return false;
}

/* A peer may be shown any certificate of a listener: the records of the others beside `mine`, each once. */
static json_t *other_records(const struct cli_cert *cert, uint64_t port, const char *mine)
{
	const struct config *config = cert->config;
	json_t *records = json_object(), *array = json_array();

	for (size_t i = 0; config != NULL && i < config->listener_count; i++) {
		const struct config_listener *listener = &config->listeners[i];
		const struct config_certificate *other;

		for (size_t n = 0; is_presented_by(cert, listener) &&
				   (other = config_listener_certificate(listener, n)) != NULL;
			n++) {
			struct certificate *list;
			const char *why;
			size_t count;

			if (certificate_list(cert->scratch, chain_of(cert, other), &list, &count, &why) < 0)
				continue;
			const char *record = tlsa_record(cert, port, list[0].spki_sha256);
			if (strcmp(record, mine) == 0 || json_object_get(records, record) != NULL)
				continue;
			json_object_set_new(records, record, json_true());
			json_array_append_new(array, json_pack("{s:s, s:s, s:s}", "listener", listener->name,
							     "certificate", other->name, "record", record));
		}
	}
	json_decref(records);
	return array;
}

int cli_cert_tlsa(struct cli_cert *cert)
{
	const char *why, *host = idn_to_ascii(cert->scratch, text_of(cert->host), &why);
	uint64_t port = 25;
	struct text chain;
	struct certificate *list;
	size_t i, count;

	if (host == NULL)
		return cli_cert_refuse("--host %s cannot be a host name: %s", cert->host, why);
	cert->host = host;
	const char *flaw = fqdn_flaw(text_of(host));
	if (flaw != NULL || cert->host[0] == '*')
		return cli_cert_wrong(cert,
			text_must(talloc_asprintf(cert->scratch, "--host %s ", cert->host)),
			flaw != NULL ? flaw : "is a wildcard; write the name of one server");
	if (cert->port != NULL && (text_number(text_of(cert->port), 65535, &port) < 0 || port == 0))
		return cli_cert_wrong(cert, "--port takes a number from 1 to 65535, not ", cert->port);
	read_chains(cert);
	if (tlsa_chain(cert, &chain) != CLI_FINE)
		return CLI_FAILED;
	if (certificate_list(cert->scratch, chain, &list, &count, &why) < 0)
		return cli_cert_refuse("certificate `%s`: its chain %s", cert->name, why);
	const char *record = tlsa_record(cert, port, list[0].spki_sha256);
	json_t *others = other_records(cert, port, record), *other;
	if (cert->json)
		cli_print_json(json_pack("{s:s, s:s, s:I, s:s, s:O}", "name", cert->name, "host", cert->host,
			"port", (json_int_t)port, "record", record, "others", others));
	else
		printf("%s\n", record);
	json_array_foreach(others, i, other) fprintf(stderr,
		"postern: note: listener `%s` presents certificate `%s` as well, and needs its record, too:\n%s\n",
		word(other, "listener"), word(other, "certificate"), word(other, "record"));
	json_decref(others);
	return CLI_FINE;
}

int cli_cert_activate(struct cli_cert *cert)
{
	struct pki_store_pair pair;
	struct chain chain;
	const char *why = "";

	if (cli_cert_read(cert, &pair) != CLI_FINE)
		return CLI_FAILED;
	if (chain_build(
		    cert->scratch, text_of(pair.chain), text_of(pair.key), clock_wall_ms(), &chain, &why) < 0)
		return cli_cert_refuse(
			"certificate `%s` cannot be used: %s; make or import it anew with --replace",
			cert->name, why);
	if (chain.time != CHAIN_VALID)
		return cli_cert_refuse("certificate `%s` %s, and was not activated; get a current one",
			cert->name, chain.time == CHAIN_EXPIRED ? "has expired" : "is not valid yet");
	const struct change change = { .what = cli_cert_what(cert),
		.name = cert->name,
		.before = cli_cert_fingerprint(cert, pki_store_active(cert->store, cert->scratch)),
		.after = cli_cert_fingerprint(cert, cert->name) };
	if (cli_change_begin(&cert->gateway, &change) != CLI_FINE)
		return CLI_FAILED;
	int r = pki_store_activate(cert->store, cert->name);
	if (r < 0) {
		cli_change_end(&cert->gateway, &change, r);
		return cli_cert_refuse("certificate `%s` cannot be activated: %s", cert->name, err_text(r));
	}
	return cli_cert_changed(cert, &change, "active", NULL);
}

static int refuse_needed(const struct cli_cert *cert, bool is_active)
{
	return cli_cert_refuse(
		is_active ? "`%s` is the active certificate; activate another one first (%s)"
		: strcmp(cert->name, STORED_DEMO) == 0
			? "a listener says `certificate: %s`; name another certificate there (%s), then delete it"
			: "the configuration names `%s`; take it out of `certificates` (%s), then delete it",
		cert->name, cert->gateway.file);
}

/* CLI_FINE when it may go: nobody needs it, and the operator means it. */
static int may_delete(struct cli_cert *cert)
{
	const char *active = pki_store_active(cert->store, cert->scratch);
	const bool is_active = active != NULL && strcmp(active, cert->name) == 0;
	bool named;
	json_t *uses = cli_cert_uses(cert, cert->name, &named);
	const bool unknown = uses == NULL;
	int status = CLI_FINE;

	json_decref(uses);
	if (!pki_store_has(cert->store, cert->name))
		return cli_cert_refuse(
			"there is no certificate `%s` in the store; `cert list` shows them all", cert->name);
	if (unknown)
		return cli_cert_refuse(
			"the configuration has problems, so nobody knows whether it needs `%s`; see `postern check` first",
			cert->name);
	if (named || is_active)
		return refuse_needed(cert, is_active);
	cli_verbs_confirm(cert->yes,
		text_must(talloc_asprintf(
			cert->scratch, "delete certificate `%s` and its private key for ever", cert->name)),
		&status);
	return status;
}

int cli_cert_delete(struct cli_cert *cert)
{
	int status = may_delete(cert); /* without the lock of writers: an operator may think for long */

	if (status == CLI_FINE)
		status = cli_cert_open_writer(cert);
	if (status != CLI_FINE)
		return status;
	const struct change change = { .what = cli_cert_what(cert),
		.name = cert->name,
		.before = cli_cert_fingerprint(cert, cert->name) };
	if (cli_change_begin(&cert->gateway, &change) != CLI_FINE)
		return CLI_FAILED;
	int r = pki_store_delete(cert->store, cert->name);
	if (r == 0)
		return cli_cert_changed(cert, &change, "deleted", NULL);
	cli_change_end(&cert->gateway, &change, r);
	return r == -EBUSY
		       ? refuse_needed(cert, true)
		       : cli_cert_refuse("certificate `%s` cannot be deleted: %s", cert->name, err_text(r));
}
