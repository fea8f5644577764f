/*
 * Opening a connection to the next hop. Reads top to bottom: dial, greeting, EHLO, TLS (link_protect.c), EHLO again.
 */
#include "deliver/link_private.h"

#include <stdarg.h>
#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "deliver/account.h"
#include "deliver/auth.h"
#include "deliver/deliver.h"

enum { LINE_MAX = 2048, QUIT_MS = 1000 };

static int vput(struct link *link, const char *format, va_list arguments)
{
	char *line = text_must(talloc_vasprintf(NULL, format, arguments));
	int r = strpbrk(line, "\r\n") == NULL ? conn_write(link->conn, text_of(line)) : ERR_FORMAT;

	if (r == 0)
		r = conn_write(link->conn, TEXT("\r\n"));
	if (r < 0)
		link->broken = true;
	talloc_free(line);
	return r;
}

int link_put(struct link *link, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int r = vput(link, format, arguments);
	va_end(arguments);
	return r;
}

int link_expect_silence(struct link *link)
{
	if (!conn_has_input(link->conn))
		return 0;
	link->broken = true;
	return ERR_FORMAT;
}

const char *link_status(int error)
{
	return error == ERR_FORMAT || error == ERR_TOO_LONG ? "4.5.0" : "4.4.2";
}

int64_t link_deadline(const struct link *link, int64_t ms)
{
	int64_t deadline = clock_mono_ms() + ms;

	return link->until == 0 ? deadline : MIN(deadline, link->until);
}

int link_reply(struct link *link, int64_t ms, struct smtp_reply *ret_reply)
{
	struct smtp_reply reply = { 0 };
	struct text line;
	bool bare_lf;
	int r;

	conn_set_deadline(link->conn, link_deadline(link, ms));
	r = conn_flush(link->conn);
	while (r == 0 && !reply.complete) {
		r = conn_read_line(link->conn, LINE_MAX, &line, &bare_lf);
		if (r == 0)
			r = smtp_reply_line(&reply, line);
	}
	if (r < 0)
		link->broken = true;
	else
		*ret_reply = reply;
	return r;
}

int link_ask(struct link *link, int64_t ms, struct smtp_reply *ret_reply, const char *format, ...)
{
	va_list arguments;
	int r = link_expect_silence(link);

	va_start(arguments, format);
	if (r == 0)
		r = vput(link, format, arguments);
	va_end(arguments);
	return r == 0 ? link_reply(link, ms, ret_reply) : r;
}

void link_close(struct link *link)
{
	struct conn *conn;

	if (link == NULL)
		return;
	conn = link->conn;
	if (conn != NULL && !link->broken && link_put(link, "QUIT") == 0) {
		conn_set_deadline(conn, clock_mono_ms() + QUIT_MS);
		conn_flush(conn);
	}
	log_event(LOG_INFO, "delivery_closed", log_str("dcid", link->dcid), log_num("mails", link->mails));
	conn_free(conn);
	talloc_free(link);
}

static bool same_address(const struct ip *a, const struct ip *b)
{
	return a->family == b->family && a->port == b->port &&
	       memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static struct digest account_id(const struct account *account)
{
	return account == NULL ? (struct digest){ 0 } : account->id;
}

static bool same_name(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* What was found out about the certificate was found out for a domain, where its name counts. */
static bool same_demand(const struct link_target *one, const struct link_target *two)
{
	const struct tls_decision *a = &one->decision, *b = &two->decision;
	const bool named = (a->checks | a->proofs) & (TLS_CHECK_DOMAIN | TLS_CHECK_HOSTED);

	return a->tls == b->tls && a->checks == b->checks && a->recorded == b->recorded &&
	       a->proofs == b->proofs && (!named || strcmp(one->domain, two->domain) == 0) &&
	       memcmp(one->dane_id.bytes, two->dane_id.bytes, sizeof one->dane_id.bytes) == 0;
}

bool link_fits(const struct link *link, const struct link_target *target)
{
	const struct link_target *own = &link->target;
	const struct digest id = account_id(target->account);

	return own->generation == target->generation && strcmp(own->destination, target->destination) == 0 &&
	       strcmp(own->host, target->host) == 0 && own->literal == target->literal &&
	       same_address(&own->address, &target->address) && same_address(&own->source, &target->source) &&
	       strcmp(own->helo, target->helo) == 0 && own->implicit_tls == target->implicit_tls &&
	       same_demand(own, target) && same_name(own->sni, target->sni) &&
	       own->profile == target->profile && own->certificate == target->certificate &&
	       own->authorities == target->authorities &&
	       memcmp(link->account_id.bytes, id.bytes, sizeof id.bytes) == 0;
}

void link_fail(struct failure *failure, const struct link *link, const char *status, const char *what,
	const char *detail)
{
	snprintf(failure->reply, sizeof failure->reply, "%s %s%s%s", status, what,
		detail[0] == '\0' ? "" : ": ", detail);
	failure->connected = link->conn != NULL;
	failure->judged = link->judged;
	failure->outcome = link->outcome;
	failure->made = link->made;
	failure->passed = link->passed;
	if (failure->connected)
		failure->evidence = link->conn->evidence;
}

/* The peer went away, stayed silent or talked nonsense. */
static void lost(struct failure *failure, const struct link *link, const char *what, int error)
{
	char status[16];

	snprintf(status, sizeof status, "450 %s", link_status(error));
	link_fail(failure, link, status, what, err_text(error));
}

/* 220, or why not. A refusal at the door concerns the destination, not the mail: it is tried again. */
static int greeting(struct link *link, struct failure *failure)
{
	struct smtp_reply reply;
	int r = link_reply(link, link->timeouts.greeting_ms, &reply);

	if (r < 0) {
		lost(failure, link, "no greeting from the peer", r);
		return r;
	}
	if (smtp_reply_class(&reply) == 2)
		return 0;
	link_fail(failure, link, "450 4.3.2", "the peer refused the connection", reply.text);
	return -ECONNREFUSED;
}

/* Codes that say "I do not know EHLO" (RFC 5321 section 4.2.1: x0z is syntax); any other 5xx refuses us. */
static bool knows_no_ehlo(const struct smtp_reply *reply)
{
	return reply->code >= 500 && reply->code <= 504;
}

/* EHLO, or HELO where that is allowed: without EHLO there is no STARTTLS, so not where TLS is a must (ret_esmtp false, and nothing was
 * said). What an earlier EHLO offered is forgotten. 0 or a negative error with the failure. */
static int say_hello(struct link *link, bool may_helo, bool *ret_esmtp, struct failure *failure)
{
	const char *name = link->target.helo;
	struct smtp_reply reply;

	*ret_esmtp = false;
	link->offers = (struct smtp_reply){ 0 };
	int r = link_ask(link, link->timeouts.hello_ms, &reply, "EHLO %s", name);
	if (r == 0 && smtp_reply_class(&reply) == 2) {
		link->offers = reply;
		*ret_esmtp = true;
		return 0;
	}
	if (r == 0 && knows_no_ehlo(&reply)) {
		if (!may_helo)
			return 0;
		r = link_ask(link, link->timeouts.hello_ms, &reply, "HELO %s", name);
	}
	if (r < 0) {
		lost(failure, link, "the connection was lost at EHLO", r);
		return r;
	}
	if (smtp_reply_class(&reply) == 2)
		return 0;
	link_fail(failure, link, "450 4.3.2", "the peer refused EHLO", reply.text);
	return -ECONNREFUSED;
}

/* Log in where the route has an account. Refused credentials concern the next hop, and no other server of it shall hear them now: servers count
 * failures. */
static int log_in(struct link *link, struct failure *failure)
{
	const struct link_target *target = &link->target;
	char why[SMTP_REPLY_TEXT_MAX + 64];
	bool refused;

	if (target->account == NULL)
		return 0;
	int r = auth_log_in(link, target->account, why, sizeof why, &refused);
	if (r == 0) {
		link->account_id = target->account->id;
		return 0;
	}
	link_fail(failure, link, "450", why, "");
	failure->final = refused;
	log_event(LOG_ERROR, "auth_failed", log_str("dcid", link->dcid),
		log_str("destination", target->destination), log_str("host", target->host),
		log_str("address", link->address), log_str("username", target->account->username),
		log_str("reason", why));
	return r;
}

static struct link *link_new(
	const struct deliver_house *house, const struct link_target *target, int64_t until)
{
	struct link *link = text_must(talloc_zero(NULL, struct link));

	link->target = *target;
	link->target.destination = text_copy(link, text_of(target->destination));
	link->target.domain = text_copy(link, text_of(target->domain));
	link->target.host = text_copy(link, text_of(target->host));
	link->target.sni = target->sni == NULL ? NULL : text_copy(link, text_of(target->sni));
	link->target.helo = text_copy(link, text_of(target->helo));
	link->dcid = deliver_next_dcid(house, link);
	link->timeouts = house->config->delivery.timeouts;
	link->opened = clock_mono_ms();
	link->until = until;
	ip_format_port(&target->address, link->address);
	return link;
}

/* Up to what the peer offers. */
static int introduce(const struct deliver_house *house, struct link *link, struct failure *failure)
{
	const struct link_target *target = &link->target;
	bool esmtp;
	int r = greeting(link, failure);

	if (r < 0)
		link_refused_late(house, link, failure);
	if (r == 0)
		r = say_hello(
			link, target->implicit_tls || target->decision.tls != TLS_MUST, &esmtp, failure);
	if (r < 0 || target->implicit_tls)
		return r;
	r = link_protect(house, link, esmtp, failure);
	if (r < 0 || !link->conn->secured)
		return r;
	r = say_hello(link, true, &esmtp, failure);
	if (r < 0)
		link_refused_late(house, link, failure);
	return r;
}

/* Up to where mail can be sent. */
static int set_up(const struct deliver_house *house, struct link *link, struct failure *failure)
{
	const struct link_target *target = &link->target;
	const int64_t deadline = link_deadline(link, link->timeouts.connect_ms);
	int r = conn_dial(&target->address, &target->source, house->stop_fd, deadline, &link->conn);

	if (r < 0) {
		link_fail(failure, link, "450 4.4.1",
			r == -EADDRNOTAVAIL ? "cannot connect from the configured source" : "cannot connect",
			err_text(r));
		evidence_explain(&failure->evidence, "there was no connection");
		return r;
	}
	link->conn->evidence.desired = target->decision.level;
	if (target->implicit_tls)
		r = link_protect_first(house, link, failure);
	if (r == 0)
		r = introduce(house, link, failure);
	if (r == 0)
		r = log_in(link, failure);
	link->target.account = NULL;
	link->target.dane = NULL;
	link->target.shown = NULL;
	return r;
}

int link_open(const struct deliver_house *house, const struct link_target *target, int64_t until,
	struct link **ret_link, struct failure *ret_failure)
{
	struct link *link = link_new(house, target, until);

	*ret_failure = (struct failure){ .unreachable = true,
		.evidence = { .desired = target->decision.level, .obtained = "none" } };
	int r = set_up(house, link, ret_failure);
	if (r == 0) {
		link->until = 0;
		log_event(LOG_INFO, "delivery_connected", log_str("dcid", link->dcid),
			log_str("destination", target->destination), log_str("host", target->host),
			log_str("address", link->address), log_str("tls", link->conn->evidence.obtained),
			log_str("protocol", link->conn->evidence.protocol),
			log_str("cipher", link->conn->evidence.cipher),
			log_str("reason", link->conn->evidence.reason));
		*ret_link = link;
		return 0;
	}

	log_event(LOG_WARN, "delivery_connect_failed", log_str("dcid", link->dcid),
		log_str("destination", target->destination), log_str("host", target->host),
		log_str("address", link->address), log_str("reason", ret_failure->reply));
	snprintf(ret_failure->dcid, sizeof ret_failure->dcid, "%s", link->dcid);
	link->broken = true;
	conn_free(link->conn);
	talloc_free(link);
	return r;
}
