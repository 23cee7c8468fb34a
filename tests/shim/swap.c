/* swap A B: exchanges two names for ever, as fast as it can. Static, for any image.
 * swap A B grow: also makes the file A/grow longer without end. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

int main(int argc, char **argv)
{
	char more[4096];
	int fd = -1;

	memset(more, 'x', sizeof more);
	if (argc < 3)
		return 2;
	if (argc > 3)
		fd = open(argv[3], O_WRONLY | O_CREAT | O_APPEND, 0644);
	puts("swapping");
	fflush(stdout);
	for (;;) {
		syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE);
		if (fd >= 0 && lseek(fd, 0, SEEK_END) < (8 << 20) && write(fd, more, sizeof more) < 0)
			return 1;
	}
}
