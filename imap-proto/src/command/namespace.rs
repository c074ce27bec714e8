//! NAMESPACE (RFC 2342).

use mailwright_line_proto::Request;

use crate::{refusal::Answered, response::Namespaces};

/// Where does each kind of mailbox live?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Namespace;

impl Request for Namespace {
    type Answer = Answered<Namespaces>;
}
