//! DANE (RFC 7672), with a name server that signs: what gets through is what the signed records allow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this test needs a part of it")]
mod world;

use std::{
    fmt::Write as _,
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use common::{Server, free_port, have, run, wait_for, write_private};
use mailwright::{
    client::{Endpoint, Security, SmtpClient},
    line_proto::{
        Secret, tls,
        tls::rustls::{pki_types::CertificateDer, server::ParsedCertificate},
    },
    mail_model::{ForwardPath, ReversePath},
    relay_policy::dane::{Certificate, Tlsa},
    smtp_proto::{Mail, MailParameters, Message, Rcpt, Reply},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use world::{Behaviour, Host, Names, Site};

/// An authority, a certificate of it that has expired, and one for a single host that has not.
struct Certificates {
    authority: CertificateDer<'static>,
    expired: CertificateDer<'static>,
}

fn certificates(folder: &Path) -> Certificates {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let made = |name: &str, host: &str, expired: bool| {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        if expired {
            params.not_before = SystemTime::UNIX_EPOCH.into();
            params.not_after = (SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)).into();
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        write_private(&folder.join(format!("{name}.pem")), &(certificate.pem() + &authority.pem()));
        write_private(&folder.join(format!("{name}.key")), &key.serialize_pem());
        certificate.der().clone()
    };
    made("valid", "mx.ta.example", false);
    Certificates { expired: made("expired", "elsewhere.example", true), authority: authority.der().clone() }
}

fn record(usage: u8, selector: u8, matching: u8, of: &CertificateDer<'_>) -> String {
    let key = ParsedCertificate::try_from(of).unwrap().subject_public_key_info().to_vec();
    Tlsa::of(usage, selector, matching, &Certificate::new(of, &key)).unwrap().to_string()
}

/// A name server with a root of its own that it signs, two zones below it among them: one without signatures and one with
/// signatures by a key that nobody vouches for.
fn signing(folder: &Path, zones: &[(&str, String)]) -> Names {
    let (port, shown) = (free_port(), folder.display());
    let mut config = format!(
        "server:\n    listen: 127.0.0.1@{port}\n    rundir: {shown}\ndatabase:\n    storage: {shown}/db\n\
         log:\n  - target: stderr\n    any: warning\n\
         policy:\n  - id: test\n    single-type-signing: on\n    algorithm: ecdsap256sha256\n\
         template:\n  - id: default\n    storage: {shown}\nzone:\n"
    );
    for (number, (zone, records)) in zones.iter().enumerate() {
        let apex = if *zone == "." { ".".to_owned() } else { format!("{zone}.") };
        let head = format!("{apex} 300 SOA ns.test. host.test. 1 300 300 300 300\n{apex} 300 NS ns.test.\n");
        fs::write(folder.join(format!("{number}.zone")), head + records).unwrap();
        write!(config, "  - domain: {zone}\n    file: {number}.zone\n").unwrap();
        if *zone != "insecure.example" {
            config += "    dnssec-signing: on\n    dnssec-policy: test\n";
        }
    }
    fs::create_dir(folder.join("db")).unwrap();
    let file = folder.join("knot.conf");
    fs::write(&file, config).unwrap();
    let child = Command::new("knotd")
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("knot.log")).unwrap())
        .spawn()
        .unwrap();
    // ". DNSKEY 257 3 13 .." as soon as the zone is signed
    let key = wait_for("the zones to be signed", || {
        let output = run(Command::new("keymgr").arg("-c").arg(&file).args([".", "dnskey"]));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.starts_with(". DNSKEY ")).map(str::to_owned)
    });
    let anchors = folder.join("root.key");
    fs::write(&anchors, key.replace(". DNSKEY", ". 300 IN DNSKEY") + "\n").unwrap();
    Names::signed(child, port, anchors)
}

fn submit(site: &Site, to: &str) {
    let mut talk = site.talk("submission");
    assert!(talk.reply().starts_with("220"));
    talk.smtp("EHLO laptop.example");
    assert!(talk.smtp(&site.auth("ann@a.example")).starts_with("235"));
    assert!(talk.smtp("MAIL FROM:<ann@a.example>").starts_with("250"));
    assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send("From: <ann@a.example>\r\nSubject: dane\r\n\r\nHello.\r\n");
    assert!(talk.smtp(".").starts_with("250"));
}

#[test]
fn signed_records_decide_what_gets_through() {
    if !have("knotd") || !have("keymgr") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let Certificates { authority, expired } = certificates(folder.path());
    let mut receiver = Server::prepare(&format!(
        "allow_plaintext_auth = true\ntls = {{ certificate = {:?}, key = {:?} }}\n\
         certificate = [{{ names = [\"mx.ta.example\"], certificate = {:?}, key = {:?} }}]",
        at("expired.pem"),
        at("expired.key"),
        at("valid.pem"),
        at("valid.key")
    ));
    // What the domain has, and what becomes of mail to it.
    let cases = [
        ("good", record(3, 1, 1, &expired), "sent"),
        ("whole", record(3, 0, 2, &expired), "sent"),
        ("ta", record(2, 0, 1, &authority), "sent"),
        ("expired", record(2, 1, 1, &authority), "deferred"),
        ("wrong", record(3, 1, 1, &authority), "deferred"),
        ("unusable", record(1, 1, 1, &authority), "sent"),
        ("missing", String::new(), "sent"),
        ("insecure", record(3, 1, 1, &authority), "sent"),
        ("bogus", record(3, 1, 1, &expired), "deferred"),
    ];
    receiver.add_user(common::USER, common::PASSWORD);
    for (name, ..) in &cases {
        common::succeed(&mut receiver.command(&["domain", "add", &format!("{name}.example")]));
        let bob = format!("bob@{name}.example");
        common::succeed(&mut receiver.command(&["alias", "add", &bob, common::USER]));
    }
    receiver.serve();
    let port = receiver.port("smtp", "starttls");
    let mut root = String::from("ns.test. 300 A 127.0.0.1\n");
    let (mut insecure, mut bogus) = (String::new(), String::new());
    for (name, tlsa, _) in &cases {
        let mut records =
            format!("{name}.example. 300 MX 10 mx.{name}.example.\nmx.{name}.example. 300 A 127.0.0.1\n");
        if !tlsa.is_empty() {
            writeln!(records, "_{port}._tcp.mx.{name}.example. 300 TLSA {tlsa}").unwrap();
        }
        match *name {
            "insecure" => insecure = records,
            "bogus" => bogus = records,
            _ => root += &records,
        }
    }
    root += "insecure.example. 300 NS ns.test.\nbogus.example. 300 NS ns.test.\n";
    writeln!(root, "bogus.example. 300 DS 12345 13 2 {}", "0123456789abcdef".repeat(4)).unwrap();
    let names =
        signing(folder.path(), &[(".", root), ("insecure.example", insecure), ("bogus.example", bogus)]);
    let a = Site::start("a.example", "127.0.0.2", port, &names, "", &["ann"]);
    for (name, ..) in &cases {
        submit(&a, &format!("bob@{name}.example"));
    }
    for (name, _, expected) in &cases {
        let line = wait_for(&format!("mail to {name}"), || {
            let to = format!("to=bob@{name}.example ");
            a.log().lines().find(|line| line.contains(&to) && line.contains("status=")).map(str::to_owned)
        });
        assert!(line.contains(&format!("status=\"{expected}\"")), "{name}: {line}");
    }
    let sent = cases.iter().filter(|(_, _, expected)| *expected == "sent").count();
    assert_eq!(common::count(&receiver), sent);
}

/// Lists have our address: the fallback gets what nobody has said of how it must be sent, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_listed_address_takes_nothing_past_its_proofs() {
    if !have("knotd") || !have("keymgr") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let Certificates { authority, expired } = certificates(folder.path());
    let mut receiver = Server::prepare(&format!(
        "allow_plaintext_auth = true\ntls = {{ certificate = {:?}, key = {:?} }}",
        at("expired.pem"),
        at("expired.key")
    ));
    receiver.add_user(common::USER, common::PASSWORD);
    // Whether the message is REQUIRETLS, and what becomes of it: the fallback has no TLS at all.
    let cases = [
        ("good", record(3, 1, 1, &expired), false, Way::Direct),
        ("wrong", record(3, 1, 1, &authority), false, Way::None),
        ("none", String::new(), false, Way::Fallback),
        ("good", record(3, 1, 1, &expired), true, Way::Direct),
        ("wrong", record(3, 1, 1, &authority), true, Way::None),
        ("none", String::new(), true, Way::None),
    ];
    let address =
        |name: &str, requires: bool| format!("{}@{name}.example", if requires { "required" } else { "bob" });
    for (name, _, requires, _) in &cases {
        if !requires {
            common::succeed(&mut receiver.command(&["domain", "add", &format!("{name}.example")]));
        }
        let alias = address(name, *requires);
        common::succeed(&mut receiver.command(&["alias", "add", &alias, common::USER]));
    }
    receiver.serve();
    let port = receiver.port("smtp", "starttls");
    let mut root = String::from(
        "ns.test. 300 A 127.0.0.1\n2.0.0.127.bl.example. 300 A 127.0.0.2\n1.2.0.192.bl.example. 300 A 127.0.0.4\n",
    );
    for (name, tlsa, ..) in cases.iter().filter(|(_, _, requires, _)| !requires) {
        writeln!(root, "{name}.example. 300 MX 10 mx.{name}.example.\nmx.{name}.example. 300 A 127.0.0.1")
            .unwrap();
        if !tlsa.is_empty() {
            writeln!(root, "_{port}._tcp.mx.{name}.example. 300 TLSA {tlsa}").unwrap();
        }
    }
    let names = signing(folder.path(), &[(".", root)]);
    let fallback = Host::start(Behaviour::Answer("never", ""));
    let relay = format!(
        "[relay]\nfallback = \"[127.0.0.1]:{}\"\nown_address_lists = [\"bl.example\"]\nown_address = \"192.0.2.1\"\n",
        fallback.port
    );
    let a = Site::start("a.example", "127.0.0.2", port, &names, &relay, &["ann"]);
    let mut client = submission(&a).await;
    for (name, _, requires, _) in &cases {
        send(&mut client, &address(name, *requires), *requires).await;
    }
    for (name, _, requires, way) in &cases {
        let to = format!("to={} ", address(name, *requires));
        let line = wait_for(&format!("mail to {to}"), || {
            a.log().lines().find(|line| line.contains(&to) && line.contains("status=")).map(str::to_owned)
        });
        let sent = line.contains("status=\"sent\"");
        assert_eq!(sent, *way != Way::None, "{name} {requires}: {line}");
        let subject = format!("Subject: {} {requires}\r\n", address(name, *requires));
        let stood_in = fallback.received().iter().any(|text| text.contains(&subject));
        assert_eq!(stood_in, *way == Way::Fallback, "{name} {requires}: {line}");
    }
    assert_eq!(common::count(&receiver), 2);
    assert!(a.log().contains("192.0.2.1 is on bl.example"), "{}", a.log());
}

/// Listens at all of these addresses, at one port that nobody else has.
fn listen(addresses: &[String]) -> (u16, Vec<TcpListener>) {
    let all = |port: u16| -> std::io::Result<Vec<TcpListener>> {
        addresses.iter().map(|address| TcpListener::bind((address.as_str(), port))).collect()
    };
    let listening = std::iter::repeat_with(free_port).take(20).find_map(|port| Some((port, all(port).ok()?)));
    listening.expect("a port that is free at all of the addresses")
}

/// A host that offers STARTTLS and does not do it: what must not go in the clear does not, by whatever it must not.
#[tokio::test(flavor = "multi_thread")]
async fn a_starttls_that_is_refused_leads_nowhere_in_the_clear() {
    if !have("knotd") || !have("keymgr") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Certificates { expired, .. } = certificates(folder.path());
    // What the hosts say, and whether a message that requires TLS is given up for it.
    let says = [
        ("454 4.7.0 not now", true),
        ("501 5.5.4 never", false),
        ("554 5.7.3 never", false),
        ("421 4.3.2 closing", false),
        ("", false),
        ("220 2.0.0 go", false),
    ];
    // One whose certificate is known by records, and one whose name alone is.
    let kinds = ["dane", "name"];
    let address = |which: usize, number: usize| format!("127.0.{}.{}", which + 6, number + 1);
    let addresses: Vec<String> =
        (0..says.len()).flat_map(|number| [address(0, number), address(1, number)]).collect();
    let (port, mut listeners) = listen(&addresses);
    let mut root = String::from("ns.test. 300 A 127.0.0.1\n");
    let mut hosts = Vec::new();
    for (number, (text, _)) in says.iter().enumerate() {
        for (which, kind) in kinds.iter().enumerate() {
            let (name, address) = (format!("{kind}{number}.example"), address(which, number));
            writeln!(root, "{name}. 300 MX 10 mx.{name}.\nmx.{name}. 300 A {address}").unwrap();
            if *kind == "dane" {
                writeln!(root, "_{port}._tcp.mx.{name}. 300 TLSA {}", record(3, 1, 1, &expired)).unwrap();
            }
            let listener = listeners.remove(0);
            hosts.push((name, *kind, number, Host::on(listener, Behaviour::StartTls(text))));
        }
    }
    let names = signing(folder.path(), &[(".", root)]);
    let trust = format!("[relay]\ntrust = {:?}\n", folder.path().join("valid.pem"));
    let a = Site::start("a.example", "127.0.0.2", port, &names, &trust, &["ann"]);
    let mut client = submission(&a).await;
    // Without REQUIRETLS, what is known by its name alone goes in the clear where it may.
    let mut sent = Vec::new();
    for (name, kind, number, _) in &hosts {
        for requires in [false, true] {
            if *kind == "dane" || requires {
                let to = if requires { format!("required@{name}") } else { format!("bob@{name}") };
                send(&mut client, &to, requires).await;
                sent.push((to, requires, *number));
            }
        }
    }
    for (to, requires, number) in &sent {
        let to = format!("to={to} ");
        let line = wait_for(&format!("mail to {to}"), || {
            a.log().lines().find(|line| line.contains(&to) && line.contains("status=")).map(str::to_owned)
        });
        let expected = if *requires && says[*number].1 { "bounced" } else { "deferred" };
        assert!(line.contains(&format!("status=\"{expected}\"")), "{:?}: {line}", says[*number]);
    }
    for (name, _, _, host) in &hosts {
        assert!(!host.commands("STARTTLS").is_empty(), "{name} was asked");
        assert_eq!((host.commands("MAIL").len(), host.received().len()), (0, 0), "{name}");
    }
}

/// A client of the submission port, logged in and within TLS.
async fn submission(site: &Site) -> SmtpClient {
    let roots = tls::roots(&fs::read(site.certificate()).unwrap()).unwrap();
    let security = Security::Starttls(Arc::new(tls::client_config(roots).unwrap()));
    let port = site.port("submission");
    let endpoint = Endpoint::new("localhost", port, security).at(([127, 0, 0, 2], port).into());
    let name = "laptop.example".parse().unwrap();
    let mut client = SmtpClient::connect(&endpoint, name, Arc::default()).await.unwrap();
    client.login("ann@a.example", &Secret::from(common::PASSWORD)).await.unwrap();
    client
}

async fn send(client: &mut SmtpClient, to: &str, requires: bool) {
    let mut parameters = MailParameters::default();
    parameters.require_tls = requires;
    let from = ReversePath::Address("ann@a.example".parse().unwrap());
    let rcpt = Rcpt::new(ForwardPath::Address(to.parse().unwrap()));
    let message = Message::new(Mail::new(from).with_parameters(parameters), vec![rcpt]);
    let text = format!("From: <ann@a.example>\r\nSubject: {to} {requires}\r\n\r\nHello.\r\n");
    let replies = client.send(message, text.as_bytes()).await.unwrap();
    assert!(replies.iter().all(Reply::is_positive), "{replies:?}");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Fallback,
    None,
}
