/* A gateway that takes mail for addresses that do not exist must return it to senders that may be forged: so it says no at once. */
#include "policy/recipient.h"

#include "base/base.h"

enum { NO = 1, YES = 2, ANY = 3 };
#define ANSWER(a) (1u << (a))

static const struct rule {
	unsigned special, has_list, listed, answers;
	struct recipient_decision then;
} rules[] = {
	/* special list  listed  next hop says             then */
	{ YES, ANY, ANY, ~0u, { RECIPIENT_TAKE, "postmaster and abuse always reach someone" } },
	{ ANY, YES, NO, ~0u, { RECIPIENT_UNKNOWN, "not on the list of recipients" } },
	{ ANY, ANY, ANY, ANSWER(RECIPIENT_NO),
		{ RECIPIENT_UNKNOWN, "the next hop does not know this recipient" } },
	{ ANY, ANY, ANY, ANSWER(RECIPIENT_REFUSED),
		{ RECIPIENT_REJECT, "the next hop takes no mail for this recipient" } },
	{ ANY, ANY, ANY, ANSWER(RECIPIENT_FULL),
		{ RECIPIENT_WAIT, "the next hop says that the mailbox is full" } },
	{ ANY, ANY, ANY, ANSWER(RECIPIENT_LATER), { RECIPIENT_DEFER, "the next hop could not be asked" } },
	{ ANY, YES, YES, ~0u, { RECIPIENT_TAKE, "on the list of recipients" } },
	{ ANY, ANY, ANY, ANSWER(RECIPIENT_YES), { RECIPIENT_TAKE, "the next hop knows this recipient" } },
	{ ANY, ANY, ANY, ~0u, { RECIPIENT_TAKE, "recipients are not checked" } },
};

static bool matches(unsigned set, bool value)
{
	return (set & (value ? YES : NO)) != 0;
}

struct recipient_decision recipient_decide(const struct recipient_facts *f)
{
	const struct rule *r = rules;

	while (!(matches(r->special, f->special) && matches(r->has_list, f->has_list) &&
		 matches(r->listed, f->listed) && (r->answers & ANSWER(f->answer))))
		r++;
	return r->then;
}

bool recipient_must_ask(const struct recipient_facts *f, bool call_ahead)
{
	return call_ahead && !f->special && (!f->has_list || f->listed);
}

enum { NUMBER_MAX = 999, NO_STATUS = -1, ANY_NUMBER = -2 };

/* What a 5xx means. The basic codes 550, 551 and 553 speak of mailboxes (RFC 5321 section 4.2.3); an enhanced code (RFC 3463) says more. */
static const struct meaning {
	int code, subject, detail;
	enum recipient_answer then;
} meanings[] = {
	{ ANY_NUMBER, 1, 7, RECIPIENT_REFUSED }, /* X.1.7 and X.1.8 are about the sender's address */
	{ ANY_NUMBER, 1, 8, RECIPIENT_REFUSED },
	{ ANY_NUMBER, 1, ANY_NUMBER, RECIPIENT_NO },
	{ ANY_NUMBER, 2, 2, RECIPIENT_FULL },
	{ 550, NO_STATUS, ANY_NUMBER, RECIPIENT_NO },
	{ 551, NO_STATUS, ANY_NUMBER, RECIPIENT_NO },
	{ 553, NO_STATUS, ANY_NUMBER, RECIPIENT_NO },
	{ 552, NO_STATUS, ANY_NUMBER, RECIPIENT_FULL },
	{ ANY_NUMBER, ANY_NUMBER, ANY_NUMBER, RECIPIENT_REFUSED },
};

/* The enhanced status code at the start of `text`; without one all is NO_STATUS. */
struct status {
	int class, subject, detail;
};

static struct status status_of(struct text text)
{
	static const struct status none = { NO_STATUS, NO_STATUS, NO_STATUS };
	struct text word = text_first(text, text_find(text, ' '));
	int parts[3];

	for (size_t i = 0; i < COUNT(parts); i++) {
		size_t dot = text_find(word, '.');
		uint64_t number;

		if ((dot == word.len) != (i == 2) ||
			text_number(text_first(word, dot), NUMBER_MAX, &number) < 0)
			return none;
		parts[i] = (int)number;
		word = text_from(word, dot + 1);
	}
	return (struct status){ parts[0], parts[1], parts[2] };
}

static bool fits(int wanted, int number)
{
	return wanted == ANY_NUMBER || wanted == number;
}

enum recipient_answer recipient_understand(unsigned code, struct text text)
{
	struct status status = status_of(text);
	const struct meaning *m = meanings;

	if (code / 100 == 2)
		return RECIPIENT_YES;
	if (status.class != NO_STATUS && status.class != (int)(code / 100))
		return RECIPIENT_LATER; /* it contradicts itself */
	if (code / 100 == 4 && status.subject == 2 && status.detail == 2)
		return RECIPIENT_FULL;
	if (code / 100 != 5)
		return RECIPIENT_LATER;
	while (!(fits(m->code, (int)code) && fits(m->subject, status.subject) &&
		 fits(m->detail, status.detail)))
		m++;
	return m->then;
}

bool recipient_is_lasting(enum recipient_answer answer)
{
	return answer == RECIPIENT_YES || answer == RECIPIENT_NO;
}

const char *recipient_word(enum recipient_answer answer)
{
	static const char *const words[] = {
		[RECIPIENT_NOT_ASKED] = "not-asked",
		[RECIPIENT_YES] = "yes",
		[RECIPIENT_NO] = "unknown",
		[RECIPIENT_FULL] = "full",
		[RECIPIENT_REFUSED] = "refused",
		[RECIPIENT_LATER] = "later",
	};

	return words[answer];
}
