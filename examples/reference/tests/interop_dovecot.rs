//! Our POP3 and ManageSieve clients, and sieve-connect, at Debian's Dovecot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "common/dovecot.rs"]
mod dovecot;

use std::{
    fs,
    num::NonZeroU32,
    os::unix::fs::chown,
    process::{Command, Stdio},
    sync::Arc,
};

use common::{PASSWORD, free_port, have};
use dovecot::{OWNER, is_installed};
use mailwright::{
    client::{ClientError, Endpoint, ManageSieveClient, Pop3Client, Refusal, Security},
    line_proto::Secret,
    pop3_proto::{self, Capability},
    sieve::managesieve::{self, ResponseCode},
};
use tempfile::TempDir;

/// Dovecot with a configuration of its own, for POP3 and ManageSieve.
struct Dovecot {
    _daemon: dovecot::Dovecot,
    folder: TempDir,
    pop3: u16,
    sieve: u16,
}

impl Dovecot {
    /// Nothing if there is none.
    fn start() -> Option<Self> {
        if !is_installed(&["pop3", "managesieve"]) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().display();
        for part in ["", "home", "home/alice", "home/alice/Maildir"] {
            let path = folder.path().join(part);
            fs::create_dir_all(&path).unwrap();
            if chown(&path, Some(OWNER), Some(OWNER)).is_err() {
                println!("skipped: only root can run Dovecot for another user");
                return None;
            }
        }
        let (pop3, sieve) = (free_port(), free_port());
        let lines = format!(
            "protocols = pop3 sieve\n\
             auth_mechanisms = plain login cram-md5 scram-sha-256\n\
             passdb {{\n  driver = static\n  args = password={PASSWORD}\n}}\n\
             userdb {{\n  driver = static\n  args = uid={OWNER} gid={OWNER} home={base}/home/%u allow_all_users=yes\n}}\n\
             mail_location = maildir:~/Maildir\npop3_uidl_format = %08Xu%08Xv\npop3_enable_last = yes\n\
             plugin {{\n  sieve = file:~/sieve;active=~/.dovecot.sieve\n  sieve_quota_max_scripts = 3\n}}\n\
             service pop3-login {{\n  inet_listener pop3 {{\n    port = {pop3}\n  }}\n  inet_listener pop3s {{\n    port = 0\n  }}\n}}\n\
             service managesieve-login {{\n  inet_listener sieve {{\n    port = {sieve}\n  }}\n}}\n"
        );
        let daemon = dovecot::Dovecot::start(folder.path(), &lines, &[pop3, sieve]);
        Some(Self { _daemon: daemon, folder, pop3, sieve })
    }

    /// Puts a message into alice's INBOX.
    fn keep(&self, name: &str, message: &str) {
        for part in ["new", "cur", "tmp"] {
            let path = self.folder.path().join("home/alice/Maildir").join(part);
            fs::create_dir_all(&path).unwrap();
            chown(&path, Some(OWNER), Some(OWNER)).unwrap();
        }
        let path = self.folder.path().join("home/alice/Maildir/new").join(name);
        fs::write(&path, message).unwrap();
        chown(&path, Some(OWNER), Some(OWNER)).unwrap();
    }
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint::new("127.0.0.1", port, Security::Plain)
}

fn message(number: u32) -> String {
    format!("From: bob@example.net\r\nSubject: message {number}\r\n\r\n.dot {number}\r\n.\r\nend\r\n")
}

async fn pop3(dovecot: &Dovecot) -> Pop3Client {
    let mut config = pop3_proto::client::Config::default();
    config.allow_plaintext_auth = true;
    Pop3Client::connect(&endpoint(dovecot.pop3), Arc::new(config)).await.unwrap()
}

#[tokio::test]
async fn our_pop3_client_fetches_from_dovecot() {
    let Some(dovecot) = Dovecot::start() else { return };
    for number in 1..=3 {
        dovecot.keep(&format!("{number}.M1.host"), &message(number));
    }
    let mut client = pop3(&dovecot).await;
    let offered: Vec<_> = client.capabilities().cloned().collect();
    for capability in [Capability::Top, Capability::Uidl, Capability::RespCodes, Capability::AuthRespCode] {
        assert!(offered.contains(&capability), "{capability}: {offered:?}");
    }
    let refused = client.login("alice", &Secret::from("wrong")).await.unwrap_err();
    assert!(matches!(&refused, ClientError::Refused(Refusal::Pop3(_))), "{refused}");
    client.login("alice", &Secret::from(PASSWORD)).await.unwrap();
    let totals = client.stat().await.unwrap();
    let sizes = client.list().await.unwrap();
    assert_eq!((totals.messages, sizes.len()), (3, 3));
    assert_eq!(sizes.iter().map(|listed| listed.octets).sum::<u64>(), totals.octets);
    let ids = client.uidl().await.unwrap();
    assert!(ids.iter().all(|found| found.unique_id.as_str().len() == 16), "{ids:?}");
    for listed in &sizes {
        let mut octets = Vec::new();
        client.retr(listed.number, &mut octets).await.unwrap();
        assert_eq!(String::from_utf8(octets).unwrap(), message(listed.number.get()));
    }
    assert_eq!(client.last().await.unwrap(), 3);
    let mut top = client.top(NonZeroU32::MIN, 1).await.unwrap();
    let mut octets = Vec::new();
    while let Some(part) = top.next().await.unwrap() {
        octets.extend_from_slice(&part);
    }
    assert!(String::from_utf8(octets).unwrap().ends_with("\r\n\r\n.dot 1\r\n"));
    client.dele(NonZeroU32::MIN).await.unwrap();
    client.reset().await.unwrap();
    client.dele(NonZeroU32::new(2).unwrap()).await.unwrap();
    assert!(matches!(client.dele(NonZeroU32::new(9).unwrap()).await, Err(ClientError::Refused(_))));
    client.noop().await.unwrap();
    client.quit().await.unwrap();

    let mut client = pop3(&dovecot).await;
    client.login("alice", &Secret::from(PASSWORD)).await.unwrap();
    let left: Vec<_> = client.uidl().await.unwrap().into_iter().map(|found| found.unique_id).collect();
    assert_eq!(left, [ids[0].unique_id.clone(), ids[2].unique_id.clone()]);
    client.quit().await.unwrap();
}

#[tokio::test]
async fn our_managesieve_client_manages_scripts_at_dovecot() {
    let Some(dovecot) = Dovecot::start() else { return };
    let mut config = managesieve::client::Config::default();
    config.allow_plaintext_auth = true;
    let mut client = ManageSieveClient::connect(&endpoint(dovecot.sieve), Arc::new(config)).await.unwrap();
    assert!(client.capabilities().extensions().any(|name| name == "fileinto"));
    assert!(client.login("alice", &Secret::from("wrong")).await.is_err());
    client.login("alice", &Secret::from(PASSWORD)).await.unwrap();
    assert!(client.capabilities().mechanisms().next().is_none(), "{:?}", client.capabilities());
    let code = |error: ClientError| match error {
        ClientError::Refused(Refusal::ManageSieve(refusal)) => refusal.code().cloned(),
        other => panic!("{other}"),
    };
    let (keep, broken) = (&b"keep;\r\n"[..], &b"nonsense;\r\n"[..]);
    client.have_space("one", 100).await.unwrap();
    client.put("one", keep).await.unwrap();
    client.put("zw\u{f6}lf \"Tage\"", b"require \"fileinto\";\r\nfileinto \"A\";\r\n").await.unwrap();
    assert!(client.put("one", broken).await.is_err());
    client.check(keep).await.unwrap();
    assert!(client.check(broken).await.is_err());
    client.activate(Some("one")).await.unwrap();
    let listed = client.list().await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().any(|script| script.name.as_str() == "one" && script.active), "{listed:?}");
    let mut script = Vec::new();
    client.get("one", &mut script).await.unwrap();
    assert_eq!(script, keep);
    assert_eq!(code(client.delete("one").await.unwrap_err()), Some(ResponseCode::Active));
    assert_eq!(code(client.delete("none").await.unwrap_err()), Some(ResponseCode::Nonexistent));
    client.rename("zw\u{f6}lf \"Tage\"", "two").await.unwrap();
    assert_eq!(code(client.rename("two", "one").await.unwrap_err()), Some(ResponseCode::AlreadyExists));
    client.put("three", keep).await.unwrap();
    assert_eq!(code(client.put("four", keep).await.unwrap_err()), Some(ResponseCode::QuotaMaxScripts));
    client.activate(None).await.unwrap();
    client.delete("one").await.unwrap();
    client.noop().await.unwrap();
    client.logout().await.unwrap();
}

#[test]
fn sieve_connect_talks_to_dovecot_as_to_us() {
    if !have("sieve-connect") {
        return;
    }
    let Some(dovecot) = Dovecot::start() else { return };
    let folder = dovecot.folder.path();
    fs::write(folder.join("keep.sieve"), "keep;\n").unwrap();
    let sieve = |arguments: &[&str]| {
        let mut child = Command::new("sieve-connect")
            .args(["--server", "localhost", "--port", &dovecot.sieve.to_string(), "--user", "alice"])
            .args(["--passwordfd", "0", "--clearchan"])
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{PASSWORD}\n").as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let said = sieve(&["--localsieve", "keep.sieve", "--upload"]);
    let listed = sieve(&["--list"]);
    assert!(listed.contains("\"keep.sieve\""), "{said}\n{listed}");
}
