/*
 * What a resolver hands over is still somebody else's bytes: every length is compared with what is left, a compression pointer must lead
 * further back than any before it, and a malformed record is left out without touching its neighbours (RFC 1035 section 4.1).
 *
 * Names are compared in wire form, in lower case. As text they hold what host names and the names of RFC 2317, 6698 and 8461 hold; a record
 * whose name holds anything else is malformed for us.
 */
#include "wire/dns_message.h"

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"

enum {
	HEADER = 12,
	WIRE_MAX = 255,
	LABEL_MAX = 63,
	POINTER = 0xc0,
	CNAMES_MAX = 32,
	JUMPS_MAX = 128,
	CLASS_IN = 1,
	SOA = 6
};

struct packet {
	const uint8_t *at;
	size_t len;
};

struct name {
	uint8_t wire[WIRE_MAX];
	size_t len;
};

struct rr {
	struct name owner;
	unsigned type, class;
	uint32_t ttl;
	size_t data, len; /* of the RDATA in the packet */
};

static unsigned get16(const struct packet *packet, size_t at)
{
	return (unsigned)packet->at[at] << 8 | packet->at[at + 1];
}

static uint32_t get32(const struct packet *packet, size_t at)
{
	return (uint32_t)get16(packet, at) << 16 | get16(packet, at + 2);
}

static uint8_t lower(uint8_t c)
{
	return (uint8_t)text_lower((char)c);
}

/* The name at `at`, which ends before `end` as far as it is not compressed; the position behind it, or ERR_FORMAT. */
static ssize_t get_name(const struct packet *packet, size_t at, size_t end, struct name *name)
{
	size_t behind = 0, first = at, jumps = 0;

	name->len = 0;
	for (;;) {
		if (at >= end)
			return ERR_FORMAT;
		size_t len = packet->at[at];

		if ((len & POINTER) == POINTER) {
			if (end - at < 2)
				return ERR_FORMAT;
			size_t target = get16(packet, at) & 0x3fff;
			if (target >= first || ++jumps > JUMPS_MAX)
				return ERR_FORMAT;
			behind = behind == 0 ? at + 2 : behind;
			at = first = target;
			end = packet->len;
			continue;
		}
		if (len > LABEL_MAX || end - at < len + 1 || name->len + len + 1 > WIRE_MAX)
			return ERR_FORMAT;
		for (size_t i = 0; i <= len; i++)
			name->wire[name->len++] = i == 0 ? (uint8_t)len : lower(packet->at[at + i]);
		at += len + 1;
		if (len == 0)
			return (ssize_t)(behind == 0 ? at : behind);
	}
}

static bool same(const struct name *a, const struct name *b)
{
	return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

static bool is_name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '/';
}

char *dns_message_name(const void *owner, struct text name)
{
	size_t label = 0;

	if (name.len > 0 && name.at[name.len - 1] == '.')
		name.len--;
	if (name.len > DNS_NAME_MAX || (name.len > 0 && name.at[name.len - 1] == '.'))
		return NULL;
	for (size_t i = 0; i < name.len; i++) {
		bool dot = name.at[i] == '.';

		if ((dot && label == 0) || (!dot && !is_name_byte(text_lower(name.at[i]))) ||
			(label = dot ? 0 : label + 1) > LABEL_MAX)
			return NULL;
	}
	return text_copy_lower(owner, name);
}

/* NULL when it holds what no name of ours may hold. */
static char *name_text(const void *owner, const struct name *name)
{
	char text[WIRE_MAX];
	size_t len = 0;

	for (size_t at = 0; name->wire[at] != 0; at += name->wire[at] + 1u) {
		if (len > 0)
			text[len++] = '.';
		for (size_t i = 1; i <= name->wire[at]; i++) {
			if (!is_name_byte((char)name->wire[at + i]))
				return NULL;
			text[len++] = (char)name->wire[at + i];
		}
	}
	return text_copy(owner, (struct text){ text, len });
}

/* The record at `at`; the position behind it, or ERR_FORMAT. */
static ssize_t get_rr(const struct packet *packet, size_t at, struct rr *rr)
{
	ssize_t r = get_name(packet, at, packet->len, &rr->owner);

	if (r < 0)
		return r;
	at = (size_t)r;
	if (packet->len - at < 10)
		return ERR_FORMAT;
	rr->type = get16(packet, at);
	rr->class = get16(packet, at + 2);
	rr->ttl = get32(packet, at + 4);
	rr->len = get16(packet, at + 8);
	rr->data = at + 10;
	if (packet->len - rr->data < rr->len)
		return ERR_FORMAT;
	return (ssize_t)(rr->data + rr->len);
}

/* A name that fills the rest of the RDATA from `skip` on; NULL when it does not. */
static char *get_data_name(const void *owner, const struct packet *packet, const struct rr *rr, size_t skip)
{
	struct name name;
	size_t end = rr->data + rr->len;

	if (rr->len < skip + 1 || get_name(packet, rr->data + skip, end, &name) != (ssize_t)end)
		return NULL;
	return name_text(owner, &name);
}

static bool get_strings(const void *owner, const struct packet *packet, const struct rr *rr, struct text *ret)
{
	char *joined = text_must(talloc_size(owner, MAX(rr->len, (size_t)1)));
	size_t len = 0, at = rr->data, end = rr->data + rr->len;

	while (at < end && packet->at[at] < end - at) {
		memcpy(joined + len, packet->at + at + 1, packet->at[at]);
		len += packet->at[at];
		at += packet->at[at] + 1u;
	}
	*ret = (struct text){ joined, len };
	return rr->len > 0 && at == end;
}

static bool get_address(const struct packet *packet, const struct rr *rr, sa_family_t family, struct ip *ret)
{
	size_t len = family == AF_INET ? 4 : 16;

	if (rr->len != len)
		return false;
	*ret = (struct ip){ .family = family };
	memcpy(ret->bytes, packet->at + rr->data, len);
	return true;
}

/* False when the RDATA is malformed. */
static bool get_record(
	const void *owner, const struct packet *packet, const struct rr *rr, struct dns_record *record)
{
	*record = (struct dns_record){ .name = "", .data = TEXT("") };
	switch ((enum dns_type)rr->type) {
	case DNS_A:
		return get_address(packet, rr, AF_INET, &record->address);
	case DNS_AAAA:
		return get_address(packet, rr, AF_INET6, &record->address);
	case DNS_MX:
		record->preference = rr->len < 2 ? 0 : (uint16_t)get16(packet, rr->data);
		record->name = get_data_name(owner, packet, rr, 2);
		return record->name != NULL;
	case DNS_CNAME:
	case DNS_PTR:
		record->name = get_data_name(owner, packet, rr, 0);
		return record->name != NULL;
	case DNS_TXT:
		return get_strings(owner, packet, rr, &record->data);
	case DNS_TLSA: /* a malformed one counts, as unusable (RFC 7672 section 2.1.1): the asker judges */
		record->data = (struct text){
			text_copy(owner, (struct text){ (const char *)packet->at + rr->data, rr->len }),
			rr->len
		};
		return true;
	}
	return false;
}

/* A TTL with the highest bit set is 0 (RFC 2181 section 8). */
static void shorten(int64_t *ttl_s, uint32_t ttl)
{
	*ttl_s = MIN(*ttl_s, ttl > INT32_MAX ? 0 : (int64_t)ttl);
}

/* Replace `name` by the end of its CNAMEs among the `count` records at `at`; ERR_FORMAT when they go in circles. */
static int follow(const struct packet *packet, size_t at, unsigned count, struct name *name, int64_t *ttl_s)
{
	for (unsigned links = 0; links <= CNAMES_MAX; links++) {
		bool found = false;
		size_t next = at;
		struct rr rr;

		for (unsigned i = 0; i < count && !found; i++) {
			ssize_t r = get_rr(packet, next, &rr);
			if (r < 0)
				return ERR_FORMAT;
			next = (size_t)r;
			found = rr.type == DNS_CNAME && rr.class == CLASS_IN && same(&rr.owner, name);
		}
		if (!found)
			return 0;
		shorten(ttl_s, rr.ttl);
		if (get_name(packet, rr.data, rr.data + rr.len, name) != (ssize_t)(rr.data + rr.len))
			return ERR_FORMAT;
	}
	return ERR_FORMAT;
}

/* How long an answer without records holds: the SOA's TTL or its MINIMUM (RFC 2308 section 5). */
static void negative_ttl(const struct packet *packet, size_t at, unsigned count, int64_t *ttl_s)
{
	struct rr rr;

	for (unsigned i = 0; i < count; i++) {
		ssize_t r = get_rr(packet, at, &rr);
		if (r < 0)
			return;
		at = (size_t)r;
		if (rr.type == SOA && rr.len >= 22) {
			shorten(ttl_s, rr.ttl);
			shorten(ttl_s, get32(packet, rr.data + rr.len - 4));
		}
	}
}

/* The position behind the records of `name` and `type`, which go into the message; ERR_FORMAT when one cannot even be skipped. */
static ssize_t take_records(const struct packet *packet, size_t at, unsigned count, enum dns_type type,
	const struct name *name, struct dns_message *message)
{
	struct rr rr;

	message->records = text_must(
		talloc_array(message, struct dns_record, MAX(MIN(count, (unsigned)DNS_RECORDS_MAX), 1u)));
	for (unsigned i = 0; i < count; i++) {
		ssize_t r = get_rr(packet, at, &rr);
		if (r < 0)
			return r;
		at = (size_t)r;
		if (rr.type != (unsigned)type || rr.class != CLASS_IN || !same(&rr.owner, name))
			continue;
		if (message->count < DNS_RECORDS_MAX &&
			get_record(message, packet, &rr, &message->records[message->count]))
			message->count++;
		else
			message->left_out++;
		shorten(&message->ttl_s, rr.ttl);
	}
	return (ssize_t)at;
}

static int parse(const struct packet *packet, enum dns_type type, struct dns_message *message)
{
	struct name name;

	if (packet->len < HEADER || get16(packet, 4) != 1)
		return ERR_FORMAT;
	unsigned answers = get16(packet, 6), authorities = get16(packet, 8);
	ssize_t at = get_name(packet, HEADER, packet->len, &name);
	if (at < 0 || packet->len - (size_t)at < 4)
		return ERR_FORMAT;
	at += 4;

	message->code = packet->at[3] & 0x0f;
	message->ttl_s = INT64_MAX;
	if (type != DNS_CNAME && follow(packet, (size_t)at, answers, &name, &message->ttl_s) < 0)
		return ERR_FORMAT;
	message->canonical = name_text(message, &name);
	if (message->canonical == NULL)
		return ERR_FORMAT;
	at = take_records(packet, (size_t)at, answers, type, &name, message);
	if (at < 0)
		return ERR_FORMAT;
	if (message->count == 0)
		negative_ttl(packet, (size_t)at, authorities, &message->ttl_s);
	if (message->ttl_s == INT64_MAX)
		message->ttl_s = 0;
	return 0;
}

int dns_message_parse(
	const void *owner, struct text packet, enum dns_type type, struct dns_message **ret_message)
{
	struct dns_message *message = text_must(talloc_zero(owner, struct dns_message));
	int r = parse(&(struct packet){ (const uint8_t *)packet.at, packet.len }, type, message);

	if (r < 0)
		talloc_free(message);
	else
		*ret_message = message;
	return r;
}
