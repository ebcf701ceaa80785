//! A member as a process: on free ports and a folder of its own, killed when dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use http2::client::{Client, Options};
use http2::{Encoded, Metadata, Status};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

pub const ETCD: &str = env!("CARGO_BIN_EXE_etcd");

/// A port that nobody listens on. Tests of one process never get the same one twice.
pub fn free_port() -> u16 {
    static LAST: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        if LAST.swap(port, Ordering::Relaxed) != port {
            return port;
        }
    }
}

/// A running member.
pub struct Member {
    child: Child,
    pub endpoint: String,
    log: PathBuf,
}

/// How to start a member; ports stay the same over restarts.
pub struct Plan {
    pub data: PathBuf,
    pub client_port: u16,
    pub peer_port: u16,
    /// `http` or `https`.
    pub client_scheme: &'static str,
    pub extra: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// All arguments, in the place of those that a member alone is given.
    pub arguments: Option<Vec<String>>,
    /// Where the member's own log lines go.
    pub log: PathBuf,
    /// A shell command put in front of the binary (`ulimit`, ...).
    pub shell: Option<String>,
}

impl Plan {
    pub fn new(folder: &Path) -> Plan {
        Plan {
            data: folder.join("data"),
            client_port: free_port(),
            peer_port: free_port(),
            client_scheme: "http",
            extra: Vec::new(),
            environment: Vec::new(),
            arguments: None,
            log: folder.join("data.log"),
            shell: None,
        }
    }

    pub fn with(mut self, flags: &[&str]) -> Plan {
        self.extra.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    fn arguments(&self) -> Vec<String> {
        if let Some(arguments) = &self.arguments {
            return arguments.clone();
        }
        let client = format!("{}://127.0.0.1:{}", self.client_scheme, self.client_port);
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let mut all = vec![
            format!("--data-dir={}", self.data.display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        all.extend(self.extra.iter().cloned());
        all
    }

    /// Starts the process without waiting for anything.
    pub fn spawn(&self) -> Member {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log file opens");
        let mut command = match &self.shell {
            Some(shell) => {
                let mut command = Command::new("sh");
                command.arg("-c").arg(format!("{shell}; exec \"$0\" \"$@\"")).arg(ETCD);
                command
            }
            None => Command::new(ETCD),
        };
        let child = command
            .args(self.arguments())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("etcd starts");
        Member {
            child,
            endpoint: format!("127.0.0.1:{}", self.client_port),
            log: self.log.clone(),
        }
    }

    /// Starts it and waits until it serves.
    pub fn start(&self) -> Member {
        let mut member = self.spawn();
        let begun = Instant::now();
        while !healthy(&member.endpoint) {
            if let Some(status) = member.child.try_wait().expect("the child can be asked") {
                panic!("etcd ended with {status} before it served:\n{}", member.log_text());
            }
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "etcd did not serve within a minute:\n{}",
                member.log_text()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        member
    }
}

impl Member {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().expect("the child can be killed");
        self.child.wait().expect("the child ends");
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        Command::new("kill")
            .arg("-TERM")
            .arg(self.pid().to_string())
            .status()
            .expect("kill runs");
        self.child.wait().expect("the child ends")
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self, limit: Duration) -> std::process::ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                return status;
            }
            assert!(begun.elapsed() < limit, "etcd still runs:\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP/1.1 request without a body; the whole answer as text.
pub fn http(endpoint: &str, request: &str) -> Option<String> {
    exchange(endpoint, request, "")
}

fn exchange(endpoint: &str, head: &str, body: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(endpoint).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream
        .write_all(format!("{head}\r\nHost: localhost\r\nConnection: close\r\n\r\n{body}").as_bytes())
        .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// Asks gofail's pages of a member.
pub fn gofail(address: &str, method: &str, path: &str, terms: &str) {
    let length = terms.len();
    let answer = exchange(address, &format!("{method} {path} HTTP/1.1\r\nContent-Length: {length}"), terms).expect("gofail answers");
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}

/// A POST; the whole answer as text.
pub fn http_post(endpoint: &str, path: &str, body: &str) -> Option<String> {
    exchange(endpoint, &format!("POST {path} HTTP/1.1\r\nContent-Length: {}", body.len()), body)
}

fn healthy(endpoint: &str) -> bool {
    http(endpoint, "GET /health HTTP/1.1").is_some_and(|answer| answer.contains("\"health\":\"true\""))
}

/// A connection of a client.
pub async fn connect(endpoint: &str) -> std::io::Result<Client> {
    let socket = tokio::net::TcpStream::connect(endpoint).await?;
    socket.set_nodelay(true)?;
    Ok(connect_over(endpoint, socket))
}

/// A connection over a stream that is there.
pub fn connect_over(endpoint: &str, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Client {
    let options = Options {
        authority: endpoint.to_owned(),
        max_send_message_bytes: 64 << 20,
        ..Options::default()
    };
    let (client, connection) = http2::client::connect(stream, options);
    tokio::spawn(connection);
    client
}

/// One unary call.
pub async fn call<A: Message + Default>(client: &Client, path: &'static str, request: &impl Message) -> Result<A, Status> {
    let answer = client
        .unary(path, &Metadata::new(), None, Encoded::message(request))
        .await
        .map_err(|error| error.status)?;
    Ok(A::decode(answer).expect("the answer decodes"))
}
