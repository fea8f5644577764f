/*
 * The session from greeting to goodbye: one loop over one table. A verb runs only when the session has what it needs and the
 * listener's TLS rule (policy/inbound) lets it. Every failure has two texts: a reply for the client, an event for the operator.
 */
#include "session/smtp.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "policy/inbound.h"
#include "report/metrics.h"
#include "report/notes.h"
#include "session/smtp_private.h"

enum {
	DISCARD_MAX = 64 * 1024,
	LINE_MAX = 2048
}; /* RFC 5321 section 4.5.3.1: 512, and room for MAIL and RCPT parameters */

enum { GREETED = 1 << 0, MAIL = 1 << 1 };

static enum smtp_next do_noop(struct smtp *s, const struct smtp_command *command)
{
	(void)command;
	return smtp_say(s, "250 2.0.0 ok");
}

static enum smtp_next do_help(struct smtp *s, const struct smtp_command *command)
{
	(void)command;
	return smtp_say(s, "214 2.0.0 EHLO STARTTLS MAIL RCPT DATA BDAT RSET NOOP QUIT");
}

static enum smtp_next do_vrfy(struct smtp *s, const struct smtp_command *command)
{
	(void)command;
	return smtp_say(s, "252 2.5.0 send some mail, it will be tried");
}

static enum smtp_next do_expn(struct smtp *s, const struct smtp_command *command)
{
	(void)command;
	return smtp_refuse(s, "502 5.5.1 EXPN is not offered here");
}

static enum smtp_next do_quit(struct smtp *s, const struct smtp_command *command)
{
	(void)command;
	smtp_say(s, "221 2.0.0 goodbye");
	return SMTP_HANG_UP;
}

static enum smtp_next do_unknown(struct smtp *s, const struct smtp_command *command)
{
	(void)command;
	return smtp_refuse(s, "500 5.5.2 command not recognized");
}

/* The whole protocol on one screen. */
static const struct verb {
	enum inbound_command kind;
	unsigned needs;
	enum smtp_next (*run)(struct smtp *s, const struct smtp_command *command);
} verbs[] = {
	[SMTP_EHLO] = { INBOUND_HARMLESS, 0, smtp_ehlo },
	[SMTP_HELO] = { INBOUND_OTHER, 0, smtp_helo },
	[SMTP_STARTTLS] = { INBOUND_STARTTLS, 0, smtp_starttls },
	[SMTP_MAIL] = { INBOUND_OTHER, GREETED, smtp_mail },
	[SMTP_RCPT] = { INBOUND_OTHER, GREETED | MAIL, smtp_rcpt },
	[SMTP_DATA] = { INBOUND_OTHER, GREETED | MAIL, smtp_data },
	[SMTP_BDAT] = { INBOUND_OTHER, 0, smtp_bdat },
	[SMTP_EXPN] = { INBOUND_OTHER, 0, do_expn },
	[SMTP_XCLIENT] = { INBOUND_OTHER, 0, smtp_xclient },
	[SMTP_RSET] = { INBOUND_OTHER, 0, smtp_rset },
	[SMTP_NOOP] = { INBOUND_HARMLESS, 0, do_noop },
	[SMTP_QUIT] = { INBOUND_HARMLESS, 0, do_quit },
	[SMTP_VRFY] = { INBOUND_OTHER, 0, do_vrfy },
	[SMTP_HELP] = { INBOUND_OTHER, 0, do_help },
	[SMTP_UNKNOWN] = { INBOUND_OTHER, 0, do_unknown },
};

static const char *const flaw_replies[] = {
	[SMTP_BAD_SYNTAX] = "501 5.5.4 bad argument",
	[SMTP_BAD_ADDRESS] = "501 5.1.3 bad address",
	[SMTP_UNKNOWN_PARAMETER] = "555 5.5.4 unknown parameter",
	[SMTP_NEEDS_UTF8] = "553 5.6.7 SMTPUTF8 is needed for this address",
	[SMTP_BAD_UTF8] = "500 5.5.2 not UTF-8",
};

enum smtp_next smtp_say(struct smtp *s, const char *reply)
{
	if (conn_write(s->conn, text_of(reply)) < 0 || conn_write(s->conn, TEXT("\r\n")) < 0)
		return SMTP_HANG_UP;
	log_event(LOG_DEBUG, "smtp_reply", log_str("icid", s->icid), log_str("reply", reply));
	return SMTP_GO_ON;
}

enum smtp_next smtp_sayf(struct smtp *s, const char *format, ...)
{
	char reply[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reply, sizeof reply, format, arguments);
	va_end(arguments);
	return smtp_say(s, reply);
}

enum smtp_next smtp_refuse(struct smtp *s, const char *reply)
{
	if (++s->errors <= s->house->config->limits.errors)
		return smtp_say(s, reply);
	return smtp_end(s, "421 4.7.0 too many errors", "limits.errors");
}

enum smtp_next smtp_end(struct smtp *s, const char *reply, const char *reason)
{
	smtp_say(s, reply);
	metrics_count(s->house->metrics, METRIC_REJECTED_PROTOCOL);
	log_event(LOG_INFO, "session_refused", log_str("icid", s->icid), log_str("client", s->client),
		log_str("reply", reply), log_str("reason", reason));
	return SMTP_HANG_UP;
}

void smtp_remember(struct smtp *s, const char *recipient, const char *reply)
{
	const struct transaction *transaction = s->greeting == NULL ? NULL : s->greeting->transaction;
	char *tls = evidence_json(NULL, &s->conn->evidence);
	const struct store_refusal refusal = {
		.time_ms = clock_wall_ms(),
		.icid = s->icid,
		.client = s->client,
		.helo = s->greeting == NULL ? "" : s->greeting->name,
		.tls = tls,
		.sender = transaction == NULL ? "" : transaction->sender,
		.recipient = recipient,
		.reply = reply,
	};

	notes_add(s->house->notes, &refusal);
	talloc_free(tls);
}

void smtp_note(struct smtp *s, enum metric counted, const char *event, const char *recipient,
	const char *reply, const char *reason)
{
	const struct transaction *transaction = s->greeting == NULL ? NULL : s->greeting->transaction;

	metrics_count(s->house->metrics, counted);
	smtp_remember(s, recipient, reply);
	log_event(LOG_INFO, event, log_str("icid", s->icid), log_str("client", s->client),
		log_str("sender", transaction == NULL ? "" : transaction->sender),
		log_str("recipient", recipient), log_str("reply", reply), log_str("reason", reason));
}

static struct inbound_facts facts_of(const struct smtp *s, enum inbound_command kind)
{
	static const enum inbound_tls levels[] = {
		[CONFIG_TLS_NONE] = INBOUND_TLS_NONE,
		[CONFIG_TLS_PREFERRED] = INBOUND_TLS_PREFERRED,
		[CONFIG_TLS_REQUIRED] = INBOUND_TLS_REQUIRED,
	};

	return (struct inbound_facts){
		.tls = levels[s->policy->tls],
		.command = kind,
		.secured = s->conn->secured,
		.usable = s->house->tls != NULL,
		.tls_off = !s->house->config->tls.enabled,
	};
}

bool smtp_offers_starttls(const struct smtp *s)
{
	struct inbound_facts facts = facts_of(s, INBOUND_STARTTLS);

	return inbound_offers_starttls(&facts);
}

void smtp_set_deadline(struct smtp *s)
{
	conn_set_deadline(s->conn, MIN(s->ends, clock_mono_ms() + s->house->config->limits.idle_time_ms));
}

static enum smtp_next run_command(struct smtp *s, const struct smtp_command *command)
{
	const struct verb *verb = &verbs[command->verb];
	struct inbound_facts facts = facts_of(s, verb->kind);
	enum smtp_next next;

	switch (inbound_decide(&facts)) {
	case INBOUND_NEED_TLS:
		s->need_tls_refused = true;
		next = smtp_refuse(s, "530 5.7.0 Must issue a STARTTLS command first");
		return command->verb == SMTP_BDAT ? SMTP_HANG_UP : next; /* what follows BDAT is no command */
	case INBOUND_NOT_OFFERED:
		return smtp_refuse(s, "502 5.5.1 STARTTLS is not offered here");
	case INBOUND_SECOND_TLS:
		return smtp_refuse(s, "503 5.5.1 TLS is already in use");
	case INBOUND_UNAVAILABLE:
		return smtp_refuse(s, "454 4.7.0 TLS not available due to temporary reason");
	case INBOUND_GO_ON:
		break;
	}
	if ((verb->needs & GREETED) && s->greeting == NULL)
		return smtp_refuse(s, "503 5.5.1 EHLO comes first");
	if ((verb->needs & MAIL) && s->greeting->transaction == NULL)
		return smtp_refuse(s, "503 5.5.1 MAIL comes first");
	if (command->verb == SMTP_RCPT)
		s->greeting->transaction->attempted++;
	if (command->flaw == SMTP_BAD_ADDRESS && command->verb == SMTP_MAIL)
		return smtp_refuse(s, "501 5.1.7 bad sender address");
	if (command->flaw != SMTP_FINE) {
		next = smtp_refuse(s, flaw_replies[command->flaw]);
		return command->verb == SMTP_BDAT ? SMTP_HANG_UP
						  : next; /* raw data follows, nobody knows how much */
	}
	return verb->run(s, command);
}

/* The next line from the client; replies are sent first, unless more commands are here already (RFC 2920). */
static int read_command(struct smtp *s, struct text *ret_line, bool *ret_bare_lf)
{
	int r = 0;

	smtp_set_deadline(s);
	if (!conn_has_line(s->conn))
		r = conn_flush(s->conn);
	if (r < 0)
		return r;
	conn_set_stop(s->conn, s->house->drain_fd);
	r = conn_read_line(s->conn, LINE_MAX, ret_line, ret_bare_lf);
	conn_set_stop(s->conn, s->house->stop_fd);
	return r;
}

/* The client's time is over; a second is left for it to hear so. */
static void time_out(struct smtp *s)
{
	bool too_old = clock_mono_ms() >= s->ends;

	smtp_say(s, too_old ? "421 4.4.2 this session has lasted too long"
			    : "421 4.4.2 you were silent for too long");
	conn_set_deadline(s->conn, clock_mono_ms() + 1000);
	log_event(LOG_INFO, "session_timeout", log_str("icid", s->icid), log_str("client", s->client),
		log_str("reason", too_old ? "limits.session_time" : "limits.idle_time"));
}

/* Why the loop ended without QUIT, said to the client where it can still hear it. */
static void say_why(struct smtp *s, int error)
{
	smtp_set_deadline(s);
	if (error == -ETIMEDOUT)
		time_out(s);
	else if (error == ERR_STOPPED)
		smtp_say(s, "421 4.3.2 the server is shutting down");
}

/* A browser or a script that thinks this is HTTP, or mail headers instead of commands (ALPACA). */
static bool is_no_smtp(const struct smtp *s, const struct smtp_command *command, struct text line)
{
	size_t word = MIN(text_find(line, ' '), text_find(line, ':'));

	if (s->spoke || command->verb != SMTP_UNKNOWN)
		return false;
	return (word < line.len && line.at[word] == ':') || text_ends_nocase(line, TEXT(" HTTP/1.1")) ||
	       text_ends_nocase(line, TEXT(" HTTP/1.0")) || text_starts_nocase(line, TEXT("PROXY ")) ||
	       text_starts_nocase(line, TEXT("PRI * HTTP/"));
}

/* Commands that RFC 2920 section 3.1 makes the last of a group: what follows in the same packet was sent without hearing the reply. */
static bool is_group_end(enum smtp_verb verb)
{
	return verb == SMTP_EHLO || verb == SMTP_HELO || verb == SMTP_DATA || verb == SMTP_QUIT;
}

/* Commands without a mail are counted, so that a session cannot go on for ever at no cost (conformance 1.13). */
static bool idles_too_long(struct smtp *s, enum smtp_verb verb)
{
	bool works = verb == SMTP_MAIL || verb == SMTP_RCPT || verb == SMTP_DATA || verb == SMTP_BDAT ||
		     verb == SMTP_QUIT;

	return !works && ++s->idle_commands > s->house->config->limits.commands;
}

/* One line from the client. */
static enum smtp_next obey(struct smtp *s, struct text line, bool bare_lf)
{
	struct smtp_command command = smtp_command_parse(line);

	/* Some send a password whether AUTH is offered or not: it is nobody's to read (conformance 11.43). */
	bool secret = text_starts_nocase(text_trim(line), TEXT("AUTH"));
	log_event(LOG_DEBUG, "smtp_command", log_str("icid", s->icid),
		log_text("line", secret ? TEXT("AUTH ...") : line));
	if (bare_lf)
		return smtp_end(s, "521 5.5.2 bare <LF> received", "bare LF in a command");
	if (is_no_smtp(s, &command, line))
		return smtp_end(s, "421 4.7.0 this is SMTP", "not SMTP");
	if (is_group_end(command.verb) && conn_has_input(s->conn))
		return smtp_end(s, "554 5.5.0 SMTP protocol synchronization",
			"commands were sent before the reply was heard");
	if (idles_too_long(s, command.verb))
		return smtp_end(s, "421 4.7.0 too many commands without a mail", "limits.commands");
	s->spoke = true;
	return run_command(s, &command);
}

/* The rest of a line that is too long, up to a bound; 0 when its end was found. */
static int discard_line(struct smtp *s)
{
	size_t left = DISCARD_MAX;

	while (left > 0) {
		struct text bytes;
		int r = conn_peek(s->conn, &bytes);

		if (r < 0)
			return r;
		size_t end = text_find(bytes, '\n');
		conn_take(s->conn, MIN(end + 1, bytes.len));
		if (end < bytes.len)
			return 0;
		left -= MIN(left, bytes.len);
	}
	return ERR_TOO_LONG;
}

enum smtp_next smtp_welcome(struct smtp *s)
{
	static const char refusal[] = "554 5.7.1 mail from your address is not accepted here";

	if (s->policy->action != CONFIG_REJECT)
		return smtp_sayf(s, "220 %s ESMTP Postern", s->house->config->hostname);
	smtp_note(
		s, METRIC_REJECTED_POLICY, "connection_refused", NULL, refusal, "policy rejects this client");
	smtp_say(s, refusal);
	return SMTP_HANG_UP;
}

static void converse(struct smtp *s)
{
	struct text line;
	bool bare_lf;
	int r;

	if (s->policy->action != CONFIG_REJECT && conn_is_readable(s->conn)) {
		smtp_end(
			s, "554 5.5.0 SMTP protocol synchronization", "the client spoke before the greeting");
		return;
	}
	if (smtp_welcome(s) == SMTP_HANG_UP)
		return;
	for (;;) {
		r = read_command(s, &line, &bare_lf);
		if (r == ERR_TOO_LONG && smtp_refuse(s, "500 5.5.2 line too long") == SMTP_GO_ON) {
			r = discard_line(s);
			if (r == 0)
				continue;
			smtp_end(s, "421 4.7.0 line far too long", "a command line without end");
		}
		if (r < 0)
			break;
		if (obey(s, line, bare_lf) == SMTP_HANG_UP)
			return;
	}
	say_why(s, r);
}

/* The first sender group that holds the client's address names its policy; else the listener does. */
static const struct config_policy *policy_of(const struct smtp_house *house, const struct ip *client)
{
	const struct config *config = house->config;

	for (size_t i = 0; i < config->group_count; i++)
		for (size_t n = 0; n < config->groups[i].network_count; n++)
			if (ip_in_network(client, &config->groups[i].networks[n]))
				return config->groups[i].policy;
	return house->listener->policy;
}

static void log_end(struct smtp *s)
{
	if (s->need_tls_refused && s->mails == 0)
		smtp_note(s, METRIC_REJECTED_TLS, "tls_required", NULL,
			"530 5.7.0 Must issue a STARTTLS command first",
			"TLS was required but the client did not start it");
	log_event(LOG_INFO, "session_end", log_str("icid", s->icid), log_num("mails", (int64_t)s->mails),
		log_num("errors", (int64_t)s->errors));
}

void smtp_know_client(struct smtp *s)
{
	ip_format(&s->conn->peer, s->client);
	s->policy = policy_of(s->house, &s->conn->peer);
	s->conn->evidence.desired = config_tls_name(s->policy->tls);
	if (!s->conn->secured)
		evidence_explain(&s->conn->evidence, !s->house->config->tls.enabled ? "tls.enabled is off"
						     : s->policy->tls == CONFIG_TLS_NONE
							     ? "the listener does not offer TLS"
							     : "the client did not start TLS");
}

void smtp_session_run(struct conn *conn, const struct smtp_house *house, const char *icid)
{
	struct smtp s = { .conn = conn, .house = house, .icid = icid, .real_client = conn->peer };

	s.ends = clock_mono_ms() + house->config->limits.session_time_ms;
	smtp_know_client(&s);
	smtp_set_deadline(&s);
	conn_set_stop(conn, house->stop_fd);
	log_event(LOG_INFO, "session_start", log_str("icid", icid),
		log_str("listener", house->listener->name), log_str("client", s.client));

	converse(&s);
	if (conn->flooded) {
		conn_set_deadline(conn, clock_mono_ms() + 1000);
		smtp_end(&s, "421 4.7.0 too many TLS messages without data", err_text(ERR_FLOOD));
	}
	conn_flush(conn);
	conn_drain(conn);
	metrics_count_session(
		house->metrics, house->listener->name, conn->secured ? METRICS_STARTTLS : METRICS_CLEAR);
	log_end(&s);
	TALLOC_FREE(s.greeting);
}
