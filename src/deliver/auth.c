/*
 * Credentials go out only here, only over a connection whose server was verified (checked again before each of them), and never through anything
 * that logs. Lines that hold them are wiped. What the server answers is not repeated when it holds them, too.
 */
#include "deliver/auth.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"
#include "deliver/account.h"
#include "deliver/link.h"
#include "wire/base64.h"

enum { AUTH_MS = 300 * 1000, SECRET_MAX = 1024 }; /* as for MAIL; both parts are at most so long */

/* What was told last: before and after it was encoded, and the password in it. */
struct credentials {
	char raw[2 * SECRET_MAX + 4], line[BASE64_ROOM(2 * SECRET_MAX + 4) + 16];
	const char *password;
};

static bool may_be_told(const struct link *link)
{
	return link->conn->secured && strcmp(link->conn->evidence.obtained, "verified") == 0;
}

/* Send `words` and the base64 of the first `len` bytes of `raw`, and hear the reply. */
static int tell(
	struct link *link, struct credentials *c, const char *words, size_t len, struct smtp_reply *ret_reply)
{
	if (!may_be_told(link))
		return ERR_TLS;

	size_t used = (size_t)snprintf(c->line, sizeof c->line, "%s", words);
	used += base64_encode((struct text){ c->raw, len }, c->line + used);
	int r = link_expect_silence(link);
	if (r == 0)
		r = conn_write(link->conn, (struct text){ c->line, used });
	if (r == 0)
		r = conn_write(link->conn, TEXT("\r\n"));
	return r == 0 ? link_reply(link, AUTH_MS, ret_reply) : r;
}

static void put_password(struct credentials *c, size_t at, const struct account *account)
{
	c->password = c->raw + at;
	memcpy(c->raw + at, account->password.at, account->password.len);
	c->raw[at + account->password.len] = '\0';
}

static int plain(
	struct link *link, struct credentials *c, const struct account *account, struct smtp_reply *ret_reply)
{
	size_t len = (size_t)snprintf(c->raw, sizeof c->raw, "%c%s", '\0', account->username) + 1;

	put_password(c, len, account);
	return tell(link, c, "AUTH PLAIN ", len + account->password.len, ret_reply);
}

static int login(
	struct link *link, struct credentials *c, const struct account *account, struct smtp_reply *ret_reply)
{
	int r = link_ask(link, AUTH_MS, ret_reply, "AUTH LOGIN");

	if (r == 0 && ret_reply->code == 334)
		r = tell(link, c, "", (size_t)snprintf(c->raw, sizeof c->raw, "%s", account->username),
			ret_reply);
	if (r == 0 && ret_reply->code == 334) {
		put_password(c, 0, account);
		r = tell(link, c, "", account->password.len, ret_reply);
	}
	return r;
}

/* The peer's words, or only their code when they hold what was told. */
static void quote(struct smtp_reply *reply, const struct credentials *c)
{
	const char *blank = strrchr(c->line, ' ');

	if (strstr(reply->text, blank == NULL ? c->line : blank + 1) != NULL ||
		strstr(reply->text, c->password) != NULL)
		snprintf(reply->text, sizeof reply->text, "%u (its words held the credentials)", reply->code);
}

int auth_log_in(
	struct link *link, const struct account *account, char *ret_why, size_t size, bool *ret_refused)
{
	struct credentials c = { .password = account->username };
	struct smtp_reply reply = { 0 };
	int r = -EOPNOTSUPP;

	*ret_refused = false;
	if (link->offers.has_auth_plain)
		r = plain(link, &c, account, &reply);
	else if (link->offers.has_auth_login)
		r = login(link, &c, account, &reply);
	if (r == 0 && smtp_reply_class(&reply) != 2) {
		r = -EACCES;
		*ret_refused = smtp_reply_class(&reply) == 5;
		snprintf(ret_why, size, "4.7.8 the server refused the credentials: ");
		quote(&reply, &c);
		snprintf(ret_why + strlen(ret_why), size - strlen(ret_why), "%s", reply.text);
	} else if (r == -EOPNOTSUPP) {
		snprintf(ret_why, size, "4.7.0 the server offers neither AUTH PLAIN nor AUTH LOGIN");
	} else if (r < 0) {
		link->broken = true;
		snprintf(ret_why, size, "4.4.2 the connection was lost at AUTH: %s", err_text(r));
	}
	explicit_bzero(&c, sizeof c);
	return r;
}
