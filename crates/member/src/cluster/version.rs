//! Versions as the cluster speaks of them.

use std::fmt;
use std::str::FromStr;

/// `major.minor.patch`. What follows (pre-release, build) is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    pub const fn new(major: u32, minor: u32, patch: u32) -> Version {
        Version { major, minor, patch }
    }

    /// The version this binary speaks as a member of a cluster: `3.7.0`.
    pub fn server_minor() -> Version {
        // The text is a constant of this build; its test reads it.
        api::SERVER_VERSION
            .parse::<Version>()
            .map(Version::whole_minor)
            .unwrap_or(Version::new(3, 7, 0))
    }

    /// The same with patch 0: what cluster and storage versions look like.
    pub fn whole_minor(self) -> Version {
        Version { patch: 0, ..self }
    }

    /// Whether major and minor are equal.
    pub fn same_minor(self, other: Version) -> bool {
        self.whole_minor() == other.whole_minor()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version")]
pub struct NotAVersion(pub String);

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Version, NotAVersion> {
        let refuse = || NotAVersion(text.to_string());
        let core = text.split(['-', '+']).next().unwrap_or(text);
        let mut parts = core.split('.');
        let mut number = || {
            let part = parts.next().ok_or_else(refuse)?;
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if digits {
                part.parse::<u32>().map_err(|_| refuse())
            } else {
                Err(refuse())
            }
        };
        let version = Version::new(number()?, number()?, number()?);
        if parts.next().is_some() {
            return Err(refuse());
        }
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        assert_eq!("3.7.1".parse(), Ok(Version::new(3, 7, 1)));
        assert_eq!("3.6.0-alpha.0+git".parse(), Ok(Version::new(3, 6, 0)));
        for bad in ["", "3", "3.7", "3.7.x", "3.7.1.2", "v3.7.1", "3..1"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
        assert_eq!(Version::server_minor().to_string(), "3.7.0");
        assert!(Version::new(3, 10, 0) > Version::new(3, 9, 9));
    }
}
