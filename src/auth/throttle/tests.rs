use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn throttle() -> Throttle {
    Throttle::new(ThrottleLimits {
        failures_per_address: 4,
        failures_per_user: 6,
        ban: 10 * MINUTE,
        ..ThrottleLimits::default()
    })
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn each_failure_costs_twice_as_much_and_then_the_network_is_banned() {
    let (throttle, now) = (throttle(), Instant::now());
    for (address, expected) in
        [("2001:db8::1", 250), ("2001:db8::2", 500), ("2001:db8::3", 1000), ("2001:db8::4", 2000)]
    {
        assert_eq!(throttle.admit(now, ip(address), "a"), Ok(false));
        assert_eq!(throttle.failed(now, ip(address), "a"), Duration::from_millis(expected));
    }
    assert_eq!(throttle.admit(now, ip("2001:db8::9"), "b"), Err(Throttled::Address));
    assert_eq!(throttle.admit(now, ip("2001:db8:0:1::9"), "b"), Ok(false));
    let bans = throttle.bans(now + MINUTE);
    let [ban] = &bans[..] else { panic!() };
    assert_eq!((ban.network, ban.left, ban.failures), (ip("2001:db8::").unwrap(), 9 * MINUTE, 4));
    assert_eq!(ban.users, ["a"]);
    // It ends by itself, at its time, or because somebody says so.
    let end = now + 10 * MINUTE;
    assert!(throttle.admit(end - Duration::from_millis(1), ip("2001:db8::9"), "b").is_err());
    assert_eq!(throttle.admit(end, ip("2001:db8::9"), "b"), Ok(false));
    assert!(throttle.bans(end).is_empty());
    assert!(throttle.lift("2001:db8::77".parse().unwrap()) && !throttle.lift("192.0.2.1".parse().unwrap()));
    assert_eq!(throttle.admit(now, ip("2001:db8::9"), "b"), Ok(false));
    for _ in 0..40 {
        throttle.failed(now, ip("192.0.2.1"), "x");
    }
    assert_eq!(throttle.failed(now, ip("192.0.2.1"), "x"), Duration::from_secs(15));
}

#[test]
fn a_familiar_user_is_kept_out_by_nobody_else() {
    let (throttle, now) = (throttle(), Instant::now());
    assert_eq!(throttle.admit(now, ip("192.0.2.1"), "Alice"), Ok(false));
    throttle.succeeded(now, ip("192.0.2.1"), "Alice");
    // Somebody at the same address guesses at others, and a botnet at her.
    for guess in 0..4 {
        throttle.failed(now, ip("192.0.2.1"), &guess.to_string());
    }
    for bot in 0..6 {
        throttle.failed(now, ip(&format!("198.51.100.{bot}")), "alice");
    }
    assert_eq!(throttle.admit(now, ip("192.0.2.1"), "bob"), Err(Throttled::Address));
    assert_eq!(throttle.admit(now, ip("203.0.113.5"), "alice"), Err(Throttled::User));
    assert_eq!(throttle.admit(now, ip("192.0.2.1"), "alice"), Ok(true));
    // But her own place buys nobody endless guesses.
    for _ in 0..4 {
        assert_eq!(throttle.admit(now, ip("192.0.2.1"), "alice"), Ok(true));
        throttle.failed(now, ip("192.0.2.1"), "alice");
    }
    assert_eq!(throttle.admit(now, ip("192.0.2.1"), "alice"), Err(Throttled::Address));
}

#[test]
fn a_ban_says_which_names_were_tried() {
    let (throttle, now) = (throttle(), Instant::now());
    let users = |address: &str| {
        let bans = throttle.bans(now);
        bans.into_iter().find(|ban| ban.network == ip(address).unwrap()).map(|ban| ban.users)
    };
    for user in ["alice@a.test", "bob@a.test", "", "alice@a.test"] {
        assert_eq!(users("192.0.2.1"), None);
        throttle.failed(now, ip("192.0.2.1"), user);
    }
    assert_eq!(users("192.0.2.1").unwrap(), ["bob@a.test", "alice@a.test"]);
    // Of one who is familiar, that one; and what was before is forgotten with its failures.
    throttle.failed(now, ip("192.0.2.2"), "eve@a.test");
    throttle.succeeded(now, ip("192.0.2.2"), "carol@a.test");
    for _ in 0..4 {
        throttle.failed(now, ip("192.0.2.2"), "carol@a.test");
    }
    assert_eq!(users("192.0.2.2").unwrap(), ["carol@a.test"]);
    throttle.lift(ip("192.0.2.1").unwrap());
    let later = now + 11 * MINUTE;
    for _ in 0..4 {
        throttle.failed(now, ip("192.0.2.1"), "dave@a.test");
        throttle.failed(later, ip("192.0.2.2"), "dave@a.test");
    }
    assert_eq!(users("192.0.2.1").unwrap(), ["dave@a.test"]);
    let bans = throttle.bans(later);
    assert!(bans.iter().any(|ban| !ban.familiar && ban.users == ["dave@a.test"]), "{bans:?}");
}

#[test]
fn who_names_no_user_keeps_nobody_out() {
    let (throttle, now) = (throttle(), Instant::now());
    for bot in 0..20 {
        throttle.failed(now, ip(&format!("198.51.100.{bot}")), "");
    }
    assert_eq!(throttle.admit(now, ip("192.0.2.1"), ""), Ok(false));
    // The address is judged all the same.
    for _ in 0..4 {
        throttle.failed(now, ip("192.0.2.9"), "");
    }
    assert_eq!(throttle.admit(now, ip("192.0.2.9"), ""), Err(Throttled::Address));
}

#[test]
fn secrets_that_are_no_users_count_with_logins() {
    let (throttle, now) = (throttle(), Instant::now());
    for _ in 0..2 {
        assert!(throttle.hears(ip("192.0.2.1")) && throttle.wrong(ip("192.0.2.1")) > Duration::ZERO);
        throttle.failed(now, ip("192.0.2.1"), "a");
    }
    assert!(!throttle.hears(ip("192.0.2.1")) && throttle.hears(ip("192.0.2.2")));
    assert_eq!(throttle.wrong(ip("127.0.0.1")), Duration::ZERO);
}

#[test]
fn one_account_of_ones_own_buys_no_guesses_at_others() {
    let (throttle, now) = (throttle(), Instant::now());
    for guess in 0..4 {
        throttle.failed(now, ip("192.0.2.1"), &guess.to_string());
        throttle.succeeded(now, ip("192.0.2.1"), "mallory");
    }
    assert_eq!(throttle.admit(now, ip("192.0.2.1"), "next"), Err(Throttled::Address));
}

#[test]
fn the_exempt_and_those_without_an_address_are_not_slowed_down() {
    let (throttle, now) = (throttle(), Instant::now());
    for address in [ip("127.0.0.1"), ip("::1"), ip("::ffff:127.0.0.9"), None] {
        for _ in 0..20 {
            assert_eq!(throttle.failed(now, address, "a"), Duration::ZERO);
        }
        assert_eq!(throttle.admit(now, address, "a"), Ok(true));
    }
}

#[test]
fn keys_that_are_asked_for_and_nothing_more_count_after_a_while() {
    let (throttle, now) = (throttle(), Instant::now());
    // Who proves what they asked for may ask as often as they like.
    for _ in 0..100 {
        assert_eq!(throttle.asked(now, ip("192.0.2.1")), None);
        throttle.proved(now, ip("192.0.2.1"), false);
    }
    for _ in 0..LEFT {
        assert_eq!(throttle.asked(now, ip("192.0.2.1")), None);
    }
    // A proof that comes late makes good what was counted.
    assert_eq!(throttle.asked(now, ip("192.0.2.1")), Some(Duration::from_millis(250)));
    throttle.proved(now, ip("192.0.2.1"), true);
    for delay in [250, 500, 1000, 2000] {
        assert_eq!(throttle.admit(now, ip("192.0.2.1"), "a"), Ok(false));
        assert_eq!(throttle.asked(now, ip("192.0.2.1")), Some(Duration::from_millis(delay)));
    }
    assert_eq!(throttle.admit(now, ip("192.0.2.1"), "a"), Err(Throttled::Address));
    assert_eq!(throttle.admit(now, ip("192.0.2.2"), "a"), Ok(false));
    assert_eq!(throttle.asked(now + 10 * MINUTE, ip("192.0.2.1")), None);
    assert!((0..100).all(|_| throttle.asked(now, ip("127.0.0.1")).is_none()));
}

#[test]
fn memory_is_bounded_whatever_is_tried() {
    let limits = ThrottleLimits { remembered: 1000, ..ThrottleLimits::default() };
    let (throttle, now) = (Throttle::new(limits), Instant::now());
    for number in 0..100_000_u32 {
        let address = Some(IpAddr::V4((0x0A00_0000 + number).into()));
        throttle.failed(now, address, &number.to_string());
        throttle.succeeded(now, address, &number.to_string());
        throttle.asked(now, address);
    }
    let memory = throttle.memory();
    let all = [memory.networks.len(), memory.users.len(), memory.familiar.len(), memory.left.len()];
    assert!(all.iter().sum::<usize>() <= 4 * 1001);
}

#[test]
fn a_limit_of_zero_is_none() {
    let limits = ThrottleLimits {
        failures_per_address: 0,
        failures_per_user: 0,
        penalty: Duration::ZERO,
        ..ThrottleLimits::default()
    };
    let (throttle, now) = (Throttle::new(limits), Instant::now());
    for _ in 0..1000 {
        assert_eq!(throttle.failed(now, ip("192.0.2.1"), "a"), Duration::ZERO);
    }
    assert_eq!(throttle.admit(now, ip("192.0.2.1"), "a"), Ok(false));
    assert!(throttle.bans(now).is_empty());
}

#[test]
fn whoever_is_kept_out_at_home_is_listed_and_let_in_again() {
    let (throttle, now) = (throttle(), Instant::now());
    let home = ip("192.0.2.1");
    throttle.succeeded(now, home, "Alice");
    // A program of hers goes on with the old password.
    for _ in 0..4 {
        throttle.failed(now, home, "alice");
    }
    assert_eq!(throttle.admit(now, home, "alice"), Err(Throttled::Address));
    assert_eq!(throttle.admit(now, home, "bob"), Ok(false));
    let [ref ban] = throttle.bans(now + MINUTE)[..] else { panic!() };
    assert_eq!((ban.network, ban.left, ban.failures, ban.familiar), (home.unwrap(), 9 * MINUTE, 4, true));
    assert!(throttle.lift(ban.network) && !throttle.lift(ban.network));
    // She is as familiar there as before.
    assert_eq!(throttle.admit(now, home, "alice"), Ok(true));
    assert!(throttle.bans(now).is_empty());
    for _ in 0..4 {
        throttle.failed(now, home, "alice");
    }
    assert!(!throttle.lift_user("bob") && throttle.lift_user("ALICE"));
    assert_eq!(throttle.admit(now, home, "alice"), Ok(true));
}

#[test]
fn a_user_who_is_guessed_at_from_everywhere_is_let_in_again() {
    let limits = ThrottleLimits { failures_per_user: 3, ..ThrottleLimits::default() };
    let (throttle, now) = (Throttle::new(limits), Instant::now());
    for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        throttle.failed(now, ip(address), "alice");
    }
    let away = ip("198.51.100.1");
    assert_eq!(throttle.admit(now, away, "alice"), Err(Throttled::User));
    assert!(throttle.lift_user("alice"));
    assert_eq!(throttle.admit(now, away, "alice"), Ok(false));
    assert!(!throttle.lift_user("alice") && !throttle.lift_user(""));
}
