/* The ask and its answer, field by field in the same order; and what a packet of the DNS means. */
#include "lookup/dns.h"

#include <stdio.h>
#include <strings.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "ipc/frame.h"
#include "ipc/peer.h"

enum { CODE_NONE = 0, CODE_SERVFAIL = 2, CODE_NXDOMAIN = 3 };

static const struct {
	enum dns_type type;
	const char *word;
} types[] = {
	{ DNS_A, "A" },
	{ DNS_AAAA, "AAAA" },
	{ DNS_CNAME, "CNAME" },
	{ DNS_MX, "MX" },
	{ DNS_PTR, "PTR" },
	{ DNS_TLSA, "TLSA" },
	{ DNS_TXT, "TXT" },
};

const char *dns_type_word(enum dns_type type)
{
	for (size_t i = 0; i < COUNT(types); i++)
		if (types[i].type == type)
			return types[i].word;
	return "?";
}

bool dns_type_find(const char *word, enum dns_type *ret_type)
{
	for (size_t i = 0; i < COUNT(types); i++) {
		if (strcasecmp(types[i].word, word) != 0)
			continue;
		*ret_type = types[i].type;
		return true;
	}
	return false;
}

const char *dns_result_word(enum dns_result result)
{
	static const char *const words[] = { [DNS_FOUND] = "found",
		[DNS_NO_DATA] = "no_data",
		[DNS_NO_NAME] = "no_name",
		[DNS_FAILED] = "failed" };

	return words[result];
}

const char *dns_security_word(enum dns_security security)
{
	static const char *const words[] = {
		[DNS_INSECURE] = "insecure", [DNS_SECURE] = "secure", [DNS_BOGUS] = "bogus"
	};

	return words[security];
}

bool dns_is_below(const char *name, const char *zone)
{
	const struct text n = text_of(name), z = text_of(zone);

	return text_ends_nocase(n, z) && (n.len == z.len || (z.len > 0 && n.at[n.len - z.len - 1] == '.'));
}

char *dns_reverse_name(const void *owner, const struct ip *ip)
{
	char *name = text_must(talloc_strdup(owner, ""));

	if (ip->family == AF_INET)
		return text_must(talloc_asprintf_append(name, "%u.%u.%u.%u.in-addr.arpa", ip->bytes[3],
			ip->bytes[2], ip->bytes[1], ip->bytes[0]));
	for (size_t i = sizeof ip->bytes; i-- > 0;)
		name = text_must(
			talloc_asprintf_append(name, "%x.%x.", ip->bytes[i] & 15u, ip->bytes[i] >> 4u));
	return text_must(talloc_strdup_append(name, "ip6.arpa"));
}

struct dns_answer *dns_failed(const void *owner, const char *why)
{
	struct dns_answer *answer = text_must(talloc_zero(owner, struct dns_answer));

	answer->result = DNS_FAILED;
	answer->why = why;
	answer->canonical = "";
	return answer;
}

/* What a packet means */

static enum dns_result result_of(const struct dns_message *message, const char **ret_why)
{
	*ret_why = "";
	if (message->code == CODE_NXDOMAIN)
		return DNS_NO_NAME;
	if (message->code != CODE_NONE) {
		*ret_why = message->code == CODE_SERVFAIL ? "no name server gave a usable answer (SERVFAIL)"
							  : "the name servers refuse to answer";
		return DNS_FAILED;
	}
	if (message->count > 0)
		return DNS_FOUND;
	if (message->left_out == 0)
		return DNS_NO_DATA;
	*ret_why = "every record of the answer is malformed";
	return DNS_FAILED;
}

struct dns_answer *dns_answer_parse(const void *owner, struct text packet, enum dns_type type,
	enum dns_security security, const char *why)
{
	struct dns_answer *answer = dns_failed(owner, "the answer is malformed");
	struct dns_message *message;

	if (security == DNS_BOGUS) { /* whatever it says */
		answer->security = DNS_BOGUS;
		answer->why = why != NULL && why[0] != '\0' ? text_copy(answer, text_of(why))
							    : "the DNSSEC signatures do not fit";
		return answer;
	}
	if (dns_message_parse(answer, packet, type, &message) < 0)
		return answer;
	answer->result = result_of(message, &answer->why);
	if (answer->result == DNS_FAILED)
		return answer;
	answer->security = security;
	answer->canonical = message->canonical;
	answer->ttl_s = message->ttl_s;
	answer->count = answer->result == DNS_FOUND ? message->count : 0;
	answer->records = message->records;
	return answer;
}

/* The ask */

struct frame *dns_ask_frame(const void *owner, const char *name, enum dns_type type)
{
	struct frame *ask = frame_new(owner, FRAME_DNS);

	frame_put_text(ask, text_of(name));
	frame_put_number(ask, type);
	return ask;
}

bool dns_ask_read(const void *owner, struct frame *ask, const char **ret_name, enum dns_type *ret_type)
{
	struct text name = frame_get_text(ask);
	enum dns_type type = (enum dns_type)frame_get_range(ask, 0, UINT16_MAX);

	if (ask->kind != FRAME_DNS || frame_done(ask) < 0 || strcmp(dns_type_word(type), "?") == 0)
		return false;
	*ret_name = dns_message_name(owner, name);
	*ret_type = type;
	return true;
}

/* The answer */

static void put_record(struct frame *frame, const struct dns_record *record)
{
	size_t len = record->address.family == AF_INET ? 4 : record->address.family == AF_INET6 ? 16 : 0;

	frame_put_text(frame, (struct text){ (const char *)record->address.bytes, len });
	frame_put_number(frame, record->preference);
	frame_put_text(frame, text_of(record->name));
	frame_put_text(frame, record->data);
}

static void get_record(struct frame *frame, const void *owner, struct dns_record *record)
{
	struct text address = frame_get_text(frame);

	*record = (struct dns_record){ 0 };
	if (address.len == 4 || address.len == 16) {
		record->address.family = address.len == 4 ? AF_INET : AF_INET6;
		memcpy(record->address.bytes, address.at, address.len);
	} else if (address.len != 0) {
		frame->failed = true;
	}
	record->preference = (uint16_t)frame_get_range(frame, 0, UINT16_MAX);
	record->name = frame_get_copy(frame, owner);
	record->data = frame_get_text(frame);
	record->data.at = text_copy(owner, record->data);
}

struct frame *dns_answer_frame(const void *owner, const struct dns_answer *answer)
{
	struct frame *frame = frame_new(owner, FRAME_ANSWER);

	frame_put_number(frame, answer->result);
	frame_put_number(frame, answer->security);
	frame_put_text(frame, text_of(answer->why));
	frame_put_text(frame, text_of(answer->canonical));
	frame_put_number(frame, answer->ttl_s);
	frame_put_number(frame, (int64_t)answer->count);
	for (size_t i = 0; i < answer->count; i++)
		put_record(frame, &answer->records[i]);
	return frame;
}

struct dns_answer *dns_answer_read(const void *owner, struct frame *frame)
{
	struct dns_answer *answer = text_must(talloc_zero(owner, struct dns_answer));

	answer->result = (enum dns_result)frame_get_range(frame, DNS_FOUND, DNS_FAILED);
	answer->security = (enum dns_security)frame_get_range(frame, DNS_INSECURE, DNS_BOGUS);
	answer->why = frame_get_copy(frame, answer);
	answer->canonical = frame_get_copy(frame, answer);
	answer->ttl_s = frame_get_range(frame, 0, UINT32_MAX);
	answer->count = (size_t)frame_get_range(frame, 0, DNS_RECORDS_MAX);
	answer->records =
		text_must(talloc_zero_array(answer, struct dns_record, (unsigned)MAX(answer->count, 1u)));
	for (size_t i = 0; i < answer->count && !frame->failed; i++)
		get_record(frame, answer, &answer->records[i]);
	if (frame->kind == FRAME_ANSWER && frame_done(frame) == 0 &&
		(answer->count > 0) == (answer->result == DNS_FOUND) &&
		(answer->security != DNS_BOGUS || answer->result == DNS_FAILED))
		return answer;
	talloc_free(answer);
	return NULL;
}

struct dns_answer *dns_ask(struct peer *resolver, const void *owner, const char *name, enum dns_type type,
	int stop_fd, int64_t deadline)
{
	struct frame *ask, *frame;

	if (resolver == NULL)
		return dns_failed(owner, "there is no resolver");
	ask = dns_ask_frame(NULL, name, type);
	int r = peer_ask(resolver, ask, ask, stop_fd, deadline, &frame);
	struct dns_answer *answer = r < 0 ? NULL : dns_answer_read(owner, frame);
	talloc_free(ask);
	if (answer != NULL)
		return answer;
	switch (r) {
	case -ETIMEDOUT:
		return dns_failed(owner, "no answer from the DNS in time");
	case ERR_STOPPED:
		return dns_failed(owner, "the gateway is stopping");
	case 0:
		return dns_failed(owner, "the resolver's answer is malformed");
	default:
		return dns_failed(owner, "the resolver is being restarted");
	}
}
