#pragma once
/* What the files of the table share: how a row is written, and the sections that stand in files of their own. */

#include <stddef.h>

#include "base/base.h"
#include "config/config.h"
#include "config/table.h"

#define AT(name, member)    offsetof(struct config_##name, member)
#define TOP(member)	    offsetof(struct config, member)
#define TOP_LIST(one, many) offsetof(struct config, many), offsetof(struct config, one##_count)
#define ROWS(rows)	    (rows), COUNT(rows)
#define LIMITS(from, to)    .min = (from), .max = (to)
#define KiB(n)		    ((uint64_t)(n) << 10)
#define MiB(n)		    ((uint64_t)(n) << 20)
#define GiB(n)		    ((uint64_t)(n) << 30)
#define SECONDS(n)	    ((uint64_t)(n)*1000)
#define HOURS(n)	    SECONDS((n)*3600)
#define DAYS(n)		    HOURS((n)*24)

/* table_tls.c: certificates, trust, and how handshakes are done. */
enum { TABLE_PREDEFINED_PROFILES = 2 };
extern const struct config_tls_profile table_predefined_profiles[TABLE_PREDEFINED_PROFILES];
extern const struct table_section table_certificates, table_authorities, table_destination_authorities,
	table_tls, table_profiles;

/* table_crl.c: lists of revoked certificates. */
extern const struct table_section table_crl;

/* table_delivery.c: where mail goes, how, and when. */
extern const struct table_section table_routes, table_destinations, table_destination_settings,
	table_delivery;
