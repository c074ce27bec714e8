//! A Kerberos that is only played.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

use crate::sasl::{GssContext, GssError, GssStep};

/// A realm whose tickets are words, to test what is built on [`GssContext`]: it refuses what a real one would refuse and
/// protects nothing.
///
/// ```
/// use mailwright_line_proto::{
///     sasl::{Client, Context, Credentials, Mechanism, Server, ServerStep},
///     testing::MockRealm,
/// };
///
/// let realm = MockRealm::new(2);
/// let (tickets, gssapi) = (realm.clone(), Mechanism::find("GSSAPI").unwrap());
/// let credentials = Credentials::gssapi(move || Ok(tickets.initiator("tim")));
/// let mut client = Client::new(gssapi, &credentials, &Context::plaintext(), [0; 32]).unwrap();
/// let mut server = Server::gssapi(realm.acceptor());
/// let mut step = server.step(client.initial().as_deref());
/// while let ServerStep::Challenge(challenge) = step {
///     step = server.step(Some(&client.respond(&challenge).unwrap()));
/// }
/// let ServerStep::Done(identity) = step else { panic!("{step:?}") };
/// assert_eq!(identity.authcid, "tim");
/// ```
#[derive(Debug, Clone)]
pub struct MockRealm {
    key: u64,
    legs: u8,
    /// The tickets that were shown already.
    shown: Arc<Mutex<Vec<u64>>>,
    next: Arc<AtomicU64>,
}

/// Told apart from another realm's.
static KEYS: AtomicU64 = AtomicU64::new(1);

impl MockRealm {
    /// A realm in which it takes this many tokens of both sides, 1 at least, to know each other: with an odd number the last
    /// is the client's, with an even one the server's.
    pub fn new(legs: u8) -> Self {
        let key = KEYS.fetch_add(1, Ordering::Relaxed);
        Self { key, legs: legs.max(1), shown: Arc::default(), next: Arc::default() }
    }

    /// The side of whoever logs in as `principal`.
    pub fn initiator(&self, principal: &str) -> Box<dyn GssContext> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        Box::new(MockContext { realm: self.clone(), own: principal.to_owned(), ticket, ..self.context(true) })
    }

    /// The server's side. The account of a principal has its name; `nobody` has none.
    pub fn acceptor(&self) -> Box<dyn GssContext> {
        Box::new(self.context(false))
    }

    fn context(&self, initiates: bool) -> MockContext {
        let (own, peer) = (String::new(), None);
        MockContext {
            realm: self.clone(),
            initiates,
            own,
            ticket: 0,
            peer,
            leg: 0,
            complete: false,
            sent: 0,
            taken: 0,
        }
    }
}

struct MockContext {
    realm: MockRealm,
    initiates: bool,
    own: String,
    ticket: u64,
    peer: Option<String>,
    /// How many tokens there were, of both sides.
    leg: u8,
    complete: bool,
    sent: u32,
    taken: u32,
}

impl MockContext {
    fn token(&self, leg: u8) -> String {
        format!("token {} {leg} {} {}", self.realm.key, self.ticket, self.own)
    }

    /// The seal of a message, by who sent it and as which: nothing can be sent back, or twice.
    fn seal(&self, initiator: bool, number: u32) -> String {
        format!("sealed {} {} {initiator} {number} ", self.realm.key, self.ticket)
    }

    fn take(&mut self, token: &[u8]) -> Option<()> {
        let text = std::str::from_utf8(token).ok()?;
        let mut words = text.splitn(5, ' ');
        let is_token = words.next() == Some("token") && words.next() == Some(&self.realm.key.to_string());
        if !is_token || words.next() != Some(&self.leg.to_string()) {
            return None;
        }
        let (ticket, name) = (words.next()?.parse().ok()?, words.next()?);
        if self.initiates {
            return (ticket == self.ticket).then_some(());
        }
        if self.leg == 0 {
            let mut shown = self.realm.shown.lock().unwrap_or_else(PoisonError::into_inner);
            if shown.contains(&ticket) {
                return None;
            }
            shown.push(ticket);
            (self.ticket, self.peer) = (ticket, Some(name.to_owned()));
        }
        (self.ticket == ticket).then_some(())
    }
}

impl GssContext for MockContext {
    fn step(&mut self, token: &[u8]) -> Result<GssStep, GssError> {
        if self.complete {
            return Err(GssError::Refused("the context is complete".into()));
        }
        if !(self.initiates && self.leg == 0 && token.is_empty()) {
            self.take(token).ok_or_else(|| GssError::Refused("not a token of this realm".into()))?;
            self.leg += 1;
        }
        // What came in was the last.
        if self.leg >= self.realm.legs {
            self.complete = true;
            return Ok(GssStep::Complete(None));
        }
        let token = Bytes::from(self.token(self.leg));
        self.leg += 1;
        self.complete = self.leg >= self.realm.legs;
        Ok(if self.complete { GssStep::Complete(Some(token)) } else { GssStep::Continue(token) })
    }

    fn wrap(&mut self, message: &[u8]) -> Result<Bytes, GssError> {
        if !self.complete {
            return Err(GssError::Unavailable("the context is not complete".into()));
        }
        let sealed = [self.seal(self.initiates, self.sent).as_bytes(), message].concat();
        self.sent += 1;
        Ok(sealed.into())
    }

    fn unwrap(&mut self, message: &[u8]) -> Result<Bytes, GssError> {
        let seal = self.seal(!self.initiates, self.taken);
        let message = message.strip_prefix(seal.as_bytes()).filter(|_| self.complete);
        self.taken += 1;
        message.map(Bytes::copy_from_slice).ok_or_else(|| GssError::Refused("the seal is broken".into()))
    }

    fn peer(&self) -> Option<String> {
        self.peer.clone().filter(|name| self.complete && name != "nobody")
    }
}
