/*
 * See salvage_file.h. No tree is walked: a damaged page in it would hide what lies below. Every page that the pointer map does not call
 * free is looked at; where the map is damaged, the list of free pages decides. So one damage alone never brings back what was deleted.
 * A page is read where the last transaction put it: in the log, or in the file. Whatever stands in it, all that is read together is a few times
 * the size of the file.
 */
#include "queue/salvage_file.h"

#include <sys/stat.h>

#include <talloc.h>

#include "base/base.h"
#include "queue/salvage_wal.h"

struct salvage_file {
	int db_fd, wal_fd;
	struct salvage_wal *wal;
	uint32_t in_file;     /* pages, the last one perhaps not whole */
	uint32_t most, count; /* pages there may be, and there are in this view */
	uint64_t *at;	      /* of each page: where in the log it begins; 0 = it is in the file */
	bool *free;	      /* of each page: the list of free pages names it */
	uint32_t number;      /* the page that is read */
	unsigned cells, cell; /* in it, and the next of them */
	size_t believed;      /* bytes that its cells may still say they have in it */
	uint8_t *reads;	      /* of each page: how often it was read as part of a row */
	uint8_t page[SALVAGE_PAGE_SIZE], map[SALVAGE_PAGE_SIZE], overflow[SALVAGE_PAGE_SIZE];
	uint32_t map_number; /* of the page in `map` */
	char *bytes;	     /* of a row that is longer than its cell */
};

/* CLAIMS: a byte belongs to one row. By damage a few more may claim it; what more would cost has no bound. */
enum { PAGES_MAX = INT32_MAX, CLAIMS = 4 };

int salvage_file_open(const void *owner, int db_fd, int wal_fd, struct salvage_file **ret_file)
{
	struct salvage_file *file = text_must(talloc_zero(owner, struct salvage_file));
	struct stat status;

	file->db_fd = db_fd;
	file->wal_fd = wal_fd;
	int r = fstat(db_fd, &status) < 0 ? -errno : salvage_wal_read(file, wal_fd, &file->wal);
	if (r < 0) {
		talloc_free(file);
		return r;
	}
	file->in_file =
		(uint32_t)MIN((status.st_size + SALVAGE_PAGE_SIZE - 1) / SALVAGE_PAGE_SIZE, PAGES_MAX / 2);
	file->most = file->in_file + (uint32_t)MIN(file->wal->count, PAGES_MAX / 2u);
	file->at = text_must(talloc_array(file, uint64_t, file->most + 1));
	file->free = text_must(talloc_array(file, bool, file->most + 1));
	file->reads = text_must(talloc_array(file, uint8_t, file->most + 1));
	*ret_file = file;
	return 0;
}

unsigned salvage_file_views(const struct salvage_file *file)
{
	return file->wal->sound ? 1 : 2;
}

/* What cannot be read is as good as zeros. */
static void read_page(const struct salvage_file *file, uint32_t number, uint8_t *page)
{
	uint64_t at = file->at[number];
	ssize_t len = at != 0 ? pread(file->wal_fd, page, SALVAGE_PAGE_SIZE, (off_t)at)
			      : pread(file->db_fd, page, SALVAGE_PAGE_SIZE,
					(off_t)(number - 1) * SALVAGE_PAGE_SIZE);
	size_t have = len < 0 ? 0 : (size_t)len;

	memset(page + have, 0, SALVAGE_PAGE_SIZE - have);
}

/* Mark the pages of the list that begins in page 1: trunks, each with the next trunk, a count, and that many leaves. */
static void mark_free(struct salvage_file *file)
{
	uint8_t *page = file->overflow;

	memset(file->free, 0, (file->most + 1) * sizeof file->free[0]);
	read_page(file, 1, page);
	uint32_t trunk = salvage_page_u32(page + 32);
	while (trunk > 1 && trunk <= file->count && !file->free[trunk]) {
		file->free[trunk] = true;
		read_page(file, trunk, page);
		uint32_t leaves = MIN(salvage_page_u32(page + 4), SALVAGE_PAGE_SIZE / 4u - 2);
		for (uint32_t i = 0; i < leaves; i++) {
			uint32_t leaf = salvage_page_u32(page + 8 + 4 * i);

			if (leaf > 1 && leaf <= file->count)
				file->free[leaf] = true;
		}
		trunk = salvage_page_u32(page);
	}
}

void salvage_file_view(struct salvage_file *file, unsigned view)
{
	const struct salvage_wal *wal = file->wal;

	memset(file->at, 0, (file->most + 1) * sizeof file->at[0]);
	memset(file->reads, 0, (file->most + 1) * sizeof file->reads[0]);
	file->count = file->in_file;
	for (size_t i = 0; i < wal->count; i++) {
		const struct salvage_frame *frame = &wal->frames[i];

		if (frame->page == 0 || frame->page > file->most || (view > 0 && !frame->sound))
			continue;
		file->at[frame->page] = frame->at;
		file->count = MAX(file->count, frame->page);
	}
	/* The last transaction says how many pages there are; those behind are left over. Nobody else may say so: it may be damaged. */
	if (wal->sound && wal->count > 0)
		file->count = MIN(file->count, wal->frames[wal->count - 1].commit);
	if (file->count > 0)
		mark_free(file);
	file->number = file->cells = file->cell = file->map_number = 0;
}

static bool is_used(struct salvage_file *file, uint32_t number)
{
	uint32_t map = salvage_page_map(number);

	if (map == 0)
		return number == 1;
	/* Written later than the map: whoever frees a page writes the map, so this map's successor is what was lost. */
	if (file->at[number] > file->at[map])
		return true;
	if (map != file->map_number) {
		read_page(file, map, file->map);
		file->map_number = map;
	}
	switch (salvage_page_use(file->map, number)) {
	case SALVAGE_USED:
		return true;
	case SALVAGE_FREE:
		return false;
	case SALVAGE_UNKNOWN:
		return !file->free[number];
	}
	return false;
}

/* The whole record of a cell: from its page, or put together from the chain of pages where it goes on. */
static bool read_record(struct salvage_file *file, const struct salvage_cell *cell, struct text *ret_bytes)
{
	if (cell->local.len > file->believed)
		return false;
	file->believed -= cell->local.len;
	*ret_bytes = cell->local;
	if (cell->overflow == 0)
		return true;
	if (cell->size > (uint64_t)file->count * SALVAGE_PAGE_SIZE)
		return false;

	TALLOC_FREE(file->bytes);
	file->bytes = text_must(talloc_size(file, cell->size));
	memcpy(file->bytes, cell->local.at, cell->local.len);
	uint64_t done = cell->local.len;
	for (uint32_t number = cell->overflow; done < cell->size; number = salvage_page_u32(file->overflow)) {
		if (number <= 1 || number > file->count || file->reads[number] == CLAIMS)
			return false;
		file->reads[number]++;
		read_page(file, number, file->overflow);
		uint64_t len = MIN(cell->size - done, SALVAGE_PAGE_SIZE - 4u);
		memcpy(file->bytes + done, file->overflow + 4, len);
		done += len;
	}
	*ret_bytes = (struct text){ file->bytes, done };
	return true;
}

bool salvage_file_next(struct salvage_file *file, struct salvage_row *ret_row)
{
	struct salvage_cell cell;
	struct text bytes;

	for (;;) {
		while (file->cell < file->cells) {
			if (!salvage_page_cell(file->page, file->number, file->cell++, &cell) ||
				!read_record(file, &cell, &bytes) ||
				!salvage_page_record(bytes, &ret_row->record))
				continue;
			ret_row->has_rowid = cell.has_rowid;
			ret_row->rowid = cell.rowid;
			return true;
		}
		if (file->number >= file->count)
			return false;
		file->number++;
		file->cell = file->cells = 0;
		if (is_used(file, file->number)) {
			read_page(file, file->number, file->page);
			file->cells = salvage_page_cells(file->page, file->number);
			file->believed = (size_t)CLAIMS * SALVAGE_PAGE_SIZE;
		}
	}
}
