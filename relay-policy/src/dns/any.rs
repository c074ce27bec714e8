//! A resolver whose type was forgotten.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use super::{Answer, LookupError, Name, RecordType, Resolve};

/// Any resolver behind one type, for those who keep several things that ask. Cheap to clone.
///
/// ```
/// use mailwright_relay_policy::dns::{AnyResolver, CannedAnswers};
///
/// let resolver = AnyResolver::new(CannedAnswers::default().a("mx.example", "192.0.2.1"));
/// let another = resolver.clone();
/// # drop(another);
/// ```
#[derive(Clone)]
pub struct AnyResolver(Arc<dyn Erased>);

impl AnyResolver {
    /// This one.
    pub fn new(resolver: impl Resolve + 'static) -> Self {
        Self(Arc::new(resolver))
    }
}

impl Resolve for AnyResolver {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Answer, LookupError> {
        self.0.ask(name, kind).await
    }
}

impl fmt::Debug for AnyResolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("AnyResolver").finish()
    }
}

type Pending<'a> = Pin<Box<dyn Future<Output = Result<Answer, LookupError>> + Send + 'a>>;

trait Erased: Send + Sync {
    fn ask<'a>(&'a self, name: &'a Name, kind: RecordType) -> Pending<'a>;
}

impl<R: Resolve> Erased for R {
    fn ask<'a>(&'a self, name: &'a Name, kind: RecordType) -> Pending<'a> {
        Box::pin(self.lookup(name, kind))
    }
}
