//! The program's entry point: `dhow_kernel::start` goes before the C library.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |key: &str, value| std::env::var(key).is_ok_and(|set| set == value);
    if is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,-e,dhow_start");
    }
}
