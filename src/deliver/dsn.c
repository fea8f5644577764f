/*
 * A report: words for people, fields for machines, and the original or its header. One report for all that an attempt decided; whom it
 * concerns and how is policy/notify.c. Text from peers and senders goes through wire/report_text.c, so that nothing in it can open a
 * new field or part; the boundary is one that occurs nowhere in the parts.
 *
 * RFC 6533: the return path of a mail whose sender has an address beyond ASCII understands SMTPUTF8, so it gets the `global` types. All
 * others get seven bits, with the recipients' characters escaped when the mail itself was SMTPUTF8.
 */
#include "deliver/dsn.h"

#include <stdio.h>
#include <sys/random.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/ip.h"
#include "base/log.h"
#include "config/config.h"
#include "deliver/original.h"
#include "policy/notify.h"
#include "wire/address.h"
#include "wire/report_text.h"
#include "wire/smtp_command.h"

/* What a report says of the recipients of one kind. */
static const struct kind {
	enum notify_report report;
	const char *action, *subject, *words;
} kinds[] = {
	{ NOTIFY_FAILURE, "failed", "Undelivered mail returned to sender",
		"Your message could not be delivered to these recipients. It will not be tried again:" },
	{ NOTIFY_DOUBLE, "failed", "Undelivered report",
		"A message without a sender, such as a report, could not be delivered to these recipients:" },
	{ NOTIFY_DELAY, "delayed", "Mail is late",
		"Your message could not be delivered to these recipients yet. You need not send\r\n"
		"it again; it is tried for some days:" },
	{ NOTIFY_RELAYED, "relayed", "Mail was passed on",
		"Your message for these recipients was passed on to a mail server that will not report what becomes of it:" },
};

/* One report while it is made; it owns what it points to. */
struct report {
	const struct config *config;
	const struct lease *lease;
	const struct outcome *outcome;
	enum notify_report *of; /* each recipient's */
	size_t counts[NOTIFY_DROPPED + 1];
	bool global;
	enum report_text_form form;
	char until[CLOCK_TEXT_MAX]; /* when a late mail expires */
};

static char *clean(const struct report *report, const char *text)
{
	struct text t = text_of(text);
	char *out = text_must(talloc_size(report, t.len + 1));

	out[report_text_line(t, report->form, out)] = '\0';
	return out;
}

/* The RFC 3463 code in a reply if it fits the reply's class, else the plain class. */
static void status_of(const char *reply, char *ret_status, size_t size)
{
	unsigned class, subject, detail;
	int used = 0;

	if (sscanf(reply, "%*3u %1u.%3u.%3u%n", &class, &subject, &detail, &used) == 3 &&
		class == (unsigned)(reply[0] - '0') && (class == 2 || class == 4 || class == 5) &&
		(reply[used] == ' ' || reply[used] == '\0'))
		snprintf(ret_status, size, "%u.%u.%u", class, subject, detail);
	else
		snprintf(ret_status, size, "%c.0.0", reply[0] == '2' || reply[0] == '4' ? reply[0] : '5');
}

/* The server by its name, else by its address without the port, as names of type dns are; empty when none was dialled. */
static const char *remote_mta(const struct report *report, size_t index)
{
	const struct outcome_leg leg = envelope_leg(report->outcome, index);
	char literal[IP_TEXT_MAX];
	struct ip ip;

	if (leg.address[0] == '\0')
		return "";
	if (address_is_domain(text_of(leg.host)) && ip_parse(text_of(leg.host), &ip) < 0)
		return clean(report, leg.host);
	return ip_parse(text_of(leg.address), &ip) == 0
		       ? text_must(talloc_strdup(report, ip_format_literal(&ip, literal)))
		       : clean(report, leg.address);
}

static char *add_field(char *fields, const char *name, const char *type, const char *value)
{
	return value[0] == '\0'
		       ? fields
		       : text_must(talloc_asprintf_append_buffer(fields, "%s: %s%s\r\n", name, type, value));
}

static char *add_recipient(char *fields, const struct report *report, const struct kind *kind, size_t index)
{
	const struct envelope *e = &report->lease->envelope;
	const char *reply = report->outcome->recipients[index].reply;
	char status[24], date[CLOCK_TEXT_MAX], original[REPORT_TEXT_ADDRESS_MAX + 1],
		final[REPORT_TEXT_ADDRESS_MAX + 1];

	status_of(reply, status, sizeof status);
	original[e->orcpt == NULL ? 0 : report_text_orcpt(text_of(e->orcpt[index]), report->form, original)] =
		'\0';
	final[report_text_recipient(text_of(e->recipients[index]), report->form, final)] = '\0';
	fields = text_must(talloc_strdup_append_buffer(fields, "\r\n"));
	fields = add_field(fields, "Original-Recipient", "", original);
	fields = add_field(fields, "Final-Recipient", "", final);
	fields = add_field(fields, "Action", "", kind->action);
	fields = add_field(fields, "Status", "", status);
	fields = add_field(fields, "Remote-MTA", "dns; ", remote_mta(report, index));
	fields = add_field(fields, "Diagnostic-Code", "smtp; ", clean(report, reply));
	fields = add_field(fields, "Last-Attempt-Date", "", clock_mail_date(report->outcome->time_ms, date));
	return kind->report == NOTIFY_DELAY ? add_field(fields, "Will-Retry-Until", "", report->until)
					    : fields;
}

/* The second part: about the message, then about each recipient. */
static char *fields_of(const struct report *report)
{
	const struct envelope *e = &report->lease->envelope;
	char arrived[CLOCK_TEXT_MAX], *fields = text_must(talloc_strdup(report, ""));
	char *envid = text_must(talloc_size(report, text_of(e->envid).len + 1));

	envid[report_text_envid(text_of(e->envid), envid)] = '\0';
	fields = add_field(fields, "Original-Envelope-Id", "", envid);
	fields = add_field(fields, "Reporting-MTA", "dns; ", report->config->hostname);
	fields = add_field(fields, "Arrival-Date", "", clock_mail_date(e->received_ms, arrived));
	for (size_t k = 0; k < COUNT(kinds); k++)
		for (size_t i = 0; i < report->outcome->recipient_count; i++)
			if (report->of[i] == kinds[k].report)
				fields = add_recipient(fields, report, &kinds[k], i);
	return fields;
}

/* A recipient, which server it was about, and what became of it. */
static char *add_words(char *words, const struct report *report, size_t index)
{
	const char *server = remote_mta(report, index);

	return text_must(talloc_asprintf_append_buffer(words, "  %s\r\n%s%s%s    %s\r\n",
		clean(report, report->lease->envelope.recipients[index]),
		server[0] == '\0' ? "" : "    at the server ", server, server[0] == '\0' ? "" : ":\r\n",
		clean(report, report->outcome->recipients[index].reply)));
}

/* The first part. */
static char *words_of(const struct report *report)
{
	char *words = text_must(
		talloc_asprintf(report, "This is the mail gateway %s.\r\n", report->config->hostname));

	for (size_t k = 0; k < COUNT(kinds); k++) {
		if (report->counts[kinds[k].report] == 0)
			continue;
		words = text_must(talloc_asprintf_append_buffer(words, "\r\n%s\r\n\r\n", kinds[k].words));
		for (size_t i = 0; i < report->outcome->recipient_count; i++)
			if (report->of[i] == kinds[k].report)
				words = add_words(words, report, i);
	}
	return words;
}

static bool occurs(const char *boundary, struct text t)
{
	return memmem(t.at, t.len, boundary, strlen(boundary)) != NULL;
}

/* Ids that no clock makes: the mail, its recipient and the attempt are one report's only, in this state directory; chance separates
 * directories. */
static char *report_id(const struct report *report)
{
	uint64_t random = 0;

	(void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
	return text_must(talloc_asprintf(report, "%lld.%lld.%u.%016llx", (long long)report->outcome->mid,
		(long long)report->outcome->recipients[0].rid, report->outcome->attempt,
		(unsigned long long)random));
}

static const char *subject_of(const struct report *report)
{
	size_t k = 0;

	while (report->counts[kinds[k].report] == 0)
		k++;
	return kinds[k].subject;
}

static struct text compose(const struct report *report, const char *to, struct original original)
{
	const char *eight = original.eight_bit || report->global ? "Content-Transfer-Encoding: 8bit\r\n" : "";
	char *words = words_of(report), *fields = fields_of(report), *id = report_id(report), *boundary;
	char date[CLOCK_TEXT_MAX];
	unsigned number = 0;

	do {
		boundary = text_must(talloc_asprintf(report, "=_%s.%u", id, number++));
	} while (occurs(boundary, text_of(words)) || occurs(boundary, text_of(fields)) ||
		 occurs(boundary, original.bytes));

	char *content = text_must(talloc_asprintf(report->outcome,
		"From: Mail Delivery System <MAILER-DAEMON@%s>\r\n"
		"To: <%s>\r\n"
		"Subject: %s\r\n"
		"Date: %s\r\n"
		"Message-ID: <dsn.%s@%s>\r\n"
		"Auto-Submitted: auto-replied\r\n"
		"MIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=delivery-status;\r\n"
		" boundary=\"%s\"\r\n"
		"%s"
		"\r\n"
		"--%s\r\n"
		"Content-Type: text/plain; charset=%s\r\n"
		"%s"
		"\r\n"
		"%s"
		"\r\n"
		"--%s\r\n"
		"Content-Type: message/%sdelivery-status\r\n"
		"%s"
		"\r\n"
		"%s"
		"\r\n"
		"--%s\r\n"
		"Content-Type: %s\r\n"
		"%s"
		"\r\n",
		report->config->hostname, clean(report, to), subject_of(report),
		clock_mail_date(report->outcome->time_ms, date), id, report->config->hostname, boundary,
		eight, boundary, report->global ? "utf-8" : "us-ascii", report->global ? eight : "", words,
		boundary, report->global ? "global-" : "", report->global ? eight : "", fields, boundary,
		original.type, original.eight_bit ? eight : ""));
	content = talloc_strndup_append_buffer(content, original.bytes.at, original.bytes.len);
	content = text_must(talloc_asprintf_append_buffer(text_must(content), "\r\n--%s--\r\n", boundary));
	return text_of(content);
}

/* What is to be told of each recipient, and to whom. */
static void decide(struct report *report, int64_t age_ms, struct outcome *outcome)
{
	static const enum notify_end ends[] = { [OUTCOME_DELIVERED] = NOTIFY_DELIVERED,
		[OUTCOME_DEFERRED] = NOTIFY_WAITING,
		[OUTCOME_BOUNCED] = NOTIFY_FAILED };
	const struct config_delivery *delivery = &report->config->delivery;
	const struct envelope *e = &report->lease->envelope;

	for (size_t i = 0; i < outcome->recipient_count; i++) {
		struct outcome_recipient *recipient = &outcome->recipients[i];
		const unsigned notify = e->notify == NULL ? 0 : e->notify[i];
		const struct notify_facts facts = { .end = ends[recipient->state],
			.named = notify != 0,
			.success = notify & SMTP_NOTIFY_SUCCESS,
			.failure = notify & SMTP_NOTIFY_FAILURE,
			.delay = notify & SMTP_NOTIFY_DELAY,
			.null_sender = e->sender[0] == '\0',
			.late = delivery->delay_warning_ms > 0 && age_ms >= delivery->delay_warning_ms,
			.warned = report->lease->warned != NULL && report->lease->warned[i],
			.passed_on = recipient->peer_reports,
			.double_bounce = delivery->double_bounce != NULL,
			.to_double_bounce = delivery->double_bounce != NULL &&
					    text_equal_nocase(text_of(delivery->double_bounce),
						    text_of(e->recipients[i])) };
		const struct notify_decision decision = notify_decide(&facts);

		report->of[i] = decision.report;
		report->counts[decision.report]++;
		recipient->warned = decision.report == NOTIFY_DELAY;
		if (decision.report == NOTIFY_DROPPED)
			log_event(LOG_WARN, "dsn_dropped", log_num("mid", outcome->mid),
				log_num("rid", recipient->rid), log_str("recipient", e->recipients[i]),
				log_str("reply", recipient->reply), log_str("reason", decision.reason));
	}
}

static bool is_ascii(const char *text)
{
	while (*text != '\0' && (unsigned char)*text < 0x80)
		text++;
	return *text == '\0';
}

static struct envelope *envelope_of(const struct report *report, const char *to, bool eight_bit)
{
	struct envelope *dsn = text_must(talloc_zero(report->outcome, struct envelope));

	*dsn = (struct envelope){
		.received_ms = report->outcome->time_ms,
		.icid = text_must(talloc_asprintf(dsn, "dsn-%lld", (long long)report->outcome->mid)),
		.client = "local",
		.helo = report->config->hostname,
		.tls = "",
		.sender = "",
		.envid = "",
		.eight_bit = eight_bit || report->global,
		.utf8 = report->global,
		.recipients = text_must(talloc_zero_array(dsn, const char *, 1)),
		.notify = text_must(talloc_zero_array(dsn, unsigned, 1)),
		.orcpt = text_must(talloc_zero_array(dsn, const char *, 1)),
		.recipient_count = 1,
	};
	dsn->recipients[0] = text_copy(dsn, text_of(to));
	dsn->notify[0] = SMTP_NOTIFY_NEVER;
	dsn->orcpt[0] = "";
	return dsn;
}

void dsn_add(const struct config *config, const struct lease *lease, int64_t age_ms, struct outcome *outcome)
{
	const struct envelope *e = &lease->envelope;
	struct report *report = text_must(talloc_zero(outcome, struct report));

	*report = (struct report){ .config = config, .lease = lease, .outcome = outcome };
	report->of = text_must(
		talloc_zero_array(report, enum notify_report, (unsigned)outcome->recipient_count + 1));
	decide(report, age_ms, outcome);
	const size_t told = report->counts[NOTIFY_FAILURE] + report->counts[NOTIFY_DELAY] +
			    report->counts[NOTIFY_RELAYED] + report->counts[NOTIFY_DOUBLE];
	if (told > 0) {
		const char *to = e->sender[0] == '\0' ? config->delivery.double_bounce : e->sender;

		report->global = e->utf8 && !is_ascii(to);
		report->form = report->global ? REPORT_TEXT_UTF8
			       : e->utf8      ? REPORT_TEXT_ESCAPED
					      : REPORT_TEXT_ASCII;
		clock_mail_date(
			outcome->time_ms + MAX(0, config->delivery.expire_ms - age_ms), report->until);
		/* RFC 3461 section 4.3: only failures give the whole message back. */
		const bool whole = e->ret == SMTP_RET_FULL && report->counts[NOTIFY_FAILURE] > 0 &&
				   lease->content.size <= config->delivery.bounce_size &&
				   (!e->utf8 || report->global);
		struct original original = original_of(report, &lease->content, whole, report->global);

		outcome->dsn_content = compose(report, to, original);
		outcome->dsn = envelope_of(report, to, original.eight_bit);
	}
	talloc_free(report);
}
