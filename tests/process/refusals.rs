//! The starts that the reference refuses, played against our binary: status, log line and plain text must be equal.
//!
//! From the recording `server.jsonl`. Starts that the reference accepts are other tests' business, as are those that need a server
//! in the way or a data directory from before.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What differs, and why that is right or not yet otherwise.
const DIFFERENT: &[(&str, &str)] = &[
    ("subcommands.4", "the gateway is refused as such"),
    ("subcommands.5", "the gateway is refused as such"),
    ("subcommands.9", "the proxy is refused as such"),
    ("subcommands.10", "the proxy is refused as such"),
    ("subcommands.11", "the proxy is refused as such"),
];

/// Sections of the recording that can be played one start at a time.
const SECTIONS: &[&str] = &["flags", "values", "tls", "cluster", "config-file", "env", "subcommands"];

/// Starts whose refusal the recording owes to a data directory that an earlier start left behind.
const NEED_A_PAST: &[&str] = &["in-use", "damaged"];

fn data(name: &str) -> String {
    let path = format!("{}/../../tests/data/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Makes the files that the script's lines `file NAME "content"` make.
fn make_files(directory: &Path) {
    for line in data("server.txt").lines() {
        if let Some((name, content)) = line.strip_prefix("file ").and_then(|rest| rest.split_once(' ')) {
            let content = content.trim_matches('"').replace("\\n", "\n").replace("\\t", "\t");
            std::fs::write(directory.join(name), content).unwrap();
        }
    }
    std::fs::create_dir(directory.join("d")).unwrap();
}

/// What a start came to, in the recording's form.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    status: i64,
    log: Option<Value>,
    panic: Option<String>,
    stderr: String,
    stdout: String,
}

fn usage_cut(text: &str) -> String {
    match text.find("Usage:\n") {
        Some(0) => "$HELP\n".to_owned(),
        Some(at) => text[..at].to_owned(),
        None => text.to_owned(),
    }
}

fn start(step: &Value, directory: &Path) -> Outcome {
    let binary = env!("CARGO_BIN_EXE_etcd");
    let mut command = Command::new(binary);
    command
        .env_clear()
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.args(
        step["argv"]
            .as_array()
            .unwrap()
            .iter()
            .skip(1)
            .map(|argument| argument.as_str().unwrap()),
    );
    for (name, value) in step["env"].as_object().into_iter().flatten() {
        command.env(name, value.as_str().unwrap());
    }
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let mut outcome = Outcome {
        status: output.status.code().unwrap_or(-1).into(),
        ..Outcome::default()
    };
    let mut plain = Vec::new();
    let (mut severe, mut with_error, mut any) = (None, None, None);
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            plain.push(line.to_owned());
            continue;
        };
        if entry.get("error").is_some() {
            with_error = Some(entry.clone());
        }
        if matches!(entry["level"].as_str(), Some("error" | "fatal" | "panic" | "dpanic")) {
            severe = Some(entry.clone());
        }
        any = Some(entry);
    }
    outcome.log = severe.or(with_error).or(any).map(|mut entry| {
        for key in ["ts", "caller", "logger"] {
            entry.as_object_mut().unwrap().remove(key);
        }
        serde_json::from_str(&entry.to_string().replace(binary, "$BIN/etcd")).unwrap()
    });
    outcome.panic = plain.iter().find(|line| line.starts_with("panic: ")).cloned();
    let text = plain.join("\n");
    outcome.stderr = text.split("panic: ").next().unwrap().split("Usage:").next().unwrap().to_owned();
    outcome.stdout = usage_cut(&String::from_utf8(output.stdout).unwrap());
    outcome
}

fn recorded(step: &Value) -> Outcome {
    let text = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Outcome {
        status: step["rc"].as_i64().unwrap(),
        log: step.get("log").cloned(),
        panic: step.get("panic").and_then(Value::as_str).map(str::to_owned),
        stderr: text("stderr"),
        stdout: text("stdout"),
    }
}

/// Blanks what each build says differently about itself.
fn without_builds(mut outcome: Outcome) -> Outcome {
    let lines = outcome.stdout.lines().map(|line| match line.split_once(": ") {
        Some((key @ ("Git SHA" | "Go Version" | "Go OS/Arch"), _)) => format!("{key}: $\n"),
        _ => format!("{line}\n"),
    });
    outcome.stdout = lines.collect();
    outcome
}

#[test]
fn refusals_are_the_references() {
    let directory = tempfile::tempdir().unwrap();
    make_files(directory.path());
    let text = data("server.jsonl");
    let steps: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut wrong = Vec::new();
    let mut played = 0;
    for step in steps.iter().filter(|step| step["rc"].is_i64()) {
        let id = step["id"].as_str().unwrap();
        let section = id.split('.').next().unwrap();
        assert!(
            SECTIONS.contains(&section) || NEED_A_PAST.contains(&section),
            "a section nobody decided about: {section}"
        );
        if !SECTIONS.contains(&section) {
            continue;
        }
        played += 1;
        let (ours, theirs) = (without_builds(start(step, directory.path())), without_builds(recorded(step)));
        let expected = DIFFERENT.iter().any(|(different, _)| *different == id);
        if (ours == theirs) == expected {
            wrong.push(format!(
                "{id} (known to differ: {expected})\n  theirs {theirs:?}\n  ours   {ours:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(played > 140, "only {played} starts were played");
}
