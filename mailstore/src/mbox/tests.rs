//! Files are appended to by many at once, and read back.

use std::io::{Cursor, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use proptest::prelude::*;

use super::*;

fn date() -> DateTime {
    DateTime::new(1_234_567_890, -90).unwrap()
}

/// The messages of a file.
fn messages(octets: &[u8]) -> Vec<Vec<u8>> {
    let (mut reader, mut all) = (Reader::new(octets), Vec::new());
    while reader.next_message().unwrap().is_some() {
        let mut message = Vec::new();
        while let Some(piece) = reader.next_piece().unwrap() {
            match piece {
                Piece::Header { octets, .. } | Piece::Body(octets) => message.extend_from_slice(&octets),
            }
        }
        all.push(message);
    }
    all
}

#[test]
fn lines_that_look_like_a_beginning_are_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mbox) = (folder.path().join("a"), Mbox::new(folder.path().join("a")));
    let texts =
        ["From: x\r\n\r\nFrom me\r\n>From you\r\nFromage\r\n\r\nFrom all", "\r\n", "a: b\r\n\r\n\r\nx\ry\r"];
    for text in texts {
        mbox.append("", date(), text.as_bytes()).unwrap();
    }
    let from = "From MAILER-DAEMON Fri Feb 13 23:31:30 2009\n";
    let expected = format!(
        "{from}From: x\n\n>From me\n>>From you\nFromage\n\n>From all\n\n{from}\n\n{from}a: b\n\n\nx\ry\r\n\n"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(
        messages(expected.as_bytes()),
        [
            &b"From: x\r\n\r\nFrom me\r\n>From you\r\nFromage\r\n\r\nFrom all\r\n"[..],
            b"\r\n",
            b"a: b\r\n\r\n\r\nx\ry\r\n"
        ]
    );
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // After a message that was cut off, the next one is still one.
    fs::write(&path, "From x Thu Jan  1 00:00:00 1970\n\ncut").unwrap();
    mbox.append("a b\n@c", date(), &b"\r\nwhole\r\n"[..]).unwrap();
    let text = fs::read(&path).unwrap();
    assert_eq!(messages(&text), [&b"\r\ncut\r\n"[..], b"\r\nwhole\r\n"]);
    assert!(String::from_utf8(text).unwrap().contains("From a-b-@c Fri"));
    assert!(!folder.path().join("a.lock").exists());
}

#[test]
fn flags_and_uids_are_in_the_header() {
    let file = "From a Thu Jan  1 00:00:00 1970 +0100\nX-IMAPbase: 1234 0000000017 Work\nSubject: a\nX-UID: 9\n\
        Status: RO\nX-Status: AF\nX-Keywords: Work Later\n  $Junk\nTo: b\n\nbody\n";
    let mut reader = Reader::new(file.as_bytes());
    assert_eq!(reader.next_message().unwrap().unwrap().date, DateTime::new(-3600, 60));
    let Some(Piece::Header { octets, flags, uid, base }) = reader.next_piece().unwrap() else {
        panic!("a header")
    };
    assert_eq!(octets, "Subject: a\r\nTo: b\r\n\r\n");
    assert_eq!(flags.to_string(), "(\\Seen \\Answered \\Flagged Later Work)");
    assert_eq!(uid, mailwright_mail_model::Uid::new(9));
    assert_eq!(base.map(|(validity, last)| (validity.get(), last)), Some((1234, 17)));
    assert!(Reader::new(&b"no mailbox\n"[..]).next_message().is_err());
    assert!(Reader::new(&b"\n\n"[..]).next_message().unwrap().is_none());
}

#[test]
fn sentences_begin_no_message() {
    let from = "From ann@example.org Thu Jan  1 00:00:00 1970\n";
    let file = format!("{from}A: b\n\nFrom here on\n\nFrom nobody\n\n{from}C: d\n\nx\n\n");
    let first = "A: b\r\n\r\nFrom here on\r\n\r\nFrom nobody\r\n";
    assert_eq!(messages(file.as_bytes()), [first.as_bytes(), b"C: d\r\n\r\nx\r\n"]);
}

#[test]
fn what_programs_keep_in_a_first_message_is_none() {
    let from = "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n";
    let internal = "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA";
    let begun = format!("{from}{internal}\nX-IMAP: 1234 0000000017 Work\nStatus: RO\n\nnot a message\n\n");
    let file = format!("{begun}{from}A: b\nX-UID: 9\n\nx\n\n");
    let mut reader = Reader::new(file.as_bytes());
    assert!(reader.next_message().unwrap().is_some());
    let Some(Piece::Header { octets, uid, base, .. }) = reader.next_piece().unwrap() else {
        panic!("a header")
    };
    assert_eq!((octets.as_ref(), uid.map(|uid| uid.get())), (&b"A: b\r\n\r\n"[..], Some(9)));
    assert_eq!(base.map(|(validity, last)| (validity.get(), last)), Some((1234, 17)));
    assert_eq!(messages(file.as_bytes()), [b"A: b\r\n\r\nx\r\n"]);
    assert!(messages(begun.as_bytes()).is_empty());
    // Neither the one nor the other alone is enough, nor are both of a later one.
    let expected = format!("{internal}\r\n\r\nx\r\n");
    for file in [format!("{from}{internal}\n\nx\n"), format!("{from}{internal}\nX-IMAPbase: 1 2\n\nx\n")] {
        assert_eq!(messages(file.as_bytes()), [expected.as_bytes()]);
    }
    assert_eq!(messages(format!("{from}X-IMAP: 1 2\nA: b\n\nx\n").as_bytes()), [b"A: b\r\n\r\nx\r\n"]);
    let file = format!("{from}A: b\n\nx\n\n{from}{internal}\nX-IMAP: 1 2\n\nx\n");
    assert_eq!(messages(file.as_bytes()).len(), 2);
}

#[test]
fn a_message_may_end_with_its_header() {
    let from = "From a Thu Jan  1 00:00:00 1970\n";
    let file = format!(
        "{from}Subject: a\n\n{from}Subject: b\n\n\n{from}\n{from}Subject: c\n\nbody\n\n{from}Subject: d\n\n"
    );
    let expected =
        ["Subject: a\r\n", "Subject: b\r\n\r\n", "\r\n", "Subject: c\r\n\r\nbody\r\n", "Subject: d\r\n"];
    assert_eq!(messages(file.as_bytes()), expected.map(|text| text.as_bytes().to_vec()));
    let folder = tempfile::tempdir().unwrap();
    let mbox = Mbox::new(folder.path().join("a"));
    for text in expected {
        mbox.append("a@b", date(), text.as_bytes()).unwrap();
    }
    let octets = fs::read(folder.path().join("a")).unwrap();
    assert_eq!(messages(&octets), expected.map(|text| text.as_bytes().to_vec()));
}

/// The header, the flags, the UID and what is valid for the file, of each message.
fn headers(mut reader: Reader<&[u8]>) -> Vec<(String, String, u32, Option<u32>)> {
    let mut all = Vec::new();
    while reader.next_message().unwrap().is_some() {
        let Some(Piece::Header { octets, flags, uid, base }) = reader.next_piece().unwrap() else {
            panic!("a header")
        };
        let uid = uid.map_or(0, mailwright_mail_model::Uid::get);
        let header = String::from_utf8(octets.to_vec()).unwrap();
        all.push((header, flags.to_string(), uid, base.map(|(_, last)| last)));
    }
    all
}

#[test]
fn fields_of_the_sender_are_no_flags() {
    let from = "From a Thu Jan  1 00:00:00 1970\n";
    let ours = "X-UID: 3\nStatus: O\nX-Status: \nX-Keywords: \n";
    let theirs = "X-IMAPbase: 9 4294967294\nX-UID: 4294967294\nStatus: R\nX-Status: FD\nX-Keywords: a\n";
    let file = format!("{from}X-IMAPbase: 1 17\n{ours}{theirs}\n{from}{ours} b\nc: d\n{theirs}\nbody\n");
    let theirs = theirs.replace('\n', "\r\n");
    let kept = [(theirs.clone(), 17), (format!(" b\r\nc: d\r\n{theirs}\r\n"), 0)]
        .map(|(header, last)| (header, "()".to_owned(), 3, Some(last).filter(|last| *last > 0)));
    assert_eq!(headers(Reader::new(file.as_bytes()).with_fields_in_front()), kept);
    // Of a file that others have written the first counts, wherever it is, and none of them is left; the fold cannot be told from
    // one of its field.
    let mut elsewhere = kept;
    elsewhere[0].0 = "\r\n".into();
    elsewhere[1].0 = "c: d\r\n\r\n".into();
    assert_eq!(headers(Reader::new(file.as_bytes())), elsewhere);
    // Without fields of ours none is believed that is not in front.
    let file = format!("{from}c: d\nX-UID: 7\nStatus: R\n\nbody\n");
    let expected = ("c: d\r\nX-UID: 7\r\nStatus: R\r\n\r\n".to_owned(), "()".to_owned(), 0, None);
    assert_eq!(headers(Reader::new(file.as_bytes()).with_fields_in_front()), [expected]);
}

proptest! {
    #[test]
    fn what_is_appended_is_read(texts in prop::collection::vec("(>{0,2}From |x|\r\n|\n|>|: |[a-z]{1,5}){0,12}", 0..5), split in 1_usize..9) {
        let folder = tempfile::tempdir().unwrap();
        let mbox = Mbox::new(folder.path().join("a"));
        let texts: Vec<String> = texts.into_iter().map(|text| format!("A: b\r\n\r\n{text}")).collect();
        for text in &texts {
            mbox.append("a@b", date(), Slow(Cursor::new(text.clone()), split)).unwrap();
        }
        let octets = fs::read(folder.path().join("a")).unwrap_or_default();
        let expected: Vec<String> = texts.iter().map(|text| {
            let text = text.replace("\r\n", "\n");
            format!("{}\n", text.strip_suffix('\n').unwrap_or(&text)).replace('\n', "\r\n")
        }).collect();
        let read: Vec<String> = messages(&octets).into_iter().map(|octets| String::from_utf8(octets).unwrap()).collect();
        prop_assert_eq!(read, expected);
    }
}

/// Gives few octets at a time.
struct Slow(Cursor<String>, usize);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn links_and_strangers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    fs::write(&target, "mine").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let refused = |mbox: Mbox| mbox.append("a@b", date(), &b"x"[..]).unwrap_err();
    assert_eq!(refused(Mbox::new(&link)), StoreError::Denied);
    std::os::unix::fs::symlink(folder.path().join("nowhere"), folder.path().join("dangling")).unwrap();
    assert_eq!(refused(Mbox::new(folder.path().join("dangling"))), StoreError::Denied);
    assert_eq!(refused(Mbox::new(&target).owned_by(4_000_000, 0)), StoreError::Denied);
    fs::hard_link(&target, folder.path().join("hard")).unwrap();
    assert_eq!(refused(Mbox::new(&target)), StoreError::Denied);
    assert!(matches!(refused(Mbox::new(folder.path())), StoreError::Unavailable(_)));
    assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn what_cannot_be_written_whole_is_not_there() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            if self.0 > 20 {
                return Err(std::io::Error::from(ErrorKind::StorageFull));
            }
            buffer.fill(b'x');
            Ok(buffer.len())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mbox = Mbox::new(folder.path().join("a"));
    mbox.append("a@b", date(), &b"first\r\n"[..]).unwrap();
    let before = fs::read(folder.path().join("a")).unwrap();
    assert!(matches!(mbox.append("a@b", date(), Broken(0)), Err(StoreError::Full(_))));
    assert_eq!(fs::read(folder.path().join("a")).unwrap(), before);
}

const FILE: &str = "MAILSTORE_MBOX";
const EACH: usize = 60;

/// Not a test of its own: one of two processes that deliver at once.
#[test]
fn deliver_many() {
    let Ok(path) = std::env::var(FILE) else { return };
    let mbox = Mbox::new(path);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let mbox = &mbox;
            scope.spawn(move || {
                for number in 0..EACH {
                    let line = format!("{} {thread} {number}\r\n", std::process::id());
                    mbox.append("a@b", date(), format!("A: b\r\n\r\n{}", line.repeat(2_000)).as_bytes())
                        .unwrap();
                }
            });
        }
    });
}

#[test]
fn two_processes_append_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let deliver = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "mbox::tests::deliver_many"])
            .env(FILE, &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    for mut child in [deliver(), deliver()] {
        assert!(child.wait().unwrap().success());
    }
    let all = messages(&fs::read(&path).unwrap());
    assert_eq!(all.len(), 4 * EACH);
    let mut seen = std::collections::BTreeSet::new();
    for message in all {
        let text = String::from_utf8(message).unwrap();
        let body = text.strip_prefix("A: b\r\n\r\n").unwrap();
        let line = body.lines().next().unwrap();
        assert_eq!(body, format!("{line}\r\n").repeat(2_000), "messages are mixed");
        assert!(seen.insert(line.to_owned()), "{line} twice");
    }
}

#[test]
fn a_lock_of_another_program_is_respected() {
    let folder = tempfile::tempdir().unwrap();
    let mbox = Mbox::new(folder.path().join("a")).patience(Duration::from_millis(50));
    fs::write(folder.path().join("a.lock"), "1:elsewhere").unwrap();
    assert!(matches!(mbox.append("a@b", date(), &b"x"[..]), Err(StoreError::Unavailable(_))));
    fs::remove_file(folder.path().join("a.lock")).unwrap();
    mbox.append("a@b", date(), &b"x"[..]).unwrap();
}

#[test]
fn a_message_goes_to_every_file_or_to_none() {
    use crate::{Target, User, Write as _, block_on};
    use mailwright_mail_model::MailboxName;
    let folder = tempfile::tempdir().unwrap();
    let template = crate::maildir::Template::new(&format!("{}/%u", folder.path().display())).unwrap();
    let store = MboxStore::new(template, folder.path().join("spool")).owned_by_process();
    let target = |name: &str| Target::new(User::new(name).unwrap(), MailboxName::inbox(), date());
    block_on(async {
        let mut upload = store.begin(None).await.unwrap();
        upload.write(bytes::Bytes::from_static(b"Return-Path: <>\r\n\r\nFrom x\r\n")).await.unwrap();
        // The second one's file is not one.
        fs::create_dir(folder.path().join("b")).unwrap();
        let error = upload.commit(&[target("a"), target("b"), target("c")]).await.unwrap_err();
        assert_eq!(error.target, Some(1));
        for name in ["a", "c"] {
            assert_eq!(fs::read(folder.path().join(name)).unwrap_or_default(), b"", "{name}");
        }
        upload.commit(&[target("c"), target("a"), target("c")]).await.unwrap();
        assert!(upload.commit(&[target("a")]).await.is_err());
    });
    for (name, count) in [("a", 1), ("c", 2)] {
        let text = fs::read(folder.path().join(name)).unwrap();
        assert_eq!(messages(&text), vec![b"Return-Path: <>\r\n\r\nFrom x\r\n"; count], "{name}");
        assert!(text.starts_with(b"From MAILER-DAEMON "));
    }
    let mut left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a", "b", "c", "spool"]);
}
