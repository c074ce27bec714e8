//! What a server tells its application.

use bytes::Bytes;
use mailwright_line_proto::{Ask, AuthRefusal, AuthStep, Authenticate, Closed, Login};
use mailwright_mail_model::UidSet;

use super::{Close, Commit, Find, Gather, Idle, Include, Mailboxes, Message, Open, Order, Refresh, Server};
use crate::{
    Refusal,
    command::{
        Annotate, ApplyFilter, Copy, Create, Delete, DeleteAcl, Expunge, Fetch, Filter, GenUrlAuth, GetAcl,
        GetMetadata, GetQuota, GetQuotaRoot, Id, ListRights, Move, MultiSearch, MyRights, Namespace, Notify,
        Rename, ResetKey, SetAcl, SetMetadata, SetQuota, Status, Store, Subscribe, Unsubscribe, UrlFetch,
    },
    response::{Namespaces, ServerId},
};

/// What a server tells its application. Every [`Ask`] is to be answered with [`Server::answer`].
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// LOGIN: is this the right password?
    Login(Ask<Login>),
    /// AUTHENTICATE: the next step of a SASL exchange.
    Authenticate(Ask<Authenticate>),
    /// ID: who is the server? The request says who the client is.
    Id(Ask<Id>),
    /// NAMESPACE.
    Namespace(Ask<Namespace>),
    /// LIST and LSUB.
    Mailboxes(Ask<Mailboxes>),
    /// CREATE.
    Create(Ask<Create>),
    /// DELETE.
    Delete(Ask<Delete>),
    /// RENAME.
    Rename(Ask<Rename>),
    /// SUBSCRIBE.
    Subscribe(Ask<Subscribe>),
    /// UNSUBSCRIBE.
    Unsubscribe(Ask<Unsubscribe>),
    /// STATUS.
    Status(Ask<Status>),
    /// GETQUOTA.
    GetQuota(Ask<GetQuota>),
    /// GETQUOTAROOT.
    GetQuotaRoot(Ask<GetQuotaRoot>),
    /// SETQUOTA.
    SetQuota(Ask<SetQuota>),
    /// SETACL.
    SetAcl(Ask<SetAcl>),
    /// DELETEACL.
    DeleteAcl(Ask<DeleteAcl>),
    /// GETACL.
    GetAcl(Ask<GetAcl>),
    /// LISTRIGHTS.
    ListRights(Ask<ListRights>),
    /// MYRIGHTS.
    MyRights(Ask<MyRights>),
    /// GETMETADATA.
    GetMetadata(Ask<GetMetadata>),
    /// GENURLAUTH.
    GenUrlAuth(Ask<GenUrlAuth>),
    /// RESETKEY.
    ResetKey(Ask<ResetKey>),
    /// URLFETCH: send what is named with [`Server::fetch_url`], then answer.
    UrlFetch(Ask<UrlFetch>),
    /// SETMETADATA.
    SetMetadata(Ask<SetMetadata>),
    /// SEARCH and its kin, with FILTER: what is searched for by this name?
    Filter(Ask<Filter>),
    /// SELECT and EXAMINE.
    Open(Ask<Open>),
    /// CLOSE and UNSELECT.
    Close(Ask<Close>),
    /// NOOP and CHECK with an open mailbox.
    Refresh(Ask<Refresh>),
    /// APPEND: may a message come?
    Message(Ask<Message>),
    /// The next octets of the message that may come.
    Body(Bytes),
    /// APPEND with CATENATE: a part of another message is next.
    Include(Ask<Include>),
    /// The message has come whole, with all before it.
    BodyEnd(Ask<Commit>),
    /// What has come of an APPEND is not to be kept: something was wrong with it or with what followed, or was refused, or it came too
    /// late.
    BodyAborted,
    /// SEARCH and UID SEARCH.
    Find(Ask<Find>),
    /// ESEARCH.
    MultiSearch(Ask<MultiSearch>),
    /// FILTER and UID FILTER: tell what comes of it with [`Server::filtered`], then answer.
    ApplyFilter(Ask<ApplyFilter>),
    /// SORT and UID SORT.
    Order(Ask<Order>),
    /// THREAD and UID THREAD.
    Gather(Ask<Gather>),
    /// FETCH: send the items with [`Server::fetch`], then answer.
    Fetch(Ask<Fetch<UidSet>>),
    /// STORE: send the new flags with [`Server::fetch_flags`], then answer.
    Store(Ask<Store<UidSet>>),
    /// STORE of annotations: send the new mod-sequences with [`Server::fetch_mod_seq`], then answer.
    Annotate(Ask<Annotate<UidSet>>),
    /// EXPUNGE and UID EXPUNGE.
    Expunge(Ask<Expunge<UidSet>>),
    /// COPY.
    Copy(Ask<Copy<UidSet>>),
    /// MOVE.
    Move(Ask<Move<UidSet>>),
    /// NOTIFY: tell of these events from now on, with [`Server::notify`], [`Server::notify_status`] and
    /// [`Server::notify_mailbox`], and answer with the state of the mailboxes if that is wanted.
    Notify(Ask<Notify>),
    /// IDLE.
    Idle(Ask<Idle>),
    /// IDLE is over.
    IdleEnd,
    /// The connection closes. The last event.
    Closed(Closed),
}

impl Server {
    /// Refuses whatever is asked, as something this server does not do: the last arm of a `match` on events.
    ///
    /// Of the questions that are not about doing something, ID and NAMESPACE are answered with nothing, and NOOP
    /// with nothing new.
    pub fn decline(&mut self, event: Event) {
        let no = Refusal::cannot;
        // A request that is gone needs no refusal.
        let _ = match event {
            Event::Login(ask) => self.answer(ask, Err(AuthRefusal::Unavailable)),
            Event::Authenticate(ask) => self.answer(ask, AuthStep::Refuse(AuthRefusal::Mechanism)),
            Event::Id(ask) => self.answer(ask, Ok(ServerId::default())),
            Event::Namespace(ask) => self.answer(ask, Ok(Namespaces::personal('/'))),
            Event::Refresh(ask) => self.answer(ask, ()),
            Event::Idle(ask) => self.answer(ask, ()),
            Event::Mailboxes(ask) => self.answer(ask, Err(no())),
            Event::Create(ask) => self.answer(ask, Err(no())),
            Event::Delete(ask) => self.answer(ask, Err(no())),
            Event::Rename(ask) => self.answer(ask, Err(no())),
            Event::Subscribe(ask) => self.answer(ask, Err(no())),
            Event::Unsubscribe(ask) => self.answer(ask, Err(no())),
            Event::GetQuota(ask) => self.answer(ask, Err(no())),
            Event::GetQuotaRoot(ask) => self.answer(ask, Err(no())),
            Event::SetQuota(ask) => self.answer(ask, Err(no())),
            Event::SetAcl(ask) => self.answer(ask, Err(no())),
            Event::DeleteAcl(ask) => self.answer(ask, Err(no())),
            Event::GetAcl(ask) => self.answer(ask, Err(no())),
            Event::ListRights(ask) => self.answer(ask, Err(no())),
            Event::MyRights(ask) => self.answer(ask, Err(no())),
            Event::GetMetadata(ask) => self.answer(ask, Err(no())),
            Event::GenUrlAuth(ask) => self.answer(ask, Err(no())),
            Event::ResetKey(ask) => self.answer(ask, Err(no())),
            Event::UrlFetch(ask) => self.answer(ask, Err(no())),
            Event::SetMetadata(ask) => self.answer(ask, Err(no())),
            Event::Filter(ask) => self.answer(ask, Err(no())),
            Event::Status(ask) => self.answer(ask, Err(no())),
            Event::Open(ask) => self.answer(ask, Err(no())),
            Event::Close(ask) => self.answer(ask, Err(no())),
            Event::Notify(ask) => self.answer(ask, Err(no())),
            Event::Message(ask) => self.answer(ask, Err(no())),
            Event::Include(ask) => self.answer(ask, Err(no())),
            Event::BodyEnd(ask) => self.answer(ask, Err(no())),
            Event::Find(ask) => self.answer(ask, Err(no())),
            Event::ApplyFilter(ask) => self.answer(ask, Err(no())),
            Event::MultiSearch(ask) => self.answer(ask, Err(no())),
            Event::Order(ask) => self.answer(ask, Err(no())),
            Event::Gather(ask) => self.answer(ask, Err(no())),
            Event::Fetch(ask) => self.answer(ask, Err(no())),
            Event::Store(ask) => self.answer(ask, Err(no())),
            Event::Annotate(ask) => self.answer(ask, Err(no())),
            Event::Expunge(ask) => self.answer(ask, Err(no())),
            Event::Copy(ask) => self.answer(ask, Err(no())),
            Event::Move(ask) => self.answer(ask, Err(no())),
            Event::Body(_) | Event::BodyAborted | Event::IdleEnd | Event::Closed(_) => Ok(()),
        };
    }
}
