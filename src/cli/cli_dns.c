/* `dns`: one question to role `resolver`, which answers an operator as it answers the gateway. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "cli/cli_private.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "ipc/channel.h"
#include "lookup/dns.h"

enum { ASK_MS = 5000, ANSWER_MS = 70000 };

/* RDATA of TLSA: `3 1 1 0123...` */
static char *tlsa_text(const void *owner, struct text data)
{
	char *text = text_must(talloc_strdup(owner, ""));

	for (size_t i = 0; i < data.len; i++)
		text = text_must(
			talloc_asprintf_append(text, i < 3 ? "%u " : "%02x", (unsigned)(uint8_t)data.at[i]));
	return text;
}

/* Strings of TXT: printable ASCII as it is, everything else as in a zone file. */
static char *string_text(const void *owner, struct text data)
{
	char *text = text_must(talloc_strdup(owner, "\""));

	for (size_t i = 0; i < data.len; i++) {
		uint8_t c = (uint8_t)data.at[i];
		const char *format = c < 0x20 || c > 0x7e ? "\\%03u" : c == '"' || c == '\\' ? "\\%c" : "%c";

		text = text_must(talloc_asprintf_append(text, format, c));
	}
	return text_must(talloc_strdup_append(text, "\""));
}

/* As it stands in a zone file. */
static char *record_text(const void *owner, enum dns_type type, const struct dns_record *record)
{
	char address[IP_TEXT_MAX];

	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		return text_must(talloc_strdup(owner, ip_format(&record->address, address)));
	case DNS_MX:
		return text_must(talloc_asprintf(owner, "%u %s.", record->preference, record->name));
	case DNS_CNAME:
	case DNS_PTR:
		return text_must(talloc_asprintf(owner, "%s.", record->name));
	case DNS_TXT:
		return string_text(owner, record->data);
	case DNS_TLSA:
		return tlsa_text(owner, record->data);
	}
	return text_must(talloc_strdup(owner, ""));
}

/* Why DNSSEC does not vouch for an answer, as far as the configuration tells (NULL = it cannot be read). */
static const char *insecurity(const struct config *config, const char *name)
{
	/* libunbound answers these by itself (RFC 6303, 6761, 8375). */
	static const char *const reserved[] = { "test", "invalid", "onion", "localhost", "home.arpa",
		"10.in-addr.arpa", "168.192.in-addr.arpa", "254.169.in-addr.arpa", "127.in-addr.arpa" };

	for (size_t i = 0; config != NULL && i < config->dns.private_zone_count; i++)
		if (dns_is_below(name, config->dns.private_zones[i]))
			return config->dns.trust_anchor_file == NULL
				       ? "dns.private_zones names its zone, which is not validated"
				       : "its zone is not signed, or private without an anchor in dns.trust_anchor_file";
	for (size_t i = 0; config != NULL && i < COUNT(reserved); i++)
		if (dns_is_below(name, reserved[i]))
			return "its zone is reserved: nobody was asked; a network that has it names it in dns.private_zones";
	if (dns_is_below(name, "in-addr.arpa") || dns_is_below(name, "ip6.arpa"))
		return "its zone is not signed, or reserved for private networks: then nobody was asked, and a network that has it names it in dns.private_zones";
	return "its zone is not signed";
}

/* The answer's own words, or why it is insecure. */
static const char *why_of(const char *file, const char *name, const struct dns_answer *answer, void *scratch)
{
	struct problems *problems = problems_new(scratch);
	const struct config *config = NULL;

	if (answer->result == DNS_FAILED || answer->security != DNS_INSECURE)
		return answer->why;
	config_gather(problems, file, 0, problems, &config);
	const char *why = insecurity(config, name);
	config_release(config);
	return why;
}

static void print_json(const char *name, enum dns_type type, const struct dns_answer *answer, const char *why,
	const void *scratch)
{
	json_t *records = json_array();

	for (size_t i = 0; i < answer->count; i++)
		json_array_append_new(records, json_string(record_text(scratch, type, &answer->records[i])));
	cli_print_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o}", "name", name, "type",
		dns_type_word(type), "result", dns_result_word(answer->result), "security",
		answer->result == DNS_FAILED && answer->security != DNS_BOGUS
			? "unknown"
			: dns_security_word(answer->security),
		"why", why, "canonical", answer->canonical, "ttl", (json_int_t)answer->ttl_s, "records",
		records));
}

static void print_plain(const char *name, enum dns_type type, const struct dns_answer *answer,
	const char *why, const void *scratch)
{
	switch (answer->result) {
	case DNS_FOUND:
		printf("%s %s: %s, %zu record%s, for %lld s\n", name, dns_type_word(type),
			dns_security_word(answer->security), answer->count, answer->count == 1 ? "" : "s",
			(long long)answer->ttl_s);
		break;
	case DNS_NO_DATA:
		printf("%s %s: %s, the name exists without such a record\n", name, dns_type_word(type),
			dns_security_word(answer->security));
		break;
	case DNS_NO_NAME:
		printf("%s %s: %s, there is no such name\n", name, dns_type_word(type),
			dns_security_word(answer->security));
		break;
	case DNS_FAILED:
		printf("%s %s: %s: %s\n", name, dns_type_word(type),
			answer->security == DNS_BOGUS ? "bogus" : "failed", answer->why);
		break;
	}
	if (answer->result != DNS_FAILED && why[0] != '\0')
		printf("  %s because %s\n", dns_security_word(answer->security), why);
	if (answer->result == DNS_FOUND && strcmp(answer->canonical, name) != 0)
		printf("  is an alias of %s.\n", answer->canonical);
	for (size_t i = 0; i < answer->count; i++)
		printf("  %s\n", record_text(scratch, type, &answer->records[i]));
}

/* Over the channel that master handed out. */
static int ask(const char *file, struct frame *handed, const char *name, enum dns_type type, bool json,
	void *scratch)
{
	bool ok = frame_get_bool(handed);
	struct text why = frame_get_text(handed);
	CLEANUP(base_close) int fd = ok ? frame_get_fd(handed) : -1;
	struct dns_answer *answer = NULL;
	struct frame *frame;

	if (fd < 0) {
		fprintf(stderr, "postern: " TEXT_FMT "\n", TEXT_ARG(why));
		return CLI_TEMPORARY;
	}
	int r = channel_send(fd, dns_ask_frame(scratch, name, type), clock_mono_ms() + ASK_MS);
	if (r == 0)
		r = channel_receive(scratch, fd, -1, clock_mono_ms() + ANSWER_MS, &frame);
	if (r == 0)
		answer = dns_answer_read(scratch, frame);
	if (answer == NULL)
		answer = dns_failed(scratch, r == 0 ? "the resolver's answer is malformed" : err_text(r));
	const char *said = why_of(file, name, answer, scratch);
	if (json)
		print_json(name, type, answer, said, scratch);
	else
		print_plain(name, type, answer, said, scratch);
	return answer->result == DNS_FOUND    ? CLI_FINE
	       : answer->result == DNS_FAILED ? CLI_TEMPORARY
					      : CLI_FAILED;
}

/* NAME [TYPE]: an address is asked for its names; else the type is A unless said. False after saying what is wrong. */
static bool read_question(
	int *argc, char ***argv, const void *scratch, const char **ret_name, enum dns_type *ret_type)
{
	struct ip ip;

	if (*argc == 0 || strncmp((*argv)[0], "--", 2) == 0) {
		fprintf(stderr, "postern dns: a NAME or an address comes first\n");
		return false;
	}
	struct text word = text_of((*argv)[0]);
	bool is_address = ip_parse(word, &ip) == 0 && ip.port == 0;

	*ret_name = is_address ? dns_reverse_name(scratch, &ip) : dns_message_name(scratch, word);
	*ret_type = is_address ? DNS_PTR : DNS_A;
	if (*ret_name == NULL) {
		fprintf(stderr,
			"postern dns: %s cannot be a name in the DNS (non-ASCII names in their xn-- form)\n",
			(*argv)[0]);
		return false;
	}
	--*argc;
	++*argv;
	if (*argc == 0 || strncmp((*argv)[0], "--", 2) == 0)
		return true;
	if (!dns_type_find((*argv)[0], ret_type)) {
		fprintf(stderr, "postern dns: %s is none of A, AAAA, CNAME, MX, PTR, TLSA, TXT\n",
			(*argv)[0]);
		return false;
	}
	--*argc;
	++*argv;
	return true;
}

int cli_dns(const char *file, int argc, char **argv)
{
	bool json = false;
	const struct cli_option options[] = { { .name = "json", .flag = &json } };
	void *scratch = talloc_new(NULL);
	struct cli_gateway gateway;
	struct frame *handed;
	enum dns_type type;
	const char *name;
	int status = CLI_USAGE;

	if (read_question(&argc, &argv, scratch, &name, &type) &&
		cli_options("dns", argc, argv, options, COUNT(options)))
		status = CLI_FINE;
	if (status == CLI_FINE && !cli_find(file, scratch, &gateway))
		status = CLI_FAILED;
	if (status == CLI_FINE)
		status = cli_ask(&gateway, FRAME_CONTROL_RESOLVER, ASK_MS, scratch, &handed);
	if (status == CLI_FINE)
		status = ask(file, handed, name, type, json, scratch);
	talloc_free(scratch);
	return status;
}
