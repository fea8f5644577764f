#pragma once
/* What the parts of the checker share. */

#include <stdbool.h>

#include "base/base.h"

/* Print the broken promise and end the process with status 1, unless it was kept. */
PRINTF(2, 3) void check_must(bool kept, const char *format, ...);
