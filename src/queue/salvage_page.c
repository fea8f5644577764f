/* See salvage_page.h. Deleted rows are left alone: cells that no pointer of their page names, and pages that the map calls free. */
#include "queue/salvage_page.h"

#include "base/base.h"

enum {
	INDEX_INTERIOR = 0x02, /* rows of tables without rowid lie in interior pages, too */
	INDEX_LEAF = 0x0a,
	TABLE_LEAF = 0x0d,
	FILE_HEADER = 100, /* in front of the page header of page 1 */
	MAP_ENTRY = 5,
	MAP_FIRST = 2,				       /* the first page of the map */
	MAP_PAGES = SALVAGE_PAGE_SIZE / MAP_ENTRY + 1, /* from one page of the map to the next */
};

/* What the map says of a page, and whether a page of that use has a parent. */
enum { MAP_ROOT = 1, MAP_FREE, MAP_OVERFLOW_FIRST, MAP_OVERFLOW, MAP_NODE };

static unsigned header_of(uint32_t number)
{
	return number == 1 ? FILE_HEADER : 0;
}

/* Where the pointers to the cells begin. */
static unsigned pointers_of(const uint8_t *page, uint32_t number)
{
	return header_of(number) + (page[header_of(number)] == INDEX_INTERIOR ? 12 : 8);
}

unsigned salvage_page_cells(const uint8_t *page, uint32_t number)
{
	const uint8_t *header = page + header_of(number);

	if (header[0] != INDEX_INTERIOR && header[0] != INDEX_LEAF && header[0] != TABLE_LEAF)
		return 0;
	return MIN(salvage_page_u16(header + 3), (SALVAGE_PAGE_SIZE - pointers_of(page, number)) / 2);
}

/* A number of one to nine bytes, most significant first, seven bits in each but the ninth. */
static bool take_varint(struct text *rest, uint64_t *ret_number)
{
	uint64_t number = 0;

	for (size_t i = 0; i < MIN(rest->len, 9u); i++) {
		uint8_t byte = (uint8_t)rest->at[i];

		number = i == 8 ? number << 8 | byte : number << 7 | (byte & 0x7f);
		if (i == 8 || byte < 0x80) {
			*ret_number = number;
			*rest = text_from(*rest, i + 1);
			return true;
		}
	}
	return false;
}

/* How much of a record of `size` bytes lies in its cell ("Cell payload overflow pages" of the format). */
static uint64_t local_size(uint64_t size, bool has_rowid)
{
	const uint64_t most = has_rowid ? SALVAGE_PAGE_SIZE - 35 : (SALVAGE_PAGE_SIZE - 12) * 64 / 255 - 23,
		       least = (SALVAGE_PAGE_SIZE - 12) * 32 / 255 - 23;

	if (size <= most)
		return size;
	uint64_t filled = least + (size - least) % (SALVAGE_PAGE_SIZE - 4);
	return filled <= most ? filled : least;
}

bool salvage_page_cell(const uint8_t *page, uint32_t number, unsigned index, struct salvage_cell *ret_cell)
{
	const uint8_t *header = page + header_of(number);
	unsigned pointers = pointers_of(page, number), cells = salvage_page_cells(page, number);

	if (index >= cells)
		return false;
	uint32_t start = salvage_page_u16(page + pointers + 2 * index),
		 first = MAX(salvage_page_u16(header + 5), pointers + 2 * cells); /* where cells may begin */
	if (start < first || start >= SALVAGE_PAGE_SIZE)
		return false;

	struct text rest = { (const char *)page + start, SALVAGE_PAGE_SIZE - start };
	uint64_t size, rowid = 0;
	bool has_rowid = header[0] == TABLE_LEAF;
	if (header[0] == INDEX_INTERIOR)
		rest = text_from(rest, 4); /* the child to its left */
	if (!take_varint(&rest, &size) || (has_rowid && !take_varint(&rest, &rowid)))
		return false;
	if (size == 0 || size > SALVAGE_PAGE_MAX)
		return false;
	uint64_t local = local_size(size, has_rowid);
	if (local + (local < size ? 4 : 0) > rest.len)
		return false;

	*ret_cell = (struct salvage_cell){ .rowid = (int64_t)rowid,
		.has_rowid = has_rowid,
		.size = size,
		.local = text_first(rest, local),
		.overflow = local < size ? salvage_page_u32((const uint8_t *)rest.at + local) : 0 };
	return local == size || ret_cell->overflow > 1;
}

/* A signed number of `len` bytes, most significant first. */
static int64_t take_number(const char *at, size_t len)
{
	uint64_t number = (uint8_t)at[0] & 0x80 ? UINT64_MAX : 0;

	for (size_t i = 0; i < len; i++)
		number = number << 8 | (uint8_t)at[i];
	return (int64_t)number;
}

/* A value of serial type `type`, off the front of `rest`. */
static bool take_value(struct text *rest, uint64_t type, struct salvage_value *ret_value)
{
	static const uint8_t sizes[] = { 0, 1, 2, 3, 4, 6, 8, 8, 0, 0 };
	struct salvage_value value = { .kind = SALVAGE_NUMBER };

	if (type == 10 || type == 11)
		return false;
	uint64_t size = type < COUNT(sizes) ? sizes[type] : (type - 12) / 2;
	if (size > rest->len)
		return false;
	if (type == 0)
		value.kind = SALVAGE_NULL;
	else if (type <= 6)
		value.number = take_number(rest->at, size);
	else if (type == 7)
		value.kind = SALVAGE_REAL;
	else if (type <= 9)
		value.number = (int64_t)type - 8;
	else
		value = (struct salvage_value){ .kind = type % 2 == 0 ? SALVAGE_BLOB : SALVAGE_TEXT,
			.bytes = text_first(*rest, size) };
	*ret_value = value;
	*rest = text_from(*rest, size);
	return true;
}

bool salvage_page_record(struct text bytes, struct salvage_record *ret_record)
{
	struct text types = bytes;
	uint64_t header, type;

	if (!take_varint(&types, &header) || header > bytes.len || header < bytes.len - types.len)
		return false;
	struct text values = text_from(bytes, header);
	types = text_first(types, header - (bytes.len - types.len));

	ret_record->count = 0;
	while (types.len > 0) {
		if (ret_record->count == SALVAGE_PAGE_COLUMNS || !take_varint(&types, &type) ||
			!take_value(&values, type, &ret_record->values[ret_record->count]))
			return false;
		ret_record->count++;
	}
	return values.len == 0;
}

uint32_t salvage_page_map(uint32_t number)
{
	if (number <= MAP_FIRST)
		return 0;
	uint32_t map = (number - MAP_FIRST) / MAP_PAGES * MAP_PAGES + MAP_FIRST;
	return map == number ? 0 : map;
}

/* One wrong bit does not make a free page a used one: only a root has no parent as a free page has none, and it differs by two bits. */
enum salvage_use salvage_page_use(const uint8_t *map, uint32_t number)
{
	const uint8_t *entry = map + MAP_ENTRY * (number - salvage_page_map(number) - 1);
	uint32_t parent = salvage_page_u32(entry + 1);

	switch (entry[0]) {
	case MAP_FREE:
		return parent == 0 ? SALVAGE_FREE : SALVAGE_UNKNOWN;
	case MAP_ROOT:
		return parent == 0 ? SALVAGE_USED : SALVAGE_UNKNOWN;
	case MAP_OVERFLOW_FIRST:
	case MAP_OVERFLOW:
	case MAP_NODE:
		return parent != 0 ? SALVAGE_USED : SALVAGE_UNKNOWN;
	default:
		return SALVAGE_UNKNOWN;
	}
}
