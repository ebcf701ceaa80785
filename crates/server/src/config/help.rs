//! What `etcd --help` and `etcd --version` print. The flags come from the list, the words around them from here.

use super::flags::{Bind, Flag, GROUPS};
use crate::config::feature_gates::{GATES, Stage};
use std::fmt::Write;

/// The version of etcd that this server stands in for.
pub const ETCD_VERSION: &str = "3.7.1";

/// How the command is called; follows every complaint about the command line, on stderr.
pub const USAGE: &str = "Usage:

  etcd [flags]
    Start a server.

  etcd --version
    Print the version.

  etcd -h | --help
    Print all flags.

  etcd --config-file FILE
    Start a server with the settings of a file; flags and variables are then ignored.
";

/// All flags, by groups.
pub fn flags_text() -> String {
    let mut out = String::new();
    for (group, flags) in GROUPS.iter().filter(|(group, _)| *group != "ignored") {
        let mut letters = group.chars();
        let title: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{title}:");
        for flag in *flags {
            entry(flag, &mut out);
        }
        out.push('\n');
    }
    out
}

fn entry(flag: &Flag, out: &mut String) {
    let default = match flag.bind {
        Bind::Bool(_) | Bind::Int(_) | Bind::Int64(_) | Bind::Uint(_) | Bind::Uint32(_) | Bind::Uint64(_) | Bind::Duration(_) => {
            format!(" '{}'", flag.default)
        }
        Bind::Removed => String::new(),
        _ => format!(" '{}'", flag.default.replace('\'', "")),
    };
    let planned = if flag.planned { " Not in this version yet." } else { "" };
    let _ = writeln!(out, "  --{}{default}\n    {}{planned}", flag.name, flag.help);
    if matches!(flag.bind, Bind::Gates(_)) {
        for gate in GATES {
            let (stage, default) = if gate.stage == Stage::Alpha {
                ("ALPHA", false)
            } else {
                ("BETA", !gate.generic)
            };
            let missing = if gate.exists { "" } else { "; not in this version yet" };
            let _ = writeln!(out, "    {}=true|false ({stage} - default={default}{missing})", gate.name);
        }
    }
}

/// The four lines of `--version`. Tools parse the first; the others keep etcd's shape, with what this build can say.
pub fn version_text() -> String {
    format!(
        "etcd Version: {ETCD_VERSION}\nGit SHA: quorate-{}\nGo Version: none (Rust)\nGo OS/Arch: {}/{}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        arch()
    )
}

/// The processor's name as Go writes it.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::flags;

    #[test]
    fn help_names_every_flag_but_the_ignored() {
        let text = flags_text();
        for flag in flags::all() {
            let named = text.contains(&format!("\n  --{} ", flag.name)) || text.contains(&format!("\n  --{}\n", flag.name));
            assert_eq!(named, !matches!(flag.bind, Bind::Ignored), "--{}", flag.name);
        }
        assert!(text.contains("CompactHashCheck=true|false (ALPHA - default=false; not in this version yet)"));
    }

    #[test]
    fn version_begins_as_tools_expect() {
        assert!(version_text().starts_with("etcd Version: 3.7.1\nGit SHA: "));
    }
}
