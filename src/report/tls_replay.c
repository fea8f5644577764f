#include "report/tls_replay.h"

#include <string.h>

#include <talloc.h>
#include <uthash.h>

#include "base/base.h"
#include "base/ip.h"
#include "base/text.h"
#include "config/config.h"
#include "lookup/tls_facts.h"
#include "queue/envelope.h"
#include "report/tls_record.h"

enum { DOMAINS_MAX = 100000, REASONS_MAX = 20, LEGS_MAX = 64 };

enum sent { SENT_VERIFIED, SENT_TRUSTED, SENT_ENCRYPTED, SENT_CLEAR, SENT_NOTHING, SENT_UNKNOWN, SENT_COUNT };

static const char *const words[SENT_COUNT] = { "verified", "trusted", "encrypted", "clear", "nothing",
	"unknown" };

/* Why something else would have been sent. */
struct reason {
	enum sent sent;
	const char *text;
	uint64_t count;
};

struct tally {
	uint64_t then[SENT_COUNT], now[SENT_COUNT];
	uint64_t deliveries, lost, gained, unknown;
	struct reason reasons[REASONS_MAX];
	size_t reason_count;
};

struct row {
	UT_hash_handle hh;
	struct tally tally;
	char domain[];
};

struct tls_replay {
	const struct config *then, *now;
	struct row *rows;
	struct tally all;
	uint64_t without_facts; /* attempts whose evidence does not say enough */
	uint64_t left_out;	/* deliveries of domains without a row */
};

static int replay_free(struct tls_replay *replay)
{
	HASH_CLEAR(hh, replay->rows);
	return 0;
}

struct tls_replay *tls_replay_new(const void *owner, const struct config *then, const struct config *now)
{
	struct tls_replay *replay = text_must(talloc_zero(owner, struct tls_replay));

	replay->then = then;
	replay->now = now;
	talloc_set_destructor(replay, replay_free);
	return replay;
}

static const char *word(json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value == NULL ? "" : value;
}

/* One delivery over one connection, or one that failed. */
struct leg {
	const char *domain, *dcid, *time, *host, *address, *reply;
	json_t *tls;
};

/* The new entries in place of the recorded ones. */
static struct tls_facts facts_now(
	const struct tls_replay *replay, const struct leg *leg, const struct tls_facts *then)
{
	struct tls_facts facts = *then;
	struct ip address = { 0 }, literal;
	const bool is_name = leg->host[0] != '\0' && ip_parse(text_of(leg->host), &literal) < 0;

	ip_parse(text_of(leg->address), &address);
	tls_facts_configured(replay->now, leg->domain, is_name ? leg->host : NULL, &address, &facts);
	facts.temporary_listed = then->temporary_listed && facts.retry_without_tls;
	return facts;
}

/* The recorded finding does not say what would have been found. */
static bool is_dane_unknown(const struct tls_replay *replay, const struct leg *leg,
	const struct tls_facts *then, const struct tls_facts *now)
{
	const bool other_usages = replay->then->tls.dane_pkix_usages != replay->now->tls.dane_pkix_usages;
	struct ip literal;

	if (now->dane == DANE_SETTING_NONE || now->tls_off)
		return false;
	switch (then->dane_found) {
	case DANE_NOT_LOOKED: /* of an address there is nothing to be looked up */
		return (then->dane == DANE_SETTING_NONE || then->tls_off) &&
		       ip_parse(text_of(leg->host), &literal) < 0;
	case DANE_INSECURE_MX:
		return then->dane_insecure_mx == DANE_INSECURE_MX_MAY &&
		       now->dane_insecure_mx != DANE_INSECURE_MX_MAY;
	case DANE_UNUSABLE:
	case DANE_USABLE:
	case DANE_USABLE_INSECURE_MX:
	case DANE_UNUSABLE_INSECURE_MX:
		return other_usages;
	default:
		return false;
	}
}

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Checks by authorities are worth as much then and now. */
static bool same_trust(const struct tls_replay *replay, const char *domain)
{
	const struct config_tls_settings *a = &replay->then->tls, *b = &replay->now->tls;
	const struct config_authorities *x = config_authorities_for(replay->then, text_of(domain)),
					*y = config_authorities_for(replay->now, text_of(domain));

	if (a->cn_fallback != b->cn_fallback || a->fqdn_validation != b->fqdn_validation ||
		a->x509_validation != b->x509_validation || (x == NULL) != (y == NULL))
		return false;
	return x == NULL || (x->system == y->system && same_text(x->custom, y->custom));
}

/* What the decision makes of what was seen; with why (static, or owned by `owner`). */
static enum sent replay_step(const void *owner, const struct tls_decision *decision,
	const struct tls_record *record, unsigned made, const char **ret_reason)
{
	const unsigned passed = record->passed & made;

	*ret_reason = decision->reason;
	if (decision->conflict)
		*ret_reason =
			text_must(talloc_asprintf(owner, "%s, but %s", decision->reason, decision->against));
	if (decision->conflict || decision->hold != TLS_GO)
		return SENT_NOTHING;
	if (decision->tls == TLS_NEVER)
		return SENT_CLEAR;
	if (!record->connected) {
		*ret_reason = "it is not recorded whether the server would have done TLS";
		return SENT_UNKNOWN;
	}
	/* A check that failed decides, whatever the others would have said. */
	if (record->outcome == TLS_OUTCOME_UP && !(decision->checks & made & ~passed) &&
		decision->checks & ~made) {
		*ret_reason = "the certificate was not compared in this way then";
		return SENT_UNKNOWN;
	}
	switch (tls_decide_step(decision, record->outcome, passed, ret_reason)) {
	case TLS_STEP_CLEAR:
		return SENT_CLEAR;
	case TLS_STEP_DROP:
		if (record->outcome != TLS_OUTCOME_HANDSHAKE_FAILED || !decision->may_list)
			return SENT_NOTHING;
		*ret_reason = "the TLS handshake failed, and tls.retry_without_tls is on";
		return SENT_CLEAR;
	case TLS_STEP_SEND:
		break;
	}
	const char *obtained = tls_decide_obtained(decision, passed);
	for (int sent = 0; sent < SENT_CLEAR; sent++)
		if (strcmp(words[sent], obtained) == 0)
			return (enum sent)sent;
	return SENT_ENCRYPTED;
}

static enum sent again(const void *owner, const struct tls_replay *replay, const struct leg *leg,
	const struct tls_record *record, const char **ret_reason)
{
	const struct tls_facts facts = facts_now(replay, leg, &record->facts);
	const unsigned by_authority = TLS_CHECK_HOST | TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED;
	unsigned made = record->made;

	if (is_dane_unknown(replay, leg, &record->facts, &facts)) {
		*ret_reason = "it is not recorded which TLSA records the server had";
		return SENT_UNKNOWN;
	}
	if (!same_trust(replay, leg->domain))
		made &= ~by_authority;
	const struct tls_decision decision = tls_decide(&facts);
	return replay_step(owner, &decision, record, made, ret_reason);
}

/* What was sent; SENT_UNKNOWN: this attempt says nothing of TLS. */
static enum sent sent_then(const struct leg *leg, const struct tls_record *record)
{
	const char *obtained = word(leg->tls, "obtained");

	if (leg->reply[0] != '2') {
		const bool held = strstr(leg->reply, "450 4.7.5 TLS") != NULL;

		/* It went on in clear at once, which is a delivery of its own. */
		if (record->connected && record->outcome == TLS_OUTCOME_HANDSHAKE_FAILED &&
			tls_decide(&record->facts).may_list)
			return SENT_UNKNOWN;

		return held || record->connected ? SENT_NOTHING : SENT_UNKNOWN;
	}
	if (strcmp(obtained, "none") == 0)
		return SENT_CLEAR;
	for (int sent = 0; sent < SENT_CLEAR; sent++)
		if (strcmp(words[sent], obtained) == 0)
			return (enum sent)sent;
	return SENT_UNKNOWN;
}

static void add_reason(struct tls_replay *replay, struct tally *tally, enum sent sent, const char *text)
{
	struct reason *reason = tally->reasons;

	while (reason < tally->reasons + tally->reason_count &&
		(reason->sent != sent || strcmp(reason->text, text) != 0))
		reason++;
	if (reason == tally->reasons + REASONS_MAX)
		return;
	if (reason == tally->reasons + tally->reason_count)
		tally->reasons[tally->reason_count++] =
			(struct reason){ .sent = sent, .text = text_copy(replay, text_of(text)) };
	reason->count++;
}

static void add_to(
	struct tls_replay *replay, struct tally *tally, enum sent then, enum sent now, const char *reason)
{
	tally->deliveries++;
	tally->then[then]++;
	tally->now[now]++;
	tally->unknown += now == SENT_UNKNOWN;
	tally->lost += then != SENT_NOTHING && now == SENT_NOTHING;
	tally->gained += then == SENT_NOTHING && now != SENT_NOTHING && now != SENT_UNKNOWN;
	if (then != now)
		add_reason(replay, tally, now, reason);
}

static struct row *row_of(struct tls_replay *replay, const char *domain)
{
	const size_t len = strlen(domain);
	struct row *row;

	HASH_FIND(hh, replay->rows, domain, len, row);
	if (row != NULL || HASH_COUNT(replay->rows) >= DOMAINS_MAX)
		return row;
	row = text_must(talloc_zero_size(replay, sizeof *row + len + 1));
	memcpy(row->domain, domain, len + 1);
	HASH_ADD(hh, replay->rows, domain, len, row);
	return row;
}

static void add_leg(struct tls_replay *replay, const struct leg *leg)
{
	struct tls_record record;
	const char *reason = "";

	if (!json_is_object(leg->tls))
		return; /* it never came to a server */
	if (!tls_record_read(leg->tls, &record)) {
		replay->without_facts++;
		return;
	}
	const enum sent then = sent_then(leg, &record);
	if (then == SENT_UNKNOWN)
		return;
	void *scratch = talloc_new(NULL);
	const enum sent now = again(scratch, replay, leg, &record, &reason);
	struct row *row = row_of(replay, leg->domain);

	add_to(replay, &replay->all, then, now, reason);
	if (row == NULL)
		replay->left_out++;
	else
		add_to(replay, &row->tally, then, now, reason);
	talloc_free(scratch);
}

/* Recipients of one domain that went over one connection are one delivery. */
static bool is_new(struct leg *seen, size_t *count, const struct leg *leg)
{
	for (size_t i = 0; i < MIN(*count, (size_t)LEGS_MAX); i++)
		if (strcmp(seen[i].domain, leg->domain) == 0 && strcmp(seen[i].dcid, leg->dcid) == 0 &&
			strcmp(seen[i].time, leg->time) == 0 && strcmp(seen[i].address, leg->address) == 0)
			return false;
	seen[(*count)++ % LEGS_MAX] = *leg;
	return true;
}

static void add_attempt(
	struct tls_replay *replay, json_t *attempt, const char *domain, struct leg *seen, size_t *count)
{
	struct leg leg = { .domain = domain,
		.dcid = word(attempt, "dcid"),
		.time = word(attempt, "time"),
		.host = word(attempt, "host"),
		.address = word(attempt, "address"),
		.reply = word(attempt, "reply"),
		.tls = json_object_get(attempt, "tls") };
	json_t *earlier;
	size_t i;

	if (!is_new(seen, count, &leg))
		return;
	add_leg(replay, &leg);
	json_array_foreach(json_object_get(leg.tls, "earlier"), i, earlier)
	{
		const struct leg failed = { .domain = domain,
			.host = word(earlier, "host"),
			.address = word(earlier, "address"),
			.reply = word(earlier, "reply"),
			.tls = json_object_get(earlier, "tls") };

		add_leg(replay, &failed);
	}
}

void tls_replay_add(struct tls_replay *replay, json_t *record)
{
	struct leg seen[LEGS_MAX];
	void *scratch = talloc_new(NULL);
	json_t *recipient, *attempt;
	size_t count = 0, i, n;

	if (json_is_integer(json_object_get(record, "mid")))
		json_array_foreach(json_object_get(record, "recipients"), i, recipient)
		{
			const char *domain =
				text_copy_lower(scratch, envelope_domain(word(recipient, "address")));

			json_array_foreach(json_object_get(recipient, "attempts"), n, attempt)
				add_attempt(replay, attempt, domain, seen, &count);
		}
	talloc_free(scratch);
}

static json_t *counts_json(const uint64_t *counts)
{
	json_t *json = json_object();

	for (int sent = 0; sent < SENT_COUNT; sent++)
		if (counts[sent] > 0)
			json_object_set_new(json, words[sent], json_integer((json_int_t)counts[sent]));
	return json;
}

static json_t *tally_json(const struct tally *tally)
{
	json_t *reasons = json_array();

	for (size_t i = 0; i < tally->reason_count; i++)
		json_array_append_new(reasons,
			json_pack("{s:s, s:s, s:I}", "sent", words[tally->reasons[i].sent], "reason",
				tally->reasons[i].text, "count", (json_int_t)tally->reasons[i].count));
	return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "deliveries", (json_int_t)tally->deliveries,
		"lost", (json_int_t)tally->lost, "gained", (json_int_t)tally->gained, "unknown",
		(json_int_t)tally->unknown, "then", counts_json(tally->then), "now", counts_json(tally->now),
		"reasons", reasons);
}

/* Those that lose most first, then those of which least is known. */
static int by_loss(const void *a, const void *b)
{
	const struct row *one = a, *other = b;
	const struct tally *x = &one->tally, *y = &other->tally;

	if (x->lost != y->lost)
		return x->lost < y->lost ? 1 : -1;
	if (x->unknown != y->unknown)
		return x->unknown < y->unknown ? 1 : -1;
	return x->deliveries != y->deliveries ? (x->deliveries < y->deliveries ? 1 : -1)
					      : strcmp(one->domain, other->domain);
}

json_t *tls_replay_json(struct tls_replay *replay, size_t most)
{
	json_t *json = tally_json(&replay->all), *domains = json_array();
	uint64_t left_out = replay->left_out;
	struct row *row, *next;

	HASH_SORT(replay->rows, by_loss);
	HASH_ITER (hh, replay->rows, row, next) {
		if (json_array_size(domains) == most) {
			left_out += row->tally.deliveries;
			continue;
		}
		json_t *object = tally_json(&row->tally);

		json_object_set_new(object, "domain", json_string(row->domain));
		json_array_append_new(domains, object);
	}
	json_object_set_new(json, "without_facts", json_integer((json_int_t)replay->without_facts));
	json_object_set_new(json, "domains", domains);
	json_object_set_new(json, "domains_left_out", json_integer((json_int_t)left_out));
	return json;
}
