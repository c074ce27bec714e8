//! How connections are secured, and what the domain is told of it.

use std::{future::Future, pin::Pin};

use mailwright_relay_policy::route::NextHop;

use super::*;
use crate::queue::{AppliedPolicy, StsFound, StsPolicies, TlsFailure, TlsLevel, TlsObserver, TlsSession};

/// A domain announces a policy that cannot be had.
#[derive(Debug)]
struct Unfetched;

impl StsPolicies for Unfetched {
    fn policy<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = StsFound> + Send + 'a>> {
        let failure = Some((TlsFailure::StsPolicyFetch, "no route to host".to_owned()));
        Box::pin(async { StsFound { policy: None, failure } })
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<TlsSession>>);

impl TlsObserver for Told {
    fn seen(&self, session: TlsSession) {
        self.0.lock().unwrap().push(session);
    }
}

#[tokio::test]
async fn what_speaks_nothing_but_tls_gets_nothing_in_the_clear() {
    for level in [TlsLevel::None, TlsLevel::May, TlsLevel::Encrypt] {
        // It answers whatever comes as if there were no TLS.
        let (host, other) = (Host::start(&[], |_| None), Host::start(&[], |_| None));
        let hop = |port: u16| format!("smtp:[127.0.0.1]:{port}").parse::<NextHop>().unwrap();
        for fallback in [None, Some(hop(other.port))] {
            let mut config = QueueConfig::new("mail.a.example").unwrap();
            let smarthost = hop(host.port);
            config.tls.default = level;
            if let Some(fallback) = &fallback {
                config.tls.levels.insert(fallback.destination(), TlsLevel::None);
            }
            config.tls.implicit.insert(smarthost.destination());
            config.routes = Arc::new(RouteTable::default().with_smarthost(smarthost));
            config.fallback = fallback.clone();
            let (world, _running) = World::of(config, CannedAnswers::default());
            world.send(&["one"], 10).await;
            let waiting = world.tried().await;
            assert_eq!(host.count("MAIL"), 0, "{level:?}: {:?}", host.seen());
            // Who was to prove nothing is stood in for as if nobody had been there.
            let stands_in = fallback.is_some() && level != TlsLevel::Encrypt;
            assert_eq!(waiting.is_empty(), stands_in, "{level:?}: {waiting:?}");
            if let Some(error) = waiting.first().and_then(|entry| entry.last_error.as_ref()) {
                assert!(error.contains("TLS"), "{level:?}: {error}");
                let says = error.contains("TLS from the first octet on is configured");
                assert_eq!(says, level != TlsLevel::Encrypt, "{level:?}: {error}");
            }
        }
        assert_eq!(other.count("taken"), usize::from(level != TlsLevel::Encrypt), "{level:?}");
    }
}

#[tokio::test]
async fn a_policy_that_cannot_be_had_counts_once_a_session() {
    // The first exchanger closes, the second takes it; then nothing is opened for the next message.
    let host =
        Host::start(&[], |at| (at.verb == "RCPT" && at.connection == 0).then_some("421 4.3.2 closing"));
    let told = Arc::new(Told::default());
    let mut config = QueueConfig::new("mail.a.example").unwrap();
    config.routes = Arc::new(RouteTable::default().with_port(host.port));
    config.tls.sts = Some(Arc::new(Unfetched));
    config.tls.observer = Some(Arc::<Told>::clone(&told));
    let names = CannedAnswers::default()
        .mx("b.example", 1, "mx1.b.example")
        .mx("b.example", 2, "mx2.b.example")
        .a("mx1.b.example", "127.0.0.1")
        .a("mx2.b.example", "127.0.0.1");
    let (world, _running) = World::of(config, names);
    for (name, sessions) in [("one", 2), ("two", 2)] {
        assert!(world.takes(name).await, "{:?}", world.tried().await);
        let told = told.0.lock().unwrap().clone();
        assert_eq!(told.len(), sessions, "{told:?}");
        for session in &told {
            let TlsSession { domain, policy, host, failure, .. } = session;
            assert_eq!((&**domain, policy, host), ("b.example", &AppliedPolicy::Sts(None), &None));
            assert_eq!(*failure, Some(TlsFailure::StsPolicyFetch));
        }
    }
    assert_eq!((host.count("0 RCPT"), host.count("1 RCPT")), (1, 2), "{:?}", host.seen());
}
