//! Servers under measurement, one or a cluster of them: started on free ports and folders of their own, their cost read from the operating
//! system's books and added up.

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

/// Running servers. Killed when dropped.
pub struct Server {
    children: Vec<Child>,
    /// Where each serves clients.
    pub endpoints: Vec<String>,
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
        Server::start_cluster(binary, data, 1, extra)
    }

    /// Starts a cluster of `count` members on folders below `data` (a member alone on `data` itself) and waits until all answer.
    pub fn start_cluster(binary: &Path, data: &Path, count: usize, extra: &[&str]) -> anyhow::Result<Server> {
        let mut ports = Vec::new();
        for _ in 0..count {
            ports.push((free_port()?, free_port()?));
        }
        let peer_urls: Vec<String> = ports.iter().map(|(_, peer)| format!("http://127.0.0.1:{peer}")).collect();
        let cluster: Vec<String> = peer_urls.iter().enumerate().map(|(n, url)| format!("m{n}={url}")).collect();
        let begun = Instant::now();
        let mut server = Server {
            children: Vec::new(),
            endpoints: ports.iter().map(|(client, _)| format!("127.0.0.1:{client}")).collect(),
            started_in: Duration::ZERO,
        };
        for (number, peer_url) in peer_urls.iter().enumerate() {
            let data = if count == 1 {
                data.to_path_buf()
            } else {
                data.join(format!("m{number}"))
            };
            std::fs::create_dir_all(data.parent().unwrap_or(&data))?;
            let client_url = format!("http://{}", server.endpoints[number]);
            let child = Command::new(binary)
                .args(["--name", &format!("m{number}"), &format!("--data-dir={}", data.display())])
                .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
                .args(["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url])
                .args(["--initial-cluster", &cluster.join(","), "--quota-backend-bytes", "8589934592"])
                .args(extra)
                .stdout(Stdio::null())
                .stderr(File::create(data.with_extension("log"))?)
                .spawn()
                .with_context(|| format!("start {}", binary.display()))?;
            server.children.push(child);
        }
        server.wait_ready(begun, data)?;
        Ok(server)
    }

    /// The first member's.
    pub fn endpoint(&self) -> &str {
        &self.endpoints[0]
    }

    fn wait_ready(&mut self, begun: Instant, data: &Path) -> anyhow::Result<()> {
        for (child, endpoint) in self.children.iter_mut().zip(&self.endpoints) {
            while !healthy(endpoint) {
                if let Some(status) = child.try_wait()? {
                    bail!("a server ended with {status}: see the logs at {}", data.display());
                }
                if begun.elapsed() > Duration::from_secs(300) {
                    bail!("a server did not answer within five minutes");
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        self.started_in = begun.elapsed();
        Ok(())
    }

    /// What they have cost up to now, together.
    pub fn cost(&self) -> anyhow::Result<Cost> {
        let mut sum = Cost::default();
        for child in &self.children {
            let cost = cost_of(child)?;
            sum.cpu += cost.cpu;
            sum.rss_anon += cost.rss_anon;
            sum.peak += cost.peak;
        }
        Ok(sum)
    }

    /// Ends them as an operator would and waits.
    pub fn stop(mut self) -> anyhow::Result<()> {
        for child in &self.children {
            Command::new("kill").arg("-TERM").arg(child.id().to_string()).status()?;
        }
        for child in &mut self.children {
            child.wait()?;
        }
        Ok(())
    }
}

fn cost_of(child: &Child) -> anyhow::Result<Cost> {
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
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

impl Drop for Server {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
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
