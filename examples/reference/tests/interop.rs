//! Real mail programs against the running server: in by SMTP, out by IMAP and POP3, over TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{fs, path::Path, process::Command};

use common::{PASSWORD, Server, USER, deliver, have, run, succeed, wait_for, write_private};

const MESSAGE: &str = "From: Bob <alice@example.org>\r\nTo: alice@example.org\r\nSubject: interop\r\n\
    Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <interop-1@example.net>\r\n\r\nHello,\r\n.a line with a dot\r\nbye\r\n";

/// How many messages INBOX has, by plain IMAP inside the machine of the test: no program in between.
fn count(server: &Server) -> usize {
    let script = format!(
        "import imaplib,ssl\nc=imaplib.IMAP4_SSL('127.0.0.1',{},ssl_context=ssl._create_unverified_context())\n\
         c.login('{USER}','{PASSWORD}')\nprint(int(c.select('INBOX',True)[1][0]))\nc.logout()",
        server.port("imap", "implicit")
    );
    let printed = succeed(Command::new("python3").args(["-c", &script]));
    String::from_utf8(printed).unwrap().trim().parse().unwrap()
}

#[test]
fn swaks_sends_in_every_way() {
    if !have("swaks") || !have("python3") {
        return;
    }
    let server = Server::start("");
    let swaks = |port: u16, arguments: &[&str]| {
        run(Command::new("swaks")
            .args(["--server", "127.0.0.1", "--port", &port.to_string(), "--to", USER, "--from", USER])
            .args(["--helo", "client.example", "--timeout", "30"])
            .args(arguments))
    };
    let login = ["--auth-user", USER, "--auth-password", PASSWORD];
    let (smtp, submission) = (server.port("smtp", "starttls"), server.port("submission", "starttls"));
    let implicit = server.port("submission", "implicit");
    let mut sent = 0;
    for (port, arguments) in [
        (smtp, vec![]),
        (smtp, vec!["--tls"]),
        (submission, [&["--tls", "--auth", "PLAIN"][..], &login].concat()),
        (submission, [&["--tls", "--auth", "LOGIN"][..], &login].concat()),
        (implicit, [&["--tls-on-connect", "--auth", "PLAIN"][..], &login].concat()),
        (smtp, vec!["--pipeline"]),
    ] {
        let output = swaks(port, &arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        sent += 1;
    }
    assert_eq!(count(&server), sent);
    // No login without TLS, no relaying, no unknown users, no wrong passwords.
    let no_tls = swaks(submission, &[&["--auth", "PLAIN"][..], &login].concat());
    assert!(!no_tls.status.success());
    let relay = run(Command::new("swaks")
        .args(["--server", "127.0.0.1", "--port", &smtp.to_string(), "--helo", "client.example"])
        .args(["--from", "a@example.net", "--to", "b@example.com"]));
    assert!(String::from_utf8_lossy(&relay.stdout).contains("554 5.7.1"), "{relay:?}");
    let wrong =
        swaks(submission, &["--tls", "--auth", "PLAIN", "--auth-user", USER, "--auth-password", "wrong"]);
    assert!(String::from_utf8_lossy(&wrong.stdout).contains("535 5.7.8"), "{wrong:?}");
    assert_eq!(count(&server), sent);
    assert!(!server.log().contains(PASSWORD), "the password is in the log");
}

#[test]
fn msmtp_sends() {
    if !have("msmtp") || !have("python3") {
        return;
    }
    let server = Server::start("");
    let message = server.folder.path().join("message");
    fs::write(&message, MESSAGE.replace("\r\n", "\n")).unwrap();
    let mut sent = 0;
    for (port, starttls, auth) in [
        (server.port("submission", "starttls"), "on", "plain"),
        (server.port("submission", "implicit"), "off", "plain"),
        (server.port("submission", "implicit"), "off", "login"),
        (server.port("submission", "starttls"), "on", "scram-sha-256"),
    ] {
        let output = run(Command::new("sh").arg("-c").arg(format!(
            "msmtp --file=/dev/null --host=127.0.0.1 --port={port} --tls=on --tls-starttls={starttls} \
             --tls-trust-file={} --auth={auth} --user={USER} --passwordeval='echo {PASSWORD}' \
             --from={USER} {USER} < {}",
            server.certificate().display(),
            message.display()
        )));
        assert!(output.status.success(), "{auth} at {port}: {}", String::from_utf8_lossy(&output.stderr));
        sent += 1;
    }
    assert_eq!(count(&server), sent);
}

#[test]
fn curl_sends_and_reads() {
    if !have("curl") {
        return;
    }
    let server = Server::start("");
    let message = server.folder.path().join("message");
    fs::write(&message, MESSAGE).unwrap();
    let curl = |arguments: &[&str]| {
        succeed(
            Command::new("curl")
                .args(["--silent", "--show-error", "--cacert", &server.certificate().display().to_string()])
                .args(["--user", &format!("{USER}:{PASSWORD}")])
                .args(arguments),
        )
    };
    let send = ["--mail-from", USER, "--mail-rcpt", USER, "--upload-file", message.to_str().unwrap()];
    let url = |scheme: &str, port: u16, path: &str| format!("{scheme}://localhost:{port}/{path}");
    curl(&[&send[..], &[&url("smtps", server.port("submission", "implicit"), "client.example")]].concat());
    curl(
        &[&send[..], &["--ssl-reqd", &url("smtp", server.port("submission", "starttls"), "client.example")]]
            .concat(),
    );
    for (scheme, tls) in [("imaps", "implicit"), ("imap", "starttls")] {
        let got = curl(&["--ssl-reqd", &url(scheme, server.port("imap", tls), "INBOX;UID=2")]);
        assert!(String::from_utf8_lossy(&got).ends_with(MESSAGE), "{}", String::from_utf8_lossy(&got));
        assert!(String::from_utf8_lossy(&got).starts_with("Return-Path: <alice@example.org>\r\n"));
    }
    for (scheme, tls) in [("pop3s", "implicit"), ("pop3", "starttls")] {
        let got = curl(&["--ssl-reqd", &url(scheme, server.port("pop3", tls), "1")]);
        assert!(String::from_utf8_lossy(&got).ends_with(MESSAGE), "{}", String::from_utf8_lossy(&got));
    }
}

#[test]
fn python_reads_a_corpus_byte_for_byte() {
    if !have("python3") {
        return;
    }
    let server = Server::start("");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/corpus.py");
    let printed = succeed(
        Command::new("python3").arg(script).args([USER, PASSWORD, "1000"]).args(
            [
                server.port("lmtp", "none"),
                server.port("imap", "implicit"),
                server.port("pop3", "implicit"),
                server.port("imap", "starttls"),
            ]
            .map(|port| port.to_string()),
        ),
    );
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("1000 messages identical by IMAP and POP3"), "{printed}");
}

#[test]
fn python_uses_every_imap_command_it_has() {
    if !have("python3") {
        return;
    }
    let server = Server::start("");
    deliver(&server, USER, MESSAGE);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/imap_commands.py");
    succeed(Command::new("python3").arg(script).args([
        USER,
        PASSWORD,
        &server.port("imap", "implicit").to_string(),
    ]));
}

#[test]
fn mbsync_synchronizes_both_ways_and_then_has_nothing_to_do() {
    if !have("mbsync") || !have("python3") {
        return;
    }
    let server = Server::start("");
    for index in 0..20 {
        deliver(&server, USER, &MESSAGE.replace("interop-1", &format!("interop-{index}")));
    }
    let folder = server.folder.path();
    let mail = folder.join("mail");
    fs::create_dir(&mail).unwrap();
    let config = folder.join("mbsyncrc");
    write_private(
        &config,
        &format!(
            "IMAPAccount here\nHost 127.0.0.1\nPort {}\nUser {USER}\nPass {PASSWORD}\nTLSType IMAPS\nSSLType IMAPS\n\
             CertificateFile {}\n\nIMAPStore far\nAccount here\n\nMaildirStore near\nPath {mail}/\nInbox {mail}/INBOX\n\
             SubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\n\
             SyncState *\n",
            server.port("imap", "implicit"),
            server.certificate().display(),
            mail = mail.display(),
        )
        .replace("TLSType IMAPS\n", ""),
    );
    let mbsync = || {
        let output = run(Command::new("mbsync").arg("-V").arg("-c").arg(&config).arg("-a"));
        assert!(
            output.status.success(),
            "{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let files = || {
        let mut names = Vec::new();
        for part in ["new", "cur"] {
            for entry in fs::read_dir(mail.join("INBOX").join(part)).unwrap() {
                names.push(entry.unwrap().path());
            }
        }
        names.sort();
        names
    };
    mbsync();
    assert_eq!(files().len(), 20);
    let before = files();
    mbsync();
    assert_eq!(files(), before, "the second run changed something");
    // A new message and a deletion on the near side reach the server.
    fs::write(
        mail.join("INBOX/new/1.test.local"),
        MESSAGE.replace("\r\n", "\n").replace("interop-1", "from-near"),
    )
    .unwrap();
    fs::remove_file(&before[0]).unwrap();
    mbsync();
    assert_eq!(count(&server), 20);
    let before = files();
    mbsync();
    assert_eq!(files(), before);
}

#[test]
fn fetchmail_fetches() {
    if !have("fetchmail") {
        return;
    }
    for (protocol, tls) in [("imap", "implicit"), ("pop3", "implicit"), ("pop3", "starttls")] {
        let server = Server::start("");
        for index in 0..3 {
            deliver(&server, USER, &MESSAGE.replace("interop-1", &format!("interop-{index}")));
        }
        let folder = server.folder.path();
        let (config, fetched) = (folder.join("fetchmailrc"), folder.join("fetched"));
        let ssl = if tls == "implicit" { "ssl" } else { "sslproto tls1.2+" };
        write_private(
            &config,
            &format!(
                "poll localhost protocol {protocol} port {} user \"{USER}\" password \"{PASSWORD}\" {ssl} \
                 sslcertck sslcertfile {} mda \"cat >> {}\"\n",
                server.port(protocol, tls),
                server.certificate().display(),
                fetched.display()
            ),
        );
        succeed(
            Command::new("fetchmail").env("FETCHMAILHOME", folder).env("HOME", folder).arg("-f").arg(&config),
        );
        let text = fs::read_to_string(&fetched).unwrap();
        assert_eq!(text.matches("Subject: interop").count(), 3, "{protocol} {tls}: {text}");
        let again = run(Command::new("fetchmail")
            .env("FETCHMAILHOME", folder)
            .env("HOME", folder)
            .arg("-f")
            .arg(&config));
        assert_eq!(again.status.code(), Some(1), "there is nothing left to fetch");
    }
}

#[test]
fn offlineimap_synchronizes() {
    if !have("offlineimap") {
        return;
    }
    let server = Server::start("");
    for index in 0..5 {
        deliver(&server, USER, &MESSAGE.replace("interop-1", &format!("interop-{index}")));
    }
    let folder = server.folder.path();
    let (config, mail) = (folder.join("offlineimaprc"), folder.join("offline"));
    write_private(
        &config,
        &format!(
            "[general]\naccounts = a\nmetadata = {}/meta\nmaxsyncaccounts = 1\n[Account a]\nlocalrepository = l\n\
             remoterepository = r\n[Repository l]\ntype = Maildir\nlocalfolders = {}\n[Repository r]\ntype = IMAP\n\
             remotehost = localhost\nremoteport = {}\nremoteuser = {USER}\nremotepass = {PASSWORD}\nssl = yes\n\
             sslcacertfile = {}\n",
            folder.display(),
            mail.display(),
            server.port("imap", "implicit"),
            server.certificate().display()
        ),
    );
    for _ in 0..2 {
        succeed(
            Command::new("offlineimap").env("HOME", folder).args(["-u", "basic", "-o", "-c"]).arg(&config),
        );
        let found =
            ["new", "cur"].iter().map(|part| fs::read_dir(mail.join("INBOX").join(part)).unwrap().count());
        assert_eq!(found.sum::<usize>(), 5);
    }
}

#[test]
fn mutt_reads_and_saves() {
    if !have("mutt") || !have("script") {
        return;
    }
    let server = Server::start("");
    deliver(&server, USER, MESSAGE);
    let folder = server.folder.path();
    let (config, saved) = (folder.join("muttrc"), folder.join("saved"));
    write_private(
        &config,
        &format!(
            "set imap_user=\"{USER}\"\nset imap_pass=\"{PASSWORD}\"\nset certificate_file=\"{}\"\nset ssl_usesystemcerts=no\n\
             set ssl_verify_host=no\nset folder=\"{folder}\"\nset header_cache=\"\"\nset confirmappend=no\nset confirmcreate=no\n\
             set delete=yes\nset mbox_type=mbox\nset sleep_time=0\nset wait_key=no\n\
             push \"<copy-message>{saved}<enter><exit>\"\n",
            server.certificate().display(),
            folder = folder.display(),
            saved = saved.display()
        ),
    );
    let inner = format!(
        "mutt -n -F {} -f imaps://localhost:{}/INBOX",
        config.display(),
        server.port("imap", "implicit")
    );
    let output = run(Command::new("timeout")
        .args(["60", "script", "-qec", &inner, "/dev/null"])
        .env("TERM", "xterm")
        .env("HOME", folder)
        .env("LINES", "24")
        .env("COLUMNS", "80"));
    let text = wait_for("mutt to save the message", || fs::read_to_string(&saved).ok());
    assert!(text.contains("Subject: interop"), "{text}\n{}", String::from_utf8_lossy(&output.stdout));
    assert!(text.contains("\n.a line with a dot\n"), "{text}");
}

#[test]
fn sieve_connect_manages_scripts() {
    if !have("sieve-connect") {
        return;
    }
    let server = Server::start("");
    let folder = server.folder.path();
    for (name, script) in [
        ("keep.sieve", "require \"fileinto\";\nif header :contains \"subject\" \"x\" { fileinto \"X\"; }\n"),
        ("broken.sieve", "require \"fileinto\";\nfileinto;\nnonsense;\n"),
    ] {
        fs::write(folder.join(name), script).unwrap();
    }
    let port = server.port("managesieve", "starttls");
    let sieve = |arguments: &[&str]| {
        let mut child = Command::new("sieve-connect")
            .args(["--server", "localhost", "--port", &port.to_string(), "--user", USER, "--passwordfd", "0"])
            .args(arguments)
            .env("SSL_CERT_FILE", server.certificate())
            .current_dir(folder)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{PASSWORD}\n").as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let certificate = server.certificate();
    let ca = ["--tlscafile", certificate.to_str().unwrap()];
    let run = |arguments: &[&str]| sieve(&[&ca[..], arguments].concat());
    let (ok, text) = run(&["--localsieve", "keep.sieve", "--upload"]);
    assert!(ok, "{text}");
    let (ok, text) = run(&["--localsieve", "broken.sieve", "--upload"]);
    assert!(text.contains("line 2, column"), "{ok} {text}");
    let (ok, text) = run(&["--remotesieve", "keep.sieve", "--activate"]);
    assert!(ok, "{text}");
    let (ok, text) = run(&["--list"]);
    assert!(ok && text.contains("\"keep.sieve\" ACTIVE") && !text.contains("broken"), "{text}");
    let (ok, text) = run(&["--remotesieve", "keep.sieve", "--localsieve", "fetched.sieve", "--download"]);
    assert!(ok, "{text}");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap().replace("\r\n", "\n");
    assert_eq!(read("fetched.sieve"), read("keep.sieve"));
    let (_, text) = run(&["--remotesieve", "keep.sieve", "--delete"]);
    assert!(text.contains("active"), "{text}");
    let (ok, text) = run(&["--deactivate"]);
    assert!(ok, "{text}");
    let (ok, text) = run(&["--remotesieve", "keep.sieve", "--delete"]);
    assert!(ok, "{text}");
    let (_, text) = run(&["--list"]);
    assert!(!text.contains("keep.sieve"), "{text}");
}
