//! The feature gates: which there are, how `--feature-gates` switches them.
//!
//! The texts are those of Kubernetes' gates, which etcd uses. A gate whose feature does not exist here yet can't be turned on.

use compat::strconv;
use std::collections::BTreeMap;
use std::fmt;

/// How far along a gate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Off by default.
    Alpha,
    /// On by default.
    Beta,
}

/// One gate.
#[derive(Debug)]
pub struct Gate {
    /// The name users write.
    pub name: &'static str,
    /// How far along it is; also its default.
    pub stage: Stage,
    /// It stands for all gates of its stage.
    pub generic: bool,
    /// Turning it on has its effect, or can't have one.
    pub exists: bool,
}

/// All gates, in the order of their names.
pub const GATES: &[Gate] = &[
    Gate {
        name: "AllAlpha",
        stage: Stage::Alpha,
        generic: true,
        exists: true,
    },
    Gate {
        name: "AllBeta",
        stage: Stage::Beta,
        generic: true,
        exists: true,
    },
    Gate {
        name: "CompactHashCheck",
        stage: Stage::Alpha,
        generic: false,
        exists: false,
    },
    Gate {
        name: "FastLeaseKeepAlive",
        stage: Stage::Beta,
        generic: false,
        exists: true,
    },
    Gate {
        name: "InitialCorruptCheck",
        stage: Stage::Alpha,
        generic: false,
        exists: false,
    },
    Gate {
        name: "LeaseCheckpoint",
        stage: Stage::Alpha,
        generic: false,
        exists: false,
    },
    Gate {
        name: "LeaseCheckpointPersist",
        stage: Stage::Alpha,
        generic: false,
        exists: false,
    },
    Gate {
        name: "PriorityRequest",
        stage: Stage::Alpha,
        generic: false,
        exists: false,
    },
    Gate {
        name: "SetMemberLocalAddr",
        stage: Stage::Alpha,
        generic: false,
        exists: false,
    },
    // Defragmentation pauses nothing here, so there is nothing to stop for it.
    Gate {
        name: "StopGRPCServiceOnDefrag",
        stage: Stage::Alpha,
        generic: false,
        exists: true,
    },
    Gate {
        name: "TxnModeWriteWithSharedBuffer",
        stage: Stage::Beta,
        generic: false,
        exists: true,
    },
];

/// Why a list of gates was refused; the text is the gates' own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// A name without a value.
    #[error("missing bool value for {0}")]
    MissingValue(String),
    /// Neither true nor false.
    #[error("invalid value of {0}={1}, err: {2}")]
    InvalidValue(String, String, strconv::NumError),
    /// No such gate.
    #[error("unrecognized feature gate: {0}")]
    Unknown(String),
}

/// The gates that were switched; the others have their default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureGates {
    switched: BTreeMap<&'static str, bool>,
}

impl FeatureGates {
    /// Switches gates as `NAME=true,NAME=false` says; nothing is switched when anything is wrong.
    ///
    /// # Errors
    /// `GateError` for the first wrong part.
    pub fn set(&mut self, text: &str) -> Result<(), GateError> {
        let mut wanted: BTreeMap<&str, bool> = BTreeMap::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| GateError::MissingValue(part.trim().to_owned()))?;
            let (name, value) = (name.trim(), value.trim());
            let on = strconv::parse_bool(value).map_err(|error| GateError::InvalidValue(name.to_owned(), value.to_owned(), error))?;
            wanted.insert(name, on);
        }
        let mut switched = self.switched.clone();
        for (name, on) in wanted {
            let gate = find(name).ok_or_else(|| GateError::Unknown(name.to_owned()))?;
            switched.insert(gate.name, on);
        }
        self.switched = switched;
        Ok(())
    }

    /// Whether the gate of this name is on. A name that stands in no list is off.
    pub fn is_on(&self, name: &str) -> bool {
        let Some(gate) = find(name) else { return false };
        if let Some(on) = self.switched.get(gate.name) {
            return *on;
        }
        let all = if gate.stage == Stage::Alpha { "AllAlpha" } else { "AllBeta" };
        match self.switched.get(all) {
            Some(on) if !gate.generic => *on,
            _ => gate.stage == Stage::Beta && !gate.generic,
        }
    }

    /// The first gate that is on although its feature does not exist here yet.
    pub fn first_missing(&self) -> Option<&'static str> {
        GATES
            .iter()
            .find(|gate| !gate.exists && self.is_on(gate.name))
            .map(|gate| gate.name)
    }
}

impl fmt::Display for FeatureGates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, on)) in self.switched.iter().enumerate() {
            write!(out, "{}{name}={on}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

fn find(name: &str) -> Option<&'static Gate> {
    GATES.iter().find(|gate| gate.name == name)
}
