/* A password is copied once, out of the bundle that master sent to this role alone, and wiped. */
#include "deliver/account.h"

#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "config/bundle.h"
#include "config/config.h"

struct accounts {
	const struct config *config;
	struct account *list; /* one for each route; without a name where it has none */
};

static int wipe(char *secret)
{
	explicit_bzero(secret, talloc_get_size(secret));
	return 0;
}

/* A copy that is wiped before its memory is given back. */
static struct text secret_copy(const void *owner, struct text secret)
{
	char *copy = text_copy(owner, secret);

	talloc_set_destructor(copy, wipe);
	return (struct text){ copy, secret.len };
}

static struct digest identity(const char *username, struct text password)
{
	size_t len = strlen(username) + 1;
	char *both = text_must(talloc_size(NULL, len + password.len));

	memcpy(both, username, len);
	memcpy(both + len, password.at, password.len);
	struct digest id = digest_of((struct text){ both, len + password.len });
	explicit_bzero(both, len + password.len);
	talloc_free(both);
	return id;
}

struct accounts *account_load(const void *owner, const struct config *config, const struct bundle *bundle)
{
	struct accounts *accounts = text_must(talloc_zero(owner, struct accounts));

	accounts->config = config;
	accounts->list =
		text_must(talloc_zero_array(accounts, struct account, (unsigned)config->route_count + 1));
	for (size_t i = 0; i < config->route_count; i++) {
		const struct config_route *route = &config->routes[i];
		struct account *account = &accounts->list[i];

		if (route->username == NULL)
			continue;
		struct text bytes = bundle_find(bundle, route->password_file);
		struct text password = bytes.at == NULL ? TEXT("") : config_password(bytes);
		if (password.len == 0) {
			talloc_free(accounts);
			return NULL;
		}
		account->username = route->username;
		account->password = secret_copy(accounts, password);
		account->id = identity(route->username, password);
	}
	return accounts;
}

const struct account *account_of(const struct accounts *accounts, const struct config_route *route)
{
	if (accounts == NULL || route == NULL || route->username == NULL)
		return NULL;
	return &accounts->list[route - accounts->config->routes];
}
