//! Random commands, and what must come of them.

use std::{cell::RefCell, collections::BTreeSet, panic::AssertUnwindSafe, rc::Rc, time::Duration};

use mailwright::imap_proto::response::{Response, ResponseCode, StatusKind};
use tokio::time::sleep;

use crate::{
    mail::{Check, Dice, FLAGS, Flags, Model, check, text},
    resync,
    session::{Answer, Log, Session},
    world::World,
};

const NAMES: [&str; 4] = ["INBOX", "Alpha", "Beta", "Gamma"];
const STEPS: usize = 60;

/// Plays one seed.
pub(crate) fn play(seed: u64) -> Check {
    let log = Log::default();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let told = Rc::clone(&log);
    let played = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async { Game::new(seed, told).run().await })
    }));
    let why = match played {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why,
        Err(_) => "a panic".to_owned(),
    };
    Err(format!("{}\n{why}", log.borrow().join("\n")))
}

pub(crate) struct Game {
    pub(crate) dice: Dice,
    pub(crate) world: World,
    pub(crate) model: Model,
    sessions: Vec<Session>,
}

/// Some of the messages that a client knows.
pub(crate) struct Picked {
    pub(crate) uids: BTreeSet<u32>,
    /// As the command names them.
    pub(crate) named: String,
    pub(crate) by_uid: bool,
}

impl Picked {
    pub(crate) fn word(&self) -> &'static str {
        if self.by_uid { "UID " } else { "" }
    }
}

impl Game {
    fn new(seed: u64, log: Log) -> Self {
        let mut dice = Dice::new(seed);
        let count = 2 + dice.below(3);
        let sessions = ['a', 'b', 'c', 'd'].into_iter().take(count);
        let sessions = sessions.map(|label| Session::new(label, Rc::clone(&log))).collect();
        Self { dice, world: World::new(), model: Model::default(), sessions }
    }

    async fn run(&mut self) -> Check {
        self.model.create("INBOX");
        for _ in 0..STEPS {
            let at = self.dice.below(self.sessions.len());
            let mut session =
                std::mem::replace(&mut self.sessions[at], Session::new('-', Rc::new(RefCell::default())));
            let done = self.act(&mut session).await;
            self.sessions[at] = session;
            done?;
            self.model.compare(&self.world.store, &self.world.user).await?;
            // The clock stands still until nobody has anything left to do.
            sleep(Duration::from_millis(1)).await;
            for session in &mut self.sessions {
                session.listen(&mut self.model)?;
            }
        }
        Ok(())
    }

    async fn act(&mut self, session: &mut Session) -> Check {
        if !session.is_connected() {
            return session.connect(&self.world, &mut self.dice).await;
        }
        if session.is_idle() {
            return session.done(&mut self.model).await;
        }
        if self.dice.once_in(25) {
            session.drop_connection();
            return Ok(());
        }
        if session.is_orphan(&mut self.model) {
            return self.orphan(session).await;
        }
        match (self.dice.below(24), &session.view) {
            (0..=2, _) | (3..=9, None) => self.append(session).await,
            (3, _) => self.folders(session).await,
            (4, _) => self.status(session).await,
            (5, _) => self.list(session).await,
            (6, _) => self.select(session).await,
            (10..=13, None) => self.select(session).await,
            (_, None) => self.folders(session).await,
            (7..=10, Some(_)) => self.store(session).await,
            (11..=13, _) => self.fetch(session).await,
            (14, _) => self.search(session).await,
            (15 | 16, _) => self.copy(session).await,
            (17 | 18, _) => self.expunge(session).await,
            (19 | 20, _) => self.refresh(session).await,
            (21, _) => self.leave(session).await,
            // What there is to tell comes behind the `+`.
            (22, _) => session.idle(&mut self.model).await,
            (_, _) => self.learn(session).await,
        }
    }

    pub(crate) fn flags(&mut self, most: usize) -> Flags {
        (0..self.dice.below(most + 1)).map(|_| (*self.dice.of(&FLAGS)).to_owned()).collect()
    }

    pub(crate) fn name(&mut self) -> String {
        (*self.dice.of(&NAMES)).to_owned()
    }

    /// Some of the messages the client knows, at least one; by number only if it may be.
    pub(crate) fn some(&mut self, session: &Session) -> Option<Picked> {
        let view = session.view.as_ref()?;
        let by_uid = self.dice.once_in(2);
        if view.mail.is_empty() {
            let all = || Picked { uids: BTreeSet::new(), named: "1:*".into(), by_uid };
            // The last message has the number `*`, and if there is none, no number is right.
            return by_uid.then(all);
        }
        let (mut uids, mut named) = (BTreeSet::new(), Vec::new());
        for _ in 0..=self.dice.below(2) {
            let (one, other) = (self.dice.below(view.mail.len()), self.dice.below(view.mail.len()));
            let (first, last) = (one.min(other), one.max(other));
            uids.extend(view.mail[first..=last].iter().map(|seen| seen.uid));
            let of = |at: usize| match by_uid {
                // What `*` is depends on messages that the client need not know of yet.
                true => view.mail[at].uid.to_string(),
                false if at + 1 == view.mail.len() => "*".to_owned(),
                false => (at + 1).to_string(),
            };
            named.push(if first == last { of(first) } else { format!("{}:{}", of(first), of(last)) });
        }
        Some(Picked { uids, named: named.join(","), by_uid })
    }

    async fn append(&mut self, session: &mut Session) -> Check {
        let (name, flags, token) = (self.name(), self.flags(3), self.model.token());
        let text = text(token);
        let shown: Vec<&str> = flags.iter().map(String::as_str).collect();
        let command = format!("APPEND {name} ({}) {{{}+}}\r\n{text}", shown.join(" "), text.len());
        let answer = session.command(&command).await?;
        match self.model.folders.get_mut(&name) {
            Some(folder) => {
                answer.expect(StatusKind::Ok)?;
                let (validity, uid) = (folder.validity, folder.append(flags, token));
                self.model.compare(&self.world.store, &self.world.user).await?;
                let code = code(&answer);
                let Some(ResponseCode::AppendUid { validity: said, uids }) = code else {
                    return Err("no APPENDUID".into());
                };
                check!(validity == 0 || validity == said.get(), "APPENDUID: another UIDVALIDITY");
                check!(uids.to_string() == uid.to_string(), "APPENDUID {uids}, not {uid}");
                session.believe(&answer.said, &mut self.model, true)?;
                session.compare(&mut self.model)
            }
            None => {
                answer.expect(StatusKind::No)?;
                check!(code(&answer) == Some(&ResponseCode::TryCreate), "no TRYCREATE");
                session.believe(&answer.said, &mut self.model, true).map(drop)
            }
        }
    }

    async fn folders(&mut self, session: &mut Session) -> Check {
        let (name, other) = (self.name(), self.name());
        let there = self.model.folders.contains_key(&name);
        let (command, right) = match self.dice.below(4) {
            0 | 1 => (format!("CREATE {name}"), !there),
            2 => (format!("DELETE {name}"), there && name != "INBOX"),
            _ if name == "INBOX" => return Ok(()),
            _ => {
                let free = other != "INBOX" && !self.model.folders.contains_key(&other);
                (format!("RENAME {name} {other}"), there && free)
            }
        };
        let answer = session.command(&command).await?;
        if !right {
            answer.expect(StatusKind::No)?;
            return session.believe(&answer.said, &mut self.model, true).map(drop);
        }
        answer.expect(StatusKind::Ok)?;
        match command.split(' ').next() {
            Some("CREATE") => self.model.create(&name),
            Some("DELETE") => drop(self.model.folders.remove(&name)),
            _ => {
                let folder = self.model.folders.remove(&name).ok_or("nothing to rename")?;
                self.model.folders.insert(other, folder);
            }
        }
        self.model.compare(&self.world.store, &self.world.user).await?;
        session.believe(&answer.said, &mut self.model, true).map(drop)
    }

    async fn status(&mut self, session: &mut Session) -> Check {
        let name = self.name();
        let command = format!("STATUS {name} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)");
        let answer = session.command(&command).await?;
        // RFC 7162 §3.1: asking for it is asking for all of it.
        session.profile.condstore = true;
        let Some(folder) = self.model.folders.get(&name) else {
            answer.expect(StatusKind::No)?;
            return session.believe(&answer.said, &mut self.model, true).map(drop);
        };
        answer.expect(StatusKind::Ok)?;
        let said = answer.said.iter().find_map(|(response, _)| match response {
            Response::MailboxStatus(status) => Some(status),
            _ => None,
        });
        let said = said.ok_or("no STATUS")?;
        let unseen = folder.mail.values().filter(|mail| !mail.flags.contains("\\Seen")).count();
        let found = (said.messages, said.unseen, said.uid_next, said.uid_validity, said.highest_mod_seq);
        let found = (
            found.0,
            found.1,
            found.2.map(u32::from),
            found.3.map(|validity| validity.get()),
            found.4.map(|mod_seq| mod_seq.get()),
        );
        let expected = (
            Some(folder.mail.len() as u32),
            Some(unseen as u32),
            Some(folder.next),
            Some(folder.validity),
            Some(folder.highest),
        );
        check!(found == expected, "STATUS says {found:?}, not {expected:?}");
        session.believe(&answer.said, &mut self.model, true).map(drop)
    }

    async fn list(&mut self, session: &mut Session) -> Check {
        let answer = session.command("LIST \"\" *").await?;
        answer.expect(StatusKind::Ok)?;
        let listed = answer.said.iter().filter(|(_, text)| text.starts_with("* LIST"));
        let mut names: Vec<String> = listed
            .filter_map(|(_, text)| text.rsplit(' ').next())
            .map(|name| name.replace('"', ""))
            .collect();
        names.sort();
        let expected: Vec<String> = self.model.folders.keys().cloned().collect();
        check!(names == expected, "LIST says {names:?}, not {expected:?}");
        session.believe(&answer.said, &mut self.model, true).map(drop)
    }

    async fn select(&mut self, session: &mut Session) -> Check {
        let (name, read_only) = (self.name(), self.dice.once_in(5));
        resync::select(session, &mut self.model, &mut self.dice, &name, read_only).await
    }

    pub(crate) async fn refresh(&mut self, session: &mut Session) -> Check {
        let command = ["NOOP", "NOOP", "CHECK"][self.dice.below(3)];
        let answer = session.command(command).await?;
        // RFC 9051 has no CHECK, but nobody is hurt by it.
        answer.expect(StatusKind::Ok)?;
        session.believe(&answer.said, &mut self.model, true)?;
        session.compare(&mut self.model)
    }

    async fn leave(&mut self, session: &mut Session) -> Check {
        let command = *self.dice.of(&["CLOSE", "UNSELECT"]);
        let answer = session.command(command).await?;
        answer.expect(StatusKind::Ok)?;
        check!(
            answer
                .said
                .iter()
                .all(|(response, _)| !matches!(response, Response::Expunge(_) | Response::Vanished { .. })),
            "{command} is silent"
        );
        if command == "CLOSE" && session.view.as_ref().is_some_and(|view| !view.read_only) {
            session.folder(&mut self.model).ok_or("no mailbox")?.expunge(None);
            self.model.compare(&self.world.store, &self.world.user).await?;
        }
        session.remember();
        session.view = None;
        Ok(())
    }

    /// The mailbox that is open is gone, or has another name: nothing may be done to another one in its place.
    async fn orphan(&mut self, session: &mut Session) -> Check {
        let commands = [
            "NOOP",
            "UID STORE 1:* +FLAGS (\\Seen)",
            "UID FETCH 1:* (FLAGS)",
            "UID COPY 1:* INBOX",
            "UID MOVE 1:* INBOX",
            "EXPUNGE",
            "SELECT INBOX",
            "UID SEARCH ALL",
            "CLOSE",
            "UNSELECT",
            "IDLE",
        ];
        match *self.dice.of(&commands) {
            "SELECT INBOX" => resync::select(session, &mut self.model, &mut self.dice, "INBOX", false).await,
            "IDLE" => session.idle(&mut self.model).await,
            command => {
                let answer = session.command(command).await?;
                check!(
                    command != "NOOP"
                        || answer.status.is_none()
                        || said_bye(&answer)
                        || session.view.is_some(),
                    "{command}"
                );
                if matches!(command, "CLOSE" | "UNSELECT") && answer.status.is_some() {
                    session.view = None;
                }
                // Whatever it was told, it was not of another mailbox.
                session.profile.asked = true;
                let believed = session.believe(&answer.said, &mut self.model, true).map(drop);
                session.profile.asked = false;
                believed
            }
        }
    }
}

fn said_bye(answer: &Answer) -> bool {
    answer.said.iter().any(|(_, text)| text.starts_with("* BYE"))
}

pub(crate) fn code(answer: &Answer) -> Option<&ResponseCode> {
    answer.status.as_ref().and_then(|status| status.code.as_ref())
}

pub(crate) fn changed(before: &Flags, sign: &str, flags: &Flags) -> Flags {
    match sign {
        "+" => before.union(flags).cloned().collect(),
        "-" => before.difference(flags).cloned().collect(),
        _ => flags.clone(),
    }
}
