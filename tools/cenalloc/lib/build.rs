// SPDX-License-Identifier: GPL-2.0

//! Has bindgen read the header of the ABI, so that no structure is written twice.
//!
//! The program `bindgen`, which building Rust in the kernel takes as well, is used as it is; the
//! variable `BINDGEN` names another one.

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};

fn main() -> ExitCode {
    let source = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let header = source.join("src/abi.h");
    let uapi = source.join("src/cenalloc.h");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("abi.rs");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", header.display());
    println!("cargo::rerun-if-changed={}", uapi.display());
    println!("cargo::rerun-if-env-changed=BINDGEN");

    let program = env::var_os("BINDGEN").unwrap_or_else(|| "bindgen".into());
    let mut command = Command::new(&program);
    command
        .arg(&header)
        .args(["--rust-target", "1.85", "--rust-edition", "2021"])
        .args(["--use-core", "--with-derive-default", "--no-layout-tests"])
        .args(["--default-enum-style", "consts", "--no-prepend-enum-name"])
        .args(["--no-doc-comments", "--no-recursive-allowlist"])
        .args(["--allowlist-type", "cenalloc_.*|dma_buf_sync"])
        .args(["--allowlist-type", "__[us](8|16|32|64)"])
        .args(["--allowlist-var", "CENALLOC_.*|DMA_BUF_SYNC_.*|CALL_.*"])
        .arg("--output")
        .arg(&out);
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("{program:?} did not read {}: {status}", header.display());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{program:?} does not run: {error}");
            eprintln!("Install it (Debian: bindgen) or name it in BINDGEN.");
            ExitCode::FAILURE
        }
    }
}
