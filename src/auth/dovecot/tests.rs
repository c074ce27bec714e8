//! Our accounts behind our own service, over real sockets.

use std::sync::Arc;

use mailwright_mailstore::{
    User,
    accounts::{Accounts, Credentials, LoginError, LoginRequest, Service, from_fn},
};
use tokio::net::UnixListener;
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
