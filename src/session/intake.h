#pragma once
/* What is checked while a message comes in, by DATA or by BDAT: size, header, lines, loops. The bytes go to the body as they are. */

#include "session/body.h"
#include "wire/header_scan.h"
#include "wire/mail_data.h"

struct config_limits;
struct peer;

enum intake_flaw {
	INTAKE_FINE,
	INTAKE_TOO_LARGE,  /* 552 5.3.4 */
	INTAKE_HEADER,	   /* 552 5.3.4: the header alone */
	INTAKE_LONG_LINE,  /* 554 5.6.0 */
	INTAKE_LOOP,	   /* 554 5.4.6: more than 100 Received fields */
	INTAKE_NOT_STORED, /* 452 or 451, see `error` */
};

struct intake {
	struct body *body;
	struct mail_data_in data; /* sees all bytes before intake_add(): lines, bare LF, the end of DATA */
	struct header_scan scan;
	bool begun; /* content is behind our field; before, it is held back */
	char *held;
	size_t held_len, held_room;
	uint64_t size; /* of the client's bytes */
	enum intake_flaw flaw;
	int error; /* INTAKE_NOT_STORED: why */
};

/* Start with our own `received` field; owned by `owner`. */
struct intake *intake_new(const void *owner, struct peer *queue, int stop_fd, struct text received);

/* Take the client's bytes, which `data` has seen; after a flaw they are counted and thrown away. */
void intake_add(struct intake *intake, const struct config_limits *limits, struct peer *queue, int stop_fd,
	struct text bytes);

/* There are no more bytes: the body is whole, if there is no flaw. */
void intake_end(struct intake *intake, struct peer *queue, int stop_fd);
