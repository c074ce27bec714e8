//! Asking name servers for so long and no longer.

use std::{sync::OnceLock, time::Duration};

use mailwright_relay_policy::dns::{Answer, AnyResolver, LookupError, Name, RecordType, Resolve};
use tokio::time::{Instant, timeout_at};

/// A resolver whose patience ends: from then on nothing can be told any more.
pub(super) struct Patient<'a> {
    resolver: &'a AnyResolver,
    patience: Duration,
    /// From the first question on.
    until: OnceLock<Instant>,
}

/// One question may take so much of the whole: a name that nobody answers for is not to hide all others.
const PART: u32 = 4;

impl<'a> Patient<'a> {
    pub(super) const fn new(resolver: &'a AnyResolver, patience: Duration) -> Self {
        Self { resolver, patience, until: OnceLock::new() }
    }
}

impl Resolve for Patient<'_> {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Answer, LookupError> {
        let now = Instant::now();
        let until = *self.until.get_or_init(|| now + self.patience);
        let asking = self.resolver.lookup(name, kind);
        match timeout_at(until.min(now + self.patience / PART), asking).await {
            Ok(answer) => answer,
            Err(_) => Err(LookupError::Temporary("name servers take too long".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use mailwright_relay_policy::dns::name;

    use super::*;

    /// Answers for `fast.example` alone.
    struct Slow;

    impl Resolve for Slow {
        async fn lookup(&self, name: &Name, _: RecordType) -> Result<Answer, LookupError> {
            if name.to_string() != "fast.example." {
                std::future::pending::<()>().await;
            }
            Ok(Answer::default())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_question_and_all_of_them_end() {
        let resolver = AnyResolver::new(Slow);
        let patient = Patient::new(&resolver, Duration::from_secs(20));
        let begun = Instant::now();
        let ask = async |text: &str| patient.lookup(&name(text).unwrap(), RecordType::TXT).await;
        for asked in 1..=4 {
            assert!(ask("fast.example").await.is_ok());
            assert!(matches!(ask("slow.example").await, Err(LookupError::Temporary(_))));
            assert_eq!(begun.elapsed().as_secs(), 5 * asked);
        }
        assert!(matches!(ask("slow.example").await, Err(LookupError::Temporary(_))));
        assert_eq!(begun.elapsed().as_secs(), 20);
    }
}
