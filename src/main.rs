//! The `bursar` program. The library tells the story: see `src/lib.rs`.

fn main() -> std::process::ExitCode {
    bursar::cli::main()
}
