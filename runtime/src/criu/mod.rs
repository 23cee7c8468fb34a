//! Checkpoint and restore, through criu.
//!
//! criu freezes, saves and rebuilds processes; what is the container's and what the host's is said
//! here. [`swrk`] starts one criu for one request and speaks [`rpc`] with it, in [`wire`]'s bytes.
//! A checkpoint is hostile input: it may come from elsewhere. It says what processes were, and
//! nothing of the host: mounts, groups and namespaces are config.json's.

pub mod descriptors;
pub mod dump;
pub mod external;
pub mod log;
pub mod mountinfo;
pub mod options;
pub mod points;
pub mod restore;
pub mod rpc;
pub mod spaces;
pub mod swrk;
pub mod verify;
pub mod version;
pub mod wire;
