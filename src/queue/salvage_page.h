#pragma once
/*
 * The pages of a SQLite file, read without SQLite when it can no longer read them itself (www.sqlite.org/fileformat2.html): the cells of
 * b-tree pages, the records in them, and the pointer map that says what each page is for. Pure, every bound checked: nothing in a page is
 * believed. The size of a page and the encoding are those of database.c.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum {
	SALVAGE_PAGE_SIZE = 8192,
	SALVAGE_PAGE_COLUMNS = 32, /* of a record: more are not read */
	SALVAGE_PAGE_MAX = 1 << 24 /* bytes of a record: larger ones are not believed */
};

/* Big-endian numbers, as everywhere in the file. */
static inline uint32_t salvage_page_u16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static inline uint32_t salvage_page_u32(const uint8_t *at)
{
	return salvage_page_u16(at) << 16 | salvage_page_u16(at + 2);
}

/* A row, or the part of it that lies in the page of its b-tree. */
struct salvage_cell {
	int64_t rowid;	   /* 0 in a table without one */
	bool has_rowid;	   /* of an ordinary table */
	uint64_t size;	   /* of the whole record */
	struct text local; /* its beginning; borrows from the page */
	uint32_t overflow; /* the page where it goes on; 0 = it is all here */
};

/* How many rows `page`, the `number`th of its file, says it holds: 0 when it is no page with rows. */
unsigned salvage_page_cells(const uint8_t *page, uint32_t number);

/* Row `index` of salvage_page_cells(); false when it cannot be one. */
bool salvage_page_cell(const uint8_t *page, uint32_t number, unsigned index, struct salvage_cell *ret_cell);

enum salvage_kind { SALVAGE_NULL, SALVAGE_NUMBER, SALVAGE_REAL, SALVAGE_TEXT, SALVAGE_BLOB };

struct salvage_value {
	enum salvage_kind kind;
	int64_t number;	   /* SALVAGE_NUMBER */
	struct text bytes; /* SALVAGE_TEXT, SALVAGE_BLOB; borrows from the record */
};

struct salvage_record {
	size_t count;
	struct salvage_value values[SALVAGE_PAGE_COLUMNS];
};

/* The columns of a whole record; false when it is none: each byte of it must be accounted for. */
bool salvage_page_record(struct text bytes, struct salvage_record *ret_record);

/* Where the pointer map keeps its word about page `number`: the page of the map, or 0 when it says nothing about it (itself, page 1). */
uint32_t salvage_page_map(uint32_t number);

enum salvage_use {
	SALVAGE_USED,
	SALVAGE_FREE,	/* what it holds was deleted */
	SALVAGE_UNKNOWN /* the map is damaged there */
};

/* What `map`, the page salvage_page_map(number), says about page `number`. */
enum salvage_use salvage_page_use(const uint8_t *map, uint32_t number);
