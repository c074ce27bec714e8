//! Guests (SASL ANONYMOUS): they read one account of the running server, and nothing of it changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{fs, process::Command, sync::Arc};

use common::{PASSWORD, Server, Talk, USER, deliver, have, succeed, wait_for};
use mailwright::{
    client::{Endpoint, ImapClient, Pop3Client, Security, SmtpClient},
    line_proto::{sasl::Credentials, tls},
    mail_model::MailboxName,
};

const GUESTS: &str = "library@example.org";
const ANONYMOUS: &str = "allow_plaintext_auth = true\nauth = { anonymous = \"library@example.org\" }";

/// A server whose guests have two messages to read.
fn library() -> Server {
    let mut server = Server::prepare(ANONYMOUS);
    server.add_user(USER, PASSWORD);
    server.add_user(GUESTS, PASSWORD);
    server.serve();
    for subject in ["one", "two"] {
        deliver(&server, GUESTS, &format!("Subject: {subject}\r\n\r\ntext\r\n"));
    }
    server
}

/// A session of IMAP, of a guest who calls itself `sirhc` as in RFC 4505 §4.
fn guest(server: &Server) -> Talk {
    let mut talk = server.talk(server.port("imap", "starttls"));
    assert!(talk.line().contains("AUTH=ANONYMOUS"));
    let answer = talk.imap("login", "AUTHENTICATE ANONYMOUS c2lyaGM=");
    assert!(answer.last().unwrap().starts_with("login OK"), "{answer:?}");
    talk
}

/// The owner's session.
fn owner(server: &Server) -> Talk {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    talk.imap("login", &format!("LOGIN {GUESTS} {PASSWORD}"));
    talk
}

fn last(answer: &[String]) -> &str {
    answer.last().unwrap()
}

/// All of the account that a guest could change, as its owner sees it.
fn state(server: &Server) -> Vec<String> {
    let mut talk = owner(server);
    talk.imap("a", "EXAMINE INBOX");
    let mut state = talk.imap("a", "FETCH 1:* (UID FLAGS ANNOTATION (* value))");
    for command in
        ["LIST \"\" *", "LSUB \"\" *", "GETACL INBOX", "GETMETADATA (DEPTH infinity) \"\" (/private /shared)"]
    {
        state.extend(talk.imap("a", command));
    }
    state
}

#[test]
fn guests_read_by_imap_and_change_nothing() {
    let server = library();
    let mut talk = owner(&server);
    // What is given to others, and what the owner has noted.
    for command in [
        "CREATE Books",
        "SETACL INBOX alice@example.org lr",
        "SETMETADATA \"\" (/private/comment \"mine\")",
        "SUBSCRIBE INBOX",
        "SELECT INBOX",
        "STORE 1 ANNOTATION (/comment (value.priv \"mine\" value.shared \"ours\"))",
        "UNSELECT",
    ] {
        assert!(last(&talk.imap("a", command)).starts_with("a OK"), "{command}");
    }
    // Another's mailbox, in which the account may do everything.
    let mut alice = common::imap(&server);
    assert!(last(&alice.imap("a", "CREATE Shared")).starts_with("a OK"));
    assert!(last(&alice.imap("a", &format!("SETACL Shared {GUESTS} lrswikxtean"))).starts_with("a OK"));
    let foreign = format!("\"Other Users/{USER}/Shared\"");
    let before = state(&server);

    let mut talk = guest(&server);
    assert_eq!(talk.imap("a", "MYRIGHTS INBOX")[0], "* MYRIGHTS INBOX lr");
    assert!(talk.imap("a", &format!("MYRIGHTS {foreign}"))[0].ends_with(" lr"));
    let listed = talk.imap("a", "LIST \"\" * RETURN (MYRIGHTS)").join("\n");
    assert!(listed.contains("Books") && listed.contains("Shared"), "{listed}");
    assert!(!listed.contains("lrs"), "{listed}");
    let answer = talk.imap("a", "SELECT INBOX");
    assert!(last(&answer).starts_with("a OK [READ-ONLY]"), "{answer:?}");
    assert!(answer.iter().any(|line| line == "* 2 EXISTS"), "{answer:?}");
    // What would set \Seen, read by somebody else.
    let answer = talk.imap("a", "FETCH 1:2 (BODY[TEXT] FLAGS)");
    assert!(answer.iter().any(|line| line == "text"), "{answer:?}");
    assert!(!answer.join("\n").contains("Seen"), "{answer:?}");
    assert_eq!(talk.imap("a", "SEARCH SUBJECT two")[0], "* SEARCH 2");
    // Of what is noted about messages, that which is for everybody.
    let answer = talk.imap("a", "EXAMINE INBOX").join("\n");
    assert!(answer.contains("[ANNOTATIONS READ-ONLY NOPRIVATE]"), "{answer}");
    let answer = talk.imap("a", "SELECT INBOX").join("\n");
    assert!(answer.contains("[ANNOTATIONS READ-ONLY NOPRIVATE]"), "{answer}");
    let answer = talk.imap("a", "FETCH 1:2 (ANNOTATION (* value))").join("\n");
    assert!(answer.contains("value.shared \"ours\"") && !answer.contains("mine"), "{answer}");
    assert_eq!(talk.imap("a", "SEARCH ANNOTATION * value \"ours\"")[0], "* SEARCH 1");
    assert_eq!(talk.imap("a", "SEARCH ANNOTATION * value \"mine\"")[0], "* SEARCH");
    for command in [
        "STORE 1 +FLAGS (\\Seen)",
        "STORE 1 FLAGS.SILENT (\\Deleted $Read)",
        "UID STORE 1:* +FLAGS (\\Answered)",
        "STORE 1 ANNOTATION (/comment (value.priv \"yours\"))",
        "UID STORE 1:* ANNOTATION (/comment (value.shared \"yours\"))",
        "EXPUNGE",
        "UID EXPUNGE 1:*",
        "COPY 1 Books",
        "MOVE 1 Books",
        &format!("COPY 1 {foreign}"),
        &format!("MOVE 1 {foreign}"),
        "CREATE Guests",
        "CREATE Books/Mine",
        &format!("CREATE \"Other Users/{USER}/Shared/Mine\""),
        "DELETE Books",
        &format!("DELETE {foreign}"),
        "RENAME Books Films",
        "RENAME INBOX Films",
        "SUBSCRIBE Books",
        "UNSUBSCRIBE INBOX",
        "SETACL INBOX anyone lrswikxtea",
        "DELETEACL INBOX alice@example.org",
        "GETACL INBOX",
        "LISTRIGHTS INBOX anyone",
        "SETMETADATA \"\" (/private/comment \"yours\")",
        "SETMETADATA INBOX (/private/comment \"yours\")",
        "SETMETADATA INBOX (/shared/comment \"yours\")",
        "SETQUOTA \"library@example.org\" (STORAGE 1)",
        "RESETKEY",
        "RESETKEY INBOX",
        "GENURLAUTH \"imap://library%40example.org@mail.example.org/INBOX/;uid=1;urlauth=anonymous\" INTERNAL",
    ] {
        let answer = talk.imap("a", command);
        assert!(
            last(&answer).starts_with("a NO") || last(&answer).starts_with("a BAD"),
            "{command}: {answer:?}"
        );
    }
    for mailbox in ["INBOX", "Books", &*foreign] {
        let answer = talk.imap("a", &format!("APPEND {mailbox} {{3+}}\r\nx\r\n"));
        assert!(last(&answer).starts_with("a NO"), "{mailbox}: {answer:?}");
    }
    let annotations = talk.imap("a", "GETMETADATA \"\" (/private/comment)").join("\n");
    assert!(!annotations.contains("mine"), "{annotations}");
    assert!(last(&talk.imap("a", "CLOSE")).starts_with("a OK"));
    talk.imap("a", "LOGOUT");
    assert_eq!(state(&server), before);
    // Who it says it is, and as whom it came in.
    let log = server.log();
    assert!(log.contains("anonymous login") && log.contains("trace=\"sirhc\""), "{log}");
    assert!(log.contains("mechanism=\"ANONYMOUS\""), "{log}");
    // The account's own password opens all of it as ever.
    let mut talk = owner(&server);
    assert!(last(&talk.imap("a", "SELECT INBOX")).starts_with("a OK [READ-WRITE]"));
    assert!(last(&talk.imap("a", "STORE 1 +FLAGS (\\Seen)")).starts_with("a OK"));
}

/// A POP3 session of a guest.
/// RFC 5465 §5.4, §5.5: guests hear of what they may see, and not even the names of the rest.
#[test]
fn guests_are_not_told_of_what_is_private() {
    let server = library();
    let (mut talk, mut owner) = (guest(&server), owner(&server));
    let notify = "NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))";
    assert!(last(&talk.imap("n", notify)).starts_with("n OK"));
    for entry in ["/private/comment", "/shared/comment"] {
        let answer = owner.imap("m", &format!("SETMETADATA INBOX ({entry} \"new\")"));
        assert!(last(&answer).starts_with("m OK"), "{answer:?}");
    }
    let told = wait_for("the news", || {
        let answer = talk.imap("n", "NOOP").join("\n");
        answer.contains("METADATA").then_some(answer)
    });
    assert!(told.contains("/shared/comment") && !told.contains("/private"), "{told}");
}

fn pop3(server: &Server) -> Talk {
    let mut talk = server.talk(server.port("pop3", "starttls"));
    talk.line();
    talk.send("AUTH ANONYMOUS c2lyaGM=\r\n");
    let answer = talk.line();
    assert!(answer.starts_with("+OK"), "{answer}");
    talk
}

fn say(talk: &mut Talk, command: &str) -> String {
    talk.send(format!("{command}\r\n"));
    talk.line()
}

#[test]
fn guests_read_by_pop3_and_delete_nothing() {
    let server = library();
    // Several at once, and the owner beside them.
    let (mut one, mut two) = (pop3(&server), pop3(&server));
    let mut owner = server.talk(server.port("pop3", "starttls"));
    owner.line();
    say(&mut owner, &format!("USER {GUESTS}"));
    assert!(say(&mut owner, &format!("PASS {PASSWORD}")).starts_with("+OK"));
    for talk in [&mut one, &mut two] {
        assert!(say(talk, "STAT").starts_with("+OK 2 "));
        talk.send("RETR 2\r\n");
        assert!(talk.until(".").iter().any(|line| line == "text"));
        assert!(say(talk, "DELE 1").starts_with("-ERR [SYS/PERM]"));
        assert!(say(talk, "DELE 9").starts_with("-ERR"));
        assert!(say(talk, "STAT").starts_with("+OK 2 "));
        assert!(say(talk, "QUIT").starts_with("+OK"));
    }
    assert!(say(&mut owner, "DELE 1").starts_with("+OK"));
    assert!(say(&mut owner, "QUIT").starts_with("+OK"));
    assert!(say(&mut pop3(&server), "STAT").starts_with("+OK 1 "));
}

#[test]
fn guests_neither_send_nor_manage_scripts_nor_are_there_without_an_account() {
    let mut server = library();
    let mut talk = server.talk(server.port("submission", "starttls"));
    talk.reply();
    let offered = talk.smtp("EHLO client.example");
    assert!(offered.contains("AUTH ") && !offered.contains("ANONYMOUS"), "{offered}");
    assert!(talk.smtp("AUTH ANONYMOUS c2lyaGM=").starts_with("504 "));
    assert!(talk.smtp("MAIL FROM:<library@example.org>").starts_with("530 "));
    let mut talk = server.talk(server.port("managesieve", "starttls"));
    let offered = talk.until("OK").join("\n");
    assert!(offered.contains("SASL") && !offered.contains("ANONYMOUS"), "{offered}");
    talk.send("AUTHENTICATE \"ANONYMOUS\" \"c2lyaGM=\"\r\n");
    assert!(talk.line().starts_with("NO"));
    // Too long a trace, and one with a control character.
    for trace in ["YQ1i", "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh".repeat(11).as_str()] {
        let mut talk = server.talk(server.port("imap", "starttls"));
        talk.line();
        let answer = talk.imap("a", &format!("AUTHENTICATE ANONYMOUS {trace}"));
        assert!(last(&answer).starts_with("a NO") || last(&answer).starts_with("a BAD"), "{answer:?}");
    }
    let check = |server: &Server| {
        let output = server.command(&["config", "check"]).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(&server), (true, String::new()));
    // The account goes, and with it its guests.
    succeed(&mut server.command(&["user", "remove", GUESTS]));
    let mut talk = server.talk(server.port("imap", "starttls"));
    assert!(!talk.line().contains("ANONYMOUS"));
    assert!(last(&talk.imap("a", "AUTHENTICATE ANONYMOUS c2lyaGM=")).starts_with("a NO"));
    for runs in [true, false] {
        let (right, said) = check(&server);
        assert!(!right && said.contains("auth.anonymous") && said.contains("user add"), "{said}");
        if runs {
            server.stop();
        }
    }
    // Offered to nobody unless it is said.
    server.serve();
    wait_for("the warning", || server.log().contains("auth.anonymous").then_some(()));
    let plain = Server::start("allow_plaintext_auth = true");
    assert!(!plain.talk(plain.port("imap", "starttls")).line().contains("ANONYMOUS"));
}

/// Whoever keeps all accounts in a passwd-file is told right, before the first start and while the file changes.
#[test]
fn the_account_of_guests_may_be_one_of_a_passwd_file() {
    let mut server = Server::prepare(
        "allow_plaintext_auth = true\nauth = { anonymous = \"library@example.org\", passwd_files = [\"passwd\"] }",
    );
    let file = server.folder.path().join("passwd");
    let check = |server: &Server| {
        let output = server.command(&["config", "check"]).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    fs::write(&file, format!("{USER}:{{PLAIN}}{PASSWORD}\nLibrary@example.org:{{PLAIN}}x\n")).unwrap();
    assert_eq!(check(&server), (true, String::new()));
    assert!(!server.folder.path().join("data").exists(), "a check makes nothing");
    server.serve();
    assert!(server.talk(server.port("imap", "starttls")).line().contains("AUTH=ANONYMOUS"));
    assert_eq!(check(&server), (true, String::new()));
    // Without its line it is going, whether a server runs or not.
    fs::write(&file, format!("{USER}:{{PLAIN}}{PASSWORD}\n")).unwrap();
    for runs in [true, false] {
        let (right, said) = check(&server);
        assert!(!right && said.contains("none of auth.passwd_files has a line for it"), "{said}");
        if runs {
            server.stop();
        }
    }
    // One that was added by hand is one, too.
    server.add_user("other@example.org", PASSWORD);
    let config = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("library@example.org", "other@example.org")).unwrap();
    assert_eq!(check(&server), (true, String::new()));
    fs::remove_file(&file).unwrap();
    let (right, said) = check(&server);
    assert!(!right && said.contains("passwd"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_clients_and_pythons_are_guests() {
    let server = library();
    let roots = tls::roots(&fs::read(server.certificate()).unwrap()).unwrap();
    let config = Arc::new(tls::client_config(roots).unwrap());
    let endpoint = |protocol: &str| {
        let port = server.port(protocol, "implicit");
        let security = Security::Implicit(Arc::clone(&config));
        Endpoint::new("localhost", port, security).at(([127, 0, 0, 1], port).into())
    };
    let anyone = Credentials::anonymous("somebody@example.net");
    let mut client = ImapClient::connect(&endpoint("imap"), Arc::default()).await.unwrap();
    client.authenticate(&anyone).await.unwrap();
    let opened = client.select(MailboxName::inbox()).await.unwrap();
    assert_eq!((opened.messages, opened.read_only), (2, true));
    let mut client = Pop3Client::connect(&endpoint("pop3"), Arc::default()).await.unwrap();
    client.authenticate(&anyone).await.unwrap();
    assert_eq!(client.stat().await.unwrap().messages, 2);
    let name = "client.example.org".parse().unwrap();
    let mut client = SmtpClient::connect(&endpoint("submission"), name, Arc::default()).await.unwrap();
    assert!(client.authenticate(&anyone).await.is_err());
    if !have("python3") {
        return;
    }
    let script = format!(
        "import imaplib, ssl\n\
         context = ssl.create_default_context(cafile={:?})\n\
         context.check_hostname = False\n\
         client = imaplib.IMAP4_SSL('localhost', {}, ssl_context=context)\n\
         print(client.authenticate('ANONYMOUS', lambda challenge: b'python'))\n\
         print(client.select('INBOX', readonly=True))\n\
         print(client.fetch('1', '(BODY[TEXT])')[1][0][1])\n\
         print(client.copy('1', 'INBOX')[0])\n",
        server.certificate(),
        server.port("imap", "implicit"),
    );
    let said = String::from_utf8(succeed(Command::new("python3").args(["-c", &script]))).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("('OK'") && lines[1] == "('OK', [b'2'])", "{said}");
    assert_eq!(lines[2..], ["b'text\\r\\n'", "NO"], "{said}");
}
