#pragma once
/* The process that starts and wires all others. It parses no byte from the network. */

/* Run the gateway of configuration `file` until it is told to stop; the exit status. */
int master_run(const char *file);
