//! The end-to-end tests; run by `cargo test -p e2e`.
