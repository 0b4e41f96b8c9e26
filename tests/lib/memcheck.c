/*
 * Preloaded into a keeper, it starts the drainer under memcheck: execl("/proc/self/exe") of a program that runs under valgrind would start
 * valgrind itself. MEMCHECK_PROGRAM is the recorder; VALGRIND_OPTS, which valgrind reads, has the options. tests/valgrind uses it.
 */
#include <stdlib.h>
#include <unistd.h>

int execl(const char *path, const char *arg, ...)
{
	char *argv[] = {"valgrind", getenv("MEMCHECK_PROGRAM"), "drainer", "3", NULL};

	(void)path;
	(void)arg;
	unsetenv("LD_PRELOAD");
	return argv[1] ? execvp(argv[0], argv) : -1;
}
