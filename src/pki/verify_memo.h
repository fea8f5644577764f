#pragma once
/*
 * Verdicts about servers' certificates that are only recorded: nothing hangs on them, so for some minutes they are remembered, and a connection at a
 * level that demands nothing costs no verification. What is demanded never comes from here. For one generation; safe from any thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "pki/verify_server.h"

enum { VERIFY_MEMO_MAX = 500, VERIFY_MEMO_MS = 5 * 60 * 1000 };

struct verify_memo;

/* Nothing is remembered yet; owned by `owner`. */
struct verify_memo *verify_memo_new(const void *owner);

/* All that the verdict about a chain depends on, but the clock and the names. */
struct digest verify_memo_chain(const struct verify_facts *facts);

/* The same with what is asked about it, but the name of the address by reverse DNS. */
struct digest verify_memo_key(
	const struct digest *chain, enum tls_check check, const struct verify_server *server);

/* The verdict that was kept under `key` within VERIFY_MEMO_MS; `now_ms` is clock_mono_ms(). False when there is none. */
bool verify_memo_find(struct verify_memo *memo, const struct digest *key, int64_t now_ms,
	struct verify_verdict *ret_verdict);

/* Keep a verdict about `facts`, of VERIFY_MEMO_MAX the newest. One about certificates of which one ends meanwhile is not kept. */
void verify_memo_keep(struct verify_memo *memo, const struct digest *key, int64_t now_ms,
	const struct verify_facts *facts, const struct verify_verdict *verdict);
