//! The `ETCD_*` variables: each sets the flag of its name, unless the command line did.
//!
//! A flag that is given twice, on the command line and by its variable, is fatal: one of the two would be ignored without a word.

use super::Config;
use super::flags;
use crate::log::{self, field};
use std::collections::BTreeSet;

/// A variable that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A value that was refused.
    #[error("invalid value {} for {variable}: {reason}", compat::strconv::quote(value))]
    Value {
        /// The variable's name.
        variable: String,
        /// What it holds.
        value: String,
        /// Why that is wrong.
        reason: String,
    },
    /// The flag was given on the command line too. Logged as fatal, with the variable's name.
    #[error("{0} is shadowed by the command line")]
    Shadowed(String),
}

/// What the log says of a shadowed variable; etcd's own words.
pub(super) const SHADOWED: &str =
    "conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable or disable flag))";

/// Sets flags from variables, in the order of the flags' names. Of several wrong ones the last is reported.
///
/// # Errors
/// `EnvironmentError`; the flags of good variables are set nevertheless.
pub(super) fn apply(config: &mut Config, environment: &[(String, String)]) -> Result<(), EnvironmentError> {
    let given: BTreeSet<String> = config
        .set
        .iter()
        .filter_map(|name| flags::find(name))
        .map(flags::Flag::variable)
        .collect();
    let mut used = BTreeSet::new();
    let mut result = Ok(());
    let mut sorted: Vec<&flags::Flag> = flags::all().collect();
    sorted.sort_by_key(|flag| flag.name);
    for flag in sorted {
        let variable = flag.variable();
        let value = environment
            .iter()
            .find(|(name, value)| *name == variable && !value.is_empty())
            .map(|(_, value)| value);
        let Some(value) = value.filter(|_| !given.contains(&variable)) else {
            continue;
        };
        used.insert(variable.clone());
        match flag.set(config, value) {
            Ok(()) => {
                config.set.insert(flag.name);
                log::info(
                    "recognized and used environment variable",
                    &[field("variable-name", &variable), field("variable-value", value)],
                );
            }
            Err(reason) => {
                result = Err(EnvironmentError::Value {
                    variable,
                    value: value.clone(),
                    reason: reason.to_string(),
                })
            }
        }
    }
    for (name, value) in environment {
        if used.contains(name) {
            continue;
        }
        if given.contains(name) {
            return Err(EnvironmentError::Shadowed(name.clone()));
        }
        if name.starts_with("ETCD_") {
            log::warn(
                "unrecognized environment variable",
                &[field("environment-variable", format!("{name}={value}"))],
            );
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn sets_what_the_command_line_did_not() {
        let mut config = Config::new();
        config.set.insert("name");
        apply(
            &mut config,
            &variables(&[
                ("ETCD_HEARTBEAT_INTERVAL", "50"),
                ("ETCD_DATA_DIR", ""),
                ("HOME", "/"),
                ("ETCD_OTHER", "1"),
            ]),
        )
        .unwrap();
        assert_eq!(config.heartbeat_interval, 50);
        assert!(config.is_set("heartbeat-interval") && !config.is_set("data-dir"));
    }

    #[test]
    fn refuses_as_etcd() {
        let mut config = Config::new();
        let error = apply(&mut config, &variables(&[("ETCD_HEARTBEAT_INTERVAL", "x")])).unwrap_err();
        assert_eq!(error.to_string(), "invalid value \"x\" for ETCD_HEARTBEAT_INTERVAL: parse error");
        config.set.insert("name");
        let error = apply(&mut config, &variables(&[("ETCD_NAME", "")])).unwrap_err();
        assert_eq!(error, EnvironmentError::Shadowed("ETCD_NAME".to_owned()));
    }
}
