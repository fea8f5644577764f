#pragma once
/* Storage that fails is told once, with the cure, and once more when it works again: thousands of mails would say the same. */

/* What failed or worked: each is told by itself. */
enum storage_part { STORAGE_DATABASE, STORAGE_CONTENT, STORAGE_READING, STORAGE_PARTS };

/* What was last told of each part: 0 = it works, or a negative error. Starts zeroed; the owner guards it. */
struct storage_fault {
	int told[STORAGE_PARTS];
};

/* Log that `part` failed with `error` (negative) or worked (0), unless that was the last that was told of it. Errors that are no fault of
 * the storage (a limit of ours, a stop) are not told. */
void storage_fault_tell(struct storage_fault *fault, enum storage_part part, int error);

/* What an operator does against this error of the storage, one sentence (static); NULL when it is none. */
const char *storage_fault_cure(int error);
