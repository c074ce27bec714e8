//! The client through every transcript, whole and at every split, and the laws of the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod client_common;

use client_common::{Script, Step, config, lines, transcripts};
use mailwright_imap_proto::client::Config;
use mailwright_line_proto::testing::{Pace, Run, Transcript, check_laws, run};

fn play(config: &Config, transcript: &Transcript, steps: &[Step]) -> Run {
    run(&mut Script::new(config.clone(), steps), transcript, Pace::default())
}

fn one(directory: &str, name: &str, config: &Config) -> String {
    let all = transcripts(directory);
    let (_, transcript, steps) = all.iter().find(|(one, ..)| one == name).unwrap();
    lines(&play(config, transcript, steps).seen)
}

#[track_caller]
fn has(seen: &str, parts: &[&str]) {
    let mut rest = seen;
    for part in parts {
        let Some(at) = rest.find(part) else { panic!("no {part:?} (in this order) in\n{seen}") };
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn the_client_keeps_the_laws() {
    for (name, transcript, steps) in transcripts("client") {
        println!("{name}");
        check_laws(|| Script::new(config(), &steps), &[transcript], None);
    }
    let tls = transcripts("client-tls");
    let (_, starttls, start) = tls.iter().find(|(name, ..)| name == "starttls-only.txt").unwrap();
    for (name, transcript, steps) in &tls {
        println!("{name}");
        check_laws(|| Script::new(Config::default(), steps), std::slice::from_ref(transcript), None);
    }
    check_laws(|| Script::new(Config::default(), start), std::slice::from_ref(starttls), Some(starttls));
}

#[test]
fn a_whole_session() {
    let seen = one("client", "rfc3501-8.txt", &config());
    has(
        &seen,
        &[
            "Greeting",
            "Login(Ticket(1), Ok(()))",
            "Select(Ticket(2), Ok(Opened { messages: 18, recent: 2, uid_validity: Some(UidValidity(3857529045))",
            "unseen: Some(17)",
            "read_only: false",
            "Fetched",
            "Size(4286)",
            "Fetch(Ticket(3), Ok(()))",
            "FetchBody { sequence: 12, uid: None",
            "length: Some(78)",
            "Body(Date: ",
            "BodyEnd",
            "Fetched",
            "Fetch(Ticket(4), Ok(()))",
            "Store(Ticket(5), Ok(()))",
            "Logout(Ticket(6), Ok(()))",
            "Closed(Farewell)",
        ],
    );
}

#[test]
fn idle_tells_and_ends() {
    let seen = one("client", "rfc2177-idle.txt", &config());
    has(
        &seen,
        &["Idling", "Exists(4)", "Expunged { sequence: 2, uid: None }", "Exists(3)", "Idle(Ticket(2), Ok"],
    );
    has(&seen, &["Idling(Ticket(3))", "Idle(Ticket(3), Ok(()))"]);
}

#[test]
fn an_idle_that_has_not_begun_has_no_end() {
    let seen = one("client", "idle-not-begun.txt", &config());
    has(&seen, &["Select(Ticket(1), Ok", "Closed(Misbehaved(BadReply { expected: \"+, NO or BAD\""]);
}

#[test]
fn closed_parts_two_mailboxes() {
    let seen = one("client", "closed.txt", &config());
    has(
        &seen,
        &[
            "Select(Ticket(2), Ok(Opened { messages: 4",
            "Fetched { uid: Some(Uid(5))",
            "Unasked(Vanished { earlier: false",
            "MailboxClosed",
            "Select(Ticket(3), Ok(Opened { messages: 2, recent: 0, uid_validity: Some(UidValidity(7))",
            "Fetched { uid: Some(Uid(5))",
            "Fetch(Ticket(4), Ok(()))",
        ],
    );
}

#[test]
fn messages_come_sorted_and_in_threads() {
    let seen = one("client", "sorting.txt", &config());
    has(
        &seen,
        &[
            "Sort(Ticket(2), Ok([5, 3, 4, 1, 2]))",
            "Thread(Ticket(3), Ok(Threads { nodes: [ThreadNode { depth: 0, message: Some(Uid(2)) }, ThreadNode { depth: 0",
            "CancelUpdate(Ticket(4), Ok(()))",
            "Notify(Ticket(5), Ok(()))",
            "Unasked(MailboxStatus(MailboxStatus { name: Name(",
        ],
    );
}

#[test]
fn uids_are_known_when_messages_leave() {
    let seen = one("client", "rfc4315-rfc6851.txt", &config());
    has(
        &seen,
        &[
            "read_only: true",
            "Fetched { uid: Some(Uid(304))",
            "Fetched { uid: Some(Uid(319))",
            "Fetched { uid: None",
            "Copy(Ticket(3), Ok(Some(CopyUid",
            "Expunged { sequence: 1, uid: Some(Uid(304)) }",
            "Expunged { sequence: 1, uid: Some(Uid(319)) }",
            "Move(Ticket(4), Ok(Some(CopyUid",
            "Expunged { sequence: 1, uid: None }",
            "Copy(Ticket(6), Err(Refused(Status { kind: No, code: Some(TryCreate)",
            "Close(Ticket(7), Ok(()))",
        ],
    );
}

#[test]
fn servers_that_lie_do_no_harm() {
    let seen = one("client", "lying-servers.txt", &config());
    has(
        &seen,
        &[
            "Capabilities(Capabilities([\"IMAP4REV1\"]))",
            "Exists(5)",
            "Fetched { uid: Some(Uid(9))",
            "Fetched { uid: Some(Uid(7))",
            "Fetched { uid: Some(Uid(9))",
            "Fetched { uid: Some(Uid(4))",
            "Skipped(b\"* 0 FETCH (UID 4 FLAGS ())\")",
            "Fetched { uid: Some(Uid(7))",
            // There are fewer, and nobody knows which.
            "Exists(2)",
            "Fetched { uid: None",
            "Expunged { sequence: 77, uid: None }",
            "Unasked(Search(",
            "Exists(4294967295)",
            "Fetch(Ticket(2), Ok(()))",
            "FetchBody { sequence: 1, uid: Some(Uid(7)), ",
            "Body(hel)",
            "BodyEnd",
            "Skipped(b\"* 1 FETCH (UID 7 BODY[] \")",
            "FetchBody { sequence: 2, uid: Some(Uid(8)), ",
            "length: None",
            "Fetch(Ticket(3), Ok(()))",
            "Closed(Refused(\"going away\"))",
        ],
    );
}

/// RFC 7162 §3.2.10
#[test]
fn those_behind_what_vanished_move_up() {
    let seen = one("client", "vanished.txt", &config());
    has(
        &seen,
        &[
            "Unasked(Vanished { earlier: true",
            "Fetched { uid: Some(Uid(14))",
            "Unasked(Vanished { earlier: false",
            "FetchBody { sequence: 2, uid: Some(Uid(14))",
            "Unasked(Vanished { earlier: false",
            // Nobody knows where that was.
            "FetchBody { sequence: 2, uid: None",
            "Fetched { uid: Some(Uid(14))",
        ],
    );
}

#[test]
fn messages_are_appended() {
    let seen = one("client", "append.txt", &config());
    has(
        &seen,
        &[
            "Ready(Ticket(1))",
            "Append(Ticket(1), Ok(Some(Appended { validity: UidValidity(38505), uid: Uid(3955) })))",
            "Append(Ticket(2), Err(Refused(Status { kind: No, code: Some(TooBig)",
            "Ready(Ticket(4))",
            "Append(Ticket(4), Ok(None))",
            "Create(Ticket(5), Err(Refused(Status { kind: Bad",
            "Closed(Farewell)",
        ],
    );
    assert!(!seen.contains("Ready(Ticket(2))"));
}

#[test]
fn answers_may_come_in_another_order() {
    let seen = one("client", "literals.txt", &config());
    has(&seen, &["Login(Ticket(1), Ok", "Status(Ticket(3), Ok(Some(", "List(Ticket(2), Ok([Listed"]);
}

#[test]
fn sasl_exchanges() {
    let seen = one("client", "rfc4959-sasl.txt", &config());
    has(
        &seen,
        &[
            "Authenticate(Ticket(1), Err",
            "Challenge(Ticket(3), b\"one?\")",
            "Authenticate(Ticket(3), Err",
            "Challenge(Ticket(4), b\"two?\")",
            "Challenge(Ticket(4), b\".\")",
            "Authenticate(Ticket(4), Err(Refused(Status { kind: Bad",
            "Authenticate(Ticket(6), Ok(()))",
        ],
    );
}

#[test]
fn exchanges_of_several_steps() {
    let seen = one("client", "rfc3501-gssapi.txt", &config());
    has(&seen, &["Challenge(Ticket(1), b\"\")", "Challenge(Ticket(1), b\"`h", "Challenge(Ticket(1), b\"`3"]);
    has(&seen, &["Authenticate(Ticket(1), Ok(()))", "Closed(Farewell)"]);
    let seen = one("client", "rfc9051-8.txt", &config());
    has(
        &seen,
        &[
            "Challenge(Ticket(1), b\"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=",
            "Challenge(Ticket(1), b\"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=\")",
            "Authenticate(Ticket(1), Ok(()))",
            "Enable(Ticket(2), Ok(Capabilities([\"IMAP4REV2\"])))",
            "Select(Ticket(3), Ok(Opened { messages: 18,",
            "Size(4286)",
            "length: Some(342)",
            "Body(Date: Wed, 17 Jul 1996",
            "Store(Ticket(6), Ok(()))",
            "Closed(Farewell)",
        ],
    );
}

#[test]
fn quotas_are_told_of() {
    let seen = one("client", "rfc9208.txt", &config());
    has(
        &seen,
        &[
            "Append(Ticket(1), Err(Refused(Status { kind: No, code: Some(OverQuota)",
            "Notice(Status { kind: No, code: Some(OverQuota)",
            "Append(Ticket(2), Ok(Some(Appended { validity: UidValidity(38505), uid: Uid(3955) })))",
            "Notice(Status { kind: No, code: Some(OverQuota)",
            "Copy(Ticket(4), Ok(Some(CopyUid",
        ],
    );
}

#[test]
fn extensions() {
    let seen = one("client", "extensions.txt", &config());
    has(
        &seen,
        &[
            "Id(Ticket(1), Ok(ServerId { fields: [] }))",
            "Namespace(Ticket(2), Ok(",
            "#ftp/",
            "Enable(Ticket(3), Ok(Capabilities([\"X-GOOD-IDEA\"])))",
            "attributes: [Marked, HasNoChildren]",
            "attributes: [HasChildren, Special(Sent)]",
            "Lsub(Ticket(5), Ok([Listed",
            "Status(Ticket(6), Ok(Some(",
            "permanent_flags: Some(FlagList { flags: FlagSet(), recent: false, wildcard: false })",
            "highest_mod_seq: Some(ModSeq(715194045007))",
            "read_only: true",
            "Unselect(Ticket(8), Ok(()))",
            "Notice(Status { kind: Ok, code: Some(Alert)",
            "Closed(Refused(\"[REFERRAL imap://evil.example/] go there\"))",
        ],
    );
}

#[test]
fn referrals() {
    let seen = one("client", "referrals.txt", &config());
    let place =
        "mechanism: Some(\"*\"), host: \"server2\", port: None, mailbox: Some(MailboxName(\"REMOTE\")) }";
    has(
        &seen,
        &[
            "Login(Ticket(1), Err(Refused(Status { kind: No, code: Some(Referral([Referral { user: Some(\"MIKE\"), \
             mechanism: None, host: \"server2\", port: None, mailbox: None }]))",
            "Login(Ticket(2), Ok(()))",
            "Rlist(Ticket(3), Ok([Listed",
            "#SHARED/FOO",
            "Rlsub(Ticket(4), Ok([Listed",
            "#SHARED/BAR",
            "Select(Ticket(5), Err(Refused(Status { kind: No, code: Some(Referral([Referral { user: Some(\"user\"), ",
            place,
            "host: \"server3\"",
        ],
    );
}

#[test]
fn bodies_in_every_form() {
    let seen = one("client", "bodies.txt", &config());
    has(
        &seen,
        &[
            "FetchBody { sequence: 2, uid: None, section: FetchedSection { name: Body,",
            "length: Some(12) }\nBody(* 3 EXISTS\\r\\n)\nBodyEnd",
            "origin: Some(0) }, length: Some(5) }\nBody(a \\\"b\\\")\nBodyEnd",
            "HeaderFields([\"Date\"])",
            "length: Some(0) }\nBodyEnd",
            "Fetched { uid: Some(Uid(7)), fetched: Fetched { sequence: 2, items: [Uid(Uid(7)), Flags(",
            "FetchBody { sequence: 3, uid: Some(Uid(8))",
            "length: None }\nBodyEnd",
            "Body())\nBodyEnd",
            "Fetched { uid: Some(Uid(8)), fetched: Fetched { sequence: 3, items: [Uid(Uid(8))] } }",
            "Fetch(Ticket(2), Ok(()))",
            "FetchBody { sequence: 2, uid: Some(Uid(7)), section: FetchedSection { name: Rfc822,",
            "Body(x)",
            "FetchBody { sequence: 3, uid: Some(Uid(8))",
            "length: Some(0) }\nBodyEnd",
            "Fetch(Ticket(3), Ok(()))",
        ],
    );
}

#[test]
fn odd_servers_are_understood() {
    let seen = one("client", "odd-servers.txt", &config());
    has(
        &seen,
        &[
            "Notice(Status { kind: Ok, code: Some(Alert)",
            "Skipped(b\"* XODD (1 {3}\\r\\n)() x\")",
            "Capabilities(Capabilities([\"IMAP4REV1\", \"IDLE\"]))",
            "Flags(FlagList { flags: FlagSet(\\Seen $x)",
            "Skipped(b\"*\")",
            "Skipped(b\"* 0 EXPUNGE\")",
            "Unasked(List(",
            "Noop(Ticket(1), Ok(()))",
            "Notice(Status { kind: Ok, code: Some(Other { name: \"UIDVALIDITY\"",
            "Select(Ticket(2), Ok(Opened { messages: 1,",
            "wildcard: true",
            "Skipped(b\"* LIST () (x) y\")",
            "List(Ticket(3), Ok([Listed",
            "name: Other(b\"caf\\xe9\")",
            "name: Other(b\"a//\")",
            "Skipped(b\"* 1 FETCH (FLAGS \\\\Seen BODY[] \")",
            "FetchBody { sequence: 1, uid: Some(Uid(1))",
            "Body(ab)",
            "Fetched { uid: Some(Uid(1))",
            "items: [] }",
            "Skipped(b\"* 1 FETCH (BODY[ODD] \")",
            "Fetch(Ticket(4), Ok(()))",
            "Noop(Ticket(5), Err(Refused(Status { kind: Bad",
        ],
    );
}

#[test]
fn tls_comes_first() {
    let config = Config::default();
    let seen = one("client-tls", "starttls.txt", &config);
    has(&seen, &["StartTls(Ticket(1), Ok(()))", "Capability(Ticket(2), Ok", "Login(Ticket(3), Ok(()))"]);
    let seen = one("client-tls", "starttls-refused.txt", &config);
    has(&seen, &["StartTls(Ticket(1), Err", "Logout(Ticket(2), Ok(()))", "Closed(Farewell)"]);
    let seen = one("client-tls", "preauth.txt", &config);
    has(&seen, &["Closed(Misbehaved(BadReply"]);
}
