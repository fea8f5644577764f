#pragma once
/* The page /metrics: what master's status says, in Prometheus' text format 0.0.4. docs/metrics.md explains each line to operators. */

#define PAGE_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The page of a status (the JSON object of `postern status --json`), owned by `owner`; NULL when it is no such object. No address,
 * no name of a mail, nothing secret. */
char *page_metrics(const void *owner, const char *status);
