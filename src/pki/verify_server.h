#pragma once
/* Which names a server's certificate has to be for, by what is demanded of it (requirements B49, B50). */

#include <stdbool.h>

#include "base/ip.h"
#include "pki/verify.h"
#include "policy/tls_demand.h"

/* What is known of the server; names in ASCII (A-labels), NULL = there is none. */
struct verify_server {
	const char *domain; /* the recipient's; NULL = the address literal */
	const char *host;   /* as the MX record or the configuration names it; NULL = the address */
	struct ip address;  /* it counts where there is no such name */
	const char *route;  /* host name of the route that the operator set */
	const char *ptr;    /* name of the address by reverse DNS; NULL also when nobody asked yet */
};

/* Is the certificate for `server`, as `check` (one of TLS_CHECK_HOST, _DOMAIN, _HOSTED) has it? */
void verify_server_ask(const struct verified *verified, enum tls_check check,
	const struct verify_server *server, struct verify_verdict *ret_verdict);

/* True when `verdict`, without `ptr`, could turn out better with it. */
bool verify_server_wants_ptr(
	const struct verified *verified, enum tls_check check, const struct verify_verdict *verdict);
