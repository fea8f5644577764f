#include "deliver/leg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <talloc.h>

#include "base/base.h"
#include "deliver/stop.h"
#include "lookup/dane.h"
#include "queue/envelope.h"
#include "report/tls_record.h"
#include "report/track.h"

enum { EARLIER_MAX = 8, RECORDS_MAX = 16, RECORD_TEXT_MAX = 160 };

static bool is_open(const struct outcome *outcome, size_t index)
{
	return outcome->recipients[index].reply == NULL;
}

/* The outcome is about to name another connection: what was settled over the one it names now shall keep it. */
static void keep(struct outcome *outcome)
{
	bool used = false;

	for (size_t i = 0; i < outcome->recipient_count; i++)
		used = used || (!is_open(outcome, i) && outcome->recipients[i].leg == 0);
	if (!used || outcome->leg_count == ENVELOPE_LEGS_MAX)
		return;
	if (outcome->legs == NULL)
		outcome->legs = text_must(talloc_zero_array(outcome, struct outcome_leg, ENVELOPE_LEGS_MAX));
	outcome->legs[outcome->leg_count++] = (struct outcome_leg){
		.dcid = outcome->dcid, .host = outcome->host, .address = outcome->address, .tls = outcome->tls
	};
	for (size_t i = 0; i < outcome->recipient_count; i++)
		if (!is_open(outcome, i) && outcome->recipients[i].leg == 0)
			outcome->recipients[i].leg = outcome->leg_count;
}

static void name(
	struct outcome *outcome, const char *dcid, const char *host, const char *address, const char *tls)
{
	keep(outcome);
	outcome->dcid = text_copy(outcome, text_of(dcid));
	outcome->host = text_copy(outcome, text_of(host));
	outcome->address = text_copy(outcome, text_of(address));
	outcome->tls = tls;
}

/* `failed` (NULL = nothing) is not what the outcome names. */
static void put_aside(struct legs *legs, const char *failed)
{
	if (failed == NULL || legs->count == EARLIER_MAX)
		return;
	legs->count++;
	legs->earlier =
		text_must(legs->earlier == NULL ? talloc_strdup(legs->outcome, failed)
						: talloc_asprintf_append(legs->earlier, ",%s", failed));
}

static char *text_of_json(const void *owner, json_t *json)
{
	char *dumped = text_must(json_dumps(json, JSON_COMPACT));
	char *copy = text_copy(owner, text_of(dumped));

	free(dumped);
	json_decref(json);
	return copy;
}

/* What the DNS said, in the words of zone files; long records are cut. */
static json_t *records_json(const struct dane_lookup_result *dane)
{
	json_t *records = json_array();

	for (size_t i = 0; i < MIN(dane->count, (size_t)RECORDS_MAX); i++) {
		const struct tlsa_record *record = &dane->records[i];
		char text[RECORD_TEXT_MAX];
		size_t len = (size_t)snprintf(
			text, sizeof text, "%u %u %u ", record->usage, record->selector, record->matching);

		for (size_t n = 0; n < record->data.len && len + 2 < sizeof text; n++, len += 2)
			snprintf(text + len, sizeof text - len, "%02x", (uint8_t)record->data.at[n]);
		json_array_append_new(records, json_string(text));
	}
	return records;
}

static json_t *listed_json(const struct tls_listed *listed)
{
	return listed->entry == NULL ? json_null()
				     : json_pack("{s:o, s:s}", "entry", track_string(listed->entry), "names",
					       listed->names);
}

/* Which entries of the configuration said it. */
static void add_entries(json_t *facts, const struct tls_findings *found)
{
	json_t *lists = json_object_get(facts, "lists");

	json_object_set_new(facts, "level_entry",
		found->level_entry == NULL ? json_null() : track_string(found->level_entry));
	json_object_set_new(json_object_get(facts, "dane"), "entry",
		found->dane_entry == NULL ? json_null() : track_string(found->dane_entry));
	json_object_set_new(lists, "never_by", listed_json(&found->never));
	json_object_set_new(lists, "required_by", listed_json(&found->required));
}

json_t *leg_facts(const struct stop *stop)
{
	const struct tls_findings *found = stop->found;
	const struct dane_lookup_result *dane = found->dane;
	json_t *json = tls_record_facts(&found->facts), *part = json_object_get(json, "dane");

	add_entries(json, found);
	if (dane == NULL)
		return json;
	json_object_set_new(part, "base", dane->base == NULL ? json_null() : json_string(dane->base));
	json_object_set_new(part, "records", records_json(dane));
	json_object_set_new(part, "left_out", json_integer((json_int_t)dane->left_out));
	json_object_set_new(part, "flaw", dane->flaw == NULL ? json_null() : json_string(dane->flaw));
	json_object_set_new(part, "why", dane->why[0] == '\0' ? json_null() : track_string(dane->why));
	json_object_set_new(part, "ttl", json_integer(dane->ttl_s));
	return json;
}

static json_t *evidence_of(const struct stop *stop, const struct evidence *evidence, bool judged,
	enum tls_outcome outcome, unsigned made, unsigned passed)
{
	json_t *json = evidence_object(evidence);

	json_object_set_new(json, "policy", tls_record_policy(&stop->decision));
	json_object_set_new(json, "facts", leg_facts(stop));
	json_object_set_new(
		json, "connection", judged ? tls_record_connection(outcome, made, passed) : json_null());
	return json;
}

/* What was found out about the certificate for another domain says nothing of this mail's, where nothing depends on it. */
static json_t *evidence_of_link(const struct stop *stop, const struct link *link)
{
	const bool own = strcmp(link->target.domain, stop->route->domain) == 0;
	const unsigned of_domain = TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED, known = own ? ~0u : ~of_domain;
	json_t *json = evidence_of(stop, &link->conn->evidence, link->judged, link->outcome,
		link->made & known, link->passed & known);
	json_t *checks = json_object_get(json, "checks");
	char reason[2 * EVIDENCE_REASON_MAX];

	snprintf(reason, sizeof reason, "%s%s%s", stop->decision.reason, link->why[0] == '\0' ? "" : "; ",
		link->why);
	json_object_set_new(json, "reason", track_string(reason));
	for (unsigned check = 1; checks != NULL && check <= TLS_CHECK_ALL; check <<= 1)
		if (!(check & known))
			json_object_del(checks, tls_demand_check_word((enum tls_check)check));
	if (json_object_size(checks) == 0)
		json_object_del(json, "checks");
	return json;
}

/* What was said of a link, and what it followed from. */
struct leg_told {
	const char *domain;
	uint64_t generation; /* its entries are named, too */
	struct tls_facts facts;
	struct digest dane;
	size_t left_out;
	const char *flaw;
	const char *json;
};

/* The decision follows from the facts, and the rest belongs to the link. The time that TLSA records still hold is that of the first mail. */
static bool is_told(const struct leg_told *told, const struct stop *stop)
{
	const struct dane_lookup_result *dane = stop->found->dane;

	return told != NULL && told->generation == stop->found->generation &&
	       strcmp(told->domain, stop->route->domain) == 0 &&
	       memcmp(&told->facts, &stop->found->facts, sizeof told->facts) == 0 &&
	       (dane == NULL || (told->left_out == dane->left_out && told->flaw == dane->flaw &&
					dane->why[0] == '\0' &&
					memcmp(&told->dane, &dane->digest, sizeof told->dane) == 0));
}

/* The evidence of mail that goes to `stop` over `link`: the same for one mail after the other, nearly always. */
static const char *tell(struct link *link, const struct stop *stop)
{
	const struct dane_lookup_result *dane = stop->found->dane;

	if (is_told(link->told, stop))
		return link->told->json;
	talloc_free(link->told);
	struct leg_told *told = text_must(talloc_zero(link, struct leg_told));
	told->domain = text_copy(told, text_of(stop->route->domain));
	told->generation = stop->found->generation;
	told->facts = stop->found->facts;
	if (dane != NULL) {
		told->dane = dane->digest;
		told->left_out = dane->left_out;
		told->flaw = dane->flaw;
	}
	told->json = text_of_json(told, evidence_of_link(stop, link));
	link->told = told;
	return told->json;
}

void leg_use(struct legs *legs, struct link *link, const struct stop *stop)
{
	struct outcome *outcome = legs->outcome;

	put_aside(legs, legs->last);
	legs->last = NULL;
	legs->reached = true;
	name(outcome, link->dcid, link->target.host, link->address,
		text_copy(outcome, text_of(tell(link, stop))));
}

void leg_fail(struct legs *legs, const struct stop *stop, const struct failure *failure)
{
	struct outcome *outcome = legs->outcome;
	json_t *tls = evidence_of(
		stop, &failure->evidence, failure->judged, failure->outcome, failure->made, failure->passed);
	char address[IP_TEXT_MAX];

	ip_format_port(&stop->place.address, address);
	char *entry = text_of_json(
		outcome, json_pack("{s:s, s:s, s:s, s:o, s:O}", "host", stop->place.host, "address", address,
				 "dcid", failure->dcid, "reply", track_string(failure->reply), "tls", tls));
	if (legs->reached) {
		put_aside(legs, entry);
		json_decref(tls);
		return;
	}
	put_aside(legs, legs->last);
	legs->last = entry;
	name(outcome, failure->dcid, stop->place.host, address, text_of_json(outcome, tls));
}

void leg_end(struct legs *legs)
{
	struct outcome *outcome = legs->outcome;

	if (legs->earlier == NULL || outcome->tls[0] == '\0')
		return;
	outcome->tls = text_must(talloc_asprintf(outcome, "%.*s,\"earlier\":[%s]}",
		(int)strlen(outcome->tls) - 1, outcome->tls, legs->earlier));
}
