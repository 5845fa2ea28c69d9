//! Hands over to the command line.

/// Every request makes some two hundred small pieces of memory, many of them freed on another thread: docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    wxgate::cli::main()
}
