#pragma once
/* Reading the PROXY protocol header of a connection from a load balancer. */

struct conn;

/* Read the header within five seconds and make its client conn->peer. 0; ERR_FORMAT when it is missing or malformed, or another negative error: close the connection. */
int proxy_protocol_read(struct conn *conn);
