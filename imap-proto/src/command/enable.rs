//! ENABLE (RFC 5161).

use crate::grammar::{GrammarError, Input, Wire};

/// How many names one ENABLE may have; the rest of a longer list is not for us anyway.
const MAX_NAMES: usize = 256;

/// Asks for extensions that change what the server sends.
///
/// A server answers it by itself: what is enabled is a matter between the client and the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enable {
    /// The names of the capabilities, in upper case.
    pub capabilities: Vec<String>,
}

impl Enable {
    /// Asks for these capabilities.
    pub fn new(capabilities: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { capabilities: capabilities.into_iter().map(Into::into).collect() }
    }

    pub(super) fn parse(input: &mut Input<'_>) -> Result<Self, GrammarError> {
        let mut capabilities = Vec::new();
        while capabilities.is_empty() || !input.is_empty() {
            input.space()?;
            let name = input.atom()?.to_ascii_uppercase();
            if capabilities.len() == MAX_NAMES {
                return Err(GrammarError::TooMany { what: "capabilities", limit: MAX_NAMES });
            }
            capabilities.push(name);
        }
        Ok(Self { capabilities })
    }

    pub(super) fn encode(&self, wire: &mut impl Wire) {
        wire.put(b"ENABLE");
        for name in &self.capabilities {
            wire.put(b" ");
            wire.put(name.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_at_least_one_name_and_is_bounded() {
        assert!(Enable::parse(&mut Input::new(b"")).is_err());
        assert!(Enable::parse(&mut Input::new(b" ")).is_err());
        assert_eq!(
            Enable::parse(&mut Input::new(b" CONDSTORE x-good-idea")),
            Ok(Enable::new(["CONDSTORE", "X-GOOD-IDEA"]))
        );
        assert!(Enable::parse(&mut Input::new(" X".repeat(5001).as_bytes())).is_err());
    }
}
