/* TLS evidence is made into JSON once, by the process that saw the handshake; everybody else carries and stores the text. */
#include "net/evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/text.h"

/* Peer bytes may be no UTF-8: jansson would refuse them, so anything but printable ASCII becomes '?'. */
static json_t *word(const char *text)
{
	char clean[2 * EVIDENCE_REASON_MAX];
	size_t len = 0;

	if (text == NULL || text[0] == '\0')
		return json_null();
	for (; text[len] != '\0' && len < sizeof clean - 1; len++)
		clean[len] = text[len] >= ' ' && text[len] < 0x7f ? text[len] : '?';
	return json_stringn(clean, len);
}

static json_t *peer_json(const struct evidence *evidence)
{
	json_t *names = json_array();

	if (evidence->peer_sha256[0] == '\0') {
		json_decref(names);
		return json_null();
	}
	for (size_t i = 0; i < evidence->name_count; i++)
		json_array_append_new(names, word(evidence->names[i]));
	return json_pack("{s:o, s:o}", "sha256", word(evidence->peer_sha256), "names", names);
}

/* `a b` as ["a", "b"] */
static json_t *list(const char *words)
{
	json_t *array = json_array();

	while (*words != '\0') {
		size_t len = strcspn(words, " ");

		json_array_append_new(array, json_stringn(words, len));
		words += len + (words[len] == ' ');
	}
	return array;
}

static json_t *verification_json(const struct evidence_verification *verification)
{
	if (verification->result[0] == '\0')
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "check", word(verification->check), "result",
		word(verification->result), "reason", word(verification->reason), "matched",
		word(verification->matched), "authority", word(verification->authority), "checked",
		list(verification->checked), "unchecked", list(verification->unchecked));
}

static json_t *checks_json(const struct evidence *evidence)
{
	json_t *json = json_object();

	for (size_t i = 0; i < evidence->check_count; i++) {
		const struct evidence_check *check = &evidence->checks[i];

		json_object_set_new(json, check->check,
			json_pack("{s:o, s:o, s:o}", "result", word(check->result), "reason",
				word(check->reason), "matched", word(check->matched)));
	}
	return json;
}

json_t *evidence_object(const struct evidence *evidence)
{
	json_t *json = json_pack("{s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}", "desired",
		word(evidence->desired), "obtained", word(evidence->obtained), "protocol",
		word(evidence->protocol), "cipher", word(evidence->cipher), "group", word(evidence->group),
		"resumed", evidence->resumed, "peer", peer_json(evidence), "verification",
		verification_json(&evidence->verification), "reason", word(evidence->reason));

	if (evidence->check_count > 0)
		json_object_set_new(json, "checks", checks_json(evidence));
	return json;
}

char *evidence_json(const void *owner, const struct evidence *evidence)
{
	json_t *json = evidence_object(evidence);
	char *dumped = text_must(json_dumps(json, JSON_COMPACT));
	char *copy = text_copy(owner, text_of(dumped));

	free(dumped);
	json_decref(json);
	return copy;
}

void evidence_explain(struct evidence *evidence, const char *reason)
{
	snprintf(evidence->reason, sizeof evidence->reason, "%s", reason);
}
