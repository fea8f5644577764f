/* A chain is as good as its weakest link: an intermediate that has ended breaks it as much as the leaf does. Called by master only. */
#include "pki/expiry.h"

#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/base.h"
#include "base/err.h"

int expiry_of_chain(struct text pem, int64_t now_ms, int64_t *ret_seconds)
{
	BIO *bio = text_must(BIO_new_mem_buf(pem.at, (int)pem.len));
	int64_t first = INT64_MAX;
	X509 *next;

	while ((next = PEM_read_bio_X509(bio, NULL, NULL, (void *)"")) != NULL) {
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
