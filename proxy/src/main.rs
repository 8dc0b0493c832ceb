//! The binary `evenly`: see [`evenly::cli`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    evenly::cli::main()
}
