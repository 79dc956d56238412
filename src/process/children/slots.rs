//! Numbered places that are used again, with numbers that are not.

/// Numbers of entries are below 2^62: epoll knows other things by those from there on.
const GENERATIONS: u32 = 1 << 30;

/// A table whose entries are found by a number, cheaply, and never by the number of an earlier entry in the same place.
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

/// An entry's number. The kernel keeps it as 64 bits and gives it back with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    index: u32,
    generation: u32,
}

struct Slot<T> {
    /// How many entries have left it, modulo [`GENERATIONS`].
    generation: u32,
    entry: Option<T>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Makes an entry, which may know its number.
    pub(super) fn insert_with(&mut self, make: impl FnOnce(Token) -> T) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: None });
            u32::try_from(self.slots.len() - 1).expect("the kernel has fewer than 2^32 processes")
        });
        let slot = self.slots.get_mut(index as usize).expect("free and new indices are within the table");
        let token = Token { index, generation: slot.generation };
        slot.entry = Some(make(token));
        token
    }

    pub(super) fn get(&self, token: Token) -> Option<&T> {
        let slot = self.slots.get(token.index as usize)?;
        slot.entry.as_ref().filter(|_| slot.generation == token.generation)
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let slot = self.slots.get_mut(token.index as usize)?;
        slot.entry.as_mut().filter(|_| slot.generation == token.generation)
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<T> {
        let slot = self.slots.get_mut(token.index as usize).filter(|slot| slot.generation == token.generation)?;
        let entry = slot.entry.take()?;
        slot.generation = (slot.generation + 1) % GENERATIONS;
        self.free.push(token.index);
        Some(entry)
    }
}

impl From<Token> for u64 {
    fn from(token: Token) -> Self {
        Self::from(token.generation) << 32 | Self::from(token.index)
    }
}

impl From<u64> for Token {
    fn from(number: u64) -> Self {
        Self { index: number as u32, generation: (number >> 32) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_used_again_is_not_found_by_its_old_number() {
        let mut slots = Slots::new();
        let first = slots.insert_with(|_| 'a');
        let other = slots.insert_with(|_| 'b');
        assert_eq!(slots.remove(first), Some('a'));
        assert_eq!(slots.remove(first), None);

        let second = slots.insert_with(|_| 'c');
        assert_eq!(second.index, first.index, "a free place is used before a new one is made");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!((slots.get(second), slots.get(other)), (Some(&'c'), Some(&'b')));
    }

    #[test]
    fn numbers_never_become_those_of_other_things() {
        let mut slots = Slots::new();
        let first = slots.insert_with(|_| ());
        slots.remove(first);
        slots.slots[0].generation = GENERATIONS - 1;
        let last = slots.insert_with(|_| ());
        assert!(u64::from(last) < 1 << 62);
        slots.remove(last);
        assert!(u64::from(slots.insert_with(|_| ())) < 1 << 62);
    }

    #[test]
    fn a_number_survives_the_kernel() {
        let token = Token { index: u32::MAX - 1, generation: 7 };
        assert_eq!(Token::from(u64::from(token)), token);
    }
}
