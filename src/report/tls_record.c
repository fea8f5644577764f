/* Words and not numbers are stored: records outlive versions. A word that is not known makes the whole record unknown. */
#include "report/tls_record.h"

#include <string.h>

#include "base/base.h"

/* Of one bit. */
static json_t *checks_json(unsigned checks)
{
	json_t *array = json_array();

	for (unsigned bit = 1; bit <= TLS_CHECK_ALL; bit <<= 1)
		if (checks & bit)
			json_array_append_new(array, json_string(tls_demand_check_word((enum tls_check)bit)));
	return array;
}

const char *tls_record_outcome_word(enum tls_outcome outcome)
{
	static const char *const words[TLS_OUTCOME_COUNT] = {
		[TLS_OUTCOME_NO_ESMTP] = "no-esmtp",
		[TLS_OUTCOME_NOT_OFFERED] = "not-offered",
		[TLS_OUTCOME_REFUSED] = "refused",
		[TLS_OUTCOME_HANDSHAKE_FAILED] = "handshake-failed",
		[TLS_OUTCOME_UP] = "up",
	};

	return words[outcome];
}

json_t *tls_record_facts(const struct tls_facts *facts)
{
	return json_pack(
		"{s:s, s:s, s:b, s:b, s:b, s:{s:b, s:b, s:b, s:b}, s:{s:s, s:s, s:s}, s:{s:s, s:b}, s:b, s:b}",
		"level", tls_demand_level_word(facts->level), "level_from",
		tls_demand_level_from_word(facts->level_from), "implicit", (int)facts->implicit,
		"credentials", (int)facts->credentials, "tls_off", (int)facts->tls_off, "lists", "never",
		(int)facts->allow_listed, "required", (int)facts->required_listed, "temporary",
		(int)facts->temporary_listed, "retry_without_tls", (int)facts->retry_without_tls, "dane",
		"setting", tls_demand_dane_word(facts->dane), "insecure_mx",
		tls_demand_insecure_mx_word(facts->dane_insecure_mx), "finding", dane_word(facts->dane_found),
		"sts", "mode", tls_demand_sts_word(facts->sts), "listed", (int)facts->sts_listed,
		"requiretls", (int)facts->requiretls, "mx_secure", (int)facts->mx_secure);
}

static json_t *demand_json(const struct tls_demand *demand)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:s, s:b, s:s?}", "source",
		tls_demand_source_word(demand->source), "want", tls_demand_want_word(demand->want), "checks",
		checks_json(demand->checks), "recorded", checks_json(demand->recorded), "hold",
		tls_demand_hold_word(demand->hold), "dropped", (int)demand->dropped, "reason",
		demand->reason);
}

json_t *tls_record_policy(const struct tls_decision *decision)
{
	json_t *demands = json_array();

	for (size_t i = 0; i < decision->count; i++)
		json_array_append_new(demands, demand_json(&decision->demands[i]));
	return json_pack("{s:s, s:s?, s:o, s:o, s:o, s:s, s:b, s:b, s:b, s:s, s:s?, s:s?, s:o}", "tls",
		tls_demand_want_word(decision->tls), "level", decision->level, "checks",
		checks_json(decision->checks), "recorded", checks_json(decision->recorded), "proofs",
		checks_json(decision->proofs), "hold", tls_demand_hold_word(decision->hold), "conflict",
		(int)decision->conflict, "bounce", (int)decision->bounce, "may_list", (int)decision->may_list,
		"decided_by", tls_demand_source_word(decision->decided_by), "reason", decision->reason,
		"against", decision->against, "demands", demands);
}

json_t *tls_record_connection(enum tls_outcome outcome, unsigned made, unsigned passed)
{
	return json_pack("{s:s, s:o, s:o}", "outcome", tls_record_outcome_word(outcome), "made",
		checks_json(made), "passed", checks_json(passed));
}

/* The functions that name the words of a fact, all as one type: the number of the fact among `count`, or -1. */
#define NUMBER_OF(object, key, word_of, type, count)                                                         \
	({                                                                                                   \
		const char *said_ = json_string_value(json_object_get(object, key));                         \
		int found_ = -1;                                                                             \
		for (int i_ = 0; said_ != NULL && i_ < (int)(count); i_++)                                   \
			if (strcmp(said_, word_of((type)i_)) == 0)                                           \
				found_ = i_;                                                                 \
		found_;                                                                                      \
	})

/* True and the value when it is there. */
static bool read_bool(json_t *object, const char *key, bool *ret)
{
	json_t *value = json_object_get(object, key);

	*ret = json_is_true(value);
	return json_is_boolean(value);
}

static bool read_checks(json_t *array, unsigned *ret)
{
	json_t *word;
	size_t i;

	*ret = 0;
	json_array_foreach(array, i, word)
	{
		unsigned bit = 1;

		while (bit <= TLS_CHECK_ALL &&
			(json_string_value(word) == NULL ||
				strcmp(json_string_value(word), tls_demand_check_word((enum tls_check)bit)) !=
					0))
			bit <<= 1;
		if (bit > TLS_CHECK_ALL)
			return false;
		*ret |= bit;
	}
	return json_is_array(array);
}

static bool read_words(json_t *json, struct tls_facts *facts)
{
	json_t *dane = json_object_get(json, "dane"), *sts = json_object_get(json, "sts");
	const int level = NUMBER_OF(json, "level", tls_demand_level_word, enum tls_level, TLS_LEVEL_COUNT),
		  from = NUMBER_OF(json, "level_from", tls_demand_level_from_word, enum tls_level_from,
			  TLS_FROM_COUNT),
		  setting = NUMBER_OF(
			  dane, "setting", tls_demand_dane_word, enum dane_setting, DANE_SETTING_COUNT),
		  insecure_mx = NUMBER_OF(dane, "insecure_mx", tls_demand_insecure_mx_word,
			  enum dane_insecure_mx, DANE_INSECURE_MX_COUNT),
		  finding = NUMBER_OF(dane, "finding", dane_word, enum dane_finding, DANE_FINDING_COUNT),
		  mode = NUMBER_OF(sts, "mode", tls_demand_sts_word, enum sts_mode, STS_MODE_COUNT);

	if (level < 0 || from < 0 || setting < 0 || insecure_mx < 0 || finding < 0 || mode < 0)
		return false;
	facts->level = (enum tls_level)level;
	facts->level_from = (enum tls_level_from)from;
	facts->dane = (enum dane_setting)setting;
	facts->dane_insecure_mx = (enum dane_insecure_mx)insecure_mx;
	facts->dane_found = (enum dane_finding)finding;
	facts->sts = (enum sts_mode)mode;
	return true;
}

static bool read_facts(json_t *json, struct tls_facts *facts)
{
	json_t *lists = json_object_get(json, "lists"), *sts = json_object_get(json, "sts");
	const struct {
		json_t *object;
		const char *key;
		bool *value;
	} bools[] = {
		{ json, "implicit", &facts->implicit },
		{ json, "credentials", &facts->credentials },
		{ lists, "never", &facts->allow_listed },
		{ lists, "required", &facts->required_listed },
		{ lists, "temporary", &facts->temporary_listed },
		{ lists, "retry_without_tls", &facts->retry_without_tls },
		{ sts, "listed", &facts->sts_listed },
		{ json, "requiretls", &facts->requiretls },
		{ json, "mx_secure", &facts->mx_secure },
	};

	for (size_t i = 0; i < COUNT(bools); i++)
		if (!read_bool(bools[i].object, bools[i].key, bools[i].value))
			return false;
	/* records from before there was that switch do not have it */
	if (!read_bool(json, "tls_off", &facts->tls_off) && json_object_get(json, "tls_off") != NULL)
		return false;
	return read_words(json, facts);
}

static bool read_connection(json_t *json, struct tls_record *record)
{
	const int outcome =
		NUMBER_OF(json, "outcome", tls_record_outcome_word, enum tls_outcome, TLS_OUTCOME_COUNT);

	if (json == NULL || json_is_null(json))
		return true;
	if (outcome < 0 || !read_checks(json_object_get(json, "made"), &record->made) ||
		!read_checks(json_object_get(json, "passed"), &record->passed))
		return false;
	record->connected = true;
	record->outcome = (enum tls_outcome)outcome;
	/* Nothing holds that was not looked at, and without TLS there is nothing to look at. */
	return (record->passed & ~record->made) == 0 &&
	       (record->outcome == TLS_OUTCOME_UP || record->made == 0);
}

bool tls_record_read(json_t *evidence, struct tls_record *ret_record)
{
	struct tls_record record = { .connected = false };

	if (!read_facts(json_object_get(evidence, "facts"), &record.facts) ||
		!read_connection(json_object_get(evidence, "connection"), &record))
		return false;
	*ret_record = record;
	return true;
}
