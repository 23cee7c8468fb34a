/* A process whose first thread ends and whose second goes on. */
#include <pthread.h>
#include <unistd.h>

static void *other(void *none)
{
	for (;;)
		pause();
	return none;
}

int main(void)
{
	pthread_t thread;

	if (pthread_create(&thread, 0, other, 0))
		return 1;
	pthread_exit(0);
}
