#pragma once
/* G9 of docs/queue.md: a backup that was complete is there as a whole, and so is what was restored from it. */

struct facts;

/* Check all backups in the image; prints the broken promise and ends the process with status 1. */
void check_backups(const void *owner, const struct facts *facts, const char *image);
