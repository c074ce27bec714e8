//! A copy of a mailbox is brought up to date, by every method there is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "client/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the clients")]
mod world;

use std::sync::Arc;

use mailwright::{
    client::{ImapClient, Replica, SyncMethod},
    imap_proto::command::{Append, StoreOperation},
    line_proto::Secret,
    mail_model::{FlagSet, MailboxName, Uid, UidSet},
};
use world::{PASSWORD, Protection, USER, World};

async fn client(world: &World) -> ImapClient {
    let config = Arc::new(world::imap_config(Protection::Plain));
    let mut client = ImapClient::connect(&world.imap(Protection::Plain), config).await.unwrap();
    client.login(USER, &Secret::from(PASSWORD)).await.unwrap();
    client
}

fn uids(text: &str) -> UidSet {
    text.parse().unwrap()
}

fn flags(text: &str) -> FlagSet {
    text.parse().unwrap()
}

async fn append(client: &mut ImapClient, name: &MailboxName) {
    let message: &[u8] = b"Subject: x\r\n\r\n";
    client.append(Append::new(name.clone(), message.len() as u64), &mut &*message).await.unwrap();
}

#[tokio::test]
async fn a_copy_is_brought_up_to_date_by_every_method() {
    let world = World::new(false).await;
    let name = MailboxName::new("Copied").unwrap();
    let mut other = client(&world).await;
    other.create(name.clone()).await.unwrap();
    for _ in 0..5 {
        append(&mut other, &name).await;
    }
    let methods = [SyncMethod::Full, SyncMethod::ChangedSince, SyncMethod::Resync];
    let mut replicas = methods.map(|_| Replica::default());
    let mut clients = [client(&world).await, client(&world).await, client(&world).await];
    for ((client, replica), method) in clients.iter_mut().zip(&mut replicas).zip(methods) {
        let synced = client.sync_by(method, name.clone(), true, replica).await.unwrap();
        assert_eq!((synced.method, synced.reset), (SyncMethod::Full, false));
        assert_eq!((synced.added, synced.opened.messages), (uids("1:5"), 5));
        // Nothing has happened.
        let synced = client.sync_by(method, name.clone(), true, replica).await.unwrap();
        assert_eq!(synced.method, method);
        assert!(synced.added.is_empty() && synced.changed.is_empty() && synced.removed.is_empty());
    }

    other.select(name.clone()).await.unwrap();
    other.store(uids("2"), StoreOperation::Add, flags("\\Seen $work")).await.unwrap();
    other.store(uids("3:4"), StoreOperation::Add, flags("\\Deleted")).await.unwrap();
    other.expunge().await.unwrap();
    append(&mut other, &name).await;
    for ((client, replica), method) in clients.iter_mut().zip(&mut replicas).zip(methods) {
        let synced = client.sync_by(method, name.clone(), true, replica).await.unwrap();
        assert_eq!(synced.method, method);
        assert_eq!((synced.added, synced.changed, synced.removed), (uids("6"), uids("2"), uids("3:4")));
        assert_eq!(replica.flags.keys().copied().collect::<UidSet>(), uids("1:2,5:6"));
        assert_eq!(replica.flags[&Uid::new(2).unwrap()], flags("\\Seen $work"));
    }
    assert!(replicas[0] == replicas[2] && replicas[1] == replicas[2], "{replicas:?}");

    // Another mailbox of the same name.
    other.delete(name.clone()).await.unwrap();
    let mut other = client(&world).await;
    other.create(name.clone()).await.unwrap();
    append(&mut other, &name).await;
    for (replica, method) in replicas.iter_mut().zip(methods) {
        let mut client = client(&world).await;
        let synced = client.sync_by(method, name.clone(), true, replica).await.unwrap();
        assert!(synced.reset && synced.changed.is_empty(), "{synced:?}");
        assert_eq!((synced.added, synced.removed), (uids("1"), uids("1:2,5:6")));
    }
    // A copy that is wrong is put right, whatever the server says.
    let replica = &mut replicas[2];
    replica.flags.insert(Uid::new(9).unwrap(), FlagSet::new());
    let synced = client(&world).await.sync(name, true, replica).await.unwrap();
    assert_eq!((synced.method, synced.removed), (SyncMethod::Full, uids("9")));
}
