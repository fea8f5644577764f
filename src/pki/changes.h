#pragma once
/* Who changed the store of certificates and the lists of authorities: STATE_DIR/pki/changes.log, one JSON object a line, only appended to. The line is on the
 * disk before the change is made; where it cannot be written nothing is changed. A running gateway logs changes, too (pki_changed). */

#include <stdint.h>

#define CHANGES_FILE "changes.log"

/* NULL = there is none. */
struct change {
	const char *what;	    /* `cert upload` */
	const char *name;	    /* of the certificate, the authority, or the list */
	const char *before, *after; /* SHA-256 of the certificate, hexadecimal */
	const char *failed;	    /* why a change that was announced was not made */
};

/* Add a line with the time, the user of this process, and who logged in as that user if the system knows. 0, or a negative errno. */
int changes_add(const char *state_dir, const struct change *change);
