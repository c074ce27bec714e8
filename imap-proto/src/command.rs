//! The commands: a table of what each may do when, and one file for each with its type, parser and encoder.

mod acl;
mod annotate;
mod append;
mod append_steps;
mod apply_filter;
mod authenticate;
mod cancel_update;
mod comparator;
mod copy;
mod create;
mod delete;
mod enable;
mod esearch;
mod expunge;
mod fetch;
mod filter;
mod fuzzy_preview;
mod id;
mod language;
mod list;
mod login;
mod lsub;
mod metadata;
mod namespace;
mod notify;
mod quota;
mod relocate;
mod rename;
mod replace;
mod rlist;
mod search;
mod search_context;
mod search_return;
mod section;
mod select;
mod sort;
mod spec;
mod status;
mod store;
mod subscribe;
mod thread;
mod uid_batches;
mod unsubscribe;
mod url_auth;
mod url_fetch;
mod xlist;

#[cfg(test)]
mod tests;

use mailwright_line_proto::{Authenticate, Login};

pub use acl::{DeleteAcl, GetAcl, ListRights, ListedRights, MyRights, RightsChange, SetAcl};
pub use annotate::{Annotate, AnnotationAttribute, AnnotationValue, FetchAnnotations};
pub use append::Append;
pub(crate) use append_steps::{Place, Step, Steps};
pub use apply_filter::{ApplyFilter, FilterScript};
pub(crate) use authenticate::decode_response;
pub use cancel_update::CancelUpdate;
pub use comparator::Comparator;
pub use copy::{Copy, CopyUid};
pub use create::Create;
pub use delete::Delete;
pub use enable::Enable;
pub use esearch::MultiSearch;
pub use expunge::Expunge;
pub use fetch::{BinarySection, BodyName, BodySection, Fetch, FetchItem};
pub use filter::Filter;
pub use fuzzy_preview::FuzzyName;
pub use id::Id;
pub use language::Language;
pub use list::{List, ListReturn, ListSelection};
pub use lsub::Lsub;
pub use metadata::{Depth, GetMetadata, SetMetadata};
pub use namespace::Namespace;
pub use notify::{Notify, NotifyEvents, NotifyGroup, NotifyMailboxes};
pub use quota::{GetQuota, GetQuotaRoot, SetQuota};
pub use relocate::Move;
pub use rename::Rename;
pub use replace::Replace;
pub use rlist::{Rlist, Rlsub};
pub use search::Search;
pub(crate) use search::{names_annotations, names_mod_seq};
pub use search_context::SearchContext;
pub use search_return::{ResultRange, SearchReturn};
pub use section::{Partial, Section, SectionText};
pub use select::{Resync, Select};
pub use sort::Sort;
pub(crate) use spec::{Spec, When};
pub use status::{Status, StatusItem};
pub use store::{Store, StoreOperation};
pub use subscribe::Subscribe;
pub use thread::Thread;
pub use uid_batches::UidBatches;
pub use unsubscribe::Unsubscribe;
pub use url_auth::{GenUrlAuth, ResetKey};
pub use url_fetch::{UrlFetch, UrlOctets, WantedUrl};
pub use xlist::Xlist;

use crate::grammar::{CommandWriter, GrammarError, Input, Wire};

pub(crate) use notify::notify_events;
use spec::{key, row};

/// A command as it stands on the wire, without its tag.
///
/// ```
/// use mailwright_imap_proto::{
///     command::{Command, SearchContext},
///     grammar::{CommandWriter, Input, LiteralMode},
/// };
///
/// let command = Command::parse(&mut Input::new(b"uid fetch 7:* (FLAGS)"), SearchContext::default())?;
/// let mut writer = CommandWriter::new(LiteralMode::Plus);
/// command.encode(&mut writer);
/// assert_eq!(writer.as_slice(), b"UID FETCH 7:* (FLAGS)");
/// # Ok::<(), mailwright_imap_proto::grammar::GrammarError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is named as its command; the types say what they hold")]
pub enum Command {
    Capability,
    Noop,
    Logout,
    StartTls,
    Authenticate(Authenticate),
    Login(Login),
    Id(Id),
    Language(Language),
    Enable(Enable),
    Select(Select),
    Create(Create),
    Delete(Delete),
    Rename(Rename),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    List(List),
    Lsub(Lsub),
    Xlist(Xlist),
    Rlist(Rlist),
    Rlsub(Rlsub),
    Namespace,
    Status(Status),
    /// Ends with the mark of the message's literal; the message follows.
    Append(Append),
    /// As [`Append`](Self::Append).
    Replace(Replace),
    GetQuota(GetQuota),
    GetQuotaRoot(GetQuotaRoot),
    SetQuota(SetQuota),
    SetAcl(SetAcl),
    DeleteAcl(DeleteAcl),
    GetAcl(GetAcl),
    ListRights(ListRights),
    MyRights(MyRights),
    GetMetadata(GetMetadata),
    SetMetadata(SetMetadata),
    Comparator(Comparator),
    GenUrlAuth(GenUrlAuth),
    ResetKey(ResetKey),
    UrlFetch(UrlFetch),
    GetJmapAccess,
    Idle,
    Notify(Notify),
    Check,
    Close,
    Unselect,
    Unauthenticate,
    Compress,
    Expunge(Expunge),
    Search(Search),
    MultiSearch(MultiSearch),
    Sort(Sort),
    Thread(Thread),
    CancelUpdate(CancelUpdate),
    UidBatches(UidBatches),
    ApplyFilter(ApplyFilter),
    Fetch(Fetch),
    Store(Store),
    Annotate(Annotate),
    Copy(Copy),
    Move(Move),
}

#[rustfmt::skip]
static TABLE: [Spec; 69] = {
    use When::{Always, Authenticated, NotAuthenticated, Selected};
    const SEQS: bool = true;
    const READS: bool = true;
    [
        //  name            when              uses seqs  reads
        row("CAPABILITY",   Always,           !SEQS,     READS,  |_, _| Ok(Command::Capability)),
        row("NOOP",         Always,           !SEQS,     !READS, |_, _| Ok(Command::Noop)),
        row("LOGOUT",       Always,           !SEQS,     !READS, |_, _| Ok(Command::Logout)),
        row("ID",           Always,           !SEQS,     READS,  |input, _| Id::parse(input).map(Command::Id)),
        row("LANGUAGE",     Always,           !SEQS,     !READS, |input, _| Language::parse(input).map(Command::Language)),
        row("STARTTLS",     NotAuthenticated, !SEQS,     !READS, |_, _| Ok(Command::StartTls)),
        row("AUTHENTICATE", NotAuthenticated, !SEQS,     !READS, |input, _| authenticate::parse(input).map(Command::Authenticate)),
        row("LOGIN",        NotAuthenticated, !SEQS,     !READS, |input, _| login::parse(input).map(Command::Login)),
        row("ENABLE",       Authenticated,    !SEQS,     !READS, |input, _| Enable::parse(input).map(Command::Enable)),
        row("SELECT",       Authenticated,    !SEQS,     !READS, |input, _| Select::parse_select(input).map(Command::Select)),
        row("EXAMINE",      Authenticated,    !SEQS,     !READS, |input, _| Select::parse_examine(input).map(Command::Select)),
        row("CREATE",       Authenticated,    !SEQS,     !READS, |input, _| Create::parse(input).map(Command::Create)),
        row("DELETE",       Authenticated,    !SEQS,     !READS, |input, _| Delete::parse(input).map(Command::Delete)),
        row("RENAME",       Authenticated,    !SEQS,     !READS, |input, _| Rename::parse(input).map(Command::Rename)),
        row("SUBSCRIBE",    Authenticated,    !SEQS,     !READS, |input, _| Subscribe::parse(input).map(Command::Subscribe)),
        row("UNSUBSCRIBE",  Authenticated,    !SEQS,     !READS, |input, _| Unsubscribe::parse(input).map(Command::Unsubscribe)),
        row("LIST",         Authenticated,    !SEQS,     READS,  |input, _| List::parse(input).map(Command::List)),
        row("LSUB",         Authenticated,    !SEQS,     READS,  |input, _| Lsub::parse(input).map(Command::Lsub)),
        row("XLIST",        Authenticated,    !SEQS,     READS,  |input, _| Xlist::parse(input).map(Command::Xlist)),
        row("RLIST",        Authenticated,    !SEQS,     READS,  |input, _| Rlist::parse(input).map(Command::Rlist)),
        row("RLSUB",        Authenticated,    !SEQS,     READS,  |input, _| Rlsub::parse(input).map(Command::Rlsub)),
        row("NAMESPACE",    Authenticated,    !SEQS,     READS,  |_, _| Ok(Command::Namespace)),
        row("STATUS",       Authenticated,    !SEQS,     READS,  |input, _| Status::parse(input).map(Command::Status)),
        row("APPEND",       Authenticated,    !SEQS,     !READS, |input, _| Append::parse(input).map(Command::Append)),
        row("REPLACE",      Selected,         !SEQS,     !READS, |input, _| Replace::parse(input, false).map(Command::Replace)),
        row("UID REPLACE",  Selected,         !SEQS,     !READS, |input, _| Replace::parse(input, true).map(Command::Replace)),
        row("GETQUOTA",      Authenticated,    !SEQS,     READS,  |input, _| GetQuota::parse(input).map(Command::GetQuota)),
        row("GETQUOTAROOT",  Authenticated,    !SEQS,     READS,  |input, _| GetQuotaRoot::parse(input).map(Command::GetQuotaRoot)),
        row("SETQUOTA",      Authenticated,    !SEQS,     !READS, |input, _| SetQuota::parse(input).map(Command::SetQuota)),
        row("SETACL",        Authenticated,    !SEQS,     !READS, |input, _| SetAcl::parse(input).map(Command::SetAcl)),
        row("DELETEACL",     Authenticated,    !SEQS,     !READS, |input, _| DeleteAcl::parse(input).map(Command::DeleteAcl)),
        row("GETACL",        Authenticated,    !SEQS,     READS,  |input, _| GetAcl::parse(input).map(Command::GetAcl)),
        row("LISTRIGHTS",    Authenticated,    !SEQS,     READS,  |input, _| ListRights::parse(input).map(Command::ListRights)),
        row("MYRIGHTS",      Authenticated,    !SEQS,     READS,  |input, _| MyRights::parse(input).map(Command::MyRights)),
        row("GETMETADATA",   Authenticated,    !SEQS,     READS,  |input, _| GetMetadata::parse(input).map(Command::GetMetadata)),
        row("SETMETADATA",   Authenticated,    !SEQS,     !READS, |input, _| SetMetadata::parse(input).map(Command::SetMetadata)),
        row("COMPARATOR",    Authenticated,    !SEQS,     !READS, |input, _| Comparator::parse(input).map(Command::Comparator)),
        row("GENURLAUTH",    Authenticated,    !SEQS,     !READS, |input, _| GenUrlAuth::parse(input).map(Command::GenUrlAuth)),
        row("RESETKEY",      Authenticated,    !SEQS,     !READS, |input, _| ResetKey::parse(input).map(Command::ResetKey)),
        row("URLFETCH",      Authenticated,    !SEQS,     READS,  |input, _| UrlFetch::parse(input).map(Command::UrlFetch)),
        row("GETJMAPACCESS", Authenticated,   !SEQS,     READS,  |_, _| Ok(Command::GetJmapAccess)),
        row("IDLE",         Authenticated,    !SEQS,     !READS, |_, _| Ok(Command::Idle)),
        row("NOTIFY",       Authenticated,    !SEQS,     !READS, |input, _| Notify::parse(input).map(Command::Notify)),
        row("CHECK",        Selected,         !SEQS,     !READS, |_, _| Ok(Command::Check)),
        row("CLOSE",        Selected,         !SEQS,     !READS, |_, _| Ok(Command::Close)),
        row("UNAUTHENTICATE", Authenticated,  !SEQS,     !READS, |_, _| Ok(Command::Unauthenticate)),
        row("COMPRESS",     Authenticated,    !SEQS,     !READS, |input, _| compress(input)),
        row("UNSELECT",     Selected,         !SEQS,     !READS, |_, _| Ok(Command::Unselect)),
        row("EXPUNGE",      Selected,         !SEQS,     !READS, |input, _| Expunge::parse(input).map(Command::Expunge)),
        row("UID EXPUNGE",  Selected,         !SEQS,     !READS, |input, _| Expunge::parse_uid(input).map(Command::Expunge)),
        row("SEARCH",       Selected,         SEQS,      READS,  |input, context| Search::parse(input, false, context).map(Command::Search)),
        row("UID SEARCH",   Selected,         !SEQS,     READS,  |input, context| Search::parse(input, true, context).map(Command::Search)),
        row("ESEARCH",      Authenticated,    !SEQS,     READS,  |input, context| MultiSearch::parse(input, context).map(Command::MultiSearch)),
        row("SORT",         Selected,         SEQS,      READS,  |input, context| Sort::parse(input, false, context).map(Command::Sort)),
        row("UID SORT",     Selected,         !SEQS,     READS,  |input, context| Sort::parse(input, true, context).map(Command::Sort)),
        row("THREAD",       Selected,         SEQS,      READS,  |input, context| Thread::parse(input, false, context).map(Command::Thread)),
        row("UID THREAD",   Selected,         !SEQS,     READS,  |input, context| Thread::parse(input, true, context).map(Command::Thread)),
        row("CANCELUPDATE", Selected,         !SEQS,     !READS, |input, _| CancelUpdate::parse(input).map(Command::CancelUpdate)),
        row("UIDBATCHES",   Selected,         !SEQS,     READS,  |input, _| UidBatches::parse(input).map(Command::UidBatches)),
        row("FILTER",       Selected,         SEQS,      !READS, |input, context| ApplyFilter::parse(input, false, context).map(Command::ApplyFilter)),
        row("UID FILTER",   Selected,         !SEQS,     !READS, |input, context| ApplyFilter::parse(input, true, context).map(Command::ApplyFilter)),
        row("FETCH",        Selected,         SEQS,      READS,  |input, _| Fetch::parse(input, false).map(Command::Fetch)),
        row("UID FETCH",    Selected,         !SEQS,     READS,  |input, _| Fetch::parse(input, true).map(Command::Fetch)),
        row("STORE",        Selected,         SEQS,      !READS, |input, _| Store::parse_any(input, false)),
        row("UID STORE",    Selected,         !SEQS,     !READS, |input, _| Store::parse_any(input, true)),
        row("COPY",         Selected,         !SEQS,     !READS, |input, _| Copy::parse(input, false).map(Command::Copy)),
        row("UID COPY",     Selected,         !SEQS,     !READS, |input, _| Copy::parse(input, true).map(Command::Copy)),
        row("MOVE",         Selected,         !SEQS,     !READS, |input, _| Move::parse(input, false).map(Command::Move)),
        row("UID MOVE",     Selected,         !SEQS,     !READS, |input, _| Move::parse(input, true).map(Command::Move)),
    ]
};

/// COMPRESS (RFC 4978 §3): there is one mechanism.
fn compress(input: &mut Input<'_>) -> Result<Command, GrammarError> {
    input.space()?;
    if input.keyword("DEFLATE") { Ok(Command::Compress) } else { Err(input.expected("DEFLATE")) }
}

impl Command {
    /// Takes a command, to the end of the input.
    ///
    /// # Errors
    /// If it is unknown or its arguments are not understood.
    pub fn parse(input: &mut Input<'_>, context: SearchContext<'_>) -> Result<Self, GrammarError> {
        Spec::find(input)?.parse(input, context)
    }

    /// Writes the command, without tag and line end.
    pub fn encode(&self, wire: &mut CommandWriter) {
        match self {
            Self::Capability => wire.put(b"CAPABILITY"),
            Self::Noop => wire.put(b"NOOP"),
            Self::Logout => wire.put(b"LOGOUT"),
            Self::StartTls => wire.put(b"STARTTLS"),
            Self::Authenticate(authenticate) => authenticate::encode(authenticate, wire),
            Self::Login(login) => login::encode(login, wire),
            Self::Id(id) => id.encode(wire),
            Self::Language(language) => language.encode(wire),
            Self::Enable(enable) => enable.encode(wire),
            Self::Select(select) => select.encode(wire),
            Self::Create(create) => create.encode(wire),
            Self::Delete(delete) => delete.encode(wire),
            Self::Rename(rename) => rename.encode(wire),
            Self::Subscribe(subscribe) => subscribe.encode(wire),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(wire),
            Self::List(list) => list.encode(wire),
            Self::Lsub(lsub) => lsub.encode(wire),
            Self::Xlist(xlist) => xlist.encode(wire),
            Self::Rlist(rlist) => rlist.encode(wire),
            Self::Rlsub(rlsub) => rlsub.encode(wire),
            Self::Namespace => wire.put(b"NAMESPACE"),
            Self::Status(status) => status.encode(wire),
            Self::Append(append) => append.encode(wire),
            Self::Replace(replace) => replace.encode(wire),
            Self::GetQuota(request) => request.encode(wire),
            Self::GetQuotaRoot(request) => request.encode(wire),
            Self::SetQuota(request) => request.encode(wire),
            Self::SetAcl(request) => request.encode(wire),
            Self::DeleteAcl(request) => request.encode(wire),
            Self::GetAcl(request) => request.encode(wire),
            Self::ListRights(request) => request.encode(wire),
            Self::MyRights(request) => request.encode(wire),
            Self::GetMetadata(request) => request.encode(wire),
            Self::SetMetadata(request) => request.encode(wire),
            Self::Comparator(comparator) => comparator.encode(wire),
            Self::GenUrlAuth(request) => request.encode(wire),
            Self::ResetKey(request) => request.encode(wire),
            Self::UrlFetch(request) => request.encode(wire),
            Self::GetJmapAccess => wire.put(b"GETJMAPACCESS"),
            Self::Idle => wire.put(b"IDLE"),
            Self::Notify(notify) => notify.encode(wire),
            Self::Check => wire.put(b"CHECK"),
            Self::Close => wire.put(b"CLOSE"),
            Self::Unselect => wire.put(b"UNSELECT"),
            Self::Unauthenticate => wire.put(b"UNAUTHENTICATE"),
            Self::Compress => wire.put(b"COMPRESS DEFLATE"),
            Self::Expunge(expunge) => expunge.encode(wire),
            Self::Search(search) => search.encode(wire),
            Self::MultiSearch(search) => search.encode(wire),
            Self::Sort(sort) => sort.encode(wire),
            Self::Thread(thread) => thread.encode(wire),
            Self::CancelUpdate(cancel) => cancel.encode(wire),
            Self::ApplyFilter(filter) => filter.encode(wire),
            Self::UidBatches(batches) => batches.encode(wire),
            Self::Fetch(fetch) => fetch.encode(wire),
            Self::Store(store) => store.encode(wire),
            Self::Annotate(annotate) => annotate.encode(wire),
            Self::Copy(copy) => copy.encode(wire),
            Self::Move(relocate) => relocate.encode(wire),
        }
    }
}
