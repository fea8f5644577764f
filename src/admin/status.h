#pragma once
/* Asking master for its status over the control connection that it made for role `admin`. Safe from any thread. */

struct status;

/* Without a connection; owned by `owner`. */
struct status *status_new(const void *owner);

/* Use this control connection to master (given). */
void status_connect(struct status *status, int fd);

/* The status as a JSON object, at most half a second old; owned by `owner`. `stop_fd` readable ends the wait. 0, or a negative error. */
int status_ask(struct status *status, const void *owner, int stop_fd, char **ret_status);
