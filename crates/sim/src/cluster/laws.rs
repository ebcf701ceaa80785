//! What must hold of the members themselves at every moment: one leader a term, one entry an index, one state an index.

use std::collections::BTreeMap;

use super::life::StateHash;

/// What was seen first, and by whom.
#[derive(Debug, Default)]
pub struct Laws {
    leaders: BTreeMap<u64, (u64, usize)>,
    entries: BTreeMap<u64, (u64, u32, usize)>,
    states: BTreeMap<u64, (StateHash, usize)>,
}

impl Laws {
    /// A member knows this leader of this term; 0: none.
    ///
    /// # Errors
    /// Another one was known before.
    pub fn leader(&mut self, host: usize, term: u64, leader: u64) -> Result<(), String> {
        if leader == 0 {
            return Ok(());
        }
        let (first, by) = *self.leaders.entry(term).or_insert((leader, host));
        if first == leader {
            Ok(())
        } else {
            Err(format!("two leaders of term {term}: {first:x} (m{by}) and {leader:x} (m{host})"))
        }
    }

    /// A member was handed this committed entry.
    ///
    /// # Errors
    /// Another entry was committed there before.
    pub fn committed(&mut self, host: usize, (index, term, sum): (u64, u64, u32)) -> Result<(), String> {
        let (first_term, first_sum, by) = *self.entries.entry(index).or_insert((term, sum, host));
        if (first_term, first_sum) == (term, sum) {
            Ok(())
        } else {
            Err(format!(
                "two committed entries at index {index}: term {first_term}, sum {first_sum:x} (m{by}) and term {term}, sum {sum:x} (m{host})"
            ))
        }
    }

    /// A member's state once this index is applied.
    ///
    /// # Errors
    /// Another member, or another life of this one, had another state there.
    pub fn state(&mut self, host: usize, index: u64, state: StateHash) -> Result<(), String> {
        let (first, by) = *self.states.entry(index).or_insert((state, host));
        if first == state {
            Ok(())
        } else {
            Err(format!("two states at index {index}: {first:?} (m{by}) and {state:?} (m{host})"))
        }
    }

    /// Terms that had a leader.
    pub fn terms(&self) -> usize {
        self.leaders.len()
    }

    /// The highest committed index.
    pub fn last(&self) -> u64 {
        self.entries.last_key_value().map_or(0, |(index, _)| *index)
    }
}
