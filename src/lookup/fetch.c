/*
 * URLs come from certificates, too, which anybody may write: whoever is led to an address of the inside would ask there with our rights. So the addresses
 * are looked up here, and those that are not public are left out before libcurl hears of them; net/http connects to no other.
 */
#include "lookup/fetch.h"

#include <errno.h>
#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/err.h"
#include "base/ip.h"
#include "config/config.h"
#include "lookup/dns.h"
#include "net/http.h"
#include "wire/url.h"

struct places {
	struct ip list[HTTP_ADDRESSES_MAX];
	size_t count;
	bool left_out;	 /* one that is not public */
	const char *why; /* a lookup failed */
};

static bool is_allowed(const struct config_fetch *rules, const struct ip *ip)
{
	for (size_t i = 0; i < rules->allow_network_count; i++)
		if (ip_in_network(ip, &rules->allow_networks[i]))
			return true;
	return ip_is_public(ip);
}

static void add(struct places *places, const struct fetch_means *means, const struct ip *ip, bool meant)
{
	if (!meant && !is_allowed(means->rules, ip))
		places->left_out = true;
	else if (places->count < COUNT(places->list))
		places->list[places->count++] = *ip;
}

static void look_up(const struct fetch_means *means, const struct fetch_order *order, const void *scratch,
	const char *host, struct places *places)
{
	static const enum dns_type types[] = { DNS_A, DNS_AAAA };

	for (size_t i = 0; i < COUNT(types); i++) {
		const struct dns_answer *answer =
			dns_ask(means->resolver, scratch, host, types[i], means->stop_fd, order->deadline);

		if (answer->result == DNS_FAILED)
			places->why = answer->why;
		for (size_t j = 0; j < answer->count; j++)
			add(places, means, &answer->records[j].address, false);
	}
}

/* Where the document may be got; 0, or a negative error and why not. */
static int find_places(const struct fetch_means *means, const struct fetch_order *order, const void *scratch,
	struct places *places, char *ret_why)
{
	struct url url;
	struct ip literal;

	if (url_parse(text_of(order->url), &url) < 0) {
		snprintf(ret_why, HTTP_WHY_MAX, "it is no http or https URL");
		return ERR_FORMAT;
	}
	const char *host = text_copy(scratch, url.host);
	if (ip_parse(url.host, &literal) == 0)
		add(places, means, &literal, order->configured);
	else
		look_up(means, order, scratch, host, places);
	if (places->count > 0)
		return 0;
	if (places->left_out)
		snprintf(ret_why, HTTP_WHY_MAX,
			"%.100s has no public address, and fetch.allow_networks does not name it", host);
	else if (places->why != NULL)
		snprintf(ret_why, HTTP_WHY_MAX, "no address of %.100s: %.100s", host, places->why);
	else
		snprintf(ret_why, HTTP_WHY_MAX, "%.100s has no address", host);
	return ERR_CLOSED;
}

int fetch_document(const struct fetch_means *means, const struct fetch_order *order, const void *owner,
	struct http_answer *ret_answer, char *ret_why)
{
	void *scratch = talloc_new(NULL);
	struct places places = { .count = 0 };
	int r = find_places(means, order, scratch, &places, ret_why);

	if (r == 0) {
		const struct http_request request = { .url = order->url,
			.addresses = places.list,
			.address_count = places.count,
			.most = order->most,
			.deadline = order->deadline,
			.stop_fd = means->stop_fd,
			.trust = means->trust,
			.sent = order->sent,
			.type = order->type };

		r = http_get(means->http, &request, owner, ret_answer, ret_why);
	}
	talloc_free(scratch);
	return r;
}
