//! What the sender wants to hear of each recipient (RFC 3461): what of that goes on, and what is answered here.

use mailwright_mail_model::{Address, ForwardPath};
use mailwright_mailstore::{Notify, QueueEntry, QueueRecipient, ReturnContent, ValidSince};
use mailwright_relay_policy::directory::{Expansion, Handed, Onward, OnwardReason};
use mailwright_smtp_proto::{Changed, Message, Notify as Wanted, ReturnContent as Asked};

use super::Origin;
use crate::queue::{DELIVERED, EXPANDED};

/// An address elsewhere.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) to: Address,
    /// Which recipient of the message led here; blind copies have places behind them.
    pub(super) recipient: usize,
    pub(super) passes: Passes,
    /// Whether it is another address than the recipient's own.
    pub(super) renamed: bool,
}

/// What of the sender's wishes goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passes {
    /// All: the address takes the place of the recipient.
    All,
    /// All but news of success, which is told here once (RFC 3461 §5.2.7.2).
    Trouble,
    /// Nothing: a list with an owner sends a message of its own (RFC 3461 §5.2.7.3).
    Nothing,
}

/// Whose wishes hold for an address that several recipients lead to, the strongest first. RFC 3461 §4.1: what was asked for a recipient is
/// about it alone, so that nobody who leads there as well takes that away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// It was named itself.
    Named,
    /// It takes the place of a recipient.
    Renamed,
    /// It is one of several that a recipient stands for.
    OneOfSeveral,
    /// A list sends it (RFC 3461 §5.2.7.1 (b): without anything of what was asked).
    Listed,
    /// It gets a blind copy, for which nothing was asked.
    Copied,
}

impl Claim {
    pub(super) const fn of(passes: Passes, renamed: bool, is_copy: bool) -> Self {
        match passes {
            _ if is_copy => Self::Copied,
            Passes::Nothing => Self::Listed,
            Passes::Trouble => Self::OneOfSeveral,
            Passes::All if renamed => Self::Renamed,
            Passes::All => Self::Named,
        }
    }
}

impl Passes {
    pub(super) fn of(expansion: &Expansion, onward: &Onward) -> Self {
        match onward.reason {
            OnwardReason::Forward(_) if onward.owner.is_some() => Self::Nothing,
            OnwardReason::Forward(_) if !is_renamed(expansion) => Self::Trouble,
            _ => Self::All,
        }
    }

    /// The same of a file or a program.
    pub(super) fn to_hand(expansion: &Expansion, handed: &Handed) -> Self {
        match handed.owner {
            Some(_) => Self::Nothing,
            None if is_renamed(expansion) => Self::All,
            None => Self::Trouble,
        }
    }
}

/// Whether the recipient stands for one address elsewhere, or one file or program, and for nothing else.
fn is_renamed(expansion: &Expansion) -> bool {
    expansion.deliveries.is_empty() && expansion.onward.len() + expansion.handed.len() == 1
}

impl Bound {
    /// The recipient as it waits in the queue.
    pub(super) fn queued(&self, message: &Message) -> QueueRecipient {
        let mut queued = QueueRecipient::new(self.to.clone());
        let Some(rcpt) = message.recipients.get(self.recipient) else { return queued };
        if self.passes == Passes::Nothing {
            return queued;
        }
        queued.original = rcpt.parameters.original.as_ref().map(ToString::to_string);
        // RFC 3461 §5.2.1 (e): whoever gives it another name says what the name was.
        if let (None, Some(address)) = (&queued.original, rcpt.to.address())
            && *address != self.to
            && address.is_ascii()
        {
            queued.original = Some(format!("rfc822;{address}"));
        }
        queued.notify = rcpt.parameters.notify.map_or(Notify::DEFAULT, notify);
        // RFC 7293 §7.1: whose another mailbox is the sender did not ask.
        queued.valid_since = rcpt
            .parameters
            .valid_since
            .filter(|_| !self.renamed)
            .map(|wanted| ValidSince::new(wanted.moment.seconds(), wanted.changed == Changed::Continue));
        if self.passes == Passes::Trouble {
            queued.notify.success = false;
        }
        queued
    }
}

/// What is to be told of a recipient that is reached here, if the sender wants to hear of success.
#[derive(Debug)]
pub(super) struct Fate {
    recipient: usize,
    address: Address,
    /// Whether it is delivered; else it became several addresses elsewhere.
    delivered: bool,
}

impl Fate {
    pub(super) fn of(recipient: usize, path: &ForwardPath, expansion: &Expansion) -> Option<Self> {
        let forwards = |onward: &&Onward| matches!(onward.reason, OnwardReason::Forward(_));
        let list = expansion.onward.iter().filter(forwards).any(|onward| onward.owner.is_some());
        let list = list || expansion.handed.iter().any(|handed| handed.owner.is_some());
        let here = !expansion.deliveries.is_empty();
        let several = expansion.onward.iter().filter(forwards).count() + expansion.handed.len() > 1;
        if !(here || list || several) {
            return None;
        }
        // The bare postmaster is somebody.
        let account = || expansion.deliveries.first()?.account.parse().ok();
        let address = path.address().cloned().or_else(account)?;
        Some(Self { recipient, address, delivered: here || list })
    }
}

/// Entries of the queue that are not sent but told of, in the same commit as what they tell.
pub(super) fn news(fates: &[Fate], origin: &Origin<'_>) -> Vec<QueueEntry> {
    if origin.message.mail.from.address().is_none() {
        return Vec::new();
    }
    let wants = |fate: &&Fate| {
        let rcpt = origin.message.recipients.get(fate.recipient);
        matches!(rcpt.and_then(|rcpt| rcpt.parameters.notify), Some(Wanted::On { success: true, .. }))
    };
    let entry = |(delivered, destination): (bool, &str)| {
        let told = fates.iter().filter(|fate| fate.delivered == delivered).filter(wants);
        let recipients: Vec<_> = told
            .map(|fate| {
                let (to, recipient) = (fate.address.clone(), fate.recipient);
                let bound = Bound { to, recipient, passes: Passes::All, renamed: false };
                bound.queued(origin.message)
            })
            .collect();
        if recipients.is_empty() {
            return None;
        }
        let mut entry = origin.entry(origin.message.mail.from.clone(), destination.to_owned());
        entry.recipients = recipients;
        Some(entry)
    };
    [(true, DELIVERED), (false, EXPANDED)].into_iter().filter_map(entry).collect()
}

fn notify(wanted: Wanted) -> Notify {
    match wanted {
        Wanted::On { success, failure, delay } => Notify::asked(success, failure, delay),
        _ => Notify::NEVER,
    }
}

pub(super) const fn returned(asked: Asked) -> ReturnContent {
    match asked {
        Asked::Headers => ReturnContent::Headers,
        _ => ReturnContent::Full,
    }
}

#[cfg(test)]
mod tests {
    use mailwright_mail_model::DateTime;
    use mailwright_relay_policy::{
        directory::{Account, Alias, Context, Directory, DomainEntry, Entry, NoIncludes, Settings},
        route::RouteTable,
    };
    use mailwright_smtp_proto::{Command, Syntax};

    use super::*;
    use crate::smtp::{
        Times,
        plan::{Plan, Way},
    };

    /// The entries that a message from MAIL to RCPTs makes where `alias@a.example` stands for these.
    fn entries(targets: &str, mail: &str, rcpts: &[&str]) -> Vec<QueueEntry> {
        let mut directory = Directory::new(Settings::default());
        directory.set_domain(&"a.example".parse().unwrap(), DomainEntry::default());
        directory.set(&"bob@a.example".parse().unwrap(), Entry::Account(Account::with_mailbox())).unwrap();
        let targets = targets.split(' ').map(|target| target.parse().unwrap());
        let (list, owner) = (Alias::to(targets.clone()), Alias::to(["bob@a.example".parse().unwrap()]));
        directory.set(&"owner-list@a.example".parse().unwrap(), Entry::Alias(owner)).unwrap();
        directory.set(&"list@a.example".parse().unwrap(), Entry::Alias(list)).unwrap();
        directory.set(&"alias@a.example".parse().unwrap(), Entry::Alias(Alias::to(targets))).unwrap();
        let Command::Mail(mail) = Command::parse(mail.as_bytes(), Syntax::Strict).unwrap() else { panic!() };
        let rcpts: Vec<_> = rcpts
            .iter()
            .map(|rcpt| match Command::parse(rcpt.as_bytes(), Syntax::Strict).unwrap() {
                Command::Rcpt(rcpt) => rcpt,
                other => panic!("{other:?}"),
            })
            .collect();
        let mut way = Way::default();
        for rcpt in &rcpts {
            let expansion = directory.expand(&rcpt.to, &Context::default(), &NoIncludes).unwrap();
            way.recipients.push((rcpt.to.clone(), Ok(expansion)));
        }
        let message = Message::new(mail, rcpts);
        let origin = Origin {
            message: &message,
            user: None,
            id: "1D",
            date: DateTime::new(7, 0).unwrap(),
            skip: 0,
            eight_bit: false,
            message_id: None,
            times: Times::default(),
        };
        let plan = Plan::new(&message.mail.from, &way).unwrap();
        plan.batch(&origin, &Default::default(), &RouteTable::default()).0.queue
    }

    const MAIL: &str = "MAIL FROM:<ann@c.example> RET=HDRS ENVID=QQ+2B1";

    #[test]
    fn all_goes_on_to_a_recipient_elsewhere() {
        let rcpt = "RCPT TO:<eve@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;old@b.example";
        let [entry] = &entries("x@y.example", MAIL, &[rcpt])[..] else { panic!() };
        assert_eq!(entry.envelope_id.as_deref(), Some("QQ+1"));
        assert_eq!(entry.return_content, Some(ReturnContent::Headers));
        let [recipient] = &entry.recipients[..] else { panic!() };
        assert_eq!(recipient.notify, Notify::asked(true, false, true));
        assert_eq!(recipient.original.as_deref(), Some("rfc822;old@b.example"));
    }

    #[test]
    fn a_new_name_says_what_the_old_one_was() {
        let rcpt = "RCPT TO:<alias@a.example> NOTIFY=NEVER";
        let [entry] = &entries("x@y.example", MAIL, &[rcpt])[..] else { panic!() };
        assert_eq!(entry.recipients[0].notify, Notify::NEVER);
        assert_eq!(entry.recipients[0].original.as_deref(), Some("rfc822;alias@a.example"));
    }

    #[test]
    fn success_is_told_once_where_one_became_several() {
        let made =
            entries("x@y.example z@y.example", MAIL, &["RCPT TO:<alias@a.example> NOTIFY=SUCCESS,FAILURE"]);
        let [sent, told] = &made[..] else { panic!("{made:?}") };
        assert!(
            sent.recipients.iter().all(|recipient| recipient.notify == Notify::asked(false, true, false))
        );
        assert_eq!((&*told.destination, told.recipients.len()), (EXPANDED, 1));
        assert_eq!(told.recipients[0].address.as_str(), "alias@a.example");
        // With a mailbox among them it is delivered.
        let made = entries("x@y.example bob@a.example", MAIL, &["RCPT TO:<alias@a.example> NOTIFY=SUCCESS"]);
        assert_eq!(
            made.iter().map(|entry| &*entry.destination).collect::<Vec<_>>(),
            ["y.example", DELIVERED]
        );
        assert_eq!(made[1].envelope_id.as_deref(), Some("QQ+1"));
    }

    // RFC 3461 §4.1
    #[test]
    fn what_was_asked_of_an_address_holds_whoever_else_leads_there() {
        let named = "RCPT TO:<x@b.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;old@b.example";
        for (targets, alias) in [
            // As one of several, in the place of the alias, and by a list, whose owner would have heard of it.
            ("x@b.example y@b.example", "RCPT TO:<alias@a.example> NOTIFY=DELAY"),
            ("x@b.example", "RCPT TO:<alias@a.example> NOTIFY=NEVER"),
            ("x@b.example y@b.example", "RCPT TO:<list@a.example> NOTIFY=NEVER"),
            ("x@b.example", "RCPT TO:<list@a.example>"),
        ] {
            for rcpts in [[named, alias], [alias, named]] {
                let made = entries(targets, MAIL, &rcpts);
                let mine: Vec<_> = made
                    .iter()
                    .flat_map(|entry| entry.recipients.iter().map(move |recipient| (entry, recipient)))
                    .filter(|(_, recipient)| recipient.address.as_str() == "x@b.example")
                    .collect();
                let [(entry, recipient)] = mine[..] else { panic!("{rcpts:?}: {made:?}") };
                assert_eq!(recipient.notify, Notify::asked(true, true, false), "{rcpts:?}");
                assert_eq!(recipient.original.as_deref(), Some("rfc822;old@b.example"), "{rcpts:?}");
                assert_eq!(entry.sender.to_string(), "<ann@c.example>", "{rcpts:?}");
                assert_eq!(entry.envelope_id.as_deref(), Some("QQ+1"), "{rcpts:?}");
            }
        }
        // Who takes the place of a recipient before what a list sends.
        let [alias, list] =
            ["alias", "list"].map(|name| format!("RCPT TO:<{name}@a.example> NOTIFY=FAILURE"));
        for rcpts in [[&*alias, &*list], [&*list, &*alias]] {
            for target in ["x@b.example", "/copy"] {
                let made = entries(target, MAIL, &rcpts);
                let sent = made.iter().find(|entry| !entry.destination.starts_with("report:")).unwrap();
                assert_eq!(sent.sender.to_string(), "<ann@c.example>", "{rcpts:?} {target}");
                assert_eq!(
                    sent.recipients[0].notify,
                    Notify::asked(false, true, false),
                    "{rcpts:?} {target}"
                );
            }
        }
    }

    #[test]
    fn a_program_is_told_of_when_it_has_run() {
        let rcpt = "RCPT TO:<alias@a.example> NOTIFY=SUCCESS";
        let [entry] = &entries("|filter", MAIL, &[rcpt])[..] else { panic!() };
        assert_eq!((&*entry.destination, entry.envelope_id.as_deref()), ("command::filter", Some("QQ+1")));
        assert_eq!(entry.recipients[0].address.as_str(), "alias@a.example");
        assert!(entry.recipients[0].notify.success);
        // Once, though two lead there, and with the others as several.
        let made = entries("|filter /copy /copy bob@a.example", MAIL, &[rcpt]);
        let destinations: Vec<_> = made.iter().map(|entry| &*entry.destination).collect();
        assert_eq!(destinations, ["command::filter", "file::/copy", DELIVERED]);
        assert!(!made[0].recipients[0].notify.success);
    }

    #[test]
    fn nothing_is_told_that_nobody_asked_for() {
        let bob = "RCPT TO:<bob@a.example>";
        assert_eq!(entries("x@y.example", MAIL, &[&format!("{bob} NOTIFY=SUCCESS")]).len(), 1);
        for rcpt in [bob.to_owned(), format!("{bob} NOTIFY=FAILURE"), format!("{bob} NOTIFY=NEVER")] {
            assert_eq!(entries("x@y.example", MAIL, &[&rcpt]), []);
        }
        // RFC 3461 §4: nobody hears of reports.
        assert_eq!(entries("x@y.example", "MAIL FROM:<>", &[&format!("{bob} NOTIFY=SUCCESS")]), []);
    }
}
