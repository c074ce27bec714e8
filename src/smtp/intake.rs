//! Taking in a message: what goes in front of it is known only when it is here.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mailwright_mailstore::{Store, Upload, Write};
use mailwright_relay_policy::{Chain, Session as Conversation, Verdict, authentication::Examiner};
use mailwright_smtp_proto::{Message, Reply};

use super::{
    Body,
    authentication::{Authentication, Judged},
    binary::InLines,
    commit::refusal,
    deliver::Received,
    hops::Hops,
    opening::Opening,
    trace_fields::{now, received, return_path},
};
use crate::{imap::Describer, service::shown};

/// RFC 5321 §6.3 wants at least 100 before a loop is assumed; Postfix's hopcount_limit is 50.
const MOST_HOPS: usize = 100;
/// So much of a message waits in memory for what is to stand in front of it. Most messages are smaller; a larger one is
/// copied once within the store, if something is to stand there.
const HELD: usize = 256 << 10;

/// The beginning of a message: pieces of what was read, or, of many, a copy of them, for each piece keeps what it was read into.
#[derive(Default)]
struct Held {
    pieces: Vec<Bytes>,
    /// What stands behind them.
    gathered: BytesMut,
    octets: usize,
}

impl Held {
    const MOST: usize = 8;

    fn push(&mut self, chunk: Bytes) {
        self.octets += chunk.len();
        if self.gathered.is_empty() && self.pieces.len() < Self::MOST {
            self.pieces.push(chunk);
        } else {
            self.gathered.extend_from_slice(&chunk);
        }
    }

    fn pieces(self) -> impl Iterator<Item = Bytes> {
        self.pieces.into_iter().chain([self.gathered.freeze()]).filter(|piece| !piece.is_empty())
    }
}

/// What is needed to take in messages.
pub(super) struct Intake<'a, S> {
    pub(super) store: &'a S,
    pub(super) policy: &'a Chain,
    pub(super) authentication: Option<&'a Authentication>,
    pub(super) hostname: &'a str,
    /// The domain of ours that sends the message on, if one does.
    pub(super) forwarder: Option<&'a str>,
    /// The field that says for whom it is sent on, or nothing.
    pub(super) delivered_to: &'a str,
}

impl<S: Store> Intake<'_, S> {
    /// Takes in a message to its end.
    ///
    /// # Errors
    /// What the client is told.
    pub(super) async fn take(
        &self,
        session: &Conversation,
        message: &Message,
        body: &mut Body<'_>,
        id: &str,
    ) -> Result<Received, Reply> {
        let mut hops = Hops::default();
        let (mut opening, mut lines) = (Opening::default(), InLines::new(message));
        let begin =
            |authentication: &Authentication| authentication.examiner(session, message, self.forwarder);
        let judge = self.authentication.and_then(|judge| Some((judge, begin(judge)?)));
        // What is sent on is signed, and what was sent is verified.
        let mut kept = judge.as_ref().filter(|_| lines.change()).and_then(|(judge, _)| begin(judge));
        kept = kept.map(Examiner::without_verifying);
        let (judge, mut examiner) = match judge {
            Some((judge, examiner)) => (Some(judge), Some(examiner)),
            // The rules look at the header all the same.
            None => (None, (!self.policy.is_empty()).then(|| Examiner::new().without_verifying())),
        };
        let (front, trace) =
            (return_path(&message.mail.from), received(session, message, self.hostname, id, now()));
        let trace = if self.delivered_to.is_empty() { trace } else { self.delivered_to.to_owned() + &trace };
        let size = message.mail.parameters.size.filter(|_| !lines.change());
        let (mut held, mut draft, mut eight_bit) = (Held::default(), None, false);
        // Without its end there is nothing to reply to: the machine has refused the message or is gone.
        let mut ended = false;
        while !ended {
            let chunk = match body.next().await.map_err(|_| Reply::INTERNAL)? {
                Some(chunk) => opening.push(chunk),
                None => {
                    ended = true;
                    opening.finish()
                }
            };
            hops.push(&chunk);
            if let Some(examiner) = &mut examiner {
                examiner.push(&chunk);
            }
            let mut chunk = lines.push(chunk)?;
            let last = if ended { lines.finish()? } else { Bytes::new() };
            if !last.is_empty() {
                chunk = [chunk, last].concat().into();
            }
            eight_bit |= !chunk.is_ascii();
            if let Some(examiner) = &mut kept {
                examiner.push(&chunk);
            }
            match &mut draft {
                None if held.octets + chunk.len() <= HELD => held.push(chunk),
                None => {
                    let mut begun = self.begin(size, &[&front, &trace]).await?;
                    for piece in std::mem::take(&mut held).pieces() {
                        begun.write(piece).await?;
                    }
                    begun.write(chunk).await?;
                    draft = Some(begun);
                }
                Some(draft) => draft.write(chunk).await?,
            }
        }
        if hops.count() >= MOST_HOPS {
            return Err(Reply::permanent((4, 6), "Too many hops: this message goes round in a loop"));
        }
        let examined = examiner.map(Examiner::finish).unwrap_or_default();
        let kept = kept.map(Examiner::finish);
        let kept = kept.as_ref().unwrap_or(&examined);
        let decision = self.policy.decide_message(session, message, &examined).await;
        if let Verdict::Reject(reply) = decision.verdict {
            tracing::info!(peer = shown(&session.peer), id, rule = decision.rule, "refused by policy");
            return Err(reply);
        }
        let Judged { fields, quarantine } = match judge {
            Some(judge) => judge.judge(session, message, &examined, kept, self.forwarder).await?,
            None => Judged::default(),
        };
        let draft = match draft {
            Some(draft) if fields.is_empty() => draft,
            Some(draft) => self.again(size, draft, &front, &fields).await?,
            None => {
                let size = front.len() + fields.len() + trace.len() + held.octets;
                let mut draft = self.begin(Some(size as u64), &[&front, &fields, &trace]).await?;
                for piece in held.pieces() {
                    draft.write(piece).await?;
                }
                draft
            }
        };
        // RFC 5321 §4.4: Return-Path is for the final delivery only.
        let (skip, delivered_to) = (front.len() as u64, hops.delivered_to());
        Ok(Received { skip, eight_bit, quarantine, delivered_to, ..draft.finish() })
    }

    /// Takes in a message that was fetched, with `trace` in front. Who sends it cannot be found out any more.
    ///
    /// # Errors
    /// Why it cannot be taken.
    pub(super) async fn fetch(
        &self,
        size: Option<u64>,
        trace: &str,
        source: &mut impl Source,
    ) -> Result<Received, Reply> {
        let (mut hops, mut opening, mut eight_bit) = (Hops::default(), Opening::default(), false);
        let mut draft = self.begin(size, &[trace]).await?;
        let mut ended = false;
        while !ended {
            let chunk = match source.chunk().await? {
                Some(chunk) => opening.push(chunk),
                None => {
                    ended = true;
                    opening.finish()
                }
            };
            hops.push(&chunk);
            eight_bit |= !chunk.is_ascii();
            draft.write(chunk).await?;
        }
        if hops.count() >= MOST_HOPS {
            return Err(Reply::permanent((4, 6), "Too many hops: this message goes round in a loop"));
        }
        Ok(Received { eight_bit, ..draft.finish() })
    }

    async fn begin(&self, size: Option<u64>, fields: &[&str]) -> Result<Draft, Reply> {
        let writer = self.store.writer().ok_or(Reply::INTERNAL)?;
        let upload = writer.begin(size).await.map_err(|error| refusal(&error))?;
        let mut draft = Draft { upload, describer: Describer::default(), size: 0 };
        draft.write(fields.concat().into()).await?;
        Ok(draft)
    }

    /// The message with fields behind its first one.
    async fn again(
        &self,
        size: Option<u64>,
        mut draft: Draft,
        front: &str,
        fields: &str,
    ) -> Result<Draft, Reply> {
        let mut copy = self.begin(size, &[front, fields]).await?;
        let mut at = front.len() as u64;
        while at < draft.size {
            let end = draft.size.min(at + HELD as u64);
            let octets = draft.upload.read(at..end).await.map_err(|error| refusal(&error))?;
            if octets.is_empty() {
                return Err(Reply::INTERNAL);
            }
            at += octets.len() as u64;
            copy.write(octets).await?;
        }
        Ok(copy)
    }
}

/// Where a message comes from.
pub(super) trait Source: Send {
    /// The next part of it; `None` at its end.
    ///
    /// # Errors
    /// There will be no end.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, Reply>> + Send;
}

/// A message that is being written.
struct Draft {
    upload: Upload,
    describer: Describer,
    size: u64,
}

impl Draft {
    async fn write(&mut self, octets: Bytes) -> Result<(), Reply> {
        self.size += octets.len() as u64;
        self.describer.push(&octets);
        self.upload.write(octets).await.map_err(|error| refusal(&error))
    }

    /// The message, and what its octets tell of it.
    fn finish(self) -> Received {
        let Self { mut upload, describer, size } = self;
        let structure = describer.finish_into(&mut upload);
        let envelope = structure.part(0).and_then(|part| part.envelope());
        let message_id = envelope.and_then(|envelope| envelope.message_id());
        let message_id = message_id.map(|id| String::from_utf8_lossy(id).trim().to_owned());
        let structure = Arc::new(structure);
        Received {
            upload,
            structure,
            size,
            skip: 0,
            eight_bit: false,
            message_id,
            quarantine: false,
            delivered_to: Vec::new(),
        }
    }
}
