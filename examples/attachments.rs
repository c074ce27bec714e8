//! Takes mail apart while it comes: each part into a file of its own, decoded, and a line of JSON that says what they are
//! and whether SPF, DKIM and DMARC prove who sent it.
//!
//! ```text
//! cargo run -p mailwright --example attachments -- 127.0.0.1:2525 folder
//! ```

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::{self, Write},
    mem,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use mailwright::{
    CancellationToken, Listener, ListenerTls,
    mail_model::{
        encoding::Decoder,
        mime::{Part, Scanner, Sink},
        word,
    },
    relay_policy::{
        Session,
        authentication::{Examiner, Origin, check},
    },
    resolve::{Resolver, ResolverOptions},
    smtp::{Body, Inbox, Smtp},
    smtp_proto::{Message, Outcome, Rcpt, Reply, server::Config},
};
use serde_json::{Value, json};

struct Attachments {
    resolver: Resolver,
    folder: PathBuf,
    count: AtomicU64,
}

/// The parts of one message.
struct Parts {
    /// What the names of its files begin with: never a word of the sender's.
    path: PathBuf,
    open: Option<(Decoder, File)>,
    decoded: Vec<u8>,
    told: Vec<Value>,
    /// What is removed again unless the message is taken: of one that breaks off nothing is kept.
    files: Vec<PathBuf>,
    failed: io::Result<()>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
    }
}

impl Parts {
    fn write(&mut self) {
        if let Some((_, file)) = &mut self.open
            && let Err(error) = file.write_all(&self.decoded)
        {
            self.failed = Err(error);
        }
        self.decoded.clear();
    }
}

impl Sink for Parts {
    fn header_end(&mut self, part: usize, details: &Part) {
        let (content, path) = (details.content(), self.path.with_extension(part.to_string()));
        let media_type = content.media_type();
        let media_type = format!("{}/{}", media_type.kind(), media_type.subtype()).to_lowercase();
        if !media_type.starts_with("multipart/")
            && let Some(decoder) = content.encoding().decoder()
        {
            match File::create(&path) {
                Ok(file) => {
                    self.files.push(path.clone());
                    self.open = Some((decoder, file));
                }
                Err(error) => self.failed = Err(error),
            }
            self.told.push(json!({ "type": media_type, "name": content.file_name(), "file": path }));
        }
    }

    fn body(&mut self, _: usize, octets: &[u8]) {
        if let Some((decoder, _)) = &mut self.open {
            decoder.push(octets, &mut self.decoded);
            self.write();
        }
    }

    fn part_end(&mut self, _: usize) {
        if let Some((decoder, _)) = &mut self.open {
            decoder.finish(&mut self.decoded);
            self.write();
        }
        self.open = None;
    }
}

impl Inbox for Attachments {
    async fn recipient(&self, _: &Session, _: &Rcpt) -> Reply {
        Reply::RECIPIENT_OK
    }

    async fn deliver(&self, session: &Session, message: &Message, body: &mut Body<'_>) -> Outcome {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let path =
            self.folder.join(format!("{}-{}", now.as_micros(), self.count.fetch_add(1, Ordering::Relaxed)));
        let mut parts = Parts {
            path,
            open: None,
            decoded: Vec::new(),
            told: Vec::new(),
            files: Vec::new(),
            failed: Ok(()),
        };
        let (mut scanner, mut examiner) = (Scanner::new(), Examiner::new());
        loop {
            match body.next().await {
                Ok(Some(chunk)) => {
                    scanner.push_to(&chunk, &mut parts);
                    examiner.push(&chunk);
                }
                Ok(None) => break,
                Err(_) => return Reply::INTERNAL.into(),
            }
        }
        let structure = scanner.finish_to(&mut parts);
        let (Some(origin), Ok(())) = (Origin::of(session), &parts.failed) else {
            return Reply::INTERNAL.into();
        };
        let findings = check(&self.resolver, &origin, &examiner.finish(), now.as_secs()).await;
        let subject = structure.part(0).and_then(Part::envelope).and_then(|envelope| envelope.subject());
        let told = json!({
            "from": message.mail.from.to_string(),
            "to": message.recipients.iter().map(|rcpt| rcpt.to.to_string()).collect::<Vec<_>>(),
            "subject": subject.map(word::decode),
            "spf": findings.spf.result.as_str(),
            "dkim": findings.dkim.iter().map(|verified| verified.outcome.words().0).collect::<Vec<_>>(),
            "dmarc": findings.dmarc.result.as_str(),
            "parts": mem::take(&mut parts.told),
        });
        println!("{told}");
        parts.files.clear();
        Reply::queued("taken apart").into()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let usage = "usage: attachments ADDRESS FOLDER";
    let (address, folder) = (arguments.next().ok_or(usage)?, PathBuf::from(arguments.next().ok_or(usage)?));
    fs::create_dir_all(&folder)?;
    let resolver = Resolver::new(&ResolverOptions::default())?;
    let inbox = Arc::new(Attachments { resolver, folder, count: AtomicU64::new(0) });
    let service = Smtp::without_logins(inbox, ListenerTls::None, Config::smtp("attachments.localhost")?);
    let stop = CancellationToken::new();
    let listener = Listener::bind(&address, stop.clone()).await?;
    Arc::new(service).serve(listener, stop).await;
    Ok(())
}
