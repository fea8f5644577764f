/*
 * libunbound asks, validates and caches; nothing of the DNS is understood here but its three words for security. One thread only: that of the
 * event base.
 *
 * The library's defaults are made for one question at a time (16 ports, 2 TCP connections), which would let one silent server hold up all
 * others; and it writes its complaints to a stream, which become events here.
 */
#include "lookup/recursor.h"

#include <stdio.h>
#include <stdlib.h>

#include <talloc.h>
#include <unbound-event.h>
#include <unbound.h>

#include "base/base.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "config/trust_anchors.h"
#include "lookup/anchor_files.h"

enum { CLASS_IN = 1, SEC_BOGUS = 1, SEC_SECURE = 2 };

struct recursor {
	struct ub_ctx *ctx;
	FILE *complaints;
	bool ending;  /* the library answers what is on its way when it ends: that is no answer */
	char *recipe; /* everything that decides about its answers */
};

struct asked {
	const struct recursor *recursor;
	enum dns_type type;
	void (*done)(void *argument, struct dns_answer *answer);
	void *argument;
};

static const struct {
	const char *name, *value;
} options[] = {
	{ "outgoing-range:", "1024" }, /* questions on their way at once */
	{ "num-queries-per-thread:", "1024" }, { "outgoing-num-tcp:", "64" }, { "msg-cache-size:", "16m" },
	{ "rrset-cache-size:", "32m" }, { "key-cache-size:", "4m" }, { "neg-cache-size:", "4m" },
	/* How long it is remembered that a server was silent, in seconds: a resolver of `forward` that is silent for one zone would else not be asked
	 * for any, and no server for minutes after our own line was down. */
	{ "infra-host-ttl:", "1" }, { "infra-cache-numhosts:", "20000" },
	{ "val-log-level:", "2" },	     /* why an answer is bogus */
	{ "trust-anchor-signaling:", "no" }, /* tells the root servers which keys we have */
};

/* One line of the library's, as an event. */
static ssize_t complain(void *cookie, const char *bytes, size_t len)
{
	struct text line = text_trim((struct text){ bytes, len });

	(void)cookie;
	if (line.len > 0 && line.at[line.len - 1] == '\n')
		line.len--;
	if (line.len > 0)
		log_event(LOG_WARN, "dns_library", log_text("text", line));
	return (ssize_t)len;
}

static int destroy(struct recursor *recursor)
{
	recursor->ending = true;
	if (recursor->ctx != NULL)
		ub_ctx_delete(recursor->ctx);
	if (recursor->complaints != NULL)
		fclose(recursor->complaints);
	return 0;
}

/* A step of the recipe: once one has failed the others are left out. */
static void step(struct recursor *recursor, int *r, int result, const char *what, const char *value)
{
	if (*r == 0)
		*r = result;
	recursor->recipe = text_must(talloc_asprintf_append(recursor->recipe, "%s %s\n", what, value));
}

/* A private zone under the root's anchor would be bogus: the root proves that there is none. */
static bool has_anchor(const struct config *config, const struct trust_anchors *anchors, const char *zone)
{
	for (size_t i = 0; config->dns.trust_anchor_file != NULL && i < anchors->count; i++)
		if (anchors->list[i].zone[0] != '\0' && dns_is_below(zone, anchors->list[i].zone))
			return true;
	return false;
}

static int set_up(struct recursor *recursor, const struct config *config, const struct trust_anchors *anchors,
	const struct anchor_files *files)
{
	const struct config_dns *dns = &config->dns;
	struct ub_ctx *ctx = recursor->ctx;
	bool loopback = false;
	int r = 0;

	for (size_t i = 0; i < COUNT(options); i++)
		step(recursor, &r, ub_ctx_set_option(ctx, options[i].name, options[i].value), options[i].name,
			options[i].value);
	for (size_t i = 0; i < dns->forward_count; i++) {
		char address[IP_TEXT_MAX], text[IP_TEXT_MAX + 8];

		loopback = loopback || ip_is_loopback(&dns->forward[i]);
		snprintf(text, sizeof text, "%s@%u", ip_format(&dns->forward[i], address),
			dns->forward[i].port);
		step(recursor, &r, ub_ctx_set_fwd(ctx, text), "forward", text);
	}
	/* Else a zone of the Internet could make us ask whoever listens on this machine. */
	step(recursor, &r, ub_ctx_set_option(ctx, "do-not-query-localhost:", loopback ? "no" : "yes"),
		"localhost", loopback ? "yes" : "no");
	for (size_t i = 0; i < files->count; i++)
		step(recursor, &r, ub_ctx_add_ta_autr(ctx, files->names[i]), "anchors", files->names[i]);
	for (size_t i = 0; i < dns->private_zone_count; i++)
		if (!has_anchor(config, anchors, dns->private_zones[i]))
			step(recursor, &r, ub_ctx_set_option(ctx, "domain-insecure:", dns->private_zones[i]),
				"insecure", dns->private_zones[i]);
	/* These need, and make, a context whose options are final: errors in them are seen now. */
	for (size_t i = 0; i < dns->private_zone_count; i++)
		step(recursor, &r, ub_ctx_zone_add(ctx, dns->private_zones[i], "transparent"), "private",
			dns->private_zones[i]);
	step(recursor, &r, ub_ctx_zone_remove(ctx, "none.invalid."), "final", "");
	return r;
}

static struct recursor *new_context(const void *owner, struct event_base *base)
{
	static const cookie_io_functions_t functions = { .write = complain };
	struct recursor *recursor = text_must(talloc_zero(owner, struct recursor));

	talloc_set_destructor(recursor, destroy);
	recursor->recipe = text_must(talloc_strdup(recursor, ""));
	recursor->complaints = text_must(fopencookie(NULL, "w", functions));
	setvbuf(recursor->complaints, NULL, _IOLBF, 0);
	recursor->ctx = text_must(ub_ctx_create_event(base));
	ub_ctx_debugout(recursor->ctx, recursor->complaints);
	return recursor;
}

/* With anchors as they were followed so far, or, `fresh`, as they are configured; NULL with why, owned by `owner`. */
static struct recursor *attempt(const void *owner, struct event_base *base, const struct config *config,
	const struct trust_anchors *anchors, bool fresh, const char **ret_why)
{
	struct anchor_files *files;
	int r = anchor_files_make(anchors, anchors, fresh, &files);

	if (r < 0) {
		*ret_why = text_must(talloc_asprintf(owner,
			"the directory resolver in state_dir cannot be written: %s; give it to the user that role resolver runs as",
			err_text(r)));
		return NULL;
	}
	struct recursor *recursor = new_context(owner, base);
	r = set_up(recursor, config, anchors, files);
	if (r == 0)
		return recursor;
	*ret_why = text_must(talloc_asprintf(owner, "the section dns cannot be used: %s", ub_strerror(r)));
	talloc_free(recursor);
	return NULL;
}

struct recursor *recursor_new(const void *owner, struct event_base *base, const struct config *config,
	const struct bundle *bundle, const char **ret_why)
{
	struct trust_anchors *anchors = trust_anchors_of(owner, config, bundle, ret_why);

	if (anchors == NULL)
		return NULL;
	struct recursor *recursor = attempt(owner, base, config, anchors, false, ret_why);
	if (recursor == NULL) /* a file that is damaged */
		recursor = attempt(owner, base, config, anchors, true, ret_why);
	talloc_free(anchors);
	return recursor;
}

bool recursor_same(const struct recursor *a, const struct recursor *b)
{
	return strcmp(a->recipe, b->recipe) == 0;
}

static void answered(void *argument, int code, void *packet, int len, int sec, char *why, int limited)
{
	struct asked *asked = argument;
	enum dns_security security = sec == SEC_BOGUS	 ? DNS_BOGUS
				     : sec == SEC_SECURE ? DNS_SECURE
							 : DNS_INSECURE;
	struct dns_answer *answer;

	(void)limited;
	if (asked->recursor->ending)
		return;
	if (code != 0 && security != DNS_BOGUS)
		answer = dns_failed(NULL, "no name server gave a usable answer");
	else
		answer = dns_answer_parse(
			NULL, (struct text){ packet, (size_t)MAX(len, 0) }, asked->type, security, why);
	asked->done(asked->argument, answer);
	talloc_free(asked);
}

void recursor_ask(struct recursor *recursor, const char *name, enum dns_type type,
	void (*done)(void *argument, struct dns_answer *answer), void *argument)
{
	struct asked *asked = text_must(talloc_zero(recursor, struct asked));
	char *full = text_must(talloc_asprintf(asked, "%s.", name));

	*asked = (struct asked){ .recursor = recursor, .type = type, .done = done, .argument = argument };
	int r = ub_resolve_event(recursor->ctx, full, (int)type, CLASS_IN, asked, answered, NULL);
	if (r == 0)
		return;
	log_event(LOG_ERROR, "dns_not_asked", log_str("name", name), log_str("reason", ub_strerror(r)));
	done(argument, dns_failed(NULL, "the question could not be asked"));
	talloc_free(asked);
}
