#pragma once
/* The list of recipients (setting recipients.file): its lines, and whether they can be used. */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct config;
struct problems;

/* Take the next entry off `rest`, over blank lines and comments: an address, or `@domain`. `line` counts the lines that were taken and starts
 * with 0. False at the end. The entry borrows from `rest`. */
bool recipient_list_next(struct text *rest, unsigned *line, struct text *ret_entry);

/* Note what is wrong with the list `bytes`, which came from the file that `config` names: the first few lines, and how many more there are. The
 * number of problems noted. */
size_t recipient_list_check(const struct config *config, struct text bytes, struct problems *problems);
