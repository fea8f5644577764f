/* A responder that does not answer, or nothing that counts, leaves it to the next one (7.41). Requests are posted: every responder takes that, and of any
 * length (RFC 6960 appendix A.1). */
#include "pki/ocsp_fetch.h"

#include <stdio.h>

#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "lookup/fetch.h"
#include "net/http.h"

enum { EACH_MS = 5000 };

/* What one responder says. */
static struct ocsp_fetched ask_one(const struct fetch_means *means, const struct ocsp_question *question,
	const char *url, int64_t deadline, const void *owner)
{
	const struct fetch_order order = { .url = url,
		.most = OCSP_RESPONSE_MAX,
		.deadline = MIN(deadline, clock_mono_ms() + EACH_MS),
		.sent = ocsp_request(owner, question),
		.type = "application/ocsp-request" };
	struct ocsp_fetched fetched = { .url = url, .answer = { .finding = OCSP_NO_ANSWER } };
	struct http_answer document;
	char why[HTTP_WHY_MAX];

	if (fetch_document(means, &order, owner, &document, why) < 0) {
		snprintf(fetched.answer.reason, sizeof fetched.answer.reason, "%.190s", why);
		return fetched;
	}
	struct text response = { document.body, document.len };
	ocsp_judge(question, response, clock_wall_ms(), &fetched.answer);
	if (fetched.answer.finding != OCSP_NO_ANSWER)
		fetched.response = response;
	return fetched;
}

void ocsp_fetch(const struct fetch_means *means, const struct ocsp_question *question, int64_t deadline,
	const void *owner, struct ocsp_fetched *ret_fetched)
{
	const char *urls[OCSP_URLS_MAX];
	size_t count = ocsp_urls(owner, question->certificate, urls);

	*ret_fetched = (struct ocsp_fetched){ .url = "", .answer = { .finding = OCSP_NO_RESPONDER } };
	for (size_t i = 0; i < count; i++) {
		struct ocsp_fetched next = ask_one(means, question, urls[i], deadline, owner);

		if (i == 0 || next.answer.finding != OCSP_NO_ANSWER)
			*ret_fetched = next;
		if (next.answer.finding == OCSP_GOOD || next.answer.finding == OCSP_REVOKED)
			return;
	}
}
