//! Scripts run when messages change (RFC 6785), with all that scripts may do at delivery.

use std::{pin::Pin, sync::Arc};

use mailwright_mail_model::{Flag, FlagSet, UidSet};
use mailwright_mailstore::{
    FlagChange, FlagOperation, MailboxRef, Message, Result, Store, StoreError, Target, Upload, Write,
};
use mailwright_sieve::{Envelope, Program};

use super::{Addressing, deliver::StoreInbox, filtering::Work, now, queue_id};
use crate::{
    filter::{Happened, Mail, Remember, SieveFilter},
    imap::{Describer, Events, ImapEvent},
};

/// How much of a message is copied at once, in octets.
const PIECE: u64 = 256 << 10;

impl<S: Store, R: Addressing, M: Remember> Events for StoreInbox<S, R, SieveFilter<S, M>> {
    fn happened<'a>(&'a self, event: &'a ImapEvent) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let Some(program) = self.filter.event_script(&event.owner, &event.mailbox).await else { return };
            let snapshot = match self.store.open(&event.owner, &event.mailbox).await {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    tracing::warn!(user = %event.owner, %error, "no script is run: the mailbox cannot be read");
                    return;
                }
            };
            let mailbox = MailboxRef::new(event.owner.clone(), event.mailbox.clone(), &snapshot);
            for (uid, changed) in &event.messages {
                let Some(message) = snapshot.message(*uid) else { continue };
                let program = Arc::clone(&program);
                if let Err(error) = self.run_for(event, (&mailbox, message), changed, program).await {
                    tracing::warn!(user = %event.owner, mailbox = %event.mailbox, %uid, %error, "what a script wants cannot be done");
                }
            }
        })
    }
}

impl<S: Store, R: Addressing, M: Remember> StoreInbox<S, R, SieveFilter<S, M>> {
    async fn run_for(
        &self,
        event: &ImapEvent,
        (mailbox, message): (&MailboxRef, &Message),
        changed: &FlagSet,
        program: Arc<Program>,
    ) -> Result<()> {
        let writer =
            self.store.writer().ok_or_else(|| StoreError::ReadOnly("the store takes no mail".into()))?;
        let mut upload = writer.begin(Some(message.size)).await?;
        let (structure, summary) = self.copy_of(mailbox, message, &mut upload).await?.finish();
        upload.summarize(summary);
        // RFC 6785 §3.4: what is sent is sent by the owner of the mailbox.
        let mut envelope = Envelope::default();
        envelope.from = Some(event.owner.as_str().to_owned());
        let id = queue_id().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let date = now();
        let mut mail = Mail::new(&event.owner, &mut upload, Arc::new(structure), envelope, &id, (date, 0));
        mail.event = Some(Happened {
            user: event.user.as_str().to_owned(),
            cause: event.cause,
            mailbox: event.mailbox.to_string(),
            changed: words(changed).join(" "),
            flags: words(&message.flags),
        });
        let mut handled = self.filter.handle(&mut mail, program).await;
        let copies = std::mem::take(&mut handled.filtered.filings);
        let work = Work { inbox: self, id: &id, date, depth: 0 };
        work.make(&event.owner, &mut upload, &mut handled.filtered).await;
        // What could not be sent on is kept.
        handled.stay_instead_of_inbox();
        let targets: Vec<Target> = copies
            .into_iter()
            .map(|copy| {
                let target = Target::new(event.owner.clone(), copy.mailbox, message.internal_date);
                target.with_flags(copy.flags)
            })
            .collect();
        if !targets.is_empty() {
            upload.commit(&targets).await.map_err(|failed| failed.error)?;
        }
        let change = match handled.flags {
            // RFC 6785 §2.2.4
            _ if !handled.kept => FlagChange::new(FlagOperation::Add, FlagSet::from_iter([Flag::Deleted])),
            Some(flags) if flags != message.flags => FlagChange::new(FlagOperation::Replace, flags),
            _ => return Ok(()),
        };
        // RFC 6785 §2.2.3: that is no event.
        writer.store_flags(mailbox, &UidSet::from(message.uid), &change).await.map(drop)
    }

    /// Copies a message to where scripts can read it, and finds out its parts.
    async fn copy_of(
        &self,
        mailbox: &MailboxRef,
        message: &Message,
        upload: &mut Upload,
    ) -> Result<Describer> {
        let reference = mailbox.message(message);
        let (mut describer, mut offset) = (Describer::default(), 0);
        while offset < message.size {
            let chunk = self.store.read(&reference, offset..message.size.min(offset + PIECE)).await?;
            if chunk.is_empty() {
                return Err(StoreError::NotFound);
            }
            offset += chunk.len() as u64;
            describer.push(&chunk);
            upload.write(chunk).await?;
        }
        Ok(describer)
    }
}

fn words(flags: &FlagSet) -> Vec<String> {
    flags.iter().map(|flag| flag.to_string()).collect()
}
