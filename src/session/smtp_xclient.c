/* XCLIENT: a trusted front end says who its client is (Postfix's XCLIENT_README). Afterwards the session is as new, with another client. */
#include <talloc.h>

#include "base/base.h"
#include "base/log.h"
#include "config/config.h"
#include "session/smtp_private.h"
#include "wire/xtext.h"

bool smtp_may_xclient(const struct smtp *s)
{
	const struct config_listener *listener = s->house->listener;

	for (size_t i = 0; i < listener->xclient_from_count; i++)
		if (ip_in_network(&s->real_client, &listener->xclient_from[i]))
			return true;
	return false;
}

static bool printable(struct text t)
{
	for (size_t i = 0; i < t.len; i++)
		if (t.at[i] <= ' ' || t.at[i] >= 0x7f)
			return false;
	return t.len > 0;
}

/* Take one NAME=value into `peer`; false when it is malformed. Values that are not known leave `peer` alone. */
static bool take_attribute(struct text name, struct text value, struct ip *peer)
{
	static const struct text others[] = { { "NAME", 4 }, { "HELO", 4 }, { "PROTO", 5 }, { "LOGIN", 5 },
		{ "DESTADDR", 8 }, { "DESTPORT", 8 } };
	struct text prefix = TEXT("IPV6:");
	uint64_t port;
	struct ip ip;

	if (!printable(value))
		return false;
	bool known = value.at[0] != '[' || text_equal_nocase(name, TEXT("NAME"));
	if (text_equal_nocase(name, TEXT("ADDR"))) {
		if (ip_parse(text_from(value, text_starts_nocase(value, prefix) ? prefix.len : 0), &ip) < 0 ||
			ip.port != 0)
			return !known;
		ip.port = peer->port;
		*peer = ip;
		return true;
	}
	if (text_equal_nocase(name, TEXT("PORT"))) {
		if (text_number(value, 65535, &port) < 0)
			return !known;
		peer->port = (uint16_t)port;
		return true;
	}
	for (size_t i = 0; i < COUNT(others); i++)
		if (text_equal_nocase(name, others[i]))
			return true;
	return false;
}

static bool take_attributes(struct text rest, struct ip *peer)
{
	char decoded[512];

	rest = text_trim(rest);
	if (rest.len == 0)
		return false;
	while (rest.len > 0) {
		size_t end = text_find(rest, ' ');
		struct text one = text_first(rest, end);
		size_t equals = text_find(one, '='), len;
		struct text value = text_from(one, equals + 1);

		if (equals == one.len || value.len > sizeof decoded ||
			xtext_decode(value, decoded, &len) < 0 ||
			!take_attribute(text_first(one, equals), (struct text){ decoded, len }, peer))
			return false;
		rest = text_trim(text_from(rest, end));
	}
	return true;
}

enum smtp_next smtp_xclient(struct smtp *s, const struct smtp_command *command)
{
	struct ip peer = s->conn->peer;

	if (!smtp_may_xclient(s))
		return smtp_refuse(s, "550 5.7.0 XCLIENT is not for you");
	if (s->greeting != NULL && s->greeting->transaction != NULL)
		return smtp_refuse(s, "503 5.5.1 a mail is under way");
	if (!take_attributes(command->argument, &peer))
		return smtp_refuse(s, "501 5.5.4 bad XCLIENT attribute");

	TALLOC_FREE(s->greeting);
	s->conn->peer = peer;
	smtp_know_client(s);
	log_event(LOG_INFO, "xclient", log_str("icid", s->icid), log_str("client", s->client));
	return smtp_welcome(s);
}
