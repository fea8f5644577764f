/* Who may have what done with which key. A rule is a row; what no row grants is refused. Role `keys` asks for each request. */
#include "policy/key_use.h"

#include "base/base.h"

/* The uses of a key that give a role the right to it. */
static const unsigned rights[] = {
	[KEY_USE_FRONT] = KEY_USE_LISTENER, [KEY_USE_DELIVER] = KEY_USE_DELIVERY, [KEY_USE_OTHER] = 0
};

static const struct {
	enum key_use_type type;
	unsigned needs; /* uses that the key must have besides */
} kinds[] = {
	[KEY_USE_ECDSA] = { KEY_USE_EC, 0 },
	[KEY_USE_PKCS1] = { KEY_USE_RSA, 0 },
	[KEY_USE_PSS] = { KEY_USE_RSA, 0 },
	[KEY_USE_PREMASTER] = { KEY_USE_RSA, KEY_USE_LISTENER | KEY_USE_RSA_EXCHANGE },
};

static const size_t digest_sizes[] = {
	[KEY_USE_SHA1] = 20,
	[KEY_USE_MD5_SHA1] = 36,
	[KEY_USE_SHA224] = 28,
	[KEY_USE_SHA256] = 32,
	[KEY_USE_SHA384] = 48,
	[KEY_USE_SHA512] = 64,
};

size_t key_use_digest_size(enum key_use_digest digest)
{
	return digest_sizes[digest];
}

bool key_use_often(struct key_use_rate *rate, int64_t now_ms)
{
	int64_t second = now_ms / 1000;

	if (rate->second != second)
		*rate = (struct key_use_rate){ .second = second };
	return ++rate->asks > KEY_USE_ASKS_A_SECOND;
}

static bool fits(const struct key_use_facts *f)
{
	if (kinds[f->kind].type != f->type)
		return false;
	if (f->kind == KEY_USE_PREMASTER)
		return f->len == f->size;
	if (f->digest == KEY_USE_MD5_SHA1 && f->kind != KEY_USE_PKCS1)
		return false;
	return f->len == digest_sizes[f->digest];
}

enum key_use key_use_decide(const struct key_use_facts *f)
{
	if (!f->known)
		return KEY_USE_NO_KEY;
	if ((f->uses & rights[f->role]) == 0)
		return KEY_USE_NO_RIGHT;
	if (!fits(f))
		return KEY_USE_NO_FIT;
	if ((f->uses & kinds[f->kind].needs) != kinds[f->kind].needs ||
		(f->kind == KEY_USE_PREMASTER && f->role != KEY_USE_FRONT))
		return KEY_USE_NO_RIGHT;
	return f->often ? KEY_USE_TOO_OFTEN : KEY_USE_YES;
}

const char *key_use_reason(enum key_use verdict)
{
	static const char *const reasons[] = {
		[KEY_USE_YES] = "granted",
		[KEY_USE_TOO_OFTEN] = "this role asks more often than it may",
		[KEY_USE_NO_KEY] = "there is no such key in the configuration",
		[KEY_USE_NO_RIGHT] = "the configuration gives this role no such use of this key",
		[KEY_USE_NO_FIT] = "kind and length of what shall be signed do not fit each other or the key",
	};

	return reasons[verdict];
}
