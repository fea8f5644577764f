/* `queue flush`, `hold`, `release`, `delete`, `expire`, `reroute`: the same order again and again, until no page is left. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/cli_private.h"
#include "cli/cli_queue_private.h"
#include "cli/cli_verbs.h"
#include "queue/queue_admin.h"

enum { PROGRESS = 10000 };

static bool is_destructive(enum store_admin_command command)
{
	return command == STORE_ADMIN_DELETE || command == STORE_ADMIN_EXPIRE ||
	       command == STORE_ADMIN_REROUTE;
}

/* Order page after page; the sum in ret_done. */
static int order_all(int channel, const struct store_admin_order *order, uint64_t limit, const char *doing,
	struct store_admin_done *ret_done)
{
	struct store_admin_done sum = { 0 };
	char text[CLI_QUEUE_COUNT_MAX];
	uint64_t told = 0;

	while (!sum.ended && (limit == 0 || sum.matched < limit)) {
		struct store_admin_done page;
		const uint64_t left = limit == 0 ? STORE_ADMIN_PAGE : limit - sum.matched;
		int r = queue_admin_apply(
			channel, order, sum.after, (size_t)MIN(left, (uint64_t)STORE_ADMIN_PAGE), &page);

		if (r < 0) {
			if (sum.mails > 0 && order->command != STORE_ADMIN_COUNT)
				fprintf(stderr, "postern: stopped after %s\n",
					cli_queue_count(sum.mails, "mail", text));
			return r;
		}
		sum.matched += page.matched;
		sum.mails += page.mails;
		sum.recipients += page.recipients;
		sum.bytes += page.bytes;
		for (size_t i = 0; i < STORE_ADMIN_LEFT_END; i++)
			sum.left[i] += page.left[i];
		sum.unknown_hop = sum.unknown_hop || page.unknown_hop;
		sum.after = page.after;
		sum.ended = page.ended;
		if (sum.matched / PROGRESS != told) {
			told = sum.matched / PROGRESS;
			fprintf(stderr, "postern: %s: %llu mails so far\n", doing,
				(unsigned long long)sum.matched);
		}
	}
	*ret_done = sum;
	return 0;
}

/* True when the operator says yes, by option or at the terminal; else *ret_status says how it ends. */
static bool confirm(
	const struct cli_queue_options *options, const struct store_admin_done *count, int *ret_status)
{
	const char *them = count->matched == 1 ? "it" : "them", *to = options->to == NULL ? "" : " to ",
		   *target = options->to == NULL ? "" : options->to;
	char what[500], mails[CLI_QUEUE_COUNT_MAX], recipients[CLI_QUEUE_COUNT_MAX];

	if (options->yes)
		return true;
	fprintf(stderr, "postern queue %s%s%s: %s match%s (%s, %llu bytes)\n", options->verb, to, target,
		cli_queue_count(count->matched, "mail", mails), count->matched == 1 ? "es" : "",
		cli_queue_count(count->recipients, "recipient", recipients),
		(unsigned long long)count->bytes);
	snprintf(what, sizeof what, "%s %s%.200s%.200s", options->verb, them, to, target);
	return cli_verbs_confirm(false, what, ret_status);
}

/* Why recipients were left: as a key, and in words. */
static const struct {
	const char *key, *words;
} reasons[STORE_ADMIN_LEFT_END] = {
	[STORE_ADMIN_LEFT_BUSY] = { "busy", "being delivered to now; try again" },
	[STORE_ADMIN_LEFT_NOT_HELD] = { "not_held", "not held" },
	[STORE_ADMIN_LEFT_HELD_ALREADY] = { "held_already", "held already" },
	[STORE_ADMIN_LEFT_HELD] = { "held", "held; see queue release" },
	[STORE_ADMIN_LEFT_SUSPENDED] = { "suspended", "for a suspended destination; see queue resume" },
	[STORE_ADMIN_LEFT_EXPIRING] = { "expiring", "given up already" },
};

static void print_done(const struct cli_queue_options *options, const struct store_admin_done *done)
{
	char mails[CLI_QUEUE_COUNT_MAX], recipients[CLI_QUEUE_COUNT_MAX];
	json_t *left = json_object();

	for (size_t i = 0; i < STORE_ADMIN_LEFT_END; i++)
		if (done->left[i] > 0)
			json_object_set_new(left, reasons[i].key, json_integer((json_int_t)done->left[i]));
	if (options->json)
		cli_print_json(json_pack("{s:s, s:I, s:I, s:I, s:I, s:O}", "command", options->verb,
			"matched", (json_int_t)done->matched, "mails", (json_int_t)done->mails, "recipients",
			(json_int_t)done->recipients, "bytes", (json_int_t)done->bytes, "left", left));
	else
		printf("%s: %s, %s\n", options->verb, cli_queue_count(done->mails, "mail", mails),
			cli_queue_count(done->recipients, "recipient", recipients));
	for (size_t i = 0; !options->json && i < STORE_ADMIN_LEFT_END; i++)
		if (done->left[i] > 0)
			printf("left: %s, %s\n", cli_queue_count(done->left[i], "recipient", recipients),
				reasons[i].words);
	json_decref(left);
}

int cli_queue_order(int channel, const struct cli_queue_options *options, enum store_admin_command command)
{
	struct store_admin_order order = { .command = STORE_ADMIN_COUNT,
		.filter = options->filter,
		.next_hop = options->to == NULL || strcmp(options->to, "default") == 0 ? "" : options->to };
	struct store_admin_done done = { 0 };
	int r = 0, status = CLI_FINE;

	if (is_destructive(command)) {
		r = order_all(channel, &order, options->limit, "counting", &done);
		if (r < 0)
			return cli_queue_failed(r);
		if (done.unknown_hop)
			fprintf(stderr,
				"postern: no route and no queued mail has a next hop called %s; it is tried all the same\n",
				options->to);
		if (done.matched > 0 && !confirm(options, &done, &status))
			return status;
	}
	order.command = command;
	if (!is_destructive(command) || done.matched > 0)
		r = order_all(channel, &order, options->limit, options->verb, &done);
	if (r == -EINVAL && command == STORE_ADMIN_REROUTE) {
		fprintf(stderr,
			"postern queue reroute: --to %s: takes a next hop as a route does (192.0.2.1:25, mail.example.com, mx:example.com), or default\n",
			options->to);
		return CLI_USAGE;
	}
	if (r < 0)
		return cli_queue_failed(r);
	print_done(options, &done);
	if (done.matched == 0)
		fprintf(stderr, "postern: nothing that matches is queued\n");
	return done.matched == 0 || (is_destructive(command) && done.left[STORE_ADMIN_LEFT_BUSY] > 0)
		       ? CLI_FAILED
		       : CLI_FINE;
}
