/* Who may use which key for what: every input, against the rule said another way. */
#include "policy/key_use.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

#include "base/base.h"

static const size_t sizes[] = { 20, 36, 28, 32, 48, 64 };

/* The rule in words: what is asked for is possible with this key, and the key is there for that. */
static enum key_use expected(const struct key_use_facts *f)
{
	bool rsa = f->type == KEY_USE_RSA, opens = f->kind == KEY_USE_PREMASTER;
	bool listens = (f->uses & KEY_USE_LISTENER) != 0, sends = (f->uses & KEY_USE_DELIVERY) != 0;

	if (!f->known)
		return KEY_USE_NO_KEY;
	if (!((f->role == KEY_USE_FRONT && listens) || (f->role == KEY_USE_DELIVER && sends)))
		return KEY_USE_NO_RIGHT;
	if (rsa == (f->kind == KEY_USE_ECDSA))
		return KEY_USE_NO_FIT;
	if (opens ? f->len != f->size : f->len != sizes[f->digest])
		return KEY_USE_NO_FIT;
	if (!opens && f->digest == KEY_USE_MD5_SHA1 && f->kind != KEY_USE_PKCS1)
		return KEY_USE_NO_FIT;
	if (opens && (f->role != KEY_USE_FRONT || (f->uses & KEY_USE_RSA_EXCHANGE) == 0))
		return KEY_USE_NO_RIGHT;
	return f->often ? KEY_USE_TOO_OFTEN : KEY_USE_YES;
}

/* All digests and lengths for one set of the other facts; how many were granted. */
static unsigned check_digests(struct key_use_facts f)
{
	static const size_t lens[] = { 0, 1, 19, 20, 21, 27, 28, 29, 31, 32, 33, 35, 36, 37, 47, 48, 49, 63,
		64, 65, 255, 256, 257, 2048 };
	unsigned granted = 0;

	for (int digest = 0; digest < KEY_USE_DIGEST_END; digest++)
		for (size_t i = 0; i < COUNT(lens); i++) {
			f.digest = (enum key_use_digest)digest;
			f.len = lens[i];
			enum key_use want = expected(&f);

			if (key_use_decide(&f) != want)
				fail_msg(
					"role %d known %d uses %u type %d kind %d digest %d len %zu often %d: %s",
					f.role, f.known, f.uses, f.type, f.kind, f.digest, f.len, f.often,
					key_use_reason(key_use_decide(&f)));
			granted += want == KEY_USE_YES;
		}
	return granted;
}

static void test_11_39_a_key_is_used_for_what_the_configuration_says_and_by_whom(void **state)
{
	unsigned granted[KEY_USE_ROLE_END] = { 0 };

	(void)state;
	for (int role = 0; role < KEY_USE_ROLE_END; role++)
		for (unsigned uses = 0; uses < KEY_USE_END; uses++)
			for (int type = 0; type < KEY_USE_TYPE_END; type++)
				for (int kind = 0; kind < KEY_USE_KIND_END; kind++)
					for (int rest = 0; rest < 4; rest++)
						granted[role] += check_digests((struct key_use_facts){
							.role = (enum key_use_role)role,
							.known = (rest & 1) != 0,
							.uses = uses,
							.type = (enum key_use_type)type,
							.size = 256,
							.kind = (enum key_use_kind)kind,
							.often = (rest & 2) != 0 });
	assert_true(granted[KEY_USE_FRONT] > granted[KEY_USE_DELIVER]);
	assert_true(granted[KEY_USE_DELIVER] > 0);
	assert_int_equal(granted[KEY_USE_OTHER], 0);
}

static void test_11_39_a_role_may_ask_so_often_in_a_second(void **state)
{
	struct key_use_rate rate = { 0 };

	(void)state;
	for (int64_t second = 5; second < 8; second++) {
		for (int i = 0; i < KEY_USE_ASKS_A_SECOND; i++)
			assert_false(key_use_often(&rate, second * 1000 + i % 1000));
		for (int i = 0; i < 10; i++)
			assert_true(key_use_often(&rate, second * 1000 + 999));
	}
}

static void test_digests_have_their_length_and_verdicts_their_words(void **state)
{
	(void)state;
	for (int digest = 0; digest < KEY_USE_DIGEST_END; digest++)
		assert_int_equal(key_use_digest_size((enum key_use_digest)digest), sizes[digest]);
	for (int verdict = 0; verdict < KEY_USE_VERDICT_END; verdict++)
		assert_true(key_use_reason((enum key_use)verdict)[0] != '\0');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_11_39_a_key_is_used_for_what_the_configuration_says_and_by_whom),
		cmocka_unit_test(test_11_39_a_role_may_ask_so_often_in_a_second),
		cmocka_unit_test(test_digests_have_their_length_and_verdicts_their_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
