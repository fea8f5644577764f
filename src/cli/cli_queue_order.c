/* `queue flush`, `hold`, `release`, `delete`, `expire`, `reroute`: the same order again and again, until no page is left. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/cli_private.h"
#include "cli/cli_queue_private.h"
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
	uint64_t told = 0;

	while (!sum.ended && (limit == 0 || sum.mails < limit)) {
		struct store_admin_done page;
		const uint64_t left = limit == 0 ? STORE_ADMIN_PAGE : limit - sum.mails;
		int r = queue_admin_apply(
			channel, order, sum.after, (size_t)MIN(left, (uint64_t)STORE_ADMIN_PAGE), &page);

		if (r < 0) {
			if (sum.mails > 0 && order->command != STORE_ADMIN_COUNT)
				fprintf(stderr, "postern: stopped after %llu mails\n",
					(unsigned long long)sum.mails);
			return r;
		}
		sum.mails += page.mails;
		sum.recipients += page.recipients;
		sum.bytes += page.bytes;
		sum.busy += page.busy;
		sum.after = page.after;
		sum.ended = page.ended;
		if (sum.mails / PROGRESS != told) {
			told = sum.mails / PROGRESS;
			fprintf(stderr, "postern: %s: %llu mails so far\n", doing,
				(unsigned long long)sum.mails);
		}
	}
	*ret_done = sum;
	return 0;
}

/* True when the operator says yes, by option or at the terminal; else *ret_status says how it ends. */
static bool confirm(
	const struct cli_queue_options *options, const struct store_admin_done *count, int *ret_status)
{
	char answer[16] = "";

	if (options->yes)
		return true;
	fprintf(stderr, "postern queue %s: %llu mails match (%llu recipients, %llu bytes)\n", options->verb,
		(unsigned long long)count->mails, (unsigned long long)count->recipients,
		(unsigned long long)count->bytes);
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		fprintf(stderr, "nothing was done; add --yes to %s them\n", options->verb);
		*ret_status = CLI_USAGE;
		return false;
	}
	fprintf(stderr, "%s them? [y/N] ", options->verb);
	if (fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y'))
		return true;
	fprintf(stderr, "nothing was done\n");
	*ret_status = CLI_FAILED;
	return false;
}

static void print_done(const struct cli_queue_options *options, const struct store_admin_done *done)
{
	if (options->json) {
		printf("{\"command\":\"%s\",\"mails\":%llu,\"recipients\":%llu,\"bytes\":%llu,\"busy\":%llu}\n",
			options->verb, (unsigned long long)done->mails, (unsigned long long)done->recipients,
			(unsigned long long)done->bytes, (unsigned long long)done->busy);
		return;
	}
	printf("%s: %llu mails, %llu recipients\n", options->verb, (unsigned long long)done->mails,
		(unsigned long long)done->recipients);
	if (done->busy > 0)
		printf("%llu recipients were left: they are being delivered to; try again\n",
			(unsigned long long)done->busy);
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
		if (done.mails > 0 && !confirm(options, &done, &status))
			return status;
	}
	order.command = command;
	if (!is_destructive(command) || done.mails > 0)
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
	if (done.mails == 0)
		fprintf(stderr, "postern: nothing that matches is queued\n");
	return done.mails == 0 || done.busy > 0 ? CLI_FAILED : CLI_FINE;
}
