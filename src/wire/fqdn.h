#pragma once
/* The form of a fully qualified host name as certificates may hold it (B18). */

#include "base/text.h"

/* What is wrong with `name`, one clause with its cure, static; NULL when it is a fully qualified name: labels of letters, digits and `-`, at most 63
 * bytes each and 253 in all, at least two of them, and at the left perhaps `*` for a whole label, with two more behind it. */
const char *fqdn_flaw(struct text name);
