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
            self.gap(gaps.get(gaps.len() / 2)),
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
