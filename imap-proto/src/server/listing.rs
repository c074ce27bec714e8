//! LIST and LSUB: which names a pattern means, and what is said of them.

use std::collections::BTreeSet;

use mailwright_line_proto::Transmit;
use mailwright_mail_model::{MailboxName, MailboxPattern, SpecialUse};

use super::{
    ListEntry, Mailboxes, Server,
    answer::Reply,
    sharing::{choose, put_annotations, put_my_rights},
    slots::{Kind, ListForm, Slot},
};
use crate::{
    command::{Depth, List, ListReturn, ListSelection},
    grammar::{Utf8Wire, Wire},
    refusal::Answered,
    response::{ListAttribute, Listed},
};

impl Reply for Mailboxes {
    fn reply(server: &mut Server, slot: Slot, request: Self, mut answer: Answered<Vec<ListEntry>>) {
        if let Ok(entries) = &mut answer {
            // RFC 2193 §4: others would not find them.
            entries.retain(|entry| request.remote || !entry.remote);
        }
        let (Ok(entries), Kind::List { list, form }) = (&answer, &slot.kind) else {
            return server.done(&slot, answer.map(drop));
        };
        let utf8 = server.enabled.is_utf8();
        let wire = server.out();
        match (utf8, *form) {
            (true, ListForm::Lsub | ListForm::Rlsub) => list_subscribed(list, entries, &mut Utf8Wire(wire)),
            (false, ListForm::Lsub | ListForm::Rlsub) => list_subscribed(list, entries, wire),
            (true, ListForm::List | ListForm::Rlist) => put(list, &request, entries, &mut Utf8Wire(wire)),
            (false, ListForm::List | ListForm::Rlist) => put::<Transmit>(list, &request, entries, wire),
            (true, ListForm::Xlist) => list_with_uses(list, entries, &mut Utf8Wire(wire)),
            (false, ListForm::Xlist) => list_with_uses(list, entries, wire),
        }
        server.succeed(&slot, None);
    }
}

fn put<W: Wire>(list: &List, request: &Mailboxes, entries: &[ListEntry], wire: &mut W) {
    let matchers = list.matchers();
    let matches = |name: &MailboxName| matchers.iter().any(|matcher| matcher.matches(name));
    if list.pattern.is_empty() {
        Listed::root().encode(wire);
    }
    if !list.is_extended() {
        let listed = entries.iter().filter(|entry| entry.exists && matches(&entry.mailbox));
        return listed.for_each(|entry| entry.listed().encode(wire));
    }
    let selection = list.selection.unwrap_or_default();
    let no_returns = ListReturn::default();
    let returns = list.returns.as_ref().unwrap_or(&no_returns);
    let above =
        if selection.recursive_match { above(entries, selection, &matchers) } else { BTreeSet::new() };
    for entry in entries.iter().filter(|entry| matches(&entry.mailbox)) {
        let child_info = above.contains(&entry.mailbox);
        if !selection.means(entry) && !child_info {
            continue;
        }
        let mut listed = entry.listed();
        if !entry.exists {
            // RFC 5258 §3: \NonExistent says \Noselect too.
            listed.attributes.retain(|attribute| *attribute != ListAttribute::NoSelect);
            listed.attributes.insert(0, ListAttribute::NonExistent);
        }
        if entry.subscribed && (selection.subscribed || returns.subscribed) {
            listed.attributes.push(ListAttribute::Subscribed);
        }
        let below = if child_info { selection.words() } else { Vec::new() };
        listed.encode_extended(&below, wire);
        // RFC 5819 §2: of what cannot be selected there is no status.
        if let Some(status) = entry.status.as_ref().filter(|_| entry.selectable && entry.exists)
            && !request.status.is_empty()
        {
            let asked = crate::command::Status::new(entry.mailbox.clone(), request.status.iter().copied());
            asked.only_asked_for(status.clone()).encode(wire);
        }
        // RFC 8440 §4, RFC 9590 §3: nor are there rights to it, or notes about it.
        if !entry.exists || !entry.selectable {
            continue;
        }
        if let Some(rights) = entry.rights.as_ref().filter(|_| returns.rights) {
            put_my_rights(&entry.mailbox, rights, wire);
        }
        // Nothing is said of those that may not be read: NIL would say that there is nothing.
        if let Some(noted) = entry.annotations.as_ref().filter(|_| !returns.annotations.is_empty()) {
            let (told, _) = choose(noted, &returns.annotations, Depth::Zero, usize::MAX);
            put_annotations(Some(&entry.mailbox), &told, wire);
        }
    }
    // Levels that nobody made and that match: there is something meant below them (RFC 5258 §3.1).
    for name in above {
        if !entries.iter().any(|entry| entry.mailbox == name) {
            let attributes = vec![ListAttribute::NonExistent, children(entries, &name)];
            Listed::new(name, attributes).encode_extended(&selection.words(), wire);
        }
    }
}

/// XLIST: all that LIST says, and special uses by the names that Gmail had for them.
fn list_with_uses<W: Wire>(list: &List, entries: &[ListEntry], wire: &mut W) {
    if list.pattern.is_empty() {
        return Listed::root().encode_xlist(wire);
    }
    let matcher = list.matcher();
    for entry in entries.iter().filter(|entry| entry.exists && matcher.matches(&entry.mailbox)) {
        let mut listed = entry.listed();
        for attribute in &mut listed.attributes {
            if let ListAttribute::Special(special) = attribute
                && let Some((_, name)) = OLD_NAMES.iter().find(|(known, _)| known == special)
            {
                *attribute = ListAttribute::Other((*name).into());
            }
        }
        if entry.mailbox.is_inbox() {
            listed.attributes.push(ListAttribute::Other("\\Inbox".into()));
        }
        listed.encode_xlist(wire);
    }
}

/// The special uses that are called otherwise in the answer to XLIST. The rest have the names of RFC 6154, as at Cyrus.
static OLD_NAMES: [(SpecialUse, &str); 3] =
    [(SpecialUse::All, "\\AllMail"), (SpecialUse::Flagged, "\\Starred"), (SpecialUse::Junk, "\\Spam")];

impl ListSelection {
    fn means(self, entry: &ListEntry) -> bool {
        (if self.subscribed { entry.subscribed } else { entry.exists })
            && (!self.special_use || !entry.special_use.is_empty())
    }

    /// What CHILDINFO says that there is below (RFC 5258 §3.5).
    fn words(self) -> Vec<&'static str> {
        let words = [("SUBSCRIBED", self.subscribed), ("SPECIAL-USE", self.special_use)];
        words.into_iter().filter(|(_, on)| *on).map(|(word, _)| word).collect()
    }
}

/// Names that match below which there is something meant that does not match itself.
fn above(
    entries: &[ListEntry],
    selection: ListSelection,
    matchers: &[MailboxPattern],
) -> BTreeSet<MailboxName> {
    let matches = |name: &MailboxName| matchers.iter().any(|matcher| matcher.matches(name));
    let mut above = BTreeSet::new();
    for entry in entries.iter().filter(|entry| selection.means(entry) && !matches(&entry.mailbox)) {
        let levels = std::iter::successors(entry.mailbox.parent(), MailboxName::parent);
        above.extend(levels.filter(matches));
    }
    above
}

/// What is said of the children of a level that nobody made: names that are only subscribed to are none (RFC 5258 §4, example 10 of §5).
fn children(entries: &[ListEntry], level: &MailboxName) -> ListAttribute {
    let is_above = |name: &MailboxName| {
        std::iter::successors(name.parent(), MailboxName::parent).any(|parent| parent == *level)
    };
    match entries.iter().any(|entry| entry.exists && is_above(&entry.mailbox)) {
        true => ListAttribute::HasChildren,
        false => ListAttribute::HasNoChildren,
    }
}

fn list_subscribed<W: Wire>(list: &List, entries: &[ListEntry], wire: &mut W) {
    let matcher = list.matcher();
    let subscribed = || entries.iter().filter(|entry| entry.subscribed);
    let mut above = BTreeSet::new();
    for entry in subscribed() {
        if matcher.matches(&entry.mailbox) {
            entry.listed().encode_lsub(wire);
            continue;
        }
        // RFC 3501 §6.3.9: a level that matches `%` is listed as \Noselect if only names below it are subscribed.
        let mut parent = entry.mailbox.parent();
        while let Some(name) = parent {
            parent = name.parent();
            if matcher.matches(&name) {
                above.insert(name);
            }
        }
    }
    for entry in subscribed() {
        above.remove(&entry.mailbox);
    }
    for name in above {
        Listed::new(name, vec![ListAttribute::NoSelect]).encode_lsub(wire);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_uses_have_their_old_names() {
        let entry = |name: &str, special| {
            let mut entry = ListEntry::new(MailboxName::new(name).unwrap());
            entry.special_use = vec![special];
            entry
        };
        let entries = [
            entry("INBOX", SpecialUse::Important),
            entry("a", SpecialUse::All),
            entry("b", SpecialUse::Flagged),
            entry("c", SpecialUse::Junk),
            entry("d", SpecialUse::Drafts),
            entry("e", SpecialUse::Trash),
        ];
        let mut wire = Vec::new();
        list_with_uses(&List::new("", "*"), &entries, &mut wire);
        assert_eq!(
            String::from_utf8(wire).unwrap(),
            "* XLIST (\\Important \\Inbox) \"/\" INBOX\r\n* XLIST (\\AllMail) \"/\" a\r\n\
             * XLIST (\\Starred) \"/\" b\r\n* XLIST (\\Spam) \"/\" c\r\n\
             * XLIST (\\Drafts) \"/\" d\r\n* XLIST (\\Trash) \"/\" e\r\n"
        );
    }
}
