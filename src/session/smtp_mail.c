/* MAIL, RCPT, RSET: the envelope (RFC 5321 sections 3.3, 4.1.1.2, 4.1.1.3, 4.1.1.5). */
#include <stdio.h>

#include <talloc.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "lookup/dns_mx.h"
#include "policy/mx.h"
#include "policy/null_mx.h"
#include "policy/recipient.h"
#include "policy/relay.h"
#include "queue/queue.h"
#include "session/call_ahead.h"
#include "session/recipients.h"
#include "session/smtp_private.h"

enum { LARGE = 1024 * 1024, ROOM_MS = 1000, REFUSED_PER_ERROR = 10, DNS_MS = 3000 };

/* Without room on the disk no mail is begun (conformance 11.16). `queue` knows; its word is good for a second, except for a large mail. */
static bool has_room(struct smtp *s, uint64_t size)
{
	struct smtp_room *room = s->house->room;
	int64_t now = clock_mono_ms();

	if (room == NULL || (size < LARGE && now < atomic_load(&room->known_until)))
		return true;

	int r = queue_room(s->house->queue, size, s->house->stop_fd);
	if (r == 0)
		atomic_store(&room->known_until, now + ROOM_MS);
	return r != -ENOSPC; /* a queue that cannot be asked now may be back when the content is here */
}

static void begin(struct smtp *s, const struct smtp_command *command)
{
	struct transaction *transaction = text_must(talloc_zero(s->greeting, struct transaction));

	transaction->sender = text_copy(transaction, command->address.whole);
	transaction->eight_bit = command->body == SMTP_BODY_8BIT;
	transaction->utf8 = command->smtputf8;
	transaction->ret = command->ret;
	transaction->envid = text_copy(transaction, command->envid);
	transaction->dns_left_ms = DNS_MS;
	s->greeting->transaction = transaction;
}

/* The mail that has begun is over: noted with its sender. */
static void note_refused(struct smtp *s, enum metric counted, const char *reply, const char *reason)
{
	smtp_note(s, counted, "mail_refused", NULL, reply, reason);
	TALLOC_FREE(s->greeting->transaction);
}

/* What its MX records say about the domain of `address`. All addresses of a mail together wait for the DNS 3 s at most; what is not known then is
 * for delivery to find out. */
static struct null_mx_decision check_null_mx(struct smtp *s, const struct address *address, bool wanted)
{
	const struct config *config = s->house->config;
	struct transaction *t = s->greeting->transaction;
	struct null_mx_facts facts = {
		.wanted = wanted,
		.named = address->domain.len > 0 && address->domain.at[0] != '[',
		.routed = config_route_for(config, address->domain) != NULL,
	};

	if (null_mx_must_ask(&facts)) {
		char *domain = text_copy_lower(NULL, address->domain);
		int64_t began = clock_mono_ms();

		facts.end = t->dns_left_ms <= 0 ? MX_END_UNKNOWN
						: dns_mx_end(s->house->resolver, domain, config->hostname,
							  s->house->stop_fd, began + t->dns_left_ms);
		t->dns_left_ms -= clock_mono_ms() - began;
		talloc_free(domain);
	}
	return null_mx_decide(&facts);
}

/* A mail to many, some of whom have left, must get through; guessing addresses must not go on for ever. So an address that is refused for good
 * is no error, but more than ten times limits.errors of them since the last mail are the end (conformance 1.13). */
static bool refused_too_often(struct smtp *s)
{
	return ++s->refused_addresses > REFUSED_PER_ERROR * s->house->config->limits.errors;
}

static enum smtp_next refuse_sender(struct smtp *s, const char *reply, const char *reason)
{
	bool enough = refused_too_often(s);

	if (enough)
		reply = "421 4.7.0 too many refused senders";
	note_refused(s, METRIC_REJECTED_SENDER, reply, reason);
	return enough ? smtp_end(s, reply, "limits.errors") : smtp_say(s, reply);
}

enum smtp_next smtp_mail(struct smtp *s, const struct smtp_command *command)
{
	static const char too_large[] = "552 5.3.4 message too large";
	static const char no_room[] = "452 4.3.1 insufficient storage, try later";

	if (s->greeting->transaction != NULL)
		return smtp_refuse(s, "503 5.5.1 a sender was given already");
	begin(s, command);
	if (command->size > s->house->config->limits.message_size) {
		note_refused(s, METRIC_REJECTED_LIMIT, too_large, "limits.message_size");
		return smtp_refuse(s, too_large);
	}
	if (!has_room(s, command->size)) {
		note_refused(
			s, METRIC_REJECTED_LIMIT, no_room, "limits.min_free_space or limits.min_free_inodes");
		return smtp_say(s, no_room);
	}

	struct null_mx_decision null_mx = check_null_mx(s, &command->address, s->policy->refuse_null_mx);
	if (null_mx.refused)
		return refuse_sender(
			s, "550 5.7.27 the domain of the sender takes no mail (null MX)", null_mx.reason);
	return smtp_say(s, "250 2.1.0 sender ok");
}

static struct relay_decision decide(const struct smtp *s, const struct address *address)
{
	static const enum relay_action actions[] = {
		[CONFIG_ACCEPT] = RELAY_ACTION_ACCEPT,
		[CONFIG_RELAY] = RELAY_ACTION_RELAY,
		[CONFIG_REJECT] = RELAY_ACTION_REJECT,
	};
	struct relay_facts facts = {
		.action = actions[s->policy->action],
		.domain_accepted = config_accepts(s->house->config, address->domain),
		.domainless = address->domain.len == 0,
	};

	return relay_decide(&facts);
}

/* `<postmaster>` belongs to this host (RFC 5321 section 4.5.1): our first accepted domain, or our own name. */
static const char *recipient_copy(const struct smtp *s, const void *owner, const struct address *address)
{
	const struct config *config = s->house->config;

	if (address->domain.len > 0)
		return text_copy(owner, address->whole);
	return text_must(talloc_asprintf(owner, "postmaster@%s",
		config->accepted_domain_count > 0 ? config->accepted_domains[0] : config->hostname));
}

/* Only addresses of our own domains are checked: what is relayed for a client is the client's affair. */
static struct recipient_decision check_recipient(struct smtp *s, const struct smtp_command *command)
{
	const struct config_recipients *settings = &s->house->config->recipients;
	const struct address *address = &command->address;
	struct recipient_facts facts = {
		.special = address->domain.len == 0 ||
			   text_equal_nocase(address->local, TEXT("postmaster")) ||
			   text_equal_nocase(address->local, TEXT("abuse")),
		.has_list = s->house->recipients != NULL,
	};

	if (address->domain.len > 0 && !config_accepts(s->house->config, address->domain))
		return (struct recipient_decision){ RECIPIENT_TAKE, "not one of our domains" };
	facts.listed = facts.has_list && recipients_has(s->house->recipients, address->whole);
	if (s->house->call_ahead != NULL && recipient_must_ask(&facts, settings->call_ahead)) {
		char *recipient = text_copy(NULL, address->whole);

		facts.answer = call_ahead_ask(
			s->house->call_ahead, s->icid, recipient, settings->cache_ms, s->house->stop_fd);
		talloc_free(recipient);
	}
	return recipient_decide(&facts);
}

static enum smtp_next refuse_recipient(struct smtp *s, const struct smtp_command *command,
	enum metric counted, const char *reply, const char *reason)
{
	bool enough = reply[0] == '5' && refused_too_often(s);
	char *recipient = text_copy(NULL, command->address.whole);

	if (enough)
		reply = "421 4.7.0 too many refused recipients";
	smtp_note(s, counted, "recipient_refused", recipient, reply, reason);
	talloc_free(recipient);
	return enough ? smtp_end(s, reply, "limits.errors") : smtp_say(s, reply);
}

/* How a client hears what policy/recipient decided. */
static const struct {
	enum metric counted;
	const char *reply; /* NULL = none yet, the recipient is taken */
} verdicts[] = {
	[RECIPIENT_TAKE] = { 0, NULL },
	[RECIPIENT_UNKNOWN] = { METRIC_REJECTED_RECIPIENT, "550 5.1.1 no such recipient here" },
	[RECIPIENT_REJECT] = { METRIC_REJECTED_RECIPIENT,
		"550 5.7.1 the server of this recipient takes no mail for it" },
	[RECIPIENT_WAIT] = { METRIC_REJECTED_RECIPIENT, "452 4.2.2 the mailbox is full, try later" },
	[RECIPIENT_DEFER] = { METRIC_REJECTED, "450 4.1.1 the recipient could not be checked, try later" },
};

static void add_recipient(struct smtp *s, const struct smtp_command *command)
{
	struct transaction *t = s->greeting->transaction;
	unsigned room = (unsigned)t->recipient_count + 1;

	t->recipients = text_must(talloc_realloc(t, t->recipients, const char *, room));
	t->notify = text_must(talloc_realloc(t, t->notify, unsigned, room));
	t->orcpt = text_must(talloc_realloc(t, t->orcpt, const char *, room));
	t->recipients[t->recipient_count] = recipient_copy(s, t, &command->address);
	t->notify[t->recipient_count] = command->notify;
	t->orcpt[t->recipient_count] = text_copy(t, command->orcpt);
	t->recipient_count++;
}

enum smtp_next smtp_rcpt(struct smtp *s, const struct smtp_command *command)
{
	struct transaction *transaction = s->greeting->transaction;

	if (command->utf8_address && !transaction->utf8)
		return smtp_refuse(s, "553 5.6.7 SMTPUTF8 is needed for this address");
	if (transaction->intake != NULL)
		return smtp_refuse(s, "503 5.5.1 the message has begun");
	if (transaction->recipient_count >= s->house->config->limits.recipients)
		return refuse_recipient(s, command, METRIC_REJECTED_LIMIT, "452 4.5.3 too many recipients",
			"limits.recipients");

	struct relay_decision relay = decide(s, &command->address);
	if (!relay.accepted)
		return refuse_recipient(
			s, command, METRIC_REJECTED_RELAY, "550 5.7.1 relaying denied", relay.reason);

	struct recipient_decision recipient = check_recipient(s, command);
	if (recipient.verdict != RECIPIENT_TAKE)
		return refuse_recipient(s, command, verdicts[recipient.verdict].counted,
			verdicts[recipient.verdict].reply, recipient.reason);

	struct null_mx_decision null_mx = check_null_mx(s, &command->address, true);
	if (null_mx.refused)
		return refuse_recipient(s, command, METRIC_REJECTED_RECIPIENT,
			mx_explain(MX_END_NULL, false).reply, null_mx.reason);

	add_recipient(s, command);
	return smtp_say(s, "250 2.1.5 recipient ok");
}

enum smtp_next smtp_rset(struct smtp *s, const struct smtp_command *command)
{
	(void)command;
	if (s->greeting != NULL)
		TALLOC_FREE(s->greeting->transaction);
	return smtp_say(s, "250 2.0.0 ok");
}
