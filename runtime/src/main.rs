//! dhow-runtime: argv to exit code.
fn main() {}
