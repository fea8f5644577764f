/* Listener TLS as a table; the first matching row wins and the last one matches everything. */
#include "policy/inbound.h"

#include "base/base.h"

#define ANY   ~0u
#define IS(v) (1u << (v))

static const struct rule {
	unsigned tls, command, secured, usable, tls_off;
	enum inbound_verdict then;
} rules[] = {
	/* listener TLS              command                secured     key usable  switch     then */
	{ ANY, IS(INBOUND_STARTTLS), IS(true), ANY, ANY, INBOUND_SECOND_TLS },
	{ IS(INBOUND_TLS_NONE), IS(INBOUND_STARTTLS), ANY, ANY, ANY, INBOUND_NOT_OFFERED },
	{ ANY, IS(INBOUND_STARTTLS), ANY, ANY, IS(true), INBOUND_NOT_OFFERED },
	{ ANY, IS(INBOUND_STARTTLS), ANY, IS(false), ANY, INBOUND_UNAVAILABLE },
	{ IS(INBOUND_TLS_REQUIRED), IS(INBOUND_OTHER), IS(false), ANY, ANY, INBOUND_NEED_TLS },
	{ ANY, ANY, ANY, ANY, ANY, INBOUND_GO_ON },
};

enum inbound_verdict inbound_decide(const struct inbound_facts *f)
{
	const struct rule *r = rules;

	while (!((r->tls & IS(f->tls)) && (r->command & IS(f->command)) && (r->secured & IS(f->secured)) &&
		 (r->usable & IS(f->usable)) && (r->tls_off & IS(f->tls_off))))
		r++;
	return r->then;
}

bool inbound_offers_starttls(const struct inbound_facts *f)
{
	return f->tls != INBOUND_TLS_NONE && !f->secured && f->usable && !f->tls_off;
}
