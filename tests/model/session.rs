//! A client: its connection, the mailbox it has open, and what it remembers of others.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use mailwright::imap_proto::response::{Response, Status, StatusKind};

use crate::{
    mail::{Check, Dice, Folder, Model, check},
    view::{News, Profile, Seen, View},
    world::{Link, World},
};

pub(crate) type Log = Rc<RefCell<Vec<String>>>;

/// What a client that can QRESYNC keeps of a mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) validity: u32,
    pub(crate) mod_seq: u64,
    pub(crate) mail: Vec<Seen>,
}

/// What came up to the end of a command.
pub(crate) struct Answer {
    pub(crate) said: Vec<(Response, String)>,
    /// `None` if the connection was ended by BYE before.
    pub(crate) status: Option<Status>,
}

impl Answer {
    pub(crate) fn is_ok(&self) -> bool {
        self.status.as_ref().is_some_and(Status::is_ok)
    }

    pub(crate) fn expect(&self, kind: StatusKind) -> Check {
        let status = self.status.as_ref().ok_or("the connection ended")?;
        check!(status.kind == kind, "expected {}", kind.as_str());
        Ok(())
    }
}

pub(crate) struct Session {
    pub(crate) label: char,
    link: Option<Link>,
    pub(crate) profile: Profile,
    pub(crate) view: Option<View>,
    /// The tag of an IDLE under way.
    idle: Option<String>,
    tags: u32,
    pub(crate) memory: BTreeMap<String, Memory>,
    log: Log,
}

impl Session {
    pub(crate) fn new(label: char, log: Log) -> Self {
        Self {
            label,
            link: None,
            profile: Profile::default(),
            view: None,
            idle: None,
            tags: 0,
            memory: BTreeMap::new(),
            log,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.idle.is_some()
    }

    fn note(&self, direction: &str, text: &str) {
        self.log.borrow_mut().push(format!("{} {direction} {}", self.label, text.trim_end()));
    }

    pub(crate) async fn connect(&mut self, world: &World, dice: &mut Dice) -> Check {
        let mut link = world.connect();
        self.note("--", "connects");
        link.next().await?.ok_or("no greeting")?;
        self.link = Some(link);
        self.command("LOGIN ann secret").await?.expect(StatusKind::Ok)?;
        self.profile = Profile::default();
        let (word, profile) = match dice.below(6) {
            0 => ("CONDSTORE", Profile { condstore: true, ..Profile::default() }),
            1 | 2 => ("QRESYNC", Profile { condstore: true, qresync: true, ..Profile::default() }),
            3 => ("IMAP4rev2 QRESYNC", Profile { condstore: true, qresync: true, rev2: true, asked: false }),
            4 => ("IMAP4rev2", Profile { rev2: true, ..Profile::default() }),
            _ => return Ok(()),
        };
        self.command(&format!("ENABLE {word}")).await?.expect(StatusKind::Ok)?;
        self.profile = profile;
        Ok(())
    }

    /// The connection is gone, without a word.
    pub(crate) fn drop_connection(&mut self) {
        self.note("--", "is gone");
        self.remember();
        (self.link, self.view, self.idle) = (None, None, None);
    }

    /// Keeps what is known of the mailbox that is about to be left.
    pub(crate) fn remember(&mut self) {
        let Some(view) = &self.view else { return };
        if self.profile.qresync && view.is_complete() {
            let (validity, mod_seq) = (view.validity, view.mod_seq);
            self.memory.insert(view.name.clone(), Memory { validity, mod_seq, mail: view.mail.clone() });
        }
    }

    /// Sends a command and reads up to its end; believes nothing yet.
    pub(crate) async fn command(&mut self, text: &str) -> Check<Answer> {
        self.tags += 1;
        let tag = format!("{}{}", self.label, self.tags);
        self.note("C:", &format!("{tag} {text}"));
        let link = self.link.as_mut().ok_or("no connection")?;
        if link.send(&format!("{tag} {text}\r\n")).await.is_err() {
            // The server may have said farewell already.
        }
        self.until(&tag).await
    }

    async fn until(&mut self, tag: &str) -> Check<Answer> {
        let mut said = Vec::new();
        loop {
            let link = self.link.as_mut().ok_or("no connection")?;
            let Some((response, text)) = link.next().await? else {
                let bye = said.iter().any(|(response, _)| is_bye(response));
                check!(bye, "the connection ended without BYE");
                self.note("--", "was sent away");
                (self.link, self.view, self.idle) = (None, None, None);
                return Ok(Answer { said, status: None });
            };
            self.note("S:", &text);
            match response {
                Response::Tagged { tag: of, status } if *of == *tag => {
                    if let Some(view) = &mut self.view {
                        view.hear(&said);
                        view.ended(status.code.as_ref());
                    }
                    return Ok(Answer { said, status: Some(status) });
                }
                Response::Tagged { .. } => return Err("a tag that nobody gave".into()),
                Response::Continue(_) if self.idle.as_deref() == Some(tag) => {
                    return Ok(Answer { said, status: None });
                }
                response => said.push((response, text)),
            }
        }
    }

    /// Believes what came with an answer.
    pub(crate) fn believe(
        &mut self,
        said: &[(Response, String)],
        model: &mut Model,
        may_expunge: bool,
    ) -> Check<Vec<News>> {
        let mut all = Vec::new();
        let Some(view) = &mut self.view else { return Ok(all) };
        let (name, identity) = (view.name.clone(), view.identity);
        for (response, text) in said {
            let folder = model.find(&name, identity);
            let news = view.believe(response, folder.as_deref(), self.profile, may_expunge);
            all.extend(news.map_err(|why| format!("{text}: {why}"))?);
        }
        Ok(all)
    }

    /// The mailbox that is open, if it is still there.
    pub(crate) fn folder<'a>(&self, model: &'a mut Model) -> Option<&'a mut Folder> {
        let view = self.view.as_ref()?;
        model.find(&view.name, view.identity)
    }

    pub(crate) fn is_orphan(&self, model: &mut Model) -> bool {
        self.view.is_some() && self.folder(model).is_none()
    }

    /// What is known must be what is there.
    pub(crate) fn compare(&self, model: &mut Model) -> Check {
        let Some(view) = &self.view else { return Ok(()) };
        match model.find(&view.name, view.identity) {
            Some(folder) => view.compare(folder),
            None => Err("the mailbox is gone, and the client was not told".into()),
        }
    }

    pub(crate) async fn idle(&mut self, model: &mut Model) -> Check {
        let orphan = self.is_orphan(model);
        self.tags += 1;
        let tag = format!("{}{}", self.label, self.tags);
        self.note("C:", &format!("{tag} IDLE"));
        self.idle = Some(tag.clone());
        let link = self.link.as_mut().ok_or("no connection")?;
        link.send(&format!("{tag} IDLE\r\n")).await?;
        let answer = self.until(&tag).await?;
        if let Some(status) = &answer.status {
            check!(orphan && !status.is_ok(), "IDLE was refused");
            self.idle = None;
        }
        self.believe(&answer.said, model, true)?;
        Ok(())
    }

    pub(crate) async fn done(&mut self, model: &mut Model) -> Check {
        let Some(tag) = self.idle.take() else { return Ok(()) };
        self.note("C:", "DONE");
        let _ = self.link.as_mut().ok_or("no connection")?.send("DONE\r\n").await;
        let answer = self.until(&tag).await?;
        if answer.status.is_some() {
            answer.expect(StatusKind::Ok)?;
        }
        self.believe(&answer.said, model, true)?;
        Ok(())
    }

    /// What came by itself, now that everybody has done what there was to do.
    pub(crate) fn listen(&mut self, model: &mut Model) -> Check {
        let Some(link) = &mut self.link else { return Ok(()) };
        let said = link.waiting()?;
        for (_, text) in &said {
            self.note("S:", text);
        }
        if said.iter().any(|(response, _)| is_bye(response)) {
            check!(self.is_orphan(model), "BYE although the mailbox is there");
            self.note("--", "was sent away");
            (self.link, self.view, self.idle) = (None, None, None);
            return Ok(());
        }
        check!(self.idle.is_some() || said.is_empty(), "nobody had asked for that");
        self.believe(&said, model, true)?;
        if let Some(view) = &mut self.view {
            view.hear(&said);
        }
        if self.idle.is_some() { self.compare(model) } else { Ok(()) }
    }
}

fn is_bye(response: &Response) -> bool {
    matches!(response, Response::Status(status) if status.kind == StatusKind::Bye)
}
