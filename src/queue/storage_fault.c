/* The table of what can be wrong with the storage, and its cures. */
#include "queue/storage_fault.h"

#include <errno.h>
#include <stddef.h>

#include "base/base.h"
#include "base/err.h"
#include "base/log.h"

static const struct {
	int error;
	const char *cure;
} cures[] = {
	{ -ENOSPC, "free space or inodes on the file system of state_dir" },
	{ -EDQUOT, "raise the disk quota of the account of role queue, or free space in state_dir" },
	{ -EMFILE, "raise the limit of open files of this service" },
	{ -ENFILE, "raise the limit of open files of this machine (fs.file-max)" },
	{ -EROFS, "mount the file system of state_dir writable" },
	{ -EACCES, "give state_dir to the account of role queue" },
	{ -EPERM, "give state_dir to the account of role queue" },
	{ -EUCLEAN, "check disk and memory; the start of queue that follows salvages queue.db" },
	{ -EIO, "check the disk of state_dir; the kernel's log says more" },
};

const char *storage_fault_cure(int error)
{
	for (size_t i = 0; i < COUNT(cures); i++)
		if (cures[i].error == error)
			return cures[i].cure;
	return NULL;
}

void storage_fault_tell(struct storage_fault *fault, enum storage_part part, int error)
{
	static const char *const names[] = {
		[STORAGE_DATABASE] = "queue.db", [STORAGE_CONTENT] = "content", [STORAGE_READING] = "reading"
	};
	const char *cure = storage_fault_cure(error);

	if (error == fault->told[part] || (error < 0 && cure == NULL))
		return;
	fault->told[part] = error;
	if (error < 0)
		log_event(LOG_ERROR, "storage_failed", log_str("part", names[part]),
			log_str("reason", err_text(error)), log_str("cure", cure));
	else
		log_event(LOG_INFO, "storage_works", log_str("part", names[part]));
}
