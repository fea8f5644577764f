#pragma once
/* Setting crl_sources: what its values mean, and where the lists that role `upkeep` fetched lie: STATE_DIR/upkeep/crl/NAME.crl (one list, PEM or DER) and NAME.json
 * (when it was fetched; see pki/crl_file.h). */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct bundle;
struct config;
struct config_crl_source;
struct marks;

/* Names below state_dir. */
#define CRL_SOURCES_DIRECTORY "upkeep/crl"

#define CRL_SOURCES_SCHEDULE_EXPECTED                                                                        \
	"`every` and a time from 1m to 30d such as 1h, `daily` and a time of day such as 03:00, or "         \
	"`weekly sunday 03:00`; times are UTC"

/* The row checks of a schedule and of a URL: NULL, or what was expected, owned by `owner`. The schedule fills the entry's timetable. */
char *crl_sources_read_schedule(const void *owner, struct text value, void *entry);
char *crl_sources_check_url(const void *owner, struct text value, void *entry);

/* Fill the timetables of entries that say none. */
void crl_sources_finish(struct config *config);

/* Note what contradicts itself, and warn of what has no effect. */
void crl_sources_check(const struct config *config, struct marks *marks);

/* For config_gather(): the lists that were fetched of the sources that are enabled, into `bundle`, for whom verifies certificates. A list that is not there yet is none;
 * one that cannot be read is warned of. */
void crl_sources_gather(struct bundle *bundle, const struct config *config, struct marks *marks);

/* The lists of `used`, a generation in use, as those of `bundle`, for the sources that `config` still names and that are enabled: what lies on the disk meanwhile is not
 * proved, and comes into use by a refresh. */
void crl_sources_keep(struct bundle *bundle, const struct config *config, const struct bundle *used);

/* True when a list is to be fetched. */
bool crl_sources_wanted(const struct config *config);

/* The list of a source in a bundle, unproved; NULL `at` when there is none. */
struct text crl_sources_find(const struct bundle *bundle, const struct config_crl_source *source);

/* STATE_DIR/upkeep/crl/NAME`suffix`, owned by `owner`. */
char *crl_sources_path(const void *owner, const char *state_dir, const char *name, const char *suffix);
