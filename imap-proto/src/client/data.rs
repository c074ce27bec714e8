//! Untagged data, and the call that collects it.

use mailwright_line_proto::{Closed, PeerMisbehaved};
use mailwright_mail_model::{Uid, UidSet};

use super::{
    Client, Event, Phase,
    calls::{Kind, Pending},
};
use crate::response::{Annotations, Response};

impl Client {
    /// Untagged data that answers a call.
    pub(super) fn data(&mut self, response: Response, octets: &[u8]) -> Option<Event> {
        // RFC 4466 §2.6.2: of several searches, the tag says which; one that is kept up to date has another.
        let answered = match &response {
            Response::Esearch(found) => found.tag.as_deref().map(|tag| self.id_of(tag)),
            _ => None,
        };
        let wanted = |call: &Pending| {
            answered.is_none_or(|id| id == Some(call.id))
                && call.about.takes(&response)
                && matches!(
                    (&call.kind, &response),
                    (Kind::List(_) | Kind::Rlist(_), Response::List(_))
                        | (Kind::Lsub(_) | Kind::Rlsub(_), Response::Lsub(_))
                        | (Kind::Search(_), Response::Search(_))
                        | (Kind::Sort(_), Response::Sort(_))
                        | (Kind::Thread(_), Response::Thread(_))
                        | (Kind::Status(None), Response::MailboxStatus(_))
                        | (Kind::Enable(_), Response::Enabled(_))
                        | (Kind::Namespace(_), Response::Namespace(_))
                        | (Kind::Id(_), Response::Id(_))
                        | (Kind::Find(_), Response::Esearch(_) | Response::Search(_))
                        | (Kind::Search(_), Response::Esearch(_))
                        | (Kind::Quota(_) | Kind::SetQuota(_) | Kind::QuotaRoots(_), Response::Quota(_))
                        | (Kind::QuotaRoots(_), Response::QuotaRoots(_))
                        | (Kind::Acl(_), Response::Acl(_))
                        | (Kind::RightsOf(_), Response::RightsOf(_))
                        | (Kind::OwnRights(_), Response::OwnRights(_))
                        | (
                            Kind::Annotations(_),
                            Response::Annotations(Annotations { names_only: false, .. })
                        )
                )
        };
        let Some(kind) = self.collector(wanted, octets, spread(&response)) else {
            return matches!(self.phase, Phase::Open).then_some(Event::Unasked(response));
        };
        match (kind, response) {
            (
                Kind::List(all) | Kind::Lsub(all) | Kind::Rlist(all) | Kind::Rlsub(all),
                Response::List(one) | Response::Lsub(one),
            ) => all.push(one),
            (Kind::Search(numbers), Response::Search(more)) => numbers.extend(more.numbers),
            (Kind::Sort(numbers), Response::Sort(more)) => numbers.extend(more.numbers),
            (Kind::Thread(threads), Response::Thread(found)) => *threads = found.threads,
            (Kind::Status(slot), Response::MailboxStatus(status)) => *slot = Some(status),
            (Kind::Enable(slot), Response::Enabled(enabled)) => *slot = enabled,
            (Kind::Namespace(slot), Response::Namespace(namespaces)) => *slot = Some(namespaces),
            (Kind::Id(slot), Response::Id(id)) => *slot = Some(id),
            // RFC 9051 §6.4.4: there is no other answer to SEARCH; RFC 4731 §3.1: the numbers may be in any form.
            (Kind::Search(numbers), Response::Esearch(found)) => {
                numbers.extend(found.all.iter().flat_map(UidSet::iter).map(u32::from));
            }
            (Kind::Find(slot), Response::Esearch(found)) => **slot = found,
            (Kind::Find(slot), Response::Search(found)) => {
                let all: UidSet = found.numbers.iter().copied().filter_map(Uid::new).collect();
                slot.min = all.first().map(u32::from);
                slot.max = all.last().map(u32::from);
                slot.count = u32::try_from(all.len()).ok();
                slot.all = Some(all).filter(|all| !all.is_empty());
            }
            (Kind::Quota(slot) | Kind::SetQuota(slot), Response::Quota(root)) => *slot = Some(root),
            (Kind::QuotaRoots(roots), Response::Quota(root)) => roots.push(root),
            (Kind::Acl(slot), Response::Acl(acl)) => *slot = Some(acl),
            (Kind::RightsOf(slot), Response::RightsOf(rights)) => *slot = Some(rights),
            (Kind::OwnRights(slot), Response::OwnRights(rights)) => *slot = Some(rights),
            (Kind::Annotations(all), Response::Annotations(told)) => all.extend(told.entries),
            _ => {}
        }
        None
    }

    /// The first call that `wanted` is true of; what it collects is bounded. `spread` is what numbers take if they are collected one by one.
    pub(super) fn collector(
        &mut self,
        wanted: impl Fn(&Pending) -> bool,
        octets: &[u8],
        spread: u64,
    ) -> Option<&mut Kind> {
        let at = self.pending.iter().position(wanted)?;
        let pending = self.pending.get_mut(at)?;
        let spread = if matches!(pending.kind, Kind::Search(_)) { spread } else { 0 };
        pending.collected = pending.collected.saturating_add(octets.len() as u64).saturating_add(spread);
        if pending.collected > self.config.answer {
            let limit = self.config.answer;
            let what = "octets of responses and numbers";
            self.close(Closed::Misbehaved(PeerMisbehaved::TooLongAnswer { what, limit }));
            return None;
        }
        self.since = None;
        self.pending.get_mut(at).map(|pending| &mut pending.kind)
    }
}

/// How many octets the numbers of a response take that stand in it as ranges: one of few octets may name four thousand million.
fn spread(response: &Response) -> u64 {
    match response {
        Response::Esearch(found) => {
            found.all.as_ref().map_or(0, |all| all.len().saturating_mul(size_of::<u32>() as u64))
        }
        _ => 0,
    }
}
