//! Chores of the repository. `cargo xtask codegen` compiles `proto/` into `crates/api/src/gen/`, without protoc.
//!
//! The generated code is committed, so that a build of the product needs neither this tool nor its dependencies;
//! `cargo xtask codegen --check` fails if the two have drifted apart.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use prost::Message;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["codegen"] => codegen(false),
        ["codegen", "--check"] => codegen(true),
        _ => bail!("usage: cargo xtask codegen [--check]"),
    }
}

fn codegen(check: bool) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask has no parent folder")?;
    let proto = root.join("proto");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&proto)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|ext| ext == "proto"));
    files.sort();
    let mut descriptors = protox::compile(&files, [&proto])?;
    // Positions and comments are of no use at run time and make the committed file change with every comment.
    descriptors.file.iter_mut().for_each(|file| file.source_code_info = None);

    let target = root.join("crates/api/src/gen");
    let out = if check {
        std::env::temp_dir().join(format!("quorate-codegen-{}", std::process::id()))
    } else {
        target.clone()
    };
    std::fs::create_dir_all(&out)?;
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    prost_build::Config::new().bytes(["."]).out_dir(&out).compile_fds(descriptors)?;
    for entry in std::fs::read_dir(&out)? {
        let file = entry?.path();
        if file.extension().is_some_and(|ext| ext == "rs") {
            std::process::Command::new("rustfmt")
                .arg("--edition=2024")
                .arg("--config-path")
                .arg(root.join("rustfmt.toml"))
                .arg(&file)
                .status()?;
        }
    }
    if check {
        for entry in std::fs::read_dir(&out)? {
            let made = entry?.path();
            let kept = target.join(made.file_name().context("no file name")?);
            if std::fs::read(&made)? != std::fs::read(&kept).unwrap_or_default() {
                bail!("{} is not what proto/ gives: run `cargo xtask codegen`", kept.display());
            }
        }
        std::fs::remove_dir_all(&out)?;
    }
    Ok(())
}
