#pragma once
/* Where the lists of authorities lie: the system's file, the file that `authorities.custom` names, and those that `postern ca` keeps in
 * STATE_DIR/pki/authorities: `custom/SHA256.pem` (one each), and the empty files `system-off` and `custom-off` for lists that are switched off. */

#include <stdbool.h>

#include "base/text.h"

struct bundle;
struct config;
struct marks;

enum trust_list { TRUST_SYSTEM, TRUST_CUSTOM, TRUST_LIST_COUNT };

enum { TRUST_FILES_MAX = 4096, TRUST_FILES_NAME_LEN = 64 + 4 };

/* Who learns whom we trust: `deliver` verifies servers, `upkeep` what it fetches. */
#define TRUST_FILES_READERS (BUNDLE_DELIVER | BUNDLE_UPKEEP | BUNDLE_AUTHORITIES)

/* The entry of a bundle that holds the kept ones, one behind another. */
#define TRUST_FILES_KEPT "authorities/kept"

/* `system`, `custom`. Static. */
const char *trust_files_word(enum trust_list list);

/* STATE_DIR/pki/authorities/`name`, owned by `owner`. */
char *trust_files_path(const void *owner, const char *state_dir, const char *name);

/* True when the list is switched off there. */
bool trust_files_is_off(const char *state_dir, enum trust_list list);

/* True for the name of a kept file: 64 hexadecimal digits and `.pem`. */
bool trust_files_is_name(const char *name);

/* Read all that are kept, in the order of their names, into *ret_pem (owned by `owner`); how many, or a negative errno. None is 0. */
int trust_files_read(const void *owner, const char *state_dir, struct text *ret_pem);

/* For config_gather(): into `bundle`, for role deliver, what is on and needed. Problems and warnings are noted. */
void trust_files_gather(struct bundle *bundle, const struct config *config, struct marks *marks);

/* True when the file says that somebody trusts the system's list. */
bool trust_files_names_system(const struct config *config);

/* True when `postern ca` has switched the system's list off in that generation. */
bool trust_files_system_is_off(const struct bundle *bundle);

/* What that generation trusts: on, and not switched off by the file or by `postern ca`. */
bool trust_files_is_on(const struct config *config, const struct bundle *bundle, enum trust_list list);
