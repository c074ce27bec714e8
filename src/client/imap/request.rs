//! Which event answers which request.

use std::ops::ControlFlow;

use bytes::Bytes;
use mailwright_imap_proto::{
    client::{
        Call, Capability, Check, Close, Compress, Event, Find, Logout, Noop, Opened, Outcome, StartTls,
        Unselect,
    },
    command::{
        Annotate, ApplyFilter, CancelUpdate, Copy, CopyUid, Create, Delete, DeleteAcl, Enable, Expunge,
        GetAcl, GetMetadata, GetQuota, GetQuotaRoot, Id, List, ListRights, ListedRights, Lsub, Move,
        MyRights, Namespace, Notify, Rename, Rlist, Rlsub, Search, Select, SetAcl, SetMetadata, SetQuota,
        Sort, Status, Store, Subscribe, Thread, Unsubscribe,
    },
    response::{Capabilities, Esearch, Listed, MailboxStatus, Namespaces, QuotaRoot, ServerId},
};
use mailwright_line_proto::{Login, Ticket};
use mailwright_mail_model::thread::Threads;

/// A request that [`ImapClient::call`](super::ImapClient::call) takes. Not for others to implement: FETCH, APPEND,
/// IDLE and AUTHENTICATE are more than a question and an answer and have methods of their own.
pub trait Request: Call + sealed::Sealed {
    /// What the server answers.
    type Answer;

    /// The answer, if that is what happened, or the event.
    #[doc(hidden)]
    fn answered(ticket: Ticket<Self>, event: Event) -> ControlFlow<Outcome<Self::Answer>, Event>
    where
        Self: Sized;
}

macro_rules! requests {
    ($($name:ident => $answer:ty;)*) => {$(
        impl sealed::Sealed for $name {}

        impl Request for $name {
            type Answer = $answer;

            fn answered(ticket: Ticket<Self>, event: Event) -> ControlFlow<Outcome<$answer>, Event> {
                match event {
                    Event::$name(answered, outcome) if answered == ticket => ControlFlow::Break(outcome),
                    other => ControlFlow::Continue(other),
                }
            }
        }
    )*};
}

requests! {
    Annotate => ();
    ApplyFilter => ();
    Capability => Capabilities;
    Check => ();
    Close => ();
    Compress => ();
    Copy => Option<CopyUid>;
    Create => ();
    Delete => ();
    Enable => Capabilities;
    Expunge => ();
    Find => Box<Esearch>;
    GetQuota => Option<QuotaRoot>;
    GetQuotaRoot => Vec<QuotaRoot>;
    SetQuota => Option<QuotaRoot>;
    GetAcl => Vec<(String, String)>;
    SetAcl => ();
    DeleteAcl => ();
    ListRights => ListedRights;
    MyRights => String;
    GetMetadata => Vec<(String, Option<Bytes>)>;
    SetMetadata => ();
    Id => ServerId;
    List => Vec<Listed>;
    Login => ();
    Logout => ();
    Lsub => Vec<Listed>;
    Move => Option<CopyUid>;
    Namespace => Namespaces;
    Noop => ();
    Rename => ();
    Rlist => Vec<Listed>;
    Rlsub => Vec<Listed>;
    Search => Vec<u32>;
    Sort => Vec<u32>;
    Thread => Threads;
    Notify => ();
    CancelUpdate => ();
    Select => Box<Opened>;
    StartTls => ();
    Status => Option<MailboxStatus>;
    Store => ();
    Subscribe => ();
    Unselect => ();
    Unsubscribe => ();
}

mod sealed {
    #[expect(unnameable_types, reason = "sealed: nobody else is to implement it")]
    pub trait Sealed {}
}
