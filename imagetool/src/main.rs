//! dhow-image: argv to exit code.
fn main() {}
