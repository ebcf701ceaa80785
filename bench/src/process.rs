//! One server under measurement: started on free ports and a folder of its own, its cost read from the operating system's books.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Which implementation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Go,
    Ours,
}

/// A running server. Killed when dropped.
pub struct Server {
    child: Child,
    pub endpoint: String,
    /// From start of the process to its first answer.
    pub started_in: Duration,
}

/// What a server has cost so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// User and system time of all its threads, from the scheduler's own clock.
    pub cpu: Duration,
    /// Memory of its own at this moment, without file pages, in bytes.
    pub rss_anon: u64,
    /// The most memory it ever had, file pages included, in bytes.
    pub peak: u64,
}

impl Server {
    /// Starts `binary` on `data` and waits until it answers.
    pub fn start(binary: &Path, data: &Path, extra: &[&str]) -> anyhow::Result<Server> {
        let (client, peer) = (free_port()?, free_port()?);
        let (client_url, peer_url) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let log = File::create(data.with_extension("log"))?;
        let begun = Instant::now();
        let child = Command::new(binary)
            .arg(format!("--data-dir={}", data.display()))
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args([
                "--initial-cluster",
                &format!("default={peer_url}"),
                "--quota-backend-bytes",
                "8589934592",
            ])
            .args(extra)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let mut server = Server {
            child,
            endpoint: format!("127.0.0.1:{client}"),
            started_in: Duration::ZERO,
        };
        server.wait_ready(begun, data)?;
        Ok(server)
    }

    fn wait_ready(&mut self, begun: Instant, data: &Path) -> anyhow::Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}: see {}", data.with_extension("log").display());
            }
            if healthy(&self.endpoint) {
                self.started_in = begun.elapsed();
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(300) {
                bail!("the server did not answer within five minutes");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it has cost up to now.
    pub fn cost(&self) -> anyhow::Result<Cost> {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let mut cpu = Duration::ZERO;
        for task in std::fs::read_dir(proc.join("task"))? {
            // A thread may end between the listing and the reading; what it ran is lost to us, and tiny.
            if let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) {
                cpu += Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse()?);
            }
        }
        let status = std::fs::read_to_string(proc.join("status"))?;
        let kib = |key: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        Ok(Cost {
            cpu,
            rss_anon: kib("RssAnon:"),
            peak: kib("VmHWM:"),
        })
    }

    /// Ends it as an operator would and waits.
    pub fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Whether `/health` says so.
fn healthy(endpoint: &str) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(endpoint) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut answer = String::new();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.contains("\"true\"")
}
