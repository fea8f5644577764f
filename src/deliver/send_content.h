#pragma once
/* The content of a mail on its way to a peer: what it asks of the peer, and its bytes by DATA or BDAT. No bare CR or LF leaves. */

#include <stdbool.h>
#include <stdint.h>

struct content;
struct link;

struct send_content_facts {
	uint64_t size;	  /* as it goes over the wire, without the dots of DATA */
	bool eight_bit;	  /* a byte over 0x7f anywhere */
	bool utf8_header; /* such a byte in the header */
};

/* Read all of `content`; 0 and the facts, or a negative error when it cannot be read. */
int send_content_look(const struct content *content, struct send_content_facts *ret_facts);

/* After 354: the content with its dots stuffed, and the end mark (conformance 2.31). All is sent when this returns 0. */
int send_content_data(struct link *link, const struct content *content);

/* The content as one counted chunk of `size` bytes, the last one, with its BDAT in front (RFC 3030). All is sent when this returns 0. */
int send_content_chunk(struct link *link, const struct content *content, uint64_t size);
