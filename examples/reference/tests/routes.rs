//! What is agreed on along the way: TLS that the sender requires, reports of TLS, queues that are run when asked, records that are
//! planned and checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/web.rs"]
mod web;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this test needs a part of it")]
mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use common::{PASSWORD, Talk, free_port, have, wait_for};
use mailwright::{
    Admission, ConnectionLimits, Listener, ListenerTls,
    client::{Endpoint, Security, SmtpClient},
    line_proto::{Secret, tls},
    mailstore::{
        User,
        accounts::{Accounts, LoginError, LoginRequest},
    },
    relay_policy::Session,
    smtp::{Body, Inbox, Smtp},
    smtp_proto::{Mail, MailParameters, Message, Outcome, Rcpt, Reply, client::Config},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use web::{Web, certificates};
use world::{Behaviour, Host, Names, Site};

/// A client's session at the submission port, logged in.
fn submission(site: &Site, user: &str) -> Talk {
    let mut talk = site.talk("submission");
    assert!(talk.reply().starts_with("220"));
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&site.auth(user)).starts_with("235"));
    talk
}

fn submit(site: &Site, user: &str, to: &str, header: &str) {
    let mut talk = submission(site, user);
    assert!(talk.smtp(&format!("MAIL FROM:<{user}>")).starts_with("250"));
    assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!("From: <{user}>\r\n{header}\r\nHello.\r\n"));
    assert!(talk.smtp(".").starts_with("250"));
}

#[test]
fn a_host_asks_for_what_waits_for_it() {
    let port = free_port();
    let extra = format!(
        "[smtp]\netrn = [\"127.0.0.9\", \"127.0.0.1\"]\n[relay.transport]\n\"b.example\" = \"smtp:[127.0.0.1]:{port}\"\n"
    );
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann"]);
    submit(&a, "ann@a.example", "bob@b.example", "Subject: waits\r\n");
    wait_for("the first attempt", || {
        a.queue(&["list", "--json"]).contains("\"last_error\":\"").then_some(())
    });
    let mut talk = a.talk("smtp");
    talk.reply();
    assert!(talk.smtp("EHLO b.example").contains("250-ETRN"), "it is announced");
    assert_eq!(talk.smtp("ETRN c.example"), "251 2.0.0 Nothing waits");
    assert!(talk.smtp("ETRN #named").starts_with("459 "));
    let host = Host::at(port, Behaviour::Answer("never", ""));
    assert_eq!(talk.smtp("ETRN b.example"), "253 2.0.0 1 messages are being sent");
    let got = wait_for("the message", || host.received().first().cloned());
    assert!(got.contains("Subject: waits"), "{got}");
    // Nobody else may.
    let a = Site::start(
        "a.example",
        "127.0.0.1",
        free_port(),
        &Names::none(),
        "[smtp]\netrn = [\"192.0.2.1\"]\n",
        &[],
    );
    let mut talk = a.talk("smtp");
    talk.reply();
    talk.smtp("EHLO b.example");
    assert_eq!(talk.smtp("ETRN b.example"), "459 4.7.1 Not for this client");
}

#[test]
fn mail_waits_for_a_configured_host_that_is_not_there() {
    if !have("dnsmasq") {
        return;
    }
    let names = Names::start(&["mx-host=up.example,mx.up.example,10", "address=/mx.up.example/127.0.0.1"]);
    let gone = "leads nowhere: there is no such domain as gone.example";
    for (extra, expected) in [
        ("[relay]\nsmarthost = \"[gone.example]:24\"\n", format!("the smarthost [gone.example]:24 {gone}")),
        ("[relay]\nsmarthost = \"gone.example\"\n", format!("the smarthost gone.example {gone}")),
        (
            "[relay.transport]\n\"up.example\" = \"lmtp:gone.example:24\"\n",
            format!("the transport lmtp:gone.example:24 {gone}"),
        ),
        // What is wrong with the domain's own host is told, and not that the fallback is missing.
        ("[relay]\nfallback = \"[gone.example]:24\"\n", "host mx.up.example[127.0.0.1]".to_owned()),
    ] {
        let a = Site::start("a.example", "127.0.0.2", free_port(), &names, extra, &["ann"]);
        submit(&a, "ann@a.example", "bob@up.example", "Subject: waits\r\n");
        let listed = wait_for("the first attempt", || {
            let listed = a.queue(&["list", "--json"]);
            let tried = listed.contains("\"last_error\":\"") || a.fetch("ann@a.example", 1).is_some();
            tried.then_some(listed)
        });
        assert!(listed.contains(&expected), "{extra}: {listed}");
        assert_eq!(a.fetch("ann@a.example", 1), None, "{extra}");
    }
}

#[test]
fn reports_of_tls_are_collected_sent_and_read() {
    if !have("dnsmasq") {
        return;
    }
    let port = free_port();
    let names = Names::start(&[
        "mx-host=b.example,mx.b.example,10",
        "address=/mx.b.example/127.0.0.3",
        "txt-record=_smtp._tls.b.example,v=TLSRPTv1; rua=mailto:bob@b.example",
    ]);
    let a = Site::start("a.example", "127.0.0.2", port, &names, "[relay]\ntls_reports = true\n", &["ann"]);
    let b = Site::start("b.example", "127.0.0.3", port, &names, "", &["bob"]);
    a.run(&["dkim", "key", "add", "a.example", "--selector", "s1", "--ed25519"]);
    submit(&a, "ann@a.example", "bob@b.example", "Subject: first\r\n");
    wait_for("the message", || b.fetch("bob@b.example", 1));
    assert_eq!(a.run(&["tlsrpt", "send"]), "1 sent\n");
    let text = wait_for("the report", || b.fetch("bob@b.example", 2));
    for expected in [
        "TLS-Report-Domain: b.example",
        "TLS-Report-Submitter: a.example",
        "DKIM-Signature: v=1; a=ed25519-sha256",
        "report-type=\"tlsrpt\"",
        "Content-Type: application/tlsrpt+gzip",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // The attachment, as somebody saves it, read by the command.
    let packed = text.split("json.gz\"").nth(1).unwrap().split("--=_").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json.gz");
    std::fs::write(&file, world::unbase64(packed.trim())).unwrap();
    let shown = b.run(&["tlsrpt", "report", file.to_str().unwrap()]);
    assert!(shown.contains("b.example (no-policy-found) at a.example"), "{shown}");
    assert!(shown.contains(": 1 sessions were secured, 0 were not"), "{shown}");
    let json = b.run(&["tlsrpt", "report", "--json", file.to_str().unwrap()]);
    let line: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(line["policy"]["policy-domain"], "b.example");
    assert_eq!(line["summary"]["total-successful-session-count"], 1);
}

#[test]
fn the_records_are_planned_and_checked() {
    if !have("dnsmasq") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), &[("web", &["mta-sts.a.example"])]);
    let web = Web::start(folder.path(), Vec::new());
    let trust = folder.path().join("authority.pem");
    let extra = format!("[relay]\nmta_sts_port = {}\ntrust = {trust:?}\n", web.port);
    let plan = Site::start("a.example", "127.0.0.2", free_port(), &Names::none(), &extra, &[]);
    plan.run(&["dkim", "key", "add", "a.example", "--selector", "s1", "--ed25519"]);
    let lines = plan.run(&["dns", "plan", "a.example", "--json"]);
    let records: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |record: &serde_json::Value, key: &str| record[key].as_str().unwrap().to_owned();
    let mut published = vec![
        "address=/mx.a.example/192.0.2.10".to_owned(),
        "address=/mta-sts.a.example/127.0.0.1".to_owned(),
        "ptr-record=10.2.0.192.in-addr.arpa,mx.a.example".to_owned(),
    ];
    let text_of_plan = plan.run(&["dns", "plan", "a.example"]);
    let policy: Vec<&str> = text_of_plan.lines().filter_map(|line| line.strip_prefix(";   ")).collect();
    web.publish("a.example", policy.join("\r\n") + "\r\n");
    for record in &records {
        let (name, value) = (text(record, "name"), text(record, "value"));
        match &*text(record, "kind") {
            "MX" => published.push(format!("mx-host={name},mx.a.example,10")),
            "TXT" => published.push(format!("txt-record={name},{value}")),
            "SRV" => {
                let words: Vec<&str> = value.split(' ').collect();
                if words[3] != "." {
                    published
                        .push(format!("srv-host={name},mx.a.example,{},{},{}", words[2], words[0], words[1]));
                }
            }
            "TLSA" => {
                let (numbers, data) = value.rsplit_once(' ').unwrap();
                let numbers: String = numbers.split(' ').map(|number| format!("0{number}")).collect();
                published.push(format!("dns-rr={name},52,{numbers}{data}"));
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(records.len(), 7 + 1 + 7, "{lines}");
    // What is published is asked for where the configuration says; the plan's own data are used again.
    let lines: Vec<&str> = published.iter().map(String::as_str).collect();
    let names = Names::start(&lines);
    plan.asks(&names);
    let checked = plan.run(&["dns", "plan", "a.example", "--check"]);
    assert!(checked.lines().all(|line| line.starts_with("ok ")), "{checked}");
    for beside in ["10.2.0.192.in-addr.arpa PTR", "https://mta-sts.a.example/.well-known/mta-sts.txt HTTPS"] {
        assert!(checked.contains(beside), "{checked}");
    }
    // Another policy that has our host may be meant so; one without it keeps mail away.
    let policy = |host| format!("version: STSv1\r\nmode: enforce\r\nmx: {host}\r\nmax_age: 86400\r\n");
    web.publish("a.example", policy("*.a.example"));
    assert!(plan.run(&["dns", "plan", "a.example", "--check"]).contains("other    https://mta-sts"));
    web.publish("a.example", policy("mx.elsewhere.example"));
    assert!(plan.fails(&["dns", "plan", "a.example", "--check"]).contains("not all is published"));
    web.publish("a.example", policy("*.a.example"));
    // An address with another name, or with none.
    for (line, word) in [
        ("ptr-record=10.2.0.192.in-addr.arpa,host.isp.example", "host.isp.example"),
        ("local=/in-addr.arpa/", "missing"),
    ] {
        let mut lines: Vec<&str> = published.iter().map(String::as_str).collect();
        lines.retain(|line| !line.starts_with("ptr-record"));
        lines.push(line);
        let names = Names::start(&lines);
        plan.asks(&names);
        let output = plan.prints(&["dns", "plan", "a.example", "--check"]);
        let pointer = output.lines().find(|line| line.contains("10.2.0.192.in-addr.arpa PTR")).unwrap();
        assert!(pointer.contains(word), "{output}");
    }
    let names = Names::start(&["address=/mx.a.example/127.0.0.2", "mx-host=a.example,elsewhere.example,10"]);
    plan.asks(&names);
    let output = plan.fails(&["dns", "plan", "a.example", "--check"]);
    assert!(output.contains("not all is published"), "{output}");
}

#[test]
fn tls_that_is_required_goes_on_or_comes_back() {
    if !have("dnsmasq") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let hosts = ["mx.a.example", "mx.b.example", "mx.c.example"];
    let web_names = ["mta-sts.b.example", "mta-sts.c.example", "reports.b.example"];
    certificates(folder.path(), &[("web", &web_names), ("hosts", &hosts)]);
    let policy = |domain: &str| {
        let text = format!("version: STSv1\r\nmode: enforce\r\nmx: mx.{domain}\r\nmax_age: 604800\r\n");
        (domain.to_owned(), text)
    };
    let web = Web::start(folder.path(), vec![policy("b.example"), policy("c.example")]);
    let reports = format!(
        "txt-record=_smtp._tls.b.example,v=TLSRPTv1; rua=https://reports.b.example:{}/tls/in",
        web.port
    );
    let mut lines = vec!["address=/reports.b.example/127.0.0.1".to_owned(), reports];
    for (domain, address) in [("b.example", "127.0.0.3"), ("c.example", "127.0.0.4")] {
        lines.push(format!("mx-host={domain},mx.{domain},10"));
        lines.push(format!("address=/mx.{domain}/{address}"));
        lines.push(format!("address=/mta-sts.{domain}/127.0.0.1"));
        lines.push(format!("txt-record=_mta-sts.{domain},v=STSv1; id=1;"));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (names, port) = (Names::start(&lines), free_port());
    let own = format!("[tls]\ncertificate = {:?}\nkey = {:?}\n", at("hosts.pem"), at("hosts.key"));
    let extra = format!(
        "{own}[relay]\ntls_reports = true\nmta_sts_port = {}\ntrust = {:?}\n",
        web.port,
        at("authority.pem")
    );
    let script = folder.path().join("redirect.sieve");
    let text = "if header \"subject\" \"redirected\" { redirect \"eve@c.example\"; }\r\n";
    std::fs::write(&script, text).unwrap();
    let extra = format!("[sieve]\nbefore = [{script:?}]\n{extra}");
    let a = Site::start("a.example", "127.0.0.2", port, &names, &extra, &["ann"]);
    let b = Site::start("b.example", "127.0.0.3", port, &names, &own, &["bob"]);
    // This one passes nothing on, and so does not offer to demand it.
    let taken = Arc::new(AtomicBool::new(false));
    serve_without_demands(&format!("127.0.0.4:{port}"), &at("hosts.pem"), &at("hosts.key"), &taken);
    let authority = std::fs::read(folder.path().join("authority.pem")).unwrap();
    let trust = tls::client_config(tls::roots(&authority).unwrap()).unwrap();
    let submission = std::net::SocketAddr::from(([127, 0, 0, 2], a.port("submission")));
    let sending = async {
        let endpoint = Endpoint::new("mx.a.example", submission.port(), Security::Starttls(Arc::new(trust)))
            .at(submission);
        let hello = "laptop.example".parse().unwrap();
        let mut client = SmtpClient::connect(&endpoint, hello, Arc::new(Config::default())).await.unwrap();
        client.login("ann@a.example", &Secret::from(PASSWORD)).await.unwrap();
        let required =
            [("bob@b.example", "required"), ("eve@c.example", "required"), ("ann@a.example", "redirected")];
        for (to, subject) in required {
            let mut parameters = MailParameters::default();
            parameters.require_tls = true;
            let from = mailwright::mail_model::ReversePath::parse(b"<ann@a.example>").unwrap();
            let mail = Mail::new(from).with_parameters(parameters);
            let to: mailwright::mail_model::Address = to.parse().unwrap();
            let message = Message::new(mail, vec![Rcpt::new(to.into())]);
            let text = format!("From: <ann@a.example>\r\nSubject: {subject}\r\n\r\nSecret words.\r\n");
            let replies = client.send(message, text.as_bytes()).await.unwrap();
            assert!(replies.iter().all(|reply| reply.is_positive()), "{replies:?}");
        }
        client.quit().await.unwrap();
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(sending);
    let got = wait_for("the message", || b.fetch("bob@b.example", 1));
    assert!(got.contains("Subject: required") && got.contains("with ESMTPS"), "{got}");
    // RFC 8689 §6: what a script sends on is the same message.
    let bounces: Vec<_> =
        [1, 2].map(|number| wait_for("the report", || a.fetch("ann@a.example", number))).into();
    for bounce in &bounces {
        assert!(bounce.contains("5.7.30") && bounce.contains("eve@c.example"), "{bounce}");
        assert!(!bounce.contains("Secret words"), "{bounce}");
    }
    for subject in ["Subject: required", "Subject: redirected"] {
        assert_eq!(bounces.iter().filter(|bounce| bounce.contains(subject)).count(), 1, "{subject}");
    }
    assert!(!taken.load(Ordering::Relaxed));
    // How TLS with b went is posted, as its record has it.
    assert_eq!(a.run(&["tlsrpt", "send"]), "1 sent\n");
    let posted = web.posted();
    let [(path, kind, content)] = &posted[..] else { panic!("{} were posted", posted.len()) };
    assert_eq!((&**path, &**kind), ("/tls/in", "application/tlsrpt+gzip"));
    let file = folder.path().join("report.json.gz");
    std::fs::write(&file, content).unwrap();
    let shown = b.run(&["tlsrpt", "report", file.to_str().unwrap()]);
    assert!(shown.contains("b.example (sts) at a.example"), "{shown}");
    assert!(shown.contains(": 1 sessions were secured, 0 were not"), "{shown}");
}

/// A host that takes everything.
struct Takes(Arc<AtomicBool>);

impl Inbox for Takes {
    async fn recipient(&self, _: &Session, _: &Rcpt) -> Reply {
        Reply::RECIPIENT_OK
    }

    async fn deliver(&self, _: &Session, _: &Message, body: &mut Body<'_>) -> Outcome {
        while let Ok(Some(_)) = body.next().await {}
        self.0.store(true, Ordering::Relaxed);
        Reply::queued("taken").into()
    }
}

/// Nobody logs in there.
struct Nobody;

impl Accounts for Nobody {
    async fn login(&self, _: &LoginRequest) -> Result<User, LoginError> {
        Err(LoginError::Credentials)
    }
}

/// Serves such a host at an address, with TLS, as long as the test lasts.
fn serve_without_demands(address: &str, chain: &str, key: &str, taken: &Arc<AtomicBool>) {
    let (chain, key) = (std::fs::read(chain).unwrap(), std::fs::read(key).unwrap());
    let tls = ListenerTls::Starttls(Arc::new(tls::server_config(&chain, &key).unwrap()));
    let config = mailwright::smtp_proto::server::Config::smtp("mx.c.example").unwrap();
    let service = Arc::new(Smtp::<_, Nobody>::new(Arc::new(Takes(Arc::clone(taken))), None, tls, config));
    let socket = std::net::TcpListener::bind(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = tokio::net::TcpListener::from_std(socket).unwrap();
            let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
            let admission = Admission::new(ConnectionLimits::default());
            service.serve(Listener::new(socket, admission, stop.clone(), tasks), stop).await;
        });
    });
}

#[test]
fn senders_tell_who_a_message_was_for() {
    let host = Host::start(Behaviour::Answer("never", ""));
    let transport = format!("[relay.transport]\n\"b.example\" = \"smtp:[127.0.0.1]:{}\"\n", host.port);
    let extra = format!("[smtp]\nxverp = [\"127.0.0.1\"]\n{transport}");
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann", "list"]);
    let mut talk = a.talk("submission");
    talk.reply();
    assert!(talk.smtp("EHLO laptop.example").contains("XVERP"));
    assert!(talk.smtp(&a.auth("list@a.example")).starts_with("235"));
    assert!(talk.smtp("MAIL FROM:<> XVERP").starts_with("503 5.5.4"));
    assert!(talk.smtp("MAIL FROM:<list@a.example> XVERP=ab").starts_with("501 5.5.4"));
    for parameter in ["XVERP=-=", "XVERP", "XVERP=+- HOLDFOR=1"] {
        assert!(talk.smtp(&format!("MAIL FROM:<list@a.example> {parameter}")).starts_with("250"));
        for to in ["bob@b.example", "joe@b.example", "ann@a.example"] {
            assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
        }
        assert!(talk.smtp("DATA").starts_with("354"));
        talk.send("From: <list@a.example>\r\n\r\nHello.\r\n");
        assert!(talk.smtp(".").starts_with("250"));
    }
    wait_for("all of them", || (host.received().len() == 6).then_some(()));
    let mut senders: Vec<String> =
        host.commands("MAIL").iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    senders.sort();
    assert_eq!(
        senders,
        [
            "FROM:<list+bob-b.example@a.example>",
            "FROM:<list+bob=b.example@a.example>",
            "FROM:<list+joe-b.example@a.example>",
            "FROM:<list+joe=b.example@a.example>",
            "FROM:<list-bob=b.example@a.example>",
            "FROM:<list-joe=b.example@a.example>",
        ]
    );
    // Who is here is not told of by a host elsewhere.
    let here = wait_for("the one here", || a.fetch("ann@a.example", 3));
    assert!(here.contains("Return-Path: <list@a.example>"), "{here}");
    // Nobody else may.
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &transport, &["ann"]);
    let mut talk = submission(&a, "ann@a.example");
    assert!(talk.smtp("MAIL FROM:<ann@a.example> XVERP").starts_with("555 5.5.4"));
}

#[test]
fn what_others_have_signed_is_not_changed_where_that_is_wished() {
    let host = Host::start(Behaviour::Answer("never", ""));
    let extra = format!(
        "[relay.transport]\n\"b.example\" = \"smtp:[127.0.0.1]:{}\"\n[relay]\nencode_signed = false\n",
        host.port
    );
    let a = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &extra, &["ann"]);
    let signature =
        "DKIM-Signature: v=1; a=rsa-sha256; d=other.example; s=s; h=from; bh=dGVzdA==; b=dGVzdA==\r\n";
    for header in ["Subject: plain\r\n".to_owned(), format!("{signature}Subject: signed\r\n")] {
        let mut talk = submission(&a, "ann@a.example");
        assert!(talk.smtp("MAIL FROM:<ann@a.example> BODY=8BITMIME").starts_with("250"));
        assert!(talk.smtp("RCPT TO:<bob@b.example>").starts_with("250"));
        assert!(talk.smtp("DATA").starts_with("354"));
        let kind = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n";
        talk.send(format!("{header}From: <ann@a.example>\r\n{kind}\r\nGrüße.\r\n"));
        assert!(talk.smtp(".").starts_with("250"));
    }
    let bounce = wait_for("the report", || a.fetch("ann@a.example", 1));
    assert!(bounce.contains("5.6.3") && bounce.contains("Subject: signed"), "{bounce}");
    let got = wait_for("the other", || host.received().first().cloned());
    assert!(got.contains("Subject: plain") && got.is_ascii() && got.contains("Gr=C3=BC=C3=9Fe."), "{got}");
}
