/* The model is slow and plain on purpose: it reads commands with its own eyes and rebuilds the content from the raw stream. */
#include "session_stage.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "base/log.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "lookup/dns_mx.h"
#include "net/conn.h"
#include "queue/queue.h"
#include "report/metrics.h"
#include "report/notes.h"
#include "session/call_ahead.h"
#include "session/smtp.h"

enum { TURNS_MAX = 4096, RECIPIENTS_MAX = 1024, REPLY_MAX = 512 };

struct buffer {
	char *at;
	size_t len, room;
};

/* One session at a time; the session's functions are called with a connection only, so the stage is static. */
static struct stage {
	const struct session_script *script;
	struct buffer stream;	 /* all that the client says */
	size_t turns[TURNS_MAX]; /* where each turn ends */
	size_t turn_count, turn; /* `turn` of them have arrived */
	size_t taken;		 /* bytes the session has taken */
	char *lent;		 /* what was shown last, in a block of its exact size */
	struct buffer reply;	 /* the open line of the answer */
	struct conn conn;
	unsigned commits, commits_heard; /* mails stored; mails the client was promised */

	/* the client's view */
	char command[4096]; /* the last one */
	bool commanded;	    /* one was read; its answers are counted */
	unsigned answers;
	size_t behind; /* where the bytes behind the command start */
	bool greeted, mail, data, hung_up;
	bool chunk_refused; /* the mail is lost: nothing of it may be promised any more */
	char sender_line[4096];
	size_t recipient_count;
	char *recipient_lines[RECIPIENTS_MAX];
	struct buffer chunks; /* of BDAT, as far as acknowledged */
} stage;

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void add(struct buffer *buffer, const char *bytes, size_t len)
{
	if (buffer->len + len > buffer->room) {
		buffer->room = (buffer->len + len) * 2;
		buffer->at = realloc(buffer->at, buffer->room);
	}
	if (len > 0)
		memcpy(buffer->at + buffer->len, bytes, len);
	buffer->len += len;
}

/* ---- The client's view ---- */

static bool is_command(const char *verb)
{
	size_t len = strlen(verb);

	return strncasecmp(stage.command, verb, len) == 0 &&
	       (stage.command[len] == '\0' || stage.command[len] == ' ');
}

static void forget_mail(void)
{
	stage.mail = stage.data = stage.chunk_refused = false;
	for (size_t i = 0; i < stage.recipient_count; i++)
		free(stage.recipient_lines[i]);
	stage.recipient_count = 0;
	stage.chunks.len = 0;
}

/* The chunk that the last command announced; -1 when the announcement makes no sense. */
static int64_t announced(bool *ret_last)
{
	const char *c = stage.command + strlen("BDAT");
	int64_t size = 0;
	unsigned digits = 0;

	*ret_last = false;
	while (*c == ' ')
		c++;
	for (; isdigit((unsigned char)*c) && digits < 19; digits++, c++)
		if (__builtin_mul_overflow(size, 10, &size) || __builtin_add_overflow(size, *c - '0', &size))
			return -1;
	if (*c == ' ') {
		while (*c == ' ')
			c++;
		*ret_last = strncasecmp(c, "LAST", 4) == 0;
		c += *ret_last ? 4 : 0;
		while (*c == ' ')
			c++;
	}
	return digits > 0 && *c == '\0' ? size : -1;
}

/* Whatever the answer to BDAT was: only a session that took exactly the chunk may go on reading commands. */
static void check_chunk_was_taken(void)
{
	bool last;

	if (stage.commanded && is_command("BDAT"))
		must(announced(&last) == (int64_t)(stage.taken - stage.behind));
}

/* Each command has one answer; DATA that was allowed has two. */
static void check_answers(void)
{
	if (stage.commanded)
		must(stage.answers == (stage.data ? 2 : 1));
}

static void hear_rcpt(void)
{
	must(stage.mail && stage.recipient_count < RECIPIENTS_MAX);
	stage.recipient_lines[stage.recipient_count++] = strdup(stage.command);
}

static void hear_promise(bool positive)
{
	must(positive == (stage.commits > stage.commits_heard));
	stage.commits_heard = stage.commits;
}

static void hear_bdat(bool positive)
{
	bool last;
	int64_t size = announced(&last);

	if (positive) {
		must(stage.mail && stage.recipient_count > 0);
		must(size == (int64_t)(stage.taken - stage.behind));
		if (!last)
			add(&stage.chunks, stage.stream.at + stage.behind, (size_t)size);
	}
	if (last)
		hear_promise(positive);
	stage.chunk_refused |= !positive;
	if (last)
		forget_mail();
}

/* The last line of an answer. */
static void hear(const char *line)
{
	bool positive = line[0] == '2';

	stage.answers++;
	if (!stage.commanded)
		return;
	if (positive && (is_command("EHLO") || is_command("HELO"))) {
		stage.greeted = true;
		forget_mail();
	} else if (positive && strncasecmp(stage.command, "MAIL", 4) == 0) {
		must(stage.greeted && (!stage.mail || stage.chunk_refused));
		forget_mail();
		stage.mail = true;
		strcpy(stage.sender_line, stage.command);
	} else if (positive && strncasecmp(stage.command, "RCPT", 4) == 0) {
		hear_rcpt();
	} else if (is_command("DATA") && line[0] == '3') {
		must(stage.mail && stage.recipient_count > 0 && !stage.data);
		stage.data = true;
		stage.behind = stage.taken;
	} else if (stage.data) {
		hear_promise(positive);
	} else if (is_command("BDAT")) {
		hear_bdat(positive);
	} else if (positive && is_command("RSET")) {
		forget_mail();
	} else if (positive && (is_command("XCLIENT") || is_command("STARTTLS"))) {
		stage.greeted = false;
		forget_mail();
	}
}

/* RFC 5321 section 4.2, RFC 2034. */
static void check_reply(const char *line, size_t len)
{
	must(len >= 4 && len <= REPLY_MAX - 2 && (line[3] == ' ' || line[3] == '-'));
	must(line[0] >= '2' && line[0] <= '5' && isdigit((unsigned char)line[1]) &&
		isdigit((unsigned char)line[2]));
	for (size_t i = 0; i < len; i++)
		must((unsigned char)line[i] >= ' ' && (unsigned char)line[i] < 0x7f);
	if (line[0] == '3' || !stage.commanded || is_command("EHLO") || is_command("HELO"))
		return;
	if (is_command("XCLIENT") && line[0] == '2')
		return;
	must(len > 6 && line[4] == line[0] && line[5] == '.');
}

static void check_envelope(const struct envelope *envelope)
{
	must(stage.greeted && stage.mail && !stage.chunk_refused && stage.recipient_count > 0);
	must(strstr(stage.sender_line, envelope->sender) != NULL);
	const char *at = strrchr(envelope->sender, '@');
	must(at == NULL || tolower((unsigned char)at[1]) != 'n');
	must(envelope->recipient_count == stage.recipient_count);
	for (size_t i = 0; i < stage.recipient_count; i++)
		must(strstr(stage.recipient_lines[i], envelope->recipients[i]) != NULL ||
			strcasestr(stage.recipient_lines[i], "postmaster>") != NULL);
}

/* What DATA carried, rebuilt line by line from the raw stream between 354 and what has been taken. */
static struct buffer undotted(void)
{
	const char *raw = stage.stream.at + stage.behind;
	size_t len = stage.taken - stage.behind;
	struct buffer out = { 0 };
	bool line_start = true;

	must(len >= 3 && memcmp(raw + len - 3, ".\r\n", 3) == 0);
	for (size_t i = 0; i < len - 3; i++) {
		if (line_start && raw[i] == '.') {
			must(len - i < 3 || memcmp(raw + i, ".\r\n", 3) != 0); /* the end came before */
			line_start = false;
			continue;
		}
		add(&out, raw + i, 1);
		line_start = i > 0 && raw[i - 1] == '\r' && raw[i] == '\n';
	}
	must(line_start); /* CRLF stands before the last dot */
	return out;
}

static struct buffer bdat_content(void)
{
	struct buffer out = { 0 };

	add(&out, stage.chunks.at, stage.chunks.len);
	add(&out, stage.stream.at + stage.behind, stage.taken - stage.behind);
	return out;
}

/* The content is ours and theirs: our Received field, which nothing of theirs can continue, then their bytes. */
static void check_content(const struct content *content)
{
	struct buffer expected = stage.data ? undotted() : bdat_content();
	char *bytes = malloc(content->size + 1);

	if (content->fd >= 0)
		must(pread(content->fd, bytes, content->size, 0) == (ssize_t)content->size);
	else
		memcpy(bytes, content->bytes.at, content->size);

	must(content->size > expected.len);
	size_t head = content->size - expected.len;
	must(expected.len == 0 || memcmp(bytes + head, expected.at, expected.len) == 0);
	must(head > 10 && memcmp(bytes, "Received: ", 10) == 0 && memcmp(bytes + head - 2, "\r\n", 2) == 0);
	if (0 && expected.len > 0 && (expected.at[0] == ' ' || expected.at[0] == '\t'))
		must(memcmp(bytes + head - 4, "\r\n\r\n", 4) == 0);
	free(expected.at);
	free(bytes);
}

/* ---- net/conn: the client's bytes arrive turn by turn ---- */

static size_t arrived(void)
{
	return stage.turn == 0 ? 0 : stage.turns[stage.turn - 1];
}

/* The next turn arrives; ERR_CLOSED after the last one. */
static int next_turn(void)
{
	if (stage.turn == stage.turn_count)
		return ERR_CLOSED;
	stage.turn++;
	return 0;
}

static struct text lend(size_t len)
{
	free(stage.lent);
	stage.lent = malloc(MAX(len, (size_t)1));
	memcpy(stage.lent, stage.stream.at + stage.taken, len);
	return (struct text){ stage.lent, len };
}

void conn_set_deadline(struct conn *conn, int64_t deadline)
{
	(void)conn, (void)deadline;
}

void conn_set_stop(struct conn *conn, int stop_fd)
{
	(void)conn, (void)stop_fd;
}

bool conn_has_input(struct conn *conn)
{
	(void)conn;
	return stage.taken < arrived();
}

bool conn_has_line(struct conn *conn)
{
	(void)conn;
	return conn_has_input(conn) &&
	       memchr(stage.stream.at + stage.taken, '\n', arrived() - stage.taken) != NULL;
}

bool conn_is_readable(struct conn *conn)
{
	return conn_has_input(conn);
}

int conn_read_line(struct conn *conn, size_t max, struct text *ret_line, bool *ret_bare_lf)
{
	must(!stage.hung_up);
	check_answers();
	check_chunk_was_taken();
	if (stage.data)
		forget_mail();
	stage.commanded = false;
	stage.answers = 0;
	while (!conn_has_line(conn)) {
		if (arrived() - stage.taken > max)
			return ERR_TOO_LONG;
		if (next_turn() < 0)
			return ERR_CLOSED;
	}

	const char *start = stage.stream.at + stage.taken;
	size_t end = (size_t)((const char *)memchr(start, '\n', arrived() - stage.taken) - start);
	size_t len = end > 0 && start[end - 1] == '\r' ? end - 1 : end;
	if (len > max)
		return ERR_TOO_LONG;
	*ret_bare_lf = len == end;
	*ret_line = lend(len);
	stage.taken += end + 1;
	stage.behind = stage.taken;
	snprintf(stage.command, sizeof stage.command, "%.*s", (int)len, start);
	for (size_t i = strlen(stage.command); i > 0 && stage.command[i - 1] == ' '; i--)
		stage.command[i - 1] = '\0';
	stage.commanded = true;
	return 0;
}

int conn_peek(struct conn *conn, struct text *ret_bytes)
{
	while (!conn_has_input(conn))
		if (next_turn() < 0)
			return ERR_CLOSED;
	*ret_bytes = lend(MIN(arrived() - stage.taken, (size_t)16384));
	return 0;
}

void conn_take(struct conn *conn, size_t len)
{
	(void)conn;
	must(len <= arrived() - stage.taken);
	stage.taken += len;
}

int conn_write(struct conn *conn, struct text bytes)
{
	(void)conn;
	add(&stage.reply, bytes.at, bytes.len);
	if (stage.reply.len < 2 || memcmp(stage.reply.at + stage.reply.len - 2, "\r\n", 2) != 0)
		return 0;
	check_reply(stage.reply.at, stage.reply.len - 2);
	if (stage.reply.at[3] == ' ')
		hear(stage.reply.at);
	stage.reply.len = 0;
	return 0;
}

int conn_flush(struct conn *conn)
{
	(void)conn;
	must(stage.reply.len == 0);
	return 0;
}

void conn_drain(struct conn *conn)
{
	(void)conn;
	stage.hung_up = true;
}

int conn_tls_accept(struct conn *conn, struct tls_context *context)
{
	must(!conn_has_input(conn) && !conn->secured && context != NULL);
	if (stage.script->broken_tls)
		return ERR_TLS;
	conn->secured = true;
	strcpy(conn->evidence.protocol, "TLSv1.3");
	return 0;
}

/* ---- queue/queue, report/notes, session/call_ahead, lookup/dns_mx ---- */

/* Domains that begin with n take no mail, and those with u cannot be looked up. */
enum mx_end dns_mx_end(
	struct peer *resolver, const char *domain, const char *own_name, int stop_fd, int64_t deadline)
{
	(void)resolver, (void)own_name, (void)stop_fd, (void)deadline;
	return domain[0] == 'n' ? MX_END_NULL : domain[0] == 'u' ? MX_END_UNKNOWN : MX_GO;
}

/* The next hop knows everybody whose name starts with a, and is not sure of those with l. */
enum recipient_answer call_ahead_ask(
	struct call_ahead *call_ahead, const char *icid, const char *recipient, int64_t cache_ms, int stop_fd)
{
	(void)call_ahead, (void)icid, (void)cache_ms, (void)stop_fd;
	return recipient[0] == 'a' ? RECIPIENT_YES : recipient[0] == 'l' ? RECIPIENT_LATER : RECIPIENT_NO;
}

int queue_commit(struct peer *queue, const struct envelope *envelope, const struct content *content,
	int stop_fd, int64_t *ret_mid)
{
	(void)queue, (void)stop_fd;
	check_envelope(envelope);
	check_content(content);
	if (stage.script->commit_answer < 0)
		return stage.script->commit_answer;
	*ret_mid = ++stage.commits;
	return 0;
}

int queue_new_file(struct peer *queue, uint64_t size, int stop_fd)
{
	(void)queue, (void)size, (void)stop_fd;
	return memfd_create("content", MFD_CLOEXEC);
}

int queue_room(struct peer *queue, uint64_t size, int stop_fd)
{
	(void)queue, (void)size, (void)stop_fd;
	return 0;
}

void notes_add(struct notes *notes, const struct store_refusal *refusal)
{
	(void)notes;
	must(refusal->client != NULL && refusal->helo != NULL && refusal->sender != NULL &&
		refusal->reply != NULL);
}

/* ---- The play ---- */

static const struct config *house_config(enum session_house house)
{
	static const char *const policies[] = {
		[HOUSE_OPEN] = "tls: none",
		[HOUSE_TLS_REQUIRED] = "tls: required",
		[HOUSE_TLS_PREFERRED] = "tls: preferred",
		[HOUSE_TINY] = "tls: none",
	};
	static const char *const more[] = {
		[HOUSE_OPEN] = "limits: {errors: 30, commands: 100}\n",
		[HOUSE_TLS_REQUIRED] = "limits: {errors: 30, commands: 100}\n",
		[HOUSE_TLS_PREFERRED] = "limits: {errors: 30, commands: 100}\nrecipients: {call_ahead: on}\n",
		[HOUSE_TINY] = "",
	};
	static const struct config *known[HOUSE_COUNT];

	if (known[house] == NULL) {
		struct problems *problems = problems_new(NULL);
		struct bundle *bundle = bundle_new(problems, 1);
		char *yaml = talloc_asprintf(problems,
			"hostname: gw.good.test\nstate_dir: state\nruntime_dir: run\n"
			"certificates: [{name: main, chain: server.pem, key: server.key}]\n"
			"listeners: [{name: in, type: public, address: '127.0.0.1:0', certificate: main, policy: open, xclient_from: [192.0.2.1/32]}]\n"
			"mail_flow_policies: [{name: open, %s}]\n"
			"accepted_domains: [good.test]\nroutes: [{domain: good.test, next_hop: '127.0.0.1:25'}]\n%s",
			policies[house], more[house]);

		bundle_add(bundle, "test.yaml", text_of(yaml), BUNDLE_ALL);
		known[house] = config_read(bundle, "test.yaml", problems);
		for (size_t i = 0; i < problems->count; i++)
			fprintf(stderr, "%s\n", problems_format(problems, &problems->list[i]));
		must(known[house] != NULL);
		talloc_free(problems);
	}
	return known[house];
}

/* The client's words, without the bytes that end its turns. */
static void write_script(const struct session_script *script)
{
	const char *line = script->prelude;

	if (!script->early)
		stage.turns[stage.turn_count++] = 0;
	while (*line != '\0') {
		size_t len = strcspn(line, "\n");

		add(&stage.stream, line, len);
		add(&stage.stream, "\r\n", 2);
		stage.turns[stage.turn_count++] = stage.stream.len;
		line += len + (line[len] == '\n');
	}
	for (size_t i = 0; i < script->len; i++)
		if (script->bytes[i] != 0xff)
			add(&stage.stream, (const char *)&script->bytes[i], 1);
		else if (stage.turn_count < TURNS_MAX - 1)
			stage.turns[stage.turn_count++] = stage.stream.len;
	stage.turns[stage.turn_count++] = stage.stream.len;
	stage.turn = 1;
}

/* Smaller limits than a configuration may ask for, so that they are met often. */
static void shrink(struct config_limits *limits)
{
	limits->message_size = 1024;
	limits->header = 256;
	limits->line_length = 80;
	limits->recipients = 2;
	limits->errors = 3;
	limits->commands = 4;
}

void session_play(const struct session_script *script)
{
	struct config small = *house_config(script->house);
	const struct config *config = &small;
	struct metrics metrics = { 0 };
	struct smtp_house house = {
		.config = config,
		.listener = &config->listeners[0],
		.tls = (struct tls_context *)&stage, /* used only by what stands in for it here */
		.call_ahead = (struct call_ahead *)&stage,
		.metrics = &metrics,
		.drain_fd = -1,
		.stop_fd = -1,
	};

	if (script->house == HOUSE_TINY)
		shrink(&small.limits);
	log_open(-1, "fuzz", LOG_ERROR, LOG_PLAIN);
	stage.script = script;
	must(ip_parse(TEXT("192.0.2.1"), &stage.conn.peer) == 0);
	stage.conn.evidence.obtained = "none";
	write_script(script);
	smtp_session_run(&stage.conn, &house, "1a-1");
	must(stage.reply.len == 0 && stage.commits == stage.commits_heard);
	must((uint64_t)atomic_load(&metrics.values[METRIC_ACCEPTED]) == stage.commits);

	forget_mail();
	free(stage.stream.at);
	free(stage.lent);
	free(stage.reply.at);
	free(stage.chunks.at);
	stage = (struct stage){ 0 };
}
