/* What a role that was taken over may ask of `keys`: bytes as the body of an ask; what is taken is in bounds, and decided whatever it says. */
#include "pki/sign.h"

#include <stdlib.h>

#include <talloc.h>

#include "ipc/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void check(const struct sign_request *request)
{
	for (int role = 0; role < KEY_USE_ROLE_END; role++)
		for (unsigned uses = 0; uses < KEY_USE_END; uses++) {
			const struct key_use_facts facts = { .role = (enum key_use_role)role,
				.known = true,
				.uses = uses,
				.type = KEY_USE_RSA,
				.size = 256,
				.kind = request->kind,
				.digest = request->digest,
				.len = request->bytes.len };
			bool granted = key_use_decide(&facts) == KEY_USE_YES;

			must(!granted || uses != 0);
			must(!granted || request->bytes.len == 256 ||
				request->bytes.len == key_use_digest_size(request->digest));
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame *ask = frame_new(NULL, FRAME_SIGN);
	struct sign_request request;

	ask->at = talloc_memdup(ask, data, size);
	ask->len = size;
	if (sign_read(ask, &request)) {
		must(request.kind < KEY_USE_KIND_END && request.digest < KEY_USE_DIGEST_END);
		must(request.version <= UINT16_MAX && request.bytes.len <= SIGN_BYTES_MAX);
		check(&request);
	}
	talloc_free(ask);
	return 0;
}
