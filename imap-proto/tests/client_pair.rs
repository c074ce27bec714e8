//! The client and the server of this crate, back to back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "the transcripts are for other tests")]
mod client_common;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mailwright_imap_proto::{
    client::{self, Client},
    command::{FetchItem, StoreOperation},
    server::{self, AppendUid, Change, FetchData, ListEntry, Opened, Server},
};
use mailwright_line_proto::{
    AuthStep, Machine, Peer,
    testing::{Pair, Seen, Subject},
};
use mailwright_mail_model::{
    DateTime, Envelope, FlagSet, MailboxName, Uid, UidSet, UidValidity, mime::Structure,
};

use client_common::{Script, Step, config, lines};

/// A server's application with one mailbox in memory.
#[derive(Default)]
struct Mail {
    messages: Vec<(Uid, FlagSet, Bytes)>,
    incoming: BytesMut,
}

impl Mail {
    fn uids(&self) -> UidSet {
        self.messages.iter().map(|(uid, ..)| *uid).collect()
    }

    fn deliver(&mut self, message: Bytes) -> Uid {
        let uid = self.messages.last().map_or(Uid::MIN, |(uid, ..)| uid.next().unwrap());
        self.messages.push((uid, FlagSet::new(), message));
        uid
    }

    fn serve(&mut self, server: &mut Server, event: server::Event) {
        match event {
            server::Event::Login(ask) => server.answer(ask, Ok(())).unwrap(),
            server::Event::Authenticate(ask) => match ask.response.clone() {
                Some(_) => server.answer(ask, AuthStep::Accept).unwrap(),
                None => server.answer(ask, AuthStep::Challenge(Bytes::from("who?"))).unwrap(),
            },
            server::Event::Mailboxes(ask) => {
                let mut entry = ListEntry::new(MailboxName::inbox());
                entry.subscribed = true;
                server.answer(ask, Ok(vec![entry])).unwrap();
            }
            server::Event::Open(ask) => {
                let opened = Opened::new(self.uids(), UidValidity::new(7).unwrap());
                server.answer(ask, Ok(opened)).unwrap();
            }
            server::Event::Message(ask) => server.answer(ask, Ok(())).unwrap(),
            server::Event::Body(chunk) => self.incoming.extend_from_slice(&chunk),
            server::Event::BodyEnd(ask) => {
                let message = self.incoming.split().freeze();
                let uid = self.deliver(message);
                server.notify(Change::Added { uids: uid.into(), recent: UidSet::new() });
                server.answer(ask, Ok(Some(AppendUid::new(UidValidity::new(7).unwrap(), uid)))).unwrap();
            }
            server::Event::Fetch(ask) => {
                for (uid, flags, message) in
                    self.messages.iter().filter(|(uid, ..)| ask.messages.contains(*uid))
                {
                    let (envelope, structure) = (Envelope::of(message), Structure::of(message));
                    let data: Vec<_> = ask
                        .items
                        .iter()
                        .map(|item| match item {
                            FetchItem::Flags => FetchData::Flags(flags),
                            FetchItem::InternalDate => FetchData::InternalDate(DateTime::new(0, 60).unwrap()),
                            FetchItem::Size => FetchData::Size(message.len() as u64),
                            FetchItem::Envelope => FetchData::Envelope(&envelope),
                            FetchItem::Body => FetchData::Body(&structure),
                            FetchItem::BodyStructure => FetchData::BodyStructure(&structure),
                            FetchItem::Section(section) => FetchData::Section(section, Some(message)),
                            other => panic!("{other:?}"),
                        })
                        .collect();
                    server.fetch(&ask, *uid, &data).unwrap();
                }
                server.answer(ask, Ok(())).unwrap();
            }
            server::Event::Store(ask) => {
                let operation: StoreOperation = ask.operation;
                for (uid, flags, _) in
                    self.messages.iter_mut().filter(|(uid, ..)| ask.messages.contains(*uid))
                {
                    *flags = operation.apply(flags, &ask.flags);
                    server.fetch_flags(&ask, *uid, flags, None).unwrap();
                }
                server.answer(ask, Ok(UidSet::new())).unwrap();
            }
            server::Event::Find(ask) => server.answer(ask, Ok(self.uids().into())).unwrap(),
            server::Event::Expunge(ask) => {
                let deleted = "\\Deleted".parse().unwrap();
                let gone: UidSet = self
                    .messages
                    .iter()
                    .filter(|(_, flags, _)| flags.contains(&deleted))
                    .map(|(uid, ..)| *uid)
                    .collect();
                self.messages.retain(|(uid, ..)| !gone.contains(*uid));
                server.answer(ask, Ok(gone)).unwrap();
            }
            other => server.decline(other),
        }
    }
}

const SCRIPT: &str = r#"
# call: CAPABILITY
# call: AUTHENTICATE X-ODD
# respond: me
# call: CAPABILITY
# with: LIST "" "*"
# with: LSUB "" "*"
# with: NAMESPACE
# with: ID ("name" "test")
# call: SELECT INBOX
# call: APPEND INBOX (\Seen) {52}
# body: Subject: caf\xc3\xa9\r\nFrom: Ann <a@b.example>\r\n\r\nhello\r\n\r\n
# call: FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE ENVELOPE BODY BODYSTRUCTURE BODY[])
# with: UID SEARCH ALL
# with: UID STORE 1 +FLAGS (\Deleted $x)
# call: IDLE
# events: 1
# call: UID EXPUNGE 1
# call: CREATE x
# call: UNSELECT
# call: STATUS INBOX (MESSAGES)
# call: LOGOUT
"#;

fn session(split: usize, literals: bool) -> String {
    let steps: Vec<Step> = SCRIPT.lines().filter_map(Step::parse).collect();
    let mut script = Script::new(config(), &steps);
    let mut settings = server::Config::default();
    settings.allow_plaintext_auth = true;
    settings.auth_mechanisms = vec!["X-ODD".into()];
    if !literals {
        settings.literals = Default::default();
    }
    let server = Server::new(Arc::new(settings), Peer::unknown());
    let mut pair = Pair::new(server, script.build(), split);
    let mut mail = Mail::default();
    let mut seen = Vec::new();
    let mut on_client =
        |client: &mut Client, event: client::Event| match (seen.last_mut(), script.react(client, event)) {
            (Some(Seen::Body(body)), Seen::Body(more)) => *body = [&body[..], &more[..]].concat().into(),
            (_, next) => seen.push(next),
        };
    // Up to IDLE; then there is news.
    pair.run(|server, event| mail.serve(server, event), &mut on_client);
    let uid = mail.deliver("Subject: news\r\n\r\n".into());
    pair.server.machine.notify(Change::Added { uids: uid.into(), recent: UidSet::new() });
    pair.run(|server, event| mail.serve(server, event), &mut on_client);
    assert!(pair.client.closed, "{seen:#?}\n{}", String::from_utf8_lossy(&pair.server.sent));
    assert!(pair.server.closed);
    assert!(pair.client.machine.transmit().is_empty());
    lines(&seen)
}

#[test]
fn both_understand_each_other() {
    let whole = session(usize::MAX, true);
    let mut rest = whole.as_str();
    for part in [
        "Greeting",
        "Authenticate(Ticket(2), Ok(()))",
        "List(Ticket(4), Ok([Listed",
        "Lsub(Ticket(5), Ok([Listed",
        "Select(Ticket(8), Ok(Opened { messages: 0",
        "Exists(1)",
        "Append(Ticket(9), Ok(Some(Appended { validity: UidValidity(7), uid: Uid(1) })))",
        "length: Some(52)",
        "Body(Subject: caf",
        "Size(52)",
        "subject: Some(b\"caf",
        "Search(Ticket(11), Ok([1]))",
        "Fetched { uid: Some(Uid(1))",
        "Store(Ticket(12), Ok(()))",
        "Idling(Ticket(13))",
        "Exists(2)",
        "Idle(Ticket(13), Ok(()))",
        "Expunged { sequence: 1, uid: Some(Uid(1)) }",
        "Expunge(Ticket(14), Ok(()))",
        "Create(Ticket(15), Err",
        "Logout",
        "Closed(Farewell)",
    ] {
        let Some(at) = rest.find(part) else { panic!("no {part} in this order in\n{whole}") };
        rest = &rest[at + part.len()..];
    }
    for split in [1, 2, 7, 64, 1000] {
        for literals in [true, false] {
            let found = session(split, literals);
            assert_eq!(
                found.replace("\"LITERAL+\", ", ""),
                whole.replace("\"LITERAL+\", ", ""),
                "by {split}"
            );
        }
    }
}
