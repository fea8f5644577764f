/* A chain is as good as its weakest link: an intermediate that has ended breaks it as much as the leaf does. Called by master only. */
#include "pki/expiry.h"

#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/base.h"
#include "base/err.h"

enum { DAY_S = 86400 };

/* Seconds left at which a step is passed; in the order of time. */
static const int64_t steps[EXPIRY_STEPS - 1] = { 30 * DAY_S, 14 * DAY_S, 7 * DAY_S, DAY_S, 0, -DAY_S,
	-7 * DAY_S, -14 * DAY_S, -30 * DAY_S };

int expiry_of_chain(struct text pem, int64_t now_ms, int64_t *ret_seconds)
{
	BIO *bio = pem.at == NULL ? NULL : text_must(BIO_new_mem_buf(pem.at, (int)pem.len));
	int64_t first = INT64_MAX;
	X509 *next;

	while (bio != NULL && (next = PEM_read_bio_X509(bio, NULL, NULL, (void *)"")) != NULL) {
		struct tm tm;

		if (ASN1_TIME_to_tm(X509_get0_notAfter(next), &tm) == 1)
			first = MIN(first, (int64_t)timegm(&tm));
		X509_free(next);
	}
	BIO_free(bio);
	ERR_clear_error();
	if (first == INT64_MAX)
		return ERR_FORMAT;
	*ret_seconds = first - now_ms / 1000;
	return 0;
}

int expiry_step(int64_t seconds_left)
{
	int passed = EXPIRY_FINE;

	while (passed < EXPIRY_STEPS - 1 && seconds_left <= steps[passed])
		passed++;
	return passed;
}

int64_t expiry_next(int64_t seconds_left)
{
	const int passed = expiry_step(seconds_left);

	return passed == EXPIRY_STEPS - 1 ? INT64_MAX : seconds_left - steps[passed];
}

const char *expiry_word(int64_t seconds_left)
{
	const int passed = expiry_step(seconds_left);

	return passed == EXPIRY_FINE ? "fine" : passed < EXPIRY_ENDED ? "expires" : "expired";
}
