#pragma once
/* What role `deliver` says would become of mail, asked and printed; for `explain`, `tls verify` and `dane verify`. */

#include <jansson.h>

#include "deliver/explain.h"

struct frame;

/* Ask the running gateway of configuration `file` about a domain or a whole address, as an operator writes it; `next_hop` NULL = that of the configuration.
 * CLI_FINE and the answer, the caller's; or another exit status after saying why there is none. */
int cli_explain_ask(const char *file, enum explain_mode mode, const char *domain, const char *next_hop,
	json_t **ret_answer);

/* The same of any ask that role `deliver` answers with a text of JSON, within `within_ms`. */
int cli_explain_ask_deliver(const char *file, const struct frame *ask, int64_t within_ms, const void *scratch,
	json_t **ret_answer);

/* The exit status that an answer amounts to. */
int cli_explain_status(json_t *answer);

/* A member that is a text; "-" when it is none. */
const char *cli_explain_word(json_t *object, const char *key);

/* The pieces of the answer for a person, each of some lines: where the mail goes; what came of dialling one of `servers`; its certificates. */
void cli_explain_print_way(json_t *answer);
void cli_explain_print_live(json_t *server);
void cli_explain_print_dane(json_t *server);
void cli_explain_print_chain(json_t *server);

/* What DNSSEC says of a name that does not exist, for a person. */
const char *cli_explain_proof(const char *security);

/* Of `facts`: the entries of the configuration that said what is demanded, each line two columns behind `prefix`; nothing of facts that do not name them. */
void cli_explain_print_entries(json_t *facts, const char *prefix);

/* What would be sent, for a person: `in clear`. */
const char *cli_explain_sent(const char *sent);

/* `mx.example.org, 192.0.2.1:25`, without the end of the line. */
void cli_explain_print_place(json_t *server);
