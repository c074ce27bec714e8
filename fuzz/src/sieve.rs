//! sieve: any octets are a script or are refused with a place; a script that compiles ends, within its limits, and mail is never lost.

use mailwright_sieve::{Action, Comparator, Limits, MemoryHost, Script, testsuite};

/// A script: what is printed parses to the same tree.
pub fn sieve_parse(data: &[u8]) {
    let limits = Limits::default();
    let Ok(script) = Script::parse(data, &limits) else { return };
    let printed = script.to_string();
    let again = Script::parse(printed.as_bytes(), &limits).expect("what is printed parses");
    assert_eq!(again.clone().without_positions(), script.clone().without_positions(), "comments included");
    assert_eq!(again.to_string(), printed, "and prints the same");
    let language = testsuite::whole_language();
    match (language.check(&script), language.check(&again)) {
        (Ok(one), Ok(other)) => assert_eq!(one.len(), other.len(), "and compiles to the same"),
        (Err(one), Err(other)) => assert_eq!(one.diagnostics().len(), other.diagnostics().len()),
        (one, other) => panic!("{one:?} but {other:?}"),
    }
}

/// A script, a NUL, and the message it is run on.
pub fn sieve_run(data: &[u8]) {
    let mut parts = data.splitn(2, |octet| *octet == 0);
    let script = parts.next().unwrap_or_default();
    let message = parts
        .next()
        .unwrap_or(b"From: ann@example.org\r\nTo: bob@example.com\r\nSubject: tea\r\n\r\nNow.\r\n");
    let Ok(program) = testsuite::whole_language().compile(script) else { return };
    let mut host = MemoryHost::new(message);
    host.input.envelope.from = Some("ann@example.org".into());
    host.input.envelope.to = Some("bob@example.com".into());
    host.input.trace = true;
    host.limits.instructions = 20_000;
    host.limits.memory = 1 << 20;
    host.mailboxes.entry("Tea".into()).or_default();
    let outcome = host.run(program);
    assert!(outcome.actions.len() <= host.limits.actions + 1, "no more actions than the limit and a keep");
    if outcome.error.is_some() {
        let [.., Action::Keep(keep)] = &outcome.actions[..] else { panic!("an error keeps the message") };
        assert!(keep.message.is_original(), "as it came");
        assert_eq!(host.octets(&keep.message), message);
    }
    for action in &outcome.actions {
        if let Action::Keep(delivery) | Action::FileInto(delivery) = action {
            assert_eq!(host.octets(&delivery.message).len() as u64, delivery.message.octets());
        }
    }
}

/// Two strings apart at a NUL, compared in every way there is: an order is an order.
pub fn sieve_compare(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (left, right) = text.split_once('\0').unwrap_or((text, ""));
    for name in ["i;octet", "i;ascii-casemap", "i;ascii-numeric", "i;unicode-casemap"] {
        let comparator = Comparator::of(name).expect("a known comparator");
        let order = comparator.compare(left, right);
        assert_eq!(comparator.compare(right, left), order.reverse(), "{name}");
        assert_eq!(comparator.equal(left, right), order.is_eq(), "{name}");
        assert!(comparator.equal(left, left), "{name}");
    }
}
