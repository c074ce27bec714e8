//! Messages that come in, and parts of messages that others name by URLs.

use super::*;

impl App {
    /// What comes in, and what URLs mean.
    pub(super) fn appending(&mut self, server: &mut Server, event: Event) -> Result<(), Gone> {
        match event {
            Event::Message(ask) => {
                let mut answer = self.folder(&ask.mailbox).map(drop).map_err(|_| Refusal::try_create());
                if self.sharing.is_too_large(ask.size) {
                    answer = answer.and_then(|_| Err(Refusal::over_quota()));
                }
                if answer.is_ok() {
                    self.incoming.push((ask.request().clone(), Vec::new()));
                }
                server.answer(ask, answer)
            }
            Event::Include(ask) => {
                let answer = match self.part(&ask.url) {
                    Some(octets) => {
                        self.incoming.last_mut().unwrap().1.extend_from_slice(&octets);
                        Ok(octets.len() as u64)
                    }
                    None => Err(Refusal::bad_url(&ask.url)),
                };
                server.answer(ask, answer)
            }
            Event::BodyEnd(ask) if self.sharing.is_over_quota() => {
                self.incoming.clear();
                server.answer(ask, Err(Refusal::over_quota()))
            }
            Event::BodyEnd(ask) => {
                let mut uids = UidSet::new();
                for (index, (message, octets)) in std::mem::take(&mut self.incoming).into_iter().enumerate() {
                    assert_eq!(message.sequel, index > 0);
                    assert!(message.size.is_none_or(|size| octets.len() as u64 == size));
                    let folder = self.folder(&message.mailbox).unwrap();
                    let uid = folder.add(message.flags, message.internal_date, &octets);
                    uids.insert(uid);
                    let new = folder.messages.last_mut().unwrap();
                    new.annotate(&message.annotations);
                    if self.selected.as_deref() == Some(message.mailbox.as_str()) {
                        server.notify(Change::Added { uids: uid.into(), recent: UidSet::new() });
                        self.watch(server);
                    } else {
                        let name = message.mailbox.to_string();
                        server.notify_status(&self.folders[&name].counts(&name));
                    }
                    if let Some(replaced) = message.replaces {
                        self.open().remove(|message| message.uid == replaced);
                    }
                }
                server.answer(ask, Ok(Some(AppendUid::new(validity(), uids))))
            }
            Event::BodyAborted => {
                self.incoming.clear();
                Ok(())
            }
            Event::UrlFetch(ask) => {
                for (place, wanted) in ask.urls.iter().enumerate() {
                    let url = wanted.url.parse::<AuthorizedUrl>().ok().map(|url| url.url);
                    let Some(url) = url else {
                        server.fetch_url(&ask, place, None).unwrap();
                        continue;
                    };
                    let folder = &self.folders[url.mailbox.as_ref().unwrap().as_str()];
                    let message = folder.messages.iter().find(|message| message.uid == url.uid).unwrap();
                    let structure = Structure::of(&message.octets);
                    let octets = cut(&message.octets, &structure, &BodySection::peek(url.section.unwrap()));
                    let octets = octets.filter(|_| wanted.octets.is_some());
                    let length = octets.as_ref().map(|octets| octets.len() as u64);
                    let content = UrlContent::part(&structure, &[], length);
                    server.fetch_url(&ask, place, Some(content)).unwrap();
                    if let Some(octets) = octets {
                        server.send_body(octets).unwrap();
                        server.end_body().unwrap();
                    }
                }
                server.answer(ask, Ok(()))
            }
            Event::GenUrlAuth(ask) => {
                let whole =
                    ask.urls.iter().map(|(url, name)| url.with_token(name, &[0x91, 0x35, 0x4a, 0x47]));
                let whole = whole.collect();
                server.answer(ask, Ok(whole))
            }
            Event::ResetKey(ask) => server.answer(ask, Ok(())),
            other => panic!("{other:?}"),
        }
    }

    /// The octets that a URL means.
    pub(super) fn part(&self, url: &str) -> Option<Bytes> {
        let url: ImapUrl = url.parse().ok()?;
        let folder = match &url.mailbox {
            Some(name) => self.folders.get(name.as_str())?,
            None => self.folders.get(self.selected.as_ref()?)?,
        };
        let message = folder.messages.iter().find(|message| message.uid == url.uid)?;
        let structure = Structure::of(&message.octets);
        let section = BodySection::peek(url.section.clone().unwrap_or_default());
        cut(&message.octets, &structure, &section)
    }
}
