/* The part of the table that is about certificates and TLS: config/table.c says how it is read. */
#include <string.h>

#include <talloc.h>

#include "config/table_private.h"

static const struct table_word versions[] = {
	{ "1.0", CONFIG_TLS_1_0 },
	{ "1.1", CONFIG_TLS_1_1 },
	{ "1.2", CONFIG_TLS_1_2 },
	{ "1.3", CONFIG_TLS_1_3 },
	{ NULL, 0 },
};

static const struct table_word pfs_words[] = {
	{ "allowed", CONFIG_PFS_ALLOWED },
	{ "required", CONFIG_PFS_REQUIRED },
	{ "none", CONFIG_PFS_NONE },
	{ NULL, 0 },
};

static const struct table_word ocsp_words[] = {
	{ "off", OCSP_OFF },
	{ "lenient", OCSP_LENIENT },
	{ "strict", OCSP_STRICT },
	{ NULL, 0 },
};

static const struct table_row certificate_rows[] = {
	{ "name", TABLE_NAME, AT(certificate, name), .required = true,
		.manual =
			"Name by which listeners refer to this certificate; without `chain` and `key` also its name in the store "
			"(`postern cert`)." },
	{ "chain", TABLE_PATH, AT(certificate, chain),
		.manual = "PEM file with the certificate and its intermediate certificates, leaf first." },
	{ "key", TABLE_PATH, AT(certificate, key),
		.manual =
			"PEM file with the private key of the certificate. It stands where `chain` does, or neither." },
};

const struct table_section table_certificates = { "certificates", "name", sizeof(struct config_certificate),
	ROWS(certificate_rows), .manual = "Certificates that the gateway presents." };

static const struct table_row authority_rows[] = {
	{ "system", TABLE_BOOL, AT(authorities, system), .standard = "true",
		.manual = "Trust the certificate authorities of the operating system." },
	{ "custom", TABLE_PATH, AT(authorities, custom),
		.manual = "PEM file with further certificate authorities to trust." },
};

const struct table_section table_authorities = { "authorities", NULL, sizeof(struct config_authorities),
	ROWS(authority_rows),
	.manual =
		"Certificate authorities that the gateway trusts; used for servers that routes log in to, and for the verifying levels of `destinations`. Each is trusted whoever issued it, so an intermediate one is enough. `postern ca` keeps "
		"more of them, and switches the lists on and off." };

static const struct table_row destination_authority_rows[] = {
	{ "system", TABLE_BOOL, AT(authorities, system), .standard = "false",
		.manual = "Trust the certificate authorities of the operating system here, too." },
	{ "custom", TABLE_PATH, AT(authorities, custom),
		.manual = "PEM file with certificate authorities to trust here." },
};

const struct table_section table_destination_authorities = { "destinations.authorities", NULL,
	sizeof(struct config_authorities), ROWS(destination_authority_rows),
	.manual =
		"Certificate authorities for the servers of one destination, instead of those of `authorities` and `postern ca`: "
		"none but those that are written here are trusted." };

static const struct table_word said[] = {
	{ "true", CONFIG_SAID_TRUE },
	{ "false", CONFIG_SAID_FALSE },
	{ NULL, 0 },
};

static const struct table_word pkix_usages[] = {
	{ "unusable", CONFIG_PKIX_USAGES_UNUSABLE },
	{ "enforce", CONFIG_PKIX_USAGES_ENFORCE },
	{ NULL, 0 },
};

static const struct table_word insecure_mx[] = {
	{ "dane", CONFIG_INSECURE_MX_DANE },
	{ "encrypt", CONFIG_INSECURE_MX_ENCRYPT },
	{ "may", CONFIG_INSECURE_MX_MAY },
	{ NULL, 0 },
};

/* Which peers an entry of either list names. */
#define PEERS                                                                                                                                 \
	"An entry is an address, a network such as `192.0.2.0/24`, a host name or a domain such as `bank.example`, or `.bank.example` (also " \
	"written `*.bank.example`) for all names below it; it is compared with the address of the server, with its host name and with the domain of the recipient."

static const struct table_row tls_rows[] = {
	{ "enabled", TABLE_BOOL, AT(tls_settings, enabled), .standard = "true",
		.manual =
			"The switch for all TLS. false: no listener offers or takes STARTTLS, and deliveries never use TLS. What demands TLS all the same gets no mail: clients whose policy says "
			"`tls: required` are refused with 530; mail to a destination with a level `required...` or mandatory DANE, to a server of `starttls_required`, or by a route with `implicit_tls` or "
			"a login waits. Everything else goes in clear." },
	{ "cn_fallback", TABLE_BOOL, AT(tls_settings, cn_fallback), .standard = "false",
		.manual =
			"Let the common name of a certificate count where it holds no host name (subjectAltName) at all, and no authority above it is "
			"constrained to some names. Off, it never counts (RFC 9525). On, the level required-verify also takes a common name that the "
			"DNS gives the server's address, and is then only as safe as the DNS." },
	{ "fqdn_validation", TABLE_BOOL, AT(tls_settings, fqdn_validation), .standard = "false",
		.manual =
			"Accept only certificates whose host names are all fully qualified: letters, digits and hyphens, two labels at least." },
	{ "x509_validation", TABLE_BOOL, AT(tls_settings, x509_validation), .standard = "false",
		.manual =
			"Let a certificate count as good only when it is signed soundly, at the level preferred-verify and in what is recorded, too: none in its chain but the root's by MD2, MD5 or SHA-1, and "
			"no RSA key below 2048 bits. Where a good certificate is demanded others are never accepted." },
	{ "stapling", TABLE_BOOL, AT(tls_settings, stapling), .standard = "true",
		.manual =
			"Show clients who ask for it what the OCSP responder of a certificate of ours says about it. It is fetched ahead, where the certificate names a responder and its chain "
			"holds its issuer." },
	{ "starttls_when_possible", TABLE_CHOICE, AT(tls_settings, starttls_said), .optional = true,
		.words = said,
		.manual =
			"How mail is delivered where no entry of `destinations` says `tls`: true, as without this key, is the level preferred, false is none. Beside a `default` entry with another level it is refused." },
	{ "retry_without_tls", TABLE_BOOL, AT(tls_settings, retry_without_tls), .standard = "false",
		.manual =
			"Deliver in clear to a server whose TLS handshake failed, for at most an hour: the list of such servers is emptied as a whole every hour. "
			"Never where anything demands TLS: a level `required...`, DANE, `starttls_required`. Whoever can disturb handshakes can thereby read mail; off, such mail waits." },
	{ "starttls_never", TABLE_PEERS, AT(tls_settings, starttls_never),
		AT(tls_settings, starttls_never_count),
		.manual =
			"Servers that mail is delivered to in clear, although they may offer STARTTLS. " PEERS
			" Where anything else demands TLS, mail waits; but `starttls_required` wins." },
	{ "starttls_required", TABLE_PEERS, AT(tls_settings, starttls_required),
		AT(tls_settings, starttls_required_count),
		.manual = "Servers that get no mail without TLS. " PEERS },
	{ "dane_pkix_usages", TABLE_CHOICE, AT(tls_settings, dane_pkix_usages), .standard = "unusable",
		.words = pkix_usages,
		.manual =
			"TLSA records of the usages 0 and 1 (PKIX-TA, PKIX-EE). unusable: they are ignored, as RFC 7672 says for mail; enforce: they count, and an authority "
			"that we trust must vouch for the certificate besides." },
	{ "dane_insecure_mx", TABLE_CHOICE, AT(tls_settings, dane_insecure_mx), .standard = "dane",
		.words = insecure_mx,
		.manual =
			"What opportunistic DANE means for a server with secure TLSA records whose name comes from an insecure MX record. dane: its certificate must match "
			"all the same; encrypt: TLS is demanded, the certificate is not compared; may: as if there were no TLSA records." },
	{ "requiretls", TABLE_WAITING, .manual = "REQUIRETLS (RFC 8689)." },
	{ "mta_sts", TABLE_WAITING, .manual = "MTA-STS policies of other domains (RFC 8461)." },
};

const struct table_section table_tls = { "tls", NULL, sizeof(struct config_tls_settings), ROWS(tls_rows),
	.manual = "What holds for every certificate that is verified or shown, and for every delivery." };

/* Read-only (E43); where they differ from the defaults of a new profile is seen here. */
const struct config_tls_profile table_predefined_profiles[TABLE_PREDEFINED_PROFILES] = {
	{ .name = "TLS-Server.Standard",
		.min_version = CONFIG_TLS_1_2,
		.max_version = CONFIG_TLS_1_3,
		.ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20", /* no CBC: scanners and LUCKY13 */
		.pfs = CONFIG_PFS_ALLOWED,
		.compliance = true },
	{ .name = "TLS-Client.Standard",
		.min_version = CONFIG_TLS_1_2,
		.max_version = CONFIG_TLS_1_3,
		.pfs = CONFIG_PFS_ALLOWED,
		.compliance = false },
};

static char *check_profile_name(const void *owner, struct text value, void *entry)
{
	(void)entry;
	for (size_t i = 0; i < COUNT(table_predefined_profiles); i++)
		if (text_equal(text_of(table_predefined_profiles[i].name), value))
			return text_must(talloc_asprintf(owner,
				"`%s` is predefined and cannot be changed: give this copy another name and "
				"use that one",
				table_predefined_profiles[i].name));
	return NULL;
}

static const struct table_row profile_rows[] = {
	{ "name", TABLE_NAME, AT(tls_profile, name), .required = true, .check = check_profile_name,
		.manual = "Name by which listeners refer to this profile." },
	{ "min_version", TABLE_CHOICE, AT(tls_profile, min_version), .standard = "1.2", .words = versions,
		.manual =
			"Oldest TLS version that is used; below 1.2 OpenSSL's security level is lowered to 0 "
			"for this profile, because those versions cannot sign with anything better than "
			"SHA-1. SSL is never used." },
	{ "max_version", TABLE_CHOICE, AT(tls_profile, max_version), .standard = "1.3", .words = versions,
		.manual = "Newest TLS version that is used." },
	{ "ciphers", TABLE_TEXT, AT(tls_profile, ciphers),
		.manual =
			"OpenSSL cipher list for TLS 1.2 and below, such as `ECDHE+AESGCM:ECDHE+CHACHA20`; "
			"the default is the library's. Its order is the order of preference. Anonymous ciphers and ciphers without encryption are always left out. DHE is used only when "
			"this list is written." },
	{ "groups", TABLE_TEXT, AT(tls_profile, groups),
		.manual = "Groups for the key exchange, such as `X25519:P-256`; the "
			  "default is the library's." },
	{ "pfs", TABLE_CHOICE, AT(tls_profile, pfs), .standard = "allowed", .words = pfs_words,
		.manual =
			"Forward secrecy. allowed: with or without; required: only ECDHE and DHE; none: only RSA "
			"key exchange, so TLS 1.2 at most, and the certificate must hold an RSA key." },
	{ "ocsp", TABLE_CHOICE, AT(tls_profile, ocsp), .standard = "off", .words = ocsp_words,
		.manual =
			"Whether the responder that a server's certificate names is asked if it was revoked, after the certificate was verified (by a verifying level of `destinations`, or where a route logs in). lenient: only "
			"`revoked` refuses it; strict: anything but `good` does, also a certificate that names no responder. Listeners do not use it yet." },
	{ "compliance", TABLE_BOOL, AT(tls_profile, compliance), .standard = "true",
		.manual = "Drop connections whose handshake does not follow the protocol. On SMTP listeners "
			  "false has the same effect: what comes behind STARTTLS and is no TLS record ends "
			  "the connection." },
};

const struct table_section table_profiles = { "tls_profiles", "name", sizeof(struct config_tls_profile),
	ROWS(profile_rows), NULL,
	"How TLS handshakes are done. Two profiles exist without being written and cannot be changed: "
	"`TLS-Server.Standard` has the defaults below, but of TLS 1.2 only the suites with ECDHE and AES-GCM or ChaCha20; "
	"`TLS-Client.Standard` has the defaults with `compliance: false`; it is meant for connections that the gateway "
	"makes, so do not name it in a listener." };
