/* `tls verify`, `tls temporary` and `dane verify`: servers asked by role `deliver`, as for a delivery, and its temporary list. */
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "cli/cli_explain.h"
#include "cli/cli_private.h"
#include "cli/cli_verbs.h"
#include "deliver/clear_hosts_ask.h"
#include "ipc/channel.h"

enum { ASK_MS = 5000 };

/* What a verb takes. */
enum { DOMAIN = 1 << 0, EMPTY = 1 << 1 };
enum { VERB_VERIFY, VERB_TEMPORARY };

struct options {
	const char *domain, *host;
	bool empty, json;
};

#define VERIFY_NOTES                                                                                         \
	"  DOMAIN         of the recipients\n"                                                               \
	"  --host H[:P]   this server instead of those that mail to the domain goes to, as a route names it\n"

static const struct cli_verb tls_verbs[] = {
	{ "verify", DOMAIN, VERB_VERIFY, "DOMAIN [--host HOST[:PORT]]",
		"dial the servers of a domain, compare their certificates with its name, and say what each level makes of them" },
	{ "temporary", EMPTY, VERB_TEMPORARY, "[--empty]",
		"servers whose handshake failed, to which mail goes in clear for the rest of the hour (tls.retry_without_tls)" },
};

static const struct cli_verbs_note tls_notes[] = {
	{ DOMAIN, VERIFY_NOTES
		"exit 0: the certificate of a server is one for the domain, as the verifying levels want it; 1: it is not; 75: not known now\n" },
	{ EMPTY, "  --empty        forget them: TLS is tried there again\n" },
};

static const struct cli_verb dane_verbs[] = {
	{ "verify", DOMAIN, VERB_VERIFY, "DOMAIN [--host HOST[:PORT]]",
		"what DNSSEC says of a domain's servers, and whether their certificates are those of their TLSA records" },
};

static const struct cli_verbs_note dane_notes[] = {
	{ DOMAIN, VERIFY_NOTES
		"exit 0: mail would go to a server that DANE vouches for; 1: it would not; 75: not known now\n" },
};

static const struct cli_verbs tls_command = { "tls", tls_verbs, COUNT(tls_verbs), tls_notes,
	COUNT(tls_notes) },
			      dane_command = { "dane", dane_verbs, COUNT(dane_verbs), dane_notes,
				      COUNT(dane_notes) };

/* What each level would make of the server. */
static void print_levels(json_t *live)
{
	const char *level;
	json_t *result;

	json_object_foreach(json_object_get(live, "levels"), level, result) printf(
		"  level %s: mail would be sent %s; %s\n", level,
		cli_explain_sent(cli_explain_word(result, "sent")), cli_explain_word(result, "reason"));
}

static void print_tls(json_t *answer)
{
	json_t *server;
	size_t i;

	cli_explain_print_way(answer);
	json_array_foreach(json_object_get(answer, "servers"), i, server)
	{
		printf("\n%zu. ", i + 1);
		cli_explain_print_place(server);
		printf("\n");
		cli_explain_print_live(server);
		cli_explain_print_chain(server);
		print_levels(json_object_get(server, "live"));
	}
	printf("\n%s %s for %s\n", "certificate",
		cli_explain_status(answer) == CLI_FINE ? "VERIFIED" : "NOT VERIFIED",
		cli_explain_word(answer, "domain"));
}

/* `SECURE`, as the transcript of a DANE check has it. */
static const char *loud(const char *security)
{
	if (strcmp(security, "secure") == 0)
		return "SECURE";
	if (strcmp(security, "unknown") == 0)
		return "UNKNOWN";
	return strcmp(security, "insecure") == 0 ? "INSECURE" : "BOGUS";
}

static void print_dane_server(json_t *server)
{
	json_t *live = json_object_get(server, "live"), *tls = json_object_get(live, "tls");
	json_t *check = json_object_get(json_object_get(tls, "checks"), "dane");

	printf("%s address %s of %s\n", loud(cli_explain_word(server, "security")),
		cli_explain_word(server, "address"), cli_explain_word(server, "host"));
	cli_explain_print_dane(server);
	if (!json_is_object(live)) {
		printf("  not dialled: %s\n", cli_explain_word(server, "held"));
		return;
	}
	if (json_is_string(json_object_get(tls, "protocol")))
		printf("  connected: protocol %s, cipher %s\n", cli_explain_word(tls, "protocol"),
			cli_explain_word(tls, "cipher"));
	else
		printf("  no TLS\n");
	if (strcmp(cli_explain_word(check, "result"), "verified") == 0)
		printf("  Certificate verification successful: %s\n", cli_explain_word(check, "matched"));
	else
		printf("  Certificate verification failed: %s\n", json_is_object(check)
									  ? cli_explain_word(check, "reason")
									  : cli_explain_word(live, "reply"));
}

static void print_dane(json_t *answer)
{
	json_t *way = json_object_get(answer, "way"), *server;
	size_t i;

	if (json_is_true(json_object_get(way, "no_name")))
		printf("%s does not exist (%s)\n", cli_explain_word(way, "mx_of"),
			cli_explain_proof(cli_explain_word(way, "mx_security")));
	else if (json_is_string(json_object_get(way, "mx_why")))
		printf("%s MX records for %s: not known: %s\n", loud(cli_explain_word(way, "mx_security")),
			cli_explain_word(way, "mx_of"), cli_explain_word(way, "mx_why"));
	else if (json_is_string(json_object_get(way, "mx_of")))
		printf("%s MX %s %s\n", loud(cli_explain_word(way, "mx_security")),
			json_is_true(json_object_get(way, "implicit_mx")) ? "(there is no record) for"
									  : "records for",
			cli_explain_word(way, "mx_of"));
	else
		printf("%s is named %s\n", cli_explain_word(way, "destination"),
			json_is_true(json_object_get(way, "asked")) ? "on the command line"
								    : "by the configuration");
	if (json_is_string(json_object_get(answer, "end")))
		printf("no server can be tried: %s\n", cli_explain_word(answer, "end"));
	json_array_foreach(json_object_get(answer, "servers"), i, server) print_dane_server(server);
	printf("DANE %s for %s\n", cli_explain_status(answer) == CLI_FINE ? "SUCCESS" : "FAILED",
		cli_explain_word(answer, "domain"));
}

static int verify(const char *file, enum explain_mode mode, const struct options *options)
{
	json_t *answer;
	int status = cli_explain_ask(file, mode, options->domain, options->host, &answer);

	if (status != CLI_FINE)
		return status;
	status = cli_explain_status(answer);
	if (options->json) {
		cli_print_json(answer);
		return status;
	}
	if (mode == EXPLAIN_DANE)
		print_dane(answer);
	else
		print_tls(answer);
	json_decref(answer);
	return status;
}

static int print_temporary(json_t *answer, const struct options *options)
{
	json_t *hosts = json_object_get(answer, "hosts"), *host;
	size_t i;

	if (options->json) {
		cli_print_json(json_incref(answer));
		return CLI_FINE;
	}
	json_array_foreach(hosts, i, host) printf("%s\n", json_string_value(host));
	if (options->empty)
		printf("%zu forgotten: TLS is tried there again\n", json_array_size(hosts));
	else if (json_array_size(hosts) == 0)
		printf("no server is on the temporary list%s\n",
			json_is_false(json_object_get(answer, "on")) ? ": tls.retry_without_tls is off" : "");
	else
		printf("mail goes there in clear, as far as nothing demands TLS, for %lld s more at most\n",
			(long long)json_integer_value(json_object_get(answer, "left_s")));
	return CLI_FINE;
}

static int temporary(const char *file, const struct options *options)
{
	void *scratch = talloc_new(NULL);
	json_t *answer = NULL;
	int status = cli_explain_ask_deliver(
		file, clear_hosts_ask_frame(scratch, options->empty), ASK_MS, scratch, &answer);

	if (status == CLI_FINE)
		status = print_temporary(answer, options);
	json_decref(answer);
	talloc_free(scratch);
	return status;
}

static int run(
	const char *file, const struct cli_verbs *command, enum explain_mode mode, int argc, char **argv)
{
	struct options options = { 0 };
	const struct cli_verbs_option list[] = {
		{ DOMAIN, { .value = &options.domain } },
		{ DOMAIN, { .name = "host", .value = &options.host } },
		{ EMPTY, { .name = "empty", .flag = &options.empty } },
		{ 0, { .name = "json", .flag = &options.json } },
	};
	int status;
	const struct cli_verb *verb = cli_verbs_read(command, argc, argv, list, COUNT(list), &status);

	if (verb == NULL)
		return status;
	if (verb->number == VERB_TEMPORARY)
		return temporary(file, &options);
	if (options.domain == NULL)
		return cli_verbs_wrong(command, verb, "a DOMAIN is missing", "");
	return verify(file, mode, &options);
}

int cli_tls(const char *file, int argc, char **argv)
{
	return run(file, &tls_command, EXPLAIN_VERIFY, argc, argv);
}

int cli_dane(const char *file, int argc, char **argv)
{
	return run(file, &dane_command, EXPLAIN_DANE, argc, argv);
}
