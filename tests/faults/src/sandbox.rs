//! A place of its own to run in: network, mounts and processes that end with it.
//!
//! The harness starts itself again as the first process of new network, mount and process namespaces. However it ends, killed or not,
//! the kernel then ends every process in them and takes their networks and mounts away. Only the folder of the data is left, which the
//! outer process removes.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

/// Set for the process inside: the folder it may use.
const INSIDE: &str = "QUORATE_FAULTS_FOLDER";

/// The folder, if this process is the one inside.
pub fn folder() -> Option<std::path::PathBuf> {
    std::env::var_os(INSIDE).map(Into::into)
}

/// Runs this program again inside, with the same arguments, and gives its exit code.
pub async fn run(keep: Option<&Path>) -> anyhow::Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        bail!("the fault tests make network namespaces and TUN devices: they must be run as root");
    }
    if !Path::new("/dev/net/tun").exists() {
        bail!("the fault tests need TUN devices, and /dev/net/tun does not exist here");
    }
    let temporary = tempfile::Builder::new().prefix("quorate-faults-").tempdir()?;
    let folder = keep.unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    // setpriv: ends with us even when we are killed. unshare: and takes its child with it.
    let mut child = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "--",
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
            "--",
        ])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, folder)
        .stdin(Stdio::null())
        .spawn()
        .context("setpriv and unshare (util-linux) are needed")?;
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut poll = tokio::time::interval(Duration::from_millis(50));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
        }
        tokio::select! {
            _ = poll.tick() => {}
            _ = interrupt.recv() => child.kill()?,
            _ = terminate.recv() => child.kill()?,
        }
    }
}

/// Prepares the place: named network namespaces are kept in /run, which is hidden from everybody else.
pub fn prepare() -> anyhow::Result<()> {
    command("mount", &["-t", "tmpfs", "none", "/run"])?;
    command("ip", &["link", "set", "lo", "up"])
}

/// Runs a command that must succeed.
pub fn command(name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(name)
        .args(arguments)
        .output()
        .with_context(|| format!("{name} can't be run"))?;
    if !output.status.success() {
        bail!("{name} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
