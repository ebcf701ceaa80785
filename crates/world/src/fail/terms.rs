//! gofail's terms: `2*return("text")->50.0%sleep("10ms")->off`.
//!
//! A chain of terms; of these the first whose prefixes all allow it fires. `N*` allows N times, `P%` (with a decimal point) with
//! that probability. A value is a quoted text, a number, a boolean, or nothing.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Off,
    Return(String),
    Sleep(Duration),
    /// With the value printed, or the failpoint's name.
    Panic(Option<String>),
    Print,
}

#[derive(Debug)]
enum Prefix {
    Times(u64),
    Chance(f64),
}

#[derive(Debug)]
struct Term {
    prefixes: Vec<Prefix>,
    action: Action,
}

#[derive(Debug)]
pub(super) struct Terms {
    text: String,
    chain: Vec<Term>,
    fired: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    /// Nothing in brackets, or no brackets at the end of all: Go's `struct{}{}`.
    Empty,
    Text(String),
    Number(i64),
    Bool(bool),
}

impl Terms {
    /// Reads a chain of terms; `None` if it is malformed or empty.
    pub(super) fn parse(text: &str) -> Option<Terms> {
        let mut chain = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (term, after) = parse_term(rest)?;
            chain.push(term);
            rest = match after.strip_prefix("->") {
                Some(next) => next,
                None if after.is_empty() => after,
                None => return None,
            };
        }
        (!chain.is_empty()).then(|| Terms {
            text: text.to_owned(),
            chain,
            fired: 0,
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn fired(&self) -> u64 {
        self.fired
    }

    /// The action of the term that fires this time. `chance` gives numbers in 0..1.
    pub(super) fn next(&mut self, chance: &mut dyn FnMut() -> f64) -> Option<Action> {
        for term in &mut self.chain {
            let allowed = term.prefixes.iter_mut().all(|prefix| match prefix {
                Prefix::Times(0) => false,
                Prefix::Times(left) => {
                    *left -= 1;
                    true
                }
                Prefix::Chance(share) => chance() <= *share,
            });
            if allowed {
                self.fired += 1;
                return Some(term.action.clone());
            }
        }
        None
    }
}

fn parse_term(text: &str) -> Option<(Term, &str)> {
    let mut rest = text;
    let mut prefixes = Vec::new();
    while rest.starts_with(|c: char| c.is_ascii_digit()) {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        if let Some(next) = after.strip_prefix('*').filter(|_| !number.contains('.')) {
            prefixes.push(Prefix::Times(number.parse().ok()?));
            rest = next;
        } else {
            // gofail wants the decimal point; without it there is no reason to refuse.
            rest = after.strip_prefix('%')?;
            prefixes.push(Prefix::Chance(number.parse::<f64>().ok()? / 100.0));
        }
    }
    let name = ["off", "return", "sleep", "panic", "print"]
        .into_iter()
        .find(|name| rest.starts_with(name))?;
    let (value, rest) = parse_value(&rest[name.len()..])?;
    let action = match (name, value) {
        ("return", value) => Action::Return(value.map_or(String::new(), show)),
        ("sleep", Some(Value::Number(millis))) => Action::Sleep(Duration::from_millis(u64::try_from(millis).unwrap_or(0))),
        ("sleep", Some(Value::Text(duration))) => Action::Sleep(parse_duration(&duration)?),
        ("sleep", _) => return None,
        ("panic", value) => Action::Panic(value.filter(|value| *value != Value::Empty).map(show)),
        ("print", _) => Action::Print,
        _ => Action::Off,
    };
    Some((Term { prefixes, action }, rest))
}

fn show(value: Value) -> String {
    match value {
        Value::Empty => String::new(),
        Value::Text(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
    }
}

fn parse_value(text: &str) -> Option<(Option<Value>, &str)> {
    let Some(inside) = text.strip_prefix('(') else {
        return Some((text.is_empty().then_some(Value::Empty), text));
    };
    if let Some(quoted) = inside.strip_prefix('"') {
        let (value, rest) = parse_quoted(quoted)?;
        return Some((Some(Value::Text(value)), rest.strip_prefix(')')?));
    }
    let (value, rest) = inside.split_once(')')?;
    let value = match value {
        "" => Value::Empty,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        number => Value::Number(number.parse().ok()?),
    };
    Some((Some(value), rest))
}

/// Reads up to the closing quote, with the common escapes.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                c @ ('"' | '\\' | '\'') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

/// Go's durations: `1h2m3.5s`, `100ms`, `10us`. A negative one sleeps not at all.
fn parse_duration(text: &str) -> Option<Duration> {
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len()));
        let unit = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = after;
    }
    if text.is_empty() {
        return None;
    }
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    Some(if negative { Duration::ZERO } else { time })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> Option<Action> {
        Terms::parse(text)?.next(&mut || 0.5)
    }

    #[test]
    fn terms_are_read() {
        let ms = |n| Some(Action::Sleep(Duration::from_millis(n)));
        assert_eq!(first("off"), Some(Action::Off));
        assert_eq!(first("print"), Some(Action::Print));
        assert_eq!(first("return"), Some(Action::Return(String::new())));
        assert_eq!(first("return()"), Some(Action::Return(String::new())));
        assert_eq!(first(r#"return("a\"b)")"#), Some(Action::Return("a\"b)".to_owned())));
        assert_eq!(first("return(17)"), Some(Action::Return("17".to_owned())));
        assert_eq!(first("return(true)"), Some(Action::Return("true".to_owned())));
        assert_eq!(first("sleep(100)"), ms(100));
        assert_eq!(first(r#"sleep("1m1.5s")"#), ms(61_500));
        assert_eq!(first(r#"sleep("-1s")"#), ms(0));
        assert_eq!(first("panic"), Some(Action::Panic(None)));
        assert_eq!(first(r#"panic("no")"#), Some(Action::Panic(Some("no".to_owned()))));
        assert_eq!(first("40.0%off->print"), Some(Action::Print));
        assert_eq!(first("60.0%off->print"), Some(Action::Off));
        assert_eq!(first("3*60.0%0*off->print"), Some(Action::Print));
    }

    #[test]
    fn malformed_terms_are_refused() {
        let bad = [
            "",
            "jump",
            "3",
            "3*",
            "1.5*off",
            "return(",
            "return(x)",
            "return(\"x)",
            "off off",
            "off-",
            "sleep",
            "sleep(true)",
            "sleep(\"1\")",
            "sleep(\"\")",
        ];
        for text in bad {
            assert!(Terms::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn counts_run_out() {
        let mut terms = Terms::parse("2*print->1*off").unwrap();
        let fired: Vec<_> = (0..4).map(|_| terms.next(&mut || 0.0)).collect();
        assert_eq!(fired, [Some(Action::Print), Some(Action::Print), Some(Action::Off), None]);
        assert_eq!(terms.fired(), 3);
    }
}
