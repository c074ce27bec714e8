//! Lists with canned answers, in simulated time.

use std::sync::atomic::{AtomicUsize, Ordering};

use mailwright_relay_policy::dns::{Answer, CannedAnswers, LookupError, Name};

use super::*;

/// A name system that can be changed, and counts what it is asked.
#[derive(Clone, Default)]
struct Names(Arc<(Mutex<CannedAnswers>, AtomicUsize)>);

impl Names {
    fn set(&self, zone: CannedAnswers) {
        *self.0.0.lock().unwrap() = zone;
    }

    fn asked(&self) -> usize {
        self.0.1.swap(0, Ordering::Relaxed)
    }
}

impl Resolve for Names {
    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Answer, LookupError> {
        self.0.1.fetch_add(1, Ordering::Relaxed);
        let zone = self.0.0.lock().unwrap().clone();
        zone.lookup(name, kind).await
    }
}

/// A list that lives, RFC 5782 §5.
fn alive(zone: CannedAnswers, list: &str) -> CannedAnswers {
    zone.a(&format!("2.0.0.127.{list}"), "127.0.0.2")
}

fn over(names: &Names, lists: &[&str], own: OwnAddress) -> OwnLists<Names> {
    OwnLists::new(names.clone(), lists.iter().map(|list| list.parse().unwrap()).collect(), own)
}

fn address() -> OwnAddress {
    OwnAddress::Is("192.0.2.1".parse().unwrap())
}

#[tokio::test]
async fn an_address_is_on_a_list_that_lives() {
    let nowhere = CannedAnswers::default;
    let listed = |list: &str| nowhere().a(&format!("1.2.0.192.{list}"), "127.0.0.4");
    for (zone, lists, expected) in [
        (alive(listed("bl.test"), "bl.test"), &["bl.test"][..], Some("192.0.2.1 is on bl.test")),
        (alive(nowhere(), "bl.test"), &["bl.test"], None),
        // Dead: it has nobody, or everybody; or it will not answer.
        (listed("bl.test"), &["bl.test"], None),
        (alive(listed("bl.test"), "bl.test").a("1.0.0.127.bl.test", "127.0.0.2"), &["bl.test"], None),
        (alive(nowhere().a("1.2.0.192.bl.test", "127.255.255.254"), "bl.test"), &["bl.test"], None),
        // Another answer than the one that counts, and a white list that outweighs it.
        (alive(listed("bl.test"), "bl.test"), &["bl.test=127.0.0.9"], None),
        (
            alive(alive(listed("bl.test"), "bl.test").a("1.2.0.192.wl.test", "127.0.0.2"), "wl.test"),
            &["bl.test", "wl.test*-2"],
            None,
        ),
        // One that cannot be asked changes nothing.
        (alive(listed("bl.test"), "bl.test"), &["gone.test", "bl.test"], Some("192.0.2.1 is on bl.test")),
    ] {
        let names = Names::default();
        names.set(zone);
        let found = over(&names, lists, address()).listing().await.map(|listing| listing.to_string());
        assert_eq!(found.as_deref(), expected, "{lists:?}");
    }
}

#[tokio::test]
async fn our_name_leads_to_our_addresses() {
    let names = Names::default();
    let at = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.test";
    let zone = alive(CannedAnswers::default().a("mail.test", "10.0.0.1").a(at, "127.0.0.2"), "bl.test");
    names.set(zone.aaaa("mail.test", "2001:db8:1:2:3:4:567:89ab").aaaa("mail.test", "fd00::1"));
    let lists = over(&names, &["bl.test"], OwnAddress::Of("mail.test".into()));
    let expected: Vec<IpAddr> = vec!["2001:db8:1:2:3:4:567:89ab".parse().unwrap()];
    assert_eq!(lists.addresses().await, expected);
    assert!(lists.listing().await.is_some());
    let nobody = over(&names, &["bl.test"], OwnAddress::Of("other.test".into()));
    assert_eq!((nobody.addresses().await, nobody.listing().await), (Vec::new(), None));
}

#[tokio::test]
async fn answers_are_kept_for_all_messages_and_go_with_their_time() {
    let names = Names::default();
    names.set(alive(CannedAnswers::default().a("1.2.0.192.bl.test", "127.0.0.4"), "bl.test"));
    let lists = over(&names, &["bl.test"], address());
    assert_eq!(lists.known(), None);
    for _ in 0..100 {
        assert!(lists.listing().await.is_some());
    }
    // The entry, and whether the list lives.
    assert_eq!(names.asked(), 3);
    assert!(lists.known().is_some());
    let until = |lists: &OwnLists<Names>| lists.known.lock().unwrap().as_ref().unwrap().until;
    let left = until(&lists).duration_since(Instant::now());
    assert!(left <= LEAST && left > LEAST - Duration::from_secs(30), "{left:?}");
    names.set(alive(CannedAnswers::default(), "bl.test"));
    assert!(lists.listing().await.is_some(), "it still holds");
    // Its time is over.
    lists.known.lock().unwrap().as_mut().unwrap().until = Instant::now();
    assert!(lists.listing().await.is_none());
    assert_eq!((lists.known(), names.asked()), (None, 1));
    assert!(lists.listing().await.is_none());
    assert_eq!(names.asked(), 0);
}

/// Nobody answers.
#[derive(Clone)]
struct Silence;

impl Resolve for Silence {
    async fn lookup(&self, _: &Name, _: RecordType) -> Result<Answer, LookupError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn lists_that_do_not_answer_hold_nobody_up_for_long() {
    let lists = OwnLists::new(Silence, vec!["bl.test".parse().unwrap()], address());
    let began = tokio::time::Instant::now();
    let (one, other) = tokio::join!(lists.listing(), lists.listing());
    assert_eq!((one, other, began.elapsed()), (None, None, PATIENCE));
}
