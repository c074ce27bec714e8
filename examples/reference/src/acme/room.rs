//! Who is listened to while the authority is waited for: anybody may connect to where it looks.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mailwright::network;

/// How many may come from one network.
const FROM_ONE: usize = 8;

/// Room for some connections. Where there is none the oldest goes, of the network that has the most: who holds connections and says
/// nothing keeps nobody out.
pub(super) struct Room(Arc<Shared>);

struct Shared {
    most: usize,
    guests: Mutex<Guests>,
}

#[derive(Default)]
struct Guests {
    next: u64,
    /// The oldest in front.
    all: VecDeque<Guest>,
}

struct Guest {
    number: u64,
    network: IpAddr,
    end: Box<dyn FnOnce() + Send>,
}

/// A place, until it is dropped.
pub(super) struct Place {
    room: Arc<Shared>,
    number: u64,
}

impl Room {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, guests: Mutex::default() }))
    }

    /// A place for a connection from there; `end` ends it, if its place is needed.
    pub(super) fn enter(&self, from: IpAddr, end: impl FnOnce() + Send + 'static) -> Place {
        let network = network(from);
        let mut guests = self.0.guests();
        let number = guests.next;
        guests.next += 1;
        let gone = guests.make_room(network, self.0.most);
        guests.all.push_back(Guest { number, network, end: Box::new(end) });
        drop(guests);
        if let Some(guest) = gone {
            (guest.end)();
        }
        Place { room: Arc::clone(&self.0), number }
    }
}

impl Shared {
    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    fn count(&self, network: IpAddr) -> usize {
        self.all.iter().filter(|guest| guest.network == network).count()
    }

    /// Takes away whose place is needed, if one is.
    fn make_room(&mut self, newcomer: IpAddr, most: usize) -> Option<Guest> {
        let greedy = if self.count(newcomer) >= FROM_ONE {
            newcomer
        } else if self.all.len() >= most {
            self.all.iter().map(|guest| guest.network).max_by_key(|network| self.count(*network))?
        } else {
            return None;
        };
        let oldest = self.all.iter().position(|guest| guest.network == greedy)?;
        self.all.remove(oldest)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.guests().all.retain(|guest| guest.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn who_holds_many_connections_loses_the_oldest() {
        let (room, ended) = (Room::new(20), Arc::new(AtomicU32::new(0)));
        let enter = |from: &str, name: u32| {
            let ended = Arc::clone(&ended);
            room.enter(from.parse().unwrap(), move || ended.store(name, Ordering::Relaxed))
        };
        let ended = || ended.swap(0, Ordering::Relaxed);
        let mut places: Vec<_> = (1..=8).map(|number| enter("192.0.2.1", number)).collect();
        assert_eq!(ended(), 0);
        places.push(enter("192.0.2.1", 9));
        assert_eq!(ended(), 1, "one network may have so many");
        // An IPv6 network is one, too.
        places.extend((0..8).map(|number| enter(&format!("2001:db8::{number}"), 20 + number)));
        places.extend((0..4).map(|number| enter(&format!("198.51.100.{number}"), 30 + number)));
        assert_eq!(ended(), 0);
        let authority = enter("203.0.113.1", 40);
        assert!((2..=29).contains(&ended()), "one of those who have most");
        places.extend((0..100).map(|_| enter("192.0.2.1", 50)));
        assert_ne!(ended(), 40, "the authority stays");
        assert!(room.0.guests().all.iter().any(|guest| guest.number == authority.number));
        drop((places, authority));
        assert!(room.0.guests().all.is_empty());
    }
}
