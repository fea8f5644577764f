/*
 * A chain is as good as its weakest link: an intermediate that has ended breaks it as much as the leaf does. The fixed steps are for what a person
 * renews; a third of the life is when whatever renews by itself should have done so, long before that for a certificate of a year, but no earlier than
 * somebody would act on it for an authority of twenty.
 */
#include "pki/expiry.h"

#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/base.h"
#include "base/err.h"

enum { DAY_S = 86400, THIRD_MOST_S = 120 * DAY_S };

/* Seconds left at which a fixed step is passed; in the order of time. */
static const int64_t steps[] = { 30 * DAY_S, 14 * DAY_S, 7 * DAY_S, DAY_S, 0, -DAY_S, -7 * DAY_S, -14 * DAY_S,
	-30 * DAY_S };

static int64_t seconds_of(const ASN1_TIME *time)
{
	struct tm tm;

	return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : INT64_MAX;
}

struct expiry expiry_of(int64_t begins_s, int64_t ends_s, int64_t now_s)
{
	return (struct expiry){ .left_s = ends_s - now_s, .life_s = MAX(ends_s - begins_s, 0) };
}

int expiry_of_chain(struct text pem, int64_t now_ms, struct expiry *ret_expiry)
{
	BIO *bio = pem.at == NULL ? NULL : text_must(BIO_new_mem_buf(pem.at, (int)pem.len));
	int64_t begin = 0, first = INT64_MAX;
	X509 *next;

	while (bio != NULL && (next = PEM_read_bio_X509(bio, NULL, NULL, (void *)"")) != NULL) {
		const int64_t ends = seconds_of(X509_get0_notAfter(next));

		if (ends < first) {
			first = ends;
			begin = MIN(seconds_of(X509_get0_notBefore(next)), ends);
		}
		X509_free(next);
	}
	BIO_free(bio);
	ERR_clear_error();
	if (first == INT64_MAX)
		return ERR_FORMAT;
	*ret_expiry = expiry_of(begin, first, now_ms / 1000);
	return 0;
}

/* At how many seconds left a third of the life is; of an unknown life at its end. */
static int64_t third_of(const struct expiry *expiry)
{
	return MIN(expiry->life_s / 3, (int64_t)THIRD_MOST_S);
}

int expiry_step(const struct expiry *expiry)
{
	int passed = expiry->left_s <= third_of(expiry);

	for (size_t i = 0; i < COUNT(steps); i++)
		passed += expiry->left_s <= steps[i];
	return passed;
}

int expiry_step_late(const struct expiry *expiry)
{
	return expiry->left_s > expiry->life_s / 4 && expiry->left_s > 0 ? EXPIRY_FINE : expiry_step(expiry);
}

int64_t expiry_next(const struct expiry *expiry)
{
	int64_t next = expiry->left_s > third_of(expiry) ? third_of(expiry) : INT64_MIN;

	for (size_t i = 0; i < COUNT(steps); i++)
		if (expiry->left_s > steps[i])
			next = MAX(next, steps[i]);
	return next == INT64_MIN ? INT64_MAX : expiry->left_s - next;
}

const char *expiry_word(const struct expiry *expiry)
{
	const int passed = expiry_step(expiry);

	return passed == EXPIRY_FINE ? "fine" : passed < EXPIRY_ENDED ? "expires" : "expired";
}
