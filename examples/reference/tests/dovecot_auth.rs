//! Passwords that a real Dovecot checks (`[auth] dovecot`): what it says of them, and what of that is a guess.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "common/dovecot.rs"]
mod dovecot;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
};

use common::{PASSWORD, Server, Talk, tell, wait_for};
use dovecot::{Dovecot, OWNER, is_installed};

const USERS: [&str; 4] = ["alice", "nina", "dora", "tina"];

/// A Dovecot that lets alice in, nina with `nologin`, and not dora, and cannot tell about tina.
fn start(folder: &Path) -> Dovecot {
    let base = folder.display();
    let users: String = USERS[..2]
        .iter()
        .map(|user| {
            let more = if *user == "nina" { "nologin" } else { "" };
            format!("{user}@example.org:{{PLAIN}}{PASSWORD}::::::{more}\n")
        })
        .collect();
    fs::write(folder.join("users"), users).unwrap();
    fs::write(folder.join("deny"), "dora@example.org\n").unwrap();
    // As one that reads the password and cannot ask whoever knows (checkpassword: 111).
    let program = folder.join("fails");
    fs::write(&program, "#!/bin/sh\nexit 111\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let lines = format!(
        "protocols =\nauth_mechanisms = plain\nauth_failure_delay = 0\nauth_verbose = yes\n\
         passdb {{\n  driver = passwd-file\n  deny = yes\n  args = {base}/deny\n}}\n\
         passdb {{\n  driver = checkpassword\n  args = {base}/fails\n  username_filter = tina@*\n}}\n\
         passdb {{\n  driver = passwd-file\n  args = {base}/users\n}}\n\
         userdb {{\n  driver = static\n  args = uid={OWNER} gid={OWNER} home={base}/home/%u allow_all_users=yes\n}}\n\
         service anvil {{\n  unix_listener anvil-auth-penalty {{\n    mode = 0\n  }}\n}}\n\
         service auth {{\n  unix_listener {base}/ask {{\n    mode = 0666\n  }}\n}}\n"
    );
    let dovecot = Dovecot::start(folder, &lines, &[]);
    wait_for("the authentication server", || UnixStream::connect(folder.join("ask")).ok());
    dovecot
}

#[test]
fn what_is_no_guess_ends_in_no_ban() {
    if !is_installed(&["auth"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let _dovecot = start(folder.path());
    let mut server = Server::prepare(&format!(
        "allow_plaintext_auth = true\nproxies = [\"127.0.0.1\"]\n\
         auth = {{ dovecot = {:?}, failures_per_address = 3, penalty_milliseconds = 0 }}",
        folder.path().join("ask").display().to_string()
    ));
    for user in USERS {
        server.add_user(&format!("{user}@example.org"), "not asked about");
    }
    server.serve();
    let login = |from: &str, user: &str, password: &str| {
        let mut talk = Talk::connect(server.port("imap", "starttls"));
        talk.send(format!("PROXY TCP4 {from} 198.51.100.1 40000 143\r\n"));
        talk.line();
        let answer = talk.imap("a", &format!("LOGIN {user}@example.org {password:?}")).pop().unwrap();
        answer.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ")
    };
    for (from, user, password, expected, banned) in [
        ("192.0.2.1", "alice", PASSWORD, "OK [CAPABILITY", false),
        ("192.0.2.2", "nina", PASSWORD, "NO [AUTHORIZATIONFAILED]", false),
        ("192.0.2.3", "dora", "whatever", "NO [AUTHORIZATIONFAILED]", false),
        ("192.0.2.4", "tina", "whatever", "NO [UNAVAILABLE]", false),
        ("192.0.2.5", "nina", "guess", "NO [AUTHENTICATIONFAILED]", true),
        ("192.0.2.6", "alice", "guess", "NO [AUTHENTICATIONFAILED]", true),
    ] {
        for attempt in 1..=5 {
            let expected = if banned && attempt > 3 { "NO [UNAVAILABLE]" } else { expected };
            assert_eq!(login(from, user, password), expected, "{user} {password} the {attempt}th time");
        }
        let bans = tell(&server, "ban list");
        assert_eq!(bans.contains(&format!("{from} ")), banned, "{user} {password}: {bans}");
        assert!(!banned || bans.contains(&format!("with {user}@example.org")), "{bans}");
    }
}
