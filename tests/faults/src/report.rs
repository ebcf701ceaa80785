//! What is printed of each fault.

use std::fmt;
use std::time::Duration;

use crate::fault::Fault;
use crate::options::Options;

pub struct Row {
    pub fault: Fault,
    election: Duration,
    /// Of each round, from the fault to the first acknowledged write that began after it.
    pub gaps: Vec<Duration>,
    pub round_time: Duration,
    pub operations: usize,
    pub unanswered: usize,
    pub acknowledged: usize,
    pub lost: usize,
    pub revision: i64,
    /// `None`: not linearizable (or not judged).
    pub keys: Option<usize>,
    /// `None`: not complete (or not judged).
    pub events: Option<usize>,
    pub are_hashes_equal: bool,
    pub violations: Vec<String>,
}

impl Row {
    pub fn new(fault: Fault, options: &Options) -> Row {
        Row {
            fault,
            election: options.election,
            gaps: Vec::new(),
            round_time: Duration::ZERO,
            operations: 0,
            unanswered: 0,
            acknowledged: 0,
            lost: 0,
            revision: 0,
            keys: None,
            events: None,
            are_hashes_equal: false,
            violations: Vec::new(),
        }
    }

    fn gap(&self, gap: Option<&Duration>) -> String {
        let Some(gap) = gap else { return String::from("-") };
        format!(
            "{:.0} ms ({:.2} el.)",
            gap.as_secs_f64() * 1e3,
            gap.as_secs_f64() / self.election.as_secs_f64()
        )
    }
}

/// The middle of sorted ones; of an even number the mean of the two in the middle.
fn median(sorted: &[Duration]) -> Option<Duration> {
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some((*low + *high) / 2)
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gaps = self.gaps.clone();
        gaps.sort_unstable();
        let said = |is_so: bool| if is_so { "yes" } else { "NO" };
        let count = |count: Option<usize>| count.unwrap_or_default();
        writeln!(
            f,
            "{:<14} {} rounds in {:.0} s; gap median {}, worst {}",
            self.fault.name(),
            gaps.len(),
            self.round_time.as_secs_f64(),
            self.gap(median(&gaps).as_ref()),
            self.gap(gaps.last())
        )?;
        writeln!(
            f,
            "    {} operations ({} unanswered), {} acknowledged writes, {} lost, revision {}",
            self.operations, self.unanswered, self.acknowledged, self.lost, self.revision
        )?;
        write!(
            f,
            "    linearizable: {} ({} keys); watches complete: {} ({} events); HashKV equal: {}",
            said(self.keys.is_some()),
            count(self.keys),
            said(self.events.is_some()),
            count(self.events),
            said(self.are_hashes_equal)
        )?;
        for violation in &self.violations {
            write!(f, "\n    VIOLATION: {}", violation.trim_end().replace('\n', "\n      "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_gaps() {
        let median = |gaps: &[u64]| median(&gaps.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>());
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[4]), Some(Duration::from_millis(4)));
        assert_eq!(median(&[4, 6]), Some(Duration::from_millis(5)));
        assert_eq!(median(&[4, 6, 100]), Some(Duration::from_millis(6)));
    }
}
