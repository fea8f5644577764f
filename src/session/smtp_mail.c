/* MAIL, RCPT, RSET: the envelope (RFC 5321 sections 3.3, 4.1.1.2, 4.1.1.3, 4.1.1.5). */
#include <stdio.h>

#include <talloc.h>

#include "base/log.h"
#include "config/config.h"
#include "policy/relay.h"
#include "session/smtp_private.h"

enum smtp_next smtp_mail(struct smtp *s, const struct smtp_command *command)
{
	if (s->greeting->transaction != NULL)
		return smtp_refuse(s, "503 5.5.1 a sender was given already");
	if (command->size > s->house->config->limits.message_size)
		return smtp_refuse(s, "552 5.3.4 message too large");

	struct transaction *transaction = text_must(talloc_zero(s->greeting, struct transaction));
	transaction->sender = text_copy(transaction, command->address.whole);
	s->greeting->transaction = transaction;
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

enum smtp_next smtp_rcpt(struct smtp *s, const struct smtp_command *command)
{
	struct transaction *transaction = s->greeting->transaction;

	transaction->attempted++;
	if (transaction->recipient_count >= s->house->config->limits.recipients)
		return smtp_say(s, "452 4.5.3 too many recipients");

	struct relay_decision decision = decide(s, &command->address);
	if (!decision.accepted) {
		static const char reply[] = "550 5.7.1 relaying denied";
		char *recipient = text_copy(NULL, command->address.whole);

		smtp_note(s, "recipient_refused", recipient, reply, decision.reason);
		talloc_free(recipient);
		return smtp_refuse(s, reply);
	}

	transaction->recipients = text_must(talloc_realloc(transaction, transaction->recipients, const char *,
		(unsigned)transaction->recipient_count + 1));
	transaction->recipients[transaction->recipient_count++] =
		recipient_copy(s, transaction, &command->address);
	return smtp_say(s, "250 2.1.5 recipient ok");
}

enum smtp_next smtp_rset(struct smtp *s, const struct smtp_command *command)
{
	(void)command;
	if (s->greeting != NULL)
		TALLOC_FREE(s->greeting->transaction);
	return smtp_say(s, "250 2.0.0 ok");
}
