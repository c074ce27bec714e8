//! A folder of files as a mailbox that can be read by IMAP: three methods make a store.
//!
//! ```text
//! cargo run -p mailwright --example read_only_imap -- 127.0.0.1:1143 folder   # user "me", password "me"
//! ```

use std::{env, error::Error, fs, ops::Range, path::Path, sync::Arc};

use bytes::Bytes;
use mailwright::{
    Authenticator, CancellationToken, Listener, ListenerTls,
    imap::Imap,
    imap_proto::server::Config,
    mail_model::{DateTime, MailboxName, Uid, UidValidity},
    mailstore::{
        Mailbox, Message, MessageRef, Result, Snapshot, Store, StoreError, User,
        accounts::{LoginError, LoginRequest, from_fn},
    },
};

struct Folder {
    /// The message with UID 1, with UID 2, ...
    messages: Vec<Bytes>,
    snapshot: Arc<Snapshot>,
}

impl Store for Folder {
    async fn mailboxes(&self, _: &User) -> Result<Vec<Mailbox>> {
        Ok(vec![Mailbox::inbox()])
    }

    async fn open(&self, _: &User, name: &MailboxName) -> Result<Arc<Snapshot>> {
        if *name == MailboxName::inbox() { Ok(Arc::clone(&self.snapshot)) } else { Err(StoreError::NotFound) }
    }

    async fn read(&self, message: &MessageRef, range: Range<u64>) -> Result<Bytes> {
        let message = self.messages.get(message.uid.get() as usize - 1).ok_or(StoreError::NotFound)?;
        let at = |octet: u64| message.len().min(octet as usize);
        Ok(message.slice(at(range.start)..at(range.end)))
    }
}

impl Folder {
    fn read_all(path: &Path) -> std::result::Result<Self, Box<dyn Error>> {
        let mut files: Vec<_> =
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        files.sort();
        files.retain(|file| file.is_file());
        let mut snapshot = Snapshot::builder(UidValidity::new(1).ok_or("zero")?);
        let mut messages = Vec::new();
        for file in files {
            let text = on_the_wire(&fs::read(file)?);
            let uid = Uid::new(messages.len() as u32 + 1).ok_or("too many files")?;
            let arrived = DateTime::new(0, 0).ok_or("no such date")?;
            snapshot = snapshot.message(Message::new(uid, text.len() as u64, arrived));
            messages.push(Bytes::from(text));
        }
        Ok(Self { messages, snapshot: Arc::new(snapshot.build()) })
    }
}

/// On the wire every line ends with CRLF; what is in them may be in any charset.
fn on_the_wire(octets: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(octets.len());
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let whole = line.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        text.extend_from_slice(whole.unwrap_or(line));
        text.extend_from_slice(if whole.is_some() { b"\r\n" } else { b"" });
    }
    text
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let usage = "usage: read_only_imap ADDRESS FOLDER";
    let (address, path) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let mut config = Config::default();
    config.allow_plaintext_auth = true; // There is no TLS: bind it to this machine only.
    let accounts = from_fn(|request: LoginRequest| async move {
        let known = request.user == "me" && request.credentials.is_password(b"me");
        User::new("me").ok().filter(|_| known).ok_or(LoginError::Credentials)
    });
    let authenticator = Arc::new(Authenticator::with_random_secret(accounts)?);
    let service =
        Imap::new(Arc::new(Folder::read_all(path.as_ref())?), authenticator, ListenerTls::None, config);
    let stop = CancellationToken::new();
    let listener = Listener::bind(&address, stop.clone()).await?;
    Arc::new(service).serve(listener, stop).await;
    Ok(())
}
