//! System call filters: `linux.seccomp` to classic BPF.
