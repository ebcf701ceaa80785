//! The form of the scripts: commands, `----`, and the text that they must print.
//!
//! A directive is one line, `command key key=value key=(value, value)`, continued on the next one by a backslash; what stands between it and
//! `----` is its input. The expected text ends at a blank line, or at a second pair of `----` if it began with one. `#` begins a comment line.

use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;

/// One directive with what it must print.
pub struct Case {
    /// The line of the directive in its file, from 1.
    pub line: usize,
    pub command: String,
    pub args: Vec<Arg>,
    pub input: String,
    pub expected: String,
    /// The lines of the file, from 0, between which the expected text stands, separators included.
    expected_lines: std::ops::Range<usize>,
}

/// `key`, `key=value` or `key=(value, value)`.
#[derive(Debug)]
pub struct Arg {
    pub key: String,
    pub values: Vec<String>,
}

impl Arg {
    pub fn value<T: FromStr>(&self) -> T {
        let [value] = self.values.as_slice() else {
            panic!("{} takes one value, not {:?}", self.key, self.values);
        };
        parse(value)
    }

    pub fn list<T: FromStr>(&self) -> Vec<T> {
        self.values.iter().map(|value| parse(value)).collect()
    }
}

/// Reads a number or a word of a script, which is our own input: what is not one is the script's fault.
pub fn parse<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("can't read {text:?} in a script"))
}

impl Case {
    /// The nth argument without a value.
    pub fn key<T: FromStr>(&self, nth: usize) -> T {
        parse(
            &self
                .args
                .get(nth)
                .unwrap_or_else(|| panic!("{} lacks an argument", self.command))
                .key,
        )
    }

    /// All arguments without values.
    pub fn keys<T: FromStr>(&self) -> Vec<T> {
        self.args
            .iter()
            .filter(|arg| arg.values.is_empty())
            .map(|arg| parse(&arg.key))
            .collect()
    }

    pub fn arg(&self, key: &str) -> Option<&Arg> {
        self.args.iter().find(|arg| arg.key == key)
    }
}

/// Reads a whole script.
pub fn read(file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let lines: Vec<&str> = text.lines().collect();
    let mut cases = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = at + 1;
        let mut directive = lines[at].trim().to_owned();
        at += 1;
        if directive.is_empty() || directive.starts_with('#') {
            continue;
        }
        while directive.ends_with('\\') && at < lines.len() {
            directive.pop();
            directive = format!("{} {}", directive, lines[at].trim());
            at += 1;
        }
        let input_at = at;
        while at < lines.len() && lines[at] != "----" {
            at += 1;
        }
        let input = lines[input_at..at].join("\n").trim().to_owned();
        let separator = at;
        let expected = read_expected(&lines, &mut at);
        let (command, args) = parse_directive(&directive);
        let expected_lines = separator.min(lines.len())..at;
        cases.push(Case {
            line,
            command,
            args,
            input,
            expected,
            expected_lines,
        });
    }
    cases
}

/// Reads from the separator at `at` on, and leaves `at` behind the text.
fn read_expected(lines: &[&str], at: &mut usize) -> String {
    *at += 1;
    let mut expected = String::new();
    if lines.get(*at) == Some(&"----") {
        *at += 1;
        while *at < lines.len() && !(lines[*at] == "----" && lines.get(*at + 1) == Some(&"----")) {
            expected += lines[*at];
            expected.push('\n');
            *at += 1;
        }
        *at = (*at + 2).min(lines.len());
    } else {
        while *at < lines.len() && !lines[*at].trim().is_empty() {
            expected += lines[*at];
            expected.push('\n');
            *at += 1;
        }
    }
    *at = (*at).min(lines.len());
    expected
}

fn parse_directive(text: &str) -> (String, Vec<Arg>) {
    let (command, mut rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut args = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return (command.to_owned(), args);
        }
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let (key, behind) = rest.split_at(end);
        let mut values = Vec::new();
        rest = behind;
        if let Some(value) = behind.strip_prefix('=') {
            if let Some(list) = value.strip_prefix('(') {
                let (list, behind) = list.split_once(')').unwrap_or_else(|| panic!("unclosed list in {text:?}"));
                values.extend(list.split(',').map(|value| value.trim().to_owned()));
                rest = behind;
            } else {
                let end = value.find(' ').unwrap_or(value.len());
                values.push(value[..end].to_owned());
                rest = &value[end..];
            }
        }
        args.push(Arg {
            key: key.to_owned(),
            values,
        });
    }
}

/// Runs a script from its beginning; `handle` prints what a case prints. Gives back one text for every case that printed something else.
pub fn run(file: &Path, mut handle: impl FnMut(&Case) -> String) -> Vec<String> {
    let cases = read(file);
    assert!(!cases.is_empty(), "{} holds no case", file.display());
    let mut faults = Vec::new();
    let mut printed = Vec::new();
    for case in &cases {
        let mut actual = handle(case);
        if !actual.is_empty() && !actual.ends_with('\n') {
            actual.push('\n');
        }
        if actual != case.expected {
            faults.push(fault(file, case, &actual));
        }
        printed.push(actual);
    }
    if !faults.is_empty() && std::env::var_os("RAFT_SCRIPTS_REWRITE").is_some() && file.starts_with(env!("CARGO_MANIFEST_DIR")) {
        rewrite(file, &cases, &printed);
    }
    faults
}

/// Both texts from the first line on that differs, with two lines before it.
fn fault(file: &Path, case: &Case, actual: &str) -> String {
    let same = case
        .expected
        .lines()
        .zip(actual.lines())
        .take_while(|(one, other)| one == other)
        .count();
    let show = |text: &str| {
        text.lines()
            .skip(same.saturating_sub(2))
            .take(12)
            .fold(String::new(), |mut shown, line| {
                let _ = writeln!(shown, "    {line}");
                shown
            })
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    format!(
        "{name}:{}: {} differs at line {} of its text\n  expected\n{}  printed\n{}",
        case.line,
        case.command,
        same + 1,
        show(&case.expected),
        show(actual)
    )
}

/// Puts what was printed in place of what was expected.
fn rewrite(file: &Path, cases: &[Case], printed: &[String]) {
    let text = std::fs::read_to_string(file).expect("read before");
    let lines: Vec<&str> = text.lines().collect();
    let mut fresh = String::new();
    let mut at = 0;
    for (case, actual) in cases.iter().zip(printed) {
        for line in &lines[at..case.expected_lines.start] {
            fresh += line;
            fresh.push('\n');
        }
        let fence = if actual.contains("\n\n") { "----\n" } else { "" };
        let _ = write!(fresh, "----\n{fence}{actual}{fence}{fence}");
        at = case.expected_lines.end;
    }
    for line in &lines[at..] {
        fresh += line;
        fresh.push('\n');
    }
    std::fs::write(file, fresh).expect("a script of our own can be written");
}
