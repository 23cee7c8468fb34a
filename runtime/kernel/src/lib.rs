//! Linux system calls that nix lacks, behind safe functions.
//!
//! This is the only crate of the workspace that may be `unsafe`; each block
//! says in `// SAFETY:` why it is sound.
#![allow(unsafe_code)]
