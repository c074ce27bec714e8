//! What an application cannot do, and so is refused before it is asked.

use super::{Server, State};
use crate::command::{Command, StatusItem, names_annotations};

impl Server {
    /// Whether the application cannot do that at all, or not in this mailbox.
    pub(super) fn is_beyond_abilities(&self, command: &Command) -> bool {
        let abilities = &self.config.abilities;
        let read_only = matches!(self.state, State::Selected { read_only: true, .. });
        match command {
            Command::Create(create) if !create.special_use.is_empty() && !abilities.derives => true,
            Command::Create(_)
            | Command::Delete(_)
            | Command::Rename(_)
            | Command::Subscribe(_)
            | Command::Unsubscribe(_) => !abilities.folders,
            Command::Store(store) if store.unchanged_since.is_some() && !abilities.mod_sequences => true,
            Command::Annotate(annotate) => {
                !self.may_annotate() || annotate.unchanged_since.is_some() && !abilities.mod_sequences
            }
            Command::Store(_) | Command::Expunge(_) | Command::Move(_) => !abilities.write || read_only,
            Command::GetQuota(_) | Command::GetQuotaRoot(_) => !abilities.quota,
            Command::SetQuota(_) => !abilities.set_quota || !self.sets_quota,
            Command::SetAcl(_)
            | Command::DeleteAcl(_)
            | Command::GetAcl(_)
            | Command::ListRights(_)
            | Command::MyRights(_) => !abilities.access_lists,
            Command::GetMetadata(_) | Command::SetMetadata(_) => !abilities.annotations,
            Command::GenUrlAuth(_) | Command::ResetKey(_) | Command::UrlFetch(_) => !abilities.url_auth,
            Command::Sort(sort) if sort.query.is_fuzzy() && !abilities.fuzzy => true,
            Command::Thread(thread) if thread.query.is_fuzzy() && !abilities.fuzzy => true,
            Command::MultiSearch(search) if search.query.is_fuzzy() && !abilities.fuzzy => true,
            Command::Search(search) if search.query.is_fuzzy() && !abilities.fuzzy => true,
            Command::Copy(_) => !abilities.write,
            Command::Sort(sort) if !sort.annotations.is_empty() && !abilities.annotates => true,
            Command::Sort(sort) if names_annotations(&sort.query) && !abilities.annotates => true,
            Command::Thread(thread) if names_annotations(&thread.query) && !abilities.annotates => true,
            Command::MultiSearch(search) if names_annotations(&search.query) && !abilities.annotates => true,
            Command::Search(search) if names_annotations(&search.query) && !abilities.annotates => true,
            Command::Sort(sort) if !sort.sent.is_empty() && !abilities.notifies => true,
            Command::Sort(_) | Command::Thread(_) | Command::CancelUpdate(_) | Command::Comparator(_) => {
                !abilities.sorts
            }
            Command::Search(search) => {
                search.returns.is_some_and(|returns| returns.update) && !abilities.sorts
                    // RFC 5465 §7
                    || !search.sent.is_empty() && !abilities.notifies
            }
            Command::Fetch(fetch) => self.is_fetch_beyond(fetch),
            Command::Notify(_) => !abilities.notifies,
            Command::ApplyFilter(_) => !abilities.refilters || read_only,
            Command::Rlist(_) | Command::Rlsub(_) => !self.config.mailbox_referrals,
            Command::MultiSearch(search) => {
                !abilities.searches_all || !search.sent.is_empty() && !abilities.notifies
            }
            Command::Select(select) => {
                (select.mod_sequences || select.resync.is_some()) && !abilities.mod_sequences
                    || select.annotations && !abilities.annotates
            }
            Command::List(list) => list.returns.as_ref().is_some_and(|returns| {
                !returns.status.is_empty() && !abilities.statuses
                    || returns.rights && !abilities.access_lists
                    || !returns.annotations.is_empty() && !abilities.annotations
            }),
            _ => false,
        }
    }

    /// The first item of a status asked for, by STATUS or LIST (RFC 5819), that the application cannot tell of any mailbox.
    pub(super) fn status_item_beyond(&self, command: &Command) -> Option<StatusItem> {
        let items = match command {
            Command::Status(status) => &status.items,
            Command::List(list) => &list.returns.as_ref()?.status,
            _ => return None,
        };
        let abilities = &self.config.abilities;
        items.iter().copied().find(|item| match item {
            // RFC 9208 §4.1.4
            StatusItem::Deleted | StatusItem::DeletedStorage => !abilities.statuses && !abilities.quota,
            StatusItem::Size => !abilities.statuses,
            StatusItem::HighestModSeq => !abilities.mod_sequences,
            // RFC 8474 §4.3
            StatusItem::MailboxId => !abilities.object_ids,
            _ => false,
        })
    }
}
