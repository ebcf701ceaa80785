//! Limits and times of a connection. The defaults are etcd's and grpc-go's where those have one.

use std::time::Duration;

/// How a server's connection behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest request message, in bytes (gRPC code 8 above it).
    pub max_receive_message_bytes: usize,
    /// Largest response message, in bytes (gRPC code 8 above it).
    pub max_send_message_bytes: usize,
    /// Most streams open at once; more are refused (`REFUSED_STREAM`).
    pub max_concurrent_streams: u32,
    /// Flow control window of a stream, in bytes.
    pub initial_stream_window: u32,
    /// Flow control window of the connection, in bytes.
    pub initial_connection_window: u32,
    /// Largest frame we take, in bytes.
    pub max_frame_bytes: u32,
    /// Largest header list, in bytes as RFC 9113 6.5.2 counts.
    pub max_header_list_bytes: u32,
    /// Bytes of answers that a streaming handler may queue before `send` waits.
    pub stream_queue_bytes: usize,
    /// After this long without a byte from the peer it is pinged.
    pub keepalive_interval: Duration,
    /// How long the answer to that ping may take before the connection is closed.
    pub keepalive_timeout: Duration,
    /// Pings that come faster than this are strikes; the third in a row ends the connection (`too_many_pings`).
    pub keepalive_min_interval: Duration,
    /// Whether pings without an open stream are judged by the same interval (else by two hours).
    pub keepalive_without_streams: bool,
    /// How long a connection may take to send the preface.
    pub handshake_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            max_receive_message_bytes: 4 * 1024 * 1024,
            max_send_message_bytes: i32::MAX as usize,
            max_concurrent_streams: u32::MAX,
            initial_stream_window: 1024 * 1024,
            initial_connection_window: 16 * 1024 * 1024,
            max_frame_bytes: 16 * 1024,
            max_header_list_bytes: 256 * 1024,
            stream_queue_bytes: 256 * 1024,
            keepalive_interval: Duration::from_secs(2 * 60 * 60),
            keepalive_timeout: Duration::from_secs(20),
            keepalive_min_interval: Duration::from_secs(5),
            keepalive_without_streams: false,
            handshake_timeout: Duration::from_secs(120),
        }
    }
}
