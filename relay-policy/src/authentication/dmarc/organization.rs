//! Which domains belong together.

use std::collections::HashMap;

use super::evaluate::Tree;
use crate::dns::Resolve;

/// Whether two domains are of one organization, so that a signature of one proves authors of the other (RFC 9989 §4.4.1, relaxed
/// alignment); `None` if nobody can tell now. A domain and one below it are taken for that without a question, for who receives mail may
/// have another way to find organizations.
///
/// ```
/// use mailwright_relay_policy::{authentication::dmarc::same_organization, dns::CannedAnswers};
///
/// let zone = CannedAnswers::default().txt("_dmarc.a.example", "v=DMARC1; p=none");
/// # let ready = async {
/// assert_eq!(same_organization(&zone, "mail.a.example", "hr.a.example").await, Some(true));
/// assert_eq!(same_organization(&zone, "mail.a.example", "hr.b.example").await, Some(false));
/// # };
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(std::pin::pin!(ready).poll(&mut context).is_ready());
/// ```
pub async fn same_organization<R: Resolve>(resolve: &R, one: &str, other: &str) -> Option<bool> {
    let [one, other] = [one, other].map(|domain| domain.trim_end_matches('.').to_ascii_lowercase());
    if is_within(&one, &other) || is_within(&other, &one) {
        return Some(true);
    }
    // Strangers cost no questions: no top-level domain is an organization.
    if end(&one) != end(&other) {
        return Some(false);
    }
    let mut tree = Tree { resolve, known: HashMap::new() };
    let found = tree.find(&one).await.ok()?.organization;
    // Only what is below it can belong to it.
    Some(is_within(&other, &found) && tree.find(&other).await.ok()?.organization == found)
}

fn is_within(domain: &str, above: &str) -> bool {
    domain.strip_suffix(above).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The last two labels.
fn end(domain: &str) -> Vec<&str> {
    domain.rsplit('.').take(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        authentication::tests::ready,
        dns::{CannedAnswers, LookupError, RecordType},
    };

    #[test]
    fn siblings_are_found_by_the_tree_and_nothing_is_guessed_of_what_cannot_be_asked() {
        let late = LookupError::Temporary("late".into());
        let zone = CannedAnswers::default()
            .txt("_dmarc.a.example", "v=DMARC1; p=reject")
            .txt("_dmarc.bank.example", "v=DMARC1; p=reject; psd=y")
            .failure("_dmarc.late.example", RecordType::TXT, late);
        for (one, other, expected) in [
            ("a.example", "A.example.", Some(true)),
            ("a.example", "hr.a.example", Some(true)),
            ("deep.hr.nothing.example", "nothing.example", Some(true)),
            ("mail.a.example", "hr.a.example", Some(true)),
            ("mail.bank.example", "hr.bank.example", Some(false)),
            ("mail.nothing.example", "hr.nothing.example", Some(false)),
            ("a.example", "ba.example", Some(false)),
            ("a.example", "b.example", Some(false)),
            ("mail.late.example", "hr.late.example", None),
            ("late.example", "late.other", Some(false)),
        ] {
            assert_eq!(ready(same_organization(&zone, one, other)), expected, "{one} {other}");
            assert_eq!(ready(same_organization(&zone, other, one)), expected, "{other} {one}");
        }
    }
}
