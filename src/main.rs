//! The `bursar` program. The library tells the story: see `src/lib.rs`.

/// Decoding and packing make many small, short-lived allocations on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    bursar::cli::main()
}
