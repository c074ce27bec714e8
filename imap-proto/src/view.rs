//! What one session has been told of its mailbox: which message has which number, and what it is still to be told.
//!
//! Sequence numbers are made here and nowhere else. The application speaks of UIDs only, so a number can never be
//! taken for that of another message because something was expunged meanwhile (RFC 9051 §7.5.1).

use std::collections::{BTreeMap, BTreeSet};

use mailwright_mail_model::{AnnotationEntry, FlagSet, ModSeq, Uid, UidSet};

use crate::{grammar::Wire, response::encode_vanished, server::Enabled};

/// What happened in the selected mailbox, told to a server by `Server::notify`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Messages came. Their UIDs are above all that were there before; others are passed over.
    Added {
        /// The new messages.
        uids: UidSet,
        /// Those of them that this session is the first to be told of (`\Recent`).
        recent: UidSet,
    },
    /// Messages are gone.
    Removed(UidSet),
    /// A message has these flags now.
    Flags {
        /// Which message.
        uid: Uid,
        /// All its flags.
        flags: FlagSet,
        /// Its mod-sequence, from a store that keeps them.
        mod_seq: Option<ModSeq>,
    },
    /// Others have changed annotations of a message, or removed them. Passed over unless the client
    /// [wants to know](crate::server::Server::tells_annotations).
    Annotations {
        /// Which message.
        uid: Uid,
        /// The names of the entries.
        entries: Vec<AnnotationEntry>,
        /// Its mod-sequence, from a store that keeps them.
        mod_seq: Option<ModSeq>,
    },
    /// Every change up to this mod-sequence was reported, from a store that keeps them. The last of a row of changes:
    /// a client is told no later one while something of what came before is held back (RFC 7162 §6).
    UpTo(ModSeq),
}

/// The numbering of one session, and the changes that wait to be announced.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// The messages the client knows; the first has the number 1. Those in `removed` are still among them.
    known: UidSet,
    /// The highest UID of all that were ever there: no later message has one below (RFC 9051 §2.3.1.1), whatever a store says.
    highest: Option<Uid>,
    recent: UidSet,
    added: UidSet,
    removed: UidSet,
    flags: BTreeMap<Uid, (FlagSet, Option<ModSeq>)>,
    annotations: BTreeMap<Uid, (BTreeSet<AnnotationEntry>, Option<ModSeq>)>,
    tells_annotations: bool,
    /// The last changes of flags that the client has not been told of and is not to be, by their mod-sequences.
    withheld: BTreeMap<Uid, ModSeq>,
    /// Up to which mod-sequence everything was reported, and up to which it was announced.
    reported: Option<ModSeq>,
    announced: Option<ModSeq>,
}

impl View {
    pub(crate) fn new(known: UidSet, recent: &UidSet) -> Self {
        Self { recent: recent.intersection(&known), highest: known.last(), known, ..Self::default() }
    }

    /// With the mod-sequence that the client is told when it opens the mailbox.
    pub(crate) fn up_to(self, mod_seq: Option<ModSeq>) -> Self {
        Self { reported: mod_seq, announced: mod_seq, ..self }
    }

    /// Whether the client asked for the names of annotations that others change, when it opened the mailbox (RFC 5257 §4.2).
    pub(crate) fn telling_annotations(self, tells_annotations: bool) -> Self {
        Self { tells_annotations, ..self }
    }

    pub(crate) fn tells_annotations(&self) -> bool {
        self.tells_annotations
    }

    /// Changes of annotations are not told.
    pub(crate) fn forget_annotations(&mut self) {
        self.annotations.clear();
    }

    /// Up to which mod-sequence everything was announced when something was announced last.
    pub(crate) fn announced(&self) -> Option<ModSeq> {
        self.announced
    }

    /// Up to which mod-sequence the client knows everything.
    pub(crate) fn complete_up_to(&self) -> Option<ModSeq> {
        let up_to = if self.removed.is_empty() { self.reported } else { self.announced };
        let waiting = self.flags.values().filter_map(|(_, mod_seq)| *mod_seq);
        match waiting.chain(self.withheld.values().copied()).min() {
            // RFC 7162 §6: a client asks from there on, and nobody tells it again what came before.
            Some(lowest) => up_to.min(ModSeq::new(lowest.get() - 1).or(self.announced)),
            None => up_to,
        }
    }

    /// The same, if something later is held back from it.
    pub(crate) fn held_back(&self) -> Option<ModSeq> {
        self.complete_up_to().filter(|up_to| Some(*up_to) != self.reported)
    }

    /// All messages the client knows of.
    pub(crate) fn known(&self) -> &UidSet {
        &self.known
    }

    /// Those it is told of next.
    pub(crate) fn added(&self) -> &UidSet {
        &self.added
    }

    /// Changes of flags are not told. That they are not stays known until the client asks for the flags of these messages.
    pub(crate) fn withhold_flags(&mut self) {
        let flags = std::mem::take(&mut self.flags).into_iter();
        self.withheld.extend(flags.filter_map(|(uid, (_, mod_seq))| Some((uid, mod_seq?))));
    }

    /// Those of them that are gone, which the client is not told yet.
    pub(crate) fn removed(&self) -> &UidSet {
        &self.removed
    }

    /// Those that have `\Recent` in this session.
    pub(crate) fn recent(&self) -> &UidSet {
        &self.recent
    }

    /// The number of a message, if the client knows it.
    pub(crate) fn sequence(&self, uid: Uid) -> Option<u64> {
        self.known.contains(uid).then(|| self.known.rank(uid) + 1)
    }

    pub(crate) fn is_recent(&self, uid: Uid) -> bool {
        self.recent.contains(uid)
    }

    /// Whether its flags have changed, and the client was not told.
    pub(crate) fn awaits_flags(&self, uid: Uid) -> bool {
        self.flags.contains_key(&uid) || self.withheld.contains_key(&uid)
    }

    /// The flags of this message were just sent, so an older change of them needs no announcement.
    pub(crate) fn flags_sent(&mut self, uid: Uid) {
        if !self.flags.is_empty() {
            self.flags.remove(&uid);
        }
        if !self.withheld.is_empty() {
            self.withheld.remove(&uid);
        }
    }

    /// Files a change until it may be announced.
    pub(crate) fn note(&mut self, change: Change) {
        match change {
            Change::Added { uids, recent } => {
                let Some(first) = self.highest.map_or(Some(Uid::MIN), Uid::next) else { return };
                let uids = uids.within(first..=Uid::MAX);
                self.recent = self.recent.union(&recent.intersection(&uids));
                self.added = self.added.union(&uids);
            }
            Change::Removed(uids) => {
                let unannounced = self.added.intersection(&uids);
                if !unannounced.is_empty() {
                    self.highest = self.highest.max(unannounced.last());
                    self.added = self.added.difference(&unannounced);
                    self.recent = self.recent.difference(&unannounced);
                }
                self.removed = self.removed.union(&self.known.intersection(&uids));
            }
            Change::Flags { uid, flags, mod_seq } => {
                if self.known.contains(uid) || self.added.contains(uid) {
                    self.flags.insert(uid, (flags, mod_seq));
                }
            }
            Change::Annotations { uid, entries, mod_seq } => {
                if self.known.contains(uid) || self.added.contains(uid) {
                    let (known, last) = self.annotations.entry(uid).or_default();
                    known.extend(entries);
                    *last = (*last).max(mod_seq);
                }
            }
            Change::UpTo(mod_seq) => self.reported = self.reported.max(Some(mod_seq)),
        }
    }

    /// Announces what happened. Without `may_expunge` removed messages keep their number for now; without `tells_new` nothing is said
    /// of new ones.
    pub(crate) fn announce(
        &mut self,
        may_expunge: bool,
        tells_new: bool,
        enabled: Enabled,
        wire: &mut impl Wire,
    ) {
        if may_expunge && !self.removed.is_empty() {
            self.announce_removed(enabled, wire);
        }
        if tells_new && !self.added.is_empty() {
            self.highest = self.highest.max(self.added.last());
            self.known = self.known.union(&self.added);
            self.added = UidSet::new();
            line(wire, self.known.len(), b" EXISTS\r\n");
            // RFC 9051 has no \Recent.
            if !enabled.rev2 {
                line(wire, self.recent.len(), b" RECENT\r\n");
            }
        }
        for (uid, (flags, mod_seq)) in std::mem::take(&mut self.flags) {
            if self.removed.contains(uid) {
                continue;
            }
            let Some(sequence) = self.sequence(uid) else { continue };
            enabled.put_flags((sequence, uid), &flags, self.is_recent(uid), mod_seq, wire);
        }
        for (uid, (entries, mod_seq)) in std::mem::take(&mut self.annotations) {
            if self.removed.contains(uid) {
                continue;
            }
            let Some(sequence) = self.sequence(uid) else { continue };
            enabled.put_annotations((sequence, uid), &entries, mod_seq, wire);
        }
        if self.removed.is_empty() {
            self.announced = self.complete_up_to();
        }
    }

    /// Announces that those of these messages that are gone are, and nothing else: what a command has expunged, to a client that wants
    /// to hear of nothing but what it does.
    pub(crate) fn announce_expunged(&mut self, uids: &UidSet, enabled: Enabled, wire: &mut impl Wire) {
        let others = self.removed.difference(uids);
        self.removed = self.removed.intersection(uids);
        if !self.removed.is_empty() {
            self.announce_removed(enabled, wire);
        }
        self.removed = others;
    }

    fn announce_removed(&mut self, enabled: Enabled, wire: &mut impl Wire) {
        let removed = std::mem::take(&mut self.removed);
        if enabled.vanishes() {
            encode_vanished(false, &removed, wire);
        } else {
            // From the last to the first, so that no number changes before it is used.
            for uid in removed.iter().rev() {
                line(wire, self.known.rank(uid) + 1, b" EXPUNGE\r\n");
            }
        }
        self.known = self.known.difference(&removed);
        self.recent = self.recent.difference(&removed);
        self.withheld.retain(|uid, _| !removed.contains(*uid));
    }
}

fn line(wire: &mut impl Wire, number: u64, rest: &[u8]) {
    wire.put(b"* ");
    wire.put_number(number);
    wire.put(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> UidSet {
        text.parse().unwrap()
    }

    fn announced(view: &mut View, may_expunge: bool) -> String {
        let mut octets = Vec::new();
        view.announce(may_expunge, true, Enabled::default(), &mut octets);
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn holds_back_what_would_change_numbers() {
        let mut view = View::new(set("1,3,5,7"), &set("7"));
        view.note(Change::Removed(set("3,7")));
        view.note(Change::Added { uids: set("8:9"), recent: set("8:9") });
        view.note(Change::Flags {
            uid: Uid::new(5).unwrap(),
            flags: "\\Seen".parse().unwrap(),
            mod_seq: None,
        });
        view.note(Change::Flags { uid: Uid::new(3).unwrap(), flags: FlagSet::new(), mod_seq: None });
        assert_eq!(announced(&mut view, false), "* 6 EXISTS\r\n* 3 RECENT\r\n* 3 FETCH (FLAGS (\\Seen))\r\n");
        assert_eq!(view.sequence(Uid::new(7).unwrap()), Some(4));
        assert_eq!(announced(&mut view, true), "* 4 EXPUNGE\r\n* 2 EXPUNGE\r\n");
        assert_eq!(announced(&mut view, true), "");
        assert_eq!(view.known(), &set("1,5,8:9"));
        assert_eq!(view.recent(), &set("8:9"));
    }

    #[test]
    fn what_is_gone_does_not_come_back() {
        let mut view = View::new(set("1:3"), &UidSet::new());
        let added = |uids| Change::Added { uids: set(uids), recent: UidSet::new() };
        view.note(Change::Removed(set("3")));
        view.note(added("4:5"));
        view.note(Change::Removed(set("5")));
        assert_eq!(announced(&mut view, true), "* 3 EXPUNGE\r\n* 3 EXISTS\r\n* 0 RECENT\r\n");
        view.note(added("3:5"));
        assert_eq!(announced(&mut view, true), "");
        view.note(added("3:6"));
        assert_eq!(announced(&mut view, true), "* 4 EXISTS\r\n* 0 RECENT\r\n");
        assert_eq!(view.known(), &set("1:2,4,6"));
    }

    /// RFC 7162 §6: a client that has been told of a later change asks from there on, so it must not be told too much.
    #[test]
    fn tells_up_to_where_nothing_is_held_back() {
        let mod_seq = |number| ModSeq::new(number);
        let mut view = View::new(set("1:3"), &UidSet::new()).up_to(mod_seq(99));
        assert_eq!(view.held_back(), None);
        view.note(Change::Removed(set("2")));
        view.note(Change::UpTo(mod_seq(100).unwrap()));
        view.note(Change::Flags { uid: Uid::MIN, flags: FlagSet::new(), mod_seq: mod_seq(101) });
        view.note(Change::UpTo(mod_seq(101).unwrap()));
        announced(&mut view, false);
        assert_eq!((view.held_back(), view.reported), (mod_seq(99), mod_seq(101)));
        announced(&mut view, true);
        assert_eq!((view.held_back(), view.announced()), (None, mod_seq(101)));
    }

    /// RFC 7162 §6, RFC 5465 §3.1: changes of flags that a client does not want to hear of are none that it knows.
    #[test]
    fn what_is_withheld_is_not_counted_as_told() {
        let mod_seq = |number| ModSeq::new(number);
        let flags = |uid, number| Change::Flags {
            uid: Uid::new(uid).unwrap(),
            flags: FlagSet::new(),
            mod_seq: mod_seq(number),
        };
        let mut view = View::new(set("1:9"), &UidSet::new()).up_to(mod_seq(6));
        for change in [flags(2, 7), flags(3, 8), flags(2, 9), Change::UpTo(mod_seq(9).unwrap())] {
            view.note(change);
        }
        assert_eq!(view.complete_up_to(), mod_seq(7), "nothing is announced yet");
        view.withhold_flags();
        assert_eq!(announced(&mut view, true), "");
        assert_eq!((view.held_back(), view.announced()), (mod_seq(7), mod_seq(7)));
        assert!(view.awaits_flags(Uid::new(2).unwrap()) && !view.awaits_flags(Uid::new(4).unwrap()));
        // The client asks for those of one, and the other is expunged.
        view.flags_sent(Uid::new(3).unwrap());
        assert_eq!(view.held_back(), mod_seq(8));
        view.note(Change::Removed(set("2")));
        view.note(Change::UpTo(mod_seq(10).unwrap()));
        assert_eq!(view.held_back(), mod_seq(7));
        announced(&mut view, true);
        assert_eq!((view.held_back(), view.announced()), (None, mod_seq(10)));
    }

    /// RFC 5257 §4.4: names and no values.
    #[test]
    fn changed_annotations_are_told_by_name() {
        let mut view = View::new(set("3,5"), &UidSet::new()).telling_annotations(true);
        let change = |uid, entry: &str, mod_seq| Change::Annotations {
            uid: Uid::new(uid).unwrap(),
            entries: vec![entry.parse().unwrap()],
            mod_seq: ModSeq::new(mod_seq),
        };
        view.note(change(5, "/comment", 7));
        view.note(change(5, "/altsubject", 8));
        view.note(change(3, "/comment", 9));
        view.note(change(4, "/comment", 9));
        view.note(Change::Removed(set("3")));
        assert_eq!(announced(&mut view, false), "* 2 FETCH (ANNOTATION (/altsubject /comment))\r\n");
        view.note(change(5, "/comment", 10));
        let mut octets = Vec::new();
        let enabled = Enabled { mod_sequences: true, ..Enabled::default() };
        view.announce(false, true, enabled, &mut octets);
        assert_eq!(octets, b"* 2 FETCH (ANNOTATION (/comment) UID 5 MODSEQ (10))\r\n");
    }

    #[test]
    fn what_came_and_went_unseen_is_not_announced() {
        let mut view = View::new(set("4"), &UidSet::new());
        view.note(Change::Added { uids: set("2,4,9"), recent: set("9") });
        view.note(Change::Removed(set("9,12")));
        assert_eq!(announced(&mut view, true), "");
        assert_eq!((view.known(), view.recent()), (&set("4"), &UidSet::new()));
    }

    #[derive(Debug, Clone)]
    enum Act {
        Add(u8, bool),
        Remove(Vec<prop::sample::Index>),
        Flag(prop::sample::Index),
        Announce(bool),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            (1_u8..5, any::<bool>()).prop_map(|(count, recent)| Act::Add(count, recent)),
            prop::collection::vec(any::<prop::sample::Index>(), 0..4).prop_map(Act::Remove),
            any::<prop::sample::Index>().prop_map(Act::Flag),
            any::<bool>().prop_map(Act::Announce),
        ];
        prop::collection::vec(act, 0..60)
    }

    /// A client that believes what it is told, one line after the other.
    #[derive(Default)]
    struct Client {
        /// The UID of each message by number; new ones get theirs from what the store holds.
        messages: Vec<u32>,
        flagged: Vec<u32>,
    }

    impl Client {
        fn read(&mut self, text: &str, store: &[u32], may_expunge: bool) {
            for line in text.lines() {
                let words: Vec<&str> = line.split(' ').collect();
                let number: usize = words[1].parse().unwrap();
                match words[2] {
                    "EXPUNGE" => {
                        assert!(may_expunge, "{line}");
                        let uid = self.messages.remove(number - 1);
                        assert!(!store.contains(&uid), "{uid} is still there");
                    }
                    "EXISTS" => {
                        assert!(number > self.messages.len(), "EXISTS must not shrink");
                        let last = self.messages.last().copied().unwrap_or(0);
                        self.messages.extend(store.iter().copied().filter(|uid| *uid > last));
                        assert_eq!(self.messages.len(), number);
                    }
                    "FETCH" => self.flagged.push(self.messages[number - 1]),
                    "RECENT" => {}
                    other => panic!("{other}"),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_believing_client_is_never_wrong(start in 0_u32..6, acts in acts()) {
            let mut store: Vec<u32> = (1..=start).map(|uid| uid * 3).collect();
            let mut next = start * 3 + 1;
            let uids = |list: &[u32]| list.iter().filter_map(|uid| Uid::new(*uid)).collect::<UidSet>();
            let mut view = View::new(uids(&store), &UidSet::new());
            // What was announced last: new messages are known by UID only up to here.
            let mut client = Client { messages: store.clone(), ..Client::default() };
            let mut flagged = Vec::new();
            for act in acts {
                match act {
                    Act::Add(count, recent) => {
                        let new: Vec<u32> = (0..u32::from(count)).map(|index| next + index * 2).collect();
                        next += u32::from(count) * 2;
                        store.extend(&new);
                        let recent = if recent { uids(&new) } else { UidSet::new() };
                        view.note(Change::Added { uids: uids(&new), recent });
                    }
                    Act::Remove(which) => {
                        let gone: Vec<u32> = which.iter().filter(|_| !store.is_empty()).map(|index| *index.get(&store)).collect();
                        store.retain(|uid| !gone.contains(uid));
                        flagged.retain(|uid| !gone.contains(uid));
                        view.note(Change::Removed(uids(&gone)));
                    }
                    Act::Flag(which) if !store.is_empty() => {
                        let uid = *which.get(&store);
                        flagged.retain(|other| *other != uid);
                        flagged.push(uid);
                        view.note(Change::Flags { uid: Uid::new(uid).unwrap(), flags: FlagSet::new(), mod_seq: None });
                    }
                    Act::Flag(_) => {}
                    Act::Announce(may_expunge) => {
                        client.read(&announced(&mut view, may_expunge), &store, may_expunge);
                        prop_assert_eq!(view.known(), &uids(&client.messages));
                        let mut told = std::mem::take(&mut client.flagged);
                        told.sort_unstable();
                        flagged.sort_unstable();
                        prop_assert_eq!(told, std::mem::take(&mut flagged));
                        if may_expunge {
                            prop_assert_eq!(&client.messages, &store);
                        }
                        for (index, uid) in client.messages.iter().enumerate() {
                            prop_assert_eq!(view.sequence(Uid::new(*uid).unwrap()), Some(index as u64 + 1));
                        }
                    }
                }
            }
        }
    }
}
