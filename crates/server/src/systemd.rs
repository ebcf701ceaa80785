//! Tells systemd how far the service is (`Type=notify`).

use std::os::unix::net::UnixDatagram;

/// Sends a state such as `READY=1` to `NOTIFY_SOCKET`, if there is one. A manager that cannot be reached is no reason to stop.
pub fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| match path.as_encoded_bytes() {
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            socket.send_to_addr(state.as_bytes(), &std::os::unix::net::SocketAddr::from_abstract_name(name)?)
        }
        _ => socket.send_to(state.as_bytes(), &path),
    });
    if let Err(error) = sent {
        crate::log::warn("failed to notify systemd", &[crate::log::field("error", error.to_string())]);
    }
}
