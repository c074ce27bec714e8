//! Scripts run when messages change (RFC 6785), and when clients ask for it, with all that scripts may do at delivery.

use std::{pin::Pin, sync::Arc};

use mailwright_imap_proto::{command::FilterScript, response::FilterResult};
use mailwright_mail_model::{DateTime, Flag, FlagSet, Uid, UidSet};
use mailwright_mailstore::{
    Batch, FlagChange, FlagOperation, MailboxRef, Message, Result, Store, StoreError, Target, Upload, User,
    Write,
};
use mailwright_sieve::{Envelope, Program};

use super::{
    Addressing,
    commit::TRIES,
    deliver::StoreInbox,
    filtering::Work,
    now,
    parts::{Fault, Parts, keep_instead},
    queue_id,
};
use crate::service::octets_of;
use crate::{
    filter::{Again, Given, Handled, Happened, Mail, Remember, SieveFilter},
    imap::{Describer, Events, Filtering, ImapEvent, Later, Refilter},
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
                let (mut tries, given) = (1..TRIES, Given::default());
                let done = loop {
                    let program = Arc::clone(&program);
                    match self.run_for(event, (&mailbox, message), changed, program, &given).await {
                        Err(StoreError::Conflict) if tries.next().is_some() => given.again(),
                        done => break done,
                    }
                };
                if let Err(error) = done {
                    tracing::warn!(user = %event.owner, mailbox = %event.mailbox, %uid, %error, "what a script wants cannot be done");
                }
            }
        })
    }
}

impl<S: Store, R: Addressing, M: Remember> Refilter for StoreInbox<S, R, SieveFilter<S, M>> {
    fn scripts<'a>(
        &'a self,
        user: &'a User,
        which: &'a FilterScript,
    ) -> Later<'a, std::result::Result<Vec<Arc<Program>>, String>> {
        Box::pin(self.filter.scripts_for(user, which))
    }

    fn refilter<'a>(
        &'a self,
        place: &'a Filtering,
        uid: Uid,
        scripts: &'a [Arc<Program>],
    ) -> Later<'a, Result<Option<FilterResult>>> {
        Box::pin(async move {
            let (mut tries, given) = (1..TRIES, Given::default());
            loop {
                match self.run_again(place, uid, scripts, &given).await {
                    Err(StoreError::Conflict) if tries.next().is_some() => given.again(),
                    result => return result,
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
        given: &Given,
    ) -> Result<()> {
        let mut upload = self.stored_writer()?.begin(Some(message.size)).await?;
        let describer = self.copy_of(mailbox, message, &mut upload).await?;
        let structure = describer.finish_into(&mut upload);
        // RFC 6785 §3.4: what is sent is sent by the owner of the mailbox.
        let mut envelope = Envelope::default();
        envelope.from = Some(event.owner.as_str().to_owned());
        let id = queue_id().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let date = now();
        let mail = Mail::new(&event.owner, &mut upload, Arc::new(structure), envelope, &id, (date, 0));
        let mut mail = mail.with_given(given);
        mail.event = Some(Happened {
            user: event.user.as_str().to_owned(),
            cause: event.cause,
            mailbox: event.mailbox.to_string(),
            changed: words(changed).join(" "),
            flags: words(&message.flags),
        });
        let handled = self.filter.handle(&mut mail, vec![program]).await;
        self.do_to_stored(&event.owner, (mailbox, message), (&mut upload, &id, date), handled, given).await
    }

    /// Does what is to be done with a message that is in a mailbox, for whom its scripts are. `copy` is its octets, its name in the log, and
    /// this moment.
    ///
    /// # Errors
    /// The store's; [`Conflict`](StoreError::Conflict) if the scripts are to be run again, and nothing has happened.
    async fn do_to_stored(
        &self,
        owner: &User,
        (mailbox, message): (&MailboxRef, &Message),
        (upload, id, date): (&mut Upload, &str, DateTime),
        mut handled: Handled,
        given: &Given,
    ) -> Result<()> {
        let copies = std::mem::take(&mut handled.filtered.filings);
        let mut parts = Parts::default();
        // How a message came that lies in a mailbox is not known any more.
        let (within, require_tls) = (None, false);
        let work = Work { inbox: self, id, date, depth: 0, account: owner, within, require_tls, given };
        work.make(owner, upload, &mut handled.filtered, &mut parts).await;
        let rows = copies.iter().enumerate().filter_map(|(target, copy)| copy.row(target)).collect();
        let targets: Vec<Target> = copies
            .into_iter()
            .map(|copy| {
                let owner = copy.owner.as_ref().unwrap_or(owner).clone();
                let target = Target::new(owner, copy.mailbox, message.internal_date);
                target.with_flags(copy.flags)
            })
            .collect();
        let (batch, seen) = (Batch::to(targets).with_rows(rows), std::mem::take(&mut handled.filtered.seen));
        while !(batch.targets.is_empty() && parts.is_empty() && seen.is_empty()) {
            match self.commit_with(id, upload, &mut batch.clone(), &mut parts, &seen).await {
                Ok(()) => break,
                Err(fault) if fault.is_conflict() => return Err(StoreError::Conflict),
                Err(Fault::Message(failed)) => return Err(failed.error),
                Err(Fault::Part(number, error)) => {
                    tracing::error!(id, user = %owner, %error, "what the filter made cannot be sent");
                    if parts.leave_out(number).is_some() {
                        keep_instead(&mut handled.filtered);
                    }
                }
            }
        }
        // What could not be sent on is kept.
        handled.stay_instead_of_inbox();
        let change = match handled.flags {
            // RFC 6785 §2.2.4
            _ if !handled.kept => FlagChange::new(FlagOperation::Add, FlagSet::from_iter([Flag::Deleted])),
            Some(flags) if flags != message.flags => FlagChange::new(FlagOperation::Replace, flags),
            _ => return Ok(()),
        };
        // RFC 6785 §2.2.3: that is no event.
        self.stored_writer()?.store_flags(mailbox, &UidSet::from(message.uid), &change).await.map(drop)
    }

    /// Runs scripts on a message that is here already.
    async fn run_again(
        &self,
        place: &Filtering,
        uid: Uid,
        scripts: &[Arc<Program>],
        given: &Given,
    ) -> Result<Option<FilterResult>> {
        let Filtering { user, owner, mailbox: name, .. } = place;
        let snapshot = self.store.open(owner, name).await?;
        let mailbox = MailboxRef::new(owner.clone(), name.clone(), &snapshot);
        // Gone meanwhile: there is nothing to filter.
        let Some(message) = snapshot.message(uid) else { return Ok(None) };
        let mut upload = self.stored_writer()?.begin(Some(message.size)).await?;
        let describer = self.copy_of(&mailbox, message, &mut upload).await?;
        let structure = describer.finish_into(&mut upload);
        let header = structure.part(0).map_or(0..0, |root| root.header());
        let (from, skip) = return_path(&mut upload, header.end).await?;
        let mut envelope = Envelope::default();
        // draft-bosch-imap-filter-sieve §5: as good as it can be told.
        envelope.from = from;
        envelope.to = Some(user.as_str().to_owned());
        let id = queue_id().map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let date = now();
        let mail = Mail::new(user, &mut upload, Arc::new(structure), envelope, &id, (date, skip));
        let mut mail = mail.with_given(given);
        let again = Again { place: place.clone(), flags: message.flags.clone() };
        let (handled, result) = self.filter.handle_again(&mut mail, &again, scripts.to_vec()).await;
        self.do_to_stored(user, (&mailbox, message), (&mut upload, &id, date), handled, given).await?;
        Ok(result)
    }

    fn stored_writer(&self) -> Result<&(impl Write + use<'_, S, R, M>)> {
        self.store.writer().ok_or_else(|| StoreError::ReadOnly("the store takes no mail".into()))
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
            let chunk = octets_of(&self.store, &reference, offset..message.size.min(offset + PIECE)).await?;
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

/// Who sent a message, as the delivery noted it in front (RFC 5321 §4.4), and how many octets that note has.
async fn return_path(upload: &mut Upload, header: u64) -> Result<(Option<String>, u64)> {
    const LONGEST: u64 = 1024;
    let front = upload.read(0..header.min(LONGEST)).await?;
    let is_there = front.get(..12).is_some_and(|name| name.eq_ignore_ascii_case(b"Return-Path:"));
    let end = front.windows(2).position(|pair| pair == b"\r\n").filter(|_| is_there).map(|at| at + 2);
    let Some(line) = end.and_then(|end| front.get(12..end)) else { return Ok((None, 0)) };
    let path = String::from_utf8_lossy(line).trim().trim_matches(['<', '>']).to_owned();
    Ok((Some(path), end.unwrap_or(0) as u64))
}
