//! The binary `evenly`: see [`evenly::cli`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    evenly::cli::main()
}

/// Version 2, for version 3 holds more than twice as much memory; measured in `docs/proxy-speed.md`. A choice of the binary:
/// the library leaves it to whoever embeds it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
