//! The parameters of MAIL.

use super::{
    BodyKind, ByMode, DeliverBy, EnvelopeId, Hold, Keep, Parameter, Priority, ReturnContent, Row,
    Solicitation, Submitter, Table, VerpDelimiters, body::parse_size,
};
use crate::{timestamp, words::Key};

/// What MAIL says beside the sender.
///
/// ```
/// use mailwright_smtp_proto::{BodyKind, Command, Syntax};
///
/// let line = b"MAIL FROM:<ann@example.org> SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS";
/// let Command::Mail(mail) = Command::parse(line, Syntax::Strict)? else { unreachable!() };
/// assert_eq!(mail.parameters.size, Some(1000));
/// assert_eq!(mail.parameters.body, Some(BodyKind::EightBitMime));
/// assert!(mail.parameters.smtputf8);
/// # Ok::<(), mailwright_smtp_proto::SyntaxError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MailParameters {
    /// SIZE: how many octets the client thinks the message has (RFC 1870).
    pub size: Option<u64>,
    /// BODY: what kind of content it is (RFC 6152, RFC 3030).
    pub body: Option<BodyKind>,
    /// SMTPUTF8: addresses and header fields may be UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// AUTH: who submitted the message first, as the client has it (RFC 4954 §5). To be believed only of trusted
    /// clients.
    pub auth: Option<Submitter>,
    /// RET: how much of the message a report of failure returns (RFC 3461 §4.3).
    pub return_content: Option<ReturnContent>,
    /// ENVID: what a report calls the message (RFC 3461 §4.4).
    pub envelope_id: Option<EnvelopeId>,
    /// BY: within which time it is to be delivered (RFC 2852).
    pub deliver_by: Option<DeliverBy>,
    /// HOLDFOR or HOLDUNTIL: how long it is to be held back (RFC 4865).
    pub hold: Option<Hold>,
    /// MT-PRIORITY: how urgent it is (RFC 6710).
    pub priority: Option<Priority>,
    /// REQUIRETLS: it must go by verified TLS all the way (RFC 8689).
    pub require_tls: bool,
    /// SOLICIT: which classes of advertising it belongs to (RFC 3865).
    pub solicitation: Option<Solicitation>,
    /// PRDR: the client wants a reply for each recipient behind the message (draft-hall-prdr).
    pub each_recipient: bool,
    /// XVERP: each recipient is to be sent a message of its own, with a sender that tells who it is for (Postfix).
    pub verp: Option<VerpDelimiters>,
    /// Parameters of extensions that are not spoken here. A server sees those only that its application
    /// [knows](crate::server::Abilities::extensions).
    pub other: Vec<Parameter>,
}

impl Keep for MailParameters {
    fn other(&self) -> &[Parameter] {
        &self.other
    }

    fn other_mut(&mut self) -> &mut Vec<Parameter> {
        &mut self.other
    }
}

/// The parameters of MAIL.
pub(crate) const MAIL: &Table<MailParameters> = &Table::of(&[
    Row {
        keyword: "SIZE",
        key: Key::of("SIZE"),
        parse: |parameters, value| Some(parse_size(value?).map(|size| parameters.size = Some(size))),
        encode: |parameters| parameters.size.map(|size| format!("SIZE={size}")),
        announced: |_, capabilities| capabilities.size.is_some(),
        needed: |_| false,
    },
    Row {
        keyword: "BODY",
        key: Key::of("BODY"),
        parse: |parameters, value| {
            parameters.body = Some(BodyKind::parse(value?)?);
            Some(Ok(()))
        },
        encode: |parameters| Some(format!("BODY={}", parameters.body?.name()?)),
        announced: |parameters, capabilities| match parameters.body {
            // RFC 3030 §3: BINARYMIME needs BDAT
            Some(BodyKind::BinaryMime) => capabilities.binary_mime && capabilities.chunking,
            _ => capabilities.eight_bit_mime,
        },
        needed: |parameters| parameters.body != Some(BodyKind::SevenBit),
    },
    Row {
        keyword: "SMTPUTF8",
        key: Key::of("SMTPUTF8"),
        // RFC 6531 §3.4: the parameter has no value
        parse: |parameters, value| {
            parameters.smtputf8 = true;
            value.is_none().then_some(Ok(()))
        },
        encode: |parameters| parameters.smtputf8.then(|| "SMTPUTF8".to_owned()),
        announced: |_, capabilities| capabilities.smtputf8,
        needed: |_| true,
    },
    Row {
        keyword: "AUTH",
        key: Key::of("AUTH"),
        parse: |parameters, value| {
            parameters.auth = Some(Submitter::parse(value?)?);
            Some(Ok(()))
        },
        encode: |parameters| Some(format!("AUTH={}", parameters.auth.as_ref()?.encode())),
        announced: |_, capabilities| !capabilities.auth.is_empty(),
        needed: |_| false,
    },
    Row {
        keyword: "RET",
        key: Key::of("RET"),
        parse: |parameters, value| {
            parameters.return_content = Some(ReturnContent::parse(value?)?);
            Some(Ok(()))
        },
        encode: |parameters| Some(format!("RET={}", parameters.return_content?.name())),
        announced: |_, capabilities| capabilities.dsn,
        needed: |_| false,
    },
    Row {
        keyword: "ENVID",
        key: Key::of("ENVID"),
        parse: |parameters, value| {
            parameters.envelope_id = EnvelopeId::parse(value?);
            parameters.envelope_id.is_some().then_some(Ok(()))
        },
        encode: |parameters| Some(format!("ENVID={}", parameters.envelope_id.as_ref()?.encode())),
        announced: |_, capabilities| capabilities.dsn,
        needed: |_| false,
    },
    Row {
        keyword: "BY",
        key: Key::of("BY"),
        parse: |parameters, value| {
            parameters.deliver_by = Some(DeliverBy::parse(value?)?);
            Some(Ok(()))
        },
        encode: |parameters| Some(format!("BY={}", parameters.deliver_by?)),
        announced: |_, capabilities| capabilities.deliver_by.is_some(),
        // RFC 2852 §4.1.4.2: what is to be returned must not go where nobody will do so.
        needed: |parameters| parameters.deliver_by.is_some_and(|by| by.mode() == ByMode::Return),
    },
    Row {
        keyword: "HOLDFOR",
        key: Key::of("HOLDFOR"),
        parse: |parameters, value| {
            // RFC 4865: one of the two
            let hold = Hold::parse_for(value?).filter(|_| parameters.hold.is_none())?;
            parameters.hold = Some(hold);
            Some(Ok(()))
        },
        encode: |parameters| match parameters.hold? {
            Hold::For(seconds) => Some(format!("HOLDFOR={seconds}")),
            Hold::Until(_) => None,
        },
        announced: |_, capabilities| capabilities.future_release.is_some(),
        needed: |_| true,
    },
    Row {
        keyword: "HOLDUNTIL",
        key: Key::of("HOLDUNTIL"),
        parse: |parameters, value| {
            let hold = Hold::parse_until(value?).filter(|_| parameters.hold.is_none())?;
            parameters.hold = Some(hold);
            Some(Ok(()))
        },
        encode: |parameters| match parameters.hold? {
            Hold::Until(moment) => Some(format!("HOLDUNTIL={}", timestamp::encode(moment))),
            Hold::For(_) => None,
        },
        announced: |_, capabilities| capabilities.future_release.is_some(),
        needed: |_| true,
    },
    Row {
        keyword: "MT-PRIORITY",
        key: Key::of("MT-PRIORITY"),
        parse: |parameters, value| {
            parameters.priority = Some(Priority::parse(value?)?);
            Some(Ok(()))
        },
        encode: |parameters| parameters.priority.map(|priority| format!("MT-PRIORITY={priority}")),
        announced: |_, capabilities| capabilities.priority.is_some(),
        needed: |_| false,
    },
    Row {
        keyword: "REQUIRETLS",
        key: Key::of("REQUIRETLS"),
        parse: |parameters, value| {
            parameters.require_tls = true;
            value.is_none().then_some(Ok(()))
        },
        encode: |parameters| parameters.require_tls.then(|| "REQUIRETLS".to_owned()),
        announced: |_, capabilities| capabilities.require_tls,
        needed: |_| true,
    },
    Row {
        keyword: "SOLICIT",
        key: Key::of("SOLICIT"),
        parse: |parameters, value| {
            parameters.solicitation = Some(value?.parse().ok()?);
            Some(Ok(()))
        },
        encode: |parameters| Some(format!("SOLICIT={}", parameters.solicitation.as_ref()?)),
        announced: |_, capabilities| capabilities.no_soliciting.is_some(),
        needed: |_| false,
    },
    Row {
        keyword: "PRDR",
        key: Key::of("PRDR"),
        parse: |parameters, value| {
            parameters.each_recipient = true;
            value.is_none().then_some(Ok(()))
        },
        encode: |parameters| parameters.each_recipient.then(|| "PRDR".to_owned()),
        announced: |_, capabilities| capabilities.each_recipient,
        needed: |_| false,
    },
    Row {
        keyword: "XVERP",
        key: Key::of("XVERP"),
        parse: |parameters, value| {
            parameters.verp = Some(VerpDelimiters::parse(value)?);
            Some(Ok(()))
        },
        encode: |parameters| Some(format!("XVERP={}", parameters.verp?)),
        announced: |_, capabilities| capabilities.verp,
        needed: |_| true,
    },
]);
