/* The ask and its answer, field by field in the same order. Most certificates need no ask: they name no responder. */
#include "pki/ocsp_ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>
#include <talloc.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "ipc/frame.h"
#include "ipc/peer.h"
#include "pki/peer_chain.h"

static void put_certificate(struct frame *frame, X509 *certificate)
{
	unsigned char *der = NULL;
	int len = i2d_X509(certificate, &der);

	frame_put_text(frame, (struct text){ (const char *)der, (size_t)MAX(len, 0) });
	OPENSSL_free(der);
}

static X509 *read_certificate(struct text der)
{
	const unsigned char *at = (const unsigned char *)der.at;
	X509 *certificate = der.len > PEER_CHAIN_CERTIFICATE_MAX ? NULL : d2i_X509(NULL, &at, (long)der.len);

	ERR_clear_error();
	if (certificate == NULL || at == (const unsigned char *)der.at + der.len)
		return certificate;
	X509_free(certificate);
	return NULL;
}

static int subject_destroy(struct ocsp_subject *subject)
{
	X509_free(subject->certificate);
	X509_free(subject->issuer);
	return 0;
}

struct ocsp_subject *ocsp_ask_read(const void *owner, struct frame *ask)
{
	struct text certificate = frame_get_text(ask), issuer = frame_get_text(ask);
	const bool anew = frame_get_bool(ask);
	struct ocsp_subject *subject;

	if (frame_done(ask) < 0)
		return NULL;
	subject = text_must(talloc_zero(owner, struct ocsp_subject));
	talloc_set_destructor(subject, subject_destroy);
	subject->anew = anew;
	subject->certificate = read_certificate(certificate);
	subject->issuer = read_certificate(issuer);
	/* They are parsed to their ends, so one behind the other is no other pair's. */
	char *both = text_must(talloc_size(subject, certificate.len + issuer.len + 1));
	memcpy(both, certificate.at, certificate.len);
	memcpy(both + certificate.len, issuer.at, issuer.len);
	subject->key = digest_of((struct text){ both, certificate.len + issuer.len });
	if (subject->certificate != NULL && subject->issuer != NULL)
		return subject;
	talloc_free(subject);
	return NULL;
}

struct frame *ocsp_ask_answer(const void *owner, struct text response, const char *why)
{
	struct frame *answer = frame_new(owner, FRAME_ANSWER);

	frame_put_text(answer, response);
	frame_put_text(answer, text_of(why));
	return answer;
}

static void say(struct ocsp_answer *answer, enum ocsp_finding finding, struct text reason)
{
	*answer = (struct ocsp_answer){ .finding = finding };
	snprintf(answer->reason, sizeof answer->reason, "%.*s",
		(int)MIN(reason.len, sizeof answer->reason - 1), reason.at);
	for (char *c = answer->reason; *c != '\0'; c++)
		if (*c < ' ' || *c >= 0x7f)
			*c = '?';
}

static void read_answer(struct frame *frame, const struct ocsp_question *question, const void *owner,
	struct text *ret_response, struct ocsp_answer *answer)
{
	struct text response = frame_get_text(frame), why = frame_get_text(frame);

	if (frame_done(frame) < 0) {
		say(answer, OCSP_NO_ANSWER, TEXT("role upkeep answered nonsense"));
	} else if (response.len == 0) {
		say(answer, OCSP_NO_ANSWER, why);
	} else {
		ocsp_judge(question, response, clock_wall_ms(), answer);
		if (answer->finding != OCSP_NO_ANSWER)
			*ret_response =
				(struct text){ text_must(talloc_memdup(owner, response.at, response.len)),
					response.len };
	}
}

static void ask_upkeep(struct peer *upkeep, const struct ocsp_question *question, bool anew, int stop_fd,
	int64_t deadline, const void *owner, struct text *ret_response, struct ocsp_answer *ret_answer)
{
	struct frame *ask = frame_new(NULL, FRAME_OCSP), *answer;

	put_certificate(ask, question->certificate);
	put_certificate(ask, question->issuer);
	frame_put_bool(ask, anew);
	int r = upkeep == NULL ? ERR_CLOSED : peer_ask(upkeep, ask, ask, stop_fd, deadline, &answer);
	if (r == 0)
		read_answer(answer, question, owner, ret_response, ret_answer);
	else
		say(ret_answer, OCSP_NO_ANSWER,
			r == -ETIMEDOUT ? TEXT("no answer came in time") : TEXT("role upkeep is not there"));
	talloc_free(ask);
}

static void ask(struct peer *upkeep, const STACK_OF(X509) * chain, X509 *issuer, bool anew, int stop_fd,
	int64_t deadline, const void *owner, struct text *ret_response, struct ocsp_answer *ret_answer)
{
	const struct ocsp_question question = { .certificate = sk_X509_value(chain, 0), .issuer = issuer };
	void *scratch = talloc_new(NULL);
	const char *urls[OCSP_URLS_MAX];

	*ret_response = TEXT("");
	if (peer_chain_never_revoked(question.certificate))
		say(ret_answer, OCSP_NOT_NEEDED, TEXT(""));
	else if (ocsp_urls(scratch, question.certificate, urls) == 0)
		say(ret_answer, OCSP_NO_RESPONDER, TEXT(""));
	else
		ask_upkeep(upkeep, &question, anew, stop_fd, deadline, owner, ret_response, ret_answer);
	talloc_free(scratch);
}

void ocsp_ask(struct peer *upkeep, const STACK_OF(X509) * chain, X509 *issuer, int stop_fd, int64_t deadline,
	struct ocsp_answer *ret_answer)
{
	void *scratch = talloc_new(NULL);
	struct text response;

	ask(upkeep, chain, issuer, false, stop_fd, deadline, scratch, &response, ret_answer);
	talloc_free(scratch);
}

void ocsp_ask_anew(struct peer *upkeep, const STACK_OF(X509) * chain, X509 *issuer, int stop_fd,
	int64_t deadline, const void *owner, struct text *ret_response, struct ocsp_answer *ret_answer)
{
	ask(upkeep, chain, issuer, true, stop_fd, deadline, owner, ret_response, ret_answer);
}
