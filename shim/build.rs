//! Builds the two programs that dhow carries along: the embedded image's, packed into its
//! layer (one tar of one file), and `--init`'s. The same bytes from the same source.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for source in ["hello/main.rs", "init/main.rs"] {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-changed=../runtime/kernel/bare.rs");
    println!("cargo::rerun-if-changed=../runtime/kernel/bare_process.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    compile("hello", &out.join("hello"));
    let bytes = std::fs::read(out.join("hello")).expect("the program was just compiled");
    std::fs::write(out.join("hello.tar"), tar("hello", &bytes)).expect("OUT_DIR is writable");
    compile("init", &out.join("init"));
}

fn compile(name: &str, program: &Path) {
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let mut command = Command::new(rustc);
    command.arg(format!("{name}/main.rs")).arg(format!("--crate-name={name}"));
    command.args(["--crate-type=bin", "--edition=2024"]);
    command.args(["--target", &target, "-Cpanic=abort", "-Copt-level=z", "-Clto=fat"]);
    command.args(["-Ccodegen-units=1", "-Cstrip=symbols", "-Crelocation-model=static"]);
    command.args(["-Cforce-unwind-tables=no", "-Cdebuginfo=0"]);
    command.arg(format!("-Cmetadata={name}"));
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none,-z,noseparate-code",
    ] {
        command.arg(format!("-Clink-arg={argument}"));
    }
    // A linker named for the target (cross builds) serves here as well.
    let key = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    if let Some(linker) = env::var_os(&key).or_else(|| env::var_os("RUSTC_LINKER")) {
        let mut argument = std::ffi::OsString::from("-Clinker=");
        argument.push(linker);
        command.arg(argument);
    }
    command.arg(format!(
        "--remap-path-prefix={}=",
        env::var("CARGO_MANIFEST_DIR").unwrap_or_default()
    ));
    command.arg("-o").arg(program);
    let status = command.status().expect("rustc runs");
    assert!(status.success(), "the embedded program {name} did not compile");
}

/// A ustar archive of one executable file of root's, at time 0.
fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", bytes.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(bytes);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
