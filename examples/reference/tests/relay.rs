//! Mail between servers: two of ours and a name server on the loopback network, Debian's Postfix, and hosts that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/world.rs"]
mod world;

use std::{
    io::Write as _,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use common::{Talk, free_port, have, wait_for};
use world::{Behaviour, Host, Names, Site};

/// Hands a message to a server's submission port, logged in.
fn submit(site: &Site, user: &str, to: &[&str], text: &str) -> String {
    let mut talk = site.talk("submission");
    assert!(talk.reply().starts_with("220"));
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&site.auth(user)).starts_with("235"));
    assert!(talk.smtp(&format!("MAIL FROM:<{user}>")).starts_with("250"));
    for to in to {
        let reply = talk.smtp(&format!("RCPT TO:<{to}>"));
        assert!(reply.starts_with("250"), "{to}: {reply}");
    }
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(text.replace("\r\n.", "\r\n.."));
    let reply = talk.smtp(".");
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    talk.smtp("QUIT");
    reply.trim_start_matches("250 2.0.0 Ok: queued as ").to_owned()
}

fn message(subject: &str) -> String {
    format!(
        "From: <ann@a.example>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@a.example>\r\n\r\n.{subject}\r\n"
    )
}

/// Two of our servers and what they know of each other.
fn pair() -> Option<(Names, Site, Site)> {
    Site::pair(&["ann"], &["bob"])
}

#[test]
fn alice_writes_to_bob_on_another_server() {
    let Some((_names, a, b)) = pair() else { return };
    let begun = Instant::now();
    submit(&a, "ann@a.example", &["bob@b.example"], &message("hello"));
    let text = wait_for("the message at the other server", || b.fetch("bob@b.example", 1));
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(5), "{taken:?}");
    println!("sent, looked up, delivered and read in {taken:?}");
    assert!(text.contains("Subject: hello") && text.contains("\r\n.hello\r\n"), "{text}");
    // Our own Return-Path stayed at home; each hop left its Received field.
    assert_eq!(text.matches("Return-Path: <ann@a.example>").count(), 1, "{text}");
    assert_eq!(text.matches("Received: from").count(), 2, "{text}");
    assert!(text.contains("with ESMTPS id"), "TLS was offered: {text}");
    assert!(b.pop3("bob@b.example").contains("Subject: hello"));
    wait_for("an empty queue", || (a.queue(&["list"]).is_empty()).then_some(()));
}

#[test]
fn a_stranger_cannot_relay_and_an_unknown_recipient_is_reported() {
    let Some((_names, a, _b)) = pair() else { return };
    let mut talk = a.talk("smtp");
    talk.reply();
    talk.smtp("EHLO stranger.example");
    talk.smtp("MAIL FROM:<x@elsewhere.example>");
    assert!(talk.smtp("RCPT TO:<bob@b.example>").starts_with("554 5.7.1"));
    submit(&a, "ann@a.example", &["nobody@b.example", "bob@nowhere.example"], &message("lost"));
    for number in 1..=2 {
        let text = wait_for("a report", || a.fetch("ann@a.example", number));
        assert!(text.contains("Return-Path: <>"), "{text}");
        assert!(text.contains("report-type=delivery-status"), "{text}");
        assert!(text.contains("Action: failed") && text.contains("Status: 5.1."), "{text}");
        assert!(text.contains("Subject: lost"), "the message is returned: {text}");
    }
}

#[test]
fn one_message_for_mailboxes_here_and_elsewhere() {
    let Some((_names, a, b)) = pair() else { return };
    submit(&a, "ann@a.example", &["ann@a.example", "bob@b.example"], &message("both"));
    assert!(a.fetch("ann@a.example", 1).unwrap().contains("Subject: both"));
    wait_for("the message at the other server", || b.fetch("bob@b.example", 1));
}

#[test]
fn hosts_that_misbehave_get_it_in_the_end() {
    let hosts = [
        Behaviour::Greylist,
        Behaviour::DropAt("greeting"),
        Behaviour::DropAt("EHLO"),
        Behaviour::DropAt("MAIL"),
        Behaviour::DropAt("RCPT"),
        Behaviour::DropAt("DATA"),
        Behaviour::DropAt("."),
        Behaviour::Answer("greeting", "421 4.3.2 busy"),
        Behaviour::Answer("greeting", "554 5.3.2 not today"),
        Behaviour::Answer("EHLO", "421 4.3.2 busy"),
        Behaviour::Answer("MAIL", "451 4.3.0 later"),
        Behaviour::Answer("RCPT", "421 4.3.2 closing"),
        Behaviour::Answer("DATA", "451 4.3.0 later"),
        Behaviour::Answer(".", "452 4.3.1 full"),
        Behaviour::Answer("MAIL", "!!! garbage"),
        Behaviour::Silent,
    ];
    let started: Vec<Host> = hosts.iter().map(|behaviour| Host::start(*behaviour)).collect();
    let transport: String = started
        .iter()
        .enumerate()
        .map(|(number, host)| format!("\"h{number}.example\" = \"smtp:[127.0.0.1]:{}\"\n", host.port))
        .collect();
    let extra = format!(
        "[queue]\nfirst_retry_seconds = 1\nlongest_retry_seconds = 1\nconnect_seconds = 3\n[relay.transport]\n{transport}"
    );
    let names = Names::none();
    let a = Site::start("a.example", "127.0.0.1", free_port(), &names, &extra, &["ann"]);
    for number in 0..hosts.len() {
        let subject = format!("m{number}");
        submit(&a, "ann@a.example", &[&format!("bob@h{number}.example")], &message(&subject));
    }
    // All of them relent at the second attempt, but for the one that never says anything: that must not keep others.
    for (number, host) in started.iter().enumerate().take(hosts.len() - 1) {
        let got = wait_for(&format!("{:?} to relent", hosts[number]), || host.received().first().cloned());
        assert!(got.contains(&format!("Subject: m{number}")), "{got}");
    }
    let left = a.queue(&["list"]);
    assert!(left.contains("h15.example"), "{left}");
    let log = a.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(log.contains("deferred"));
    // What hosts say in place of a greeting is told as they said it, though all of it is for now.
    for said in ["said: 421 4.3.2 busy", ": 554 5.3.2 not today"] {
        assert!(log.contains(said), "{said}: {log}");
    }
}

#[test]
fn a_permanent_refusal_is_reported_at_once() {
    let host = Host::start(Behaviour::Answer("RCPT", "550 5.1.1 no such user"));
    let extra = format!("[relay.transport]\n\"b.example\" = \"smtp:[127.0.0.1]:{}\"\n", host.port);
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann"]);
    submit(&a, "ann@a.example", &["bob@b.example"], &message("refused"));
    let text = wait_for("the report", || a.fetch("ann@a.example", 1));
    assert!(text.contains("Diagnostic-Code: smtp; 550 5.1.1 no such user"), "{text}");
    assert!(text.contains("Final-Recipient: rfc822; bob@b.example"), "{text}");
    assert_eq!(a.queue(&["list"]), "");
}

#[test]
fn a_smarthost_gets_login_and_all_that_is_not_for_here() {
    let host = Host::start(Behaviour::WantsLogin);
    let folder = tempfile::tempdir().unwrap();
    std::fs::File::create(folder.path().join("password")).unwrap().write_all(b"s3cret\n").unwrap();
    let extra = format!(
        "[relay]\nsmarthost = \"[127.0.0.1]:[{}]\"\nuser = \"relay-user\"\npassword_file = \"{}\"\npassword_in_clear = true\n",
        host.port,
        folder.path().join("password").display()
    );
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann"]);
    submit(&a, "ann@a.example", &["bob@b.example", "eve@c.example", "ann@a.example"], &message("smart"));
    let got = wait_for("the smarthost to get it", || host.received().first().cloned());
    assert!(got.contains("Subject: smart"));
    assert_eq!(host.commands("RCPT").len(), 2, "one transaction, and what is for here stays here");
    assert_eq!(host.logins(), ["\0relay-user\0s3cret"]);
    assert!(a.fetch("ann@a.example", 1).is_some());
    wait_for("an empty queue", || a.queue(&["list"]).is_empty().then_some(()));
    // A message that is larger than the host takes is refused here and at once.
    host.limit(100);
    thread::sleep(Duration::from_secs(5));
    submit(&a, "ann@a.example", &["bob@b.example"], &message(&"x".repeat(300)));
    let text = wait_for("the report", || a.fetch("ann@a.example", 2));
    assert!(text.contains("Status: 5.3.4"), "{text}");
}

/// Waits until all that waits was tried, and gives why it was in vain.
fn in_vain(site: &Site, count: usize) -> Vec<String> {
    wait_for("every message to be tried", || {
        let listed = site.queue(&["list", "--json"]);
        let entries = listed.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let why: Vec<String> =
            entries.filter_map(|entry| entry["last_error"].as_str().map(str::to_owned)).collect();
        (why.len() == count).then_some(why)
    })
}

#[test]
fn hosts_that_offer_tls_and_cannot_do_it_get_what_may_go_without() {
    // What they say to STARTTLS, and over how many connections mail gets there.
    let cases = [
        ("454 4.7.0 not now", Some(1)),
        ("501 5.5.4 never", Some(1)),
        ("", Some(2)),
        ("220 2.0.0 go", Some(2)),
        ("421 4.3.2 closing", None),
    ];
    for level in ["may", "encrypt", "verify"] {
        let hosts: Vec<Host> = cases.iter().map(|(text, _)| Host::start(Behaviour::StartTls(text))).collect();
        let ways = hosts.iter().enumerate();
        let ways: String = ways
            .map(|(at, host)| format!("\"h{at}.example\" = \"smtp:[127.0.0.1]:{}\"\n", host.port))
            .collect();
        let extra = format!("[relay.transport]\n{ways}[relay]\ntls = \"{level}\"\n");
        let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann"]);
        for at in 0..hosts.len() {
            submit(&a, "ann@a.example", &[&format!("bob@h{at}.example")], &message(&format!("m{at}")));
        }
        let taken = if level == "may" { 4 } else { 0 };
        wait_for("them to be taken", || {
            (hosts.iter().filter(|host| !host.received().is_empty()).count() == taken).then_some(())
        });
        in_vain(&a, hosts.len() - taken);
        for ((text, connections), host) in cases.iter().zip(&hosts) {
            let expected = connections.filter(|_| level == "may");
            assert_eq!(host.received().len(), usize::from(expected.is_some()), "{level} {text:?}");
            assert_eq!(host.commands("EHLO").len(), expected.unwrap_or(1), "{level} {text:?}");
            assert!(expected.is_some() || host.commands("MAIL").is_empty(), "{level} {text:?}");
        }
    }
}

#[test]
fn the_next_exchanger_is_asked_where_the_first_takes_nothing_now() {
    if !have("dnsmasq") {
        return;
    }
    // What the first does, and how many messages it and the second have in the end.
    let cases = [
        (Behaviour::Answer("RCPT", "452 4.3.1 disk full"), 0, 1),
        (Behaviour::Answer("RCPT", "421 4.3.2 closing"), 0, 1),
        (Behaviour::Answer("MAIL", "451 4.3.0 later"), 0, 1),
        (Behaviour::Answer("MAIL", "421 4.3.2 closing"), 0, 1),
        (Behaviour::DropAt("MAIL"), 0, 1),
        (Behaviour::DropAt("RCPT"), 0, 1),
        // It has had the message, or may have it.
        (Behaviour::Answer("DATA", "451 4.3.0 later"), 0, 0),
        (Behaviour::Answer(".", "451 4.3.0 later"), 0, 0),
        (Behaviour::DropAt("."), 0, 0),
        (Behaviour::Answer("RCPT", "550 5.1.1 nobody"), 0, 0),
        // One of two recipients was put off.
        (Behaviour::Greylist, 1, 1),
    ];
    let port = free_port();
    let at = |address: String, behaviour| Host::on(TcpListener::bind((address, port)).unwrap(), behaviour);
    let mut lines = Vec::new();
    let mut domain = |name: &str, addresses: &[String]| {
        for (number, address) in addresses.iter().enumerate() {
            lines.push(format!("mx-host={name}.example,mx{number}.{name}.example,{number}"));
            lines.push(format!("address=/mx{number}.{name}.example/{address}"));
        }
    };
    let mut hosts = Vec::new();
    for (number, (behaviour, ..)) in cases.iter().enumerate() {
        let addresses = [1, 2].map(|which| format!("127.0.{which}.{}", number + 1));
        domain(&format!("h{number}"), &addresses);
        let [first, second] = addresses;
        hosts.push((at(first, *behaviour), at(second, Behaviour::Answer("never", ""))));
    }
    // Two that do not want it now are enough; then it is the turn of the fallback where they have closed, not where they said later.
    let busy = |number: u32, text| {
        let addresses = [3, 4, 5].map(|which| format!("127.0.{which}.{number}"));
        let hosts = addresses.clone().map(|address| at(address, Behaviour::Answer("RCPT", text)));
        (addresses, hosts)
    };
    let (addresses, closed) = busy(1, "421 4.3.2 closing");
    domain("closed", &addresses);
    let (addresses, full) = busy(2, "452 4.3.1 full");
    domain("full", &addresses);
    let ways =
        [Behaviour::Greylist, Behaviour::DropAt("RCPT"), Behaviour::Answer("RCPT", "421 4.3.2 closing")];
    let kept = ways.into_iter().enumerate().map(|(number, behaviour)| {
        let addresses = [3, 4].map(|which| format!("127.0.{which}.{}", number + 3));
        domain(&format!("kept{number}"), &addresses);
        (behaviour, addresses.map(|address| at(address, behaviour)))
    });
    let kept: Vec<(Behaviour, [Host; 2])> = kept.collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let names = Names::start(&lines);
    let a = Site::start("a.example", "127.0.0.2", port, &names, "", &["ann"]);
    for (number, (behaviour, ..)) in cases.iter().enumerate() {
        let to = ["bob", "eve"].map(|user| format!("{user}@h{number}.example"));
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let to = if *behaviour == Behaviour::Greylist { &to[..] } else { &to[..1] };
        submit(&a, "ann@a.example", to, &message(&format!("m{number}")));
    }
    in_vain(&a, 3);
    wait_for("the report of the one that is refused", || a.fetch("ann@a.example", 1));
    for ((behaviour, first, second), (one, two)) in cases.iter().zip(&hosts) {
        let received = wait_for(&format!("{behaviour:?}"), || {
            (one.received().len() + two.received().len() >= first + second)
                .then(|| (one.received().len(), two.received().len()))
        });
        assert_eq!(received, (*first, *second), "{behaviour:?}");
        assert_eq!(two.commands("RCPT").len(), *second, "{behaviour:?}");
        assert_eq!(one.commands("MAIL").len(), 1, "{behaviour:?}");
    }
    // The same over a connection that is kept from the message before: that host is not called again.
    for (number, (behaviour, hosts)) in kept.iter().enumerate() {
        hosts.iter().for_each(|host| host.behave(true));
        for (nth, expected) in [(0, [1, 0]), (1, [1, 1])] {
            let to = format!("bob@kept{number}.example");
            submit(&a, "ann@a.example", &[&to], &message(&format!("k{number}-{nth}")));
            wait_for(&format!("{behaviour:?} of a connection that is kept"), || {
                (hosts.each_ref().map(|host| host.received().len()) == expected).then_some(())
            });
            hosts[0].behave(false);
        }
        assert_eq!(hosts.each_ref().map(|host| host.commands("EHLO").len()), [1, 1], "{behaviour:?}");
        assert_eq!(hosts[0].commands("MAIL").len(), 2, "{behaviour:?}");
    }
    let fallback = Host::start(Behaviour::Answer("never", ""));
    let extra = format!("[relay]\nfallback = \"[127.0.0.1]:{}\"\n", fallback.port);
    let b = Site::start("b.example", "127.0.0.3", port, &names, &extra, &["ann"]);
    for domain in ["closed", "full"] {
        submit(
            &b,
            "ann@b.example",
            &[&format!("bob@{domain}.example")],
            &message(domain).replace("ann@a", "ann@b"),
        );
    }
    let got = wait_for("the fallback to get it", || fallback.received().first().cloned());
    assert!(got.contains("Subject: closed"), "{got}");
    let why = in_vain(&b, 1);
    assert!(why[0].contains("mx1.full.example") && why[0].contains("452"), "{why:?}");
    for hosts in [closed, full] {
        assert_eq!(hosts.each_ref().map(|host| host.commands("RCPT").len()), [1, 1, 0]);
    }
    assert_eq!(fallback.received().len(), 1);
}

#[test]
fn the_queue_is_shown_and_changed() {
    // A port that nobody listens on.
    let extra = format!("[relay.transport]\n\"*\" = \"smtp:[127.0.0.1]:{}\"\n", free_port());
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann"]);
    let first = submit(&a, "ann@a.example", &["bob@b.example"], &message("one"));
    let second = submit(&a, "ann@a.example", &["eve@c.example"], &message("two"));
    let listed = wait_for("both to be tried", || {
        let listed = a.queue(&["list", "--json"]);
        (listed.matches("\"last_error\":\"host").count() >= 2).then_some(listed)
    });
    let entries: Vec<serde_json::Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[0]["id"].as_str(), entries[1]["id"].as_str()), (Some(&*first), Some(&*second)));
    assert_eq!(entries[0]["sender"], "ann@a.example");
    assert_eq!(entries[0]["recipients"][0]["address"], "bob@b.example");
    assert!(entries[0]["next_try"].as_u64() > entries[0]["arrival"].as_u64());
    assert!(a.queue(&["show", &first]).contains("Subject: one"));
    assert_eq!(a.queue(&["hold", "--to", "@b.example"]), "1 held\n");
    let mailq = a.run(&["mailq"]);
    assert!(mailq.contains(&format!("{first}!")), "{mailq}");
    assert!(mailq.ends_with("in 2 Requests.\n"), "{mailq}");
    let postqueue: serde_json::Value =
        serde_json::from_str(a.run(&["mailq", "-j"]).lines().next().unwrap()).unwrap();
    assert_eq!(postqueue["queue_name"], "hold");
    let qshape = a.run(&["qshape", "-s"]);
    assert!(qshape.lines().nth(2).unwrap().trim_start().starts_with("a.example  2"), "{qshape}");
    // It survives, held as it is.
    let a = a.again();
    assert_eq!(a.queue(&["list", "--from", "ann@a.example"]).matches("octets").count(), 2);
    // What is held is not tried, nor said to be.
    let tried = a.queue(&["retry", "--all"]);
    assert_eq!(tried, "1 tried again\n1 held, and tried when they are released; queue release does that\n");
    assert_eq!(a.queue(&["retry", "--all", "--dry-run"]).matches("octets").count(), 1);
    assert_eq!(a.queue(&["release", &first]), "1 released\n");
    assert_eq!(a.queue(&["retry", "--all"]), "2 tried again\n");
    assert_eq!(a.queue(&["delete", "--all"]), "2 deleted\n");
    assert_eq!(a.queue(&["list"]), "");
    assert_eq!(a.run(&["mailq"]), "Mail queue is empty\n");
    let mut talk: Talk = a.talk("smtp");
    assert!(talk.reply().starts_with("220"));
}
