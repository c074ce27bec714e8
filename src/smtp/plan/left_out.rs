//! Members of groups who cannot get a message that the others get.

use mailwright_mail_model::Address;
use mailwright_mailstore::{QueueEntry, User};
use mailwright_relay_policy::directory::Expansion;
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

    use mailwright_mail_model::{DateTime, ForwardPath, ReversePath};
    use mailwright_relay_policy::{directory::Delivery, route::RouteTable};
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

    #[test]
    fn where_there_is_hope_the_group_waits() {
        let mut way = way(&["ann@a.example", "bob@a.example"], &[]);
        let later = Reply::transient(FULL, "later");
        assert!(way.leave_out(&User::new("bob@a.example").unwrap(), &later));
        assert_eq!(way.recipients[0].1, Err(later));
        assert_eq!(reported(&way, b"<eve@c.example>"), []);
    }
}
