/* strike OUT BESIDE WHO NTH NUMBER ERROR VICTIM COMMAND...
 *
 * Runs a command of dhow-runtime's under ptrace(2), and counts the system calls that it and its
 * children make as dhow-runtime: one that has executed something else is let go. WHO is 0 for the
 * command, 1 and on for children in their order of birth (1 is the running process BESIDE, unless
 * that is 0). At WHO's NTH call (none if 0), or the next with that NUMBER:
 *   ERROR > 0: the call isn't made and fails so;
 *   else the victims are killed, and the call isn't made if the caller is one: bit N of VICTIM is
 *   process N's, and -1 means all.
 * OUT gets a line for each call (WHO NTH NUMBER, and what is written if it is a line of a trace) when
 * NTH is 0, else `struck NUMBER`. It ends as the command does; the rest goes on untraced.
 * 98 says that it had not ended after 15 seconds. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 64
static struct task { pid_t pid; int inside, failing, expected, held, beside; long calls; } tasks[MOST];
static int count;
static FILE *out;
static int who, done;
static long nth, number, error, victim;
static struct stat program;

static struct task *task(pid_t pid)
{
	for (int i = 0; i < count; i++)
		if (tasks[i].pid == pid)
			return &tasks[i];
	if (count == MOST) {
		fputs("strike: too many processes\n", stderr);
		exit(99);
	}
	tasks[count] = (struct task){.pid = pid};
	return &tasks[count++];
}

/* The same file: its name says nothing where it runs from a mount of its own. */
static int is_runtime(pid_t pid)
{
	char link[64];
	struct stat there;
	snprintf(link, sizeof link, "/proc/%d/exe", pid);
	return !stat(link, &there) && there.st_dev == program.st_dev && there.st_ino == program.st_ino;
}

/* What is written, if it looks like a line of --trace. */
static void told(pid_t pid, unsigned long at, unsigned long size)
{
	char text[256] = "";
	struct iovec to = {text, size < 255 ? size : 255}, from = {(void *)at, to.iov_len};
	ssize_t n = process_vm_readv(pid, &to, 1, &from, 1, 0);
	text[n < 0 ? 0 : n] = 0;
	if (!strncmp(text, "{\"at\":", 6)) {
		text[strcspn(text, "\n")] = 0;
		fprintf(out, " %s", text);
	}
}

static void enter(struct task *t, struct __ptrace_syscall_info *info)
{
	unsigned long nr = info->entry.nr;
	t->calls++;
	if (!nth) {
		fprintf(out, "%d %ld %lu", (int)(t - tasks), t->calls, nr);
		if (nr == SYS_write)
			told(t->pid, info->entry.args[1], info->entry.args[2]);
		fputc('\n', out);
		return;
	}
	if (done || t - tasks != who || t->calls < nth || (long)nr != number)
		return;
	done = 1;
	fprintf(out, "struck %lu\n", nr);
	fflush(out);
	if (error > 0) {
		ptrace(PTRACE_POKEUSER, t->pid, offsetof(struct user, regs.orig_rax), -1L);
		t->failing = 1;
		return;
	}
	for (int i = 0; i < count; i++)
		if (tasks[i].pid && (victim >> i & 1))
			kill(tasks[i].pid, SIGKILL);
}

static void syscall_stop(struct task *t)
{
	struct __ptrace_syscall_info info;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, sizeof info, &info) < 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY && t->inside)
		enter(t, &info);
	else if (info.op == PTRACE_SYSCALL_INFO_EXIT && t->failing) {
		ptrace(PTRACE_POKEUSER, t->pid, offsetof(struct user, regs.rax), -error);
		t->failing = 0;
	}
}

/* Handles a stop; 0 when the process is let go. */
static int stop(struct task *t, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;
	unsigned long born;
	if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
		ptrace(PTRACE_GETEVENTMSG, t->pid, 0, &born);
		struct task *child = task((pid_t)born);
		child->inside = t->inside;
		child->expected = 1;
		if (child->held)
			ptrace(PTRACE_SYSCALL, child->pid, 0, 0);
	} else if (event == PTRACE_EVENT_EXEC) {
		t->inside = is_runtime(t->pid);
		if (!t->inside) {
			ptrace(PTRACE_DETACH, t->pid, 0, 0);
			return 0;
		}
	} else if (event == PTRACE_EVENT_STOP && !t->expected) {
		t->held = 1; /* its birth is told of later */
		return 1;
	} else if (event == PTRACE_EVENT_STOP) {
		if (sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU) {
			ptrace(PTRACE_LISTEN, t->pid, 0, 0);
			return 1;
		}
	} else if (sig == (SIGTRAP | 0x80)) {
		syscall_stop(t);
	} else if (!event) {
		ptrace(PTRACE_SYSCALL, t->pid, 0, sig);
		return 1;
	}
	ptrace(PTRACE_SYSCALL, t->pid, 0, 0);
	return 1;
}

static void seize(pid_t pid)
{
	long what = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE
		| PTRACE_O_TRACEEXEC;
	if (ptrace(PTRACE_SEIZE, pid, 0, what) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0) {
		perror("strike: seize");
		exit(99);
	}
}

/* It hangs: an end for all of them, but the one beside. */
static void hangs(int sig)
{
	(void)sig;
	for (int i = 0; i < count; i++)
		if (tasks[i].pid && !tasks[i].beside)
			kill(tasks[i].pid, SIGKILL);
	_exit(98);
}

int main(int argc, char **argv)
{
	int status, go[2];
	pid_t pid, command, beside;
	char byte;

	if (argc < 9 || !(out = fopen(argv[1], "we")) || pipe(go) || stat(argv[8], &program))
		return 99;
	beside = atoi(argv[2]);
	who = atoi(argv[3]);
	nth = atol(argv[4]);
	number = atol(argv[5]);
	error = atol(argv[6]);
	victim = atol(argv[7]);
	command = fork();
	if (!command) {
		close(go[1]);
		if (read(go[0], &byte, 1) != 1)
			_exit(99);
		close(go[0]);
		execv(argv[8], argv + 8);
		_exit(99);
	}
	seize(command);
	task(command)->expected = 1;
	if (beside) {
		seize(beside);
		*task(beside) = (struct task){.pid = beside, .inside = 1, .expected = 1, .beside = 1};
	}
	if (write(go[1], "x", 1) != 1)
		return 99;
	close(go[0]);
	close(go[1]);
	signal(SIGALRM, hangs);
	alarm(15);
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (pid < 0)
			continue;
		if (WIFSTOPPED(status)) {
			stop(task(pid), status);
			continue;
		}
		if (pid == command)
			break;
		task(pid)->pid = 0;
	}
	fclose(out);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
