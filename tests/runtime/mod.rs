//! dhow-runtime: a bundle in, a container out.

mod attacks;
mod change;
mod console;
mod events;
mod exec;
mod guest;
mod guest_groups;
mod handles;
mod hooks;
mod hostile;
mod idmap;
mod isolation;
mod killed;
mod lifecycle;
mod limits;
mod mounts;
mod notify;
mod options;
mod peers;
mod podman;
mod process;
mod refused;
mod rootless;
mod schedule;
mod seccomp;
mod verbs;
