//! Failpoints: named places where a test makes the product sleep, fail or die, with gofail's names and terms.
//!
//! `fail::point("walBeforeSync")` does nothing and costs nothing unless the feature `failpoints` is on. The terms come from
//! `GOFAIL_FAILPOINTS` or over HTTP (`GOFAIL_HTTP`, in `compat`). Not for the product's own decisions, ever.

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
/// Passes a failpoint. What comes back is the text of a `return("...")` term, if one is armed here.
pub fn point(_name: &'static str) -> Option<String> {
    None
}
