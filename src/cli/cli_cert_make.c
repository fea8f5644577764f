/* `cert create` and `cert csr`: a key of our own. */
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "cli/cli_cert_private.h"
#include "pki/make.h"

enum { ALT_MAX = 100, DAYS = 365 };

_Static_assert(ALT_MAX == 100 && MAKE_DAYS_MAX == 36500, "what messages say");

#define KIND "rsa:2048"

/* `a,b,c`; the number of names, or -1 when there are more than ALT_MAX. */
static int split(const void *scratch, const char *list, const char **ret_names)
{
	struct text rest = text_of(list);
	int count = 0;
	bool last = list == NULL;

	while (!last) {
		const size_t len = text_find(rest, ',');

		if (count == ALT_MAX)
			return -1;
		ret_names[count++] = text_copy(scratch, text_trim(text_first(rest, len)));
		last = len == rest.len;
		rest = text_from(rest, len + 1);
	}
	return count;
}

static bool read_country(const struct cli_cert *cert, char *ret_country)
{
	const char *typed = cert->country;

	for (size_t i = 0; typed != NULL && i < 2 && typed[i] != '\0'; i++) {
		const char lower = text_lower(typed[i]);

		ret_country[i] = (char)(lower >= 'a' && lower <= 'z' ? lower - 'a' + 'A' : '?');
	}
	if (typed == NULL || (strlen(typed) == 2 && memchr(ret_country, '?', 2) == NULL))
		return true;
	cli_cert_wrong(cert, "--country takes the two letters of a country, such as JP, not ", typed);
	return false;
}

static bool read_days(const struct cli_cert *cert, uint64_t *ret_days)
{
	*ret_days = DAYS;
	if (cert->days == NULL ||
		(text_number(text_of(cert->days), MAKE_DAYS_MAX, ret_days) == 0 && *ret_days > 0))
		return true;
	cli_cert_wrong(cert, "--days takes a number from 1 to 36500, not ", cert->days);
	return false;
}

static bool check_kind(struct cli_cert *cert, const char *kind)
{
	if (make_knows_key(kind, cert->legacy)) {
		if (!make_knows_key(kind, false))
			cli_cert_note(cert,
				"an RSA key of 1024 bits can be broken, and only listeners whose TLS profile reaches below TLS 1.2 can use it");
		return true;
	}
	cli_cert_wrong(cert,
		make_knows_key(kind, true) ? "--key takes " MAKE_KEYS
					     ", and with --legacy, if a peer knows nothing else, also "
					   : "--key takes " MAKE_KEYS ", not ",
		kind);
	return false;
}

int cli_cert_create(struct cli_cert *cert)
{
	const char *kind = cert->key == NULL ? KIND : cert->key, *alt[ALT_MAX], *why = "";
	char country[3] = "", *chain;
	struct make_subject subject = { .common_name = cert->common_name,
		.organization = cert->organization,
		.unit = cert->unit,
		.city = cert->city,
		.state = cert->state,
		.country = cert->country == NULL ? NULL : country,
		.alt = alt };

	if (!check_kind(cert, kind) || !read_days(cert, &subject.days) || !read_country(cert, country))
		return CLI_USAGE;
	const int count = split(cert->scratch, cert->alt, alt);
	if (count < 0)
		return cli_cert_wrong(cert, "--alt takes at most 100 names", "");
	if (!cli_cert_is_free(cert))
		return CLI_FAILED;
	subject.alt_count = (size_t)count;
	char *key = make_key(cert->scratch, kind);
	if (make_certificate(cert->scratch, text_of(key), &subject, &chain, &why) < 0)
		return cli_cert_wrong(cert, why, "; nothing was stored");
	return cli_cert_store(cert, "created", chain, key);
}

int cli_cert_csr(struct cli_cert *cert)
{
	struct pki_store_pair pair;
	const char *why = "";
	char *request;

	if (cli_cert_read(cert, &pair) != CLI_FINE)
		return CLI_FAILED;
	if (make_request(cert->scratch, text_of(pair.key), text_of(pair.chain), &request, &why) < 0)
		return cli_cert_refuse(
			"certificate `%s`: %s; make or import it anew with --replace", cert->name, why);
	if (cert->json)
		cli_print_json(json_pack("{s:s, s:s}", "name", cert->name, "csr", request));
	else
		printf("%s", request);
	return CLI_FINE;
}
