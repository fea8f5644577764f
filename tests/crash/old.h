#pragma once
/* A state directory as an older version left it. */

enum { OLD_MAILS = 3 };

/* Make queue.db of schema 2 with OLD_MAILS live mails in `directory`, durable, mark them as committed (load.c), and end the process: its log stays behind. */
_Noreturn void old_make(const char *directory);
