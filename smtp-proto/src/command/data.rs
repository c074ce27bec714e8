//! DATA (RFC 5321 §4.1.1.4): the question before the message and the one behind it.

use mailwright_line_proto::Request;

use super::{Mail, Rcpt};
use crate::Reply;

/// A message is about to come: its envelope. Accepted, it comes as a body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Who sends it.
    pub mail: Mail,
    /// The recipients that were accepted, in the order in which they were named. For LMTP, this is the order of the
    /// replies to the message.
    pub recipients: Vec<Rcpt>,
}

impl Message {
    /// An envelope, as a client calls it: MAIL, every RCPT, and DATA if one of them was accepted.
    pub fn new(mail: Mail, recipients: Vec<Rcpt>) -> Self {
        Self { mail, recipients }
    }
}

impl Request for Message {
    /// `Ok` is the 354 that asks for the body.
    type Answer = Result<(), Reply>;
}

/// The message is complete. A positive answer takes over the responsibility for it (RFC 5321 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// How many octets it had, with every line end as two, without stuffed dots (RFC 1870 §3).
    pub size: u64,
    /// Whether there was a CR without LF or an LF without CR in it. Seen only if the configuration accepts them.
    pub bare_line_ends: bool,
    /// Whether there was an octet above 127.
    pub eight_bit: bool,
    /// Whether there was a NUL.
    pub nul: bool,
    /// How many recipients were accepted: how many replies LMTP needs.
    pub recipients: usize,
}

impl Request for Commit {
    type Answer = Outcome;
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The same for all recipients. An LMTP server sends it once for each of them.
    All(Reply),
    /// One reply for each accepted recipient, in their order (RFC 2033 §4.2).
    ///
    /// A server sends 451 for those that are missing and drops what is too many. SMTP has room for one reply only:
    /// the first that puts off (4yz), if there is one, else the first that refuses, since a message that comes again is better
    /// than a lost one.
    /// A client gets fewer replies than recipients if the connection ended between them; then the rest is not known.
    Each(Vec<Reply>),
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::All(reply)
    }
}

impl From<Vec<Reply>> for Outcome {
    fn from(replies: Vec<Reply>) -> Self {
        Self::Each(replies)
    }
}

impl Outcome {
    /// The one reply of SMTP.
    pub(crate) fn one(self) -> Reply {
        match self {
            Self::All(reply) => reply,
            Self::Each(replies) => {
                let off = replies.iter().find(|reply| reply.code() / 100 == 4);
                // RFC 5321 §4.2.1: 5yz would end the tries also for whoever was only put off.
                let first = off.or_else(|| replies.iter().find(|reply| !reply.is_positive()));
                first.or_else(|| replies.first()).cloned().unwrap_or(Reply::INTERNAL)
            }
        }
    }

    /// The replies of LMTP to `count` recipients.
    pub(crate) fn each(self, count: usize) -> Vec<Reply> {
        match self {
            Self::All(reply) => vec![reply; count],
            Self::Each(mut replies) => {
                replies.resize(count, Reply::INTERNAL);
                replies
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_reply_for_everyone() {
        let mixed = Outcome::from(vec![Reply::OK, Reply::NO_SUCH_USER]);
        assert_eq!(mixed.clone().one(), Reply::NO_SUCH_USER);
        assert_eq!(mixed.clone().each(3), [Reply::OK, Reply::NO_SUCH_USER, Reply::INTERNAL]);
        assert_eq!(mixed.each(1), [Reply::OK]);
        assert_eq!(Outcome::from(Reply::OK).each(2), [Reply::OK, Reply::OK]);
        assert_eq!(Outcome::from(vec![Reply::OK]).one(), Reply::OK);
        assert_eq!(Outcome::Each(vec![]).one(), Reply::INTERNAL);
        // Whoever is only put off must not lose the message to one who is refused.
        let off = Reply::transient((2, 2), "Mailbox full");
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let replies = [Reply::OK, Reply::NO_SUCH_USER, off.clone()];
            let each = order.into_iter().filter_map(|index| replies.get(index).cloned());
            assert_eq!(Outcome::from(each.collect::<Vec<_>>()).one(), off, "{order:?}");
        }
    }
}
