//! A server that is told to stop ends what is under way: its sender would send a message again that was taken and not answered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mailwright::{
    CancellationToken, Listener, ListenerTls,
    relay_policy::Session,
    smtp::{Body, Inbox, Smtp},
    smtp_proto::{Message, Outcome, Rcpt, Reply, server::Config},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

/// Takes its time to keep a message, and says when it has it.
struct Slow {
    taken: Notify,
    time: Duration,
}

impl Inbox for Slow {
    async fn recipient(&self, _: &Session, _: &Rcpt) -> Reply {
        Reply::RECIPIENT_OK
    }

    async fn deliver(&self, _: &Session, _: &Message, body: &mut Body<'_>) -> Outcome {
        while let Ok(Some(_)) = body.next().await {}
        self.taken.notify_one();
        tokio::time::sleep(self.time).await;
        Reply::queued("kept").into()
    }
}

/// Sends a message, stops the server while it is kept, and gives all that the server said and how long it then went on.
async fn stopped(time: Duration, patience: Option<Duration>) -> (String, Duration) {
    let inbox = Arc::new(Slow { taken: Notify::new(), time });
    let service = Smtp::without_logins(
        Arc::clone(&inbox),
        ListenerTls::None,
        Config::smtp("mail.example.org").unwrap(),
    );
    let stop = CancellationToken::new();
    let mut listener = Listener::bind("127.0.0.1:0", stop.clone()).await.unwrap();
    if let Some(patience) = patience {
        listener = listener.with_farewell(patience);
    }
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    // Somebody who says nothing keeps nobody waiting.
    let _idle = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let serving = tokio::spawn(Arc::new(service).serve(listener, stop.clone()));
    let said = b"EHLO c\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";
    client.write_all(said).await.unwrap();
    let mut heard = vec![0; 4096];
    let mut length = 0;
    while !String::from_utf8_lossy(&heard[..length]).contains("\r\n354 ") {
        length += client.read(&mut heard[length..]).await.unwrap();
    }
    client.write_all(b"Subject: x\r\n\r\nx\r\n.\r\n").await.unwrap();
    inbox.taken.notified().await;
    let since = Instant::now();
    stop.cancel();
    serving.await.unwrap();
    let went_on = since.elapsed();
    let mut rest = String::new();
    // Whoever is cut off may find the connection reset.
    let read = tokio::time::timeout(Duration::from_millis(200), client.read_to_string(&mut rest));
    let _ = read.await;
    (rest, went_on)
}

#[tokio::test]
async fn what_is_under_way_is_answered_before_the_server_has_ended() {
    let (said, went_on) = stopped(Duration::from_millis(500), None).await;
    assert!(said.starts_with("250 2.0.0 "), "{said}");
    assert!(went_on >= Duration::from_millis(400), "{went_on:?}");
}

#[tokio::test]
async fn it_is_not_waited_for_longer_than_was_said() {
    let (said, went_on) = stopped(Duration::from_secs(600), Some(Duration::from_millis(100))).await;
    assert_eq!(said, "");
    assert!(went_on < Duration::from_secs(60), "{went_on:?}");
}
