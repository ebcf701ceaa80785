//! The operating system's errors as Go prints them: lower case, without a number.

use std::io;
use std::path::Path;

/// The reason alone, as `syscall.Errno` prints it: `no such file or directory`.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// As `*fs.PathError` prints it: `open d/x: no such file or directory`.
pub fn at_path(operation: &str, path: &Path, error: &io::Error) -> String {
    format!("{operation} {}: {}", path.display(), reason(error))
}

/// As `*net.OpError` prints it when an address can't be listened on: `listen tcp 127.0.0.1:2379: bind: address already in use`.
pub fn listen(network: &str, address: &str, error: &io::Error) -> String {
    format!("listen {network} {address}: bind: {}", reason(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_go() {
        let missing = std::fs::File::open("no/such").unwrap_err();
        assert_eq!(
            at_path("open", Path::new("no/such"), &missing),
            "open no/such: no such file or directory"
        );
        let busy = io::Error::from_raw_os_error(98);
        assert_eq!(
            listen("tcp", "127.0.0.1:1", &busy),
            "listen tcp 127.0.0.1:1: bind: address already in use"
        );
        assert_eq!(reason(&io::Error::other("own words")), "own words");
    }
}
