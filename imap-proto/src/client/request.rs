//! What can be called.

use mailwright_line_proto::{Authenticate, Login, Misuse, Secret, Ticket};
use mailwright_mail_model::thread::Threads;

use super::{Client, Event, calls::Kind, event::Opened};
use crate::{
    MessageSet,
    command::{
        Annotate, Append, ApplyFilter, CancelUpdate, Command, Copy, Create, Delete, DeleteAcl, Enable,
        Expunge, Fetch, GetAcl, GetMetadata, GetQuota, GetQuotaRoot, Id, List, ListRights, Lsub, Move,
        MyRights, Namespace, Notify, Rename, Rlist, Rlsub, Search, Select, SetAcl, SetMetadata, SetQuota,
        Sort, Status, Store, Subscribe, Thread, Unsubscribe,
    },
    grammar::is_atom_char,
    response::Capabilities,
};

/// What a [`Client`] can call. Not for others to implement.
pub trait Call: sealed::Start {}

impl<R: sealed::Start> Call for R {}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident => $kind:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub struct $name;

            impl sealed::Start for $name {
                fn start(self, client: &mut Client) -> Result<u32, Misuse> {
                    client.start(&Command::$name, $kind)
                }
            }
        )*
    };
}

words! {
    /// CAPABILITY: what can the server do?
    Capability => Kind::Capability(None);
    /// NOOP: a sign of life, and a chance for the server to say what changed.
    Noop => Kind::Plain(|id, outcome| Event::Noop(Ticket::new(id), outcome));
    /// LOGOUT: takes leave.
    Logout => Kind::Logout;
    /// STARTTLS (RFC 9051 §6.2.1).
    StartTls => Kind::StartTls;
    /// IDLE (RFC 2177): until it is [cancelled](Client::cancel), the server tells what changes.
    Idle => Kind::Idle { idling: false, done: false };
    /// CHECK (RFC 3501 §6.4.1).
    Check => Kind::Plain(|id, outcome| Event::Check(Ticket::new(id), outcome));
    /// CLOSE: expunges what is marked, silently, and leaves the mailbox.
    Close => Kind::Leave(|id, outcome| Event::Close(Ticket::new(id), outcome));
    /// UNSELECT (RFC 3691): leaves the mailbox as it is.
    Unselect => Kind::Leave(|id, outcome| Event::Unselect(Ticket::new(id), outcome));
}

macro_rules! plain {
    ($($name:ident),*) => {
        $(
            impl sealed::Start for $name {
                fn start(self, client: &mut Client) -> Result<u32, Misuse> {
                    let kind = Kind::Plain(|id, outcome| Event::$name(Ticket::new(id), outcome));
                    client.start(&Command::$name(self), kind)
                }
            }
        )*
    };
}

plain!(
    ApplyFilter,
    CancelUpdate,
    Create,
    Delete,
    DeleteAcl,
    Notify,
    Rename,
    SetAcl,
    SetMetadata,
    Subscribe,
    Unsubscribe
);

macro_rules! about_messages {
    ($($name:ident => $kind:expr;)*) => {
        $(
            impl sealed::Start for $name {
                fn start(self, client: &mut Client) -> Result<u32, Misuse> {
                    some_messages(&self.messages)?;
                    client.start(&Command::$name(self), $kind)
                }
            }
        )*
    };
}

about_messages! {
    Fetch => Kind::Plain(|id, outcome| Event::Fetch(Ticket::new(id), outcome));
    Store => Kind::Plain(|id, outcome| Event::Store(Ticket::new(id), outcome));
    Annotate => Kind::Plain(|id, outcome| Event::Annotate(Ticket::new(id), outcome));
    Copy => Kind::Copy(None);
    Move => Kind::Move(None);
}

macro_rules! collecting {
    ($($name:ident => $kind:expr;)*) => {
        $(
            impl sealed::Start for $name {
                fn start(self, client: &mut Client) -> Result<u32, Misuse> {
                    client.start(&Command::$name(self), $kind)
                }
            }
        )*
    };
}

collecting! {
    Id => Kind::Id(None);
    List => Kind::List(Vec::new());
    Lsub => Kind::Lsub(Vec::new());
    Rlist => Kind::Rlist(Vec::new());
    Rlsub => Kind::Rlsub(Vec::new());
    Status => Kind::Status(None);
    Search => Kind::Search(Vec::new());
    Sort => Kind::Sort(Vec::new());
    Thread => Kind::Thread(Threads::default());
    GetQuota => Kind::Quota(None);
    GetQuotaRoot => Kind::QuotaRoots(Vec::new());
    GetAcl => Kind::Acl(None);
    ListRights => Kind::RightsOf(None);
    MyRights => Kind::OwnRights(None);
    GetMetadata => Kind::Annotations(Vec::new());
}

/// COMPRESS=DEFLATE (RFC 4978): from the answer on everything is compressed, both ways, if the layer for that stands around the machine:
/// `mailwright_line_proto::Deflate`. Best called after the login, so that no secret is compressed with what others
/// can choose (RFC 4978 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compress;

impl sealed::Start for Compress {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        if !client.capabilities().is_some_and(|offered| offered.has("COMPRESS=DEFLATE")) {
            return Err(Misuse::NotOffered("COMPRESS=DEFLATE"));
        }
        client.start(&Command::Compress, Kind::Compress)
    }
}

/// A [`Search`] that is answered with all that its `returns` asked for (RFC 4731, RFC 9394): the lowest, the highest, how
/// many, some of them.
///
/// A server that knows none of that must not be asked; one that answers in the old form all the same is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Find(pub Search);

impl sealed::Start for Find {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        client.start(&Command::Search(self.0), Kind::Find(Box::default()))
    }
}

impl sealed::Start for Append {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        let kind = Kind::Append { size: self.size };
        client.start(&Command::Append(self), kind)
    }
}

impl sealed::Start for Namespace {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        client.start(&Command::Namespace, Kind::Namespace(None))
    }
}

impl sealed::Start for Expunge {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        if let Some(messages) = &self.messages {
            some_messages(messages)?;
        }
        let kind = Kind::Plain(|id, outcome| Event::Expunge(Ticket::new(id), outcome));
        client.start(&Command::Expunge(self), kind)
    }
}

impl sealed::Start for SetQuota {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        // RFC 9208 §5: resource-name is an atom.
        if !self.limits.iter().all(|(name, _)| is_atom(name)) {
            return Err(Misuse::Argument("SETQUOTA wants names of resources"));
        }
        client.start(&Command::SetQuota(self), Kind::SetQuota(None))
    }
}

impl sealed::Start for Enable {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        if self.capabilities.is_empty() || !self.capabilities.iter().all(|name| is_atom(name)) {
            return Err(Misuse::Argument("ENABLE wants names of capabilities"));
        }
        client.start(&Command::Enable(self), Kind::Enable(Capabilities::default()))
    }
}

impl sealed::Start for Select {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        let opened = Opened { read_only: self.read_only, ..Opened::default() };
        client.start(&Command::Select(self), Kind::Select(Box::new(opened)))
    }
}

impl sealed::Start for Login {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        // RFC 3501 §6.2.3
        if client.capabilities().is_some_and(|offered| offered.has("LOGINDISABLED")) {
            return Err(Misuse::NotOffered("LOGIN"));
        }
        client.start(&Command::Login(self), Kind::Login)
    }
}

impl sealed::Start for Authenticate {
    fn start(self, client: &mut Client) -> Result<u32, Misuse> {
        if client.is_challenged() {
            return client.respond(&self.response.unwrap_or_default());
        }
        if !is_atom(&self.mechanism) {
            return Err(Misuse::Argument("this is no mechanism's name"));
        }
        let offered = client.capabilities();
        if offered.is_some_and(|offered| offered.mechanisms().all(|name| name != self.mechanism)) {
            return Err(Misuse::NotOffered("this SASL mechanism"));
        }
        // RFC 4959 §3: without SASL-IR, it waits for the first challenge, which is empty.
        let now = offered.is_some_and(|offered| offered.has("SASL-IR"));
        let (now, later): (Option<Secret>, _) =
            if now { (self.response, None) } else { (None, self.response) };
        let command = Command::Authenticate(Self::new(self.mechanism, now));
        client.start(&command, Kind::Authenticate { initial: later, rounds: 0 })
    }
}

/// Whether a text of the application's may stand in a command as it is.
fn is_atom(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_atom_char)
}

fn some_messages(messages: &MessageSet) -> Result<(), Misuse> {
    match messages.set().to_string().is_empty() {
        true => Err(Misuse::Argument("at least one message must be named")),
        false => Ok(()),
    }
}

mod sealed {
    #![expect(unnameable_types, reason = "sealed: nobody else is to implement it")]

    use super::{Client, Misuse};

    pub trait Start {
        /// Sends the request, or puts it behind others, and gives the number of the call.
        fn start(self, client: &mut Client) -> Result<u32, Misuse>;
    }
}
