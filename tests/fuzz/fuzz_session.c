/* A whole session, stateful: the first byte chooses the house, what follows is said to it turn by turn (a byte 0xff ends a turn). */
#include <errno.h>

#include "session_stage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;

	const struct session_script script = {
		.house = (enum session_house)(data[0] & 3),
		.commit_answer = (data[0] & 12) == 12 ? -ENOSPC : 0,
		.early = (data[0] & 48) == 48,
		.broken_tls = (data[0] & 192) == 192,
		.prelude = "",
		.bytes = data + 1,
		.len = size - 1,
	};
	session_play(&script);
	return 0;
}
