//! The IMAP service over a store in memory, as a client on a socket sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "client/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the clients")]
mod world;

use std::sync::Arc;

use mailwright::{
    imap::{Home, Referral, Referrals, RemoteMailbox},
    mail_model::{DateTime, MailboxName},
    mailstore::{Acl, AclChange, Quota, QuotaLimits, Store, Target, User, Write},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use world::{BOB, CAROL, PASSWORD, Protection, STAFF, USER, World};

/// A session that is logged in.
struct Talk {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Talk {
    async fn new(world: &World, user: &str) -> Self {
        let socket = TcpStream::connect(world.address(Protection::Plain)).await.unwrap();
        let mut talk = Self { socket, read: Vec::new() };
        talk.line().await;
        let answer = talk.run(&format!("LOGIN {user} \"{PASSWORD}\"")).await;
        assert!(answer.contains("x OK"), "{answer}");
        talk
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.read.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return String::from_utf8(line).unwrap();
            }
            let count = self.socket.read_buf(&mut self.read).await.unwrap();
            assert_ne!(count, 0, "the server has closed");
        }
    }

    /// A command, and all that is said until it ends.
    async fn run(&mut self, command: &str) -> String {
        self.socket.write_all(format!("x {command}\r\n").as_bytes()).await.unwrap();
        let mut said = String::new();
        loop {
            let line = self.line().await;
            said += &line;
            if line.starts_with("x ") {
                return said;
            }
        }
    }

    /// The text of a message.
    async fn text(&mut self, uid: u32) -> String {
        let said = self.run(&format!("UID FETCH {uid} (BODY.PEEK[])")).await;
        let (_, rest) = said.split_once("}\r\n").unwrap_or_else(|| panic!("{said}"));
        rest.rsplit_once(")\r\nx OK").unwrap().0.to_owned()
    }
}

#[tokio::test]
async fn several_messages_come_at_one_moment_in_pieces_and_in_the_place_of_others() {
    let world = World::new(false).await;
    let mut talk = Talk::new(&world, USER).await;
    let said = talk.run("APPEND INBOX (\\Seen) {8+}\r\nA: 1\r\n\r\n (\\Draft) {9+}\r\nB: 2\r\n\r\nx").await;
    assert!(said.contains(" 1:2] APPEND completed"), "{said}");
    // None of them is there if one cannot be.
    let said = talk.run("APPEND INBOX {8+}\r\nA: 1\r\n\r\n CATENATE (URL /INBOX/;UID=99)").await;
    assert!(said.contains("NO [BADURL /INBOX/;UID=99]"), "{said}");
    let said = talk.run("STATUS INBOX (MESSAGES UIDNEXT)").await;
    assert!(said.contains("(MESSAGES 2 UIDNEXT 3)"), "{said}");
    let said = talk
        .run("APPEND INBOX CATENATE (URL /INBOX/;UID=1/;SECTION=HEADER TEXT {3+}\r\nabc URL \"/INBOX/;UID=2/;SECTION=HEADER.FIELDS%20(B)/;PARTIAL=1.4\")")
        .await;
    assert!(said.contains(" 3] APPEND completed"), "{said}");
    talk.run("SELECT INBOX").await;
    assert_eq!(talk.text(3).await, "A: 1\r\n\r\nabc: 2\r");
    let said = talk.run("REPLACE 2 INBOX (\\Draft) CATENATE (URL \";UID=2\" TEXT {1+}\r\ny)").await;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("* OK [APPENDUID ") && lines[0].contains(" 4] "), "{said}");
    assert!(lines.contains(&"* 2 EXPUNGE") && lines.last() == Some(&"x OK REPLACE completed"), "{said}");
    assert_eq!(talk.text(4).await, "B: 2\r\n\r\nxy");
    assert!(talk.run("UID SEARCH ALL").await.starts_with("* SEARCH 1 3 4\r\n"));
    let said = talk.run("UID REPLACE 2 INBOX {1+}\r\nx").await;
    assert!(said.ends_with("x NO there is no such message\r\n"), "{said}");
    let said = talk.run("UID REPLACE 1 nowhere {1+}\r\nx").await;
    assert!(said.contains("NO [TRYCREATE]"), "{said}");
}

#[tokio::test]
async fn mailboxes_are_shared_as_far_as_rights_go() {
    let world = World::new(false).await;
    let (mut ann, mut bob) = (Talk::new(&world, USER).await, Talk::new(&world, BOB).await);
    assert!(
        ann.run("NAMESPACE")
            .await
            .contains("((\"\" \"/\")) ((\"Other Users/\" \"/\")) ((\"Shared Folders/\" \"/\"))")
    );
    ann.run("CREATE Plans").await;
    ann.run("APPEND Plans (\\Flagged) {2+}\r\nab").await;
    ann.run("APPEND Plans (\\Deleted) {2+}\r\ncd").await;
    let plans = "\"Other Users/ann@example.org/Plans\"";
    // Nothing is seen of what is not shared, not even that it is there.
    for command in
        ["STATUS {} (MESSAGES)", "SELECT {}", "MYRIGHTS {}", "GETACL {}", "DELETE {}", "GETQUOTAROOT {}"]
    {
        let said = bob.run(&command.replace("{}", plans)).await;
        assert!(said.contains("x NO [NONEXISTENT]"), "{said}");
    }
    assert!(bob.run(&format!("APPEND {plans} {{1+}}\r\nx")).await.contains("x NO [TRYCREATE]"));
    assert!(!bob.run("LIST \"\" *").await.contains("Other"));
    assert!(ann.run(&format!("SETACL Plans {BOB} lr")).await.contains("x OK"));
    assert_eq!(
        ann.run("GETACL Plans").await,
        format!("* ACL Plans {USER} lrswipkxteancd {BOB} lr\r\nx OK GETACL completed\r\n")
    );
    assert_eq!(
        bob.run(&format!("MYRIGHTS {plans}")).await,
        format!("* MYRIGHTS {plans} lr\r\nx OK MYRIGHTS completed\r\n")
    );
    let listed = bob.run("LIST \"\" * RETURN (MYRIGHTS STATUS (MESSAGES))").await;
    for line in [
        "* LIST (\\Noselect \\HasChildren) \"/\" \"Other Users\"",
        "* LIST (\\Noselect \\HasChildren) \"/\" \"Other Users/ann@example.org\"",
        "* LIST (\\HasNoChildren) \"/\" \"Other Users/ann@example.org/Plans\"",
        "* MYRIGHTS \"Other Users/ann@example.org/Plans\" lr",
        "* STATUS \"Other Users/ann@example.org/Plans\" (MESSAGES 2)",
        "* MYRIGHTS INBOX lrswipkxteancd",
    ] {
        assert!(listed.lines().any(|listed| listed == line), "{line}: {listed}");
    }
    // To read, and nothing else.
    let said = bob.run(&format!("SELECT {plans}")).await;
    assert!(said.contains("* 2 EXISTS") && said.contains("x OK [READ-ONLY]"), "{said}");
    assert_eq!(bob.text(1).await, "ab");
    assert!(bob.run("STORE 1 +FLAGS (\\Seen)").await.contains("x NO"));
    assert!(bob.run(&format!("APPEND {plans} {{1+}}\r\nx")).await.contains("x NO [NOPERM]"));
    assert!(bob.run(&format!("SETACL {plans} {BOB} lrswipkxtea")).await.contains("x NO [NOPERM]"));
    assert!(bob.run("COPY 1 INBOX").await.contains("COPYUID"));
    assert!(bob.run("CREATE \"Other Users/ann@example.org/Plans/mine\"").await.contains("x NO [NOPERM]"));
    // To keep flags of some kinds.
    ann.run(&format!("SETACL Plans {BOB} +si")).await;
    let said = bob.run(&format!("SELECT {plans}")).await;
    assert!(said.contains("[PERMANENTFLAGS (\\Seen)]") && said.contains("x OK [READ-WRITE]"), "{said}");
    assert!(bob.run("STORE 1 +FLAGS (\\Seen \\Draft)").await.contains("FLAGS (\\Seen \\Flagged"));
    assert!(bob.run("STORE 1 +FLAGS (\\Deleted)").await.contains("x NO [NOPERM]"));
    // RFC 4314 §4: of all flags, those that may be changed are.
    assert!(bob.run("STORE 1 FLAGS (\\Seen \\Draft)").await.contains("FLAGS (\\Seen \\Flagged"));
    assert!(bob.run("STORE 1 FLAGS (\\Draft)").await.contains("x NO [NOPERM]"));
    assert!(bob.run("EXPUNGE").await.contains("x NO [NOPERM]"));
    assert!(bob.run("MOVE 1 INBOX").await.contains("x NO [NOPERM]"));
    bob.run(&format!("APPEND {plans} (\\Draft \\Seen) {{2+}}\r\nef")).await;
    assert!(bob.run("FETCH 3 (FLAGS)").await.contains("FLAGS (\\Seen"));
    assert!(bob.run("CLOSE").await.contains("x OK"));
    assert!(ann.run("STATUS Plans (MESSAGES)").await.contains("MESSAGES 3"));
    // A right that is taken is taken at once.
    bob.run(&format!("SELECT {plans}")).await;
    ann.run(&format!("SETACL Plans {BOB} -s")).await;
    assert!(bob.run("STORE 1 -FLAGS (\\Seen)").await.contains("x NO [NOPERM]"));
    // To move mail between accounts, both ways.
    ann.run(&format!("SETACL Plans {BOB} lrswipkxte")).await;
    bob.run(&format!("SELECT {plans}")).await;
    let said = bob.run("MOVE 1 INBOX").await;
    assert!(said.contains("* OK [COPYUID") && said.contains("* 1 EXPUNGE"), "{said}");
    bob.run("SELECT INBOX").await;
    let said = bob.run(&format!("MOVE 1 {plans}")).await;
    assert!(said.contains("* OK [COPYUID") && said.contains("* 1 EXPUNGE"), "{said}");
    let said = bob.run("CREATE \"Other Users/ann@example.org/Plans/mine\"").await;
    assert!(said.contains("x OK"), "{said}");
    assert!(ann.run("LIST \"\" Plans/*").await.contains("Plans/mine"));
    assert!(
        bob.run(
            "RENAME \"Other Users/ann@example.org/Plans/mine\" \"Other Users/ann@example.org/Plans/ours\""
        )
        .await
        .contains("x OK")
    );
    assert!(
        bob.run("RENAME \"Other Users/ann@example.org/Plans/ours\" Mine").await.contains("x NO [CANNOT]")
    );
    assert!(bob.run("DELETE \"Other Users/ann@example.org/Plans/ours\"").await.contains("x OK"));
    assert!(bob.run("SUBSCRIBE \"Other Users/ann@example.org/Plans\"").await.contains("x OK"));
    assert!(bob.run("LSUB \"\" *").await.contains("\"Other Users/ann@example.org/Plans\""));
    ann.run(&format!("DELETEACL Plans {BOB}")).await;
    assert!(bob.run(&format!("STATUS {plans} (MESSAGES)")).await.contains("x NO [NONEXISTENT]"));
    assert!(
        ann.run(&format!("LISTRIGHTS Plans {BOB}"))
            .await
            .starts_with(&format!("* LISTRIGHTS Plans {BOB} \"\" l r s w i p k x t e a n c d\r\n"))
    );
    // RFC 9051 §6.3.2: what is opened is listed as it is.
    assert!(ann.run("CREATE Plans/Sent (USE (\\Sent))").await.contains("x OK"));
    ann.run("ENABLE IMAP4rev2").await;
    assert!(ann.run("SELECT Plans").await.contains("* LIST (\\HasChildren) \"/\" Plans\r\n"));
    assert!(
        ann.run("EXAMINE Plans/Sent").await.contains("* LIST (\\HasNoChildren \\Sent) \"/\" Plans/Sent\r\n")
    );
    assert!(ann.run("CREATE \"Cafe\u{301}\"").await.contains("x NO [CANNOT]"));
    // Of what everybody may do nothing is fixed but for the owner.
    let said = ann.run("LISTRIGHTS Plans anyone").await;
    assert!(said.starts_with("* LISTRIGHTS Plans anyone \"\" l r s w i p k x t e a n c d\r\n"), "{said}");
    let said = ann.run(&format!("LISTRIGHTS Plans {USER}")).await;
    assert!(said.starts_with(&format!("* LISTRIGHTS Plans {USER} lrswipkxteancd\r\n")), "{said}");
    assert!(ann.run(&format!("SETACL Plans {USER} lr")).await.contains("x NO"));
}

#[tokio::test]
async fn members_read_what_their_group_got() {
    let world = World::new(false).await;
    let staff = User::new(STAFF).unwrap();
    let entry = format!("${STAFF}").to_uppercase().parse().unwrap();
    let rights = AclChange::Replace("lrswite".parse().unwrap());
    world.store.acl().unwrap().change_access(&staff, &MailboxName::inbox(), &entry, rights).await.unwrap();
    let mut upload = world.store.begin(None).await.unwrap();
    upload.write("Subject: all of us\r\n\r\n".into()).await.unwrap();
    let date = DateTime::from_imap("17-Jul-1996 02:44:25 -0700").unwrap();
    upload.commit(&[Target::new(staff, MailboxName::inbox(), date)]).await.unwrap();
    for member in [USER, BOB] {
        let mut talk = Talk::new(&world, member).await;
        assert!(talk.run("LIST \"\" *").await.contains("\"Shared Folders/staff@example.org\""));
        assert!(talk.run("SELECT \"Shared Folders/staff@example.org\"").await.contains("x OK [READ-WRITE]"));
        assert_eq!(talk.text(1).await, "Subject: all of us\r\n\r\n");
    }
    let mut talk = Talk::new(&world, CAROL).await;
    assert!(!talk.run("LIST \"\" *").await.contains("staff"));
    assert!(talk.run("SELECT \"Shared Folders/staff@example.org\"").await.contains("x NO [NONEXISTENT]"));
}

#[tokio::test]
async fn quota_and_notes_are_told() {
    let world = World::new(false).await;
    let ann = User::new(USER).unwrap();
    let limits = QuotaLimits::default().storage(Some(4096)).messages(Some(2));
    world.store.quota().unwrap().set_quota(&ann, Some(limits)).await.unwrap();
    let mut talk = Talk::new(&world, USER).await;
    assert!(talk.run("CAPABILITY").await.contains(" QUOTA QUOTA=RES-STORAGE "));
    talk.run("APPEND INBOX (\\Deleted) {2+}\r\nab").await;
    assert_eq!(
        talk.run("GETQUOTAROOT INBOX").await,
        "* QUOTAROOT INBOX \"ann@example.org\"\r\n* QUOTA \"ann@example.org\" (STORAGE 1 4 MESSAGE 1 2)\r\nx OK GETQUOTAROOT completed\r\n"
    );
    assert!(talk.run("GETQUOTA ann@example.org").await.contains("(STORAGE 1 4 MESSAGE 1 2)"));
    assert!(talk.run("GETQUOTA bob@example.org").await.contains("x NO [NONEXISTENT]"));
    assert!(talk.run("SETQUOTA ann@example.org ()").await.contains("x NO [CANNOT]"));
    assert!(
        talk.run("STATUS INBOX (DELETED DELETED-STORAGE)").await.contains("(DELETED 1 DELETED-STORAGE 2)")
    );
    let long = "x".repeat(5000);
    assert!(talk.run(&format!("APPEND INBOX {{5000+}}\r\n{long}")).await.contains("x NO [OVERQUOTA]"));
    let said = talk.run("APPEND INBOX {2+}\r\nab {2+}\r\ncd").await;
    assert!(said.contains("x NO [OVERQUOTA]"), "{said}");
    assert!(talk.run("STATUS INBOX (MESSAGES)").await.contains("MESSAGES 1"));
    assert!(
        talk.run("SETMETADATA INBOX (/private/comment \"mine\" /shared/comment \"ours\")")
            .await
            .contains("x OK")
    );
    assert!(
        talk.run("LIST \"\" * RETURN (METADATA (/private/comment))")
            .await
            .contains("* METADATA INBOX (/private/comment \"mine\")")
    );
    assert!(talk.run("SETMETADATA \"\" (/shared/comment \"x\")").await.contains("x NO [NOPERM]"));
    assert!(talk.run("SETMETADATA \"\" (/private/comment \"x\")").await.contains("x OK"));
    assert!(
        talk.run("GETMETADATA \"\" /private/comment")
            .await
            .contains("* METADATA \"\" (/private/comment \"x\")")
    );
    let said =
        talk.run(&format!("SETMETADATA INBOX (/private/x {{65537+}}\r\n{})", "x".repeat(65_537))).await;
    assert!(said.contains("x NO [TOOBIG]") || said.contains("x NO [METADATA MAXSIZE 65536]"), "{said}");
    assert!(talk.run("SETMETADATA nowhere (/private/x y)").await.contains("x BAD"));
    assert!(talk.run("SETMETADATA nowhere (/private/x \"y\")").await.contains("x NO [NONEXISTENT]"));
    talk.run(&format!("SETACL INBOX {BOB} l")).await;
    let mut bob = Talk::new(&world, BOB).await;
    let place = "\"Other Users/ann@example.org\"";
    assert!(bob.run(&format!("GETMETADATA {place} /shared/comment")).await.contains("x NO [NOPERM]"));
    talk.run(&format!("SETACL INBOX {BOB} lr")).await;
    assert!(
        bob.run(&format!("GETMETADATA {place} (/shared/comment /private/comment)"))
            .await
            .contains("(/shared/comment \"ours\" /private/comment NIL)")
    );
    assert!(bob.run(&format!("SETMETADATA {place} (/shared/comment \"x\")")).await.contains("x NO [NOPERM]"));
}

/// Carol lives elsewhere, Bob partly; and all see a mailbox that is on another server.
#[derive(Debug)]
struct Elsewhere;

impl Referrals for Elsewhere {
    fn home_of(&self, user: &User) -> Option<Home> {
        let there = Referral::new(user.as_str(), "two.example.org");
        match user.as_str() {
            CAROL => Some(Home::Elsewhere(there)),
            BOB => Some(Home::AlsoElsewhere(there)),
            _ => None,
        }
    }

    fn mailboxes_of(&self, user: &User) -> Vec<RemoteMailbox> {
        let place = |host: &str| Referral::new(user.as_str(), host);
        let name = MailboxName::new("Shared Folders/far").unwrap();
        vec![RemoteMailbox::new(name, vec![place("two.example.org"), place("three.example.org")])]
    }
}

/// RFC 2221, RFC 2193
#[tokio::test]
async fn clients_are_sent_to_where_the_mail_is() {
    let world = World::sending_on(Arc::new(Elsewhere)).await;
    let socket = TcpStream::connect(world.address(Protection::Plain)).await.unwrap();
    let mut carol = Talk { socket, read: Vec::new() };
    assert!(carol.line().await.contains(" LOGIN-REFERRALS "));
    // Whoever does not know the password learns nothing (RFC 2221 §6).
    assert!(carol.run(&format!("LOGIN {CAROL} wrong")).await.starts_with("x NO [AUTHENTICATIONFAILED]"));
    let there = "[REFERRAL imap://carol%40example.org;AUTH=*@two.example.org/]";
    let said = carol.run(&format!("LOGIN {CAROL} \"{PASSWORD}\"")).await;
    assert!(said.starts_with(&format!("x NO {there} ")), "{said}");
    assert!(carol.run("SELECT INBOX").await.starts_with("x BAD "));
    let said = carol.run(&format!("LOGIN {BOB} \"{PASSWORD}\"")).await;
    assert!(said.starts_with("* CAPABILITY ") && said.contains(" MAILBOX-REFERRALS "), "{said}");
    assert!(said.contains("\r\nx OK [REFERRAL imap://bob%40example.org;AUTH=*@two.example.org/] "), "{said}");

    let mut ann = Talk::new(&world, USER).await;
    assert!(!ann.run("LIST \"\" *").await.contains("Shared Folders"));
    let far = "* LIST (\\HasNoChildren \\Remote) \"/\" \"Shared Folders/far\"\r\n";
    for command in ["RLIST \"\" *", "LIST (REMOTE) \"\" *"] {
        assert!(ann.run(command).await.contains(far), "{command}");
    }
    assert!(ann.run("SUBSCRIBE \"Shared Folders/far\"").await.contains("x OK"));
    assert!(ann.run("RLSUB \"\" *").await.contains("\\Remote) \"/\" \"Shared Folders/far\""));
    let urls = |name: &str| {
        ["two", "three"]
            .map(|host| format!("imap://ann%40example.org;AUTH=*@{host}.example.org/{name}"))
            .join(" ")
    };
    ann.run("APPEND INBOX {2+}\r\nab").await;
    ann.run("SELECT INBOX").await;
    for command in [
        "STATUS {} (MESSAGES)",
        "APPEND {} {1+}\r\nx",
        "COPY 1 {}",
        "MOVE 1 {}",
        "DELETE {}",
        "CREATE {}",
        "EXAMINE {}",
    ] {
        for (name, url) in [("far", "far"), ("far/below it", "far/below%20it")] {
            let said = ann.run(&command.replacen("{}", &format!("\"Shared Folders/{name}\""), 1)).await;
            let code = format!("x NO [REFERRAL {}] ", urls(&format!("Shared%20Folders/{url}")));
            assert!(said.contains(&code), "{command}: {said}");
            ann.run("SELECT INBOX").await;
        }
    }
    // Pairs, each of both names in one place (RFC 2193 §4.3).
    let said = ann.run("RENAME \"Shared Folders/far/a\" \"Shared Folders/far/b\"").await;
    let pair = |host: &str| {
        let url =
            |name| format!("imap://ann%40example.org;AUTH=*@{host}.example.org/Shared%20Folders/far/{name}");
        format!("{} {}", url("a"), url("b"))
    };
    assert!(said.contains(&format!("x NO [REFERRAL {} {}] ", pair("two"), pair("three"))), "{said}");
    assert!(ann.run("RENAME \"Shared Folders/far\" mine").await.contains("x NO [CANNOT]"));
}
