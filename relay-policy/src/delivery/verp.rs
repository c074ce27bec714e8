//! Senders that tell by themselves which recipient failed.

use mailwright_mail_model::{Address, LocalPart};

/// Variable envelope return paths: `list+bob=b.example@a.example` is who hears of trouble with `bob@b.example`.
///
/// ```
/// use mailwright_relay_policy::delivery::Verp;
///
/// let verp = Verp::default();
/// let sender = verp.encode(&"list@a.example".parse()?, &"bob@b.example".parse()?)?;
/// assert_eq!(sender.as_str(), "list+bob=b.example@a.example");
/// let (list, failed) = verp.decode(&sender).ok_or("not one of these")?;
/// assert_eq!((list.as_str(), failed.as_str()), ("list@a.example", "bob@b.example"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verp {
    /// What stands before the recipient: `+`.
    pub before: char,
    /// What stands for its `@`: `=`.
    pub at: char,
}

impl Default for Verp {
    fn default() -> Self {
        Self { before: '+', at: '=' }
    }
}

impl Verp {
    /// The sender for a copy to this recipient.
    ///
    /// # Errors
    /// If it would be too long.
    pub fn encode(
        &self,
        sender: &Address,
        recipient: &Address,
    ) -> Result<Address, mailwright_mail_model::AddressError> {
        let (local, domain) = (sender.local().unquoted(), sender.domain());
        let (to, host) = (recipient.local().unquoted(), recipient.domain().key());
        let local = format!("{local}{}{to}{}{host}", self.before, self.at);
        format!("{local}@{domain}").parse().or_else(|_| {
            let quoted = local.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{quoted}\"@{domain}").parse()
        })
    }

    /// The sender and the recipient that were put together; `None` if none were.
    pub fn decode(&self, address: &Address) -> Option<(Address, Address)> {
        let local = address.local().unquoted();
        let (rest, host) = local.rsplit_once(self.at)?;
        let (list, to) = rest.split_once(self.before)?;
        let list = Address::new(LocalPart::from_unquoted(list).ok()?, address.domain().clone()).ok()?;
        Some((list, Address::new(LocalPart::from_unquoted(to).ok()?, host.parse().ok()?).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_that_need_quotes_come_back() {
        let (list, to) = ("list@a.example".parse().unwrap(), "\"a \\\"b=c\"@b.example".parse().unwrap());
        let sender = Verp::default().encode(&list, &to).unwrap();
        assert_eq!(Verp::default().decode(&sender), Some((list, to)));
    }

    #[test]
    fn others_are_not_decoded() {
        for text in ["list@a.example", "list+x@a.example", "a=b@a.example", "=@a.example", "+=@a.example"] {
            assert_eq!(Verp::default().decode(&text.parse().unwrap()), None, "{text}");
        }
    }
}
