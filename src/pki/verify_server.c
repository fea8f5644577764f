#include "pki/verify_server.h"

#include <string.h>

#include "base/base.h"
#include "pki/verify_private.h"

enum { NAMES_MAX = 4 };

struct names {
	const char *all[NAMES_MAX];
	size_t count;
};

static void add(struct names *names, const char *name)
{
	if (name != NULL && names->count < NAMES_MAX)
		names->all[names->count++] = name;
}

/* B49: dNSName for the domain, with wildcards; else common name for the domain, or for the name of the address, exactly. */
static void by_domain(
	const struct verify_server *server, struct names *hosts, struct names *commons, bool *ret_exact)
{
	add(hosts, server->domain);
	add(commons, server->domain);
	add(commons, server->ptr);
	*ret_exact = true;
}

/* B50: any of them, with wildcards; the common name where there is no dNSName. */
static void by_any(const struct verify_server *server, struct names *names)
{
	add(names, server->domain);
	add(names, server->host);
	add(names, server->route);
	add(names, server->ptr);
}

void verify_server_ask(const struct verified *verified, enum tls_check check,
	const struct verify_server *server, struct verify_verdict *ret_verdict)
{
	struct names hosts = { 0 }, commons = { 0 };
	bool exact = false;

	if (check == TLS_CHECK_DOMAIN) {
		by_domain(server, &hosts, &commons, &exact);
	} else {
		if (check == TLS_CHECK_HOSTED)
			by_any(server, &hosts);
		else
			add(&hosts, server->host);
		commons = hosts;
	}
	const struct verify_reference reference = { .hosts = hosts.all,
		.host_count = hosts.count,
		.commons = commons.all,
		.common_count = commons.count,
		.common_exact = exact,
		.address = (check == TLS_CHECK_DOMAIN ? server->domain : server->host) == NULL
				   ? server->address
				   : (struct ip){ 0 } };
	verify_for(verified, &reference, ret_verdict);
	if (ret_verdict->result == VERIFY_FINE && ret_verdict->matched[0] == '\0') /* nothing was asked for */
		verify_refuse(ret_verdict, VERIFY_FAILURE, "there is no name to look for in it", 0, NULL);
}

bool verify_server_wants_ptr(
	const struct verified *verified, enum tls_check check, const struct verify_verdict *verdict)
{
	if (verdict->result != VERIFY_HOST_MISMATCH)
		return false;
	return check == TLS_CHECK_HOSTED ||
	       (check == TLS_CHECK_DOMAIN && verify_common_name_counts(verified));
}
