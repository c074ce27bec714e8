//! SEARCH.

use std::collections::BTreeSet;

use mailwright::imap_proto::response::{Response, StatusKind};

use crate::{
    mail::{Check, Mail, check},
    play::Game,
    session::Session,
};

/// A key as it is written, and the same as a predicate.
type Key = (String, Box<dyn Fn(u32, &Mail) -> bool>);

impl Game {
    pub(crate) async fn search(&mut self, session: &mut Session) -> Check {
        let by_uid = self.dice.once_in(2);
        let (words, key) = self.key(session, 2);
        session.profile.condstore |= words.contains("MODSEQ");
        let word = if by_uid { "UID " } else { "" };
        let before = session.view.clone().ok_or("no mailbox")?;
        let answer = session.command(&format!("{word}SEARCH {words}")).await?;
        answer.expect(StatusKind::Ok)?;
        let mut found = BTreeSet::new();
        for (response, _) in &answer.said {
            match response {
                Response::Search(search) => {
                    check!(!session.profile.rev2, "SEARCH after ENABLE IMAP4rev2");
                    found.extend(search.numbers.iter().copied());
                }
                Response::Esearch(found_) => {
                    check!(found_.by_uid == by_uid, "UID in ESEARCH or not");
                    found.extend(found_.all.iter().flat_map(|all| all.iter()).map(u32::from));
                }
                _ => {}
            }
        }
        if !by_uid {
            check!(found.iter().all(|number| *number as usize <= before.mail.len()), "numbers that are none");
            found = found.into_iter().map(|number| before.mail[number as usize - 1].uid).collect();
        }
        let folder = session.folder(&mut self.model).ok_or("no mailbox")?;
        let matching: BTreeSet<u32> =
            folder.mail.iter().filter(|(uid, mail)| key(**uid, mail)).map(|(uid, _)| *uid).collect();
        let known: BTreeSet<u32> = matching.intersection(&before.uids()).copied().collect();
        check!(known.is_subset(&found), "found {found:?}, not {known:?}");
        check!(found.is_subset(&matching), "found {found:?}, where {matching:?} match");
        session.believe(&answer.said, &mut self.model, by_uid)?;
        self.flags_are_right(session)
    }

    /// A key, and the same as a predicate.
    fn key(&mut self, session: &Session, depth: usize) -> Key {
        match self.dice.below(if depth == 0 { 7 } else { 9 }) {
            0 => ("ALL".into(), Box::new(|_, _| true)),
            1 => {
                let flag = self.dice.of(&["SEEN", "DELETED", "FLAGGED", "ANSWERED", "DRAFT"]).to_string();
                let name = format!("\\{}{}", &flag[..1], flag[1..].to_lowercase());
                if self.dice.once_in(2) {
                    return (format!("UN{flag}"), Box::new(move |_, mail| !mail.flags.contains(&name)));
                }
                (flag, Box::new(move |_, mail| mail.flags.contains(&name)))
            }
            2 => ("KEYWORD work".into(), Box::new(|_, mail| mail.flags.contains("work"))),
            3 => {
                let Some(some) = self.some(session) else { return ("ALL".into(), Box::new(|_, _| true)) };
                let words = if some.by_uid { format!("UID {}", some.named) } else { some.named };
                // On an empty mailbox 1:* is everything that comes.
                let everything = words == "UID 1:*";
                (words, Box::new(move |uid, _| everything || some.uids.contains(&uid)))
            }
            4 => {
                let token = self.dice.below(30) as u32;
                (format!("SUBJECT token{token}x"), Box::new(move |_, mail| mail.token == token))
            }
            5 => {
                let size = 25 + self.dice.below(30);
                (format!("LARGER {size}"), Box::new(move |_, mail| mail.text().len() > size))
            }
            6 => {
                let highest = session.view.as_ref().map_or(1, |view| view.mod_seq.max(1));
                let least = highest.saturating_sub(self.dice.below(5) as u64);
                (format!("MODSEQ {least}"), Box::new(move |_, mail| mail.mod_seq >= least))
            }
            7 => {
                let (words, key) = self.key(session, depth - 1);
                (format!("NOT {words}"), Box::new(move |uid, mail| !key(uid, mail)))
            }
            _ => {
                let ((one, first), (other, second)) =
                    (self.key(session, depth - 1), self.key(session, depth - 1));
                match self.dice.once_in(2) {
                    true => (
                        format!("OR {one} {other}"),
                        Box::new(move |uid, mail| first(uid, mail) || second(uid, mail)),
                    ),
                    false => (
                        format!("({one} {other})"),
                        Box::new(move |uid, mail| first(uid, mail) && second(uid, mail)),
                    ),
                }
            }
        }
    }
}
