//! Messages of the program that the queue runs in.

use std::io;

use bytes::{Bytes, BytesMut};
use mailwright_mail_model::{Envelope, ForwardPath};
use mailwright_mailstore::{Store, StoreError, Upload, Write};
use mailwright_relay_policy::{
    authentication::{Examined, Examiner},
    dns::Resolve,
};
use mailwright_smtp_proto::{Message, Reply};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Queue;
use crate::smtp::{Addressing, Origin, Times, now, queue_id, return_path};

/// How much is read at a time, and of a header looked through for its Message-ID.
const CHUNK: usize = 64 * 1024;

/// Why a message was not taken into the queue. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// A recipient is not one, as the addressing says.
    #[error("{recipient} is refused: {reply}")]
    Refused {
        /// The first that was refused.
        recipient: ForwardPath,
        /// Why.
        reply: Reply,
    },
    /// There is nobody to send it to.
    #[error("expected a recipient at least")]
    NoRecipient,
    /// The message could not be read.
    #[error("the message could not be read: {0}")]
    Body(io::Error),
    /// There is a CR without LF, an LF without CR or a NUL in it, or its last line has no end (RFC 5321 §2.3.8).
    #[error("expected lines that each end with CRLF, and no NUL")]
    Lines,
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Puts a message of this program on its way to all its recipients, into the queue and into mailboxes here, or to none of them, and
    /// gives the id that it has there: of its [entries](mailwright_mailstore::QueueEntry::id), in logs, and in reports. It is on the disk
    /// then.
    ///
    /// The parameters of the envelope count as they do for messages that come by SMTP: ENVID, RET, NOTIFY and ORCPT for reports (RFC
    /// 3461), HOLDFOR and HOLDUNTIL to send it later (RFC 4865), BY, MT-PRIORITY, REQUIRETLS, SMTPUTF8. It is not filtered. It is signed,
    /// if the configuration has [`signing`](super::QueueConfig::signing), by the first that has a key of the domains of its authors and
    /// of its sender.
    ///
    /// `body` is the message with its header, streamed; its lines end with CRLF, and dots at their beginnings are as they are.
    ///
    /// # Errors
    /// [`EnqueueError`].
    pub async fn enqueue<B: AsyncRead + Unpin>(
        &self,
        message: Message,
        body: &mut B,
    ) -> Result<String, EnqueueError> {
        if message.recipients.is_empty() {
            return Err(EnqueueError::NoRecipient);
        }
        let refused = |(recipient, reply)| EnqueueError::Refused { recipient, reply };
        let way = self.way(&message).await.map_err(refused)?;
        let writer = self.store.writer().ok_or_else(|| StoreError::Invalid("expected a writer".into()))?;
        let front = return_path(&message.mail.from);
        let mut upload = writer.begin(message.mail.parameters.size).await?;
        upload.write(Bytes::from(front.clone())).await?;
        let mut read = Read::default();
        let mut examiner = self
            .current()
            .config
            .signing
            .is_some()
            .then(|| Examiner::new().without_verifying().for_signing());
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            if body.read_buf(&mut buffer).await.map_err(EnqueueError::Body)? == 0 {
                break;
            }
            let chunk = buffer.split().freeze();
            if !read.push(&chunk) {
                return Err(EnqueueError::Lines);
            }
            if let Some(examiner) = &mut examiner {
                examiner.push(&chunk);
            }
            upload.write(chunk).await?;
        }
        if !read.at_line_start() {
            return Err(EnqueueError::Lines);
        }
        let signatures = examiner.map(|examiner| self.signed_by_author(&message, &examiner.finish()));
        if let Some(signatures) = signatures.filter(|signatures| !signatures.is_empty()) {
            upload = again(writer, upload, &front, signatures, read.octets).await?;
        }
        let envelope = Envelope::of(&read.top);
        let message_id = envelope.message_id().map(|id| String::from_utf8_lossy(id).trim().to_owned());
        let id = queue_id().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let (user, date, skip) = (None, now(), front.len() as u64);
        let parameters = &message.mail.parameters;
        let times = Times::of(parameters, parameters.priority.map_or(0, |priority| priority.level()), date);
        let eight_bit = read.eight_bit;
        let origin = Origin { message: &message, user, id: &id, date, skip, eight_bit, message_id, times };
        let batch = self.batch(&origin, &way)?;
        upload.commit_batch(&batch).await.map_err(|error| error.error)?;
        Ok(id)
    }

    fn signed_by_author(&self, message: &Message, examined: &Examined) -> String {
        let this = self.current();
        let Some(signing) = &this.config.signing else { return String::new() };
        let sender = message.mail.from.address().map(|address| address.domain().key().to_owned());
        let authors = examined.author_domains().unwrap_or_default();
        signing.signatures(authors.into_iter().chain(sender), examined)
    }
}

/// The message once more, with fields behind its first one.
async fn again(
    writer: &impl Write,
    mut upload: Upload,
    front: &str,
    fields: String,
    octets: u64,
) -> Result<Upload, StoreError> {
    let mut at = front.len() as u64;
    let end = at + octets;
    let mut copy = writer.begin(Some(end + fields.len() as u64)).await?;
    copy.write(Bytes::from(format!("{front}{fields}"))).await?;
    while at < end {
        let piece = upload.read(at..end.min(at + CHUNK as u64)).await?;
        if piece.is_empty() {
            return Err(StoreError::Corrupt("a message that is written cannot be read".into()));
        }
        at += piece.len() as u64;
        copy.write(piece).await?;
    }
    Ok(copy)
}

/// What is noted of a message while it is read.
#[derive(Default)]
struct Read {
    octets: u64,
    eight_bit: bool,
    /// The last octet.
    last: Option<u8>,
    /// Its beginning.
    top: Vec<u8>,
}

impl Read {
    /// Whether it may go on so.
    fn push(&mut self, chunk: &[u8]) -> bool {
        self.octets += chunk.len() as u64;
        self.eight_bit |= !chunk.is_ascii();
        let room = CHUNK.saturating_sub(self.top.len()).min(chunk.len());
        self.top.extend_from_slice(chunk.get(..room).unwrap_or_default());
        chunk.iter().all(|octet| {
            let after_cr = self.last.replace(*octet) == Some(b'\r');
            after_cr == (*octet == b'\n') && *octet != 0
        })
    }

    fn at_line_start(&self) -> bool {
        self.last.is_none_or(|last| last == b'\n')
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use mailwright_mail_model::Address;
    use mailwright_mailstore::{QueueEntry, RecipientState, Spool, memory::Memory};
    use mailwright_relay_policy::{
        authentication::dkim::{Signer, SigningKey},
        dns::{AnyResolver, CannedAnswers, LookupError, RecordType},
    };
    use mailwright_smtp_proto::{Mail, Notify, Rcpt};
    use ring::{rand::SystemRandom, signature::Ed25519KeyPair};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        queue::{DeliveryObserver, QueueConfig},
        smtp::{Authentication, Elsewhere},
    };

    const TEXT: &str = "From: shop@a.example\r\nMessage-ID: <1@a.example>\r\n\r\n.caf\u{e9}\r\n";

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn message(to: &[&str]) -> Message {
        let rcpt = |to: &&str| Rcpt::new(address(to).into());
        Message::new(Mail::new(address("shop@a.example").into()), to.iter().map(rcpt).collect())
    }

    fn queue(config: QueueConfig) -> (Memory, Arc<Queue<Memory, CannedAnswers, Elsewhere>>) {
        let (store, zone) = (Memory::new(), CannedAnswers::default());
        let zone = zone.failure("b.example", RecordType::MX, LookupError::NoName);
        let zone = zone.failure("c.example", RecordType::MX, LookupError::Temporary("nobody answers".into()));
        let queue = Queue::new(Arc::new(store.clone()), Arc::new(zone), Arc::new(Elsewhere), config);
        (store, Arc::new(queue))
    }

    async fn waiting(store: &Memory) -> Vec<QueueEntry> {
        store.spool().unwrap().entries(None, 100).await.unwrap()
    }

    #[tokio::test]
    async fn a_message_for_several_is_taken_as_it_is() {
        let (store, queue) = queue(QueueConfig::new("mail.a.example").unwrap());
        let mut message = message(&["bob@b.example", "eve@c.example", "zoe@c.example"]);
        message.mail.parameters.envelope_id = mailwright_smtp_proto::EnvelopeId::new("order-7").ok();
        message.recipients[1].parameters.notify = Some(Notify::Never);
        let id = queue.enqueue(message, &mut TEXT.as_bytes()).await.unwrap();
        let entries = waiting(&store).await;
        assert_eq!(entries.iter().map(|entry| entry.recipients.len()).collect::<Vec<_>>(), [1, 2]);
        for entry in &entries {
            assert_eq!((&entry.id, entry.eight_bit), (&id, true));
            assert_eq!(entry.message_id.as_deref(), Some("<1@a.example>"));
            assert_eq!(entry.envelope_id.as_deref(), Some("order-7"));
            let octets = store.spool().unwrap().octets(entry, entry.skip..entry.size).await.unwrap();
            assert_eq!(octets, TEXT);
        }
        assert!(!entries[1].recipients[0].notify.failure && entries[1].recipients[1].notify.failure);
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_not_kept() {
        let (store, queue) = queue(QueueConfig::new("mail.a.example").unwrap());
        for text in
            ["a: b\r\n\r\nbare\nline\r\n", "a: b\r\n\r\nbare\rline\r\n", "no end", "a\r\n\0\r\n", "a\r"]
        {
            let error = queue.enqueue(message(&["bob@b.example"]), &mut text.as_bytes()).await.unwrap_err();
            assert!(matches!(error, EnqueueError::Lines), "{text:?}: {error}");
            // However it is cut.
            let (mut read, octets) = (Read::default(), text.as_bytes());
            assert!(!octets.iter().all(|octet| read.push(&[*octet])) || !read.at_line_start(), "{text:?}");
        }
        let error = queue.enqueue(message(&[]), &mut TEXT.as_bytes()).await.unwrap_err();
        assert!(matches!(error, EnqueueError::NoRecipient), "{error}");
        let mut postmaster = message(&["bob@b.example"]);
        postmaster.recipients.push(Rcpt::new(ForwardPath::Postmaster));
        let error = queue.enqueue(postmaster, &mut TEXT.as_bytes()).await.unwrap_err();
        assert!(matches!(error, EnqueueError::Refused { recipient: ForwardPath::Postmaster, .. }), "{error}");
        assert!(waiting(&store).await.is_empty());
    }

    #[tokio::test]
    async fn the_domain_of_the_author_signs() {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let signer = Arc::new(Signer::new("a.example", "s", SigningKey::from_pkcs8(key.as_ref()).unwrap()));
        let signers =
            move |domain: &str| Vec::from_iter((domain == "a.example").then(|| Arc::clone(&signer)));
        let resolver = AnyResolver::new(CannedAnswers::default());
        let signing = Authentication::new(resolver, "mail.a.example").with_signers(signers);
        let mut config = QueueConfig::new("mail.a.example").unwrap();
        config.signing = Some(Arc::new(signing));
        let (store, queue) = queue(config);
        queue.enqueue(message(&["bob@b.example"]), &mut TEXT.as_bytes()).await.unwrap();
        let entry = waiting(&store).await.remove(0);
        let octets = store.spool().unwrap().octets(&entry, entry.skip..entry.size).await.unwrap();
        let text = String::from_utf8(octets.into()).unwrap();
        assert!(text.starts_with("DKIM-Signature: ") && text.ends_with(TEXT), "{text}");
    }

    /// Keeps what it hears of: address, state and what was said.
    #[derive(Default)]
    struct Heard(Mutex<Vec<(String, RecipientState, String)>>);

    impl DeliveryObserver for Heard {
        fn attempted(&self, entry: &QueueEntry, tried: &[usize]) {
            for place in tried {
                let recipient = &entry.recipients[*place];
                let said = recipient.last_error.clone().unwrap_or_default();
                self.0.lock().unwrap().push((recipient.address.to_string(), recipient.state, said));
            }
        }
    }

    #[tokio::test]
    async fn whoever_listens_hears_what_became_of_each_recipient() {
        let (heard, mut config) = (Arc::new(Heard::default()), QueueConfig::new("mail.a.example").unwrap());
        config.observer = Some(Arc::clone(&heard) as Arc<dyn DeliveryObserver>);
        let (store, queue) = queue(config);
        let mut message = message(&["bob@b.example", "eve@c.example"]);
        message.mail = Mail::new(mailwright_mail_model::ReversePath::Null);
        queue.enqueue(message, &mut TEXT.as_bytes()).await.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&queue).run(stop.clone()));
        let all = async {
            while heard.0.lock().unwrap().len() < 2 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), all).await.unwrap();
        stop.cancel();
        running.await.unwrap().unwrap();
        let mut heard = heard.0.lock().unwrap().clone();
        heard.sort_by(|one, other| one.0.cmp(&other.0));
        let [(bob, given_up, no_domain), (eve, later, nobody)] = heard.as_slice() else {
            panic!("{heard:?}")
        };
        assert_eq!((bob.as_str(), *given_up), ("bob@b.example", RecipientState::Failed));
        assert_eq!((eve.as_str(), *later), ("eve@c.example", RecipientState::Waiting));
        assert!(!no_domain.is_empty() && !nobody.is_empty() && no_domain != nobody, "{no_domain}, {nobody}");
        let left = waiting(&store).await;
        assert_eq!((left.len(), left[0].recipients[0].address.to_string().as_str()), (1, "eve@c.example"));
    }
}
