//! Our accounts behind our own service, over real sockets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};

use mailwright_mailstore::{
    User,
    accounts::{Accounts, Credentials, LoginError, LoginRequest, Service, from_fn},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::Authenticator;

#[tokio::test]
async fn accounts_behind_the_service_are_those_in_front_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth");
    let accounts = from_fn(|request: LoginRequest| async move {
        match request.user.as_str() {
            "tim" if request.credentials.is_password(b"pass") => {
                assert_eq!((request.service, request.tls), (Service::Imap, true));
                assert_eq!(request.peer, Some("192.0.2.1".parse().unwrap()));
                User::new("tim@example.org").map_err(|_| LoginError::Unavailable)
            }
            "later" => Err(LoginError::Unavailable),
            "denied" => Err(LoginError::NotAuthorized),
            _ => Err(LoginError::Credentials),
        }
    });
    let authenticator = Arc::new(Authenticator::new(accounts, "secret".into()));
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let listener = UnixListener::bind(&path).unwrap();
    let serving = tokio::spawn(Arc::new(DovecotAuth::new(authenticator)).serve_unix(
        listener,
        stop.clone(),
        tasks.clone(),
    ));

    let behind = DovecotAccounts::new(DovecotAddress::Unix(path));
    for (user, password, expected) in [
        ("tim", "pass", Ok("tim@example.org")),
        ("tim", "wrong", Err(LoginError::Credentials)),
        ("tim\0", "pass", Err(LoginError::Credentials)),
        ("later", "pass", Err(LoginError::Unavailable)),
        ("denied", "pass", Err(LoginError::NotAuthorized)),
    ] {
        let mut request = LoginRequest::new(user, Credentials::password(password.as_bytes()), Service::Imap);
        request.peer = Some("192.0.2.1".parse().unwrap());
        request.tls = true;
        let found = behind.login(&request).await;
        assert_eq!(found.as_ref().map(User::as_str).map_err(|error| *error), expected, "{user}");
        request.authorization = Some("other".into());
        assert!(behind.login(&request).await.is_err());
    }
    stop.cancel();
    serving.await.unwrap();
    tasks.close();
    tasks.wait().await;
    let nobody = DovecotAccounts::new(DovecotAddress::Unix(folder.path().join("gone")));
    let request = LoginRequest::new("tim", Credentials::password(b"pass"), Service::Imap);
    assert_eq!(nobody.login(&request).await, Err(LoginError::Unavailable));
}

fn auth(id: u32, user: &str, password: &str) -> String {
    let response = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
    format!("AUTH\t{id}\tPLAIN\tservice=smtp\tsecured\trip=198.51.100.{id}\tresp={response}\n")
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_delay_of_another_and_who_cancels_is_heard() {
    let decided = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&decided);
    let accounts = from_fn(move |request: LoginRequest| {
        let counter = Arc::clone(&counter);
        async move {
            let slow = request.user == "slow";
            time::sleep(Duration::from_secs(if slow { 60 } else { 0 })).await;
            counter.fetch_add(1, Ordering::Relaxed);
            match request.credentials.is_password(b"pass") {
                true => User::new("tim@example.org").map_err(|_| LoginError::Unavailable),
                false => Err(LoginError::Credentials),
            }
        }
    });
    let service = DovecotAuth::new(Arc::new(Authenticator::new(accounts, "secret".into())));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(async move { service.session(theirs, stop).await });
    let (reader, mut writer) = ours.into_split();
    let mut lines = BufReader::new(reader).lines();
    while lines.next_line().await.unwrap().unwrap() != "DONE" {}
    let started = time::Instant::now();
    let said = format!(
        "VERSION\t1\t2\nCPID\t9\n{}{}{}CANCEL\t3\n{}{}",
        auth(1, "tim", "wrong"),
        auth(2, "slow", "pass"),
        auth(3, "slow", "pass"),
        // Its number is free again, and what was cancelled says nothing of this one.
        auth(3, "tim", "wrong"),
        auth(4, "tim", "pass"),
    );
    writer.write_all(said.as_bytes()).await.unwrap();
    let mut next = async || lines.next_line().await.unwrap();
    assert_eq!(next().await.as_deref(), Some("OK\t4\tuser=tim@example.org"));
    assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
    let mut failed = [next().await.unwrap(), next().await.unwrap()];
    failed.sort();
    assert_eq!(failed, ["FAIL\t1", "FAIL\t3"]);
    // Who has no more to say gets the last answer, and then the end.
    writer.shutdown().await.unwrap();
    assert_eq!(next().await.as_deref(), Some("OK\t2\tuser=tim@example.org"));
    assert_eq!(next().await, None);
    serving.await.unwrap();
    assert_eq!(decided.load(Ordering::Relaxed), 4, "what was cancelled was not gone on with");
}
