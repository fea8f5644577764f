#pragma once
/* `postern sink`: a small receiving test server with STARTTLS, made of the gateway's own listener and session. */

/* Run it until SIGTERM or SIGINT; the exit status. */
int sink_run(int argc, char **argv);
