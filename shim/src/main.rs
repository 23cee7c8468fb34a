//! dhow: argv to exit code.
fn main() -> std::process::ExitCode {
    dhow::cli::main()
}
