//! dhow: docker's command line.

mod boot;
mod crash;
mod events;
mod exec;
mod exit;
mod flags;
mod flags_limits;
mod flags_mounts;
mod flags_spaces;
mod health;
mod hello;
mod hostile;
mod images;
mod init;
mod killed;
mod lifecycle;
mod limits;
mod login;
mod logs;
mod peers;
mod restart;
mod streams;
mod terminal;
mod tour;
mod volumes;
mod wording;
