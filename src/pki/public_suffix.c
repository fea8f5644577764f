/*
 * libpsl holds the list of public suffixes; libcurl stands on it, so it is there. It is loaded for the first wildcard that matches, and stays loaded
 * then. Its header is not asked for: two functions are all, and their types are its ABI.
 */
#include "pki/public_suffix.h"

#include <dlfcn.h>
#include <string.h>

#define LIBRARY "libpsl.so.5"

enum { TYPE_ICANN = 1 << 0, TYPE_NO_STAR_RULE = 1 << 2 }; /* as psl_is_public_suffix2() has them */

typedef const void *builtin_fn(void);
typedef int is_public_fn(const void *list, const char *name, int type);

static bool find(void *handle, const char *name, void *function)
{
	void *symbol = dlsym(handle, name);

	memcpy(function, &symbol, sizeof symbol);
	return symbol != NULL;
}

bool public_suffix_is(const char *name)
{
	void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	builtin_fn *builtin;
	is_public_fn *is_public;
	bool yes = false;

	if (handle == NULL)
		return false;
	if (find(handle, "psl_builtin", &builtin) && find(handle, "psl_is_public_suffix2", &is_public) &&
		builtin() != NULL)
		yes = is_public(builtin(), name, TYPE_ICANN | TYPE_NO_STAR_RULE) == 1;
	dlclose(handle);
	return yes;
}
