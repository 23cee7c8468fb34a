/* Makes system calls in every way an x86-64 kernel knows, as its arguments say, and prints what
 * came of each: `WAY NUMBER A B C` with WAY one of n (native), i (i386) and x (x32). */
static long native(long n, long a, long b, long c) {
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return r;
}
static long i386(long n, long a, long b, long c) {
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    return (int)r;
}
static long number(const char *s) {
    unsigned long n = 0;
    int minus = *s == '-';
    for (s += minus; *s; s++) n = n * 10 + (unsigned long)(*s - '0');
    return minus ? -(long)n : (long)n;
}
static void say(long r) {
    char line[24];
    int n = sizeof line, minus = r < 0;
    if (minus) r = -r;
    line[--n] = '\n';
    do line[--n] = (char)('0' + r % 10); while (r /= 10);
    if (minus) line[--n] = '-';
    native(1, 1, (long)(line + n), (long)sizeof line - n);
}
/* What sigaction(2) of x86-64 wants: handler, SA_RESTORER, and never returned from. */
static void trapped(void) {
    native(1, 1, (long)"trapped\n", 8);
    native(60, 0, 0, 0);
}
static struct { void (*handler)(void); unsigned long flags; void (*restorer)(void); unsigned long mask; }
    action = {trapped, 0x04000000, trapped, 0};
__attribute__((used)) static void run(long *stack) {
    char **argv = (char **)(stack + 1);
    __asm__ volatile("movq $8, %%r10; syscall" : : "a"(13L), "D"(31L), "S"(&action), "d"(0L) : "rcx", "r10", "r11", "memory");
    for (argv++; *argv; argv += 5) {
        long n = number(argv[1]), a = number(argv[2]), b = number(argv[3]), c = number(argv[4]);
        say(**argv == 'i' ? i386(n, a, b, c) : native(**argv == 'x' ? 0x40000000 | n : n, a, b, c));
    }
    native(60, 0, 0, 0);
}
__asm__(".globl _start\n_start: mov %rsp, %rdi; and $-16, %rsp; call run\n");
