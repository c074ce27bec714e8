//! What is sent by itself of messages that come into the open mailbox: as NOTIFY asks for it, and searches whose results are kept up to
//! date (RFC 5465 §5.2, §7).

use mailwright_line_proto::{Ask, Output};
use mailwright_mail_model::UidSet;

use super::{
    Event, Server, State,
    slots::{Kind, Slot},
};
use crate::command::{Fetch, FetchItem};

/// The messages that were announced and are still to be sent, and what of them.
#[derive(Debug, Default)]
pub(super) struct News(Vec<(UidSet, Vec<FetchItem>)>);

impl News {
    /// These items of these messages are to be sent too. RFC 5465 §5.2: each message once, whoever asks for it.
    pub(super) fn send(&mut self, mut uids: UidSet, items: &[FetchItem]) {
        let mut parted = Vec::new();
        for (known, wanted) in &mut self.0 {
            let both = known.intersection(&uids);
            if both.is_empty() {
                continue;
            }
            uids = uids.difference(&both);
            let more = items.iter().filter(|item| !wanted.contains(item)).cloned();
            let all: Vec<FetchItem> = wanted.iter().cloned().chain(more).collect();
            if all.len() > wanted.len() {
                *known = known.difference(&both);
                parted.push((both, all));
            }
        }
        self.0.retain(|(known, _)| !known.is_empty());
        self.0.append(&mut parted);
        if !uids.is_empty() && !items.is_empty() {
            self.0.push((uids, items.to_vec()));
        }
    }
}

impl Server {
    /// Asks for what is to be sent of messages that were announced.
    pub(super) fn follow_news(&mut self) -> Option<Output<Event>> {
        if !self.slots.all_read() {
            return None;
        }
        let State::Selected { view, .. } = &self.state else { return None };
        while !self.news.0.is_empty() {
            let (messages, items) = self.news.0.remove(0);
            let messages = messages.intersection(view.known());
            if messages.is_empty() {
                continue;
            }
            let mut slot = Slot::new("".into(), "FETCH", Kind::News);
            let mod_sequences = self.enabled.mod_sequences;
            // RFC 7162 §3.2.4: with their UID and their mod-sequence, as all that is told without being asked.
            slot.says_uid = items.contains(&FetchItem::Uid) || mod_sequences;
            slot.uses_seqs = true;
            slot.reads = true;
            let id = self.slots.open(slot);
            let told = mod_sequences.then_some(FetchItem::ModSeq);
            let items = items.into_iter().filter(|item| ![FetchItem::Uid, FetchItem::ModSeq].contains(item));
            let fetch = Fetch::new(messages, told.into_iter().chain(items));
            return Some(Output::Event(Event::Fetch(Ask::new(id, fetch))));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_sent_once() {
        let uids = |text: &str| text.parse::<UidSet>().unwrap();
        let mut news = News::default();
        news.send(uids("1:9"), &[FetchItem::Uid, FetchItem::Flags]);
        news.send(uids("4:5"), &[FetchItem::Flags]);
        news.send(uids("5:12"), &[FetchItem::Envelope, FetchItem::Flags]);
        news.send(uids("20"), &[]);
        assert_eq!(
            news.0,
            [
                (uids("1:4"), vec![FetchItem::Uid, FetchItem::Flags]),
                (uids("5:9"), vec![FetchItem::Uid, FetchItem::Flags, FetchItem::Envelope]),
                (uids("10:12"), vec![FetchItem::Envelope, FetchItem::Flags]),
            ]
        );
    }
}
