//! Where log lines go: stderr, stdout and files. One write a line, so that lines of several threads do not mix.

use compat::errno;
use compat::strconv::quote;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

/// A place that can't be written to; the text is zap's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OpenError(String);

/// Where lines go.
pub struct Sinks {
    places: Vec<Place>,
}

enum Place {
    Stderr,
    Stdout,
    File(Mutex<File>),
    Memory(Memory),
}

/// What was written by a logger of a test.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    /// All lines so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

impl Sinks {
    /// Only stderr.
    pub fn stderr() -> Sinks {
        Sinks {
            places: vec![Place::Stderr],
        }
    }

    /// Only memory, for tests.
    pub fn memory() -> (Sinks, Memory) {
        let memory = Memory::default();
        (
            Sinks {
                places: vec![Place::Memory(memory.clone())],
            },
            memory,
        )
    }

    /// The places of `--log-outputs`; files are appended to, and made if they are not there.
    ///
    /// # Errors
    /// Every place that can't be opened, in one text.
    pub fn open<'a>(outputs: impl Iterator<Item = &'a str>) -> Result<Sinks, OpenError> {
        let mut places = Vec::new();
        let mut errors = Vec::new();
        for output in outputs {
            match output {
                "default" | "stderr" => places.push(Place::Stderr),
                "stdout" => places.push(Place::Stdout),
                // Everything else would be thrown away twice.
                "/dev/null" => return Ok(Sinks { places: Vec::new() }),
                path => match open_file(path) {
                    Ok(file) => places.push(Place::File(Mutex::new(file))),
                    Err(error) => errors.push(format!("open sink {}: {error}", quote(output))),
                },
            }
        }
        if errors.is_empty() {
            Ok(Sinks { places })
        } else {
            Err(OpenError(errors.join("; ")))
        }
    }

    /// Writes a line everywhere. A place that takes no more is no reason to stop serving, so failures are dropped.
    pub(super) fn write(&self, line: &[u8]) {
        for place in &self.places {
            let _ = match place {
                Place::Stderr => std::io::stderr().lock().write_all(line),
                Place::Stdout => {
                    let mut out = std::io::stdout().lock();
                    out.write_all(line).and_then(|()| out.flush())
                }
                Place::File(file) => file.lock().write_all(line),
                Place::Memory(memory) => {
                    memory.0.lock().extend_from_slice(line);
                    Ok(())
                }
            };
        }
    }
}

fn open_file(output: &str) -> Result<File, String> {
    let path = Path::new(output.strip_prefix("file://").unwrap_or(output));
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| errno::at_path("open", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_as_zap() {
        let error = |outputs: &[&str]| {
            Sinks::open(outputs.iter().copied())
                .err()
                .map(|e| e.to_string())
                .unwrap_or_default()
        };
        assert_eq!(error(&["", "stderr"]), "open sink \"\": open : no such file or directory");
        assert_eq!(
            error(&["nosuch/x.log"]),
            "open sink \"nosuch/x.log\": open nosuch/x.log: no such file or directory"
        );
    }

    #[test]
    fn appends_to_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let text = path.to_str().unwrap();
        for _ in 0..2 {
            Sinks::open([text].into_iter()).unwrap().write(b"line\n");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "line\nline\n");
    }
}
