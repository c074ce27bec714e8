//! The parameters of RCPT.

use super::{Keep, Notify, OriginalRecipient, Parameter, Row, Table, ValidSince};
use crate::words::Key;

/// What RCPT says beside the recipient.
///
/// ```
/// use mailwright_smtp_proto::{Command, Notify, Syntax};
///
/// let line = b"RCPT TO:<bob@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob@example.com";
/// let Command::Rcpt(rcpt) = Command::parse(line, Syntax::Strict)? else { unreachable!() };
/// let wanted = Notify::On { success: true, failure: true, delay: false };
/// assert_eq!(rcpt.parameters.notify, Some(wanted));
/// # Ok::<(), mailwright_smtp_proto::SyntaxError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RcptParameters {
    /// NOTIFY: when a report is wanted (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// ORCPT: who the recipient was at first (RFC 3461 §4.2).
    pub original: Option<OriginalRecipient>,
    /// RRVS: since when the mailbox must be whose it is (RFC 7293).
    pub valid_since: Option<ValidSince>,
    /// Parameters of extensions that are not spoken here, as
    /// [`MailParameters`](crate::MailParameters) has them.
    pub other: Vec<Parameter>,
}

impl Keep for RcptParameters {
    fn other(&self) -> &[Parameter] {
        &self.other
    }

    fn other_mut(&mut self) -> &mut Vec<Parameter> {
        &mut self.other
    }
}

/// The parameters of RCPT.
pub(crate) const RCPT: &Table<RcptParameters> = &Table::of(&[
    Row {
        keyword: "NOTIFY",
        key: Key::of("NOTIFY"),
        parse: |parameters, value| {
            parameters.notify = Some(Notify::parse(value?)?);
            Some(Ok(()))
        },
        encode: |parameters| Some(format!("NOTIFY={}", parameters.notify?.encode()?)),
        announced: |_, capabilities| capabilities.dsn,
        needed: |_| false,
    },
    Row {
        keyword: "ORCPT",
        key: Key::of("ORCPT"),
        parse: |parameters, value| {
            parameters.original = OriginalRecipient::parse(value?);
            parameters.original.is_some().then_some(Ok(()))
        },
        encode: |parameters| Some(format!("ORCPT={}", parameters.original.as_ref()?.encode())),
        announced: |_, capabilities| capabilities.dsn,
        needed: |_| false,
    },
    Row {
        keyword: "RRVS",
        key: Key::of("RRVS"),
        parse: |parameters, value| {
            parameters.valid_since = Some(ValidSince::parse(value?)?);
            Some(Ok(()))
        },
        encode: |parameters| Some(format!("RRVS={}", parameters.valid_since?.encode())),
        announced: |_, capabilities| capabilities.valid_since,
        // RFC 7293 §4: with C too, a header field would have to take its place.
        needed: |_| true,
    },
]);
