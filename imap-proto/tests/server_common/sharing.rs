//! Quota, access control lists and annotations: small, and the same every time.

use std::collections::BTreeMap;

use bytes::Bytes;
use mailwright_imap_proto::{
    Refusal,
    command::{ListedRights, RightsChange},
    response::{QuotaResource, QuotaRoot, ResponseCode},
    server::{Event, Server},
};
use mailwright_line_proto::Gone;

#[derive(Default)]
pub(crate) struct Sharing {
    access: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<(Option<String>, String), Bytes>,
    storage: Option<u64>,
}

/// Units of 1024 octets.
const USED: u64 = 58;

pub(crate) const RIGHTS: &str = "rwiptsldaex";

impl Sharing {
    pub(crate) fn new() -> Self {
        let access = BTreeMap::from([("Fred".to_owned(), "rwipslxetad".to_owned())]);
        Self { access, ..Self::default() }
    }

    pub(crate) fn notes(&self, place: Option<&str>) -> Vec<(String, Bytes)> {
        let here = self.annotations.iter().filter(|((of, _), _)| of.as_deref() == place);
        here.map(|((_, entry), value)| (entry.clone(), value.clone())).collect()
    }

    /// Whether there is no more room for anything (RFC 9208 §4.3.1); a larger limit than what is there cannot be reached here.
    pub(crate) fn is_over_quota(&self) -> bool {
        self.storage.is_some_and(|limit| limit < USED)
    }

    /// Whether one message is larger than all that may be kept.
    pub(crate) fn is_too_large(&self, size: Option<u64>) -> bool {
        self.storage.zip(size).is_some_and(|(limit, size)| size > limit * 1024)
    }

    fn root(&self, name: &str) -> QuotaRoot {
        let resource = match (name, self.storage) {
            ("#user/alice", Some(limit)) => QuotaResource::new("STORAGE", USED, limit),
            ("#user/alice", None) => QuotaResource::new("MESSAGE", 42, 1000),
            _ => QuotaResource::new("STORAGE", 104, 10_923_847),
        };
        QuotaRoot::new(name, vec![resource])
    }

    pub(crate) fn handle(&mut self, server: &mut Server, event: Event) -> Result<(), Gone> {
        match event {
            Event::GetQuota(ask) => {
                let root = self.root(&ask.root);
                server.answer(ask, Ok(root))
            }
            Event::GetQuotaRoot(ask) => {
                let roots = vec![self.root("#user/alice"), self.root("!partition/sda4")];
                server.answer(ask, Ok(roots))
            }
            Event::SetQuota(ask) if ask.root == "#user/alice" => {
                self.storage = ask.limits.iter().find(|(name, _)| name == "STORAGE").map(|(_, limit)| *limit);
                let root = self.root(&ask.root);
                server.answer(ask, Ok(root))
            }
            Event::SetQuota(ask) => server.answer(ask, Err(Refusal::no_permission())),
            Event::SetAcl(ask) if ask.mailbox.is_inbox() => {
                let rights = self.access.entry(ask.identifier.clone()).or_default();
                match ask.change {
                    RightsChange::Replace => rights.clone_from(&ask.rights),
                    RightsChange::Add => rights.push_str(&ask.rights),
                    RightsChange::Remove => rights.retain(|right| !ask.rights.contains(right)),
                }
                server.answer(ask, Ok(()))
            }
            Event::SetAcl(ask) => server.answer(ask, Err(Refusal::non_existent())),
            Event::DeleteAcl(ask) => {
                self.access.remove(&ask.identifier);
                server.answer(ask, Ok(()))
            }
            Event::GetAcl(ask) => {
                let entries = self.access.iter().map(|(who, rights)| (who.clone(), rights.clone())).collect();
                server.answer(ask, Ok(entries))
            }
            Event::ListRights(ask) => {
                server.answer(ask, Ok(ListedRights::new("la", vec!["r".into(), "swicdkxte".into()])))
            }
            Event::MyRights(ask) => server.answer(ask, Ok(RIGHTS.into())),
            Event::GetMetadata(ask) => {
                let notes = self.notes(ask.mailbox.as_ref().map(|name| name.as_str()));
                server.answer(ask, Ok(notes))
            }
            Event::SetMetadata(ask) => {
                if ask.changes.iter().any(|(_, value)| value.as_ref().is_some_and(|value| value.len() > 64)) {
                    let code = ResponseCode::other("METADATA", Some("MAXSIZE 64")).unwrap();
                    return server.answer(ask, Err(Refusal::new(code, "too long")));
                }
                for (entry, value) in &ask.changes {
                    let key = (ask.mailbox.as_ref().map(ToString::to_string), entry.clone());
                    match value {
                        Some(value) => self.annotations.insert(key, value.clone()),
                        None => self.annotations.remove(&key),
                    };
                }
                let entries: Vec<String> = ask.changes.iter().map(|(entry, _)| entry.clone()).collect();
                server.notify_annotations(ask.mailbox.as_ref(), &entries);
                server.answer(ask, Ok(()))
            }
            Event::Filter(ask) => {
                let note = |place: &str| {
                    let entry = format!("/{place}/filters/values/{}", ask.name);
                    self.annotations.get(&(None, entry))
                };
                let text = note("private").or_else(|| note("shared"));
                let text = text.map(|text| String::from_utf8(text.to_vec()).unwrap());
                server.answer(ask, Ok(text))
            }
            other => panic!("{other:?}"),
        }
    }
}
