/* See mail.h. The content is made from its token, so that the checker needs no copy of what was committed. */
#include "mail.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "base/base.h"
#include "base/text.h"
#include "config/bundle.h"
#include "config/config.h"
#include "config/problems.h"
#include "queue/store.h"

static const char head[] = "hostname: gw.test\n"
			   "state_dir: state\n"
			   "runtime_dir: run\n"
			   "listeners: [{name: in, type: public, address: 127.0.0.1:2525, policy: all}]\n"
			   "mail_flow_policies: [{name: all, action: accept, tls: none}]\n"
			   "delivery: {concurrency: 64, retry: ";

/* Each domain is a destination of its own, so that the checker may lease all mail at once. */
static const struct config *read_config(const void *owner, const char *retry)
{
	char *accepted = text_must(talloc_strdup(owner, "accepted_domains: ["));
	char *routes = text_must(talloc_strdup(owner, "routes:\n"));
	struct problems *problems = problems_new(owner);
	struct bundle *bundle = bundle_new(owner, 1);

	for (unsigned i = 0; i < MAIL_DOMAINS; i++) {
		accepted = text_must(talloc_asprintf_append(accepted, "%sd%u.test", i == 0 ? "" : ", ", i));
		routes = text_must(talloc_asprintf_append(
			routes, "  - {domain: d%u.test, next_hop: 127.0.0.%u}\n", i, 10 + i));
	}
	char *yaml = text_must(talloc_asprintf(owner, "%s%s}\n%s]\n%s", head, retry, accepted, routes));
	bundle_add(bundle, "crash.yaml", text_of(yaml), BUNDLE_ALL);
	const struct config *config = config_read(bundle, "crash.yaml", problems);
	if (config == NULL) {
		printf("%s\n", problems_format(owner, &problems->list[0]));
		exit(EXIT_FAILURE);
	}
	return config;
}

struct store *mail_open_store(const void *owner, const char *directory, const char *retry, const char *prefix)
{
	int fd = open(
		directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* the store keeps it as long as it lives */
	const struct config *config = read_config(owner, retry);
	const char *why = "the directory cannot be opened";
	struct store *store = NULL;

	if (fd < 0 || store_open(owner, fd, config, &store, &why) < 0) {
		printf("%s%s\n", prefix, why);
		exit(EXIT_FAILURE);
	}
	config_release(config);
	return store;
}

/* Letters from a generator that starts with the token; eight at a time, because the checker makes megabytes of them. */
char *mail_content(const void *owner, const char *token, size_t size)
{
	char *content = text_must(talloc_size(owner, size + 1));
	size_t len = (size_t)snprintf(content, size, "Subject: %s\r\n\r\n", token);
	uint64_t dice = 0x9e3779b97f4a7c15u;

	for (const char *at = token; *at != '\0'; at++)
		dice = (dice ^ (uint8_t)*at) * 0x100000001b3u;
	for (; len < size; len += sizeof dice) {
		dice ^= dice << 13;
		dice ^= dice >> 7;
		dice ^= dice << 17;
		uint64_t letters = (dice & 0x0f0f0f0f0f0f0f0fu) + 0x6161616161616161u;
		memcpy(content + len, &letters, MIN(sizeof letters, size - len));
	}
	content[size] = '\0';
	return content;
}
