//! Plays the recorded steps of etcd 3.7.1 (`tests/data/golden/gateway.jsonl.gz`) over HTTP/1.1 against fakes of the member.
//!
//! The fake gives back what was recorded, as bytes or status, so what is tested is all between the socket and the gRPC entry: routes,
//! texts, headers, JSON both ways. What the gateway must refuse by itself may not reach the fake.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use api::{Code, MemberId, Status};
use bytes::Bytes;
use compat::protojson::{self, Next, Values};
use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, watch};

use super::{Access, Alarm, BoxFuture, Call, Doors, Http, Options, Pages, Peer, Rpc, Versions, serve};
use crate::metrics::Metrics;

/// What the fake is to do.
#[derive(Clone, Debug)]
enum Play {
    /// The gateway refuses by itself.
    NotCalled,
    Answer(Bytes),
    Fail(Status),
    /// Messages, then an end, or none.
    Stream(Vec<Bytes>, Option<Result<(), Status>>),
}

struct Fake {
    play: Mutex<Play>,
    alarms: Mutex<Vec<i32>>,
    leader: Mutex<bool>,
}

impl Rpc for Fake {
    fn unary(&self, call: Call, _request: Bytes) -> BoxFuture<Result<Bytes, Status>> {
        let play = self.play.lock().clone();
        Box::pin(async move {
            match play {
                Play::Answer(bytes) => Ok(bytes),
                Play::Fail(status) => Err(status),
                other => panic!("{} was called: {other:?}", call.path),
            }
        })
    }

    fn stream(&self, call: Call, mut requests: mpsc::Receiver<Bytes>, answers: mpsc::Sender<Bytes>) -> BoxFuture<Result<(), Status>> {
        let play = self.play.lock().clone();
        Box::pin(async move {
            let Play::Stream(messages, end) = play else {
                panic!("{} was called: {play:?}", call.path)
            };
            for message in messages {
                answers.send(message).await.unwrap();
            }
            match end {
                Some(end) => {
                    while requests.recv().await.is_some() {}
                    end
                }
                None => std::future::pending().await,
            }
        })
    }
}

impl Pages for Fake {
    fn versions(&self) -> Versions {
        Versions {
            cluster: Some("3.7.0".to_owned()),
            storage: Some("3.7.0".to_owned()),
        }
    }
    fn has_leader(&self) -> bool {
        *self.leader.lock()
    }
    fn is_learner(&self) -> bool {
        false
    }
    fn auth_enabled(&self) -> bool {
        false
    }
    fn alarms(&self) -> Vec<Alarm> {
        self.alarms
            .lock()
            .iter()
            .map(|kind| Alarm {
                member: MemberId(1),
                kind: *kind,
            })
            .collect()
    }
    fn read(&self, _serializable: bool) -> BoxFuture<Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn raft_status(&self) -> String {
        "{}".to_owned()
    }
}

fn steps() -> Vec<Json> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/golden/gateway.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `%A*3%` as `AAA`, and a value for each name that stands for one.
fn expand(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        let grown = tail[1..].split_once('%').and_then(|(run, after)| {
            let (what, count) = run.split_once('*')?;
            Some((what.repeat(count.parse().ok()?), after))
        });
        match grown {
            Some((run, after)) => {
                out.push_str(&run);
                rest = after;
            }
            None => {
                out.push('%');
                rest = &tail[1..];
            }
        }
    }
    out.push_str(rest);
    for (name, value) in [
        ("$SELF", "9896083994405554561"),
        ("$LEARNER", "77"),
        ("$SIZE", "20480"),
        ("\"key\":\"$X\"", "\"key\":\"eA==\""),
        ("$X", "7"),
        ("$REV", "15"),
    ] {
        out = out.replace(name, value);
    }
    out
}

fn text<'a>(step: &'a Json, name: &str) -> &'a str {
    step[name].as_str().unwrap_or_default()
}

fn message(json: &str, kind: protojson::MessageType) -> Bytes {
    let mut values = Values::new(1 << 26);
    values.push(json.as_bytes());
    let Ok(Next::Value(value)) = values.next() else { panic!("{json}") };
    protojson::decode(kind, value).unwrap_or_else(|e| panic!("{e}: {json}")).into()
}

fn status(json: &Json) -> Status {
    Status::new(
        Code::from_number(json["code"].as_u64().unwrap() as u32),
        text(json, "message").to_owned(),
    )
}

/// Texts that are the gateway's own.
fn by_gateway(message: &str) -> bool {
    let own = [
        "proto: ",
        "unexpected EOF",
        "invalid character",
        "invalid grpc-timeout",
        "Not Found",
        "Method Not Allowed",
        "grpc: received",
    ];
    own.iter().any(|own| message.starts_with(own))
}

/// What the fake has to do for a step.
fn play(step: &Json) -> Play {
    let path = text(step, "path").replace("/v3beta/", "/v3/");
    let Some((_, method)) = super::gateway::PATHS.iter().find(|(p, _)| *p == path.split('?').next().unwrap()) else {
        return Play::NotCalled;
    };
    let types = protojson::method(method).unwrap();
    if step["status"] == 0 {
        return Play::Stream(Vec::new(), None);
    }
    let answer = expand(text(step, "answer"));
    if step["answer"].is_null() && step["status"] == 200 {
        return Play::Stream(vec![Bytes::new()], Some(Ok(())));
    }
    if !types.server_streams {
        return match serde_json::from_str::<Json>(&answer) {
            Ok(json) if json.get("code").is_none() => Play::Answer(message(&answer, types.answer)),
            Ok(json) if !by_gateway(text(&json, "message")) => Play::Fail(status(&json)),
            _ => Play::NotCalled,
        };
    }
    let mut end = if step["stream"] == "open" { None } else { Some(Ok(())) };
    let mut messages = Vec::new();
    for line in answer.lines() {
        let json: Json = serde_json::from_str(line).unwrap();
        if let Some(error) = json.get("error") {
            end = Some(Err(status(error)));
        } else if json.get("code").is_some() {
            if !by_gateway(text(&json, "message")) {
                end = Some(Err(status(&json)));
            }
        } else {
            let inner = line.strip_prefix("{\"result\":").and_then(|l| l.strip_suffix('}')).unwrap();
            messages.push(message(inner, types.answer));
        }
    }
    Play::Stream(messages, end)
}

fn options(section: &str) -> Options {
    let mut options = Options::default();
    let set = |list: &[&str]| list.iter().map(|o| (*o).to_owned()).collect();
    match section {
        "pprof" => {
            options.pprof = true;
            options.access = Access {
                origins: set(&["http://one.example:80", "https://two.example:8443"]),
                hosts: set(&["127.0.0.1", "good.example"]),
            };
        }
        "debug-level" => {
            options.pprof = true;
            options.trace_pages = true;
        }
        "no-gateway" => options.gateway = false,
        _ => {}
    }
    options
}

fn request(step: &Json) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", text(step, "method"), text(step, "path"));
    let empty = serde_json::Map::new();
    let headers = step["headers"].as_object().unwrap_or(&empty);
    if !headers.keys().any(|k| k.eq_ignore_ascii_case("host")) {
        head.push_str("Host: 127.0.0.1:13050\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {}\r\n", value.as_str().unwrap()));
    }
    let body = match step["body_b64"].as_str() {
        Some(packed) => protojson::base64_decode(packed).unwrap(),
        None => expand(text(step, "body")).into_bytes(),
    };
    if !body.is_empty() || text(step, "method") == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let mut all = format!("{head}\r\n").into_bytes();
    all.extend_from_slice(&body);
    all
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Reads an answer, of which the body is taken to be over when it has this many bytes.
async fn read_answer(io: &mut DuplexStream, head_only: bool, enough: usize) -> Answer {
    let mut raw = Vec::new();
    let mut answer: Option<(Answer, usize)> = None;
    loop {
        if answer.is_none()
            && let Some(end) = raw.windows(4).position(|w| w == b"\r\n\r\n")
        {
            let head = String::from_utf8(raw[..end].to_vec()).unwrap();
            let mut lines = head.split("\r\n");
            let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
            let headers = lines
                .map(|l| l.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap())
                .collect();
            answer = Some((
                Answer {
                    status,
                    headers,
                    body: Vec::new(),
                },
                end + 4,
            ));
        }
        if let Some((answer, at)) = &mut answer {
            let chunked = answer.header("Transfer-Encoding").is_some();
            let length: usize = answer.header("Content-Length").map_or(0, |l| l.parse().unwrap());
            let (body, over) = if chunked {
                unchunk(&raw[*at..])
            } else {
                (raw[*at..].to_vec(), raw.len() - *at >= length)
            };
            if head_only || over || chunked && enough > 0 && body.len() >= enough {
                answer.body = if head_only { Vec::new() } else { body };
                let Answer { status, headers, body } = answer;
                return Answer {
                    status: *status,
                    headers: std::mem::take(headers),
                    body: std::mem::take(body),
                };
            }
        }
        let mut buffer = vec![0; 64 * 1024];
        let count = io.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the connection ended within an answer");
        raw.extend_from_slice(&buffer[..count]);
    }
}

fn unchunk(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..end]).unwrap(), 16).unwrap();
        if raw.len() < end + 4 + size {
            break;
        }
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&raw[end + 2..end + 2 + size]);
        raw = &raw[end + 4 + size..];
    }
    (body, false)
}

fn open(http: &Arc<Http>, doors: Doors) -> (DuplexStream, watch::Sender<bool>) {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(serve::connection(http.clone(), doors, Peer::default(), server, stopped));
    (client, stop)
}

/// The alarms that were on at a step of `maintenance`.
fn alarms(id: &str) -> Vec<i32> {
    let Some(number) = id.strip_prefix("maintenance.").and_then(|n| n.parse::<u32>().ok()) else {
        return Vec::new();
    };
    match number {
        7..=20 => vec![1],
        23..=38 => vec![2],
        43..=44 => vec![9],
        _ => Vec::new(),
    }
}

async fn check(step: &Json) -> Result<(), String> {
    let id = text(step, "id");
    let section = id.split('.').next().unwrap();
    let play = play(step);
    let fake = Arc::new(Fake {
        play: Mutex::new(play),
        alarms: Mutex::new(alarms(id)),
        leader: Mutex::new(true),
    });
    *fake.leader.lock() = !(section == "no-leader" && step["status"] == 503);
    let http = Http::new(fake.clone(), fake, Metrics::new(false), options(section));
    let doors = if text(step, "listener") == "extra" && section != "http-only-port" {
        Doors::Metrics
    } else {
        Doors::Client
    };
    let (mut io, _stop) = open(&http, doors);
    io.write_all(&request(step)).await.unwrap();
    let want = expand(text(step, "answer"));
    let enough = if step["stream"] == "open" { want.len() } else { 0 };
    let reading = read_answer(&mut io, text(step, "method") == "HEAD", enough);
    if step["status"] == 0 {
        return match tokio::time::timeout(Duration::from_millis(20), reading).await {
            Ok(answer) => Err(format!("answered with {}", answer.status)),
            Err(_) => Ok(()),
        };
    }
    let answer = reading.await;
    let same = |what: &str, have: &str, want: &str| {
        if have == want {
            Ok(())
        } else {
            Err(format!("{what}: {have} instead of {want}"))
        }
    };
    same("status", &answer.status.to_string(), &step["status"].to_string())?;
    same(
        "content type",
        answer.header("Content-Type").unwrap_or_default(),
        text(step, "content_type"),
    )?;
    let mut headers: Vec<(String, String)> = answer.headers.clone();
    headers.retain(|(n, _)| !["Date", "Content-Length", "Content-Type"].contains(&n.as_str()));
    let mut wanted: Vec<(String, String)> = match step["answer_headers"].as_object() {
        Some(map) => map.iter().map(|(n, v)| (n.clone(), v.as_str().unwrap().to_owned())).collect(),
        None => Vec::new(),
    };
    if let Some(origin) = step["cors"].as_str() {
        wanted.push(("Access-Control-Allow-Origin".to_owned(), origin.to_owned()));
        wanted.push((
            "Access-Control-Allow-Methods".to_owned(),
            "POST, GET, OPTIONS, PUT, DELETE".to_owned(),
        ));
        wanted.push((
            "Access-Control-Allow-Headers".to_owned(),
            "accept, content-type, authorization".to_owned(),
        ));
    }
    headers.sort();
    wanted.sort();
    same("headers", &format!("{headers:?}"), &format!("{wanted:?}"))?;
    if step["answer"].is_null() {
        return Ok(());
    }
    let mut have = String::from_utf8_lossy(&answer.body).into_owned();
    if let Some((head, _)) = want.split_once("\n\n$HELP") {
        have = have.split("\n\nTo fix this").next().unwrap().to_owned();
        return same("answer", &have, head);
    }
    // Lines of checks come in any order, and the recording has them sorted.
    if text(step, "path").contains("/readyz") {
        let sorted = |text: &str| {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            lines.join("\n")
        };
        return same("answer", &sorted(&have), &sorted(&want));
    }
    same("answer", &have, &want)
}

#[tokio::test]
async fn recorded_steps() {
    let steps = steps();
    let mut bad = Vec::new();
    for step in &steps {
        let checked = tokio::time::timeout(Duration::from_secs(1), check(step)).await;
        if let Err(error) = checked.unwrap_or_else(|_| Err("no answer".to_owned())) {
            bad.push(format!(
                "{} {} {} {}\n    {error}",
                text(step, "id"),
                text(step, "method"),
                text(step, "path"),
                text(step, "body")
            ));
        }
    }
    assert!(steps.len() > 600, "only {} steps", steps.len());
    assert!(bad.is_empty(), "{} of {} differ:\n{}", bad.len(), steps.len(), bad.join("\n"));
}
