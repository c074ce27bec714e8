//! A whole envelope as one call: MAIL, every RCPT and DATA, in one group if the server pipelines.

use std::vec;

use mailwright_line_proto::{Closed, Misuse, Output, PeerMisbehaved, Ticket};

use super::{Addressed, Client, Event, Expected, Protocol};
use crate::{Command, Message, Rcpt, Reply};

/// An envelope under way.
#[derive(Debug)]
pub(super) struct Group {
    id: u32,
    /// The recipients that were not named yet.
    rest: vec::IntoIter<Rcpt>,
    mail: Option<Reply>,
    recipients: Vec<Reply>,
    data: Option<Reply>,
    /// For how many more recipients there is no room.
    beyond: usize,
}

type Step = Option<Output<Event>>;

impl Client {
    /// Sends the first command of the group, or all of them.
    pub(super) fn begin_group(&mut self, message: Message) -> Result<u32, Misuse> {
        if message.recipients.is_empty() {
            return Err(Misuse::Argument("a message has at least one recipient"));
        }
        let mail = self.fitting(&message.mail)?;
        let mut recipients = message.recipients;
        let room = self.capabilities.room_for(&recipients);
        let beyond = recipients.len().saturating_sub(room);
        recipients.truncate(room);
        for rcpt in &mut recipients {
            self.fit_rcpt(rcpt)?;
        }
        if !mail.parameters.smtputf8 && !recipients.iter().all(|rcpt| rcpt.to.is_ascii()) {
            return Err(Misuse::Argument("a recipient with other letters than ASCII needs SMTPUTF8"));
        }
        let id = self.number();
        (self.accepted, self.mail_answered, self.body_begun) = (0, false, false);
        self.put(&Command::Mail(mail));
        self.expect(id, Expected::GroupMail);
        self.messages = self.messages.saturating_add(1);
        let mut rest = recipients.into_iter();
        if self.capabilities.pipelining {
            // RFC 2920 §3.1: MAIL and RCPT anywhere in a group, DATA at its end
            for rcpt in rest.by_ref() {
                self.put(&Command::Rcpt(rcpt));
                self.expect(id, Expected::GroupRcpt);
            }
            if !self.way.parts {
                self.put(&Command::Data);
                self.expect(id, Expected::GroupData);
            }
        }
        self.group = Some(Group { id, rest, mail: None, recipients: Vec::new(), data: None, beyond });
        Ok(id)
    }

    /// Takes a reply to one command of the group.
    pub(super) fn take_group(&mut self, expected: &Expected, reply: Reply) -> Step {
        let group = self.group.as_mut()?;
        match expected {
            Expected::GroupMail => {
                group.mail = Some(reply);
                self.mail_answered = true;
            }
            Expected::GroupRcpt => {
                self.accepted += usize::from(reply.is_positive());
                group.recipients.push(reply);
            }
            Expected::GroupData => {
                let asked = reply.code() == 354;
                if !(asked || reply.is_transient() || reply.is_permanent()) {
                    return self.bad_reply("354 or a refusal", &reply);
                }
                let sender_refused = group.mail.as_ref().is_none_or(|mail| !mail.is_positive());
                group.data = Some(reply);
                if asked && self.accepted > 0 && sender_refused {
                    // Whoever accepts a recipient of no sender may take the dot for his message.
                    return self.give_up_group("503 to DATA without a sender");
                }
                if asked && self.accepted == 0 && self.config.protocol == Protocol::Lmtp {
                    // RFC 2033 §4.2: behind the dot there would be no reply to wait for.
                    return self.give_up_group("503 to DATA without a recipient");
                }
                if asked && self.accepted == 0 {
                    // RFC 2920 §3.1: DATA may be accepted all the same; then nothing is sent but the dot.
                    self.transmit.put(b".\r\n");
                    let id = group.id;
                    self.expect(id, Expected::GroupEmpty);
                    return None;
                }
                if asked {
                    self.open_body();
                    return self.end_group();
                }
                return self.reset_group();
            }
            Expected::GroupEmpty => return self.end_group_refused(),
            _ => return self.end_group(),
        }
        self.go_on()
    }

    /// Sends the next command of a group that is not pipelined.
    fn go_on(&mut self) -> Step {
        if !self.expected.is_empty() {
            return None;
        }
        let group = self.group.as_mut()?;
        let id = group.id;
        if group.mail.as_ref().is_some_and(|mail| !mail.is_positive()) {
            // There is no transaction to reset.
            return self.end_group();
        }
        if let Some(rcpt) = group.rest.next() {
            self.put(&Command::Rcpt(rcpt));
            self.expect(id, Expected::GroupRcpt);
        } else if self.accepted > 0 && self.way.parts {
            group.data = Some(Reply::plain(354, "By BDAT"));
            self.open_body();
            return self.end_group();
        } else if self.accepted > 0 {
            self.put(&Command::Data);
            self.expect(id, Expected::GroupData);
        } else {
            return self.reset_group();
        }
        None
    }

    /// After an empty message that the server took as an answer to its 354, there is nothing to reset; the caller
    /// must not take the 354 for a request for the body.
    fn end_group_refused(&mut self) -> Step {
        if let Some(group) = &mut self.group {
            group.data = None;
        }
        self.end_group()
    }

    /// Closes the connection, for a body is waited for that must not be sent. What was said to the envelope holds.
    fn give_up_group(&mut self, expected: &'static str) -> Step {
        let told = self.end_group_refused();
        self.close(Closed::Misbehaved(PeerMisbehaved::BadReply { expected, received: "354".to_owned() }));
        told
    }

    /// Leaves no transaction behind.
    fn reset_group(&mut self) -> Step {
        let id = self.group.as_ref()?.id;
        self.put(&Command::Rset);
        self.expect(id, Expected::GroupRset);
        None
    }

    fn end_group(&mut self) -> Step {
        let group = self.group.take()?;
        let mut recipients = group.recipients;
        // RFC 9422 §4: what the server would say
        let full = Reply::fixed(452, (4, 5, 3), "More recipients than the server takes; not sent");
        recipients.extend(std::iter::repeat_n(full, group.beyond));
        let mail = group.mail.unwrap_or(Reply::INTERNAL);
        let addressed = Addressed { mail, recipients, unnamed: group.beyond, data: group.data };
        Some(Output::Event(Event::Message(Ticket::new(group.id), addressed)))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use bytes::{Bytes, BytesMut};
    use mailwright_line_proto::Machine;
    use mailwright_mail_model::{Address, ReversePath};

    use super::*;
    use crate::{Hello, Mail, client::Config};

    /// What came of these octets, at any split.
    fn hear(client: &mut Client, text: &str) -> Vec<Event> {
        let (mut rx, mut events) = (BytesMut::new(), Vec::new());
        for octet in text.bytes() {
            rx.extend_from_slice(&[octet]);
            while let Output::Event(event) = client.poll(Instant::now(), &mut rx) {
                events.push(event);
            }
        }
        events
    }

    fn session(announced: &str) -> Client {
        let mut client = Client::new(Arc::new(Config::default()));
        hear(&mut client, "220 mx\r\n");
        client.call(Hello::new("a.example".parse().unwrap())).unwrap();
        hear(&mut client, &format!("250-mx\r\n250-{announced}\r\n250 PIPELINING\r\n"));
        client
    }

    fn message(recipients: usize) -> Message {
        let to = |number| Rcpt::new(format!("r{number}@b.example").parse::<Address>().unwrap().into());
        Message::new(Mail::new(ReversePath::Null), (0..recipients).map(to).collect())
    }

    #[test]
    fn it_tells_whether_another_message_may_follow() {
        let mut client = session("LIMITS MAILMAX=2");
        assert!(client.takes_more());
        for number in 1..=2 {
            client.call(message(1)).unwrap();
            assert!(!client.takes_more() && !client.is_mail_answered());
            assert!(!client.is_body_begun());
            hear(&mut client, "250 fine\r\n250 fine\r\n354 go on\r\n");
            assert!(!client.takes_more() && client.is_mail_answered() && client.is_body_begun());
            client.end_body().unwrap();
            hear(&mut client, "250 taken\r\n");
            assert_eq!(client.takes_more(), number == 1);
        }
        assert!(matches!(client.call(message(1)), Err(Misuse::WrongState { .. })));
        // One that refused in the middle, or said that it closes, takes no more.
        let mut client = session("SIZE");
        client.call(message(1)).unwrap();
        hear(&mut client, "250 fine\r\n250 fine\r\n354 go on\r\n");
        client.send_body(Bytes::from_static(b"Subject: x\r\n")).unwrap();
        hear(&mut client, "451 no room\r\n");
        assert!(!client.takes_more());
        for (replies, answered) in [("421 bye\r\n", false), ("250 fine\r\n421 bye\r\n", true)] {
            let mut client = session("SIZE");
            client.call(message(1)).unwrap();
            hear(&mut client, replies);
            assert_eq!((client.takes_more(), client.is_mail_answered()), (false, answered), "{replies}");
            assert!(!client.is_body_begun(), "{replies}");
        }
        let mut client = session("SIZE");
        client.call(message(1)).unwrap();
        client.handle_eof();
        hear(&mut client, " ");
        assert!(!client.takes_more() && !client.is_mail_answered());
    }

    #[test]
    fn those_who_were_not_named_are_counted() {
        for (announced, unnamed) in [("LIMITS RCPTMAX=2", 3), ("SIZE", 0)] {
            let mut client = session(announced);
            client.call(message(5)).unwrap();
            let events = hear(&mut client, &format!("{}354 go on\r\n", "250 fine\r\n".repeat(6 - unnamed)));
            let [Event::Message(_, addressed)] = &events[..] else { panic!("{events:?}") };
            assert_eq!((addressed.unnamed, addressed.recipients.len()), (unnamed, 5), "{announced}");
        }
    }
}
