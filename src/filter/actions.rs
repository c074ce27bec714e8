//! From what a script says to what is done.

use std::sync::Mutex;

use mailwright_mail_model::{Address, FlagSet, MailboxName, ReversePath, SpecialUse};
use mailwright_mailstore::{
    Deadline, Folders, Mailbox, ReturnContent, Right, Store, StoreError, Upload, User,
};
use mailwright_sieve::{
    Action, DeliverBy, Delivery, Message, Notify, Outcome, Redirect, Reject, Report, Segment, Snooze,
    compose::{Mailto, Stamp},
    redirect::{self, Verdict},
    vacation::Reply,
};

use super::{
    Filing, Filtered, Made, Mail, Refused, Remember, SieveFilter, Zone, header_of,
    lists::{Consulted, MOST_RECIPIENTS},
    pipes,
    snooze::waiting_room,
    user_log::one_line,
};
use crate::imap::{ForeignNames, Located, permitted};

/// RFC 6009 §5: what a script says of time, from now on.
fn deadline(by: &DeliverBy, now: i64) -> Deadline {
    let at = u64::try_from(now.saturating_add(by.seconds)).unwrap_or(0);
    Deadline::new(at, by.mode.eq_ignore_ascii_case("return"), by.trace)
}

/// Makes a plan of an outcome. What is to be remembered is part of it: if the message cannot be taken, its next try is its first one.
pub(super) async fn carry_out<S: Store, M: Remember>(
    filter: &SieveFilter<S, M>,
    mail: &mut Mail<'_>,
    mut outcome: Outcome,
    mut sources: Vec<Mutex<Upload>>,
) -> Filtered {
    let user = mail.account.as_str().to_owned();
    if let Some(error) = &outcome.error {
        // What scripts say may have line ends in it, which would look like lines of the server's own.
        let error = one_line(&error.to_string());
        tracing::warn!(id = mail.id, user, error, "the sieve script failed; the message is kept");
    }
    for line in &outcome.log {
        let message = one_line(&line.message);
        tracing::info!(id = mail.id, user, line = line.position.line, message, "sieve");
    }
    let said = outcome.log.iter().map(|line| format!("line {}: {}", line.position.line, line.message));
    let failed = outcome.error.iter().map(|error| format!("{error}; the message is kept"));
    filter.tell(mail.account, mail.now, said.chain(failed).collect::<Vec<_>>()).await;
    pipes::give(filter, mail, &mut outcome, &mut sources).await;
    let mut work = Work { filter, made: 0, header: None, filtered: Filtered::default() };
    for action in outcome.actions {
        work.act(mail, action).await;
    }
    work.filtered.sources = sources;
    let now = u64::try_from(mail.now.seconds()).unwrap_or(0);
    let seen = outcome.seen.iter().map(|seen| {
        filter.seen(mail.account, &seen.key, (now, now.saturating_add(seen.seconds)), seen.known)
    });
    work.filtered.seen = seen.collect();
    work.filtered
}

struct Work<'f, S, M> {
    filter: &'f SieveFilter<S, M>,
    /// How many messages were made, for their identifiers.
    made: u32,
    header: Option<Vec<u8>>,
    filtered: Filtered,
}

impl<S: Store, M: Remember> Work<'_, S, M> {
    async fn act(&mut self, mail: &mut Mail<'_>, action: Action) {
        match action {
            Action::Keep(delivery) | Action::FileInto(delivery) => self.file(mail, delivery).await,
            Action::Redirect(redirect) => self.redirect(mail, redirect).await,
            Action::Reject(reject) => self.reject(mail, &reject).await,
            Action::Vacation(reply) => self.vacation(mail, *reply).await,
            Action::Notify(notify) => self.notify(mail, *notify).await,
            Action::Report(report) => self.report(mail, &report),
            Action::Snooze(snooze) => self.snooze(mail, *snooze).await,
            // Given already.
            Action::Pipe(_) => {}
            other => {
                // None of the extensions of this filter has others.
                tracing::error!(id = mail.id, user = %mail.account, ?other, "an action of sieve is not known; the message is kept");
                self.filtered.filings.push(Filing::inbox());
            }
        }
    }

    /// Puts the message, or what the script made of it, into a mailbox.
    async fn file(&mut self, mail: &mut Mail<'_>, delivery: Delivery) {
        let place = mail.again.as_ref().map(|again| &again.place).filter(|place| place.is_foreign());
        if let Some(place) = place.filter(|place| is_named(&delivery, &place.name)) {
            // What a script made of a message comes beside it, whosever mailbox that is.
            let flags = place.permitted(&flags(&delivery));
            let mut filing = Filing::new(place.mailbox.clone(), flags);
            filing.owner = Some(place.owner.clone());
            return self.put(delivery.message, filing);
        }
        let filing = self.filing(mail, &delivery).await;
        self.put(delivery.message, filing);
    }

    fn put(&mut self, message: Message, mut filing: Filing) {
        if message.is_original() {
            // RFC 5228 §2.10.3: once, however often it is said; the last flags hold (RFC 5232 §5).
            let same = |other: &Filing| other.mailbox == filing.mailbox && other.owner == filing.owner;
            let before = self.filtered.filings.iter().position(same);
            if let Some(before) = before.map(|place| self.filtered.filings.remove(place)) {
                filing.note = filing.note.or(before.note);
            }
            self.filtered.filings.push(filing);
        } else {
            self.filtered.made.push(Made::filed(message, filing));
        }
    }

    /// Puts it where it waits for its time. If it cannot wait, it goes at once to where it would have come back.
    async fn snooze(&mut self, mail: &mut Mail<'_>, mut snooze: Snooze) {
        let SieveFilter { store, options, .. } = self.filter;
        // What zone is meant that nobody knows, nobody can tell: it is as if it were not said.
        let named = snooze.zone.as_deref().map(Zone::new).transpose().unwrap_or_else(|error| {
            tracing::info!(id = mail.id, user = %mail.account, %error, "a script snoozes in a zone that is not known");
            None
        });
        let zone = named.as_ref().unwrap_or(&options.zone);
        let at = zone.next(mail.now.seconds(), &snooze.weekdays, &snooze.times);
        let noted = options.snooze.as_ref().zip(at.and_then(|at| u64::try_from(at).ok()));
        let room = waiting_room(store, mail.account).await;
        let Some(((snoozing, at), room)) = noted.zip(room) else {
            tracing::warn!(id = mail.id, user = %mail.account, "the message cannot be snoozed");
            return self.file(mail, snooze.awaken).await;
        };
        if let Some(name) = foreign(&self.filter.names, store, &snooze.awaken) {
            // It waits in the user's own mail, and that is where it is moved.
            let text = format!("\"{name}\" is not the user's own: the snoozed message comes back into INBOX");
            self.filter.tell(mail.account, mail.now, [text]).await;
            snooze.awaken.mailbox = None;
        }
        let mut filing = Filing::new(room, flags(&snooze.awaken));
        filing.note = Some(snoozing.note(mail.account, at, &snooze));
        self.put(snooze.awaken.message, filing);
    }

    /// The mailbox that is meant, made if need be, and the flags there; INBOX if there is no way to have it.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "an upload cannot be shared between threads")]
    async fn filing(&self, mail: &mut Mail<'_>, delivery: &Delivery) -> Filing {
        let SieveFilter { store, names, .. } = self.filter;
        let user = mail.account;
        let flags = flags(delivery);
        let foreign = foreign(names, store, delivery);
        let Some(name) = foreign else {
            let found = match mailbox_for(store, user, delivery).await {
                Ok(found) => found,
                Err(why) => {
                    tracing::warn!(id = mail.id, %user, why = one_line(&why), "the message goes into INBOX");
                    self.filter.tell(user, mail.now, [format!("{why}; the message goes into INBOX")]).await;
                    MailboxName::inbox()
                }
            };
            return Filing::new(found, flags);
        };
        // What else it is known by comes first, and is the user's own.
        let mut own = delivery.clone();
        (own.mailbox, own.create) = (None, false);
        if let Ok(known) = mailbox_for(store, user, &own).await
            && !known.is_inbox()
        {
            return Filing::new(known, flags);
        }
        match elsewhere(names, store, user, &name, delivery.create).await {
            Ok(located) => {
                let mut filing = Filing::new(located.name, permitted(located.rights, &flags));
                filing.owner = Some(located.owner);
                filing
            }
            Err(error) => {
                tracing::warn!(id = mail.id, %user, %name, %error, "the script files into a mailbox of others that it may not; the message goes into INBOX");
                let text = format!("\"{name}\": {error}; the message goes into INBOX");
                self.filter.tell(user, mail.now, [text]).await;
                Filing::new(MailboxName::inbox(), flags)
            }
        }
    }

    async fn redirect(&mut self, mail: &mut Mail<'_>, redirect: Redirect) {
        if !redirect.list {
            return self.redirect_to(mail, &redirect, &redirect.address).await;
        }
        // RFC 6134 §2.5: to every member.
        let lists = self.filter.options.lists.as_ref();
        let members = Consulted::default().members(lists, mail.account, &redirect.address).await;
        let problem = match &members {
            Ok(Some(members)) => match members.recipients() {
                Some(recipients) => {
                    let mut any = false;
                    for recipient in recipients {
                        any = true;
                        self.redirect_to(mail, &redirect, recipient).await;
                    }
                    if any {
                        return;
                    }
                    "nobody is in it".to_owned()
                }
                None => format!("expected at most {MOST_RECIPIENTS} addresses in it"),
            },
            Ok(None) => "there is no such list".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(id = mail.id, user = %mail.account, list = redirect.address, problem, "not redirected to a list; the message is kept");
        self.keep();
    }

    async fn redirect_to(&mut self, mail: &mut Mail<'_>, redirect: &Redirect, address: &str) {
        let header = self.header(mail).await;
        let own = [mail.account.as_str().to_owned()];
        let to = match (redirect::verdict(&header, address, &own), address.parse::<Address>()) {
            (Verdict::Send, Ok(to)) => to,
            (verdict, _) => {
                if verdict != Verdict::Loop || self.filtered.filings.is_empty() {
                    self.keep();
                }
                return;
            }
        };
        let mut segments = vec![Segment::Octets(redirect::trace_field(mail.account.as_str()).into())];
        // Return-Path is for mailboxes only.
        let skipped = if redirect.message.is_original() { mail.skip } else { 0 };
        segments.extend(without_front(&redirect.message, skipped));
        // RFC 5228 §4.2 leaves the sender of the envelope to the server: bounces go to whoever wrote it.
        let mut made = Made::sent(segments.into_iter().collect(), self.sender(mail), to);
        made.forwarded = true;
        made.notify = redirect.notify.as_deref().map(wanted);
        made.return_content = redirect.ret.as_deref().map(|content| match content {
            "HDRS" | "hdrs" => ReturnContent::Headers,
            _ => ReturnContent::Full,
        });
        made.deadline = redirect.by.as_ref().map(|by| deadline(by, mail.now.seconds()));
        self.filtered.made.push(made);
    }

    async fn reject(&mut self, mail: &mut Mail<'_>, reject: &Reject) {
        let header = self.header(mail).await;
        let stamp = self.stamp(mail);
        let message = Message::original(mail.structure.octets());
        let notice = reject.notification(&header, &mail.envelope, &message, &stamp);
        let to = mail.envelope.from.as_deref().and_then(|sender| sender.parse::<Address>().ok());
        let notice = notice
            .zip(to)
            .map(|(notice, to)| Box::new(Made::sent(notice, ReversePath::Null, to).automatic()));
        // RFC 5429 §2.1: `ereject` would rather be early than exact.
        let exact = !reject.at_protocol_level;
        self.filtered.refusal = Some(Refused { reason: reject.reason.clone(), notice, exact });
    }

    async fn vacation(&mut self, mail: &mut Mail<'_>, reply: Reply) {
        let now = u64::try_from(mail.now.seconds()).unwrap_or(0);
        let memory = &self.filter.memory;
        let Ok(to) = reply.recipient.parse::<Address>() else { return };
        match memory.remembers(mail.account, &reply.key, now) {
            Ok(false) => {}
            Ok(true) => return,
            Err(error) => {
                tracing::error!(id = mail.id, user = %mail.account, %error, "no vacation answer: nobody knows who had one");
                return;
            }
        }
        let message = reply.message(&self.stamp(mail));
        let mut made = Made::sent(message, ReversePath::Null, to).automatic();
        let until = now.saturating_add(reply.seconds);
        made.seen = Some(self.filter.seen(mail.account, &reply.key, (now, until), false));
        if let Some(delivery) = &reply.fcc {
            made.filings.push(self.filing(mail, delivery).await);
        }
        self.filtered.made.push(made);
    }

    async fn notify(&mut self, mail: &mut Mail<'_>, notify: Notify) {
        let Some(mailto) = Mailto::parse(&notify.method) else { return };
        let about = (&*notify.about.0, &*notify.about.1);
        let message = mailto.message(&notify, &self.stamp(mail), mail.account.as_str(), about);
        let filing = match &notify.fcc {
            Some(delivery) => Some(self.filing(mail, delivery).await),
            None => None,
        };
        for (index, recipient) in mailto.recipients.iter().enumerate() {
            let Ok(to) = recipient.parse::<Address>() else { continue };
            let mut made = Made::sent(message.clone(), ReversePath::Null, to).automatic();
            made.filings.extend(filing.clone().filter(|_| index == 0));
            self.filtered.made.push(made);
        }
    }

    /// Reports abuse. It is no automatic answer to the sender, but nobody is told either if it cannot be sent.
    fn report(&mut self, mail: &Mail<'_>, report: &Report) {
        let Ok(to) = report.recipient.parse::<Address>() else { return };
        let octets = mail.structure.octets();
        let header = mail.structure.part(0).map_or(0, |root| root.header().end.saturating_sub(mail.skip));
        let original: Message = without_front(&Message::original(octets), mail.skip).into_iter().collect();
        let stamp = self.stamp(mail);
        let message = report.message(&original, header, &mail.envelope, &stamp);
        self.filtered.made.push(Made::sent(message, ReversePath::Null, to).automatic());
    }

    fn keep(&mut self) {
        if !self.filtered.filings.iter().any(Filing::is_own_inbox) {
            self.filtered.filings.push(Filing::inbox());
        }
    }

    fn sender(&self, mail: &Mail<'_>) -> ReversePath {
        // Long after it came, it is the owner of the mailbox who sends it on (draft-bosch-imap-filter-sieve §4.3).
        let sender = match mail.again {
            Some(_) => Some(mail.account.as_str()),
            None => mail.envelope.from.as_deref(),
        };
        let sender = sender.and_then(|sender| sender.parse().ok());
        sender.map_or(ReversePath::Null, ReversePath::Address)
    }

    fn stamp(&mut self, mail: &Mail<'_>) -> Stamp {
        self.made += 1;
        let id = format!("<{}.{}@{}>", mail.id, self.made, self.filter.hostname);
        Stamp::new(mail.now, id, format!("<{}>", mail.account))
    }

    /// The message's header, as far as it is looked at.
    async fn header(&mut self, mail: &mut Mail<'_>) -> Vec<u8> {
        if let Some(header) = &self.header {
            return header.clone();
        }
        let header = header_of(mail.upload, &mail.structure).await;
        self.header = Some(header.clone());
        header
    }
}

/// The mailbox of others that a script names, if it does.
fn foreign<S: Store>(names: &ForeignNames, store: &S, delivery: &Delivery) -> Option<MailboxName> {
    let name = delivery.mailbox.as_ref()?.parse().ok()?;
    Some(name).filter(|name| names.is_foreign(store, name))
}

/// A mailbox of others, if the user may put mail into it; made if that is wanted and allowed.
pub(super) async fn elsewhere<S: Store>(
    names: &ForeignNames,
    store: &S,
    user: &User,
    name: &MailboxName,
    create: bool,
) -> Result<Located, StoreError> {
    let mut found = names.locate(store, user, name).await;
    if let (Err(StoreError::NotFound), true, Some(folders)) = (&found, create, store.folders()) {
        let new = names.locate_new(store, user, name, |rights| rights).await?;
        folders.create(&new.owner, &new.name, None).await?;
        // Whoever makes a mailbox below one has its rights there (RFC 4314 §5.1.1).
        found = Ok(new);
    }
    let located = found?;
    // RFC 4314 §4: `p` is to send mail into it, which is what delivers this; `i` is to put it there oneself.
    match located.rights.contains(Right::Post) {
        true => Ok(located),
        false => located.allowing(Right::Insert),
    }
}

/// The mailbox of the user's own that is meant, made if need be; why not if there is no way to have it.
pub(super) async fn mailbox_for<S: Store>(
    store: &S,
    user: &User,
    delivery: &Delivery,
) -> Result<MailboxName, String> {
    let mailboxes: Vec<Mailbox> = store.mailboxes(user).await.unwrap_or_default();
    if let Some(id) = &delivery.mailbox_id
        && let Some(found) =
            mailboxes.iter().find(|mailbox| mailbox.id.is_some_and(|found| found.to_string() == *id))
    {
        return Ok(found.name.clone());
    }
    let special = delivery.special_use.as_ref().and_then(|attribute| attribute.parse::<SpecialUse>().ok());
    if let Some(found) = mailboxes.iter().find(|mailbox| special.is_some() && mailbox.special_use == special)
    {
        return Ok(found.name.clone());
    }
    let Some(name) = &delivery.mailbox else { return Ok(MailboxName::inbox()) };
    let Ok(name) = name.parse::<MailboxName>() else {
        return Err(format!("\"{name}\" is no name of a mailbox"));
    };
    let exists = |name: &MailboxName| mailboxes.iter().any(|mailbox| mailbox.name == *name);
    if exists(&name) {
        return Ok(name);
    }
    // RFC 9051 §5.1: none is made with a name that is not in NFC. Here nobody is there to be told so: what looks the same is the same one.
    if delivery.create
        && let Ok(name) = name.normalized()
        && let Some(folders) = store.folders()
        && (exists(&name) || folders.create(user, &name, special).await.is_ok())
    {
        return Ok(name);
    }
    Err(format!("there is no mailbox \"{name}\""))
}

/// Whether that is where a script files a message, and it says so by its name.
pub(super) fn is_named(delivery: &Delivery, mailbox: &MailboxName) -> bool {
    let named = delivery.mailbox.as_ref().and_then(|name| name.parse::<MailboxName>().ok());
    let is_it = |named: MailboxName| {
        named == *mailbox || (delivery.create && named.normalized().is_ok_and(|named| named == *mailbox))
    };
    delivery.mailbox_id.is_none() && delivery.special_use.is_none() && named.is_some_and(is_it)
}

/// The values of NOTIFY (RFC 3461 §4.1).
fn wanted(words: &[String]) -> mailwright_mailstore::Notify {
    let has = |wanted: &str| words.iter().any(|word| word.eq_ignore_ascii_case(wanted));
    if has("NEVER") {
        return mailwright_mailstore::Notify::NEVER;
    }
    mailwright_mailstore::Notify::asked(has("SUCCESS"), has("FAILURE"), has("DELAY"))
}

fn flags(delivery: &Delivery) -> FlagSet {
    let flags = delivery.flags.iter().flatten();
    flags.filter_map(|flag| flag.parse().ok()).collect()
}

/// The segments of a message but for its first octets.
fn without_front(message: &Message, mut octets: u64) -> Vec<Segment> {
    let mut rest = Vec::new();
    for segment in message.segments() {
        match segment {
            Segment::Octets(own) => {
                let cut = usize::try_from(octets).unwrap_or(usize::MAX).min(own.len());
                octets -= cut as u64;
                rest.push(Segment::Octets(own.slice(cut..)));
            }
            Segment::Source { source, range } => {
                let cut = octets.min(range.end - range.start);
                octets -= cut;
                rest.push(Segment::Source { source: *source, range: range.start + cut..range.end });
            }
            _ => {}
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use mailwright_mailstore::{
        block_on,
        embedded::{Embedded, Options},
    };

    use super::*;

    #[test]
    fn mailboxes_that_look_the_same_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path(), Options::default()).unwrap();
        let user = User::new("ann@a.example").unwrap();
        let filed = |name: &str, create: bool| {
            let mut delivery = Delivery::default();
            (delivery.mailbox, delivery.create) = (Some(name.to_owned()), create);
            let found = block_on(mailbox_for(&store, &user, &delivery));
            let mailbox = found.unwrap_or_else(|_| MailboxName::inbox());
            assert_eq!(is_named(&delivery, &mailbox), mailbox != MailboxName::inbox());
            mailbox.as_str().to_owned()
        };
        assert_eq!(filed("cafe\u{301}/x", false), "INBOX");
        for name in ["cafe\u{301}/x", "caf\u{e9}/x", "cafe\u{301}/x"] {
            assert_eq!(filed(name, true), "caf\u{e9}/x");
        }
        // What was there before names had to be in NFC is still found.
        let old = MailboxName::lookup("the\u{301}").unwrap();
        block_on(store.create(&user, &old, None)).unwrap();
        assert_eq!(filed("the\u{301}", true), old.as_str());
        let all = block_on(store.mailboxes(&user)).unwrap();
        let mut all: Vec<_> = all.iter().map(|mailbox| mailbox.name.as_str()).collect();
        all.sort_unstable();
        assert_eq!(all, ["INBOX", "caf\u{e9}", "caf\u{e9}/x", "the\u{301}"]);
    }
}
