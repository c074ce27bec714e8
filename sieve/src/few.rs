//! A list that is mostly short.

/// The first `N` are kept in place.
#[derive(Debug, Clone)]
pub(crate) struct Few<T, const N: usize> {
    here: [Option<T>; N],
    rest: Vec<T>,
}

impl<T, const N: usize> Few<T, N> {
    pub(crate) const fn new() -> Self {
        Self { here: [const { None }; N], rest: Vec::new() }
    }

    pub(crate) fn push(&mut self, value: T) {
        match self.here.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(value),
            None => self.rest.push(value),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        match self.here.get(index) {
            Some(slot) => slot.as_ref(),
            None => self.rest.get(index - N),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.here.iter().all(Option::is_none) && self.rest.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.here.iter().flatten().chain(&self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_pushing() {
        let mut few = Few::<_, 2>::new();
        assert!(
            few.is_empty() && few.iter().next().is_none() && few.get(0).is_none() && few.get(2).is_none()
        );
        for number in 0..5 {
            few.push(number);
        }
        assert!(!few.is_empty() && few.iter().copied().eq(0..5));
        assert_eq!((few.get(1), few.get(2), few.get(5)), (Some(&1), Some(&2), None));
    }
}
