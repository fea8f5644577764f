#pragma once
/*
 * The state of one SMTP session, by phase: a transaction lives inside a greeting, a greeting inside the session. Freeing the outer one
 * frees the inner one, so "MAIL without EHLO" or "RCPT from before STARTTLS" cannot be expressed.
 */

#include "base/base.h"
#include "queue/envelope.h"
#include "report/metrics.h"
#include "session/smtp.h"
#include "wire/smtp_command.h"

struct config_policy;
struct intake;

/* After MAIL. */
struct transaction {
	const char *sender;
	bool eight_bit, utf8;
	enum smtp_ret ret;
	const char *envid;
	const char **recipients;
	unsigned *notify; /* of each recipient */
	const char **orcpt;
	size_t recipient_count;
	struct intake *intake; /* content that came by BDAT so far; NULL = none */
	size_t attempted;      /* RCPT commands, refused ones included */
	int64_t dns_left_ms;   /* that its addresses may still wait for the DNS */
};

/* After EHLO or HELO. */
struct greeting {
	bool esmtp;
	const char *name; /* as the client said it */
	struct transaction *transaction;
};

struct smtp {
	struct conn *conn;
	const struct smtp_house *house;
	const struct config_policy *policy; /* of this client on this listener */
	const char *icid;
	char client[IP_TEXT_MAX];
	struct ip real_client; /* who is connected, whatever XCLIENT says */
	int64_t ends;	       /* monotonic: the session's own deadline */
	uint64_t errors;
	uint64_t refused_addresses; /* for good, since the last mail */
	uint64_t idle_commands;	    /* since the last mail */
	bool spoke;		    /* a command has been read */
	uint64_t mails;		    /* accepted in this session */
	bool need_tls_refused;	    /* a command was answered 530: log B33 if nothing is accepted */
	struct greeting *greeting;
};

enum smtp_next { SMTP_GO_ON, SMTP_HANG_UP };

/* Answer with one line; flushed when the client waits for it. */
enum smtp_next smtp_say(struct smtp *s, const char *reply);
enum smtp_next smtp_sayf(struct smtp *s, const char *format, ...) PRINTF(2, 3);

/* As smtp_say(), and it counts as an error; one more than limits.errors is the end. */
enum smtp_next smtp_refuse(struct smtp *s, const char *reply);

/* The last word to a client that does not behave: counted and logged. */
enum smtp_next smtp_end(struct smtp *s, const char *reply, const char *reason);

/* The greeting, or what a client hears whose policy rejects it. */
enum smtp_next smtp_welcome(struct smtp *s);

/* A refused connection, mail or recipient: its counter, log and tracking. `recipient` may be NULL. */
void smtp_note(struct smtp *s, enum metric counted, const char *event, const char *recipient,
	const char *reply, const char *reason);

/* The tracking alone. */
void smtp_remember(struct smtp *s, const char *recipient, const char *reply);

/* Start taking content: our Received field is in it. Owned by the transaction. */
struct intake *smtp_intake(struct smtp *s);

/* The end of the content: the promise, or why not; the transaction is over. */
enum smtp_next smtp_finish(struct smtp *s, struct intake *intake);

/* True when the connected client may use XCLIENT. */
bool smtp_may_xclient(const struct smtp *s);

/* The client's address is known, or another one now: its text and its policy. */
void smtp_know_client(struct smtp *s);

/* True when EHLO lists STARTTLS. */
bool smtp_offers_starttls(const struct smtp *s);

/* Waits end after the idle time or the session time, whichever is first. */
void smtp_set_deadline(struct smtp *s);

/* One function for each verb. */
enum smtp_next smtp_ehlo(struct smtp *s, const struct smtp_command *command);
enum smtp_next smtp_helo(struct smtp *s, const struct smtp_command *command);
enum smtp_next smtp_starttls(struct smtp *s, const struct smtp_command *command);
enum smtp_next smtp_mail(struct smtp *s, const struct smtp_command *command);
enum smtp_next smtp_rcpt(struct smtp *s, const struct smtp_command *command);
enum smtp_next smtp_data(struct smtp *s, const struct smtp_command *command);
enum smtp_next smtp_bdat(struct smtp *s, const struct smtp_command *command);
enum smtp_next smtp_xclient(struct smtp *s, const struct smtp_command *command);
enum smtp_next smtp_rset(struct smtp *s, const struct smtp_command *command);
