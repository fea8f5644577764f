/* Makes each sync of a process 5 ms slower, as a disk would that has to turn: LD_PRELOAD=slow_sync.so. */
#include <dlfcn.h>
#include <unistd.h>

static int later(const char *name, int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

	usleep(5000);
	return real(fd);
}

int fsync(int fd);
int fdatasync(int fd);

int fsync(int fd)
{
	return later("fsync", fd);
}

int fdatasync(int fd)
{
	return later("fdatasync", fd);
}
