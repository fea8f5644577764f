/* `explain`: what would become of mail to a domain, and why. Role `deliver` answers; this file asks and prints. */
#include "cli/cli_explain.h"

#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "cli/cli_private.h"
#include "config/config.h"
#include "config/idn.h"
#include "ipc/channel.h"
#include "wire/address.h"

enum { ASK_MS = 5000 };

/* Over the channel that master handed out; NULL after saying why there is no answer. */
static json_t *ask_over(struct frame *handed, const struct frame *ask, int64_t within_ms, const void *scratch)
{
	const bool there = frame_get_bool(handed);
	const struct text why = frame_get_text(handed);
	CLEANUP(base_close) int fd = there ? frame_get_fd(handed) : -1;
	struct frame *answer;

	if (fd < 0) {
		fprintf(stderr, "postern: " TEXT_FMT "\n", TEXT_ARG(why));
		return NULL;
	}
	int r = channel_send(fd, ask, clock_mono_ms() + ASK_MS);
	if (r == 0)
		r = channel_receive(scratch, fd, -1, clock_mono_ms() + within_ms, &answer);
	const struct text text = r == 0 ? frame_get_text(answer) : TEXT("");
	json_t *json = r == 0 && frame_done(answer) == 0 ? json_loadb(text.at, text.len, 0, NULL) : NULL;
	if (json == NULL)
		fprintf(stderr, "postern: role deliver did not answer: %s; try again\n",
			r == 0 ? "its answer is malformed" : err_text(r));
	return json;
}

int cli_explain_ask_deliver(const char *file, const struct frame *ask, int64_t within_ms, const void *scratch,
	json_t **ret_answer)
{
	struct cli_gateway gateway;
	struct frame *handed;
	int status = cli_find(file, scratch, &gateway) ? CLI_FINE : CLI_FAILED;

	if (status == CLI_FINE)
		status = cli_ask(&gateway, FRAME_CONTROL_DELIVER, ASK_MS, scratch, &handed);
	if (status != CLI_FINE)
		return status;
	*ret_answer = ask_over(handed, ask, within_ms, scratch);
	return *ret_answer == NULL ? CLI_TEMPORARY : CLI_FINE;
}

/* Say what is wrong with the command line, which may hold anything. */
static void complain(const void *scratch, const char *what, const char *value, const char *why)
{
	char *line = text_must(talloc_asprintf(scratch, "postern: %s`%.255s`%s", what, value, why));

	for (char *c = line; *c != '\0'; c++)
		*c = *c < ' ' || *c > '~' ? '?' : *c;
	fprintf(stderr, "%s\n", line);
}

/* The domain of a recipient, as the DNS has it; NULL after saying what is wrong. */
static const char *read_domain(const void *scratch, const char *written)
{
	const char *at = strrchr(written, '@'),
		   *why = "write one such as example.com"; /* an address is fine, too */
	struct text domain = text_of(at == NULL ? written : at + 1);
	struct ip address;

	if (domain.len > 1 && domain.at[domain.len - 1] == '.')
		domain.len--;
	const char *ascii = idn_to_ascii(scratch, domain, &why);
	if (ascii != NULL && ip_parse(text_of(ascii), &address) == 0)
		why = "write an address in brackets, such as [192.0.2.1] or [IPv6:2001:db8::1]";
	else if (ascii != NULL && (address_is_domain(text_of(ascii)) || address_is_literal(text_of(ascii))))
		return ascii;
	complain(scratch, "", written, text_must(talloc_asprintf(scratch, " is not a domain: %s", why)));
	return NULL;
}

/* No server is ever taken for another one because it was misspelt. */
static bool check_host(const void *scratch, const char *host)
{
	const char *why = config_next_hop_flaw(scratch, host);

	if (why == NULL && text_starts_nocase(text_of(host), TEXT("mx:")) && strchr(host, '.') == NULL)
		why = "behind `mx:` stands a domain such as example.com, and `mx` alone is no full host name";
	if (why != NULL)
		complain(scratch, "--host ", host, text_must(talloc_asprintf(scratch, ": %s", why)));
	return why == NULL;
}

int cli_explain_ask(const char *file, enum explain_mode mode, const char *domain, const char *next_hop,
	json_t **ret_answer)
{
	void *scratch = talloc_new(NULL);
	int status = CLI_USAGE;

	if ((domain = read_domain(scratch, domain)) != NULL &&
		(next_hop == NULL || check_host(scratch, next_hop)))
		status = cli_explain_ask_deliver(file,
			explain_ask(scratch, mode, domain, next_hop == NULL ? "" : next_hop), EXPLAIN_MS,
			scratch, ret_answer);
	talloc_free(scratch);
	return status;
}

int cli_explain_status(json_t *answer)
{
	const char *verdict = cli_explain_word(answer, "verdict");

	if (strcmp(verdict, "met") == 0)
		return CLI_FINE;
	return strcmp(verdict, "not-met") == 0 ? CLI_FAILED : CLI_TEMPORARY;
}

const char *cli_explain_word(json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value == NULL ? "-" : value;
}

static bool has(json_t *object, const char *key)
{
	return json_is_string(json_object_get(object, key));
}

static bool is_true(json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* What a word of the evidence means, for a person; the word itself when it is none of these. */
static const char *said(const char *word)
{
	static const struct {
		const char *word, *text;
	} texts[] = { { "never", "TLS is not used" }, { "may", "TLS is used when it is offered" },
		{ "must", "TLS is a must" }, { "silent", "nothing about TLS" }, { "dane", "DANE" },
		{ "host", "the server's name" }, { "domain", "the recipients' domain" },
		{ "hosted", "a hosted name" }, { "verified", "in TLS, verified" },
		{ "trusted", "in TLS, verified by DANE, but DNSSEC does not vouch for the MX records" },
		{ "encrypted", "in TLS, not verified" }, { "clear", "in clear" },
		{ "nothing", "not at all" } };

	for (size_t i = 0; i < COUNT(texts); i++)
		if (strcmp(texts[i].word, word) == 0)
			return texts[i].text;
	return word;
}

const char *cli_explain_sent(const char *sent)
{
	return said(sent);
}

/* `a, b` of an array of words. */
static void print_words(json_t *array)
{
	json_t *word;
	size_t i;

	json_array_foreach(array, i, word) printf("%s%s", i == 0 ? "" : ", ", said(json_string_value(word)));
}

/* The same as they are. */
static void print_list(json_t *array)
{
	json_t *word;
	size_t i;

	json_array_foreach(array, i, word) printf("%s%s", i == 0 ? "" : ", ", json_string_value(word));
}

const char *cli_explain_proof(const char *security)
{
	return strcmp(security, "secure") == 0 ? "proven by DNSSEC" : "not proven by DNSSEC";
}

void cli_explain_print_way(json_t *answer)
{
	json_t *way = json_object_get(answer, "way");

	printf("mail for %s goes to ", cli_explain_word(answer, "domain"));
	if (!has(way, "mx_of"))
		printf("%s, %s", cli_explain_word(way, "destination"),
			is_true(way, "asked") ? "named on the command line" : "as the configuration says");
	else if (has(way, "mx_why"))
		printf("the servers that the MX records of %s name, which are not known: %s",
			cli_explain_word(way, "mx_of"), cli_explain_word(way, "mx_why"));
	else if (is_true(way, "no_name"))
		printf("nobody: %s does not exist (%s)", cli_explain_word(way, "mx_of"),
			cli_explain_proof(cli_explain_word(way, "mx_security")));
	else if (is_true(way, "implicit_mx"))
		printf("%s itself: it has no MX record, which is %s", cli_explain_word(way, "mx_of"),
			cli_explain_word(way, "mx_security"));
	else
		printf("the servers that the MX records of %s name, which are %s",
			cli_explain_word(way, "mx_of"), cli_explain_word(way, "mx_security"));
	printf("%s%s\n", is_true(way, "implicit_tls") ? "; in TLS from the first byte" : "",
		is_true(way, "login") ? "; with a login" : "");
	if (has(way, "mx_of") &&
		strcmp(cli_explain_word(way, "expanded"), cli_explain_word(way, "mx_of")) != 0)
		printf("  it is an alias of %s\n", cli_explain_word(way, "expanded"));
	if (has(answer, "end"))
		printf("  no server can be tried: %s\n", cli_explain_word(answer, "end"));
}

static void print_entry(json_t *object, const char *key, const char *otherwise)
{
	if (has(object, key))
		printf("`%s` in destinations", cli_explain_word(object, key));
	else
		printf("%s", otherwise);
}

/* Why the host is in a list. */
static void print_listed(json_t *by, const char *list, const char *prefix)
{
	const char *names = cli_explain_word(by, "names");

	if (json_is_object(by))
		printf("%s  the %s is listed in tls.%s as `%s`\n", prefix,
			strcmp(names, "domain") == 0 ? "recipient's domain"
			: strcmp(names, "host") == 0 ? "host"
						     : "host's address",
			list, cli_explain_word(by, "entry"));
}

void cli_explain_print_entries(json_t *facts, const char *prefix)
{
	json_t *lists = json_object_get(facts, "lists"), *dane = json_object_get(facts, "dane");

	if (json_object_get(facts, "level_entry") == NULL) /* of an older version */
		return;
	printf("%s  level %s by ", prefix, cli_explain_word(facts, "level"));
	print_entry(facts, "level_entry", "tls.starttls_when_possible");
	printf("; DANE %s by ", cli_explain_word(dane, "setting"));
	print_entry(dane, "entry", "default: nobody says otherwise");
	printf("\n");
	print_listed(json_object_get(lists, "never_by"), "starttls_never", prefix);
	print_listed(json_object_get(lists, "required_by"), "starttls_required", prefix);
}

void cli_explain_print_place(json_t *server)
{
	printf("%s, %s", cli_explain_word(server, "host"), cli_explain_word(server, "address"));
}

/* What is demanded, in half a line. */
static void print_wanted(json_t *demand, const char *key)
{
	json_t *checks = json_object_get(demand, "checks"), *recorded = json_object_get(demand, "recorded");

	printf("%s", said(cli_explain_word(demand, key)));
	if (json_array_size(checks) > 0) {
		printf(", with a certificate for: ");
		print_words(checks);
	}
	if (json_array_size(recorded) > 0) {
		printf("; looked at for the record: ");
		print_words(recorded);
	}
}

static void print_policy(json_t *server)
{
	json_t *policy = json_object_get(server, "policy"), *demand;
	size_t i;

	cli_explain_print_entries(json_object_get(server, "facts"), "");
	printf("  ");
	print_wanted(policy, "tls");
	printf("\n  because %s\n", cli_explain_word(policy, "reason"));
	json_array_foreach(json_object_get(policy, "demands"), i, demand)
	{
		printf("    %s: ", cli_explain_word(demand, "source"));
		print_wanted(demand, "want");
		printf("; %s%s\n", cli_explain_word(demand, "reason"),
			is_true(demand, "dropped") ? " (outweighed)" : "");
	}
	if (has(server, "held"))
		printf("  nothing is sent there: %s\n", cli_explain_word(server, "held"));
}

void cli_explain_print_dane(json_t *server)
{
	json_t *dane = json_object_get(json_object_get(server, "facts"), "dane"), *record;
	size_t i;

	printf("  DANE %s: %s", cli_explain_word(dane, "setting"), cli_explain_word(dane, "finding"));
	if (has(dane, "base"))
		printf(", at %s", cli_explain_word(dane, "base"));
	if (has(dane, "why") && cli_explain_word(dane, "why")[0] != '\0')
		printf("; %s", cli_explain_word(dane, "why"));
	printf("\n");
	json_array_foreach(json_object_get(dane, "records"), i, record)
		printf("    TLSA %s\n", json_string_value(record));
	if (json_integer_value(json_object_get(dane, "left_out")) > 0)
		printf("    %lld records cannot be used: %s\n",
			(long long)json_integer_value(json_object_get(dane, "left_out")),
			cli_explain_word(dane, "flaw"));
}

/* Each thing that the certificate was compared with. */
static void print_checks(json_t *checks)
{
	const char *check;
	json_t *verdict;

	json_object_foreach(checks, check, verdict)
	{
		const bool fine = strcmp(cli_explain_word(verdict, "result"), "verified") == 0;

		printf("    certificate for %s: %s", said(check), fine ? "yes" : "no");
		if (has(verdict, "matched"))
			printf(", %s", cli_explain_word(verdict, "matched"));
		if (!fine)
			printf(" (%s)", cli_explain_word(verdict, "result"));
		printf("%s%s\n", has(verdict, "reason") ? "; " : "",
			has(verdict, "reason") ? cli_explain_word(verdict, "reason") : "");
	}
}

void cli_explain_print_chain(json_t *server)
{
	json_t *certificate;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(server, "live"), "chain"), i, certificate)
	{
		printf("  %zu. %s, issued by %s, from %s until %s, %s\n", i + 1,
			cli_explain_word(certificate, "subject"), cli_explain_word(certificate, "issuer"),
			cli_explain_word(certificate, "not_before"),
			cli_explain_word(certificate, "not_after"), cli_explain_word(certificate, "key"));
		if (json_array_size(json_object_get(certificate, "names")) > 0) {
			printf("     names ");
			print_list(json_object_get(certificate, "names"));
			printf("\n");
		}
	}
}

void cli_explain_print_live(json_t *server)
{
	json_t *live = json_object_get(server, "live"), *tls = json_object_get(live, "tls");

	if (!json_is_object(live))
		return;
	const char *signature = cli_explain_word(live, "signature");
	if (has(tls, "protocol"))
		printf("  dialled: %s, %s, %s%s%s\n", cli_explain_word(tls, "protocol"),
			cli_explain_word(tls, "cipher"), cli_explain_word(tls, "group"),
			signature[0] == '\0' ? "" : ", ", signature);
	else
		printf("  dialled: no TLS\n");
	if (has(live, "reply"))
		printf("  it failed: %s\n", cli_explain_word(live, "reply"));
	print_checks(json_object_get(tls, "checks"));
}

static void print_answer(json_t *answer)
{
	json_t *server;
	size_t i;

	cli_explain_print_way(answer);
	json_array_foreach(json_object_get(answer, "servers"), i, server)
	{
		json_t *live = json_object_get(server, "live");

		printf("\n%zu. ", i + 1);
		cli_explain_print_place(server);
		printf(" (address %s)\n", cli_explain_word(server, "security"));
		print_policy(server);
		cli_explain_print_dane(server);
		cli_explain_print_live(server);
		cli_explain_print_chain(server);
		if (json_is_object(live))
			printf("  mail would be sent %s: %s\n",
				cli_explain_sent(cli_explain_word(live, "sent")),
				cli_explain_word(live, "reason"));
	}
}

int cli_explain(const char *file, int argc, char **argv)
{
	const char *domain = NULL;
	bool live = false, json = false;
	const struct cli_option options[] = {
		{ .value = &domain },
		{ .name = "live", .flag = &live },
		{ .name = "json", .flag = &json },
	};
	json_t *answer;

	if (!cli_options("explain", argc, argv, options, COUNT(options)))
		return CLI_USAGE;
	if (domain == NULL) {
		fprintf(stderr, "postern explain: a DOMAIN is missing\n");
		return CLI_USAGE;
	}
	int status = cli_explain_ask(file, live ? EXPLAIN_LIVE : EXPLAIN_PLAN, domain, NULL, &answer);
	if (status != CLI_FINE)
		return status;
	status = cli_explain_status(answer);
	if (json) {
		cli_print_json(answer);
		return status;
	}
	print_answer(answer);
	json_decref(answer);
	return status;
}
