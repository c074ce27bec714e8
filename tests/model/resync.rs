//! Opening a mailbox, and coming back to it with what was known of it (RFC 7162 §3.2).

use std::collections::BTreeSet;

use mailwright::imap_proto::response::{FlagList, Response, ResponseCode, StatusKind};

use crate::{
    mail::{Check, Dice, Model, check},
    play::code,
    session::{Answer, Session},
    view::{Seen, View},
};

/// What was said of a mailbox that was opened.
#[derive(Default)]
struct Said {
    exists: Option<u32>,
    next: Option<u32>,
    validity: Option<u32>,
    mod_seq: Option<u64>,
    flags: Option<FlagList>,
    vanished: BTreeSet<u32>,
    closed: bool,
}

pub(crate) async fn select(
    session: &mut Session,
    model: &mut Model,
    dice: &mut Dice,
    name: &str,
    read_only: bool,
) -> Check {
    session.remember();
    let verb = if read_only { "EXAMINE" } else { "SELECT" };
    let memory = session.memory.get(name).cloned().filter(|_| session.profile.qresync && !dice.once_in(4));
    let parameters = match &memory {
        Some(memory) if memory.mail.is_empty() || dice.once_in(2) => {
            format!(" (QRESYNC ({} {}))", memory.validity, memory.mod_seq.max(1))
        }
        Some(memory) => {
            let uids: Vec<String> = memory.mail.iter().map(|seen| seen.uid.to_string()).collect();
            let numbers: Vec<String> = (1..=uids.len()).map(|number| number.to_string()).collect();
            let sample = match dice.once_in(3) {
                true => format!(" ({} {})", numbers.join(","), uids.join(",")),
                false => String::new(),
            };
            format!(" (QRESYNC ({} {} {}{sample}))", memory.validity, memory.mod_seq.max(1), uids.join(","))
        }
        None if dice.once_in(6) => {
            session.profile.condstore = true;
            " (CONDSTORE)".to_owned()
        }
        None => String::new(),
    };
    let had = session.view.take().is_some();
    let answer = session.command(&format!("{verb} {name}{parameters}")).await?;
    let Some(folder) = model.folders.get(name) else { return answer.expect(StatusKind::No) };
    answer.expect(StatusKind::Ok)?;
    let expected = if read_only { ResponseCode::ReadOnly } else { ResponseCode::ReadWrite };
    check!(code(&answer) == Some(&expected), "no {expected:?}");
    let said = said(&answer)?;
    check!(said.closed == had, "CLOSED or not");
    check!(
        said.exists == Some(folder.mail.len() as u32),
        "{:?} messages of {}",
        said.exists,
        folder.mail.len()
    );
    check!(said.next == Some(folder.next), "UIDNEXT {:?}, not {}", said.next, folder.next);
    check!(said.validity == Some(folder.validity), "UIDVALIDITY {:?}", said.validity);
    check!(said.mod_seq == Some(folder.highest), "HIGHESTMODSEQ {:?}, not {}", said.mod_seq, folder.highest);
    let flags = said.flags.ok_or("no FLAGS")?;
    for flag in folder.mail.values().flat_map(|mail| &mail.flags) {
        check!(flags.flags.iter().any(|known| known.as_str() == flag), "{flag} is not among FLAGS");
    }
    let mut view = View {
        name: name.to_owned(),
        identity: folder.identity,
        validity: folder.validity,
        read_only,
        mail: folder.mail.keys().map(|uid| Seen { uid: *uid, flags: None, mod_seq: 0 }).collect(),
        top: folder.next - 1,
        mod_seq: folder.highest,
        told: 0,
        said: None,
        recent: 0,
    };
    let memory = memory.filter(|memory| memory.validity == folder.validity);
    if memory.is_none() {
        check!(said.vanished.is_empty(), "VANISHED (EARLIER) of what nobody knew");
        // There may be flags of messages that nobody asked for only if somebody came back.
        check!(
            !answer.said.iter().any(|(response, _)| matches!(response, Response::Fetch(_))),
            "FETCH of what nobody knew"
        );
    }
    let back = memory.as_ref();
    for seen in back.into_iter().flat_map(|memory| &memory.mail) {
        match view.seen(seen.uid) {
            Some(now) => now.flags = seen.flags.clone(),
            None => check!(
                said.vanished.contains(&seen.uid),
                "UID {} is gone, and nothing is said of it",
                seen.uid
            ),
        }
    }
    check!(said.vanished.iter().all(|uid| !folder.mail.contains_key(uid)), "VANISHED of what is there");
    session.view = Some(view);
    let news = session.believe(
        &answer
            .said
            .iter()
            .filter(|(response, _)| matches!(response, Response::Fetch(_)))
            .cloned()
            .collect::<Vec<_>>(),
        model,
        false,
    )?;
    let folder = session.folder(model).ok_or("no mailbox")?;
    if let Some(memory) = back {
        for (uid, _) in folder.mail.iter().filter(|(_, mail)| mail.mod_seq > memory.mod_seq.max(1)) {
            check!(
                news.iter().any(|news| news.uid == *uid && news.flags.is_some() && news.mod_seq.is_some()),
                "UID {uid} has changed, and nothing is said of it"
            );
        }
    }
    if let (Some(view), Some(_)) = (&session.view, back) {
        check!(view.is_complete(), "flags are unknown after coming back");
    }
    session.compare(model)
}

fn said(answer: &Answer) -> Check<Said> {
    let mut said = Said::default();
    for (response, text) in &answer.said {
        match response {
            Response::Exists(count) => said.exists = Some(*count),
            Response::Flags(flags) => said.flags = Some(flags.clone()),
            Response::Vanished { earlier, uids } => {
                check!(*earlier, "{text}: not EARLIER");
                said.vanished.extend(uids.iter().map(u32::from));
            }
            Response::Expunge(_) => return Err("EXPUNGE in the answer to SELECT".into()),
            Response::Status(status) => match &status.code {
                Some(ResponseCode::UidNext(uid)) => said.next = Some((*uid).into()),
                Some(ResponseCode::UidValidity(validity)) => said.validity = Some(validity.get()),
                Some(ResponseCode::HighestModSeq(mod_seq)) => said.mod_seq = Some(mod_seq.get()),
                Some(ResponseCode::Closed) => said.closed = true,
                _ => {}
            },
            _ => {}
        }
    }
    Ok(said)
}

/// `VANISHED (EARLIER)` in the answer to FETCH (RFC 7162 §3.2.6).
pub(crate) fn earlier(
    session: &Session,
    model: &mut Model,
    answer: &Answer,
    named: &BTreeSet<u32>,
    since: Option<u64>,
) -> Check {
    let mut vanished = BTreeSet::new();
    for (response, _) in &answer.said {
        if let Response::Vanished { earlier: true, uids } = response {
            check!(since.is_some(), "VANISHED (EARLIER) although nobody asked");
            vanished.extend(uids.iter().map(u32::from));
        }
    }
    let (Some(folder), Some(since)) = (session.folder(model), since) else { return Ok(()) };
    for (uid, _) in folder.gone.iter().filter(|(uid, when)| **when > since && named.contains(uid)) {
        check!(vanished.contains(uid), "UID {uid} has vanished since {since}, and nothing is said of it");
    }
    check!(vanished.iter().all(|uid| !folder.mail.contains_key(uid)), "VANISHED of what is there");
    Ok(())
}

/// The mod-sequence that EXPUNGE and MOVE end with (RFC 7162 §3.2.7).
pub(crate) fn highest(session: &Session, model: &mut Model, answer: &Answer, expunged: bool) -> Check {
    let Some(folder) = session.folder(model) else { return Ok(()) };
    match code(answer) {
        Some(ResponseCode::HighestModSeq(mod_seq)) => {
            check!(mod_seq.get() == folder.highest, "HIGHESTMODSEQ {mod_seq}, not {}", folder.highest);
        }
        _ => check!(!(expunged && session.profile.qresync), "no HIGHESTMODSEQ"),
    }
    Ok(())
}
