//! Mail is taken over from Maildir trees, mbox files and IMAP servers, also by runs that are killed in the midst of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "fetch/odd.rs"]
mod odd;

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use common::{PASSWORD, Server, USER, deliver, have, imap, run, succeed};
use odd::{Mailbox, Mailboxes, Odd};

/// A Maildir as Dovecot leaves it, with so many messages in INBOX.
fn tree(root: &Path, messages: u32) {
    for folder in ["", ".Sent", ".Old.Stra&AN8-e"] {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(root.join(folder).join(part)).unwrap();
        }
    }
    let mut list = format!("3 V1275660208 N{} G3085f01b7f11094c501100008c4a11c1\n", messages * 3 + 100);
    for number in 1..=messages {
        let text =
            format!("Subject: {number}\nFrom: a@example.net\n\n{}", "text\n".repeat(number as usize % 500));
        let (size, shown) = (text.len(), text.len() + text.lines().count());
        let base = format!("{}.M{number}.host,S={size},W={shown}", 1_000_000_000 + number);
        let flags = ["", ":2,", ":2,S", ":2,FRSa", ":2,Tb"][number as usize % 5];
        let path = root.join(if flags.is_empty() { "new" } else { "cur" }).join(format!("{base}{flags}"));
        fs::write(&path, text).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000 + u64::from(number));
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        let id = if number % 7 == 0 { format!(" Pown-{number}") } else { String::new() };
        list += &format!("{}{id} :{base}\n", number * 3);
    }
    fs::write(root.join("dovecot-uidlist"), list).unwrap();
    fs::write(root.join("dovecot-keywords"), "0 $Forwarded\n1 Work\n").unwrap();
    fs::write(root.join("subscriptions"), "V\t2\n\nINBOX\nOld\tStra&AN8-e\n").unwrap();
    fs::write(root.join(".Sent/cur/1.a:2,S"), "Subject: sent\n\nx\n").unwrap();
}

/// What an IMAP client sees of the account: each message's UID, flags, date, size and octets, mailbox by mailbox.
fn view(port: u16) -> String {
    let script = format!(
        "import imaplib,ssl,hashlib,re\n\
         c=imaplib.IMAP4_SSL('127.0.0.1',{port},ssl_context=ssl._create_unverified_context())\n\
         c.login('{USER}','{PASSWORD}')\n\
         for line in sorted(c.list()[1]):\n\
         \x20   name=line.split(b' \"/\" ')[1].decode()\n\
         \x20   c.select(name,True)\n\
         \x20   print(name,c.response('UIDVALIDITY')[1],c.response('UIDNEXT')[1])\n\
         \x20   for part in c.uid('FETCH','1:*','(FLAGS INTERNALDATE BODY.PEEK[])')[1]:\n\
         \x20       if isinstance(part,tuple): print(re.sub(rb'^\\d+ ',b'',part[0]),hashlib.sha256(part[1]).hexdigest())\n\
         print(sorted(c.lsub()[1]))\n"
    );
    String::from_utf8(succeed(Command::new("python3").args(["-c", &script]))).unwrap()
}

/// What POP3 calls the messages.
fn unique_ids(port: u16) -> Vec<String> {
    let script = format!(
        "import poplib,ssl\nc=poplib.POP3_SSL('127.0.0.1',{port},context=ssl._create_unverified_context())\n\
         c.user('{USER}');c.pass_('{PASSWORD}')\nfor l in c.uidl()[1]: print(l.decode().split()[1])\n"
    );
    let printed = succeed(Command::new("python3").args(["-c", &script]));
    String::from_utf8(printed).unwrap().lines().map(str::to_owned).collect()
}

fn migrate(server: &Server, from: &str, arguments: &[&str]) -> Command {
    server.command(&[&["migrate", "--from", from, "--to", USER], arguments].concat())
}

#[test]
fn a_tree_comes_over_with_everything_although_the_run_is_killed() {
    if !have("python3") {
        return;
    }
    let mut server = Server::prepare("");
    let root = server.folder.path().join("tree");
    tree(&root, 600);
    let from = format!("maildir:{}", root.display());
    server.add_user(USER, PASSWORD);
    let dry = String::from_utf8(succeed(&mut migrate(&server, &from, &["--dry-run", "--json"]))).unwrap();
    assert!(dry.contains("\"messages\":600"), "{dry}");
    // Killed three times at different moments, it goes on where it was.
    let mut killed = 0;
    for pause in [150, 300, 600] {
        let mut child =
            migrate(&server, &from, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(pause));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(killed > 0, "no run was killed in the midst of it");
    let said = String::from_utf8(succeed(&mut migrate(&server, &from, &[]))).unwrap();
    assert_eq!(said.matches("the same on both sides").count(), 3, "{said}");
    // What changes there comes over too; what differs is said.
    let first = fs::read_dir(root.join("new")).unwrap().next().unwrap().unwrap().path();
    fs::rename(
        &first,
        root.join("cur").join(format!("{}:2,DS", first.file_name().unwrap().to_str().unwrap())),
    )
    .unwrap();
    let gone = fs::read_dir(root.join("new")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(gone).unwrap();
    let output = run(&mut migrate(&server, &from, &["--json"]));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("\"reflagged\":1") && said.contains("is only here"), "{said}");
    server.serve();
    let view = view(server.port("imap", "implicit"));
    assert!(view.contains("INBOX [b'1275660208'] [b'1900']"), "{view}");
    assert_eq!(view.matches("b'(UID ").count() + view.matches(" UID ").count(), 601, "{view}");
    assert!(
        view.contains("$Forwarded") && view.contains("Work") && view.contains("Old/Stra&AN8-e"),
        "{view}"
    );
    let ids = unique_ids(server.port("pop3", "implicit"));
    assert_eq!(ids[0], "000000034c0907b0");
}

#[test]
fn another_server_is_taken_over_by_imap() {
    if !have("python3") {
        return;
    }
    // The source is a server of our own, filled from a tree.
    let mut source = Server::prepare("");
    let root = source.folder.path().join("tree");
    tree(&root, 60);
    source.add_user(USER, PASSWORD);
    succeed(&mut migrate(&source, &format!("maildir:{}", root.display()), &["--pop3-ids", "none"]));
    source.serve();
    let mut target = Server::prepare("");
    target.add_user(USER, PASSWORD);
    let from = format!("imaps:localhost:{}", source.port("imap", "implicit"));
    let certificate = source.certificate();
    let password = target.folder.path().join("password");
    fs::write(&password, PASSWORD).unwrap();
    let output = migrate(&target, &from, &["--certificate", certificate.to_str().unwrap()])
        .stdin(File::open(password).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    target.serve();
    assert_eq!(view(target.port("imap", "implicit")), view(source.port("imap", "implicit")));
}

#[test]
fn files_of_many_messages_become_mailboxes() {
    if !have("python3") {
        return;
    }
    let mut server = Server::prepare("store = { kind = \"maildir\", path = \"mail/%u\" }");
    let files = server.folder.path().join("files");
    fs::create_dir_all(files.join("Lists")).unwrap();
    fs::write(
        files.join("inbox"),
        "From a@b Thu Jan  1 00:00:10 1970\nX-IMAPbase: 1234567 17\nSubject: a\nX-UID: 9\nStatus: RO\n\n>From x\n\n\
         From c@d Thu Jan  1 00:00:20 1970\nSubject: b\nX-Keywords: Work\n\nb\n\n",
    )
    .unwrap();
    fs::write(files.join("Lists/rust"), "From a@b Thu Jan  1 00:00:10 1970\n\nx\n\n").unwrap();
    server.add_user(USER, PASSWORD);
    for _ in 0..2 {
        let said = succeed(&mut migrate(&server, &format!("mbox:{}", files.display()), &[]));
        let said = String::from_utf8(said).unwrap();
        assert_eq!(said.matches("the same on both sides").count(), 2, "{said}");
    }
    let wrong = run(&mut migrate(&server, "floppy:a", &[]));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("is no source"), "{wrong:?}");
    server.serve();
    let view = view(server.port("imap", "implicit"));
    assert!(view.contains("INBOX [b'1234567'] [b'18']"), "{view}");
    for part in ["UID 9 ", "UID 10 ", "FLAGS (\\\\Seen", "FLAGS (Work", " 1-Jan-1970 00:00:20", "Lists/rust"]
    {
        assert!(view.contains(part), "{part}: {view}");
    }
}

#[test]
fn a_message_whose_size_is_told_wrongly_is_a_difference() {
    let server = Server::prepare("");
    server.add_user(USER, PASSWORD);
    let maildir = server.folder.path().join("source");
    tree(&maildir, 3);
    let text = "Subject: wrong\n\nx\n";
    fs::write(maildir.join(format!("cur/2000000000.a,W={}:2,S", text.len() + 1)), text).unwrap();
    // Of the same name but for the flags.
    fs::write(maildir.join("cur/2000000000.b:2,S"), text).unwrap();
    fs::write(maildir.join("cur/2000000000.b:2,F"), text.replace("wrong", "other")).unwrap();
    let from = format!("maildir:{}", maildir.display());
    let output = run(&mut migrate(&server, &from, &[]));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("6 messages, 6 copied"), "{said} {}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("of {} octets has {} here", text.len() + 1, text.len() + 3)), "{said}");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(succeed(&mut migrate(&server, &from, &[]))).unwrap();
    assert!(said.contains("6 messages, 0 copied"), "{said}");
}

#[test]
fn what_cannot_be_taken_over_from_a_tree_is_named() {
    let server = Server::prepare("");
    server.add_user(USER, PASSWORD);
    let maildir = server.folder.path().join("source");
    tree(&maildir, 3);
    for folder in [".Entwürfe", ".bad&name", ".Good"] {
        fs::create_dir_all(maildir.join(folder).join("cur")).unwrap();
        fs::write(maildir.join(folder).join("cur/1.a:2,S"), "Subject: a\n\nx\n").unwrap();
    }
    let from = format!("maildir:{}", maildir.display());
    let output = run(&mut migrate(&server, &from, &[]));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Good: 1 messages, 1 copied"), "{said}");
    for folder in [".Entwürfe", ".bad&name"] {
        assert!(said.contains(&format!("NOT THE SAME: the directory {folder} does not come")), "{said}");
    }
    assert_eq!(output.status.code(), Some(1));
    let deep = ".d".repeat(17);
    fs::create_dir_all(maildir.join(&deep).join("cur")).unwrap();
    let said = String::from_utf8(run(&mut migrate(&server, &from, &[])).stdout).unwrap();
    let line = said.lines().find(|line| line.contains(&deep)).unwrap();
    assert!(line.contains("16") && !line.contains("UTF-7"), "{line}");
    // A header never begins so, and what nobody can read is no mail.
    fs::write(maildir.join(".Good/cur/2.a:2,S"), b"\x1f\x8b\x08\0\0\0\0\0").unwrap();
    let output = run(&mut migrate(&server, &from, &[]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Good: the message with UID 2 is compressed (gzip)"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn uids_that_the_file_has_not_given_out_are_the_senders() {
    let highest = u32::MAX - 1;
    let cases = [
        (format!("X-UID: {highest}\n"), [1, 2, 3, 4]),
        (format!("X-IMAPbase: 1 {highest}\nX-UID: 7\n"), [1, 2, 3, 4]),
        ("X-IMAPbase: 1 9\nX-UID: 9\nX-UID: 2\n".to_owned(), [9, 10, 11, 12]),
    ];
    for (fields, uids) in cases {
        let mut server = Server::prepare("allow_plaintext_auth = true");
        server.add_user(USER, PASSWORD);
        let file = server.folder.path().join("one.mbox");
        let others = format!("From a@b Thu Jan  1 00:00:20 1970\nSubject: b\nX-UID: {highest}\n\nb\n\n");
        let first = format!("From a@b Thu Jan  1 00:00:10 1970\n{fields}Subject: a\n\na\n\n");
        fs::write(&file, format!("{first}{}", others.repeat(3))).unwrap();
        for copied in [4, 0] {
            let said = succeed(&mut migrate(&server, &format!("mbox:{}", file.display()), &[]));
            let said = String::from_utf8(said).unwrap();
            assert!(said.contains(&format!("4 messages, {copied} copied")), "{fields}: {said}");
            assert!(said.contains("the same on both sides"), "{fields}: {said}");
        }
        server.serve();
        let mut talk = imap(&server);
        let lines = talk.imap("e", "EXAMINE INBOX").join("\n");
        assert!(lines.contains(&format!("[UIDNEXT {}]", uids[3] + 1)), "{fields}: {lines}");
        let lines = talk.imap("f", "FETCH 1:* UID").join("\n");
        for uid in uids {
            assert!(lines.contains(&format!("UID {uid})")), "{fields}: {lines}");
        }
        // There is room for more.
        deliver(&server, USER, "Subject: fresh\r\n\r\nx\r\n");
    }
}

#[test]
fn mail_is_delivered_into_files() {
    use std::os::unix::fs::MetadataExt;
    // A user of every system: as root, the server gives files to those they are named after.
    let name = "nobody@example.org";
    let mut server = Server::prepare("store = { mbox = \"spool-%n\" }");
    server.add_user(name, PASSWORD);
    server.serve();
    for number in 0..3 {
        deliver(&server, name, &format!("Subject: {number}\r\n\r\nFrom here\r\n"));
    }
    let file = server.folder.path().join("spool-nobody");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("From bob@example.net "), "{text}");
    assert_eq!((text.matches("\n\nFrom ").count(), text.matches(">From here").count()), (2, 3), "{text}");
    let (file, folder) = (fs::metadata(file).unwrap(), fs::metadata(server.folder.path()).unwrap());
    assert_eq!(file.mode() & 0o777, 0o600);
    assert_eq!(file.uid() == folder.uid(), folder.uid() != 0);
}

/// Takes over from a server that is one of ours to test with.
fn from_odd(server: &Server, odd: &Odd<Mailboxes>) -> (bool, String) {
    from_odd_with(server, odd, &[])
}

fn from_odd_with(server: &Server, odd: &Odd<Mailboxes>, more: &[&str]) -> (bool, String) {
    let password = server.folder.path().join("password");
    fs::write(&password, PASSWORD).unwrap();
    let from = format!("imap:127.0.0.1:{}", odd.port);
    let mut command = migrate(server, &from, &[&["--plaintext"], more].concat());
    let output = command.stdin(File::open(password).unwrap()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn mailboxes_of_any_name_are_taken_over_and_those_that_cannot_be_are_named() {
    let message = |text: &str| format!("Subject: {text}\r\n\r\n{text}\r\n");
    let odd = Mailboxes::of(vec![
        Mailbox::new("INBOX", "", &[message("new")]),
        Mailbox::new("A&B", "", &[message("ampersand")]),
        Mailbox::new("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u", "", &[message("deep")]),
        Mailbox::new("Foo//Bar", "", &[message("empty level")]),
        Mailbox::new("Important", "\\Important", &[message("new")]),
        Mailbox::new("Starred", "\\Flagged", &[message("new")]),
        Mailbox::new("All Mail", "\\All", &["new", "deep", "put away"].map(message)),
    ]);
    let odd = Odd::start(odd, odd::imap);
    let mut server = Server::prepare("allow_plaintext_auth = true");
    server.add_user(USER, PASSWORD);
    let (well, said) = from_odd(&server, &odd);
    assert!(well && said.matches("the same on both sides").count() == 5, "{said}");
    assert!(said.contains("All Mail: 3 messages, 2 of them in other mailboxes, 1 copied"), "{said}");
    assert_eq!(said.matches("shows messages of other mailboxes").count(), 2, "{said}");
    let (well, said) = from_odd(&server, &odd);
    assert!(well && said.matches(" 0 copied").count() == 5, "{said}");
    // One that is listed and cannot be opened.
    odd.with(|odd| {
        let mut closed = Mailbox::new("Closed", "", &[]);
        closed.closed = true;
        odd.all.insert(0, closed);
    });
    let (well, said) = from_odd(&server, &odd);
    assert!(!well && said.contains("NOT THE SAME: \"Closed\" cannot be opened"), "{said}");
    server.serve();
    let mut talk = imap(&server);
    for (name, text) in [
        ("INBOX", "new"),
        ("A&-B", "ampersand"),
        ("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p_q_r_s_t_u", "deep"),
        ("Foo/_/Bar", "empty level"),
        ("\"All Mail\"", "put away"),
    ] {
        talk.imap("e", &format!("EXAMINE {name}"));
        let lines = talk.imap("f", "FETCH 1:* BODY.PEEK[TEXT]").join("\n");
        assert!(lines.contains(text) && lines.matches("FETCH").count() == 2, "{name}: {lines}");
    }
    let listed = talk.imap("l", "LIST (SPECIAL-USE) \"\" *").join("\n");
    assert!(listed.contains("\\Archive) \"/\" \"All Mail\"") && !listed.contains("\\All"), "{listed}");
}

/// A server that is wrong about one message: that one does not come, or comes right, and all others do.
#[test]
fn what_a_server_does_not_give_is_named_and_comes_later() {
    let message = |text: &str| format!("Subject: {text}\r\n\r\n{text}\r\n");
    let texts = ["one", "nil", "twice", "other", "date", "refused", "nothing", "broken", "nine"];
    let mut odd = Mailboxes::of(vec![Mailbox::new("INBOX", "", &texts.map(message))]);
    odd.tricks = vec![(2, "nil"), (3, "twice"), (4, "other"), (5, "date"), (7, "nothing"), (8, "break")];
    odd.refused = Some(message("refused"));
    let odd = Odd::start(odd, odd::imap);
    let mut server = Server::prepare("allow_plaintext_auth = true");
    server.add_user(USER, PASSWORD);
    let (well, said) = from_odd(&server, &odd);
    assert!(!well && said.contains("8 messages, 4 copied"), "{said}");
    for part in [
        "UID 2 ",
        "UID 4 ",
        "UID 6 ",
        "UID 8 ",
        "the message with UID 7 in \"INBOX\"",
        "what is subscribed to",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    odd.with(|odd| (odd.tricks, odd.refused) = (vec![(5, "date")], None));
    // What never came comes as soon as it is given, and once.
    let (_, said) = from_odd(&server, &odd);
    assert!(said.contains("9 messages, 5 copied") && !said.contains("is not here"), "{said}");
    for more in [&[][..], &["--missing"]] {
        let (_, said) = from_odd_with(&server, &odd, more);
        assert!(said.contains("9 messages, 0 copied") && !said.contains("is not here"), "{said}");
    }
    server.serve();
    let mut talk = imap(&server);
    talk.imap("e", "EXAMINE INBOX");
    let lines = talk.imap("f", "FETCH 1:* BODY.PEEK[TEXT]").join("\n");
    for text in texts {
        assert_eq!(lines.matches(text).count(), 1, "{text}: {lines}");
    }
}

#[test]
fn mail_is_taken_over_for_accounts_only() {
    let server = Server::prepare("");
    server.add_user(USER, PASSWORD);
    let file = server.folder.path().join("one.mbox");
    fs::write(&file, "From a@b Thu Jan  1 00:00:10 1970\nSubject: a\n\nx\n\n").unwrap();
    let from = format!("mbox:{}", file.display());
    for nobody in ["eve@example.org", "nobody@nowhere.example", "alice"] {
        let output = run(&mut server.command(&["migrate", "--from", &from, "--to", nobody]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{nobody}: {output:?}");
        assert!(nobody == "alice" || said.contains("mailwrightd user add"), "{said}");
    }
    // However the name is written.
    succeed(&mut server.command(&["migrate", "--from", &from, "--to", "Alice@EXAMPLE.org"]));
    let usage = String::from_utf8(succeed(&mut server.command(&["usage"]))).unwrap();
    assert_eq!(usage.lines().filter(|line| line.contains('@')).count(), 1, "{usage}");
}

/// A file of so many messages whose UIDs are those of a mailbox.
fn numbered(path: &Path, count: u32) {
    let one = |number: u32| {
        let base = if number == 1 { format!("X-IMAPbase: 1700000000 {count}\n") } else { String::new() };
        let pages = "x".repeat(number as usize * 100);
        format!(
            "From a@b Thu Jan  1 00:00:{number:02} 1970\n{base}Subject: old {number}\nX-UID: {number}\nStatus: RO\n\n{pages}\n\n"
        )
    };
    fs::write(path, (1..=count).map(one).collect::<String>()).unwrap();
}

#[test]
fn a_run_that_was_cut_short_is_finished_although_mail_came_meanwhile() {
    for store in ["", "store = { kind = \"maildir\", path = \"mail/%u\" }"] {
        let mut server = Server::prepare(&format!("allow_plaintext_auth = true\n{store}"));
        server.add_user(USER, PASSWORD);
        let file = server.folder.path().join("many.mbox");
        let from = format!("mbox:{}", file.display());
        // As far as it came.
        numbered(&file, 3);
        succeed(&mut migrate(&server, &from, &[]));
        server.serve();
        deliver(&server, USER, "Subject: fresh\r\n\r\nx\r\n");
        server.stop();
        numbered(&file, 6);
        let output = run(&mut migrate(&server, &from, &[]));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("6 messages, 3 copied, 0 with other flags"), "{said}");
        assert!(said.contains("UID 4 is 7 here, for another message had it before"), "{said}");
        assert!(said.contains("UID 4 is only here") && output.status.code() == Some(1), "{said}");
        let output = run(&mut migrate(&server, &from, &[]));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("6 messages, 0 copied, 0 with other flags"), "{said}");
        server.serve();
        let mut talk = imap(&server);
        talk.imap("e", "EXAMINE INBOX");
        let lines = talk.imap("f", "UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])").join("\n");
        let subjects: Vec<_> = lines.lines().filter_map(|line| line.strip_prefix("Subject: ")).collect();
        assert_eq!(subjects, ["old 1", "old 2", "old 3", "fresh", "old 5", "old 6", "old 4"], "{lines}");
        assert_eq!(lines.matches("\\Seen").count(), 6, "{lines}");
        // What is removed here does not come back.
        talk.imap("s", "SELECT INBOX");
        talk.imap("d", "UID STORE 2 +FLAGS (\\Deleted)");
        talk.imap("x", "EXPUNGE");
        drop(talk);
        server.stop();
        let said = String::from_utf8(run(&mut migrate(&server, &from, &[])).stdout).unwrap();
        assert!(said.contains("6 messages, 0 copied") && said.contains("UID 2 is not here"), "{said}");
    }
}
