#pragma once
/*
 * How much of the mail went under TLS (B57): counted from tracking records (report/track.h), one after the other, in bounded memory. A mail that
 * came in counts once, for the domain of its sender; one that went out once for each connection that took it, for the domain of its
 * recipients there. Failures are attempts: refused or broken off because of TLS.
 */

#include <jansson.h>

/* What was wanted of TLS on the leg: every level that may go on in clear is `preferred`. */
enum tls_report_wanted {
	TLS_REPORT_NONE,
	TLS_REPORT_LISTED, /* preferred, but the server is on the temporary list: its handshake had failed */
	TLS_REPORT_PREFERRED,
	TLS_REPORT_REQUIRED,
	TLS_REPORT_WANTED_COUNT
};

/* What came of it. */
enum tls_report_result {
	TLS_REPORT_CLEAR,
	TLS_REPORT_ENCRYPTED, /* not verified */
	TLS_REPORT_VERIFIED,
	TLS_REPORT_FAILED, /* and nothing was sent for that reason */
	TLS_REPORT_RESULT_COUNT,
};

/* What tracking has in place of a reply for a client whose handshake failed. */
#define TLS_REPORT_HANDSHAKE "the TLS handshake failed"

struct tls_report;

/* An empty report, of one domain (borrowed) or of all (NULL); owned by `owner`. */
struct tls_report *tls_report_new(const void *owner, const char *domain);

/* Count one record. */
void tls_report_add(struct tls_report *report, json_t *record);

/* {incoming: half, outgoing: half, domains: [{domain, incoming: sums, outgoing: sums}], domains_left_out}: the `most` domains with the most mail. Half: sums,
 * and {wanted: {none: sums, temporary-list: sums, preferred: sums, required: sums}, reasons: [{reason, count}], reasons_left_out}. Sums: {mails, in_tls, verified, in_clear,
 * failed, percent_in_tls}; the last is null without mail. The caller's. */
json_t *tls_report_json(struct tls_report *report, size_t most);
