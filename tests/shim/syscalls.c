/* Prints the errno of system calls made in every way an x86-64 kernel knows. */
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
static unsigned args[3] = {38, 5, 0};
static void say(const char *name, long r) {
    char line[64];
    int n = 0;
    while (*name) line[n++] = *name++;
    line[n++] = ' ';
    if (r < 0) { line[n++] = '-'; r = -r; }
    char digits[20];
    int d = 0;
    do digits[d++] = '0' + r % 10; while (r /= 10);
    while (d) line[n++] = digits[--d];
    line[n++] = '\n';
    native(1, 1, (long)line, n);
}
void _start(void) {
    say("socket", native(41, 38, 5, 0));
    say("socket-wide", native(41, 38 + (1L << 32), 5, 0));
    say("vsock-wide", native(41, 40 + (1L << 32), 1, 0));
    say("socket-x32", native(0x40000000 + 41, 38, 5, 0));
    say("io_uring", native(425, 1, 0, 0));
    say("unknown", native(9999, 0, 0, 0));
    say("socket-i386", i386(359, 38, 5, 0));
    say("socket-i386-wide", i386(359, 38 + (1L << 32), 5, 0));
    say("socketcall-i386", i386(102, 1, (long)args, 0));
    say("socketcall-i386-wide", i386(102, 1 + (1L << 32), (long)args, 0));
    say("unknown-i386", i386(9999, 0, 0, 0));
    native(60, 0, 0, 0);
}
