//! Commands about messages: STORE, FETCH, COPY, MOVE and EXPUNGE.

use std::collections::BTreeSet;

use mailwright::imap_proto::response::{Response, ResponseCode, StatusKind};

use crate::{
    mail::{Check, Flags, Mail, check},
    play::{Game, changed, code},
    resync,
    session::Session,
};

impl Game {
    pub(crate) async fn store(&mut self, session: &mut Session) -> Check {
        let Some(some) = self.some(session) else { return Ok(()) };
        let silent = self.dice.once_in(3);
        let sign = *self.dice.of(&["", "+", "-"]);
        let flags = self.flags(3);
        let folder = session.folder(&mut self.model).ok_or("no mailbox")?;
        let since = self.dice.once_in(4).then(|| folder.highest.saturating_sub(self.dice.below(6) as u64));
        let limit = since.map(|since| format!(" (UNCHANGEDSINCE {since})")).unwrap_or_default();
        let shown: Vec<&str> = flags.iter().map(String::as_str).collect();
        let command = format!(
            "{}STORE {}{limit} {sign}FLAGS{} ({})",
            some.word(),
            some.named,
            if silent { ".SILENT" } else { "" },
            shown.join(" ")
        );
        let before = session.view.clone().ok_or("no mailbox")?;
        session.profile.condstore |= since.is_some();
        let answer = session.command(&command).await?;
        if before.read_only {
            answer.expect(StatusKind::No)?;
            return session.believe(&answer.said, &mut self.model, some.by_uid).map(drop);
        }
        let ghosts = some.uids.iter().any(|uid| !folder.mail.contains_key(uid));
        if !answer.is_ok() {
            check!(ghosts, "STORE was refused");
            answer.expect(StatusKind::No)?;
            return session.believe(&answer.said, &mut self.model, some.by_uid).map(drop);
        }
        let (mut modified, mut applied) = (BTreeSet::new(), BTreeSet::new());
        for uid in &some.uids {
            let Some(mail) = folder.mail.get_mut(uid) else { continue };
            if since.is_some_and(|since| mail.mod_seq > since) {
                modified.insert(*uid);
                continue;
            }
            applied.insert(*uid);
            let flags = changed(&mail.flags, sign, &flags);
            mail.set(flags);
        }
        self.model.compare(&self.world.store, &self.world.user).await?;
        // A client that does not want to hear what it did itself knows it.
        if silent && let Some(view) = &mut session.view {
            for uid in &applied {
                if let Some(seen) = view.seen(*uid) {
                    seen.flags = seen.flags.as_ref().map(|before| changed(before, sign, &flags));
                }
            }
        }
        let said = match code(&answer) {
            Some(ResponseCode::Modified(numbers)) if some.by_uid => {
                numbers.iter().map(|uid| uid.get()).collect()
            }
            Some(ResponseCode::Modified(numbers)) => {
                numbers.iter().map(|number| before.mail[number.get() as usize - 1].uid).collect()
            }
            _ => BTreeSet::new(),
        };
        check!(modified.is_subset(&said), "MODIFIED names {said:?}, not {modified:?}");
        check!(
            said.difference(&modified)
                .all(|uid| !before.uids().is_subset(&applied) && !applied.contains(uid)),
            "MODIFIED names {said:?}, where {applied:?} were changed"
        );
        let news = session.believe(&answer.said, &mut self.model, some.by_uid)?;
        for uid in applied.iter().filter(|_| !silent) {
            check!(
                news.iter().any(|news| news.uid == *uid && news.flags.is_some()),
                "nothing is told of the flags of UID {uid}"
            );
        }
        for uid in applied.iter().filter(|_| session.profile.condstore) {
            check!(
                news.iter().any(|news| news.uid == *uid && news.mod_seq.is_some()),
                "nothing is told of the MODSEQ of UID {uid}"
            );
        }
        self.flags_are_right(session)
    }

    /// What the client believes of flags, but for messages that are gone.
    pub(crate) fn flags_are_right(&mut self, session: &Session) -> Check {
        let (Some(view), Some(folder)) = (&session.view, session.folder(&mut self.model)) else {
            return Ok(());
        };
        for seen in &view.mail {
            let (Some(mail), Some(flags)) = (folder.mail.get(&seen.uid), &seen.flags) else { continue };
            check!(*flags == mail.flags, "the client believes that UID {} has {flags:?}", seen.uid);
        }
        Ok(())
    }

    pub(crate) async fn fetch(&mut self, session: &mut Session) -> Check {
        let Some(some) = self.some(session) else { return Ok(()) };
        let folder = session.folder(&mut self.model).ok_or("no mailbox")?;
        let since =
            self.dice.once_in(4).then(|| folder.highest.saturating_sub(self.dice.below(8) as u64).max(1));
        let vanished = since.is_some() && some.by_uid && session.profile.qresync && self.dice.once_in(2);
        let items = *self.dice.of(&[
            "FLAGS",
            "FLAGS",
            "(FLAGS UID)",
            "(UID FLAGS MODSEQ)",
            "(RFC822.SIZE FLAGS)",
            "BODY[]",
            "(BODY.PEEK[] FLAGS)",
        ]);
        session.profile.condstore |= items.contains("MODSEQ") || since.is_some();
        let modifier = match since {
            Some(since) if vanished => format!(" (CHANGEDSINCE {since} VANISHED)"),
            Some(since) => format!(" (CHANGEDSINCE {since})"),
            None => String::new(),
        };
        let before = session.view.clone().ok_or("no mailbox")?;
        let answer =
            session.command(&format!("{}FETCH {} {items}{modifier}", some.word(), some.named)).await?;
        let ghosts = some.uids.iter().any(|uid| !folder.mail.contains_key(uid));
        if !answer.is_ok() {
            check!(ghosts && !some.by_uid, "FETCH was refused");
            answer.expect(StatusKind::No)?;
        }
        let wanted = |mail: &Mail| since.is_none_or(|since| mail.mod_seq > since);
        // RFC 7162 §3.1.4.1: what has not changed is neither sent nor marked as seen.
        let marks = items == "BODY[]" && !before.read_only;
        let wanted: BTreeSet<u32> =
            some.uids.iter().filter(|uid| folder.mail.get(uid).is_some_and(wanted)).copied().collect();
        if marks {
            for uid in &wanted {
                let Some(mail) = folder.mail.get_mut(uid) else { continue };
                let seen = changed(&mail.flags, "+", &Flags::from(["\\Seen".to_owned()]));
                mail.set(seen);
            }
        }
        self.model.compare(&self.world.store, &self.world.user).await?;
        resync::earlier(session, &mut self.model, &answer, &some.uids, since.filter(|_| vanished))?;
        session.profile.asked = true;
        let news = session.believe(&answer.said, &mut self.model, some.by_uid);
        session.profile.asked = false;
        let news = news?;
        let folder = session.folder(&mut self.model).ok_or("no mailbox")?;
        for uid in &wanted {
            let told: Vec<_> = news.iter().filter(|news| news.uid == *uid).collect();
            check!(!told.is_empty(), "nothing is told of UID {uid}");
            let text = folder.mail[uid].text();
            for news in &told {
                let right = news.octets.as_ref().is_none_or(|octets| *octets == *text.as_bytes());
                check!(right, "UID {uid} is {text:?}");
                check!(
                    news.size.is_none_or(|size| size == text.len() as u64),
                    "UID {uid} has {} octets",
                    text.len()
                );
            }
            check!(
                !items.contains("FLAGS") || told.iter().any(|news| news.flags.is_some()),
                "no flags of UID {uid}"
            );
            check!(
                !items.contains("BODY") || told.iter().any(|news| news.octets.is_some()),
                "no octets of UID {uid}"
            );
            check!(
                !items.contains("SIZE") || told.iter().any(|news| news.size.is_some()),
                "no size of UID {uid}"
            );
            check!(
                !(items.contains("MODSEQ") || since.is_some())
                    || told.iter().any(|news| news.mod_seq.is_some()),
                "no MODSEQ of UID {uid}"
            );
        }
        self.flags_are_right(session)
    }

    /// Asks for all flags, so that there is something to remember.
    pub(crate) async fn learn(&mut self, session: &mut Session) -> Check {
        let before = session.view.as_ref().ok_or("no mailbox")?.uids();
        let answer = session.command("UID FETCH 1:* (FLAGS)").await?;
        answer.expect(StatusKind::Ok)?;
        session.profile.asked = true;
        let believed = session.believe(&answer.said, &mut self.model, true);
        session.profile.asked = false;
        believed?;
        self.refresh(session).await?;
        let Some(view) = &session.view else { return Ok(()) };
        // What the client did not know of was not named by its command.
        let unknown = view.mail.iter().find(|seen| seen.flags.is_none() && before.contains(&seen.uid));
        check!(unknown.is_none(), "{unknown:?} is unknown after all were asked for");
        Ok(())
    }

    pub(crate) async fn copy(&mut self, session: &mut Session) -> Check {
        let Some(some) = self.some(session) else { return Ok(()) };
        let (moves, to) = (self.dice.once_in(2), self.name());
        let verb = if moves { "MOVE" } else { "COPY" };
        let before = session.view.clone().ok_or("no mailbox")?;
        let answer = session.command(&format!("{}{verb} {} {to}", some.word(), some.named)).await?;
        let folder = session.folder(&mut self.model).ok_or("no mailbox")?;
        let there: Vec<(u32, Mail)> =
            some.uids.iter().filter_map(|uid| Some((*uid, folder.mail.get(uid)?.clone()))).collect();
        let whole = there.len() == some.uids.len();
        if moves && before.read_only {
            answer.expect(StatusKind::No)?;
        } else if !self.model.folders.contains_key(&to) {
            check!(!answer.is_ok() || some.uids.is_empty(), "copied to nowhere");
            check!(there.is_empty() || code(&answer) == Some(&ResponseCode::TryCreate), "no TRYCREATE");
        } else if !answer.is_ok() {
            // RFC 2180 §4.4.1: all or nothing, if some of them are gone.
            check!(!whole, "{verb} was refused");
        } else {
            let target = self.model.folders.get_mut(&to).ok_or("no mailbox")?;
            let copies: Vec<u32> =
                there.iter().map(|(_, mail)| target.append(mail.flags.clone(), mail.token)).collect();
            let validity = target.validity;
            if moves && let Some(folder) = session.folder(&mut self.model) {
                there.iter().for_each(|(uid, _)| folder.remove(*uid));
            }
            let untagged = answer.said.iter().filter_map(|(response, _)| match response {
                Response::Status(status) => status.code.as_ref(),
                _ => None,
            });
            match untagged.chain(code(&answer)).find(|code| matches!(code, ResponseCode::CopyUid { .. })) {
                Some(ResponseCode::CopyUid { validity: said, source, target }) => {
                    check!(said.get() == validity, "COPYUID: another UIDVALIDITY");
                    let source: Vec<u32> = source.iter().map(u32::from).collect();
                    let target: Vec<u32> = target.iter().map(u32::from).collect();
                    let expected: Vec<u32> = there.iter().map(|(uid, _)| *uid).collect();
                    check!(
                        source == expected && target == copies,
                        "COPYUID {source:?} {target:?}, not {expected:?} {copies:?}"
                    );
                }
                _ => check!(there.is_empty(), "no COPYUID"),
            }
            self.model.compare(&self.world.store, &self.world.user).await?;
        }
        session.believe(&answer.said, &mut self.model, true)?;
        if moves && answer.is_ok() {
            let view = session.view.as_ref().ok_or("no mailbox")?;
            for (uid, _) in &there {
                check!(view.number(*uid).is_none(), "UID {uid} was moved, and the client was not told");
            }
        }
        Ok(())
    }

    pub(crate) async fn expunge(&mut self, session: &mut Session) -> Check {
        let some = if self.dice.once_in(2) { self.some(session).filter(|some| some.by_uid) } else { None };
        let command = match &some {
            Some(some) => format!("UID EXPUNGE {}", some.named),
            None => "EXPUNGE".to_owned(),
        };
        let read_only = session.view.as_ref().is_some_and(|view| view.read_only);
        let answer = session.command(&command).await?;
        if read_only {
            answer.expect(StatusKind::No)?;
            return session.believe(&answer.said, &mut self.model, true).map(drop);
        }
        answer.expect(StatusKind::Ok)?;
        // What the client has not been told of, it has not named.
        let among = some.map(|some| some.uids);
        let gone = session.folder(&mut self.model).ok_or("no mailbox")?.expunge(among.as_ref());
        self.model.compare(&self.world.store, &self.world.user).await?;
        session.believe(&answer.said, &mut self.model, true)?;
        resync::highest(session, &mut self.model, &answer, !gone.is_empty())?;
        let view = session.view.as_ref().ok_or("no mailbox")?;
        for uid in &gone {
            check!(view.number(*uid).is_none(), "UID {uid} was expunged, and the client was not told");
        }
        Ok(())
    }
}
