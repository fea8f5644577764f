#pragma once
/* From YAML text to the config structs, by the table. Private to the room. */

#include "base/text.h"

struct config;
struct marks;

/* Read `yaml` into the zeroed `config` (owner of all that it points to) and mark every key; problems are noted in
 * `marks`, which are sorted afterwards. References stay NULL: their names are in the marks. `directory` precedes
 * relative paths. False when the rest of the file could not be read: then nothing can be said about the whole. */
bool reader_run(struct text yaml, const char *directory, struct config *config, struct marks *marks);
