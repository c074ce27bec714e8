//! What is allowed to whom, how much of it, and what is noted about mailboxes: quota, access control lists, annotations.

use bytes::Bytes;
use mailwright_mail_model::MailboxName;

use super::{Server, answer::Reply, slots::Slot};
use crate::{
    command::{
        DeleteAcl, Depth, GetAcl, GetMetadata, GetQuota, GetQuotaRoot, ListRights, ListedRights, MyRights,
        SetAcl, SetMetadata, SetQuota,
    },
    grammar::{Utf8Wire, Wire},
    refusal::Answered,
    response::{QuotaRoot, ResponseCode},
};

/// Calls with the wire in the encoding of mailbox names that the client wants.
macro_rules! with_wire {
    ($server:expr, |$wire:ident| $body:expr) => {
        match $server.enabled.is_utf8() {
            true => {
                let $wire = &mut Utf8Wire($server.out());
                $body
            }
            false => {
                let $wire = $server.out();
                $body
            }
        }
    };
}

impl Reply for GetQuota {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<QuotaRoot>) {
        if let Ok(root) = &answer {
            root.encode(server.out());
        }
        server.done(&slot, answer.map(drop));
    }
}

impl Reply for SetQuota {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<QuotaRoot>) {
        if let Ok(root) = &answer {
            root.encode(server.out());
        }
        server.done(&slot, answer.map(drop));
    }
}

impl Reply for GetQuotaRoot {
    fn reply(server: &mut Server, slot: Slot, request: Self, answer: Answered<Vec<QuotaRoot>>) {
        if let Ok(roots) = &answer {
            with_wire!(server, |wire| QuotaRoot::encode_roots(&request.mailbox, roots, wire));
            roots.iter().for_each(|root| root.encode(server.out()));
        }
        server.done(&slot, answer.map(drop));
    }
}

impl Reply for GetAcl {
    fn reply(server: &mut Server, slot: Slot, request: Self, answer: Answered<Vec<(String, String)>>) {
        if let Ok(entries) = &answer {
            let words = entries.iter().flat_map(|(who, rights)| [who, rights]).map(String::as_str);
            with_wire!(server, |wire| put_words("ACL", &request.mailbox, words, wire));
        }
        server.done(&slot, answer.map(drop));
    }
}

impl Reply for ListRights {
    fn reply(server: &mut Server, slot: Slot, request: Self, answer: Answered<ListedRights>) {
        if let Ok(rights) = &answer {
            let words = [&request.identifier, &rights.required].into_iter().chain(&rights.optional);
            let words = words.map(String::as_str);
            with_wire!(server, |wire| put_words("LISTRIGHTS", &request.mailbox, words, wire));
        }
        server.done(&slot, answer.map(drop));
    }
}

impl Reply for MyRights {
    fn reply(server: &mut Server, slot: Slot, request: Self, answer: Answered<String>) {
        if let Ok(rights) = &answer {
            with_wire!(server, |wire| put_my_rights(&request.mailbox, rights, wire));
        }
        server.done(&slot, answer.map(drop));
    }
}

impl Reply for GetMetadata {
    fn reply(server: &mut Server, slot: Slot, request: Self, answer: Answered<Vec<(String, Bytes)>>) {
        let all = match answer {
            Ok(all) => all,
            Err(refusal) => return server.refuse(&slot, refusal),
        };
        let limit = request.max_size.map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX));
        let (told, longest) = choose(&all, &request.entries, request.depth, limit);
        let mailbox = request.mailbox.as_ref();
        with_wire!(server, |wire| put_annotations(mailbox, &told, wire));
        // RFC 5464 §4.2.1
        let code = longest
            .and_then(|longest| ResponseCode::other("METADATA", Some(&format!("LONGENTRIES {longest}"))));
        server.succeed(&slot, code);
    }
}

macro_rules! done {
    ($($request:ty),* $(,)?) => {
        $(impl Reply for $request {
            fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<()>) {
                server.done(&slot, answer);
            }
        })*
    };
}

done!(SetAcl, DeleteAcl, SetMetadata);

fn put_words<'a, W: Wire>(
    name: &str,
    mailbox: &MailboxName,
    words: impl Iterator<Item = &'a str>,
    wire: &mut W,
) {
    wire.put(b"* ");
    wire.put(name.as_bytes());
    wire.put(b" ");
    wire.put_mailbox(mailbox);
    for word in words {
        wire.put(b" ");
        wire.put_astring(word.as_bytes());
    }
    wire.put(b"\r\n");
}

/// `* MYRIGHTS`, for LIST too (RFC 8440).
pub(super) fn put_my_rights<W: Wire>(mailbox: &MailboxName, rights: &str, wire: &mut W) {
    put_words("MYRIGHTS", mailbox, std::iter::once(rights), wire);
}

/// An entry that is told of, and its value if it has one.
pub(super) type Told<'a> = (&'a str, Option<&'a Bytes>);

/// Which of all entries are asked for, and how long the longest is of those that are too long.
pub(super) fn choose<'a>(
    all: &'a [(String, Bytes)],
    entries: &'a [String],
    depth: Depth,
    limit: usize,
) -> (Vec<Told<'a>>, Option<usize>) {
    let (mut told, mut longest) = (Vec::new(), None);
    let meant = |entry: &str| entries.iter().any(|named| depth.reaches(named, entry));
    for (entry, value) in all.iter().filter(|(entry, _)| meant(entry)) {
        if value.len() > limit {
            longest = longest.max(Some(value.len()));
        } else {
            told.push((entry.as_str(), Some(value)));
        }
    }
    // What is named and not there is told of too, so that the client need not guess.
    if depth == Depth::Zero {
        let missing = |named: &&String| !all.iter().any(|(entry, _)| entry.eq_ignore_ascii_case(named));
        told.extend(entries.iter().filter(missing).map(|named| (named.as_str(), None)));
    }
    (told, longest)
}

/// `* METADATA` that says which entries changed, and not how (RFC 5464 §4.4.2).
pub(super) fn put_changed_annotations<W: Wire>(
    mailbox: Option<&MailboxName>,
    entries: &[String],
    wire: &mut W,
) {
    wire.put(b"* METADATA ");
    match mailbox {
        Some(mailbox) => wire.put_mailbox(mailbox),
        None => wire.put(b"\"\""),
    }
    for entry in entries {
        wire.put(b" ");
        wire.put_astring(entry.as_bytes());
    }
    wire.put(b"\r\n");
}

/// `* METADATA`, for LIST too (RFC 9590).
pub(super) fn put_annotations<W: Wire>(mailbox: Option<&MailboxName>, told: &[Told<'_>], wire: &mut W) {
    if told.is_empty() {
        return;
    }
    wire.put(b"* METADATA ");
    match mailbox {
        Some(mailbox) => wire.put_mailbox(mailbox),
        None => wire.put(b"\"\""),
    }
    wire.put(b" ");
    wire.put_list(told, |wire, (entry, value)| {
        wire.put_astring(entry.as_bytes());
        wire.put(b" ");
        match value {
            // RFC 5464 §5: NUL only in a literal8.
            Some(value) if memchr::memchr(0, value).is_some() => {
                wire.put(b"~");
                wire.put_literal(value);
            }
            value => wire.put_nstring(value.map(|value| value.as_ref())),
        }
    });
    wire.put(b"\r\n");
}
