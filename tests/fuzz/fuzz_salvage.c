/*
 * The reader of damaged databases: the first byte says how many pages the file has, what comes behind them is its log. Whatever is in
 * them, reading ends, and each value of a row lies in its row.
 */
#include "queue/salvage_file.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <talloc.h>

#include "base/base.h"
#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool fine)
{
	if (!fine)
		abort();
}

static int file_of(struct text bytes)
{
	int fd = memfd_create("salvage", MFD_CLOEXEC);

	must(fd >= 0 && io_write_all(fd, bytes) == 0);
	return fd;
}

static unsigned touch(struct text bytes)
{
	unsigned sum = 0;

	for (size_t i = 0; i < bytes.len; i++)
		sum += (uint8_t)bytes.at[i];
	return sum;
}

static unsigned read_all(struct salvage_file *file, uint64_t size)
{
	struct salvage_row row;
	unsigned sum = 0;

	for (unsigned view = 0; view < salvage_file_views(file); view++) {
		salvage_file_view(file, view);
		for (uint64_t rows = 0; salvage_file_next(file, &row); rows++) {
			must(rows <= size / 2); /* each has a pointer of its own */
			must(row.record.count <= SALVAGE_PAGE_COLUMNS);
			for (size_t i = 0; i < row.record.count; i++)
				sum += touch(row.record.values[i].bytes);
		}
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct salvage_file *file;

	if (size == 0)
		return 0;
	struct text all = { (const char *)data + 1, size - 1 };
	size_t pages = (size_t)data[0] * SALVAGE_PAGE_SIZE;
	CLEANUP(base_close) int db = file_of(text_first(all, pages));
	CLEANUP(base_close) int wal = file_of(text_from(all, pages));

	must(salvage_file_open(NULL, db, wal, &file) == 0);
	must(read_all(file, size) < UINT_MAX); /* so that nothing is left out */
	talloc_free(file);
	return 0;
}
