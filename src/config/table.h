#pragma once
/* The one description of the configuration file: sections made of rows. Private to the room. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum table_type {
	TABLE_NEXT_HOP,	   /* const char * as written; the row's check fills the address */
	TABLE_TEXT,	   /* const char * as written */
	TABLE_NAME,	   /* const char * */
	TABLE_HOSTNAME,	   /* const char * */
	TABLE_MAILBOX,	   /* const char *, a mail address */
	TABLE_DOMAIN,	   /* const char *, lower case: `example.com`, `.example.com` or `default` */
	TABLE_DESTINATION, /* const char *, as TABLE_DOMAIN or an address without a port */
	TABLE_PATH,	   /* const char *, joined with the directory of the file */
	TABLE_BOOL,	   /* bool */
	TABLE_SWITCH,	   /* bool, written `on` and `off` */
	TABLE_NUMBER,	   /* uint64_t */
	TABLE_SIZE,	   /* uint64_t, bytes */
	TABLE_DURATION,	   /* int64_t, milliseconds */
	TABLE_ADDRESS,	   /* struct ip with a port */
	TABLE_CHOICE,	   /* an enum */
	TABLE_TARGET, /* an enum, and the const char * at `count`: one of `words`, or a path (its word is TABLE_PATH_WORD) */
	TABLE_REFERENCE,  /* const struct config_... *, an entry of the list whose section is `inner` */
	TABLE_REFERENCES, /* array + count of such pointers; written as one name or as a list of them */
	TABLE_DURATIONS,  /* int64_t array + count */
	TABLE_NETWORKS,	  /* struct ip_network array + count */
	TABLE_ADDRESSES,  /* struct ip array + count, without ports */
	TABLE_DOMAINS,	  /* const char * array + count, lower case, plain domains only */
	TABLE_ZONES,	  /* as TABLE_DOMAINS; written with or without a final dot */
	TABLE_SERVERS,	  /* struct ip array + count, written `ADDRESS@PORT`, port 53 unless said */
	TABLE_PEERS,	  /* struct config_peer array + count */
	TABLE_WAITING, /* nothing: a key of the product that is taken, whatever it says, and has no effect yet */
	TABLE_SECTION, /* a struct described by `inner`, in place */
	TABLE_LIST,    /* array + count of structs described by `inner` */
};

enum { TABLE_LATER = -1, TABLE_KEY = -2, TABLE_ROWS_MAX = 64 };

/* A word of a TABLE_CHOICE; TABLE_LATER marks words of the product that this version does not know yet, TABLE_KEY what is a key and no word at all. */
struct table_word {
	const char *word; /* NULL ends the list */
	int value;
};

/* The word of a TABLE_TARGET that stands for any path. */
#define TABLE_PATH_WORD "PATH"

struct table_section;

struct table_row {
	const char *name;
	enum table_type type;
	size_t offset; /* of the field in the section's struct */
	size_t count;  /* offset of a list's count, or of the path of a TABLE_TARGET */
	const char
		*standard; /* default as the operator would write it (lists: comma separated); NULL = none */
	bool optional; /* without a default: not written = all bits are set; of a section: not shown then */
	bool required; /* must stand in the file; a list must have an entry */
	uint64_t min, max; /* of numbers, sizes, durations; max 0 = no limits */
	bool or_zero;	   /* 0 is allowed beside them and means: no limit */
	const struct table_word *words;
	const char *other_word,
		*meant_word; /* how else one of them is known, and which: for a hint; or NULL */
	const struct table_section *inner;
	const void *
		predefined; /* entries that a list has without being written, behind the others; their line is 0 */
	size_t predefined_count;
	/* A further check of the value, which may also fill other fields of `entry`. Returns NULL, or what was
	 * expected and the cure, owned by `owner`. */
	char *(*check)(const void *owner, struct text value, void *entry);
	const char *manual; /* one sentence */
};

struct table_section {
	const char *name;  /* key of the section; NULL for the top level */
	const char *label; /* key that names an entry of a list, unique in it; NULL when there is none */
	size_t size;	   /* of its struct; all but the top level begin with `unsigned line` */
	const struct table_row *rows;
	size_t count;
	const char *const
		*later; /* keys of the product that this version does not know yet; NULL ends; or NULL */
	const char *manual;
};

/* The top level of the file; its struct is struct config. */
extern const struct table_section table_top;

/* The row called `name`, or NULL. */
const struct table_row *table_find(const struct table_section *section, struct text name);

/* The top-level row of the list whose entries are described by `section`. */
const struct table_row *table_list_of(const struct table_section *section);

/* True when the values of `row` stand in a list. */
bool table_is_list(const struct table_row *row);

/* The entry number `index` of the list `row` in `base`, NULL behind the end. */
void *table_entry(const struct table_row *row, const void *base, size_t index);

/* True when `entry` of a list does not stand in the file. */
bool table_is_predefined(const void *entry);

/* The label of `entry` in a list of `section`; NULL when it has none. */
const char *table_label(const struct table_section *section, const void *entry);
