//! The clients against the services, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "client/bodies.rs"]
mod bodies;
#[path = "client/gssapi.rs"]
mod gssapi;
#[path = "client/many.rs"]
mod many;
#[path = "client/middle.rs"]
mod middle;
#[path = "client/policy.rs"]
mod policy;
#[path = "client/sending.rs"]
mod sending;
#[path = "client/torn.rs"]
mod torn;
#[path = "client/world.rs"]
mod world;

use std::{future::pending, num::NonZeroU32, sync::Arc, time::Duration};

use mailwright::{
    client::{AuthError, ClientError, ImapClient, ManageSieveClient, Pop3Client, Refusal, SmtpClient},
    imap_proto::{
        client::Event,
        command::{
            Append, BodySection, Fetch, FetchItem, Section, SectionText, Status, StatusItem, StoreOperation,
        },
        response::{FetchedItem, StatusKind},
    },
    line_proto::{Closed, Misuse, PeerMisbehaved, Secret},
    mail_model::{Address, DateTime, MailboxName, ReversePath, Uid, UidSet, query::Query},
    mailstore::{Target, User, Write},
    sieve::managesieve::ResponseCode,
    smtp_proto::{Mail, Message, Rcpt},
};
use tokio::time::{sleep, timeout};
use world::{PASSWORD, Protection, USER, World};

const SMALL: &[u8] = b"Subject: small\r\n\r\n.one\r\n..two\r\n";
const ONE: NonZeroU32 = NonZeroU32::MIN;

fn password() -> Secret {
    Secret::from(PASSWORD)
}

fn message(recipients: &[&str]) -> Message {
    let mail = Mail::new(ReversePath::parse(b"<sender@example.net>").unwrap());
    let rcpt = |address: &&str| Rcpt::new(address.parse::<Address>().unwrap().into());
    Message::new(mail, recipients.iter().map(rcpt).collect())
}

async fn smtp(world: &World, protection: Protection) -> SmtpClient {
    let config = Arc::new(mailwright::smtp_proto::client::Config::default());
    let name = "client.example.org".parse().unwrap();
    SmtpClient::connect(&world.smtp(protection), name, config).await.unwrap()
}

async fn imap(world: &World) -> ImapClient {
    let endpoint = world.imap(Protection::Starttls);
    let mut client = ImapClient::connect(&endpoint, Arc::default()).await.unwrap();
    client.login(USER, &password()).await.unwrap();
    client
}

async fn pop3(world: &World) -> Pop3Client {
    let endpoint = world.pop3(Protection::Implicit);
    let mut client = Pop3Client::connect(&endpoint, Arc::default()).await.unwrap();
    client.login(USER, &password()).await.unwrap();
    client
}

fn only(uid: u32) -> UidSet {
    [Uid::new(uid).unwrap()].into_iter().collect()
}

/// Every protocol, every kind of TLS, with SCRAM and without: what was sent is what is read, and no password is shown
/// where the server need not see it.
#[tokio::test]
async fn sends_and_reads_over_every_kind_of_connection() {
    for scram in [true, false] {
        let world = World::new(scram).await;
        let proof = if scram { "proof" } else { "password" };
        for (count, protection) in
            [Protection::Plain, Protection::Starttls, Protection::Implicit].into_iter().enumerate()
        {
            let mut client = SmtpClient::connect(
                &world.smtp(protection),
                "client.example.org".parse().unwrap(),
                Arc::new(world::smtp_config(protection)),
            )
            .await
            .unwrap();
            // Where it is offered it is the strongest, so the channel is bound.
            let bound = client.capabilities().has_mechanism("SCRAM-SHA-256-PLUS");
            assert_eq!(bound, scram && protection != Protection::Plain);
            client.login(USER, &password()).await.unwrap();
            assert_eq!(world.last_login(), proof);
            client.noop().await.unwrap();
            client.reset().await.unwrap();
            let replies = client.send(message(&[USER]), SMALL).await.unwrap();
            assert!(replies.len() == 1 && replies[0].is_positive(), "{replies:?}");
            client.quit().await.unwrap();
            let config = Arc::new(world::imap_config(protection));
            let mut client = ImapClient::connect(&world.imap(protection), config).await.unwrap();
            assert!(!client.is_preauthenticated());
            client.login(USER, &password()).await.unwrap();
            assert_eq!(world.last_login(), proof);
            let opened = client.examine(MailboxName::inbox()).await.unwrap();
            assert_eq!((opened.messages as usize, opened.read_only), (count + 1, true));
            let uids = client.search(Query::all()).await.unwrap();
            let mut read = Vec::new();
            let octets = client.message(uids[count], &mut read).await.unwrap();
            assert_eq!(octets, Some(read.len() as u64));
            assert!(read.ends_with(SMALL), "{}", String::from_utf8_lossy(&read));
            client.logout().await.unwrap();

            let config = Arc::new(world::pop3_config(protection));
            let mut client = Pop3Client::connect(&world.pop3(protection), config).await.unwrap();
            client.login(USER, &password()).await.unwrap();
            assert_eq!(world.last_login(), proof);
            let number = NonZeroU32::new(count as u32 + 1).unwrap();
            let mut again = Vec::new();
            assert_eq!(client.retr(number, &mut again).await.unwrap(), read.len() as u64);
            assert_eq!(again, read);
            client.quit().await.unwrap();
        }
    }
}

#[tokio::test]
async fn shows_no_password_in_the_clear_and_tells_refusals_apart() {
    let world = World::new(false).await;
    let mut client = smtp(&world, Protection::Plain).await;
    let error = client.login(USER, &password()).await.unwrap_err();
    assert!(matches!(error, ClientError::Auth(AuthError::NoMechanism { .. })), "{error}");
    let mut client = Pop3Client::connect(&world.pop3(Protection::Plain), Arc::default()).await.unwrap();
    let error = client.login(USER, &password()).await.unwrap_err();
    assert!(matches!(error, ClientError::Misuse(Misuse::WrongState { .. })), "{error}");
    let mut client = ImapClient::connect(&world.imap(Protection::Plain), Arc::default()).await.unwrap();
    let error = client.login(USER, &password()).await.unwrap_err();
    assert!(matches!(error, ClientError::Misuse(_)), "{error}");
    assert_eq!(world.last_login(), "none");

    for scram in [true, false] {
        let world = World::new(scram).await;
        let wrong = Secret::from("wrong");
        let mut client = smtp(&world, Protection::Implicit).await;
        let error = client.login(USER, &wrong).await.unwrap_err();
        assert!(
            matches!(&error, ClientError::Refused(Refusal::Smtp(reply)) if reply.code() == 535),
            "{error}"
        );
        client.login(USER, &password()).await.unwrap();
        let endpoint = world.imap(Protection::Implicit);
        let mut client = ImapClient::connect(&endpoint, Arc::default()).await.unwrap();
        let error = client.login(USER, &wrong).await.unwrap_err();
        assert!(
            matches!(&error, ClientError::Refused(Refusal::Imap(no)) if no.0.kind == StatusKind::No),
            "{error}"
        );
        client.login(USER, &password()).await.unwrap();
        let endpoint = world.pop3(Protection::Starttls);
        let mut client = Pop3Client::connect(&endpoint, Arc::default()).await.unwrap();
        let error = client.login(USER, &wrong).await.unwrap_err();
        assert!(matches!(&error, ClientError::Refused(Refusal::Pop3(_))), "{error}");
        assert!(!error.is_temporary());
        client.login(USER, &password()).await.unwrap();
    }
}

#[tokio::test]
async fn refuses_servers_that_are_not_who_they_should_be() {
    let world = World::new(true).await;
    for protection in [Protection::Starttls, Protection::Implicit] {
        let endpoint = world.imap_called("other.example.org", protection);
        let error = ImapClient::connect(&endpoint, Arc::default()).await.unwrap_err();
        let tls = |error: &_| matches!(error, ClientError::Closed(Closed::Misbehaved(PeerMisbehaved::Tls(text))) if text.contains("certificate"));
        assert!(tls(&error), "{error}");
        let name = "client.example.org".parse().unwrap();
        let error =
            SmtpClient::connect(&world.smtp_called("other.example.org", protection), name, Arc::default())
                .await
                .unwrap_err();
        assert!(tls(&error), "{error}");
    }
    let endpoint = world.imap_called("not a name", Protection::Implicit);
    let error = ImapClient::connect(&endpoint, Arc::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Misuse(Misuse::Argument(_))), "{error}");
    // No TLS where it is asked for is no reason to go on without.
    let endpoint = world.without_starttls();
    let error = SmtpClient::connect(&endpoint, "client.example.org".parse().unwrap(), Arc::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Misuse(Misuse::NotOffered(_))), "{error}");
}

#[tokio::test]
async fn idle_sees_a_delivery_and_can_be_stopped() {
    let world = World::new(true).await;
    let mut client = imap(&world).await;
    client.select(MailboxName::inbox()).await.unwrap();
    assert_eq!(client.idle(sleep(Duration::from_millis(20))).await.unwrap(), None);
    let deliver = async {
        sleep(Duration::from_millis(50)).await;
        let mut client = smtp(&world, Protection::Plain).await;
        client.send(message(&[USER]), SMALL).await.unwrap();
    };
    let (change, ()) =
        timeout(Duration::from_secs(30), async { tokio::join!(client.idle(pending()), deliver) })
            .await
            .expect("the delivery is seen");
    assert_eq!(change.unwrap(), Some(Event::Exists(1)));
    while client.news().is_some() {}
    // Dropped instead of stopped: the next call ends it.
    assert!(timeout(Duration::from_millis(100), client.idle(pending())).await.is_err());
    assert_eq!(client.search(Query::all()).await.unwrap(), [Uid::new(1).unwrap()]);
    client.logout().await.unwrap();
}

#[tokio::test]
async fn works_on_mailboxes_and_messages() {
    let world = World::new(true).await;
    let mut client = imap(&world).await;
    let (inbox, archive) = (MailboxName::inbox(), "Archive".parse::<MailboxName>().unwrap());
    client.create("Old".parse().unwrap()).await.unwrap();
    client.rename("Old".parse().unwrap(), archive.clone()).await.unwrap();
    assert_eq!(client.list("*").await.unwrap().len(), 2);
    for _ in 0..3 {
        let append = Append::new(inbox.clone(), SMALL.len() as u64);
        client.append(append, &mut &*SMALL).await.unwrap();
    }
    assert_eq!(client.select(inbox.clone()).await.unwrap().messages, 3);
    client.store(only(1), StoreOperation::Add, r"(\Deleted)".parse().unwrap()).await.unwrap();
    assert!(client.copy(only(2), archive.clone()).await.unwrap().is_some());
    client.move_to(only(3), archive.clone()).await.unwrap();
    client.expunge().await.unwrap();
    assert_eq!(client.search(Query::all()).await.unwrap(), [Uid::new(2).unwrap()]);
    let mut gone = 0;
    while let Some(event) = client.news() {
        gone += u32::from(matches!(event, Event::Expunged { .. }));
    }
    assert_eq!(gone, 2);
    let status = client.status(archive.clone(), [StatusItem::Messages]).await.unwrap().unwrap();
    assert_eq!(status.messages, Some(2));
    assert!(client.call(Status::new(archive.clone(), [StatusItem::UidNext])).await.unwrap().is_some());

    let items = client.items(only(2), [FetchItem::Size, FetchItem::Flags]).await.unwrap();
    assert!(items[0].items.contains(&FetchedItem::Size(SMALL.len() as u64)), "{items:?}");
    let mut text = Vec::new();
    let section = BodySection::peek(Section::new(Vec::new(), SectionText::Text));
    assert_eq!(client.section(Uid::new(2).unwrap(), section, &mut text).await.unwrap(), Some(13));
    assert_eq!(text, b".one\r\n..two\r\n"[..]);
    assert_eq!(client.message(Uid::new(9).unwrap(), &mut text).await.unwrap(), None);

    // Left in the middle, it is passed over by the next call.
    let whole = FetchItem::Section(BodySection::peek(Section::default()));
    let mut fetching = client.fetch(Fetch::new(only(2).into(), [whole])).await.unwrap();
    assert!(matches!(fetching.next().await.unwrap(), Some(Event::FetchBody { .. })));
    client.noop().await.unwrap();
    assert!(client.news().is_none());
    let error = client.select("Missing".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error}");
    client.delete(archive).await.unwrap();
    client.logout().await.unwrap();
}

/// All of it may run in tasks of its own.
#[tokio::test]
async fn runs_in_tasks() {
    let world = World::new(true).await;
    let (mut sender, mut reader, mut fetcher) =
        (smtp(&world, Protection::Implicit).await, imap(&world).await, pop3(&world).await);
    let sending = tokio::spawn(async move {
        sender.login(USER, &password()).await.unwrap();
        sender.send_from(message(&[USER]), &mut &*SMALL).await.unwrap();
        sender.quit().await.unwrap();
    });
    let reading = tokio::spawn(async move {
        reader.select(MailboxName::inbox()).await.unwrap();
        while reader.search(Query::all()).await.unwrap().is_empty() {
            reader.idle(sleep(Duration::from_secs(10))).await.unwrap();
        }
        let octets = reader.message(Uid::new(1).unwrap(), &mut Vec::new()).await.unwrap();
        reader.logout().await.unwrap();
        octets.unwrap()
    });
    let fetching = tokio::spawn(async move {
        // The maildrop is as it was at the login.
        assert!(fetcher.retr(ONE, &mut Vec::new()).await.is_err());
        fetcher.quit().await.unwrap();
    });
    sending.await.unwrap();
    fetching.await.unwrap();
    assert!(reading.await.unwrap() > SMALL.len() as u64);
}

#[tokio::test]
async fn empties_a_maildrop() {
    let world = World::new(true).await;
    let mut client = smtp(&world, Protection::Plain).await;
    for _ in 0..2 {
        client.send(message(&[USER]), SMALL).await.unwrap();
    }
    let mut client = pop3(&world).await;
    assert!(client.capabilities().count() > 3);
    let (totals, list) = (client.stat().await.unwrap(), client.list().await.unwrap());
    assert_eq!((totals.messages, totals.octets), (2, list.iter().map(|entry| entry.octets).sum()));
    let ids = client.uidl().await.unwrap();
    assert!(ids.len() == 2 && ids[0].unique_id != ids[1].unique_id);
    // Left in the middle, it is passed over by the next call.
    assert!(client.top(ONE, 1).await.unwrap().next().await.unwrap().is_some());
    client.dele(ONE).await.unwrap();
    client.reset().await.unwrap();
    client.noop().await.unwrap();
    client.dele(ONE).await.unwrap();
    let error = client.retr(ONE, &mut Vec::new()).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(Refusal::Pop3(_))), "{error}");
    client.quit().await.unwrap();
    let left = pop3(&world).await.uidl().await.unwrap();
    assert_eq!((left.len(), &left[0].unique_id), (1, &ids[1].unique_id));
}

#[tokio::test]
async fn manages_scripts_over_every_kind_of_connection() {
    for scram in [true, false] {
        let world = World::new(scram).await;
        for protection in [Protection::Plain, Protection::Starttls, Protection::Implicit] {
            let config = Arc::new(world::managesieve_config(protection));
            let endpoint = world.managesieve(protection);
            let mut client = ManageSieveClient::connect(&endpoint, config).await.unwrap();
            assert!(client.list().await.is_err(), "before login");
            client.login(USER, &password()).await.unwrap();
            assert_eq!(world.last_login(), if scram { "proof" } else { "password" });
            assert_eq!(client.capabilities().owner(), Some(USER));
            assert!(client.capabilities().extensions().any(|name| name == "vacation"));
            let code = |error: ClientError| match error {
                ClientError::Refused(Refusal::ManageSieve(refusal)) => refusal.code().cloned(),
                other => panic!("{other}"),
            };
            let wrong = client.put("wrong", b"keep;\r\nnonsense;\r\n").await.unwrap_err().to_string();
            assert!(wrong.contains("line 2, column 1"), "{wrong}");
            client.check(b"require \"fileinto\"; fileinto \"a\";").await.unwrap();
            let script = b"require \"vacation\";\r\nvacation \"back in \xe2\x99\xa5 June\";\r\n";
            client.put("one", script).await.unwrap();
            client.put("two \"2\"", b"stop;").await.unwrap();
            let three = client.put("three", b"stop;").await.unwrap_err();
            assert_eq!(code(three), Some(ResponseCode::QuotaMaxScripts));
            let large = client.have_space("one", 1001).await.unwrap_err();
            assert_eq!(code(large), Some(ResponseCode::QuotaMaxSize));
            client.have_space("one", 1000).await.unwrap();
            client.activate(Some("one")).await.unwrap();
            assert_eq!(code(client.delete("one").await.unwrap_err()), Some(ResponseCode::Active));
            let exists = client.rename("one", "two \"2\"").await.unwrap_err();
            assert_eq!(code(exists), Some(ResponseCode::AlreadyExists));
            client.rename("one", "eins").await.unwrap();
            let mut found = Vec::new();
            assert_eq!(client.get("eins", &mut found).await.unwrap(), script.len() as u64);
            assert_eq!(found, script);
            assert_eq!(
                code(client.get("one", &mut found).await.unwrap_err()),
                Some(ResponseCode::Nonexistent)
            );
            let listed = client.list().await.unwrap();
            let listed: Vec<_> = listed.iter().map(|entry| (entry.name.as_str(), entry.active)).collect();
            assert_eq!(listed, [("eins", true), ("two \"2\"", false)]);
            client.activate(None).await.unwrap();
            client.delete("eins").await.unwrap();
            client.delete("two \"2\"").await.unwrap();
            client.noop().await.unwrap();
            client.unauthenticate().await.unwrap();
            assert!(client.list().await.is_err(), "after UNAUTHENTICATE");
            client.login(USER, &password()).await.unwrap();
            assert!(client.list().await.unwrap().is_empty());
            client.logout().await.unwrap();
        }
    }
}

#[tokio::test]
async fn messages_from_elsewhere_keep_their_unique_ids() {
    let world = World::new(false).await;
    for id in [Some("whqtswO00WBw418f9t5JxYwZ"), None] {
        let mut upload = world.store.begin(None).await.unwrap();
        upload.write(SMALL.into()).await.unwrap();
        let date = DateTime::new(1_700_000_000, 0).unwrap();
        let target = Target::new(User::new(USER).unwrap(), MailboxName::inbox(), date);
        let target = match id {
            Some(id) => target.with_unique_id(id),
            None => target,
        };
        upload.commit(&[target]).await.unwrap();
    }
    let mut client = pop3(&world).await;
    let ids = client.uidl().await.unwrap();
    assert_eq!(ids[0].unique_id.as_str(), "whqtswO00WBw418f9t5JxYwZ");
    assert!(ids[1].unique_id.as_str().starts_with("00000002"), "{ids:?}");
    client.quit().await.unwrap();
}
