//! Where mail is sent on to, and what follows when it cannot go there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this test needs a part of it")]
mod world;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use common::{free_port, have, wait_for};
use world::{Behaviour, Host, Names, Site};

/// Hands a message to a server's submission port, logged in.
fn submit(site: &Site, to: &[&str], subject: &str) {
    let mut talk = site.talk("submission");
    assert!(talk.reply().starts_with("220"));
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&site.auth("ann@a.example")).starts_with("235"));
    assert!(talk.smtp("MAIL FROM:<ann@a.example>").starts_with("250"));
    for to in to {
        let reply = talk.smtp(&format!("RCPT TO:<{to}>"));
        assert!(reply.starts_with("250"), "{to}: {reply}");
    }
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("From: <ann@a.example>\r\nSubject: {subject}\r\n\r\n..{subject}\r\n"));
    assert!(talk.smtp(".").starts_with("250"));
}

/// A mail store that speaks LMTP at a UNIX socket and has a mailbox for everybody but `full`.
fn lmtp(path: &Path) -> Arc<Mutex<Vec<String>>> {
    let listener = UnixListener::bind(path).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let lines = Arc::clone(&lines);
            thread::spawn(move || drop(serve(stream, &lines)));
        }
    });
    seen
}

fn serve(stream: UnixStream, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    writer.write_all(b"220 store LMTP\r\n")?;
    let (mut recipients, mut body) = (Vec::new(), false);
    for line in BufReader::new(stream).lines() {
        let line = line?.trim_end().to_owned();
        seen.lock().unwrap().push(line.clone());
        let answer = match line.split(' ').next().unwrap() {
            "." if body => {
                body = false;
                let one = |to: String| match to.contains("full") {
                    true => "452 4.2.2 full\r\n",
                    false => "250 2.1.5 kept\r\n",
                };
                recipients.drain(..).map(one).collect()
            }
            _ if body => continue,
            "LHLO" => "250-store\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n".to_owned(),
            "RCPT" => {
                recipients.push(line);
                "250 2.1.5 fine\r\n".to_owned()
            }
            "DATA" => {
                body = true;
                "354 go on\r\n".to_owned()
            }
            _ => "250 2.0.0 fine\r\n".to_owned(),
        };
        writer.write_all(answer.as_bytes())?;
    }
    Ok(())
}

#[test]
fn mail_for_a_store_goes_through_its_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lmtp");
    let extra = format!("[relay.transport]\n\"b.example\" = \"lmtp:unix:{}\"\n", path.display());
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann"]);
    // Nobody is there yet: it waits, and nothing is told.
    submit(&a, &["bob@b.example"], "first");
    let waits = wait_for("the first attempt", || {
        Some(a.queue(&["list"])).filter(|listed| listed.contains("tried 1 times"))
    });
    assert!(waits.contains(&format!("localhost[{}]", path.display())), "{waits}");
    let seen = lmtp(&path);
    a.queue(&["retry", "--all"]);
    wait_for("an empty queue", || a.queue(&["list"]).is_empty().then_some(()));
    submit(&a, &["bob@b.example", "full@b.example"], "second");
    wait_for("the one that is full", || {
        let listed = a.queue(&["list"]);
        (listed.contains("to <full@b.example>, waiting") && listed.contains("452 4.2.2 full")).then_some(())
    });
    assert!(a.queue(&["list"]).contains("to <bob@b.example>, delivered"));
    let seen = seen.lock().unwrap();
    assert!(seen.contains(&"LHLO mx.a.example".to_owned()), "{seen:?}");
    assert!(seen.contains(&"..second".to_owned()), "{seen:?}");
    assert!(a.fetch("ann@a.example", 1).is_none(), "nothing came back");
}

/// A configuration with a host to fall back to, where one has to log in.
fn falling_back_to(host: &Host, folder: &Path) -> String {
    let file = folder.join("password");
    std::fs::write(&file, "s3cret\n").unwrap();
    format!(
        "[relay]\nfallback = \"[127.0.0.1]:{}\"\nfallback_user = \"relay-user\"\nfallback_password_file = {file:?}\n\
         fallback_password_in_clear = true\n",
        host.port
    )
}

#[test]
fn the_fallback_stands_in_where_nobody_answers_or_we_are_on_a_list() {
    if !have("dnsmasq") {
        return;
    }
    let (fallback, folder) = (Host::start(Behaviour::WantsLogin), tempfile::tempdir().unwrap());
    let listed = Host::start(Behaviour::Answer(
        "RCPT",
        "554 5.7.1 Client host [192.0.2.1] blocked using zen.dnsbl.example",
    ));
    let names = Names::start(&[
        "mx-host=b.example,mx.b.example,10",
        "address=/mx.b.example/127.0.0.1",
        "mx-host=dead.example,mx.dead.example,10",
        "address=/mx.dead.example/127.0.0.9",
    ]);
    let extra = falling_back_to(&fallback, folder.path());
    let a = Site::start("a.example", "127.0.0.2", listed.port, &names, &extra, &["ann"]);
    submit(&a, &["bob@b.example"], "listed");
    let got = wait_for("the fallback to get it", || fallback.received().first().cloned());
    assert!(got.contains("Subject: listed"), "{got}");
    for subject in ["first", "second"] {
        submit(&a, &["eve@dead.example"], subject);
        wait_for("the next", || fallback.received().iter().any(|text| text.contains(subject)).then_some(()));
    }
    assert_eq!(fallback.logins(), ["\0relay-user\0s3cret"], "one connection, and a login at its beginning");
    wait_for("an empty queue", || a.queue(&["list"]).is_empty().then_some(()));
    assert!(a.fetch("ann@a.example", 1).is_none(), "nothing came back");
}

#[test]
fn the_fallback_does_not_stand_in_for_those_who_must_prove_themselves_or_were_named() {
    if !have("dnsmasq") {
        return;
    }
    let (fallback, folder) = (Host::start(Behaviour::WantsLogin), tempfile::tempdir().unwrap());
    // It offers no TLS.
    let open = Host::start(Behaviour::Answer("never", ""));
    let names = Names::start(&[
        "mx-host=encrypted.example,mx.b.example,10",
        "address=/mx.b.example/127.0.0.1",
        "mx-host=verified.example,mx.dead.example,10",
        "mx-host=dead.example,mx.dead.example,10",
        "address=/mx.dead.example/127.0.0.9",
    ]);
    let transport = format!(
        "[relay.transport]\n\"named.example\" = \"[127.0.0.1]:{}\"\n\"store.example\" = \"lmtp:unix:/nowhere\"\n",
        free_port()
    );
    let port = open.port;
    let levels = format!(
        "tls_for = {{ \"encrypted.example:{port}\" = \"encrypt\", \"verified.example:{port}\" = \"verify\" }}\n"
    );
    let extra = transport + &falling_back_to(&fallback, folder.path()) + &levels;
    let a = Site::start("a.example", "127.0.0.2", open.port, &names, &extra, &["ann"]);
    let waiting = ["encrypted.example", "verified.example", "named.example", "store.example"];
    for domain in waiting {
        submit(&a, &[&format!("bob@{domain}")], "waits");
    }
    submit(&a, &["bob@dead.example"], "goes");
    wait_for("the one that may", || (!fallback.received().is_empty()).then_some(()));
    let listed = wait_for("the attempts", || {
        let listed = a.queue(&["list"]);
        (listed.matches("tried 1 times").count() == waiting.len()).then_some(listed)
    });
    for domain in waiting {
        assert!(listed.contains(&format!("to <bob@{domain}>, waiting")), "{domain}: {listed}");
    }
    assert_eq!(fallback.received().len(), 1);
    assert!(open.received().is_empty());
}

#[test]
fn entries_are_shown_and_changed_by_recipient() {
    let transport = format!(
        "[relay.transport]\n\"*\" = \"[127.0.0.1]:{0}\"\n\"c.example\" = \"[127.0.0.2]:{0}\"\n",
        free_port()
    );
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &transport, &["ann"]);
    submit(&a, &["bob@b.example", "eve@b.example", "joe@c.example"], "shown");
    let tried = |count| {
        let listed = a.queue(&["list", "--json"]);
        (listed.matches("\"last_error\":\"host").count() >= count).then_some(listed)
    };
    wait_for("both entries to be tried", || tried(3));
    let entries = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let listed = entries(&a.queue(&["list", "--json"]));
    assert_eq!(listed.len(), 2, "one for each way");
    let id = listed[0]["id"].as_str().unwrap();
    // Both are shown by their id, and the message once.
    let shown = a.queue(&["show", id]);
    for (text, count) in [("to <bob@b.example>", 1), ("to <joe@c.example>", 1), ("Subject: shown", 1)] {
        assert_eq!(shown.matches(text).count(), count, "{text}: {shown}");
    }
    let shown: serde_json::Value = serde_json::from_str(&a.queue(&["show", id, "--json"])).unwrap();
    assert_eq!(shown["entries"].as_array().unwrap().len(), 2);
    assert!(shown["message"].as_str().unwrap().contains("Subject: shown"));
    // A rehearsal shows what would be, and changes nothing.
    let rehearsed = a.queue(&["delete", "--to", "eve@b.example", "--dry-run"]);
    assert!(
        rehearsed.ends_with("1 would be deleted\n") && rehearsed.contains("to <eve@b.example>"),
        "{rehearsed}"
    );
    assert!(!rehearsed.contains("bob@"), "{rehearsed}");
    assert_eq!(a.queue(&["hold", "--all", "--dry-run"]).lines().last(), Some("2 would be held"));
    assert_eq!(entries(&a.queue(&["list", "--json"])).len(), 2);
    assert!(!a.queue(&["list"]).contains("\n  held"));
    // Deleting for one leaves the others.
    let deleted = entries(&a.queue(&["delete", "--to", "eve@b.example", "--json"]));
    assert_eq!(deleted.len(), 1);
    assert_eq!(deleted[0]["recipients"][0]["address"], "eve@b.example");
    let left = a.queue(&["list"]);
    assert!(!left.contains("eve@") && left.contains("bob@") && left.contains("joe@"), "{left}");
    assert_eq!(a.queue(&["delete", "--to", "bob@b.example"]), "1 deleted\n");
    let left = entries(&a.queue(&["list", "--json"]));
    assert_eq!(left.len(), 1, "the entry went with its last recipient");
    for (change, state) in [("hold", true), ("release", false)] {
        assert_eq!(entries(&a.queue(&[change, id, "--json"])).len(), 1, "{change}");
        assert_eq!(entries(&a.queue(&["list", "--json"]))[0]["held"], state, "{change}");
    }
}

#[test]
fn mail_that_the_name_system_sends_to_us_under_another_name_does_not_go_round() {
    if !have("dnsmasq") {
        return;
    }
    let names = Names::start(&["mx-host=c.example,mx.c.example,10", "address=/mx.c.example/127.0.0.2"]);
    let a = Site::start("a.example", "127.0.0.2", free_port(), &names, "", &["ann"]);
    submit(&a, &["eve@c.example"], "round");
    let report = wait_for("the report", || a.fetch("ann@a.example", 1));
    assert!(report.contains("Status: 5.4.6") && report.contains("loops back to this server"), "{report}");
}

/// Two servers, each with a user who forwards to the other, and a third user who writes.
fn forwarding_to_each_other(keep: &str) -> Option<(Names, Site, Site)> {
    let (names, a, b) = Site::pair(&["ann", "amy"], &["bob"])?;
    a.run(&["user", "set", "amy@a.example", "--forward", "bob@b.example", "--keep", keep]);
    b.run(&["user", "set", "bob@b.example", "--forward", "amy@a.example", "--keep", keep]);
    Some((names, a, b))
}

#[test]
fn servers_that_forward_to_each_other_end() {
    let Some((_names, a, b)) = forwarding_to_each_other("true") else { return };
    submit(&a, &["amy@a.example"], "kept");
    let report = wait_for("the report", || a.fetch("ann@a.example", 1));
    assert!(report.contains("5.4.6") && report.contains("goes round in a loop"), "{report}");
    assert_eq!(a.queue(&["list"]) + &b.queue(&["list"]), "");
    let first = a.fetch("amy@a.example", 1).expect("one copy here");
    assert!(first.contains("Subject: kept") && first.contains("Delivered-To: amy@a.example"), "{first}");
    let second = b.fetch("bob@b.example", 1).expect("and one there");
    assert_eq!(second.matches("Delivered-To: ").count(), 2, "{second}");
    assert!(a.fetch("amy@a.example", 2).is_none() && b.fetch("bob@b.example", 2).is_none());
    assert!(a.fetch("ann@a.example", 2).is_none(), "one report");
}

#[test]
fn what_nobody_keeps_comes_back() {
    let Some((_names, a, b)) = forwarding_to_each_other("false") else { return };
    submit(&a, &["amy@a.example"], "lost");
    let report = wait_for("the report", || a.fetch("ann@a.example", 1));
    assert!(report.contains("5.4.6") && report.contains("Subject: lost"), "{report}");
    assert_eq!(a.queue(&["list"]) + &b.queue(&["list"]), "");
    assert!(a.fetch("ann@a.example", 2).is_none(), "one report");
}

#[test]
fn mail_goes_out_over_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        assert!(std::env::var_os("CI").is_none(), "CI must have IPv6");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let host = Host::on(listener, Behaviour::Answer("never", ""));
    let extra = format!("[relay.transport]\n\"b.example\" = \"[::1]:{port}\"\n");
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann"]);
    submit(&a, &["bob@b.example"], "six");
    let got = wait_for("the message", || host.received().first().cloned());
    assert!(got.contains("Subject: six"), "{got}");
    wait_for("an empty queue", || a.queue(&["list"]).is_empty().then_some(()));
}

#[test]
fn entries_go_by_another_way_and_are_given_up_at_another_time() {
    let transport = format!("[relay.transport]\n\"*\" = \"[127.0.0.1]:{}\"\n", free_port());
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &transport, &["ann"]);
    submit(&a, &["bob@b.example"], "rerouted");
    submit(&a, &["eve@c.example"], "given up");
    wait_for("both to be tried", || {
        (a.queue(&["list", "--json"]).matches("\"attempts\":1").count() == 2).then_some(())
    });
    let host = Host::start(Behaviour::Answer("never", ""));
    let via = format!("smtp:[127.0.0.1]:{}", host.port);
    assert!(a.fails(&["queue", "reroute", "--all", "--via", "[x"]).contains("--via [x"));
    assert_eq!(a.queue(&["reroute", "--to", "@b.example", "--via", &via]), "1 rerouted\n");
    let got = wait_for("the message", || host.received().first().cloned());
    assert!(got.contains("Subject: rerouted"), "{got}");
    wait_for("the other alone", || (a.queue(&["list", "--json"]).lines().count() == 1).then_some(()));
    assert_eq!(a.queue(&["expire", "--all", "--after", "1h"]), "1 given up then\n");
    assert!(a.queue(&["list"]).contains("given up at "));
    assert!(a.fetch("ann@a.example", 1).is_none());
    assert_eq!(a.queue(&["expire", "--all", "--after", "1s"]), "1 given up then\n");
    let report = wait_for("the report", || a.fetch("ann@a.example", 1));
    assert!(report.contains("Subject: given up") && report.contains("Action: failed"), "{report}");
    wait_for("an empty queue", || a.queue(&["list"]).is_empty().then_some(()));
}

#[test]
fn a_relay_asks_the_next_host_before_it_takes_mail() {
    let (has, lacks, shy) = (
        Host::start(Behaviour::Answer("never", "")),
        Host::start(Behaviour::Answer("RCPT", "550 5.1.1 nobody")),
        Host::start(Behaviour::Answer("MAIL", "550 5.1.8 nothing from nobody")),
    );
    let transport = format!(
        "[relay.transport]\n\"has.example\" = \"[127.0.0.1]:{}\"\n\"lacks.example\" = \"[127.0.0.1]:{}\"\n\
         \"shy.example\" = \"[127.0.0.1]:{}\"\n\"down.example\" = \"[127.0.0.1]:{}\"\n",
        has.port,
        lacks.port,
        shy.port,
        free_port()
    );
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &transport, &["ann"]);
    for domain in ["has.example", "lacks.example", "shy.example", "down.example"] {
        a.run(&["domain", "add", domain, "--relay", "--recipients", "verified"]);
    }
    let mut talk = a.talk("smtp");
    talk.reply();
    talk.smtp("EHLO client.example");
    assert!(talk.smtp("MAIL FROM:<eve@elsewhere.example>").starts_with("250"));
    for _ in 0..2 {
        for (domain, expected) in [("has", "250"), ("lacks", "550 5.1.1"), ("shy", "250"), ("down", "250")] {
            let reply = talk.smtp(&format!("RCPT TO:<bob@{domain}.example>"));
            assert!(reply.starts_with(expected), "{domain}: {reply}");
        }
    }
    assert_eq!(has.commands("RCPT").len(), 1, "the answer is remembered");
    assert_eq!(lacks.commands("RCPT").len(), 1);
    assert!(has.commands("MAIL").iter().all(|line| line.starts_with("MAIL FROM:<>")));
    assert!(has.commands("DATA").is_empty() && has.received().is_empty());
    assert!(a.run(&["domain", "list"]).contains("has.example  relay of verified recipients"));
}
