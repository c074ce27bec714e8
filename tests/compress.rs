//! What our IMAP client says and hears is the same whether it is compressed or not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "client/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the clients")]
mod world;

use std::{sync::Arc, time::Duration};

use mailwright::{
    client::{ClientError, ImapClient},
    imap_proto::{client::Compress, command::Append},
    line_proto::{Misuse, Secret},
    mail_model::{MailboxName, query::Query},
};
use world::{PASSWORD, Protection, USER, World};

/// Text that shrinks and octets that do not, more than any buffer holds.
fn message() -> Vec<u8> {
    let mut message = b"Subject: large\r\n\r\n".to_vec();
    let mut state = 1_u32;
    for line in 0..20_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        message.extend_from_slice(format!("{line} {state:08x}{:08x}\r\n", state.rotate_left(9)).as_bytes());
    }
    message
}

#[tokio::test]
async fn a_session_is_compressed_in_the_clear_and_under_tls() {
    let world = World::new(false).await;
    for protection in [Protection::Plain, Protection::Starttls, Protection::Implicit] {
        let config = Arc::new(world::imap_config(protection));
        let mut client = ImapClient::connect(&world.imap(protection), config).await.unwrap();
        // It is offered to those who are logged in only.
        assert!(!client.compress().await.unwrap());
        client.login(USER, &Secret::from(PASSWORD)).await.unwrap();
        assert!(client.compress().await.unwrap());
        // RFC 4978 §3: once is all.
        let again = client.call(Compress).await;
        assert!(matches!(again, Err(ClientError::Misuse(Misuse::WrongState { .. }))), "{again:?}");
        let name = MailboxName::inbox();
        let message = message();
        let append = Append::new(name.clone(), message.len() as u64);
        let appended = client.append(append, &mut &*message).await.unwrap().unwrap();
        client.select(name.clone()).await.unwrap();
        assert!(client.search(Query::all()).await.unwrap().contains(&appended.uid));
        let mut read = Vec::new();
        client.message(appended.uid, &mut read).await.unwrap();
        assert!(read == message);
        // What the server says by itself comes at once.
        let other = async {
            let config = Arc::new(world::imap_config(protection));
            let mut other = ImapClient::connect(&world.imap(protection), config).await.unwrap();
            other.login(USER, &Secret::from(PASSWORD)).await.unwrap();
            other.append(Append::new(name.clone(), 16), &mut &b"Subject: news\r\n\r\n"[..16]).await.unwrap();
        };
        let (told, ()) = tokio::join!(client.idle(tokio::time::sleep(Duration::from_secs(60))), other);
        assert!(told.unwrap().is_some());
        client.logout().await.unwrap();
    }
}
