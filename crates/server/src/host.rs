//! What the process asks of the machine around it: the service manager's ear, how many files it may open, and failpoints in builds
//! for tests.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Files that are kept back for the log, the database and peers; client connections get the rest.
pub const RESERVED_FILES: u64 = 150;

/// Tells the service manager that the server serves, if one asked for it with `NOTIFY_SOCKET`. `Ok(false)` when none did.
///
/// # Errors
/// The manager's socket can't be written to.
pub fn notify_ready() -> io::Result<bool> {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else {
        return Ok(false);
    };
    notify(socket.as_encoded_bytes(), b"READY=1\n")?;
    Ok(true)
}

/// Sends one message. A name that begins with `@` is not a file but lives in the kernel alone.
fn notify(socket: &[u8], message: &[u8]) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let address = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(socket))?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address).map(drop)
}

/// Arms the failpoints of `GOFAIL_FAILPOINTS` and serves gofail's pages at `GOFAIL_HTTP`, in builds that have failpoints; the first
/// thing such a process does.
///
/// # Errors
/// The reason, in gofail's words; the process ends then.
pub fn arm_failpoints() -> Result<(), String> {
    #[cfg(feature = "failpoints")]
    {
        world::fail::arm_from_env().map_err(|error| error.to_string())?;
        compat::gofail::serve_from_env().map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// How many files the process may have open; `u64::MAX` when there is no limit.
pub fn file_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(u64::MAX)
}

/// Raises the limit as far as the system lets an ordinary process, as Go's runtime does at start-up, and returns it.
pub fn raise_file_limit() -> u64 {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // A refusal leaves the old limit, which is what `file_limit` then says.
        let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
    }
    file_limit()
}

/// How many connections each client listener takes.
///
/// # Errors
/// The limit itself when nothing would be left for clients.
pub fn connection_limit() -> Result<u64, u64> {
    match file_limit() {
        limit if limit <= RESERVED_FILES => Err(limit),
        limit => Ok(limit - RESERVED_FILES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        notify(path.as_os_str().as_encoded_bytes(), b"READY=1\n").unwrap();
        let mut heard = [0; 16];
        let length = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1\n");

        let name = format!("quorate-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        notify(format!("@{name}").as_bytes(), b"READY=1\n").unwrap();
        assert_eq!(manager.recv(&mut heard).unwrap(), 8);
        assert!(notify(b"/nosuch/socket", b"READY=1\n").is_err());
    }

    #[test]
    fn limits() {
        assert!(raise_file_limit() >= file_limit());
        assert_eq!(
            connection_limit().ok(),
            file_limit().checked_sub(RESERVED_FILES).filter(|left| *left > 0)
        );
    }
}
