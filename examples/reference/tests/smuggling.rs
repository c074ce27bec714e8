//! Messages within messages: whatever stands in what ours takes, a Postfix and a Dovecot behind it see as many messages as ours said
//! it took, and never one that was hidden in another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "postfix/daemon.rs"]
mod daemon;
#[path = "common/dovecot.rs"]
mod dovecot;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
};

use common::{Server, Talk, free_port, wait_for};
use daemon::{HOME, OWNER, Postfix};
use tempfile::TempDir;

/// Dovecot's LMTP server: everybody has a mailbox.
struct Dovecot {
    _daemon: dovecot::Dovecot,
    folder: TempDir,
    port: u16,
}

impl Dovecot {
    fn start() -> Option<Self> {
        if !dovecot::is_installed(&["lmtp"]) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().display();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        chown(&home, Some(OWNER), Some(OWNER)).unwrap();
        let port = free_port();
        let lines = format!(
            "protocols = lmtp\nauth_username_format = %Ln\n\
             passdb {{\n  driver = static\n  args = nopassword=yes\n}}\n\
             userdb {{\n  driver = static\n  args = uid={OWNER} gid={OWNER} home={base}/home/%n allow_all_users=yes\n}}\n\
             mail_location = maildir:~/Maildir\n\
             service lmtp {{\n  inet_listener lmtp {{\n    address = 127.0.0.1\n    port = {port}\n  }}\n}}\n"
        );
        let daemon = dovecot::Dovecot::start(folder.path(), &lines, &[port]);
        Some(Self { _daemon: daemon, folder, port })
    }

    /// All messages that bob has.
    fn messages(&self) -> Vec<String> {
        let new = self.folder.path().join("home/bob/Maildir/new");
        let Ok(files) = fs::read_dir(new) else { return Vec::new() };
        files
            .map(|file| String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap()).into_owned())
            .collect()
    }
}

/// All messages that bob has at Postfix: there is a line that begins with From and a space before each, and in none.
fn at_postfix(postfix: &Postfix) -> Vec<String> {
    let mail = fs::read(postfix.folder.path().join("mail/bob")).unwrap_or_default();
    let mail = format!("\n{}", String::from_utf8_lossy(&mail));
    mail.split("\nFrom ").skip(1).map(str::to_owned).collect()
}

/// What stands in the header as the subject.
fn subject(message: &str) -> String {
    let line = message.lines().find(|line| line.starts_with("Subject: ") || line.is_empty());
    line.unwrap_or_default().trim_end().to_owned()
}

const TO_BOTH: &str = "RCPT TO:<bob@postfix.example>\r\nRCPT TO:<bob@dovecot.example>\r\n";

/// A whole message, from MAIL to the dot.
fn smuggled() -> String {
    format!("MAIL FROM:<evil@client.example>\r\n{TO_BOTH}DATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\n")
}

/// What might be taken for the end of a message.
const ENDS: &[&str] = &[
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\r\n.\r",
    "\n.\r",
    "\r.\n",
    "\r\n.\r\r\n",
    "\r\r\n.\r\r\n",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\0\r\n.\0\n",
    "\r\n..\r\n",
    "\n..\n",
    "\r\n.\x0b\r\n",
    "\r\n.\u{2028}",
    "\r\n. \r\n",
    "\r\n .\r\n",
];

/// The sessions, each with how many messages it may have been taken for at most.
fn attacks() -> Vec<(String, Vec<u8>, usize)> {
    let begin = |number: usize| {
        format!("MAIL FROM:<ann@client.example>\r\n{TO_BOTH}DATA\r\nSubject: {number}\r\n\r\ntext")
    };
    let smuggled = smuggled();
    let mut attacks = Vec::new();
    for (number, end) in ENDS.iter().enumerate() {
        // The true end is that of the hidden message.
        let session = format!("EHLO client.example\r\n{}{end}{smuggled}QUIT\r\n", begin(number));
        attacks.push((format!("{end:?} in DATA"), session.into_bytes(), 1));
    }
    // In the header it counts as much as in the body.
    for end in ["\n.\n", "\r.\r", "\n.\r\n"] {
        let session = format!(
            "EHLO client.example\r\nMAIL FROM:<ann@client.example>\r\n{TO_BOTH}DATA\r\nSubject: header{end}{smuggled}QUIT\r\n"
        );
        attacks.push((format!("{end:?} in a header"), session.into_bytes(), 1));
    }
    let parts = |parts: &[String]| {
        let mut session = format!("EHLO client.example\r\nMAIL FROM:<ann@client.example>\r\n{TO_BOTH}");
        for (number, part) in parts.iter().enumerate() {
            let last = if number + 1 == parts.len() { " LAST" } else { "" };
            session += &format!("BDAT {}{last}\r\n{part}", part.len());
        }
        (session + "QUIT\r\n").into_bytes()
    };
    for end in ENDS.iter().chain(&["\r\n.\r\n"]) {
        let whole = format!("Subject: part\r\n\r\ntext{end}{smuggled}");
        attacks.push((format!("{end:?} in BDAT"), parts(&[whole]), 1));
        // Cut in the middle of what looks like an end.
        let cut = end.len() / 2;
        if let Some((first, second)) = end.split_at_checked(cut) {
            let first = format!("Subject: parts\r\n\r\ntext{first}");
            attacks.push((
                format!("{end:?} over two BDAT"),
                parts(&[first, format!("{second}{smuggled}")]),
                1,
            ));
        }
    }
    let open = format!("EHLO client.example\r\nMAIL FROM:<ann@client.example>\r\n{TO_BOTH}");
    for (name, rest) in [
        // The sizes lie, so the rest of the part is what follows it.
        ("a part that is longer than said", format!("BDAT 4 LAST\r\nSubject: x\r\n\r\n{smuggled}")),
        ("a size beyond all numbers", format!("BDAT 99999999999999999999 LAST\r\n{smuggled}")),
        ("a negative size", format!("BDAT -1 LAST\r\n{smuggled}")),
        ("a size in other digits", format!("BDAT 0x10 LAST\r\n{smuggled}")),
        ("DATA amid BDAT", format!("BDAT 12\r\nSubject: x\r\nDATA\r\n\r\n.\r\n{smuggled}")),
    ] {
        // What is no part is commands of the same client, of which a message may come. It is that client's own.
        attacks.push((name.to_owned(), format!("{open}{rest}QUIT\r\n").into_bytes(), 2));
    }
    // In the clear behind STARTTLS: whoever put it there is not who speaks TLS.
    let injected = format!("EHLO client.example\r\nSTARTTLS\r\nEHLO client.example\r\n{smuggled}QUIT\r\n");
    attacks.push(("behind STARTTLS".to_owned(), injected.into_bytes(), 0));
    for (name, path) in [
        ("in a sender", "MAIL FROM:<ann@client.example>\rRCPT TO:<bob@postfix.example>\r\n"),
        ("in a recipient", "MAIL FROM:<a@client.example>\r\nRCPT TO:<bob@postfix.example>\nDATA\r\n"),
        ("in a quoted local part", "MAIL FROM:<\"a\r\nRSET\r\n\"@client.example>\r\n"),
    ] {
        let session = format!("EHLO client.example\r\n{path}RSET\r\nQUIT\r\n");
        attacks.push((format!("a line end {name}"), session.into_bytes(), 0));
    }
    attacks
}

#[test]
fn nothing_is_smuggled_through_ours() {
    let Some(mut postfix) = Postfix::find() else { return };
    let Some(dovecot) = Dovecot::start() else { return };
    // Behind ours stands one that takes bare line feeds for line ends, as most do.
    postfix.start("");
    let server = Server::start(&format!(
        "relay.networks = [\"127.0.0.0/8\"]\nrelay.transport.\"{HOME}\" = \"smtp:[127.0.0.1]:{}\"\n\
         relay.transport.\"dovecot.example\" = \"lmtp:127.0.0.1:{}\"\n",
        postfix.port, dovecot.port
    ));
    let ports = [(server.port("smtp", "starttls"), true), (server.lenient_port(), false)];
    let mut taken = 0;
    for (port, has_tls) in ports {
        for (name, session, most) in attacks() {
            // Who offers no TLS refuses it, and goes on with the same client.
            let most = if has_tls { most } else { most.max(1) };
            // Everything at once, before the greeting has come.
            let mut talk = Talk::connect(port);
            talk.send_anyway(&session);
            let said = talk.rest();
            let replies = said.lines().filter(|line| line.starts_with("250 2.0.0 Ok: queued as ")).count();
            assert!(replies <= most, "{name}: {replies} messages\n{said}");
            taken += replies;
        }
    }
    assert!(taken > 20, "only {taken} messages were taken: nothing was tried");
    let queue = || String::from_utf8(common::succeed(&mut server.command(&["queue", "list"]))).unwrap();
    wait_for("an empty queue", || queue().is_empty().then_some(()));
    wait_for("Postfix to have delivered", || postfix.is_idle().then_some(()));
    let log = server.log();
    for (place, messages) in [("Postfix", at_postfix(&postfix)), ("Dovecot", dovecot.messages())] {
        let refused: Vec<_> = log.lines().filter(|line| line.contains("bounced")).collect();
        assert_eq!(messages.len(), taken, "at {place}: {refused:?}");
        let own: Vec<_> = messages.iter().filter(|message| subject(message) == "Subject: smuggled").collect();
        // Only of the sessions whose sizes lie, where the client itself sent it.
        assert!(own.iter().all(|message| message.contains("evil@client.example")), "at {place}: {own:?}");
        assert!(own.len() <= 2 * 5, "at {place}: {} were smuggled", own.len());
    }
}
