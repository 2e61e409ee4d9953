//! The binary `archive`.

fn main() -> std::process::ExitCode {
    run_archive::run(std::env::args_os())
}
