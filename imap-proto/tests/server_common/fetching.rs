//! FETCH from the store in memory.

use std::cell::LazyCell;

use bytes::Bytes;
use mailwright_imap_proto::{
    command::{BodySection, FetchItem},
    response::ChosenFields,
    server::{FetchData, Server},
};
use mailwright_mail_model::{Flag, ModSeq, Uid, UidSet, mime::Structure};

use super::App;

impl App {
    pub(super) fn fetch(
        &mut self,
        server: &mut Server,
        ask: &mailwright_line_proto::Ask<mailwright_imap_proto::command::Fetch<UidSet>>,
    ) {
        if let (Some(named), Some(since)) = (&ask.vanished, ask.changed_since) {
            let gone = self.open().gone_since(since.get()).intersection(named);
            server.vanished(ask, &gone).unwrap();
        }
        for uid in ask.messages.iter() {
            let folder = self.open();
            let Some(message) = folder.messages.iter_mut().find(|message| message.uid == uid) else {
                continue;
            };
            if ask.changed_since.is_some_and(|since| message.mod_seq <= since.get()) {
                continue;
            }
            let tells =
                ask.sets_seen() && message.flags.insert(Flag::Seen) && !ask.items.contains(&FetchItem::Flags);
            let message = message.clone();
            // Most commands that are repeated without end want none of it.
            let structure = LazyCell::new(|| Structure::of(&message.octets));
            let sections: Vec<(BodySection, Option<Bytes>)> = ask
                .items
                .iter()
                .filter_map(|item| match item {
                    FetchItem::Section(section) => {
                        Some((section.clone(), cut(&message.octets, &structure, section)))
                    }
                    _ => None,
                })
                .collect();
            // Fields of the message's own header are found where they are written.
            let chosen: Vec<(&BodySection, ChosenFields)> = sections
                .iter()
                .filter(|(section, _)| section.section.part.is_empty())
                .filter_map(|(section, _)| Some((section, ChosenFields::new(section)?)))
                .collect();
            let fields = |section: &BodySection| {
                chosen.iter().find(|(one, _)| *one == section).map(|(_, chosen)| chosen)
            };
            let mut data = Vec::new();
            for item in &ask.items {
                data.push(match item {
                    FetchItem::Flags => FetchData::Flags(&message.flags),
                    FetchItem::InternalDate => FetchData::InternalDate(message.date),
                    FetchItem::Size => FetchData::Size(message.octets.len() as u64),
                    FetchItem::Envelope => {
                        FetchData::Envelope(structure.part(0).unwrap().envelope().unwrap())
                    }
                    FetchItem::Body => FetchData::Body(&structure),
                    FetchItem::BodyStructure => FetchData::BodyStructure(&structure),
                    FetchItem::Section(section) if fields(section).is_some() => {
                        FetchData::Fields(fields(section).unwrap(), &message.octets)
                    }
                    FetchItem::Section(section) => {
                        let (_, octets) = sections.iter().find(|(one, _)| one == section).unwrap();
                        match octets {
                            Some(octets) if octets.len() > 300 => {
                                FetchData::Stream(section, octets.len() as u64)
                            }
                            octets => FetchData::Section(section, octets.as_ref()),
                        }
                    }
                    FetchItem::ModSeq => FetchData::ModSeq(ModSeq::new(message.mod_seq).unwrap()),
                    FetchItem::SaveDate => FetchData::SaveDate(Some(message.date)),
                    FetchItem::Annotations(asked) => FetchData::Annotations(asked, &message.annotations),
                    FetchItem::EmailId => FetchData::EmailId("M6d99ac3275bb4e"),
                    FetchItem::ThreadId => FetchData::ThreadId(None),
                    FetchItem::Preview { .. } => FetchData::Preview(Some("Good afternoon.")),
                    FetchItem::FuzzyPreview { name, lazy } => {
                        FetchData::FuzzyPreview(*name, Some("Good afternoon.").filter(|_| !lazy))
                    }
                    FetchItem::BinarySize(part) => FetchData::BinarySize(part, 17),
                    // The message itself streams, a part comes in one piece.
                    FetchItem::Binary(section) if section.part.is_empty() => {
                        FetchData::StreamBinary(section, self.binary.len() as u64)
                    }
                    FetchItem::Binary(section) => FetchData::Binary(section, Some(&self.binary)),
                    other => panic!("{other:?}"),
                });
            }
            if tells {
                data.push(FetchData::Flags(&message.flags));
            }
            self.send(server, ask, uid, &data, &sections);
        }
    }

    /// Sends the items; the octets of those that stream come in two pieces.
    fn send(
        &self,
        server: &mut Server,
        ask: &mailwright_line_proto::Ask<mailwright_imap_proto::command::Fetch<UidSet>>,
        uid: Uid,
        data: &[FetchData<'_>],
        sections: &[(BodySection, Option<Bytes>)],
    ) {
        let mut rest = data;
        let mut begun = false;
        loop {
            let is_stream =
                |item: &FetchData<'_>| matches!(item, FetchData::Stream(..) | FetchData::StreamBinary(..));
            let streams = rest.iter().position(is_stream);
            let (now, later) = rest.split_at(streams.map_or(rest.len(), |at| at + 1));
            if begun {
                server.fetch_more(now).unwrap();
            } else if !server.fetch(ask, uid, now).unwrap() {
                return;
            }
            begun = true;
            let octets = match now.last() {
                Some(FetchData::Stream(section, _)) => {
                    sections.iter().find(|(one, _)| one == *section).unwrap().1.clone().unwrap()
                }
                Some(FetchData::StreamBinary(..)) => self.binary.clone(),
                _ => return,
            };
            let half = octets.len() / 2;
            server.send_body(octets.slice(..half)).unwrap();
            server.send_body(octets.slice(half..)).unwrap();
            if later.is_empty() {
                return server.end_body().unwrap();
            }
            rest = later;
        }
    }
}

pub(super) fn cut(message: &Bytes, structure: &Structure, section: &BodySection) -> Option<Bytes> {
    let range = structure.locate(&section.section.locator().ok()?)?;
    let octets = message.slice(range.start as usize..range.end as usize);
    let octets = section.section.select(&octets).map_or(octets, Bytes::from);
    let Some(partial) = section.partial else { return Some(octets) };
    let start = (partial.offset as usize).min(octets.len());
    let end = start.saturating_add(partial.length as usize).min(octets.len());
    Some(octets.slice(start..end))
}
