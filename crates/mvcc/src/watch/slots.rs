//! Things with numbers: a number is free for the next one once its thing is gone.

/// Where a thing is, and which of those that were there over time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub slot: u32,
    turn: u32,
}

#[derive(Debug)]
struct Slot<T> {
    turn: u32,
    thing: Option<T>,
}

#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    pub fn insert(&mut self, thing: T) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { turn: 0, thing: None });
            u32::try_from(self.slots.len() - 1).expect("more than 2^32 things")
        });
        self.slots[slot as usize].thing = Some(thing);
        slot
    }

    /// Removes a thing that is there.
    pub fn remove(&mut self, slot: u32) -> T {
        let place = &mut self.slots[slot as usize];
        place.turn = place.turn.wrapping_add(1);
        self.free.push(slot);
        place.thing.take().expect("removing from an empty slot")
    }

    /// The thing, which has to be there.
    pub fn at(&self, slot: u32) -> &T {
        self.slots[slot as usize].thing.as_ref().expect("slot is empty")
    }

    /// The thing, which has to be there.
    pub fn at_mut(&mut self, slot: u32) -> &mut T {
        self.slots[slot as usize].thing.as_mut().expect("slot is empty")
    }

    pub fn ticket(&self, slot: u32) -> Ticket {
        Ticket {
            slot,
            turn: self.slots[slot as usize].turn,
        }
    }

    /// Whether the thing that the ticket was given for is still there.
    pub fn has(&self, ticket: Ticket) -> bool {
        self.slots
            .get(ticket.slot as usize)
            .is_some_and(|slot| slot.turn == ticket.turn && slot.thing.is_some())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter_map(|(at, slot)| Some((at as u32, slot.thing.as_mut()?)))
    }
}
