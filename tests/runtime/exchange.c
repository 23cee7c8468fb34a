/* exchange A B [C D]...: exchanges the names of each pair in turn, as fast as it can, until its input
 * ends; then prints how many exchanges there were. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

int main(int argc, char **argv)
{
	struct pollfd input = {0, POLLIN, 0};
	unsigned long done = 0;

	while (poll(&input, 1, 0) == 0)
		for (int round = 0; round < 64; round++)
			for (int i = 1; i + 1 < argc; i += 2)
				done += !syscall(SYS_renameat2, AT_FDCWD, argv[i], AT_FDCWD, argv[i + 1], RENAME_EXCHANGE);
	printf("%lu\n", done);
	return 0;
}
