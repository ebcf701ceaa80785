//! Which members may talk to each other.

/// Major and minor of a semantic version; order is theirs.
pub(crate) type MajorMinor = (u64, u64);

/// What a member that states no version is taken for.
const UNSTATED: MajorMinor = (2, 0);

/// Reads `3.7.1`, with or without what semantic versions may carry behind. `None` if it is no such version.
pub(crate) fn parse(text: &str) -> Option<MajorMinor> {
    let core = text.split(['-', '+']).next()?;
    let mut parts = core.split('.').map(|part| part.parse::<u64>().ok());
    let (major, minor, patch) = (parts.next()??, parts.next()??, parts.next()?);
    (patch.is_some() && parts.next().is_none()).then_some((major, minor))
}

/// A header's version; `None` when it is there and makes no sense.
pub(crate) fn stated(header: Option<&http::HeaderValue>) -> Option<MajorMinor> {
    header.map_or(Some(UNSTATED), |value| parse(value.to_str().ok()?))
}

/// Whether a sender of this version, which takes clusters from `sender_minimum` on, may talk to us.
pub(crate) fn compatible(sender: MajorMinor, sender_minimum: MajorMinor, own: MajorMinor, own_minimum: MajorMinor) -> bool {
    sender >= own_minimum && sender_minimum <= own
}

/// Whether a member that answers with this version writes streams we can read.
pub(crate) fn streams_supported(remote: MajorMinor, own: MajorMinor) -> bool {
    remote >= own || matches!(remote, (2, 1..=3) | (3.., _))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse("3.7.1"), Some((3, 7)));
        assert_eq!(parse("3.7.0-alpha.0+git"), Some((3, 7)));
        for text in ["", "3", "3.7", "3.7.x", "3.7.1.2", "v3.7.1", "3.-7.1"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(compatible((3, 5), (3, 0), (3, 7), (3, 0)));
        assert!(compatible((4, 0), (3, 7), (3, 7), (3, 0)));
        assert!(!compatible((2, 3), (2, 0), (3, 7), (3, 0)));
        assert!(!compatible((4, 0), (3, 8), (3, 7), (3, 0)));
        assert!(streams_supported((3, 5), (3, 7)) && streams_supported((3, 9), (3, 7)));
        assert!(!streams_supported(UNSTATED, (3, 7)));
    }
}
