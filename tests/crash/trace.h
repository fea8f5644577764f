#pragma once
/*
 * The trace of a program's changes below one directory, as the power-cut shim writes it and image.py reads it.
 * One record: struct trace_record, `name_len` bytes of names (two names are divided by a NUL), `data_len` bytes of data.
 * All numbers are in host order; files and directories are named by inode number. An inode number means the file that a
 * CREATE, UNNAMED or MKDIR with it announced last.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum trace_kind {
	TRACE_CREATE = 1, /* file `inode` made as `name` in directory `other` */
	TRACE_UNNAMED,	  /* file `inode` made without a name (O_TMPFILE) */
	TRACE_MKDIR,	  /* directory `inode` made as `name` in directory `other` */
	TRACE_LINK,	  /* file `inode` got `name` in directory `other` */
	TRACE_UNLINK,	  /* `name` in directory `other` is gone, file or directory */
	TRACE_RENAME,	  /* `name` NUL `new name`: from directory `other` to directory `number` */
	TRACE_WRITE,	  /* data at offset `number` of file `inode` */
	TRACE_SIZE,	  /* file `inode` is `number` bytes long */
	TRACE_SYNC_BEGIN, /* sync `number` of `inode` (0 = of everything) is asked for */
	TRACE_SYNC_END,	  /* it succeeded: what stood before its begin is on the disk */
	TRACE_MARK,	  /* a note of the program: `name` */
};

struct trace_record {
	uint32_t kind;
	uint32_t name_len;
	uint64_t data_len;
	uint64_t inode;
	uint64_t other;
	uint64_t number;
};

/* False when no trace was asked for; then nothing below may be called. */
bool trace_wanted(void);

/* One lock of all threads and processes that write this trace: between them, make the change and append its record.
 * Both keep errno. */
void trace_lock(void);
void trace_unlock(void);

/* Append a record; `names` may be NULL. Ends the process when the trace cannot be written. */
void trace_put(struct trace_record record, const char *names, const void *data);

/* The inode behind `fd` when it is a file or directory below the directory, or that directory itself; else 0. Keeps errno. */
uint64_t trace_inode(int fd);

/* As trace_inode(), for the directory that holds the last part of `path`; the part in ret_name (borrowed from path). */
uint64_t trace_parent(int at, const char *path, const char **ret_name);

/* The inode of `path` itself (links are not followed); 0 when there is none. Keeps errno. */
uint64_t trace_child(int at, const char *path);

/* End the process: it did `what`, which the trace cannot express, so that no image would be right. */
void trace_refuse(const char *what) __attribute__((noreturn));
