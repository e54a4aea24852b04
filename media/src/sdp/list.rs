//! A short list that lives in place, so that what is agreed can be copied to a media thread.

/// How many formats of one kind a list keeps; more codecs than we will ever build.
pub const MAX_FORMATS: usize = 8;

/// Up to [`MAX_FORMATS`] values, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<T>([Option<T>; MAX_FORMATS]);

impl<T: Copy + PartialEq> List<T> {
    /// An empty list.
    pub fn new() -> Self {
        Self([None; MAX_FORMATS])
    }

    /// Adds `value` unless it is there already; a full list stays as it is.
    pub fn insert(&mut self, value: T) {
        if self.iter().any(|known| known == value) {
            return;
        }
        if let Some(free) = self.0.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(value);
        }
    }

    /// The values, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.0.iter().copied().flatten()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<T: Copy + PartialEq> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy + PartialEq> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut list = Self::new();
        for value in values {
            list.insert(value);
        }
        list
    }
}
