//! `etcd gateway` and `etcd grpc-proxy`: their flags are known and checked, they themselves are not there yet.
//!
//! Started, they refuse in plain words: a script must not believe that something listens.

use super::Exit;
use super::load::{complain, say};
use compat::duration::GoDuration;
use compat::pflag::{self, ParseError, Spec};
use compat::strconv;

/// The type of a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Uint,
    Uint32,
    Duration,
    Text,
    List,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Uint32 => "uint32",
            Kind::Duration => "duration",
            Kind::Text => "string",
            Kind::List => "string-slice",
        }
    }

    fn check(self, value: &str) -> Result<(), String> {
        let result = match self {
            Kind::Bool => strconv::parse_bool(value).map(drop),
            Kind::Int => strconv::parse_int(value, 0, 64).map(drop),
            Kind::Uint => strconv::parse_uint(value, 0, 64).map(drop),
            Kind::Uint32 => strconv::parse_uint(value, 0, 32).map(drop),
            Kind::Duration => return GoDuration::parse(value).map(drop).map_err(|error| error.to_string()),
            Kind::Text | Kind::List => Ok(()),
        };
        result.map_err(|error| error.to_string())
    }
}

/// Name, type and default.
type Row = (&'static str, Kind, &'static str);

const GATEWAY: &[Row] = &[
    ("discovery-srv", Kind::Text, ""),
    ("discovery-srv-name", Kind::Text, ""),
    ("endpoints", Kind::List, "127.0.0.1:2379"),
    ("insecure-discovery", Kind::Bool, "false"),
    ("listen-addr", Kind::Text, "127.0.0.1:23790"),
    ("retry-delay", Kind::Duration, "1m0s"),
    ("trusted-ca-file", Kind::Text, ""),
];

const PROXY: &[Row] = &[
    ("advertise-client-url", Kind::Text, "127.0.0.1:23790"),
    ("auto-tls", Kind::Bool, "false"),
    ("cacert", Kind::Text, ""),
    ("cert", Kind::Text, ""),
    ("cert-file", Kind::Text, ""),
    ("client-crl-file", Kind::Text, ""),
    ("data-dir", Kind::Text, "default.proxy"),
    ("debug", Kind::Bool, "false"),
    ("dial-keepalive-time", Kind::Duration, "0s"),
    ("dial-keepalive-timeout", Kind::Duration, "20s"),
    ("discovery-srv", Kind::Text, ""),
    ("discovery-srv-name", Kind::Text, ""),
    ("enable-pprof", Kind::Bool, "false"),
    ("endpoints", Kind::List, "127.0.0.1:2379"),
    ("endpoints-auto-sync-interval", Kind::Duration, "0s"),
    ("experimental-enable-grpc-logging", Kind::Bool, "false"),
    ("experimental-leasing-prefix", Kind::Text, ""),
    ("experimental-serializable-ordering", Kind::Bool, "false"),
    ("grpc-keepalive-interval", Kind::Duration, "2h0m0s"),
    ("grpc-keepalive-min-time", Kind::Duration, "5s"),
    ("grpc-keepalive-timeout", Kind::Duration, "20s"),
    ("insecure-discovery", Kind::Bool, "false"),
    ("insecure-skip-tls-verify", Kind::Bool, "false"),
    ("key", Kind::Text, ""),
    ("key-file", Kind::Text, ""),
    ("listen-addr", Kind::Text, "127.0.0.1:23790"),
    ("listen-cipher-suites", Kind::List, ""),
    ("max-concurrent-streams", Kind::Uint32, "4294967295"),
    ("max-recv-bytes", Kind::Int, "2147483647"),
    ("max-send-bytes", Kind::Int, "1572864"),
    ("metrics-addr", Kind::Text, ""),
    ("namespace", Kind::Text, ""),
    ("permit-without-stream", Kind::Bool, "false"),
    ("resolver-prefix", Kind::Text, ""),
    ("resolver-ttl", Kind::Int, "0"),
    ("self-signed-cert-validity", Kind::Uint, "1"),
    ("tls-max-version", Kind::Text, ""),
    ("tls-min-version", Kind::Text, "TLS1.2"),
    ("trusted-ca-file", Kind::Text, ""),
];

struct Checked(&'static [Row]);

impl pflag::Flags for Checked {
    fn long(&self, name: &str) -> Option<Spec> {
        let (name, kind, _) = self.0.iter().find(|(known, ..)| *known == name)?;
        let alone = (*kind == Kind::Bool).then(|| "true".to_owned());
        Some(Spec {
            name: (*name).to_owned(),
            letter: None,
            alone,
        })
    }

    fn short(&self, _letter: char) -> Option<Spec> {
        None
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.0
            .iter()
            .find(|(known, ..)| *known == name)
            .map_or(Ok(()), |(_, kind, _)| kind.check(value))
    }
}

/// Runs the subcommand that the arguments (the process's own name first) call; `None` if they call none.
pub fn run(arguments: &[String]) -> Option<Exit> {
    let command = arguments.get(1).map(String::as_str)?;
    let rows = match command {
        "gateway" => GATEWAY,
        "grpc-proxy" => PROXY,
        _ => return None,
    };
    let help = help(command, rows);
    match answer(rows, &arguments[2..]) {
        Ok(()) => say(&help),
        Err(Refusal::Usage(error)) => {
            // cobra prints the usage after the error, on stderr.
            complain(&format!("Error: {error}\n{help}\n"));
            return Some(Exit::REFUSED);
        }
        Err(Refusal::NotYet) => {
            complain(&format!("etcd {command} is not supported by this version yet\n"));
            return Some(Exit::REFUSED);
        }
    }
    Some(Exit::OK)
}

#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Usage(ParseError),
    NotYet,
}

/// `Ok` means: print the help.
fn answer(rows: &'static [Row], arguments: &[String]) -> Result<(), Refusal> {
    let Some(("start", arguments)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
        return Ok(());
    };
    match pflag::parse(arguments, &mut Checked(rows)) {
        Ok(_) => Err(Refusal::NotYet),
        Err(ParseError::Help) => Ok(()),
        Err(error) => Err(Refusal::Usage(error)),
    }
}

fn help(command: &str, rows: &[Row]) -> String {
    let mut text = format!("Usage:\n  etcd {command} start [flags]\n\nNot in this version yet.\n\nFlags:\n");
    for (name, kind, default) in rows {
        text += &format!("      --{name} {} (default {})\n", kind.name(), strconv::quote(default));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_contracts() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/contract/etcd-subcommand-flags.tsv");
        let text = std::fs::read_to_string(path).unwrap();
        let wanted: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split('\t').collect()).collect();
        let ours: Vec<(&str, &Row)> = GATEWAY
            .iter()
            .map(|row| ("etcd gateway start", row))
            .chain(PROXY.iter().map(|row| ("etcd grpc-proxy start", row)))
            .collect();
        assert_eq!(wanted.len(), ours.len());
        for (row, (command, (name, kind, default))) in wanted.iter().zip(ours) {
            assert_eq!(row[..5], [command, name, "", kind.name(), default]);
        }
    }

    #[test]
    fn refuses_as_cobra() {
        let answer = |rows, arguments: &[&str]| answer(rows, &arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        assert_eq!(answer(GATEWAY, &[]), Ok(()));
        assert_eq!(answer(GATEWAY, &["nosuch"]), Ok(()));
        assert_eq!(answer(PROXY, &["start", "--debug", "--endpoints", "a,b"]), Err(Refusal::NotYet));
        match answer(PROXY, &["start", "--max-concurrent-streams=-1"]) {
            Err(Refusal::Usage(error)) => assert_eq!(
                error.to_string(),
                "invalid argument \"-1\" for \"--max-concurrent-streams\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax"
            ),
            other => panic!("{other:?}"),
        }
    }
}
