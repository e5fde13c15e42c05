//! The `switchhook` command; all of it is in the library.

fn main() -> std::process::ExitCode {
    switchhook::cli::main()
}
