//! gofail's pages: failpoints set, listed and cleared over HTTP while the process runs.
//!
//! `GOFAIL_HTTP=127.0.0.1:22381` makes the process serve them, as a Go binary with gofail does, so that etcd's own robustness tests can
//! drive this one. Only in builds with the feature `failpoints`. A small blocking HTTP/1.1 server on threads of its own: it must
//! answer while the rest of the process hangs in a failpoint.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use world::fail;

/// The longest list of terms that is read.
const MAX_BODY_BYTES: u64 = 1 << 20;
const MAX_HEAD_BYTES: u64 = 64 << 10;
/// A connection that is silent for so long is closed, so that its thread ends.
const IDLE: Duration = Duration::from_secs(60);

/// Serves the pages at the address in `GOFAIL_HTTP`, if there is one.
///
/// # Errors
/// The address can't be listened on; gofail ends the process then.
pub fn serve_from_env() -> io::Result<()> {
    match std::env::var("GOFAIL_HTTP") {
        Ok(address) if !address.is_empty() => serve(&address).map(drop),
        _ => Ok(()),
    }
}

/// Serves the pages at `address`, on threads that live as long as the process.
///
/// # Errors
/// The address can't be listened on.
pub fn serve(address: &str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    thread::Builder::new().name("gofail".to_owned()).spawn(move || {
        for connection in listener.incoming().flatten() {
            // A connection that can't be served is the client's loss alone.
            let _ = thread::Builder::new()
                .name("gofail-conn".to_owned())
                .spawn(move || serve_connection(connection));
        }
    })?;
    Ok(bound)
}

struct Request {
    method: String,
    path: String,
    body: String,
    close: bool,
}

struct Answer {
    status: &'static str,
    body: String,
}

impl Answer {
    fn ok(body: String) -> Answer {
        Answer { status: "200 OK", body }
    }

    fn done() -> Answer {
        Answer {
            status: "204 No Content",
            body: String::new(),
        }
    }

    fn error(status: &'static str, text: impl Into<String>) -> Answer {
        Answer {
            status,
            body: text.into() + "\n",
        }
    }
}

fn serve_connection(mut connection: TcpStream) {
    let Ok(reading) = connection.try_clone() else { return };
    let _ = reading.set_read_timeout(Some(IDLE));
    let mut reader = BufReader::new(reading);
    while let Ok(Some(request)) = read_request(&mut reader) {
        let mut sent = false;
        // Written before a term can fire: a panic must not take the answer with it.
        let mut respond = |answer: &Answer| {
            sent = write_answer(&mut connection, answer).is_ok();
        };
        handle(&request, &mut respond);
        if !sent || request.close {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut head = reader.take(MAX_HEAD_BYTES);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        body: String::new(),
        close: false,
    };
    let mut length = 0u64;
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap_or(0),
                "connection" => request.close = value.eq_ignore_ascii_case("close"),
                "expect" => return Ok(None),
                _ => {}
            }
        }
    }
    let mut body = Vec::new();
    head.into_inner().take(length.min(MAX_BODY_BYTES)).read_to_end(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(request))
}

fn write_answer(connection: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let Answer { status, body } = answer;
    let head = match *status {
        "204 No Content" => String::new(),
        _ => format!("Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n", body.len()),
    };
    connection.write_all(format!("HTTP/1.1 {status}\r\n{head}\r\n{body}").as_bytes())
}

/// Does what is asked and answers once.
fn handle(request: &Request, respond: &mut dyn FnMut(&Answer)) {
    let name = request.path.strip_prefix('/').unwrap_or(&request.path);
    match request.method.as_str() {
        "PUT" => arm(name, &request.body, respond),
        "GET" => respond(&show(name)),
        "DELETE" => respond(&match fail::remove(name) {
            Ok(()) => Answer::done(),
            Err(error) => Answer::error("400 Bad Request", format!("failed to delete failpoint {error}")),
        }),
        _ => respond(&Answer::error("405 Method Not Allowed", "Method not allowed")),
    }
}

/// `PUT /NAME` with terms, or `PUT /failpoints` with `NAME=terms;NAME=terms`.
fn arm(name: &str, body: &str, respond: &mut dyn FnMut(&Answer)) {
    let mut list = vec![(name, body)];
    if name.eq_ignore_ascii_case("failpoints") {
        list.clear();
        for piece in body.split(';').filter(|piece| !piece.is_empty()) {
            match piece.split_once('=').filter(|(_, terms)| !terms.contains('=')) {
                Some(pair) => list.push(pair),
                None => {
                    let error = fail::Error::BadList(piece.to_owned());
                    return respond(&Answer::error("400 Bad Request", format!("fail to parse failpoint: {error}")));
                }
            }
        }
    }
    if let Err(error) = fail::set_and_then(&list, || respond(&Answer::done())) {
        respond(&Answer::error("400 Bad Request", format!("fail to set failpoint: {error}")));
    }
}

/// `GET /` lists all, `GET /NAME` shows the terms, `GET /NAME/count` how often one fired.
fn show(name: &str) -> Answer {
    if name.is_empty() {
        let lines: Vec<String> = fail::list()
            .into_iter()
            .map(|point| format!("{}={}", point.name, point.terms.unwrap_or_default()))
            .collect();
        return Answer::ok(lines.join("\n") + "\n");
    }
    let (name, count) = match name.strip_suffix("/count") {
        Some(name) => (name, true),
        None => (name, false),
    };
    match fail::status(name) {
        Ok(point) if count => Answer::ok(point.fired.to_string()),
        Ok(point) => Answer::ok(point.terms.unwrap_or_default() + "\n"),
        Err(error) => {
            let status = if count && error != fail::Error::NoSuchPoint {
                "500 Internal Server Error"
            } else {
                "404 Not Found"
            };
            Answer::error(status, format!("failed to GET: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut connection = TcpStream::connect(address).unwrap();
        write!(
            connection,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    #[test]
    fn pages_answer_as_gofails() {
        let address = serve("127.0.0.1:0").unwrap();
        let point = "beforeSendWatchResponse";
        let path = format!("/{point}");
        let ask = |method: &str, path: &str, body: &str| ask(address, method, path, body);
        assert!(ask("GET", "/", "").1.contains("\nwalBeforeSync=\n"));
        assert_eq!(
            ask("GET", &path, ""),
            (404, "failed to GET: failpoint: failpoint is disabled\n".to_owned())
        );
        assert_eq!(ask("PUT", &path, "sleep(1)").0, 204);
        assert_eq!(ask("GET", &path, ""), (200, "sleep(1)\n".to_owned()));
        assert_eq!(ask("GET", &format!("{path}/count"), ""), (200, "0".to_owned()));
        assert!(ask("GET", "/", "").1.contains(&format!("{point}=sleep(1)\n")));
        assert_eq!(ask("DELETE", &path, "").0, 204);
        assert_eq!(
            ask("DELETE", &path, ""),
            (400, "failed to delete failpoint failpoint: failpoint is disabled\n".to_owned())
        );
        assert_eq!(
            ask("PUT", "/nosuch", "off"),
            (400, "fail to set failpoint: failpoint: failpoint does not exist\n".to_owned())
        );
        assert_eq!(ask("PUT", "/failpoints", &format!("{point}=off;bad")).0, 400);
        assert_eq!(ask("PUT", "/failpoints", &format!("{point}=off")).0, 204);
        assert_eq!(ask("GET", "/nosuch/count", "").0, 404);
        assert_eq!(ask("POST", "/", "").0, 405);
    }
}
