//! Members of groups who cannot get a message that the others get.

use mailwright_mail_model::{Address, ForwardPath};
use mailwright_mailstore::{QueueEntry, User};
use mailwright_relay_policy::directory::{Expansion, OnwardReason};
use mailwright_smtp_proto::Reply;

use super::{Origin, Way, wishes::Bound, wishes::Passes};
use crate::queue::UNDELIVERED;

/// An account that a recipient leads to, and that does not get the message.
#[derive(Debug, Clone)]
pub(super) struct LeftOut {
    recipient: usize,
    account: Address,
    reply: Reply,
}

impl Way {
    /// The recipient that the message is sent on for by an alias or a forward, if it is the only one: others need not hear of it
    /// (RFC 5321 §7.2). What is handed to files and programs tells of it anyway.
    pub(crate) fn sent_on_for(&self) -> Option<&Address> {
        match &self.recipients[..] {
            [(to, Ok(expansion))] if sends_on(expansion) => to.address(),
            _ => None,
        }
    }

    /// Recipients for whom the message was `sent_on` before, and would be again, are refused: it goes round between servers that forward
    /// to each other. Where one reply stands for others who get it, they are left out, and the sender hears of it.
    pub(crate) fn end_loops(&mut self, sent_on: &[String], each: bool) {
        if sent_on.is_empty() {
            return;
        }
        let goes_round = |(to, expansion): &(ForwardPath, Result<Expansion, Reply>)| {
            let before = |address: &Address| sent_on.contains(&address.as_str().to_lowercase());
            expansion.as_ref().is_ok_and(forwards) && to.address().is_some_and(before)
        };
        let alone = self.recipients.iter().all(|one| goes_round(one) || one.1.is_err());
        for (index, one) in self.recipients.iter_mut().enumerate().filter(|(_, one)| goes_round(one)) {
            let Some(account) = one.0.address().cloned() else { continue };
            let text = format!("<{account}>: mail for it goes round in a loop: it was sent on for it before");
            let reply = Reply::permanent((4, 6), text);
            one.1 = match each || alone {
                true => Err(reply),
                false => {
                    self.left_out.push(LeftOut { recipient: index, account, reply });
                    Ok(Expansion::default())
                }
            };
        }
    }

    /// Goes on without an account that refused, with what the client is told of those recipients that lead to nobody else.
    /// Gives whether it led there at all.
    ///
    /// One reply for a group cannot tell that some of its members have the message. So a member who can never get it is left out
    /// and reported on; if there is hope, the recipient is refused for now.
    pub(crate) fn leave_out(&mut self, account: &User, reply: &Reply) -> bool {
        let mut concerned = false;
        let leads = |expansion: &Expansion| {
            expansion.deliveries.iter().any(|delivery| delivery.account == account.as_str())
        };
        for (index, (_, expansion)) in self.recipients.iter_mut().enumerate() {
            let Some(led) = expansion.as_mut().ok().filter(|expansion| leads(expansion)) else { continue };
            concerned = true;
            led.deliveries.retain(|delivery| delivery.account != account.as_str());
            let address = account.as_str().parse().ok();
            match address.filter(|_| reply.is_permanent() && !led.is_empty()) {
                Some(account) => {
                    self.left_out.push(LeftOut { recipient: index, account, reply: reply.clone() });
                }
                None => *expansion = Err(reply.clone()),
            }
        }
        // The message goes without blind copies that cannot be made.
        for (_, expansion) in self.copies.iter_mut().filter(|(_, expansion)| leads(expansion)) {
            concerned = true;
            expansion.deliveries.retain(|delivery| delivery.account != account.as_str());
        }
        let recipients = &self.recipients;
        self.left_out.retain(|left_out| {
            recipients.get(left_out.recipient).is_some_and(|(_, expansion)| expansion.is_ok())
        });
        concerned
    }

    /// Goes on without an account, of which nobody is told. Gives whether anybody is left.
    pub(crate) fn go_without(&mut self, account: &User) -> bool {
        let expansions = self.recipients.iter_mut().filter_map(|(_, expansion)| expansion.as_mut().ok());
        expansions.fold(false, |left, expansion| {
            expansion.deliveries.retain(|delivery| delivery.account != account.as_str());
            left || !expansion.is_empty()
        })
    }
}

/// Whether something goes on by an alias or a forward.
fn forwards(expansion: &Expansion) -> bool {
    sends_on(expansion) || !expansion.handed.is_empty()
}

fn sends_on(expansion: &Expansion) -> bool {
    expansion.onward.iter().any(|onward| matches!(onward.reason, OnwardReason::Forward(_)))
}

/// The entry of the queue by which the sender hears of them, in the same commit as what the others get.
pub(super) fn news(left_out: &[LeftOut], origin: &Origin<'_>) -> Option<QueueEntry> {
    origin.message.mail.from.address().filter(|_| !left_out.is_empty())?;
    let mut entry = origin.entry(origin.message.mail.from.clone(), UNDELIVERED.to_owned());
    let told = left_out.iter().map(|left_out| {
        let bound = Bound {
            to: left_out.account.clone(),
            recipient: left_out.recipient,
            passes: Passes::Trouble,
            renamed: true,
        };
        let mut queued = bound.queued(origin.message);
        queued.last_error = Some(left_out.reply.to_string().trim_end().to_owned());
        queued
    });
    entry.recipients = told.collect();
    Some(entry)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use mailwright_mail_model::{DateTime, ReversePath};
    use mailwright_relay_policy::{
        directory::{Delivery, Onward},
        route::RouteTable,
    };
    use mailwright_smtp_proto::{Mail, Message, Rcpt};

    use super::*;
    use crate::smtp::Times;
    use crate::smtp::plan::Plan;

    const FULL: (u16, u16) = (2, 2);

    fn path(address: &str) -> ForwardPath {
        ForwardPath::Address(address.parse().unwrap())
    }

    /// A way to a group of these, and to each of them alone.
    fn way(members: &[&str], alone: &[&str]) -> Way {
        let mut way = Way::default();
        let mut group = Expansion::default();
        group.deliveries.extend(members.iter().map(|member| Delivery::new(*member)));
        way.recipients.push((path("staff@a.example"), Ok(group)));
        for one in alone {
            way.recipients.push((path(one), Ok(Expansion::to(Delivery::new(*one)))));
        }
        way
    }

    /// What is reported, as "address, what it was called, what was said".
    fn reported(way: &Way, sender: &[u8]) -> Vec<(String, String, String)> {
        let sender = ReversePath::parse(sender).unwrap();
        let recipients = way.recipients.iter().map(|(to, _)| Rcpt::new(to.clone())).collect();
        let message = Message::new(Mail::new(sender.clone()), recipients);
        let date = DateTime::new(7, 0).unwrap();
        let (user, id, skip, eight_bit, message_id) = (None, "1D", 0, false, None);
        let times = Times::default();
        let origin = Origin { message: &message, user, id, date, skip, eight_bit, message_id, times };
        let plan = Plan::new(&sender, way).unwrap();
        let entries = plan.batch(&origin, &HashMap::new(), &RouteTable::default()).0.queue;
        let told = entries.into_iter().filter(|entry| entry.destination == UNDELIVERED);
        let text = |text: Option<String>| text.unwrap_or_default();
        told.flat_map(|entry| entry.recipients)
            .map(|one| (one.address.to_string(), text(one.original), text(one.last_error)))
            .collect()
    }

    #[test]
    fn a_full_member_is_left_out_and_reported() {
        let mut way = way(&["ann@a.example", "bob@a.example"], &["bob@a.example"]);
        let bob = User::new("bob@a.example").unwrap();
        let full = Reply::permanent(FULL, "The mailbox is full");
        assert!(way.leave_out(&bob, &full));
        let here = |way: &Way| -> Vec<_> {
            way.recipients.iter().map(|(_, led)| led.as_ref().map(|led| led.deliveries.len()).ok()).collect()
        };
        assert_eq!(here(&way), [Some(1), None], "whoever is addressed alone is refused");
        let said = "550 5.2.2 The mailbox is full".to_owned();
        let group = "rfc822;staff@a.example".to_owned();
        assert_eq!(reported(&way, b"<eve@c.example>"), [("bob@a.example".to_owned(), group, said)]);
        assert_eq!(reported(&way, b"<>"), [], "nobody hears of what happened to a report");
        // When the last one is full too, the reply says so, and nothing else does.
        assert!(way.leave_out(&User::new("ann@a.example").unwrap(), &full));
        assert_eq!(here(&way), [None, None]);
        assert_eq!(reported(&way, b"<eve@c.example>"), []);
        assert!(!way.leave_out(&bob, &full), "it leads there no more");
    }

    /// What is forwarded, and kept, for each of these.
    fn forwarding(names: &[&str]) -> Way {
        let mut way = Way::default();
        for name in names {
            let mut expansion = Expansion::to(Delivery::new(*name));
            expansion.onward.push(Onward::forwarded("away@b.example".parse().unwrap(), *name));
            way.recipients.push((path(name), Ok(expansion)));
        }
        way
    }

    #[test]
    fn who_was_sent_on_for_before_is_not_again() {
        let before = ["ann@a.example".to_owned(), "eve@c.example".to_owned()];
        let refused = |way: &Way| way.recipients.iter().map(|(_, led)| led.is_err()).collect::<Vec<_>>();
        let mut alone = forwarding(&["Ann@a.example"]);
        alone.end_loops(&before, false);
        assert_eq!(refused(&alone), [true]);
        for (each, expected) in [(true, [true, false]), (false, [false, false])] {
            let mut both = forwarding(&["ann@a.example", "bob@a.example"]);
            both.end_loops(&before, each);
            assert_eq!(refused(&both), expected);
            let told = reported(&both, b"<eve@c.example>");
            assert_eq!(told.len(), usize::from(!each), "{told:?}");
            assert!(
                told.iter().all(|(who, _, said)| who == "ann@a.example" && said.starts_with("550 5.4.6")),
                "{told:?}"
            );
            let kept = both.recipients[1].1.as_ref().map(|led| led.deliveries.len());
            assert_eq!(kept, Ok(1));
        }
        // Who keeps all of it is no loop.
        let mut kept = way(&[], &["ann@a.example"]);
        kept.end_loops(&before, false);
        assert!(kept.recipients[1].1.is_ok());
    }

    #[test]
    fn who_is_sent_on_for_is_named_if_there_is_no_other() {
        assert_eq!(forwarding(&["ann@a.example"]).sent_on_for().map(Address::as_str), Some("ann@a.example"));
        assert_eq!(forwarding(&["ann@a.example", "bob@a.example"]).sent_on_for(), None);
        let mut kept = way(&[], &["ann@a.example"]);
        drop(kept.recipients.remove(0));
        assert_eq!(kept.sent_on_for(), None);
    }

    #[test]
    fn where_there_is_hope_the_group_waits() {
        let mut way = way(&["ann@a.example", "bob@a.example"], &[]);
        let later = Reply::transient(FULL, "later");
        assert!(way.leave_out(&User::new("bob@a.example").unwrap(), &later));
        assert_eq!(way.recipients[0].1, Err(later));
        assert_eq!(reported(&way, b"<eve@c.example>"), []);
    }
}
