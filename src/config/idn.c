/*
 * libidn2 has tables of 2 MiB behind it (libunistring), and hardly any configuration names a host beyond ASCII: it is loaded for a name that needs it,
 * and stays loaded then, so that a reload finds it without looking for a file.
 */
#include "config/idn.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <idn2.h>
#include <talloc.h>

#include "base/base.h"
#include "config/names.h"
#include "config/value.h"

#define LIBRARY "libidn2.so.0"

struct library {
	void *handle;
	typeof(idn2_lookup_u8) *lookup;
	typeof(idn2_strerror) *reason;
	typeof(idn2_free) *free;
};

static bool find(const struct library *library, const char *name, void *function)
{
	void *symbol = dlsym(library->handle, name);

	memcpy(function, &symbol, sizeof symbol);
	return symbol != NULL;
}

static bool open_library(struct library *library)
{
	library->handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	return library->handle != NULL && find(library, "idn2_lookup_u8", &library->lookup) &&
	       find(library, "idn2_strerror", &library->reason) && find(library, "idn2_free", &library->free);
}

bool idn_is_needed(struct text name)
{
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.at[i] > 0x7f)
			return true;
	return false;
}

/* The first byte of ASCII that is none of a host name; 0 when there is none. libidn2 drops some of them silently. */
static char odd_byte(struct text name)
{
	for (size_t i = 0; i < name.len; i++) {
		const char c = text_lower(name.at[i]);

		if ((unsigned char)c <= 0x7f && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' &&
			c != '.')
			return c;
	}
	return 0;
}

/* As idn_to_ascii(), of a name without `*.`. */
static char *convert(const struct library *library, const void *owner, struct text name, const char **ret_why)
{
	char *whole = text_copy(owner, name), *ascii = NULL, odd = odd_byte(name);
	uint8_t *found = NULL;
	int r = library->lookup((const uint8_t *)whole, &found, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);

	if (r == IDN2_OK && odd == 0)
		odd = odd_byte(text_of((const char *)found));
	if (r != IDN2_OK)
		*ret_why = text_copy(owner, text_of(library->reason(r)));
	else if (odd != 0)
		*ret_why = text_must(talloc_asprintf(owner, "host names have no `%c`", odd));
	else
		ascii = text_copy(owner, text_of((const char *)found));
	library->free(found);
	talloc_free(whole);
	return ascii;
}

char *idn_to_ascii(const void *owner, struct text name, const char **ret_why)
{
	const size_t star = text_starts_nocase(name, TEXT("*.")) ? 2 : 0;
	struct library library;

	if (!idn_is_needed(name))
		return text_copy(owner, name);
	if (!open_library(&library)) {
		const char *why = dlerror();

		*ret_why = text_must(talloc_asprintf(owner,
			"names beyond ASCII need the library libidn2: %s; write the name in its xn-- form",
			why == NULL ? LIBRARY " is not what this program was built for" : why));
		return NULL;
	}
	char *ascii = convert(&library, owner, text_from(name, star), ret_why);
	dlclose(library.handle);
	if (ascii == NULL || star == 0)
		return ascii;
	char *wildcard = text_must(talloc_asprintf(owner, "*.%s", ascii));
	talloc_free(ascii);
	return wildcard;
}

char *idn_read_host(const void *owner, struct text value, const char **field)
{
	const char *why;
	char *ascii = idn_to_ascii(owner, value, &why);

	if (ascii == NULL)
		return text_must(talloc_asprintf(
			owner, "`%s` cannot be a host name: %s", value_short(owner, value), why));
	if (!names_is_domain(text_of(ascii), 2))
		return text_must(talloc_asprintf(owner,
			"expected a full host name such as mail.example.com; found `%s`",
			value_short(owner, value)));
	*field = ascii;
	return NULL;
}
