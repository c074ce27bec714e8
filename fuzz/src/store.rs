//! mailstore: mail that other programs keep.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use bytes::Bytes;
use mailwright_mail_model::{DateTime, MailboxName};
use mailwright_mailstore::{
    Folders, Store, Target, User, Write, block_on,
    maildir::{Maildir, Options, Template},
    mbox::{FromLine, Piece, Reader, write_message},
};

/// A file of many messages: read the same in any pieces; what was read and written again is read the same.
pub fn store_mbox(data: &[u8]) {
    let Some((split, file)) = data.split_first() else { return };
    let messages = read(file);
    assert_eq!(messages, read(BufReader::with_capacity(1 + usize::from(*split), file)), "the split matters");
    let Some(messages) = messages else { return };
    // A CR before CRLF would be taken for a part of it when the line ends with LF alone.
    if file.contains(&b'\r') {
        return;
    }
    let mut written = Vec::new();
    for (line, message) in &messages {
        write_message(&mut written, &line.sender, line.date.unwrap_or(DateTime::EPOCH), &message[..])
            .unwrap();
    }
    let again = read(&written[..]).expect("what was written is read");
    assert_eq!(messages.len(), again.len(), "no message is lost or made up");
    for ((_, message), (line, again)) in messages.iter().zip(&again) {
        assert!(line.date.is_some());
        assert_eq!(without_end(again), without_end(message), "{}", message.escape_ascii());
    }
}

/// The messages without the fields that keep flags, or `None` if it is no such file.
fn read(file: impl BufRead) -> Option<Vec<(FromLine, Vec<u8>)>> {
    let (mut reader, mut messages) = (Reader::new(file), Vec::new());
    while let Some(line) = reader.next_message().ok()? {
        let (mut message, mut header) = (Vec::new(), false);
        while let Some(piece) = reader.next_piece().unwrap() {
            match piece {
                Piece::Header { octets, .. } => {
                    assert!(!std::mem::replace(&mut header, true) && message.is_empty(), "first, and once");
                    message.extend_from_slice(&octets);
                }
                Piece::Body(octets) => message.extend_from_slice(&octets),
                other => panic!("{other:?}"),
            }
        }
        assert!(header, "each message has a header");
        messages.push((line, message));
    }
    Some(messages)
}

/// Without the empty lines that the end of a message has or not.
fn without_end(message: &[u8]) -> &[u8] {
    message.trim_ascii_end()
}

/// The files of a Maildir: names of messages, `dovecot-uidlist`, `dovecot-keywords`, `subscriptions`, `dovecot-acl`, with a NUL between
/// them. Two stores that know nothing of each other show the same, and mail can be delivered.
pub fn store_maildir(data: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let (alice, inbox) = (User::new("alice@example.org").unwrap(), MailboxName::inbox());
    let root = directory.path().join(alice.as_str());
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(root.join(part)).unwrap();
    }
    let mut files = data.split(|octet| *octet == 0);
    for name in files.next().unwrap_or_default().split(|octet| *octet == b'\n').take(20) {
        let fits =
            !name.is_empty() && name.len() < 250 && !name.contains(&b'/') && name != b"." && name != b"..";
        if fits {
            fs::write(root.join("cur").join(OsStr::from_bytes(name)), "Subject: tea\n\nNow.\n").unwrap();
        }
    }
    for (name, octets) in
        ["dovecot-uidlist", "dovecot-keywords", "subscriptions", "dovecot-acl"].iter().zip(files)
    {
        fs::write(root.join(name), octets).unwrap();
    }
    let first = seen(directory.path(), &alice);
    assert_eq!(first, seen(directory.path(), &alice), "what is seen stays so");
    let Ok((messages, _)) = first else { return };
    assert!(messages.is_sorted_by(|one, other| one.0 < other.0), "UIDs rise");
    let store = store(directory.path());
    let delivered = block_on(async {
        let mut upload = store.begin(None).await.unwrap();
        upload.write(Bytes::from_static(b"Subject: new\r\n\r\n")).await.unwrap();
        upload.commit(&[Target::new(alice.clone(), inbox, DateTime::EPOCH)]).await
    });
    // If the last UID was given out, there is none for it.
    if let Ok(delivered) = delivered {
        let uid = delivered[0].uid.get();
        assert!(messages.iter().all(|(known, ..)| *known < uid), "a new UID is above all others");
        let (after, _) = seen(directory.path(), &alice).unwrap();
        assert_eq!(after.len(), messages.len() + 1);
    }
}

/// UIDs, sizes and flags, and the subscriptions.
type Seen = Result<(Vec<(u32, u64, String)>, Vec<MailboxName>), String>;

fn seen(base: &Path, user: &User) -> Seen {
    let store = store(base);
    block_on(async {
        let snapshot = store.open(user, &MailboxName::inbox()).await?;
        let messages = snapshot.messages();
        let messages = messages.map(|message| (message.uid.get(), message.size, message.flags.to_string()));
        Ok((messages.collect(), store.subscriptions(user).await?))
    })
    .map_err(|error: mailwright_mailstore::StoreError| error.to_string())
}

fn store(base: &Path) -> Maildir {
    let mut options = Options::default();
    options.inotify = false;
    options.spool = base.join("spool");
    Maildir::new(Template::new(&format!("{}/%u", base.display())).unwrap(), options)
}
