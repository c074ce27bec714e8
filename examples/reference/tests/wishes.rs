//! What senders say of their mail: when it is to go and to whom still (FUTURERELEASE, DELIVERBY, MT-PRIORITY, RRVS), and that it is
//! advertising (NO-SOLICITING).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this uses a part of it")]
mod world;

use common::{PASSWORD, Server, Talk, USER, free_port, wait_for};
use world::{Behaviour, Host, Names, Site};

/// A server for a.example that sends mail for these domains to these ports of this machine, with these lines about its queue.
fn site(queue: &str, map: &[(&str, u16)]) -> Site {
    let map: String =
        map.iter().map(|(domain, port)| format!("\"{domain}\" = \"smtp:[127.0.0.1]:{port}\"\n")).collect();
    let extra = format!("[queue]\n{queue}\n[relay.transport]\n{map}");
    Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann", "carl"])
}

fn session(site: &Site) -> Talk {
    let mut talk = site.talk("submission");
    talk.reply();
    talk.smtp("EHLO client.example");
    assert!(talk.smtp(&site.auth("ann@a.example")).starts_with("235"));
    talk
}

fn send(talk: &mut Talk, parameters: &str, rcpts: &[&str], subject: &str) {
    let text = format!("From: <ann@a.example>\r\nSubject: {subject}\r\n\r\nHello\r\n.");
    let mail = format!("MAIL FROM:<ann@a.example> {parameters}");
    let rcpts: Vec<_> = rcpts.iter().map(|rcpt| format!("RCPT TO:{rcpt}")).collect();
    assert!(talk.smtp(mail.trim_end()).starts_with("250"), "{mail}");
    for rcpt in &rcpts {
        assert!(talk.smtp(rcpt).starts_with("250"), "{rcpt}");
    }
    assert!(talk.smtp("DATA").starts_with("354"));
    assert!(talk.smtp(&text).starts_with("250"));
}

fn waiting(site: &Site) -> usize {
    site.queue(&["list", "--json"]).lines().count()
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
}

#[test]
fn what_is_held_back_comes_at_its_time() {
    let host = Host::start(Behaviour::Answer("nothing", ""));
    let mut a = site("first_retry_seconds = 1", &[("b.example", host.port)]);
    let mut stranger = a.talk("smtp");
    stranger.reply();
    assert!(!stranger.smtp("EHLO client.example").contains("FUTURERELEASE"), "it is for users");
    assert!(stranger.smtp("MAIL FROM:<eve@e.example> HOLDFOR=5").starts_with("555 5.5.4"));
    let mut talk = session(&a);
    let hello = talk.smtp("EHLO client.example");
    assert!(hello.contains("FUTURERELEASE 2592000 20"), "{hello}");
    assert!(talk.smtp("MAIL FROM:<ann@a.example> HOLDFOR=2592001").starts_with("501 5.5.4"));
    // Long enough for all of what follows on a slow machine.
    send(&mut talk, "HOLDFOR=1000", &["<carl@a.example>", "<bob@b.example>"], "later");
    send(&mut talk, "", &["<carl@a.example>"], "now");
    let list = a.queue(&["list"]);
    has(&list, &["held back until", "carl@a.example", "bob@b.example"]);
    // Whoever wants all of the queue sent wants it sent in its time.
    let said = a.queue(&["retry", "--all"]);
    assert!(
        said.contains("\n1 held back until the time that the sender set") && !said.starts_with('1'),
        "{said}"
    );
    a.kill();
    a.serve();
    assert!(wait_for("the other", || a.fetch("carl@a.example", 1)).contains("Subject: now"));
    assert_eq!((a.fetch("carl@a.example", 2), host.received().len(), waiting(&a)), (None, 0, 1));
    // Released by hand it goes the way that it would have gone then.
    a.queue(&["release", "--all"]);
    let text = wait_for("what was held back", || a.fetch("carl@a.example", 2));
    has(&text, &["Return-Path: <ann@a.example>", "Subject: later", "Hello"]);
    wait_for("what goes on", || (host.received().len() == 1).then_some(()));
    has(&host.received()[0], &["Subject: later"]);
    wait_for("the queue", || (waiting(&a) == 0).then_some(()));
    // And by itself.
    send(&mut session(&a), "HOLDFOR=2", &["<carl@a.example>"], "soon");
    assert!(wait_for("its time", || a.fetch("carl@a.example", 3)).contains("Subject: soon"));
    wait_for("the queue", || (waiting(&a) == 0).then_some(()));
    assert_eq!(a.fetch("carl@a.example", 4), None, "once");
}

#[test]
fn what_was_for_somebody_who_is_gone_by_then_comes_back() {
    let a = site("first_retry_seconds = 1", &[]);
    send(&mut session(&a), "HOLDFOR=1000", &["<carl@a.example>", "<ann@a.example>"], "later");
    a.run(&["user", "remove", "carl@a.example"]);
    assert_eq!(a.queue(&["release", "--all"]), "1 released\n");
    let texts = [1, 2].map(|number| wait_for("what came", || a.fetch("ann@a.example", number)));
    let (reports, messages): (Vec<_>, Vec<_>) = texts.iter().partition(|text| text.contains("Action: "));
    assert!(messages[0].contains("Subject: later"), "{texts:?}");
    has(reports[0], &["Action: failed", "Final-Recipient: rfc822; carl@a.example", "Status: 5.1.1"]);
    wait_for("the queue", || (waiting(&a) == 0).then_some(()));
}

#[test]
fn what_is_late_comes_back_or_is_told_of() {
    // Nobody is at this port.
    let a = site("first_retry_seconds = 3600", &[("b.example", free_port())]);
    let mut talk = session(&a);
    assert!(talk.smtp("EHLO client.example").contains("250-DELIVERBY"));
    assert!(talk.smtp("MAIL FROM:<ann@a.example> BY=0;R").starts_with("501 5.5.4"));
    send(&mut talk, "BY=2;R", &["<bob@b.example>"], "returned");
    let report = wait_for("the report", || a.fetch("ann@a.example", 1));
    has(
        &report,
        &["Action: failed", "Status: 5.4.7", "by the time that the sender set", "Subject: returned"],
    );
    send(&mut talk, "BY=2;N", &["<bob@b.example>"], "goes on");
    let report = wait_for("the report", || a.fetch("ann@a.example", 2));
    has(&report, &["Action: delayed", "Subject: goes on"]);
    assert_eq!(waiting(&a), 1);
}

#[test]
fn a_host_that_does_not_know_of_time() {
    let host = Host::start(Behaviour::Answer("nothing", ""));
    let a = site("first_retry_seconds = 1", &[("b.example", host.port)]);
    let mut talk = session(&a);
    send(&mut talk, "BY=5000;R", &["<bob@b.example>"], "returned");
    let report = wait_for("the report", || a.fetch("ann@a.example", 1));
    has(&report, &["Action: failed", "Status: 5.3.3", "DELIVERBY"]);
    assert_eq!(host.received().len(), 0);
    send(&mut talk, "BY=5000;N", &["<bob@b.example>"], "goes on");
    let report = wait_for("the report", || a.fetch("ann@a.example", 2));
    has(&report, &["Action: relayed", "Subject: goes on"]);
    assert_eq!(host.received().len(), 1);
}

#[test]
fn the_time_goes_on_to_a_host_that_knows_it() {
    let port = free_port();
    let b = Site::start("b.example", "127.0.0.1", port, &Names::none(), "", &["bob"]);
    let a = site("first_retry_seconds = 1", &[("b.example", port)]);
    send(&mut session(&a), "BY=5000;RT MT-PRIORITY=3", &["<bob@b.example>"], "in time");
    wait_for("the mail", || b.fetch("bob@b.example", 1));
    // Who asks for it is told of each host that it passes.
    let report = wait_for("the report", || a.fetch("ann@a.example", 1));
    has(&report, &["Action: relayed", "Subject: in time"]);
}

#[test]
fn the_urgent_goes_first() {
    let port = free_port();
    let a = site("first_retry_seconds = 3600\nconnections = 1", &[("b.example", port)]);
    let mut stranger = a.talk("smtp");
    stranger.reply();
    assert!(stranger.smtp("EHLO client.example").contains("250-MT-PRIORITY"));
    let reply = stranger.smtp("MAIL FROM:<eve@e.example> MT-PRIORITY=9");
    assert!(reply.starts_with("250 2.3.6 0 "), "{reply}");
    let mut talk = session(&a);
    for (priority, subject) in
        [("", "one"), ("MT-PRIORITY=-3", "idle"), ("", "two"), ("MT-PRIORITY=4", "urgent")]
    {
        send(&mut talk, priority, &["<bob@b.example>"], subject);
    }
    wait_for("the first attempts", || {
        let list = a.queue(&["list", "--json"]);
        (list.lines().filter(|line| line.contains("\"attempts\":1")).count() == 4).then_some(())
    });
    let host = Host::at(port, Behaviour::Answer("nothing", ""));
    a.queue(&["retry", "--all"]);
    wait_for("all", || (host.received().len() == 4).then_some(()));
    let subject = |text: &String| {
        let line = text.lines().find_map(|line| line.strip_prefix("Subject: "));
        line.unwrap().to_owned()
    };
    let order: Vec<_> = host.received().iter().map(subject).collect();
    assert_eq!((&*order[0], &*order[3]), ("urgent", "idle"), "{order:?}");
}

#[test]
fn a_mailbox_that_was_given_to_somebody_else() {
    let host = Host::start(Behaviour::Answer("nothing", ""));
    let a = site("first_retry_seconds = 1", &[("b.example", host.port)]);
    let mut stranger = a.talk("smtp");
    stranger.reply();
    assert!(stranger.smtp("EHLO client.example").contains("250-RRVS"));
    assert!(stranger.smtp("MAIL FROM:<eve@e.example>").starts_with("250"));
    let reply = stranger.smtp("RCPT TO:<carl@a.example> RRVS=2014-04-03T23:01:00Z");
    assert!(reply.starts_with("550 5.7.17"), "{reply}");
    assert!(stranger.smtp("RCPT TO:<carl@a.example> RRVS=2100-01-01T00:00:00Z").starts_with("250"));
    // A host that cannot look gets it only if the sender says so, with a field in place of the parameter.
    let mut talk = session(&a);
    send(&mut talk, "", &["<bob@b.example> RRVS=2014-04-03T23:01:00Z"], "only bob");
    let report = wait_for("the report", || a.fetch("ann@a.example", 1));
    has(&report, &["Action: failed", "Status: 5.7.19"]);
    send(&mut talk, "", &["<bob@b.example> RRVS=2014-04-03T23:01:00Z;C"], "whoever");
    wait_for("the mail", || (host.received().len() == 1).then_some(()));
    let field = "Require-Recipient-Valid-Since: bob@b.example; Thu, 3 Apr 2014 23:01:00 +0000\r\n";
    assert!(host.received()[0].starts_with(field), "{}", host.received()[0]);
}

#[test]
fn whose_a_mailbox_is_matters_only_where_that_is_known_of_all() {
    let mut server = Server::prepare("allow_plaintext_auth = true\nauth = { passwd_files = [\"passwd\"] }\n");
    // Nobody has noted since when this one is whose it is.
    std::fs::write(server.folder.path().join("passwd"), "dora@example.org:{PLAIN}x\n").unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    assert!(!talk.smtp("EHLO client.example").contains("RRVS"));
    assert!(talk.smtp("MAIL FROM:<eve@e.example>").starts_with("250"));
    let reply = talk.smtp(&format!("RCPT TO:<{USER}> RRVS=2014-04-03T23:01:00Z"));
    assert!(reply.starts_with("555 5.5.4"), "{reply}");
}

#[test]
fn advertising_of_a_class_that_nobody_wants() {
    let refuses =
        |classes: &str| format!("[smtp]\nno_soliciting = [{classes}]\n[queue]\nfirst_retry_seconds = 1");
    let port = free_port();
    let unwanted = refuses("\"net.example:ADV\", \"d.example\"");
    let b = Site::start("b.example", "127.0.0.1", port, &Names::none(), &unwanted, &["bob"]);
    let mut stranger = b.talk("smtp");
    stranger.reply();
    let hello = stranger.smtp("EHLO client.example");
    assert!(hello.contains("NO-SOLICITING net.example:ADV,d.example"), "{hello}");
    for (classes, replies) in [
        ("org.example:ADV,NET.example:adv:ADLT", ["250", "550 5.7.1"]),
        ("org.example:ADV", ["250", "250"]),
        ("net..example:", ["250", "250"]),
        ("2net", ["501 5.5.4", "503"]),
    ] {
        let mail = stranger.smtp(&format!("MAIL FROM:<eve@e.example> SOLICIT={classes}"));
        let rcpt = stranger.smtp("RCPT TO:<bob@b.example>");
        assert!(mail.starts_with(replies[0]) && rcpt.starts_with(replies[1]), "{classes}: {mail}{rcpt}");
        stranger.smtp("RSET");
    }
    // What the envelope does not tell, the header may.
    for (field, reply) in [("org.example:ADV,\r\n net.example:ADV", "550 5.7.1"), ("org.example:ADV", "250")]
    {
        stranger.smtp("MAIL FROM:<eve@e.example>");
        stranger.smtp("RCPT TO:<bob@b.example>");
        stranger.smtp("DATA");
        let told = stranger.smtp(&format!("Solicitation: {field}\r\n\r\nBuy!\r\n."));
        assert!(told.starts_with(reply), "{field}: {told}");
    }
    assert!(wait_for("the one", || b.fetch("bob@b.example", 1)).contains("org.example:ADV"));
    // It goes on with the message, and to whoever wants it.
    let extra =
        format!("{}\n[relay.transport]\n\"b.example\" = \"smtp:[127.0.0.1]:{port}\"\n", refuses("\"x:y\""));
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann", "carl"]);
    let mut talk = session(&a);
    send(&mut talk, "SOLICIT=net.example:ADV", &["<bob@b.example>", "<carl@a.example>"], "cheap");
    assert!(wait_for("the mail", || a.fetch("carl@a.example", 1)).contains("Subject: cheap"));
    let report = wait_for("the report", || a.fetch("ann@a.example", 1));
    has(&report, &["Final-Recipient: rfc822; bob@b.example", "Status: 5.7.1", "SOLICIT=net.example:ADV"]);
    // Who does not announce it is not asked.
    let c = site("", &[]);
    let mut talk = session(&c);
    assert!(talk.smtp("MAIL FROM:<ann@a.example> SOLICIT=net.example:ADV").starts_with("555 5.5.4"));
}

#[test]
fn scripts_read_and_set_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("default.sieve");
    let text = r#"require ["envelope", "envelope-deliverby", "redirect-deliverby", "relational", "comparator-i;ascii-numeric", "copy"];
        if allof (envelope :is "bymode" "N", not envelope :is "bytrace" "true",
                  envelope :value "gt" :comparator "i;ascii-numeric" "bytimerelative" "4000") {
            redirect :copy :bytimerelative 2 :bymode "return" "bob@b.example";
        }"#;
    std::fs::write(&script, text).unwrap();
    // Nobody is at this port.
    let extra = format!("first_retry_seconds = 3600\n[sieve]\ndefault = {script:?}\n");
    let a = site(&extra, &[("b.example", free_port())]);
    let mut talk = session(&a);
    send(&mut talk, "", &["<carl@a.example>"], "without a time");
    send(&mut talk, "BY=9000;N", &["<carl@a.example>"], "with a time");
    let texts = [1, 2].map(|number| wait_for("both", || a.fetch("carl@a.example", number)));
    assert!(texts.iter().any(|text| text.contains("Subject: with a time")));
    let report =
        wait_for("the report", || a.fetch("ann@a.example", 1).or_else(|| a.fetch("carl@a.example", 3)));
    has(&report, &["Action: failed", "Status: 5.4.7", "Subject: with a time"]);
    wait_for("the queue", || (waiting(&a) == 0).then_some(()));
}
