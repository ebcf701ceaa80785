//! What happened in a run: a running hash of everything, and the last lines for whoever has to find out why.

use std::collections::VecDeque;
use std::fmt;

use super::Micros;

/// Lines kept for the report of a failure.
const KEPT: usize = 400;

/// One event, as numbers: they are cheap to keep and only made into text when something failed.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub at: Micros,
    pub host: usize,
    pub what: &'static str,
    pub numbers: [u64; 4],
}

#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    count: u64,
    last: VecDeque<Line>,
    /// Lines that end up in the report however long ago they were: starts, crashes, faults.
    marked: VecDeque<Line>,
}

impl Trace {
    /// Adds a line. The order and content of all lines is the run's log hash.
    pub fn line(&mut self, at: Micros, host: usize, what: &'static str, numbers: [u64; 4]) {
        let line = Line { at, host, what, numbers };
        self.mix(at);
        self.mix(host as u64);
        for byte in what.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        for number in numbers {
            self.mix(number);
        }
        self.count += 1;
        keep(&mut self.last, line);
    }

    /// The same for what is rare and explains much.
    pub fn mark(&mut self, at: Micros, host: usize, what: &'static str, numbers: [u64; 4]) {
        self.line(at, host, what, numbers);
        keep(&mut self.marked, Line { at, host, what, numbers });
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.hash ^= self.hash >> 29;
    }

    /// The log hash: equal for two runs of one seed.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Lines so far.
    pub fn count(&self) -> u64 {
        self.count
    }
}

fn keep(list: &mut VecDeque<Line>, line: Line) {
    if list.len() == KEPT {
        list.pop_front();
    }
    list.push_back(line);
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { at, host, what, numbers } = self;
        write!(out, "{:>12.6} s  m{host}  {what:<22}", *at as f64 / 1e6)?;
        for number in numbers {
            match u32::try_from(*number) {
                Ok(small) => write!(out, " {small}")?,
                Err(_) => write!(out, " {number:x}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "starts, crashes and faults:")?;
        for line in &self.marked {
            writeln!(out, "  {line}")?;
        }
        writeln!(out, "the last {} of {} lines:", self.last.len(), self.count)?;
        for line in &self.last {
            writeln!(out, "  {line}")?;
        }
        Ok(())
    }
}
