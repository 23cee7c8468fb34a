/* The floor: what the kernel alone costs. A bare program that makes the same groups, namespaces,
 * mounts and restrictions as a runtime does for the benchmark's two configs, runs a program in them
 * and takes all away again. It reads no config, keeps no state and judges nothing.
 *
 *   floor [-d FILES FILTER] ROOT GROUP HIERARCHY... -- PROGRAM...
 *   floor --filter PID FILE          writes the system call filter of a process to a file
 *
 * -d is docker's config: limits, binds of the FILES directory, the filter. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* From sys/mount.h, which can't go with linux/mount.h. */
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
#define MNT_DETACH 2

#define MUST(call) must((long)(call), #call)
static long must(long answer, const char *call)
{
	if (answer < 0) {
		fprintf(stderr, "floor: %s: %s\n", call, strerror(errno));
		_exit(1);
	}
	return answer;
}

#define MOST 32
static char *group[MOST];	/* directories of the container's groups */
static const char *name[MOST];	/* and their hierarchies' names */
static int door[MOST], groups, unified = -1;
static const char *files;

static int open_tree(const char *path, unsigned how)
{
	return MUST(syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLOEXEC | how));
}

static void put(int tree, const char *path)
{
	MUST(syscall(SYS_move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH));
}

static void attributes(int tree, unsigned set, unsigned propagation, unsigned flags)
{
	struct mount_attr a = { .attr_set = set, .propagation = propagation };
	MUST(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | flags, &a, sizeof a));
}

static void writes(const char *dir, const char *file, const char *text)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", dir, file);
	int fd = MUST(open(path, O_WRONLY | O_CLOEXEC));
	MUST(write(fd, text, strlen(text)));
	close(fd);
}

static void copies(const char *dir, const char *file)
{
	char path[512], text[256];
	snprintf(path, sizeof path, "%s/../%s", dir, file);
	int fd = MUST(open(path, O_RDONLY | O_CLOEXEC));
	int n = MUST(read(fd, text, sizeof text - 1));
	close(fd);
	text[n] = 0;
	writes(dir, file, text);
}

static void make_groups(void)
{
	for (int i = 0; i < groups; i++) {
		MUST(mkdir(group[i], 0755));
		const char *is = name[i];
		if (!strcmp(is, "cpuset")) {
			copies(group[i], "cpuset.cpus");
			copies(group[i], "cpuset.mems");
		} else if (!strcmp(is, "devices")) {
			static const char *rules[] = { "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:8 rwm",
				"c 1:7 rwm", "c 5:0 rwm", "c 1:5 rwm", "c 1:9 rwm", "c 136:* rwm",
				"c 5:2 rwm", "c 10:200 rwm" };
			writes(group[i], "devices.deny", "a");
			char path[512];
			snprintf(path, sizeof path, "%s/devices.allow", group[i]);
			int fd = MUST(open(path, O_WRONLY | O_CLOEXEC));
			for (unsigned n = 0; n < sizeof rules / sizeof *rules; n++)
				MUST(write(fd, rules[n], strlen(rules[n])));
			close(fd);
		} else if (files && !strcmp(is, "memory")) {
			writes(group[i], "memory.limit_in_bytes", "268435456");
			writes(group[i], "memory.memsw.limit_in_bytes", "536870912");
		} else if (files && !strcmp(is, "cpu")) {
			writes(group[i], "cpu.cfs_period_us", "100000");
			writes(group[i], "cpu.cfs_quota_us", "100000");
		} else if (files && !strcmp(is, "pids")) {
			writes(group[i], "pids.max", "100");
		}
		char path[512];
		snprintf(path, sizeof path, "%s/%s", group[i], i == unified ? "" : "tasks");
		door[i] = MUST(open(path, O_CLOEXEC | (i == unified ? O_DIRECTORY : O_WRONLY)));
	}
}

static void show_groups(void)
{
	const unsigned hard = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	char path[512];
	MUST(mount("tmpfs", "sys/fs/cgroup", "tmpfs", 14, "mode=755"));
	for (int i = 0; i < groups; i++) {
		snprintf(path, sizeof path, "sys/fs/cgroup/%s", name[i]);
		MUST(mkdir(path, 0755));
		put(open_tree(group[i], OPEN_TREE_CLONE), path);
	}
	int all = MUST(open("sys/fs/cgroup", O_PATH | O_CLOEXEC));
	attributes(all, hard, 0, AT_RECURSIVE);
}

static void mounts(const char *root)
{
	int slash = MUST(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
	attributes(slash, 0, 1 << 19 /* MS_SLAVE */, AT_RECURSIVE);
	int null = open_tree("/dev/null", OPEN_TREE_CLONE);
	attributes(null, MOUNT_ATTR_RDONLY, 0, 0);
	int tree = open_tree(root, OPEN_TREE_CLONE | AT_RECURSIVE);
	put(tree, root);
	MUST(fchdir(tree));
	MUST(mount("proc", "proc", "proc", files ? 14 : 0, 0));
	MUST(mount("tmpfs", "dev", "tmpfs", 2 | 1 << 24, "mode=755,size=65536k"));
	MUST(mkdir("dev/pts", 0755));
	MUST(mount("devpts", "dev/pts", "devpts", 10, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
	MUST(mkdir("dev/shm", 0755));
	MUST(mount("shm", "dev/shm", "tmpfs", 14, "mode=1777,size=65536k"));
	MUST(mkdir("dev/mqueue", 0755));
	MUST(mount("mqueue", "dev/mqueue", "mqueue", 14, 0));
	MUST(mount("sysfs", "sys", "sysfs", 15, 0));
	show_groups();
	for (int i = 0; files && i < 3; i++) {
		static const char *bound[] = { "resolv.conf", "hostname", "hosts" };
		char from[512], to[64];
		snprintf(from, sizeof from, "%s/%s", files, bound[i]);
		snprintf(to, sizeof to, "etc/%s", bound[i]);
		close(open(to, O_CREAT | O_CLOEXEC, 0644));
		put(open_tree(from, OPEN_TREE_CLONE | AT_RECURSIVE), to);
	}
	static const struct { const char *at; int major, minor; } nodes[] = { { "dev/null", 1, 3 },
		{ "dev/zero", 1, 5 }, { "dev/full", 1, 7 }, { "dev/random", 1, 8 },
		{ "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 } };
	for (unsigned i = 0; i < 6; i++)
		MUST(mknod(nodes[i].at, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
	MUST(symlink("/proc/self/fd", "dev/fd"));
	MUST(symlink("/proc/self/fd/0", "dev/stdin"));
	MUST(symlink("/proc/self/fd/1", "dev/stdout"));
	MUST(symlink("/proc/self/fd/2", "dev/stderr"));
	MUST(symlink("pts/ptmx", "dev/ptmx"));
	MUST(unshare(CLONE_NEWCGROUP));
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
	if (!files)
		attributes(tree, MOUNT_ATTR_RDONLY, 0, 0);
	static const char *fixed[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
	if (files) {
		writes("/proc/sys/net/ipv4", "ip_unprivileged_port_start", "0");
		writes("/proc/sys/net/ipv4", "ping_group_range", "0 2147483647");
	}
	for (unsigned i = 0; i < 5; i++) {
		int fd = syscall(SYS_open_tree, AT_FDCWD, fixed[i], OPEN_TREE_CLOEXEC | OPEN_TREE_CLONE | AT_RECURSIVE);
		if (fd < 0)
			continue;
		attributes(fd, MOUNT_ATTR_RDONLY, 0, 0);
		put(fd, fixed[i]);
	}
	static const char *masked[] = { "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
		"/sys/firmware", "/proc/scsi", "/proc/interrupts", "/sys/devices/virtual/powercap" };
	const char *first = NULL;
	for (unsigned i = 0; i < (files ? 12 : 10); i++) {
		struct stat is;
		if (stat(masked[i], &is))
			continue;
		if (S_ISDIR(is.st_mode) && !first)
			MUST(mount("tmpfs", first = masked[i], "tmpfs", 1, "mode=755,nr_blocks=1,nr_inodes=1"));
		else if (S_ISDIR(is.st_mode))
			put(open_tree(first, OPEN_TREE_CLONE), masked[i]);
		else if (null >= 0)
			put(null, masked[i]), null = -1, name[0] = masked[i];
		else
			put(open_tree(name[0], OPEN_TREE_CLONE), masked[i]);
	}
}

static void restrict_self(const struct sock_fprog *filter)
{
	static const int docker[] = { 0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31 };
	static const int plain[] = { 5, 10, 29 };
	unsigned long keep = 0;
	for (unsigned i = 0; i < (files ? 14 : 3); i++)
		keep |= 1UL << (files ? docker[i] : plain[i]);
	if (filter)
		MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter));
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (!(keep >> cap & 1))
			MUST(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
	if (!files) {
		struct rlimit most = { 1024, 1024 };
		MUST(setrlimit(RLIMIT_NOFILE, &most));
		MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	}
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2] = { { keep, keep, 0 }, { keep >> 32, keep >> 32, 0 } };
	MUST(syscall(SYS_capset, &head, sets));
}

static void child(const char *root, const struct sock_fprog *filter, char **program)
{
	for (int i = 0; i < groups; i++)
		if (i != unified)
			MUST(write(door[i], "0", 1));
	MUST(setsid());
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = MUST(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	MUST(ioctl(fd, SIOCSIFFLAGS, &lo));
	mounts(root);
	MUST(sethostname("floor", 5));
	restrict_self(filter);
	execv(program[0], program);
	must(-1, program[0]);
}

static int dump(int pid, const char *file)
{
	MUST(ptrace(PTRACE_SEIZE, pid, 0, 0));
	MUST(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
	MUST(waitpid(pid, NULL, __WALL));
	struct sock_filter program[4096];
	int count = MUST(ptrace(PTRACE_SECCOMP_GET_FILTER, pid, 0, program));
	int fd = MUST(open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644));
	MUST(write(fd, program, count * sizeof *program));
	return 0;
}

int main(int argc, char **argv)
{
	static struct sock_filter program[4096];
	struct sock_fprog filter = { 0, program };
	if (argc > 3 && !strcmp(argv[1], "--filter"))
		return dump(atoi(argv[2]), argv[3]);
	argv++;
	if (!strcmp(*argv, "-d")) {
		files = argv[1];
		int fd = MUST(open(argv[2], O_RDONLY | O_CLOEXEC));
		filter.len = MUST(read(fd, program, sizeof program)) / sizeof *program;
		argv += 3;
	}
	const char *root = *argv++, *below = *argv++;
	for (; strcmp(*argv, "--"); argv++) {
		name[groups] = strrchr(*argv, '/') + 1;
		if (!strcmp(name[groups], "unified"))
			unified = groups;
		MUST(asprintf(&group[groups], "%s/%s", *argv, below));
		groups++;
	}
	make_groups();
	int status, pidfd;
	struct clone_args args = { .exit_signal = SIGCHLD, .pidfd = (unsigned long)&pidfd };
	args.flags = CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET;
	if (unified >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = door[unified];
	}
	int pid = MUST(syscall(SYS_clone3, &args, sizeof args));
	if (!pid)
		child(root, filter.len ? &filter : NULL, argv + 1);
	MUST(waitpid(pid, &status, 0));
	for (int i = groups - 1; i >= 0; i--)
		MUST(rmdir(group[i]));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
