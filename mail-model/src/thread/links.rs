//! Which message answers which, as far as they say so: REFERENCES, steps 1 to 3 (RFC 5256 §3).

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Forest, Place};

/// How many steps up a tree each message and identifier pays for. Where they are spent, a link that might close a ring is
/// not made; mail that nobody has twisted on purpose needs next to none.
const STEPS: usize = 64;

/// Containers: one for each message and for each identifier that is spoken of, and what hangs from what.
#[derive(Debug, Default)]
pub(super) struct Links {
    known: HashMap<Box<[u8]>, usize>,
    containers: Vec<Container>,
    steps: usize,
}

#[derive(Debug)]
struct Container {
    message: Option<usize>,
    parent: Option<usize>,
    /// For telling quickly that two are in different trees: leads to one that stands for all that were ever linked.
    set: usize,
}

impl Links {
    pub(super) fn add(&mut self, message: usize, id: Option<&[u8]>, references: &[Cow<'_, [u8]>]) {
        self.steps = self.steps.saturating_add(STEPS * (1 + references.len()));
        let own = match id.map(|id| self.named(id)) {
            Some(own) if self.containers.get(own).is_some_and(|own| own.message.is_none()) => own,
            // Without an identifier, or with one that another has already.
            _ => self.anew(),
        };
        if let Some(own) = self.containers.get_mut(own) {
            own.message = Some(message);
        }
        // Step 1.A: each answers the one before it, unless it is known to answer another.
        let mut last = None;
        for reference in references {
            let here = self.named(reference);
            if let Some(last) = last
                && self.parent(here).is_none()
            {
                self.link(here, last);
            }
            last = Some(here);
        }
        // Step 1.B: what the message says of itself counts more than what others say.
        if self.parent(own) != last {
            if let Some(own) = self.containers.get_mut(own) {
                own.parent = None;
            }
            if let Some(last) = last {
                self.link(own, last);
            }
        }
    }

    fn named(&mut self, id: &[u8]) -> usize {
        if let Some(known) = self.known.get(id) {
            return *known;
        }
        let new = self.anew();
        self.known.insert(id.into(), new);
        new
    }

    fn anew(&mut self) -> usize {
        let index = self.containers.len();
        self.containers.push(Container { message: None, parent: None, set: index });
        index
    }

    fn parent(&self, of: usize) -> Option<usize> {
        self.containers.get(of)?.parent
    }

    /// Hangs one that hangs from nothing below another, unless a ring came of it.
    fn link(&mut self, child: usize, parent: usize) {
        let (one, other) = (self.set(child), self.set(parent));
        if one == other && self.is_above(child, parent) {
            return;
        }
        if let Some(container) = self.containers.get_mut(one) {
            container.set = other;
        }
        if let Some(container) = self.containers.get_mut(child) {
            container.parent = Some(parent);
        }
    }

    /// The one that stands for a set, the way there halved.
    fn set(&mut self, mut of: usize) -> usize {
        while let Some(next) =
            self.containers.get(of).map(|container| container.set).filter(|next| *next != of)
        {
            let further = self.containers.get(next).map_or(next, |container| container.set);
            if let Some(container) = self.containers.get_mut(of) {
                container.set = further;
            }
            of = further;
        }
        of
    }

    /// Whether a container is, or may be, on the way from another to its root.
    fn is_above(&mut self, container: usize, mut other: usize) -> bool {
        loop {
            if other == container || self.steps == 0 {
                return true;
            }
            self.steps -= 1;
            match self.parent(other) {
                Some(parent) => other = parent,
                None => return false,
            }
        }
    }

    /// Steps 2 and 3: the trees, without places for messages that are not there but where several hang from one.
    pub(super) fn prune(self) -> Forest {
        let Self { containers, .. } = self;
        let mut places: Vec<Place> = containers
            .iter()
            .map(|container| Place { message: container.message, children: Vec::new() })
            .collect();
        let mut roots = Vec::new();
        for (index, container) in containers.iter().enumerate() {
            match container.parent.and_then(|parent| places.get_mut(parent)) {
                Some(parent) => parent.children.push(index),
                None => roots.push(index),
            }
        }
        drop(containers);
        let mut order = roots.clone();
        let mut done = 0;
        while let Some(place) = order.get(done).and_then(|place| places.get(*place)) {
            order.extend_from_slice(&place.children.clone());
            done += 1;
        }
        for place in order.into_iter().rev() {
            let children = take(&mut places, place);
            let mut kept: Vec<usize> = Vec::with_capacity(children.len());
            for child in children {
                if places.get(child).is_some_and(|child| child.message.is_some()) {
                    kept.push(child);
                    continue;
                }
                // What hung from it hangs from what is above it. The longer list takes in the shorter: no one is moved often.
                let mut below = take(&mut places, child);
                if below.len() > kept.len() {
                    std::mem::swap(&mut below, &mut kept);
                }
                kept.append(&mut below);
            }
            if let Some(place) = places.get_mut(place) {
                place.children = kept;
            }
        }
        let roots = roots.into_iter().filter_map(|root| {
            let place = places.get(root)?;
            match (place.message, &place.children[..]) {
                (None, []) => None,
                (None, [only]) => Some(*only),
                _ => Some(root),
            }
        });
        let roots = roots.collect();
        Forest { places, roots }
    }
}

fn take(places: &mut [Place], place: usize) -> Vec<usize> {
    places.get_mut(place).map(|place| std::mem::take(&mut place.children)).unwrap_or_default()
}
