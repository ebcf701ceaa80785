//! A member: a process in its own network namespace, started again with the same flags however it ended.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use client::{Client, Endpoint, PlainConnector, TlsConnector};
use rustix::process::{Pid, Signal, kill_process};

use crate::network::{address, namespace};
use crate::options::{Kind, Options};
use crate::sandbox::command;
use crate::tls::Tls;

/// Where a member built with failpoints takes orders.
pub const GOFAIL_PORT: u16 = 22381;

/// A member and how to start it.
pub struct Member {
    /// Its number, from 1.
    pub place: u8,
    /// For questions about the member itself; calls are short and not repeated.
    pub control: Client,
    folder: PathBuf,
    binary: PathBuf,
    flags: Vec<String>,
    variables: Vec<(&'static str, String)>,
    child: Option<Child>,
    has_own_disk: bool,
}

/// Everything a cluster's members have in common.
pub struct Plan<'a> {
    pub options: &'a Options,
    pub tls: Option<&'a Tls>,
    pub folder: &'a Path,
    /// The size of each member's disk, which is then a file system of its own in memory.
    pub disk_bytes: Option<u64>,
}

impl Plan<'_> {
    fn url(&self, place: u8, port: u16) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}:{port}", address(place))
    }

    /// A client of one member.
    pub fn client(&self, place: u8, request_timeout: Duration) -> anyhow::Result<Client> {
        let endpoint: Endpoint = self.url(place, 2379).parse()?;
        let options = client::Options {
            endpoints: vec![endpoint],
            dial_timeout: Duration::from_millis(500),
            request_timeout: Some(request_timeout),
            max_retries: 0,
            max_send_message_bytes: 8 << 20,
            ..client::Options::default()
        };
        Ok(match self.tls {
            Some(tls) => Client::with_connector(options, TlsConnector::new(tls.client(), None)),
            None => Client::with_connector(options, PlainConnector),
        })
    }

    fn flags(&self, place: u8, data: &Path) -> Vec<String> {
        let places = 1..=self.options.members.len() as u8;
        let cluster: Vec<String> = places.map(|place| format!("m{place}={}", self.url(place, 2380))).collect();
        let (client, peer) = (self.url(place, 2379), self.url(place, 2380));
        let mut flags = vec![
            format!("--name=m{place}"),
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", cluster.join(",")),
            String::from("--initial-cluster-token=faults"),
            String::from("--initial-cluster-state=new"),
            format!("--heartbeat-interval={}", self.options.heartbeat.as_millis()),
            format!("--election-timeout={}", self.options.election.as_millis()),
        ];
        flags.extend(self.tls.iter().flat_map(|tls| tls.flags(place)));
        flags.extend(self.options.member_flags.iter().cloned());
        flags
    }

    /// A member, not yet started.
    pub fn member(&self, place: u8, kind: Kind) -> anyhow::Result<Member> {
        let folder = self.folder.join(format!("m{place}"));
        std::fs::create_dir_all(&folder)?;
        if let Some(bytes) = self.disk_bytes {
            command(
                "mount",
                &["-t", "tmpfs", "-o", &format!("size={bytes}"), "none", &folder.display().to_string()],
            )?;
        }
        let mut variables = Vec::new();
        if kind == Kind::Ours && self.options.has_failpoints {
            variables.push(("GOFAIL_HTTP", format!("{}:{GOFAIL_PORT}", address(place))));
        }
        if let (Kind::Ours, Some(library)) = (kind, &self.options.faketime) {
            std::fs::write(clock_file(&folder), "+0")?;
            variables.push(("LD_PRELOAD", library.display().to_string()));
            variables.push(("FAKETIME_TIMESTAMP_FILE", clock_file(&folder).display().to_string()));
            variables.push(("FAKETIME_CACHE_DURATION", String::from("1")));
            variables.push(("FAKETIME_DONT_FAKE_MONOTONIC", String::from("1")));
        }
        Ok(Member {
            place,
            control: self.client(place, Duration::from_secs(2))?,
            binary: self.options.binary(kind)?.clone(),
            flags: self.flags(place, &folder.join("data")),
            folder,
            variables,
            child: None,
            has_own_disk: self.disk_bytes.is_some(),
        })
    }
}

fn clock_file(folder: &Path) -> PathBuf {
    folder.join("clock")
}

impl Member {
    pub fn start(&mut self) -> anyhow::Result<()> {
        assert!(self.child.is_none(), "m{} runs already", self.place);
        // Beside the member's own folder, which may be a disk that is full.
        let log = File::options().create(true).append(true).open(self.folder.with_extension("log"))?;
        let child = Command::new("ip")
            .args(["netns", "exec", &namespace(self.place)])
            .arg(&self.binary)
            .args(&self.flags)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("m{} can't be started", self.place))?;
        self.child = Some(child);
        Ok(())
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().with_context(|| format!("m{} does not run", self.place))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Waits until it has ended by itself.
    pub async fn wait_ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if begun.elapsed() > limit {
                bail!("m{} still runs after {limit:?}\n{}", self.place, self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGKILL, whatever state it is in.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(self.folder.with_extension("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Fills its disk to the last byte.
    pub fn fill_disk(&self) -> anyhow::Result<()> {
        use std::io::Write;
        let mut ballast = File::create(self.folder.join("ballast"))?;
        for piece in [1 << 20, 1 << 12, 1] {
            while ballast.write_all(&vec![0xff; piece]).is_ok() {}
        }
        Ok(())
    }

    pub fn free_disk(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.folder.join("ballast"))?)
    }

    /// Moves its clock, in seconds from the true time.
    pub fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        Ok(std::fs::write(clock_file(&self.folder), format!("{seconds:+}"))?)
    }

    /// Arms a failpoint; without terms clears it.
    pub fn set_failpoint(&self, name: &str, terms: Option<&str>) -> anyhow::Result<()> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect((address(self.place), GOFAIL_PORT)).context("no failpoints are served")?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let (method, body) = terms.map_or(("DELETE", ""), |terms| ("PUT", terms));
        write!(
            stream,
            "{method} /{name} HTTP/1.1\r\nHost: m\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if !answer.starts_with("HTTP/1.1 2") {
            bail!("{method} {name}: {}", answer.lines().next().unwrap_or_default());
        }
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.kill();
        if self.has_own_disk {
            let _ = command("umount", &[&self.folder.display().to_string()]);
        }
    }
}
