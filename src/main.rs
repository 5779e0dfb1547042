//! The `imagestore` binary.

use std::process::ExitCode;

/// Much of a call's time is spent on small allocations by many threads, which the system's allocator
/// does slowly; `cargo bench --bench peers` shows the difference.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    imagestore::cli::main()
}
