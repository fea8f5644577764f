/* The part of the table that is about lists of revoked certificates: config/table.c says how it is read. */
#include "config/crl_sources.h"
#include "config/table_private.h"

static const struct table_word types[] = {
	{ "asn1", CONFIG_CRL_ASN1 },
	{ "pem", CONFIG_CRL_PEM },
	{ NULL, 0 },
};

static const struct table_row check_rows[] = {
	{ "inbound_smtp", TABLE_BOOL, AT(crl_check, inbound_smtp), .standard = "false",
		.manual =
			"Certificates that clients show to SMTP listeners. No effect yet: none is asked for." },
	{ "outbound_smtp", TABLE_BOOL, AT(crl_check, outbound_smtp), .standard = "false",
		.manual =
			"Certificates of servers, where they are verified: by the verifying levels of `destinations`, and where routes log in." },
	{ "web", TABLE_BOOL, AT(crl_check, web), .standard = "false",
		.manual = "Certificates of administrators. No effect yet: there is no web interface." },
};

static const struct table_section check = { "crl_sources.check", NULL, sizeof(struct config_crl_check),
	ROWS(check_rows), .manual = "Where revocation is checked." };

static const struct table_row source_rows[] = {
	{ "name", TABLE_NAME, AT(crl_source, name), .required = true,
		.manual = "Name of this source, for `postern crl` and the log; also the name of its file." },
	{ "type", TABLE_CHOICE, AT(crl_source, type), .standard = "asn1", .words = types, .other_word = "der",
		.meant_word = "asn1",
		.manual =
			"What the server sends: asn1 (DER) or pem, one list. Anything else is refused, so that a mistake is seen." },
	{ "primary", TABLE_TEXT, AT(crl_source, primary), .required = true, .check = crl_sources_check_url,
		.manual = "URL of the list, with http or https. Redirects are not followed." },
	{ "secondary", TABLE_TEXT, AT(crl_source, secondary), .check = crl_sources_check_url,
		.manual =
			"URL that is tried when the primary one gives no list that can be used, for whatever reason." },
	{ "schedule", TABLE_TEXT, AT(crl_source, schedule), .standard = "daily 03:00",
		.check = crl_sources_read_schedule,
		.manual =
			"When the list is fetched: `every 1h` (1m to 30d), `daily 03:00` or `weekly sunday 03:00`, in UTC. A list that was never fetched is fetched at once; after a failure it is tried again sooner." },
	{ "enabled", TABLE_BOOL, AT(crl_source, enabled), .standard = "true",
		.manual = "Off, the list is neither fetched nor used." },
};

static const struct table_section sources = { "crl_sources.sources", "name", sizeof(struct config_crl_source),
	ROWS(source_rows), .manual = "Lists that are fetched, one for each entry." };

static const struct table_row crl_rows[] = {
	{ "check", TABLE_SECTION, AT(crl, check), .inner = &check },
	{ "strict", TABLE_BOOL, AT(crl, strict), .standard = "false",
		.manual =
			"Where revocation is checked, refuse certificates of whose issuer there is no list, or only one that is past its time. Off, they pass and the log says so. A certificate that is listed is refused always." },
	{ "max_size", TABLE_SIZE, AT(crl, max_size), .standard = "16MiB", LIMITS(KiB(1), MiB(64)),
		.manual = "Largest list that is fetched." },
	{ "sources", TABLE_LIST, AT(crl, sources), AT(crl, source_count), .inner = &sources },
};

const struct table_section table_crl = {
	"crl_sources", NULL, sizeof(struct config_crl), ROWS(crl_rows),
	.manual =
		"Lists of revoked certificates (CRLs): role `upkeep` fetches them, and keeps one only when an authority that is trusted signed it and it is not older than what is held. Deltas, indirect lists and lists of a part of the certificates are refused. `postern crl` shows them."
};
