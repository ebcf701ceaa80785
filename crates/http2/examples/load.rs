//! A raw load generator for `echo`: `load 127.0.0.1:50051 CONNECTIONS IN_FLIGHT SECONDS SERVER_PID`.
//!
//! Writes prepared frames and counts trailers, so that the server is the limit: 45-byte requests, 300-byte answers. Prints requests a
//! second and the server's CPU time a request (from its `schedstat`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn literal(out: &mut Vec<u8>, index: u8, name: &str, value: &str) {
    out.push(0x40 | index);
    if index == 0 {
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
    }
    out.push(value.len() as u8);
    out.extend_from_slice(value.as_bytes());
}

fn request(out: &mut Vec<u8>, stream: u32) {
    let mut block = vec![0x83, 0x86];
    if stream == 1 {
        literal(&mut block, 4, "", "/test.Toy/Size");
        literal(&mut block, 1, "", "localhost:50051");
        literal(&mut block, 31, "", "application/grpc");
        literal(&mut block, 0, "te", "trailers");
        literal(&mut block, 58, "", "grpc-go/1.82.1");
    } else {
        block.extend_from_slice(&[0xc2, 0xc1, 0xc0, 0xbf, 0xbe]);
    }
    frame(out, HEADERS, 4, stream, &block);
    let mut message = [0; 50];
    message[4] = 45;
    message[5..9].copy_from_slice(&300u32.to_be_bytes());
    frame(out, DATA, 1, stream, &message);
}

async fn run(address: String, in_flight: u32, done: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut out, SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    frame(&mut out, WINDOW_UPDATE, 0, 0, &0x4000_0000u32.to_be_bytes());
    let mut stream = 1;
    for _ in 0..in_flight {
        request(&mut out, stream);
        stream += 2;
    }
    let mut buffer = vec![0; 256 * 1024];
    let mut filled = 0;
    let mut unacknowledged = 0;
    while !stop.load(Ordering::Relaxed) && stream < 0x7000_0000 {
        socket.write_all(&out).await?;
        out.clear();
        let read = socket.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        let mut at = 0;
        while filled - at >= 9 {
            let len = u32::from_be_bytes([0, buffer[at], buffer[at + 1], buffer[at + 2]]) as usize;
            if filled - at < 9 + len {
                break;
            }
            match buffer[at + 3] {
                DATA => unacknowledged += len as u32,
                HEADERS if buffer[at + 4] & 1 == 1 => {
                    done.fetch_add(1, Ordering::Relaxed);
                    request(&mut out, stream);
                    stream += 2;
                }
                SETTINGS if buffer[at + 4] & 1 == 0 => frame(&mut out, SETTINGS, 1, 0, &[]),
                _ => {}
            }
            at += 9 + len;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        if unacknowledged > 1 << 24 {
            frame(&mut out, WINDOW_UPDATE, 0, 0, &unacknowledged.to_be_bytes());
            unacknowledged = 0;
        }
    }
    Ok(())
}

/// CPU time of a process, in nanoseconds.
fn cpu(pid: &str) -> u64 {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    let times = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
    times
        .filter_map(|text| text.split(' ').next().and_then(|time| time.parse::<u64>().ok()))
        .sum()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, in_flight, seconds, pid] = arguments.as_slice() else {
        eprintln!("load ADDRESS CONNECTIONS IN_FLIGHT SECONDS SERVER_PID");
        return;
    };
    let number = |text: &String| text.parse::<u32>().expect("a number");
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    for _ in 0..number(connections) {
        tokio::spawn(run(address.clone(), number(in_flight), done.clone(), stop.clone()));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (start, before, cpu_before) = (Instant::now(), done.load(Ordering::Relaxed), cpu(pid));
    tokio::time::sleep(Duration::from_secs(u64::from(number(seconds)))).await;
    let count = done.load(Ordering::Relaxed) - before;
    let (elapsed, used) = (start.elapsed().as_secs_f64(), cpu(pid) - cpu_before);
    stop.store(true, Ordering::Relaxed);
    println!(
        "{connections} x {in_flight}: {:.0} requests/s, {:.2} us of server CPU a request",
        count as f64 / elapsed,
        used as f64 / 1000.0 / count as f64
    );
}
