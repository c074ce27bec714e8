//! Mail that a host comes for (ATRN, RFC 2645): two servers, and each of them against a peer that is played here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this test needs a part of it")]
mod world;

use std::{io::BufReader, net::TcpListener};

use common::{PASSWORD, PATIENCE, Talk, free_port, wait_for, write_private};
use rcgen::generate_simple_self_signed;
use tempfile::TempDir;
use world::{Names, Site};

/// A certificate for this machine, and the lines that make a server show it.
fn certificate(folder: &TempDir) -> String {
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    write_private(&chain, &made.cert.pem());
    write_private(&key, &made.signing_key.serialize_pem());
    format!("[tls]\ncertificate = {chain:?}\nkey = {key:?}\n")
}

/// A provider for b.example and c.example, of which `office` may come for the first.
fn provider(extra: &str) -> Site {
    let extra = format!(
        "{extra}[[listener]]\nprotocol = \"odmr\"\naddress = \"127.0.0.1:0\"\n\
         [on_demand.accounts]\n\"office@a.example\" = [\"b.example\"]\n\"all@a.example\" = [\"b.example\", \"c.example\"]\n"
    );
    let users = ["ann", "office", "all"];
    let site = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &users);
    for domain in ["b.example", "c.example"] {
        site.run(&["domain", "add", domain, "--relay"]);
    }
    site
}

/// The lines of a customer that asks this provider.
fn customer(port: u16, tls: &str, folder: &TempDir) -> String {
    let password = folder.path().join("password");
    write_private(&password, &format!("{PASSWORD}\n"));
    format!(
        "[[on_demand.provider]]\nhost = \"localhost\"\nport = {port}\ntls = \"{tls}\"\nuser = \"office@a.example\"\n\
         password_file = {password:?}\nevery_seconds = 1\n"
    )
}

fn submit(site: &Site, to: &str, subject: &str) {
    let mut talk = site.talk("submission");
    talk.reply();
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&site.auth("ann@a.example")).starts_with("235"));
    assert!(talk.smtp("MAIL FROM:<ann@a.example>").starts_with("250"));
    assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("From: <ann@a.example>\r\nSubject: {subject}\r\n\r\nHello.\r\n"));
    assert!(talk.smtp(".").starts_with("250"));
}

/// A session of somebody who comes for mail.
fn odmr(site: &Site, user: &str) -> Talk {
    let mut talk = site.talk("odmr");
    assert!(talk.reply().starts_with("220"));
    assert!(talk.smtp("EHLO mx.b.example").contains("ATRN"));
    assert!(talk.smtp(&site.auth(user)).starts_with("235"));
    talk
}

fn waiting(site: &Site) -> usize {
    site.queue(&["list", "--json"]).lines().count()
}

/// Lines that keep a server's mail in Maildirs.
fn maildirs(folder: &TempDir, name: &str) -> String {
    let path = folder.path().join(name);
    format!("[store]\nkind = \"maildir\"\npath = \"{}/%d/%n/Maildir\"\n", path.display())
}

#[test]
fn two_servers() {
    hand_over(|_, _| String::new());
}

#[test]
fn two_servers_over_maildirs() {
    hand_over(maildirs);
}

/// From a provider to its customer, each with the store that these lines are for.
fn hand_over(store: impl Fn(&TempDir, &str) -> String) {
    let folder = tempfile::tempdir().unwrap();
    let a = provider(&(certificate(&folder) + &store(&folder, "provider")));
    for number in 1..=3 {
        submit(&a, "bob@b.example", &format!("number {number}"));
    }
    submit(&a, "eve@c.example", "for another");
    wait_for("the first attempts", || {
        let list = a.queue(&["list", "--json"]);
        (list.matches("until its host comes for it").count() >= 4).then_some(())
    });
    let trust = folder.path().join("cert.pem");
    let asks = customer(a.port("odmr"), "starttls", &folder);
    let extra = format!("{}{asks}[fetch]\ntrust = {trust:?}\n", store(&folder, "customer"));
    let b = Site::start("b.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["bob"]);
    let texts: Vec<String> =
        (1..=3).map(|number| wait_for("the mail", || b.fetch("bob@b.example", number))).collect();
    for number in 1..=3 {
        let subject = format!("Subject: number {number}");
        assert_eq!(texts.iter().filter(|text| text.contains(&subject)).count(), 1, "{texts:?}");
    }
    // It came inside the TLS that the customer began, to a customer that knows whom it asked.
    assert!(texts[0].contains("from mx.a.example (") && texts[0].contains("with ESMTPS"), "{}", texts[0]);
    wait_for("the queue to know", || (waiting(&a) == 1).then_some(()));
    // What comes later is there at the next call, and what is nobody's here stays there.
    submit(&a, "bob@b.example", "number 4");
    wait_for("the fourth", || b.fetch("bob@b.example", 4));
    wait_for("the queue to know", || (waiting(&a) == 1).then_some(()));
    assert!(a.queue(&["list"]).contains("eve@c.example"));
    // What waits outlives the server, and is still for whoever may come for it.
    let a = a.again();
    assert_eq!(waiting(&a), 1);
    let mut talk = odmr(&a, "office@a.example");
    assert_eq!(talk.smtp("ATRN"), "453 4.0.0 You have no mail");
    let mut talk = odmr(&a, "all@a.example");
    assert!(talk.smtp("ATRN c.example").starts_with("250 2.0.0"));
}

#[test]
fn who_may_come_for_what() {
    let a = provider("");
    let mut talk = a.talk("odmr");
    talk.reply();
    assert!(talk.smtp("EHLO mx.b.example").contains("ATRN"));
    assert!(talk.smtp("ATRN b.example").starts_with("530 5.7.0"));
    let mut talk = odmr(&a, "office@a.example");
    assert_eq!(talk.smtp("ATRN"), "453 4.0.0 You have no mail");
    assert_eq!(talk.smtp("ATRN c.example"), "450 4.7.1 Not for this account");
    assert_eq!(talk.smtp("ATRN b.example,c.example"), "450 4.7.1 Not for this account");
    assert!(talk.smtp("ATRN b.example c.example").starts_with("501 5.5.4"));
    assert_eq!(odmr(&a, "ann@a.example").smtp("ATRN"), "450 4.7.1 Not for this account");
    // At the other ports there is no such command.
    let mut talk = a.talk("submission");
    talk.reply();
    assert!(!talk.smtp("EHLO mx.b.example").contains("ATRN"));
    talk.smtp(&a.auth("office@a.example"));
    assert!(talk.smtp("ATRN").starts_with("502 5.5.1"));
}

#[test]
fn what_the_customer_does_not_take_waits() {
    let a = provider("");
    submit(&a, "bob@b.example", "refused");
    submit(&a, "eve@c.example", "taken");
    wait_for("the first attempts", || {
        (a.queue(&["list", "--json"]).matches("until its host comes for it").count() >= 2).then_some(())
    });
    // The line breaks.
    let mut talk = odmr(&a, "all@a.example");
    assert!(talk.smtp("ATRN").starts_with("250 2.0.0"));
    // Another call for the same meanwhile.
    assert!(talk.smtp("220 mx.b.example ESMTP").starts_with("EHLO mx.a.example"));
    assert!(odmr(&a, "office@a.example").smtp("ATRN").starts_with("451 4.5.1"));
    drop(talk);
    wait_for("the end of that", || a.log().contains("does not take it").then_some(()));
    assert_eq!(waiting(&a), 2);
    // One is refused for now, the other is taken.
    let mut talk = odmr(&a, "all@a.example");
    assert!(talk.smtp("ATRN c.example,B.example").starts_with("250 2.0.0"));
    talk.send("220 mx.b.example ESMTP\r\n");
    assert_eq!(talk.line(), "EHLO mx.a.example");
    talk.send("250 mx.b.example\r\n");
    let mut text = String::new();
    loop {
        let line = talk.line();
        let reply = match line.split(' ').next().unwrap() {
            "MAIL" | "RSET" => "250 2.0.0 Ok",
            "RCPT" if line.contains("bob") => "450 4.2.0 Not now",
            "RCPT" => "250 2.1.5 Ok",
            "DATA" => {
                talk.send("354 Go on\r\n");
                text = talk.until(".").join("\n");
                "250 2.0.0 Taken"
            }
            "QUIT" => break,
            _ => panic!("{line:?}"),
        };
        talk.send(format!("{reply}\r\n"));
    }
    talk.send("221 2.0.0 Bye\r\n");
    assert!(talk.at_end());
    assert!(text.contains("Subject: taken"), "{text}");
    let list = a.queue(&["list", "--json"]);
    assert!(list.contains("450 4.2.0 Not now") && !list.contains("eve@c.example"), "{list}");
}

/// It does not wait for its host, who must not have it tried again and again by calling.
#[test]
fn what_goes_another_way_is_not_handed_over() {
    let a = provider("");
    submit(&a, "bob@b.example", "another way");
    wait_for("the first attempt", || a.queue(&["list", "--json"]).contains("\"attempts\":1").then_some(()));
    // Nobody is there.
    a.queue(&["reroute", "--all", "--via", &format!("[127.0.0.1]:{}", free_port())]);
    wait_for("the second", || a.queue(&["list", "--json"]).contains("\"attempts\":2").then_some(()));
    assert_eq!(odmr(&a, "office@a.example").smtp("ATRN"), "453 4.0.0 You have no mail");
    submit(&a, "eve@b.example", "this way");
    wait_for("the first attempt", || a.queue(&["list", "--json"]).contains("\"attempts\":1").then_some(()));
    let mut talk = odmr(&a, "office@a.example");
    assert!(talk.smtp("ATRN").starts_with("250 2.0.0"));
    talk.send("220 mx.b.example ESMTP\r\n");
    let mut recipients = Vec::new();
    loop {
        let line = talk.line();
        match line.split(' ').next().unwrap() {
            "DATA" => {
                talk.send("354 Go on\r\n");
                talk.until(".");
            }
            "RCPT" => recipients.push(line.clone()),
            "QUIT" => break,
            _ => {}
        }
        talk.send("250 2.0.0 Ok\r\n");
    }
    assert_eq!(recipients, ["RCPT TO:<eve@b.example>"]);
    let list = a.queue(&["list", "--json"]);
    assert!(list.lines().count() == 1 && list.contains("\"attempts\":2"), "{list}");
}

#[test]
fn a_refusal_in_the_middle_bounces_nothing_else() {
    let a = provider("");
    let mut talk = a.talk("submission");
    talk.reply();
    talk.smtp("EHLO laptop.example");
    talk.smtp(&a.auth("ann@a.example"));
    for (to, octets) in [("big@b.example", 4_000_000), ("small@b.example", 10)] {
        talk.smtp("MAIL FROM:<ann@a.example>");
        talk.smtp(&format!("RCPT TO:<{to}>"));
        assert!(talk.smtp("DATA").starts_with("354"));
        talk.send(format!(
            "From: <ann@a.example>\r\n\r\n{}",
            format!("{}\r\n", "z".repeat(70)).repeat(octets / 72 + 1)
        ));
        assert!(talk.smtp(".").starts_with("250"));
    }
    wait_for("the first attempts", || {
        (a.queue(&["list", "--json"]).matches("until its host comes for it").count() >= 2).then_some(())
    });
    let mut talk = odmr(&a, "office@a.example");
    assert!(talk.smtp("ATRN").starts_with("250 2.0.0"));
    talk.send("220 mx.b.example ESMTP\r\n");
    let mut taken = 0;
    loop {
        let line = talk.line();
        match line.split(' ').next().unwrap() {
            "EHLO" => talk.send("250-mx.b.example\r\n250 PIPELINING\r\n"),
            "DATA" => {
                talk.send("354 Go on\r\n");
                let mut octets = 0;
                while octets < 300_000 {
                    let line = talk.line();
                    if line == "." {
                        break;
                    }
                    octets += line.len();
                }
                if octets >= 300_000 {
                    talk.send("452 4.3.1 No room for so much\r\n");
                    // What was on its way. If that was all, the refusal came in time, and the other message follows.
                    talk.until(".");
                    continue;
                }
                taken += 1;
                talk.send("250 2.0.0 Taken\r\n");
            }
            "QUIT" | "" => break,
            _ => talk.send("250 2.0.0 Ok\r\n"),
        }
    }
    wait_for("the queue to know", || a.queue(&["list", "--json"]).contains("452 4.3.1").then_some(()));
    wait_for("the end of that", || a.log().contains("mail was handed over").then_some(()));
    // The other waits for the next time, unless it was first; nothing comes back.
    assert_eq!(waiting(&a) + taken, 2, "{}", a.queue(&["list", "--json"]));
    assert!(a.fetch("ann@a.example", 1).is_none());
}

#[test]
fn a_provider_cannot_send_elsewhere_through_its_customer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let extra = customer(listener.local_addr().unwrap().port(), "none", &folder);
    let b = Site::start("b.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["bob"]);
    let stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut talk = Talk { stream: BufReader::new(stream) };
    talk.send("220 mx.a.example ESMTP\r\n");
    assert_eq!(talk.line(), "EHLO mx.b.example");
    talk.send("250-mx.a.example\r\n250-AUTH PLAIN\r\n250 ATRN\r\n");
    assert!(talk.line().starts_with("AUTH PLAIN "));
    talk.send("235 2.7.0 Ok\r\n");
    assert_eq!(talk.line(), "ATRN");
    // From here on the customer is the server.
    talk.send("250 2.0.0 Ok\r\n");
    assert!(talk.reply().starts_with("220 mx.b.example ESMTP"));
    let offer = talk.smtp("EHLO mx.a.example");
    assert!(!offer.contains("STARTTLS") && !offer.contains("AUTH") && !offer.contains("ATRN"), "{offer}");
    assert!(talk.smtp("MAIL FROM:<ann@a.example>").starts_with("250"));
    assert!(talk.smtp("RCPT TO:<eve@elsewhere.example>").starts_with("55"));
    assert!(talk.smtp("RCPT TO:<bob@b.example>").starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send("Subject: here\r\n\r\nHello.\r\n");
    assert!(talk.smtp(".").starts_with("250"));
    assert!(talk.smtp("QUIT").starts_with("221"));
    assert!(talk.at_end());
    assert!(b.fetch("bob@b.example", 1).unwrap().contains("Subject: here"));
}

#[test]
fn a_provider_is_asked_when_somebody_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let a = provider("");
    let extra =
        customer(a.port("odmr"), "none", &folder).replace("every_seconds = 1\n", "every_seconds = 86400\n");
    let b = Site::start("b.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["bob"]);
    wait_for("the first call", || a.log().contains("user=office@a.example").then_some(()));
    submit(&a, "bob@b.example", "at once");
    wait_for("the mail", || {
        // The first call may be going on still when this is said.
        b.run(&["fetch", "now"]);
        b.fetch("bob@b.example", 1)
    });
}
