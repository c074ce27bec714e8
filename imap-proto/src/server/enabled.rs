//! What a client has asked for once and for all (RFC 5161), and the commands that ask for it in passing.

use std::collections::BTreeSet;

use mailwright_mail_model::{AnnotationEntry, FlagSet, ModSeq, Uid};

use super::{Server, State, Workarounds};
use crate::{
    command::Enable,
    config::Abilities,
    grammar::Wire,
    response::{ResponseCode, Status},
};

/// What the responses of a session are like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Enabled {
    /// RFC 9051 rather than RFC 3501: nothing is recent, searches are answered with ESEARCH, names are UTF-8.
    pub(crate) rev2: bool,
    /// Mod-sequences stand beside flags (RFC 7162 §3.1).
    pub(crate) mod_sequences: bool,
    /// Expunges are told by UID (RFC 7162 §3.2).
    pub(crate) resync: bool,
    /// RFC 6855.
    pub(crate) utf8: bool,
    /// No sequence numbers at all (RFC 9586).
    pub(crate) uid_only: bool,
    /// Changes of flags are told with the UID, as after NOTIFY (RFC 5465 §5.1).
    pub(crate) flags_by_uid: bool,
}

impl Enabled {
    /// Whether mailbox names and quoted strings are UTF-8.
    pub(crate) fn is_utf8(self) -> bool {
        self.rev2 || self.utf8
    }

    /// Whether expunges are told by UID.
    pub(crate) fn vanishes(self) -> bool {
        self.resync || self.uid_only
    }

    /// Writes the response that a message has these flags.
    pub(crate) fn put_flags(
        self,
        (sequence, uid): (u64, Uid),
        flags: &FlagSet,
        recent: bool,
        mod_seq: Option<ModSeq>,
        wire: &mut impl Wire,
    ) {
        self.put_start((sequence, uid), wire);
        wire.put(b"FLAGS ");
        wire.put_flags_and(flags, (recent && !self.rev2).then_some("\\Recent"));
        self.put_end(uid, mod_seq, wire);
    }

    /// Writes the response that annotations of a message were changed: their names alone (RFC 5257 §4.4).
    pub(crate) fn put_annotations(
        self,
        (sequence, uid): (u64, Uid),
        entries: &BTreeSet<AnnotationEntry>,
        mod_seq: Option<ModSeq>,
        wire: &mut impl Wire,
    ) {
        self.put_start((sequence, uid), wire);
        wire.put(b"ANNOTATION ");
        wire.put_list(entries, |wire, entry| wire.put_astring(entry.as_str().as_bytes()));
        self.put_end(uid, mod_seq, wire);
    }

    fn put_start(self, (sequence, uid): (u64, Uid), wire: &mut impl Wire) {
        wire.put(b"* ");
        wire.put_number(if self.uid_only { uid.get().into() } else { sequence });
        wire.put(if self.uid_only { b" UIDFETCH (" } else { b" FETCH (" });
    }

    fn put_end(self, uid: Uid, mod_seq: Option<ModSeq>, wire: &mut impl Wire) {
        // RFC 7162 §3.2.4: a client that knows mod-sequences is told the UID with them.
        if (self.mod_sequences || self.flags_by_uid) && !self.uid_only {
            wire.put(b" UID ");
            wire.put_number(uid.get().into());
        }
        if let Some(mod_seq) = mod_seq.filter(|_| self.mod_sequences) {
            wire.put(b" MODSEQ (");
            wire.put_number(mod_seq.get());
            wire.put(b")");
        }
        wire.put(b")\r\n");
    }

    /// Switches on what is known of these names; gives those that are on by this.
    fn enable(&mut self, enable: &Enable, abilities: &Abilities, rev2: bool) -> Vec<&'static str> {
        let mut now_on = Vec::new();
        for name in &enable.capabilities {
            let (name, on, able) = match name.as_str() {
                "IMAP4REV2" => ("IMAP4REV2", &mut self.rev2, rev2),
                "CONDSTORE" => ("CONDSTORE", &mut self.mod_sequences, abilities.mod_sequences),
                "QRESYNC" => ("QRESYNC", &mut self.resync, abilities.mod_sequences),
                "UTF8=ACCEPT" => ("UTF8=ACCEPT", &mut self.utf8, true),
                "UIDONLY" => ("UIDONLY", &mut self.uid_only, true),
                _ => continue,
            };
            if able && !std::mem::replace(on, true) {
                now_on.push(name);
            }
        }
        // RFC 7162 §3.2.3: the one is with the other.
        self.mod_sequences |= self.resync;
        now_on
    }
}

impl Server {
    /// Says whether the user may set quotas, where anybody may ([`Abilities::set_quota`]): before the login is answered. Until
    /// then, and after the user has left, yes.
    pub fn allow_set_quota(&mut self, may: bool) {
        self.sets_quota = may;
    }

    /// From now on does this for the client: it is one that is wrong, as it may have said with ID.
    pub fn work_around(&mut self, workarounds: Workarounds) {
        self.workarounds = workarounds;
    }

    /// RFC 5161 §3.1: what is not known or has nothing to enable is passed over.
    pub(super) fn enable(&mut self, enable: &Enable) {
        let rev2 = self.capabilities().has("IMAP4rev2");
        let before = self.enabled.mod_sequences;
        let now_on = self.enabled.enable(enable, &self.config.abilities, rev2);
        if self.enabled.uid_only {
            self.name_by_uid();
        }
        now_on.into_iter().collect::<crate::response::Capabilities>().encode_enabled(&mut self.transmit);
        if self.enabled.mod_sequences && !before {
            self.tell_highest_mod_seq();
        }
    }

    /// The client has shown that it knows mod-sequences (RFC 7162 §3.1).
    pub(super) fn tell_mod_sequences(&mut self) {
        if !std::mem::replace(&mut self.enabled.mod_sequences, true) {
            self.tell_highest_mod_seq();
        }
    }

    /// RFC 7162 §3.1: the first time, the highest one of the open mailbox is told.
    fn tell_highest_mod_seq(&mut self) {
        let State::Selected { view, .. } = &self.state else { return };
        if let Some(mod_seq) = view.announced() {
            let status = Status::ok("the highest mod-sequence").with(ResponseCode::HighestModSeq(mod_seq));
            self.say(None, &status);
        }
    }
}
