/* The BDAT stream (RFC 3030): a mail is begun, and the bytes are its chunks and commands. */
#include "session_stage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct session_script script = {
		.house = size > 0 && data[0] % 2 == 1 ? HOUSE_TINY : HOUSE_OPEN,
		.prelude = "EHLO client.test\nMAIL FROM:<a@client.test> BODY=8BITMIME\nRCPT TO:<b@good.test>",
		.bytes = data,
		.len = size,
	};

	session_play(&script);
	return 0;
}
