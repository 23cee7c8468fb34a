//! A bounded number of things, each with a number that stays its own.

/// At most `limit` of them.
pub struct Slots<T> {
    all: Vec<Option<T>>,
    free: Vec<usize>,
    limit: usize,
}

impl<T> Slots<T> {
    /// None yet.
    pub fn new(limit: usize) -> Self {
        Self { all: Vec::new(), free: Vec::new(), limit }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// No more will be taken.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// The number that the next one gets; nothing when it is full.
    pub fn next(&self) -> Option<usize> {
        (!self.is_full()).then(|| self.free.last().copied().unwrap_or(self.all.len()))
    }

    /// Takes one in; its number, or nothing when it is full.
    pub fn insert(&mut self, thing: T) -> Option<usize> {
        let at = self.next()?;
        if self.free.pop().is_some() {
            self.all[at] = Some(thing);
        } else {
            self.all.push(Some(thing));
        }
        Some(at)
    }

    /// The one with this number.
    pub fn get(&self, at: usize) -> Option<&T> {
        self.all.get(at)?.as_ref()
    }

    /// The one with this number.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.all.get_mut(at)?.as_mut()
    }

    /// Takes one out.
    pub fn remove(&mut self, at: usize) -> Option<T> {
        let gone = self.all.get_mut(at)?.take()?;
        self.free.push(at);
        if self.len() == 0 {
            // A flood leaves no memory behind.
            self.all = Vec::new();
            self.free = Vec::new();
        }
        Some(gone)
    }

    /// All, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.all.iter().enumerate().filter_map(|(at, thing)| Some((at, thing.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_and_bounded() {
        let mut slots = Slots::new(2);
        assert_eq!(
            (slots.insert('a'), slots.insert('b'), slots.insert('c')),
            (Some(0), Some(1), None)
        );
        assert_eq!(slots.remove(0), Some('a'));
        assert_eq!(slots.remove(0), None);
        assert_eq!((slots.insert('d'), slots.get(0)), (Some(0), Some(&'d')));
        assert_eq!(slots.iter().map(|(at, c)| (at, *c)).collect::<Vec<_>>(), [(0, 'd'), (1, 'b')]);
    }
}
