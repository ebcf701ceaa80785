//! The flags of `etcd`, as data: the one list from which the command line, the `ETCD_*` variables, the configuration file, the
//! defaults and the help come.
//!
//! A test compares it with the contract's table. A flag whose feature is not there yet is marked `planned()`: it is accepted with
//! its default and refused with any other value, never silently ignored. Never reads arguments itself.

mod member;
mod rest;
mod security;
mod value;
mod watching;

use super::feature_gates::FeatureGates;
use super::settings::Config;
use compat::duration::GoDuration;
use compat::url::Url;
use std::collections::BTreeSet;

pub use value::ValueError;

/// Where in the configuration a flag's value lies.
pub type Slot<T> = fn(&mut Config) -> &mut T;

/// The type of a flag and where its value lies.
#[derive(Clone, Copy)]
pub enum Bind {
    /// `true` or `false`; alone on the command line it means true.
    Bool(Slot<bool>),
    /// A whole number.
    Int(Slot<i64>),
    /// A whole number of 64 bits by name; only its name differs from `Int`.
    Int64(Slot<i64>),
    /// A number that is not negative.
    Uint(Slot<u64>),
    /// The same of 32 bits, with other error texts.
    Uint32(Slot<u32>),
    /// The same of 64 bits by name.
    Uint64(Slot<u64>),
    /// A duration with its unit.
    Duration(Slot<GoDuration>),
    /// Any text.
    Text(Slot<String>),
    /// One text of a few.
    Choice(&'static [&'static str], Slot<String>),
    /// Some texts of a few, with commas between.
    Choices(&'static [&'static str], Slot<Vec<String>>),
    /// URLs with commas between.
    Urls(Slot<Vec<Url>>),
    /// URLs with commas between, or `*`.
    Origins(Slot<BTreeSet<String>>),
    /// Texts with commas between, in their order.
    List(Slot<Vec<String>>),
    /// Texts with commas between, each once.
    Set(Slot<BTreeSet<String>>),
    /// Feature gates.
    Gates(Slot<FeatureGates>),
    /// Accepted and ignored since etcd 2.
    Ignored,
    /// Only the help still knows it; given, it is unknown.
    Removed,
}

/// Where a flag stands in the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yaml {
    /// Under the flag's own name.
    Same,
    /// Under another name; a dot leads into a nested map.
    At(&'static str),
    /// Not at all.
    None,
}

/// How a value looks in the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YamlForm {
    /// As its type says: lists are lists, durations are nanoseconds.
    Usual,
    /// A text with commas between, although the type is a list.
    Commas,
    /// Anything: it is ignored.
    Ignored,
}

/// One flag.
#[derive(Clone, Copy)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// Type and place of the value.
    pub bind: Bind,
    /// The default as one would write it; the first two columns of the help.
    pub default: &'static str,
    /// One line for the help.
    pub help: &'static str,
    /// Where it stands in the configuration file.
    pub yaml: Yaml,
    /// How it looks there.
    pub yaml_form: YamlForm,
    /// The feature is not there yet: any other value than the default is refused.
    pub planned: bool,
}

const fn flag(name: &'static str, bind: Bind, default: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        bind,
        default,
        help,
        yaml: Yaml::Same,
        yaml_form: YamlForm::Usual,
        planned: false,
    }
}

const fn ignored(name: &'static str) -> Flag {
    flag(name, Bind::Ignored, "", "").no_yaml()
}

const fn removed(name: &'static str, help: &'static str) -> Flag {
    flag(name, Bind::Removed, "", help).no_yaml()
}

impl Flag {
    const fn yaml(mut self, path: &'static str) -> Flag {
        self.yaml = Yaml::At(path);
        self
    }

    const fn no_yaml(mut self) -> Flag {
        self.yaml = Yaml::None;
        self
    }

    const fn yaml_commas(mut self) -> Flag {
        self.yaml_form = YamlForm::Commas;
        self
    }

    const fn yaml_ignored(mut self) -> Flag {
        self.yaml_form = YamlForm::Ignored;
        self
    }

    const fn planned(mut self) -> Flag {
        self.planned = true;
        self
    }

    /// The variable that sets this flag: `ETCD_` and the name in upper case.
    pub fn variable(&self) -> String {
        format!("ETCD_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// The key in the configuration file, with dots between nested maps.
    pub fn yaml_key(&self) -> Option<&'static str> {
        match self.yaml {
            Yaml::Same => Some(self.name),
            Yaml::At(path) => Some(path),
            Yaml::None => None,
        }
    }

    /// Whether the flag may stand alone on the command line, meaning true.
    pub fn is_bool(&self) -> bool {
        matches!(self.bind, Bind::Bool(_) | Bind::Ignored)
    }
}

/// The groups of the help, in its order.
pub const GROUPS: &[(&str, &[Flag])] = &[
    ("member", member::MEMBER),
    ("clustering", member::CLUSTERING),
    ("security", security::SECURITY),
    ("auth", security::AUTH),
    ("profiling & monitoring", watching::MONITORING),
    ("logging", watching::LOGGING),
    ("distributed tracing", watching::TRACING),
    ("features", rest::FEATURES),
    ("unsafe", rest::UNSAFE),
    ("config", rest::CONFIG),
    ("ignored", rest::IGNORED),
];

/// Every flag that can be given.
pub fn all() -> impl Iterator<Item = &'static Flag> {
    GROUPS
        .iter()
        .flat_map(|(_, flags)| flags.iter())
        .filter(|flag| !matches!(flag.bind, Bind::Removed))
}

/// The flag of this name.
pub fn find(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.name == name)
}

#[cfg(test)]
mod tests;
