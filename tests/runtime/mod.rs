//! dhow-runtime: a bundle in, a container out.

mod basic;
mod peers;
