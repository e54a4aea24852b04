//! The `kaphila` program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything can open a TLS connection; a second provider is never installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    kaphila::cli::run()
}
