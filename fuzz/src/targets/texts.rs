//! What people write: flags, values, configuration files.

use compat::duration::GoDuration;
use compat::{goflag, pflag, strconv, url};
use server::config::{self, Config, flags};

use super::Play;

const WORDS: [&[u8]; 22] = [
    b"h",
    b"ms",
    "µs".as_bytes(),
    b"-",
    b".",
    b"1",
    b"9223372036854775807",
    b"18446744073709551616",
    b"0x",
    b"_",
    b"://",
    b"%zz",
    b"%",
    b"[::1]",
    b":",
    b"@",
    b",",
    b"=",
    b"--",
    b"\xff",
    b"unixs://",
    b"http://",
];

/// The server's own flags.
struct Ours(Config);

impl goflag::Flags for Ours {
    fn is_bool(&self, name: &str) -> Option<bool> {
        flags::find(name).map(flags::Flag::is_bool)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let flag = flags::find(name).ok_or("no such flag")?;
        flag.set(&mut self.0, value).map_err(|reason| reason.to_string())?;
        let shown = flag.text(&mut self.0);
        // What is shown can be set, and is then shown the same.
        if flag.set(&mut self.0, &shown).is_ok() {
            assert_eq!(flag.text(&mut self.0), shown, "--{name}");
        }
        Ok(())
    }
}

impl pflag::Flags for Ours {
    fn long(&self, name: &str) -> Option<pflag::Spec> {
        let flag = flags::find(name)?;
        Some(pflag::Spec {
            name: name.to_owned(),
            letter: name.chars().next(),
            alone: flag.is_bool().then(|| "true".to_owned()),
        })
    }

    fn short(&self, letter: char) -> Option<pflag::Spec> {
        let flag = flags::all().find(|flag| flag.name.starts_with(letter))?;
        self.long(flag.name)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        goflag::Flags::set(self, name, value)
    }
}

fn check_text(text: &str) {
    if let Ok(duration) = GoDuration::parse(text) {
        let shown = duration.to_string();
        assert_eq!(GoDuration::parse(&shown), Ok(duration), "{text} is shown as {shown}");
    }
    let _ = strconv::parse_bool(text);
    for base in [0, 2, 10, 16] {
        for bits in [8, 32, 64] {
            let _ = strconv::parse_int(text, base, bits);
            let _ = strconv::parse_uint(text, base, bits);
        }
    }
    let quoted = strconv::quote(text);
    assert!(quoted.starts_with('"') && quoted.ends_with('"'));
    if let Ok(found) = url::parse(text) {
        let shown = found.to_string();
        let again = url::parse(&shown).unwrap_or_else(|error| panic!("{text} is shown as {shown}: {error}"));
        assert_eq!(again.to_string(), shown, "{text}");
        let _ = (found.address(), found.host_port());
    }
    let _ = url::parse_list(text);
    let _ = url::split_host_port(text);
}

pub fn values() -> Play {
    let mut seeds: Vec<Vec<u8>> = [
        "1h2m3.5s",
        "-1us",
        "100ms",
        "0",
        "1e3",
        "0x1F",
        "true",
        "http://127.0.0.1:2379",
        "unix://a:1",
        "https://[::1]:1",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    let mut arguments: Vec<Vec<u8>> = Vec::new();
    for flag in flags::all() {
        let text = flag.text(&mut Config::new());
        arguments.push(format!("--{}={text}", flag.name).into_bytes());
        arguments.push(format!("-{}\n{text}", flag.name).into_bytes());
        if !text.is_empty() {
            seeds.push(text.into_bytes());
        }
    }
    Box::new(move |chance| {
        let text = String::from_utf8_lossy(&chance.damaged(&seeds, &WORDS)).into_owned();
        check_text(&text);
        let mut words = Vec::new();
        for _ in 0..=chance.below(4) {
            let mut argument = chance.pick(&arguments).clone();
            if chance.one_in(2) {
                chance.damage(&mut argument, &WORDS);
            }
            words.extend(String::from_utf8_lossy(&argument).split('\n').map(str::to_owned));
        }
        if let Err(error) = goflag::parse(&words, &mut Ours(Config::new())) {
            assert!(!error.to_string().is_empty());
        }
        if let Err(error) = pflag::parse(&words, &mut Ours(Config::new())) {
            assert!(!error.to_string().is_empty());
        }
    })
}

pub fn yaml() -> Play {
    let mut whole = String::new();
    for flag in flags::all() {
        if let Some(key) = flag.yaml_key() {
            whole.push_str(&format!("{key}: {:?}\n", flag.text(&mut Config::new())));
        }
    }
    let mut seeds: Vec<Vec<u8>> = whole.lines().map(|line| format!("{line}\nname: x\n").into_bytes()).collect();
    seeds.push(whole.into_bytes());
    seeds.push(b"client-transport-security:\n  cert-file: a\n  client-cert-auth: true\n  auto-tls: 1\nlog-outputs: [stderr, a]\n".to_vec());
    seeds.push(b"{name: a, heartbeat-interval: 100, tls-min-version: null, cors: ['*']}".to_vec());
    const WORDS: [&[u8]; 18] = [
        b": ",
        b"\n",
        b"- ",
        b"&a ",
        b"*a",
        b"<<: *a",
        b"!!binary ",
        b"|\n",
        b"{",
        b"}",
        b"[",
        b"]",
        b"~",
        b"0o17",
        b"1e999",
        b"? ",
        b"\t",
        b"---\n",
    ];
    Box::new(move |chance| {
        let bytes = chance.damaged(&seeds, &WORDS);
        if let Err(error) = config::parse_file(&bytes) {
            assert!(!error.to_string().is_empty());
        }
    })
}
