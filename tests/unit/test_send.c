/* The transaction against a peer that follows a script. What the peer hears is checked there, what became of each recipient here. */
#include "deliver/send.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "deliver/link.h"
#include "test_help.h"

/* The peer's rows: ">" says a line, "+" says it without waiting for the next row's line to be needed (the same segment as the line before),
 * "<" must hear a line that starts so, "=" must hear exactly this line, "data" takes content up to the dot, "#" takes that many bytes, "close"
 * hangs up. Behind the last row it must hear nothing more. */
struct peer_script {
	struct conn *conn;
	const char *const *rows;
	char *data;
	char wrong[600]; /* empty = nothing wrong */
};

static void wrong(struct peer_script *p, const char *row, struct text heard)
{
	snprintf(p->wrong, sizeof p->wrong, "heard \"" TEXT_FMT "\" at \"%.200s\"",
		TEXT_ARG(text_first(heard, 200)), row);
}

static void keep(struct peer_script *p, struct text bytes)
{
	p->data = text_must(talloc_asprintf_append_buffer(p->data, TEXT_FMT, TEXT_ARG(bytes)));
}

static bool take_data(struct peer_script *p)
{
	struct text line;
	bool bare_lf;

	while (conn_read_line(p->conn, 4000, &line, &bare_lf) == 0) {
		if (text_equal(line, TEXT(".")))
			return true;
		keep(p, line);
		keep(p, bare_lf ? TEXT("\n") : TEXT("\r\n"));
	}
	return false;
}

static bool take_bytes(struct peer_script *p, size_t count)
{
	struct text bytes;

	while (count > 0 && conn_peek(p->conn, &bytes) == 0) {
		bytes = text_first(bytes, count);
		keep(p, bytes);
		count -= bytes.len;
		conn_take(p->conn, bytes.len);
	}
	return count == 0;
}

static bool play_row(struct peer_script *p, const char *row)
{
	struct text line = TEXT("(closed)");
	bool bare_lf, fine;

	switch (row[0]) {
	case '>':
	case '+':
		conn_write(p->conn, text_of(row + 1));
		conn_write(p->conn, TEXT("\r\n"));
		return row[0] == '+' || conn_flush(p->conn) == 0;
	case '<':
	case '=':
		fine = conn_read_line(p->conn, 4000, &line, &bare_lf) == 0 &&
		       (row[0] == '<' ? text_starts_nocase(line, text_of(row + 1))
				      : text_equal(line, text_of(row + 1)));
		if (!fine)
			wrong(p, row, line);
		return fine;
	case 'd':
		fine = take_data(p);
		break;
	case '#':
		fine = take_bytes(p, (size_t)strtoul(row + 1, NULL, 10));
		break;
	default:
		return false;
	}
	if (!fine)
		wrong(p, row, TEXT("(too little)"));
	return fine;
}

static void *peer_run(void *argument)
{
	struct peer_script *p = argument;
	struct text line;
	bool bare_lf, going = true;

	for (const char *const *row = p->rows; going && *row != NULL; row++)
		going = play_row(p, *row);
	if (going && conn_read_line(p->conn, 4000, &line, &bare_lf) == 0)
		wrong(p, "(the end)", line);
	conn_free(p->conn);
	return NULL;
}

/* What the peer offers, in letters: p PIPELINING, 8 8BITMIME, u SMTPUTF8, c CHUNKING, d DSN, s SIZE, h nothing at all (HELO). */
static struct smtp_reply offers_of(const char *letters)
{
	return (struct smtp_reply){ .code = strchr(letters, 'h') == NULL ? 250 : 0,
		.has_pipelining = strchr(letters, 'p') != NULL,
		.has_8bitmime = strchr(letters, '8') != NULL,
		.has_smtputf8 = strchr(letters, 'u') != NULL,
		.has_chunking = strchr(letters, 'c') != NULL,
		.has_dsn = strchr(letters, 'd') != NULL,
		.has_size = strchr(letters, 's') != NULL };
}

struct rig {
	struct peer_script peer;
	struct link *link;
	struct lease *lease;
	struct outcome *outcome;
	bool untouched;
	int result;
};

#define CONTENT "Subject: hello\r\n\r\n.dot\r\nbody\r\n" /* 30 bytes */

/* A link, and a mail to `count` recipients r1@a.test ... */
static struct rig *rig_new(const char *letters, size_t count)
{
	struct rig *rig = text_must(talloc_zero(NULL, struct rig));
	int fds[2];

	help_tcp_pair(fds);
	rig->peer.conn = conn_new(fds[1]);
	rig->peer.data = text_must(talloc_strdup(NULL, ""));
	conn_set_deadline(rig->peer.conn, clock_mono_ms() + 60000);
	rig->link = text_must(talloc_zero(NULL, struct link));
	rig->link->conn = conn_new(fds[0]);
	rig->link->dcid = text_copy(rig->link, TEXT("1-1"));
	rig->link->offers = offers_of(letters);
	rig->link->timeouts = (struct config_timeouts){
		.mail_ms = 60000, .rcpt_ms = 60000, .data_ms = 60000, .block_ms = 60000, .end_ms = 60000
	};

	struct lease *lease = rig->lease = text_must(talloc_zero(rig, struct lease));
	lease->mid = 5;
	lease->domain = "a.test";
	lease->content = (struct content){ .bytes = TEXT(CONTENT), .fd = -1, .size = sizeof CONTENT - 1 };
	lease->envelope.sender = "s@x.test";
	lease->envelope.envid = "";
	lease->envelope.recipient_count = count;
	lease->envelope.recipients = text_must(talloc_zero_array(lease, const char *, (unsigned)count));
	for (size_t i = 0; i < count; i++)
		lease->envelope.recipients[i] = text_must(talloc_asprintf(lease, "r%zu@a.test", i + 1));

	struct outcome *outcome = rig->outcome = text_must(talloc_zero(rig, struct outcome));
	outcome->mid = 5;
	outcome->host = "mx.a.test";
	outcome->recipient_count = count;
	outcome->recipients =
		text_must(talloc_zero_array(outcome, struct outcome_recipient, (unsigned)count));
	for (size_t i = 0; i < count; i++)
		outcome->recipients[i].state = OUTCOME_DEFERRED;
	return rig;
}

static void set_content(struct rig *rig, struct text bytes)
{
	rig->lease->content = (struct content){ .bytes = bytes, .fd = -1, .size = bytes.len };
}

/* Send, and compare what became of each recipient: "state reply" must begin with `want`. */
static void run(const char *name, struct rig *rig, const char *const *rows, const char *const *want)
{
	pthread_t thread;

	rig->peer.rows = rows;
	assert_int_equal(pthread_create(&thread, NULL, peer_run, &rig->peer), 0);
	if (send_check(rig->lease, rig->outcome))
		rig->result = send_mail(rig->link, rig->lease, rig->outcome, &rig->untouched);
	conn_free(rig->link->conn);
	pthread_join(thread, NULL);
	if (rig->peer.wrong[0] != '\0')
		fail_msg("%s: the peer %s", name, rig->peer.wrong);
	for (size_t i = 0; i < rig->outcome->recipient_count; i++) {
		const struct outcome_recipient *r = &rig->outcome->recipients[i];
		char got[700];

		snprintf(got, sizeof got, "%s %s", envelope_state_name(r->state),
			r->reply == NULL ? "(none)" : r->reply);
		if (want[i] == NULL || strncmp(got, want[i], strlen(want[i])) != 0)
			fail_msg("%s: recipient %zu \"%s\", not \"%s\"", name, i + 1, got,
				want[i] == NULL ? "(nothing)" : want[i]);
	}
}

static void rig_free(struct rig *rig)
{
	talloc_free(rig->peer.data);
	talloc_free(rig->link);
	talloc_free(rig);
}

#define ROWS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define OK	  ">250 ok"
#define FROM	  "=MAIL FROM:<s@x.test>"
#define TO(n)	  "=RCPT TO:<r" #n "@a.test>"
#define DATA	  "=DATA", ">354 go", "data"
#define RESET	  "=RSET", OK
#define NO_MORE	  ">452 4.5.3 too many"
#define LOST	  "deferred 450 4.4.2 the connection was lost "

static const struct {
	const char *name, *offers;
	size_t count, most; /* most: LIMITS RCPTMAX */
	const char *rows[40], *want[8];
	int result;
} cases[] = {
	/* Splitting. */
	{ "2.25 LIMITS RCPTMAX=2", "p", 5, 2,
		{ FROM, TO(1), TO(2), OK, OK, OK, DATA, ">250 one", FROM, TO(3), TO(4), OK, OK, OK, DATA,
			">250 two", FROM, TO(5), OK, OK, DATA, ">250 three" },
		{ "delivered 250 one", "delivered 250 one", "delivered 250 two", "delivered 250 two",
			"delivered 250 three" },
		0 },
	{ "2.25 452 at the third: what fitted is learned", "p", 5, 0,
		{ FROM, TO(1), TO(2), TO(3), TO(4), TO(5), OK, OK, OK, NO_MORE, NO_MORE, NO_MORE, DATA,
			">250 one", FROM, TO(3), TO(4), OK, OK, OK, DATA, ">250 two", FROM, TO(5), OK, OK,
			DATA, ">250 three" },
		{ "delivered 250 one", "delivered 250 one", "delivered 250 two", "delivered 250 two",
			"delivered 250 three" },
		0 },
	{ "2.25 without pipelining nobody is asked in vain", "", 3, 0,
		{ FROM, OK, TO(1), OK, TO(2), NO_MORE, DATA, ">250 one", FROM, OK, TO(2), OK, DATA,
			">250 two", FROM, OK, TO(3), OK, DATA, ">250 three" },
		{ "delivered 250 one", "delivered 250 two", "delivered 250 three" }, 0 },
	{ "2.25 452 without an enhanced code", "p", 2, 0,
		{ FROM, TO(1), TO(2), OK, OK, ">452 too many recipients", DATA, ">250 one", FROM, TO(2), OK,
			OK, DATA, ">250 two" },
		{ "delivered 250 one", "delivered 250 two" }, 0 },
	{ "2.25 552 is no refusal of that recipient either", "p", 2, 0,
		{ FROM, TO(1), TO(2), OK, OK, ">552 too many recipients", DATA, ">250 one", FROM, TO(2), OK,
			OK, DATA, ">250 two" },
		{ "delivered 250 one", "delivered 250 two" }, 0 },
	{ "2.25 552 to the first one is", "p", 1, 0, { FROM, TO(1), OK, ">552 mailbox full", RESET },
		{ "bounced 552 mailbox full" }, 0 },
	{ "2.25 452 to the first one: later", "p", 2, 0, { FROM, TO(1), TO(2), OK, NO_MORE, NO_MORE, RESET },
		{ "deferred 452 4.5.3", "deferred 452 4.5.3" }, 0 },
	{ "452 for want of space is for that recipient", "p", 2, 0,
		{ FROM, TO(1), TO(2), OK, OK, ">452 4.3.1 no space", DATA, ">250 one" },
		{ "delivered 250 one", "deferred 452 4.3.1 no space" }, 0 },
	{ "2.23 refusals and a limit in one", "p", 4, 0,
		{ FROM, TO(1), TO(2), TO(3), TO(4), OK, ">550 5.1.1 no", OK, NO_MORE, ">450 4.2.1 later",
			DATA, ">250 one", FROM, TO(3), OK, OK, DATA, ">250 two" },
		{ "bounced 550 5.1.1", "delivered 250 one", "delivered 250 two", "deferred 450 4.2.1" }, 0 },
	{ "2.25 a message that is refused for good is offered for the others, too", "p", 2, 1,
		{ FROM, TO(1), OK, OK, DATA, ">554 5.7.1 no", RESET, FROM, TO(2), OK, OK, DATA, ">250 two" },
		{ "bounced 554 5.7.1 no", "delivered 250 two" }, 0 },
	{ "2.25 one that is refused for now is not sent again at once", "p", 2, 1,
		{ FROM, TO(1), OK, OK, DATA, ">452 4.3.1 full", RESET },
		{ "deferred 452 4.3.1 full", "deferred 452 4.3.1 full" }, 0 },
	{ "2.25 lost in the second transaction", "p", 2, 1,
		{ FROM, TO(1), OK, OK, DATA, ">250 one", FROM, "close" },
		{ "delivered 250 one", LOST "at MAIL" }, ERR_CLOSED },
	{ "lost at RSET: the rest knows", "p", 2, 1, { FROM, TO(1), OK, ">550 5.1.1 no", "=RSET", "close" },
		{ "bounced 550 5.1.1 no", LOST "at RSET" }, ERR_CLOSED },

	/* Pipelining. */
	{ "MAIL refused, its RCPTs too", "p", 2, 0,
		{ FROM, TO(1), TO(2), ">550 5.7.1 no", ">503 MAIL first", ">503 MAIL first", RESET },
		{ "bounced 550 5.7.1 no", "bounced 550 5.7.1 no" }, 0 },
	{ "closed in the middle of the replies", "p", 3, 0,
		{ FROM, TO(1), TO(2), TO(3), "+250 ok", "+250 ok", ">550 5.1.1 no", "close" },
		{ LOST "at RCPT", "bounced 550 5.1.1 no", LOST "at RCPT" }, ERR_CLOSED },
	{ "a reply that nobody asked for, behind MAIL", "", 1, 0, { FROM, "+250 ok", ">250 I was first" },
		{ "deferred 450 4.5.0 the peer does not speak SMTP at RCPT" }, ERR_FORMAT },
	{ "... behind the last RCPT", "p", 1, 0, { FROM, TO(1), "+250 ok", "+250 ok", ">354 I was first" },
		{ "deferred 450 4.5.0 the peer does not speak SMTP at DATA" }, ERR_FORMAT },
	{ "... behind 354: no reply to a message that was not sent", "p", 1, 0,
		{ FROM, TO(1), OK, OK, "=DATA", "+354 go", ">250 delivered, believe me" },
		{ "deferred 450 4.5.0 the peer does not speak SMTP during DATA" }, ERR_FORMAT },
	{ "... before BDAT", "pc", 1, 0, { FROM, TO(1), "+250 ok", "+250 ok", ">250 delivered, believe me" },
		{ "deferred 450 4.5.0 the peer does not speak SMTP during BDAT" }, ERR_FORMAT },
	{ "... behind the dot: the mail was taken", "p", 2, 1,
		{ FROM, TO(1), OK, OK, DATA, "+250 one", ">250 and another" },
		{ "delivered 250 one", "deferred 450 4.5.0 the peer does not speak SMTP at MAIL" },
		ERR_FORMAT },

	/* 421 ends everything at once, with the peer's words. */
	{ "421 to MAIL", "p", 1, 0, { FROM, TO(1), ">421 4.3.2 bye" }, { "deferred 421 4.3.2 bye" },
		ERR_CLOSED },
	{ "421 to the second RCPT", "p", 3, 0, { FROM, TO(1), TO(2), TO(3), OK, OK, ">421 4.3.2 bye" },
		{ "deferred 421 4.3.2 bye", "deferred 421 4.3.2 bye", "deferred 421 4.3.2 bye" },
		ERR_CLOSED },
	{ "421 behind a refused MAIL", "p", 1, 0, { FROM, TO(1), ">550 5.7.1 no", ">421 4.7.0 bye" },
		{ "deferred 550 5.7.1 no" }, ERR_CLOSED },
	{ "421 to DATA", "p", 1, 0, { FROM, TO(1), OK, OK, "=DATA", ">421 4.3.2 bye" },
		{ "deferred 421 4.3.2 bye" }, ERR_CLOSED },
	{ "421 to the dot", "p", 2, 1, { FROM, TO(1), OK, OK, DATA, ">421 4.3.2 bye" },
		{ "deferred 421 4.3.2 bye", "deferred 421 4.3.2 bye" }, ERR_CLOSED },

	/* The end of the message. */
	{ "2.21 lost after the dot", "p", 3, 2,
		{ FROM, TO(1), TO(2), OK, ">550 5.1.1 no", OK, DATA, "close" },
		{ "bounced 550 5.1.1 no", LOST "after the end of the message, which may have arrived",
			LOST "after the end of the message: " },
		ERR_CLOSED },
	{ "2.21 2.20 nonsense after the dot", "p", 1, 0, { FROM, TO(1), OK, OK, DATA, ">yes" },
		{ "deferred 450 4.5.0 the peer does not speak SMTP after the end of the message, which may have" },
		ERR_FORMAT },

	/* BDAT. */
	{ "content by BDAT", "pc", 1, 0, { FROM, TO(1), OK, OK, "=BDAT 30 LAST", "#30", ">250 one" },
		{ "delivered 250 one" }, 0 },
	{ "BDAT refused for good", "pc", 2, 1,
		{ FROM, TO(1), OK, OK, "=BDAT 30 LAST", "#30", ">554 5.7.1 no", RESET, FROM, TO(2), OK, OK,
			"=BDAT 30 LAST", "#30", ">250 two" },
		{ "bounced 554 5.7.1 no", "delivered 250 two" }, 0 },
	{ "2.21 lost after the chunk", "pc", 1, 0, { FROM, TO(1), OK, OK, "=BDAT 30 LAST", "#30", "close" },
		{ LOST "after the end of the message, which may have arrived" }, ERR_CLOSED },
	{ "no recipient, no chunk", "pc", 1, 0, { FROM, TO(1), OK, ">550 5.1.1 no", RESET },
		{ "bounced 550 5.1.1 no" }, 0 },
};

static void test_dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct rig *rig = rig_new(cases[i].offers, cases[i].count);

		rig->link->offers.rcpt_max = cases[i].most;
		run(cases[i].name, rig, cases[i].rows, cases[i].want);
		if (rig->result != cases[i].result)
			fail_msg("%s: %d", cases[i].name, rig->result);
		if ((rig->result < 0) != rig->link->broken && rig->result != ERR_CLOSED)
			fail_msg("%s: broken %d", cases[i].name, rig->link->broken);
		rig_free(rig);
	}
}

static void test_only_what_broke_before_the_first_answer_is_untouched(void **state)
{
	static const struct {
		const char *name, *rows[8];
		bool untouched;
	} ends[] = {
		{ "closed at MAIL", { FROM, "close" }, true },
		{ "421 to MAIL", { FROM, ">421 4.4.2 you were idle" }, true },
		{ "421 was there already", { ">421 4.4.2 you were idle", FROM, "close" }, true },
		{ "closed at RCPT", { FROM, OK, TO(1), "close" }, false },
		{ "421 to RCPT", { FROM, OK, TO(1), ">421 4.4.2 bye" }, false },
		{ "MAIL refused", { FROM, ">550 5.7.1 no", RESET }, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(ends); i++) {
		struct rig *rig = rig_new("", 1);

		run(ends[i].name, rig, ends[i].rows,
			ROWS(strstr(ends[i].rows[1], "550") ? "bounced" : "deferred"));
		if (rig->untouched != ends[i].untouched)
			fail_msg("%s: untouched %d", ends[i].name, rig->untouched);
		assert_int_equal(rig->link->mails, rig->untouched ? 0 : 1);
		rig_free(rig);
	}
}

static void test_a_settled_recipient_is_not_asked_again(void **state)
{
	struct rig *rig = rig_new("p", 3);

	(void)state;
	rig->outcome->recipients[1] =
		(struct outcome_recipient){ .state = OUTCOME_BOUNCED, .reply = "550 5.1.1 elsewhere" };
	run(__func__, rig, ROWS(FROM, TO(1), TO(3), OK, OK, OK, DATA, ">250 one"),
		ROWS("delivered 250 one", "bounced 550 5.1.1 elsewhere", "delivered 250 one"));
	rig_free(rig);
}

/* What is sent, by DATA and by BDAT. */

static const struct {
	const char *name;
	struct text content;
	const char *data, *size, *chunk;
} contents[] = {
	{ "2.31 dots", TEXT(".a\r\n..\r\n.\r\nb.\r\n"), "..a\r\n...\r\n..\r\nb.\r\n", "15",
		".a\r\n..\r\n.\r\nb.\r\n" },
	{ "1.37 no line end at the end", TEXT("a"), "a\r\n", "3", "a\r\n" },
	{ "1.25 bare CR and LF", TEXT("a\nb\r.\n"), "a\r\nb\r\n..\r\n", "9", "a\r\nb\r\n.\r\n" },
	{ "nothing", TEXT(""), "", "0", "" },
};

static void test_2_31_the_same_bytes_by_data_and_by_bdat(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(contents); i++) {
		struct rig *rig = rig_new("s", 1);
		char from[100], bdat[100], take[100];

		snprintf(from, sizeof from, FROM " SIZE=%s", contents[i].size);
		snprintf(bdat, sizeof bdat, "=BDAT %s LAST", contents[i].size);
		snprintf(take, sizeof take, "#%s", contents[i].size);
		set_content(rig, contents[i].content);
		run(contents[i].name, rig, ROWS(from, OK, TO(1), OK, DATA, OK), ROWS("delivered"));
		if (strcmp(rig->peer.data, contents[i].data) != 0)
			fail_msg("%s: DATA \"%s\"", contents[i].name, rig->peer.data);
		rig_free(rig);

		rig = rig_new("sc", 1);
		set_content(rig, contents[i].content);
		run(contents[i].name, rig, ROWS(from, OK, TO(1), OK, bdat, take, OK), ROWS("delivered"));
		if (strcmp(rig->peer.data, contents[i].chunk) != 0)
			fail_msg("%s: BDAT \"%s\"", contents[i].name, rig->peer.data);
		rig_free(rig);
	}
}

static void test_a_line_that_is_longer_than_the_pieces_it_is_sent_in(void **state)
{
	struct rig *rig = rig_new("c", 1);
	char *line = text_must(talloc_size(rig, 10001));

	(void)state;
	memset(line, '.', 10000);
	line[10000] = '\0';
	set_content(rig, (struct text){ line, 10000 });
	run(__func__, rig, ROWS(FROM, OK, TO(1), OK, "=BDAT 10002 LAST", "#10002", OK), ROWS("delivered"));
	assert_int_equal(strncmp(rig->peer.data, line, 10000), 0);
	rig_free(rig);
}

/* Parameters: what the peer understands of what the sender asked for. */

static const struct {
	const char *name, *offers;
	bool eight_bit, utf8;
	struct text content;
	const char *mail, *rcpt; /* NULL: nothing is sent */
	const char *want;
} parameters[] = {
	{ "1.43 all DSN parameters", "d", false, false, TEXT("a\r\n"),
		"=MAIL FROM:<s@x.test> RET=HDRS ENVID=QQ+3D1",
		"=RCPT TO:<r1@a.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2B40x", "delivered" },
	{ "1.43 a peer without DSN", "", false, false, TEXT("a\r\n"), FROM, TO(1), "delivered" },
	{ "1.39 BODY=8BITMIME travels on", "8", true, false, TEXT("a\r\n"), FROM " BODY=8BITMIME", TO(1),
		"delivered" },
	{ "1.39 8-bit bytes that were not announced are", "8", false, false, TEXT("a\r\n\r\n\xc3\xa4\r\n"),
		FROM " BODY=8BITMIME", TO(1), "delivered" },
	{ "1.39 8-bit bytes for a peer of 7 bits", "", true, false, TEXT("a: b\r\n\r\n\xc3\xa4\r\n"), NULL,
		NULL, "bounced 554 5.6.3" },
	{ "1.39 7-bit bytes that were announced as 8BITMIME", "", true, false, TEXT("a: b\r\n\r\na\r\n"),
		FROM, TO(1), "delivered" },
	{ "1.41 SMTPUTF8 travels on", "8u", false, true, TEXT("a: b\r\n"), FROM " SMTPUTF8", TO(1),
		"delivered" },
	{ "1.41 nothing in it needs SMTPUTF8", "8", false, true, TEXT("a: b\r\n\r\n\xc3\xa4\r\n"),
		FROM " BODY=8BITMIME", TO(1), "delivered" },
	{ "1.41 a UTF-8 header", "8", false, true, TEXT("a: \xc3\xa4\r\n\r\nb\r\n"), NULL, NULL,
		"bounced 553 5.6.7" },
	{ "1.41 a raw 8-bit header that was no SMTPUTF8", "8", false, false, TEXT("a: \xc3\xa4\r\n\r\nb\r\n"),
		FROM " BODY=8BITMIME", TO(1), "delivered" },
	{ "2.10 a UTF-8 header and a peer without EHLO", "8h", false, true, TEXT("a: \xc3\xa4\r\n\r\nb\r\n"),
		NULL, NULL, "deferred 450 4.6.7" },
};

static void test_parameters_travel_as_far_as_they_are_understood(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(parameters); i++) {
		struct rig *rig = rig_new(parameters[i].offers, 1);
		struct envelope *e = &rig->lease->envelope;
		bool dsn = strncmp(parameters[i].name, "1.43", 4) == 0;

		e->eight_bit = parameters[i].eight_bit;
		e->utf8 = parameters[i].utf8;
		e->ret = dsn ? 2 : 0;
		e->envid = dsn ? "QQ+3D1" : "";
		if (dsn) {
			e->notify = text_must(talloc_zero_array(rig, unsigned, 1));
			e->orcpt = text_must(talloc_zero_array(rig, const char *, 1));
			e->notify[0] = 2 | 4;
			e->orcpt[0] = "rfc822;Bob+2B40x";
		}
		set_content(rig, parameters[i].content);
		run(parameters[i].name, rig,
			parameters[i].mail == NULL
				? (const char *const[]){ NULL }
				: ROWS(parameters[i].mail, OK, parameters[i].rcpt, OK, DATA, OK),
			ROWS(parameters[i].want));
		rig_free(rig);
	}
}

static void test_1_41_ascii_recipients_get_what_utf8_ones_cannot(void **state)
{
	struct rig *rig = rig_new("8p", 2);

	(void)state;
	rig->lease->envelope.utf8 = true;
	rig->lease->envelope.recipients[0] = "j\xc3\xbcrgen@a.test";
	run(__func__, rig, ROWS(FROM, TO(2), OK, OK, DATA, OK), ROWS("bounced 553 5.6.7", "delivered"));
	rig_free(rig);
}

static void test_1_41_a_utf8_sender_is_for_nobody_without_smtputf8(void **state)
{
	struct rig *rig = rig_new("8p", 2);

	(void)state;
	rig->lease->envelope.utf8 = true;
	rig->lease->envelope.sender = "j\xc3\xbcrgen@x.test";
	run(__func__, rig, (const char *const[]){ NULL }, ROWS("bounced 553 5.6.7", "bounced 553 5.6.7"));
	rig_free(rig);
}

static void test_an_orcpt_in_utf8_stays_here_without_smtputf8(void **state)
{
	struct rig *rig = rig_new("d", 1);

	(void)state;
	rig->lease->envelope.notify = text_must(talloc_zero_array(rig, unsigned, 1));
	rig->lease->envelope.orcpt = text_must(talloc_zero_array(rig, const char *, 1));
	rig->lease->envelope.orcpt[0] = "utf-8;j\xc3\xbcrgen@a.test";
	run(__func__, rig, ROWS(FROM, OK, TO(1), OK, DATA, OK), ROWS("delivered"));
	rig_free(rig);
}

static void test_2_24_size_counts_what_goes_over_the_wire(void **state)
{
	(void)state;
	for (uint64_t limit = 2; limit <= 4; limit++) {
		struct rig *rig = rig_new("s", 1);

		rig->link->offers.size = limit;
		set_content(rig, TEXT("a")); /* 3 bytes with its line end */
		run(__func__, rig,
			limit < 3 ? (const char *const[]){ NULL }
				  : ROWS(FROM " SIZE=3", OK, TO(1), OK, DATA, OK),
			ROWS(limit < 3 ? "bounced 552 5.3.4" : "delivered"));
		rig_free(rig);
	}
}

/* What must never reach a peer. */

static const struct {
	const char *name, *sender, *recipient, *envid, *orcpt, *want;
} injections[] = {
	{ "a line end in the sender", "s@x.test>\r\nRSET\r\nMAIL FROM:<t@x.test", NULL, NULL, NULL,
		"bounced 553 5.1.7" },
	{ "a bare LF in the sender", "s\n@x.test", NULL, NULL, NULL, "bounced 553 5.1.7" },
	{ "a parameter in the sender", "s@x.test> SIZE=1 <", NULL, NULL, NULL, "bounced 553 5.1.7" },
	{ "a line end in the recipient", NULL, "r1@a.test>\r\nDATA\r\n", NULL, NULL, "bounced 553 5.1.3" },
	{ "a bare CR in the recipient", NULL, "r\r1@a.test", NULL, NULL, "bounced 553 5.1.3" },
	{ "a line end in quotes", NULL, "\"r\r\n1\"@a.test", NULL, NULL, "bounced 553 5.1.3" },
	{ "no recipient at all", NULL, "", NULL, NULL, "bounced 553 5.1.3" },
	{ "a line end in ENVID", NULL, NULL, "a\r\nRSET", NULL, "bounced 553 5.1.7" },
	{ "a blank in ENVID", NULL, NULL, "a SIZE=1", NULL, "bounced 553 5.1.7" },
	{ "a line end in ORCPT", NULL, NULL, NULL, "rfc822;a\r\nRSET", "bounced 553 5.1.3" },
};

static void test_2_32_what_holds_a_line_end_is_refused_before_a_byte_is_sent(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(injections); i++) {
		struct rig *rig = rig_new("pd", 2);
		struct envelope *e = &rig->lease->envelope;
		bool all = injections[i].sender != NULL || injections[i].envid != NULL;

		e->notify = text_must(talloc_zero_array(rig, unsigned, 2));
		e->orcpt = text_must(talloc_zero_array(rig, const char *, 2));
		e->orcpt[0] = injections[i].orcpt == NULL ? "" : injections[i].orcpt;
		e->orcpt[1] = "";
		if (injections[i].sender != NULL)
			e->sender = injections[i].sender;
		if (injections[i].recipient != NULL)
			e->recipients[0] = injections[i].recipient;
		if (injections[i].envid != NULL)
			e->envid = injections[i].envid;
		run(injections[i].name, rig,
			all ? (const char *const[]){ NULL } : ROWS(FROM, TO(2), OK, OK, DATA, OK),
			ROWS(injections[i].want, all ? injections[i].want : "delivered"));
		rig_free(rig);
	}
}

static void test_2_32_fine_addresses_pass(void **state)
{
	static const char *const fine[] = { "s@x.test", "\"a b\"@x.test", "a>b@x.test", "s@[192.0.2.1]",
		"j\xc3\xbcrgen@x.test", "\"\\\"\"@x.test" };
	struct rig *rig = rig_new("", 1);

	(void)state;
	for (size_t i = 0; i < COUNT(fine); i++) {
		rig->lease->envelope.sender = rig->lease->envelope.recipients[0] = fine[i];
		if (send_check(rig->lease, rig->outcome) == (strchr(fine[i], '>') != NULL))
			fail_msg("%s", fine[i]);
		rig->outcome->recipients[0].reply = NULL;
	}
	rig->lease->envelope.sender = "";
	rig->lease->envelope.recipients[0] = "postmaster";
	assert_true(send_check(rig->lease, rig->outcome));
	conn_free(rig->link->conn);
	conn_free(rig->peer.conn);
	rig_free(rig);
}

static void test_2_32_no_line_is_two(void **state)
{
	struct rig *rig = rig_new("", 1);

	(void)state;
	assert_int_equal(link_put(rig->link, "EHLO %s", "gw\r\nMAIL"), ERR_FORMAT);
	assert_true(rig->link->broken);
	conn_flush(rig->link->conn);
	conn_free(rig->link->conn);
	assert_int_equal(conn_peek(rig->peer.conn, &(struct text){ 0 }), ERR_CLOSED);
	conn_free(rig->peer.conn);
	rig_free(rig);
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	log_open(STDERR_FILENO, "test", LOG_ERROR, LOG_PLAIN);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_only_what_broke_before_the_first_answer_is_untouched),
		cmocka_unit_test(test_a_settled_recipient_is_not_asked_again),
		cmocka_unit_test(test_2_31_the_same_bytes_by_data_and_by_bdat),
		cmocka_unit_test(test_a_line_that_is_longer_than_the_pieces_it_is_sent_in),
		cmocka_unit_test(test_parameters_travel_as_far_as_they_are_understood),
		cmocka_unit_test(test_1_41_ascii_recipients_get_what_utf8_ones_cannot),
		cmocka_unit_test(test_1_41_a_utf8_sender_is_for_nobody_without_smtputf8),
		cmocka_unit_test(test_an_orcpt_in_utf8_stays_here_without_smtputf8),
		cmocka_unit_test(test_2_24_size_counts_what_goes_over_the_wire),
		cmocka_unit_test(test_2_32_what_holds_a_line_end_is_refused_before_a_byte_is_sent),
		cmocka_unit_test(test_2_32_fine_addresses_pass),
		cmocka_unit_test(test_2_32_no_line_is_two),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
