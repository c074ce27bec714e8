//! Strangers do not get mail through us to others, however they write the address.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    fs,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, USER, run, wait_for};

const SENDERS: &[&str] = &[
    "<>",
    "<spammer@elsewhere.example>",
    "<alice@example.org>",
    "<alice@mail.example.org>",
    "<alice@[127.0.0.1]>",
    "<postmaster@example.org>",
    "<@example.org:spammer@elsewhere.example>",
    "<alice@example.org> AUTH=alice@example.org",
];

const RECIPIENTS: &[&str] = &[
    "<victim@elsewhere.example>",
    "<VICTIM@ELSEWHERE.EXAMPLE>",
    "<victim@elsewhere.example.>",
    "<victim%elsewhere.example@example.org>",
    "<victim%elsewhere.example@mail.example.org>",
    "<victim%elsewhere.example@[127.0.0.1]>",
    "<victim%elsewhere.example>",
    "<victim%40elsewhere.example@example.org>",
    "<\"victim@elsewhere.example\"@example.org>",
    "<\"victim@elsewhere.example\"@[127.0.0.1]>",
    "<\"victim@elsewhere.example\">",
    "<\"victim%elsewhere.example\"@example.org>",
    "<\"victim\\@elsewhere.example\"@example.org>",
    "<\"\\\"victim\\\"@elsewhere.example\"@example.org>",
    "<elsewhere.example!victim@example.org>",
    "<elsewhere.example!victim>",
    "<example.org!elsewhere.example!victim>",
    "<@example.org:victim@elsewhere.example>",
    "<@mail.example.org,@example.org:victim@elsewhere.example>",
    "<@example.org:victim%elsewhere.example@example.org>",
    "<@example.org:@elsewhere.example:victim>",
    "<victim@elsewhere.example@example.org>",
    "<victim@example.org@elsewhere.example>",
    "<alice@example.org@elsewhere.example>",
    "<victim@[192.0.2.1]>",
    "<victim@[IPv6:2001:db8::1]>",
    "<victim@192.0.2.1>",
    "<victim@3221225985>",
    "<victim>",
    "<>",
    "<victim@>",
    "<@elsewhere.example>",
    "<alice@example.org,victim@elsewhere.example>",
    "<victim@elsewhere.example,alice@example.org>",
    "<alice@example.org> <victim@elsewhere.example>",
    "<alice@example.org>,<victim@elsewhere.example>",
    "<alice@example.org;victim@elsewhere.example>",
    "<victim@elsewhere.example(alice@example.org)>",
    "<alice@example.org(x)@elsewhere.example>",
    "<victim@example.org.elsewhere.example>",
    "<victim@elsewhere.example\u{0}@example.org>",
    "<victim@elsewhere.example\t@example.org>",
    "<victim@elsewhere.example\r@example.org>",
    "<victim@elsewhere.example%00@example.org>",
    "<victim@elsewhere.example example.org>",
    "<SRS0=abcd=AA=elsewhere.example=victim@example.org>",
    "<SRS0+abcd+AA+elsewhere.example+victim@example.org>",
    "<SRS1=abcd=elsewhere.example==wxyz=AA=other.example=victim@example.org>",
    "<alice+victim=elsewhere.example@example.org>",
    "<alice+@elsewhere.example@example.org>",
    "<|/bin/sh@example.org>",
    "<\"|/bin/sh -c id\"@example.org>",
    "</etc/passwd@example.org>",
    "<\"/var/mail/victim\"@example.org>",
    "<\":include:/etc/passwd\"@example.org>",
    "<\\victim@elsewhere.example>",
    "<postmaster@elsewhere.example>",
    "<postmaster%elsewhere.example@example.org>",
    "<abuse@elsewhere.example>",
    "<victim@localhost.elsewhere.example>",
    "<victim@example.org:25>",
    "<mailto:victim@elsewhere.example>",
    "<victim@\u{435}xample.org>",
    "<victim@elsewhere\u{3002}example>",
    "victim@elsewhere.example",
    "<victim@elsewhere.example> ORCPT=rfc822;alice@example.org",
    "<alice@example.org> <",
];

#[test]
fn no_address_leads_a_stranger_out() {
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = sink.local_addr().unwrap().port();
    let called = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&called);
    thread::spawn(move || {
        for _stream in sink.incoming().map_while(Result::ok) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let config = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}[relay]\nsmarthost = \"[127.0.0.1]:{port}\"\n")).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    let (mut tried, mut taken) = (0, Vec::new());
    for port in [server.port("smtp", "starttls"), server.lenient_port()] {
        for sender in SENDERS {
            for recipient in RECIPIENTS {
                let mut talk = server.talk(port);
                talk.reply();
                talk.smtp("EHLO [127.0.0.1]");
                assert!(!talk.smtp("XCLIENT LOGIN=alice@example.org").starts_with('2'));
                tried += 1;
                if !talk.smtp(&format!("MAIL FROM:{sender}")).starts_with("250") {
                    continue;
                }
                if !talk.smtp(&format!("RCPT TO:{recipient}")).starts_with("250") {
                    continue;
                }
                taken.push(*recipient);
                assert!(talk.smtp("DATA").starts_with("354"), "{recipient}");
                talk.send("Subject: spam\r\n\r\nspam\r\n.\r\n");
                assert!(talk.reply().starts_with("250"), "{recipient}");
            }
        }
    }
    assert_eq!(tried, 2 * SENDERS.len() * RECIPIENTS.len());
    taken.sort_unstable();
    taken.dedup();
    println!("taken, for mailboxes here: {taken:?}");
    let waiting = run(&mut server.command(&["queue", "list", "--json"]));
    assert_eq!(String::from_utf8_lossy(&waiting.stdout), "", "taken: {taken:?}");
    assert_eq!(called.load(Ordering::SeqCst), 0);
    // Who is logged in gets out, so that there is a way.
    let mut talk = server.talk(server.port("submission", "starttls"));
    talk.reply();
    talk.smtp("EHLO client.example");
    let login = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    assert!(talk.smtp(&format!("AUTH PLAIN {login}")).starts_with("235"));
    talk.smtp(&format!("MAIL FROM:<{USER}>"));
    assert!(talk.smtp("RCPT TO:<victim@elsewhere.example>").starts_with("250"));
    talk.smtp("DATA");
    talk.send("Subject: news\r\n\r\nnews\r\n.\r\n");
    assert!(talk.reply().starts_with("250"));
    wait_for("the smarthost to be called", || (called.load(Ordering::SeqCst) > 0).then_some(()));
}
