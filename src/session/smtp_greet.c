/* EHLO, HELO, STARTTLS: who the client says it is, and how the line to it is protected (RFC 5321 4.1.1.1, RFC 3207). */
#include <stdio.h>

#include <talloc.h>

#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "report/metrics.h"
#include "report/tls_report.h"
#include "session/smtp_private.h"

/* A new greeting ends the old one and its transaction, as RSET would (RFC 5321 section 4.1.4). */
static void greet(struct smtp *s, const struct smtp_command *command, bool esmtp)
{
	TALLOC_FREE(s->greeting);
	s->greeting = text_must(talloc_zero(NULL, struct greeting));
	s->greeting->esmtp = esmtp;
	s->greeting->name = text_copy(s->greeting, command->argument);
}

enum smtp_next smtp_ehlo(struct smtp *s, const struct smtp_command *command)
{
	greet(s, command, true);
	smtp_sayf(s, "250-%s", s->house->config->hostname);
	smtp_say(s, "250-PIPELINING");
	smtp_say(s, "250-8BITMIME");
	smtp_say(s, "250-SMTPUTF8");
	smtp_say(s, "250-CHUNKING");
	smtp_say(s, "250-DSN");
	smtp_say(s, "250-ENHANCEDSTATUSCODES");
	smtp_sayf(s, "250-LIMITS RCPTMAX=%llu", (unsigned long long)s->house->config->limits.recipients);
	if (smtp_may_xclient(s))
		smtp_say(s, "250-XCLIENT NAME ADDR PORT PROTO HELO");
	if (smtp_offers_starttls(s))
		smtp_say(s, "250-STARTTLS");
	return smtp_sayf(s, "250 SIZE %llu", (unsigned long long)s->house->config->limits.message_size);
}

enum smtp_next smtp_helo(struct smtp *s, const struct smtp_command *command)
{
	greet(s, command, false);
	return smtp_sayf(s, "250 %s", s->house->config->hostname);
}

/* Only STARTTLS and nothing behind it may have arrived: bytes that came in clear must not be read as if they came in TLS. */
enum smtp_next smtp_starttls(struct smtp *s, const struct smtp_command *command)
{
	struct evidence *evidence = &s->conn->evidence;

	(void)command;
	if (conn_has_input(s->conn)) {
		metrics_count(s->house->metrics, METRIC_REJECTED_PROTOCOL);
		log_event(LOG_WARN, "starttls_injection", log_str("icid", s->icid),
			log_str("client", s->client), log_str("reason", "bytes followed STARTTLS in clear"));
		return SMTP_HANG_UP;
	}
	if (s->house->may_handshake != NULL && !s->house->may_handshake(s->house->context, &s->real_client)) {
		metrics_count(s->house->metrics, METRIC_REJECTED_LIMIT);
		log_event(LOG_WARN, "tls_refused", log_str("icid", s->icid), log_str("client", s->client),
			log_str("reason", "limits.tls_rate"));
		return smtp_refuse(s, "454 4.7.0 too many TLS handshakes from your network, try later");
	}
	smtp_say(s, "220 2.0.0 ready to start TLS");
	smtp_set_deadline(s);
	if (conn_flush(s->conn) < 0)
		return SMTP_HANG_UP;

	int r = conn_tls_accept(s->conn, s->house->tls);
	if (r < 0) {
		metrics_count(s->house->metrics, METRIC_TLS_IN_FAILED);
		log_event(LOG_WARN, "tls_failed", log_str("icid", s->icid), log_str("client", s->client),
			log_str("reason", r == ERR_TLS ? evidence->reason : err_text(r)));
		if (r != ERR_TLS)
			evidence_explain(evidence, err_text(r));
		smtp_remember(s, NULL, TLS_REPORT_HANDSHAKE);
		return SMTP_HANG_UP;
	}
	TALLOC_FREE(s->greeting);
	evidence_explain(evidence, "the client started TLS");
	metrics_count_tls(s->house->metrics, METRIC_TLS_IN, evidence->protocol, evidence->group);
	log_event(LOG_INFO, "tls_started", log_str("icid", s->icid), log_str("protocol", evidence->protocol),
		log_str("cipher", evidence->cipher), log_str("group", evidence->group));
	return SMTP_GO_ON;
}
