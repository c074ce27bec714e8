//! Real mail programs fetch from the running server by POP3, over TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{fs, path::Path, process::Command};

use common::{PASSWORD, Server, USER, deliver, have, run, succeed, write_private};

const COUNT: usize = 3;

fn message(number: usize) -> String {
    format!(
        "From: Bob <bob@example.net>\r\nTo: {USER}\r\nSubject: message {number}\r\nMessage-ID: <{number}@example.net>\r\n\r\n\
         Hello,\r\n.a line with a dot\r\n..and two\r\n.\r\nbye {number}\r\n"
    )
}

/// A server with some messages.
fn filled() -> Server {
    let server = Server::start("");
    for number in 1..=COUNT {
        deliver(&server, USER, &message(number));
    }
    server
}

/// The messages of a Maildir, with the line ends of the network.
fn maildir(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path.join("new")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        found.push(text.replace("\r\n", "\n").replace('\n', "\r\n"));
    }
    found.sort_by_key(|text| text[text.find("bye ").unwrap()..].to_owned());
    found
}

#[track_caller]
fn are_all(found: &[String]) {
    assert_eq!(found.len(), COUNT, "{found:?}");
    for (number, text) in (1..).zip(found) {
        // What the program and the server have put on top does not matter.
        assert!(text.ends_with(&message(number)[message(number).find("\r\n\r\n").unwrap()..]), "{text}");
    }
}

#[test]
fn getmail_fetches_once_and_then_deletes() {
    if !have("getmail") {
        return;
    }
    for (kind, tls) in [("SimplePOP3SSLRetriever", "implicit"), ("SimplePOP3Retriever", "plain")] {
        // getmail knows no STLS: without TLS it is let in where the configuration says so.
        let server = Server::start(if tls == "plain" { "allow_plaintext_auth = true\n" } else { "" });
        for number in 1..=COUNT {
            deliver(&server, USER, &message(number));
        }
        let folder = server.folder.path();
        for part in ["mail/new", "mail/cur", "mail/tmp", "getmail"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let port = server.port("pop3", if tls == "plain" { "starttls" } else { tls });
        let authority = match tls {
            "implicit" => format!("ca_certs = {}\n", server.certificate().display()),
            _ => String::new(),
        };
        let config = |delete: bool| {
            write_private(
                &folder.join("getmail/getmailrc"),
                &format!(
                    "[retriever]\ntype = {kind}\nserver = localhost\nport = {port}\nusername = {USER}\npassword = {PASSWORD}\n\
                     {authority}[destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n\
                     arguments = (\"-c\", \"cat > {}/mail/new/$$\")\n\
                     [options]\nread_all = false\ndelete = {delete}\nreceived = false\ndelivered_to = false\n",
                    folder.display()
                ),
            );
        };
        let getmail = || {
            let mut command = Command::new("getmail");
            command.env("HOME", folder).arg("--getmaildir").arg(folder.join("getmail"));
            let output = run(&mut command);
            assert!(
                output.status.success(),
                "{}\n{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        };
        config(false);
        getmail();
        are_all(&maildir(&folder.join("mail")));
        // By their unique ids it knows them again.
        getmail();
        are_all(&maildir(&folder.join("mail")));
        config(true);
        getmail();
        are_all(&maildir(&folder.join("mail")));
        assert!(listed(&server).is_empty());
    }
}

/// What is in the maildrop, as Python's poplib sees it.
fn listed(server: &Server) -> Vec<String> {
    let script = format!(
        "import poplib,ssl\nc=poplib.POP3_SSL('127.0.0.1',{},context=ssl._create_unverified_context())\n\
         c.user('{USER}')\nc.pass_('{PASSWORD}')\nprint('\\n'.join(line.decode() for line in c.uidl()[1]))\nc.quit()",
        server.port("pop3", "implicit")
    );
    let printed = String::from_utf8(succeed(Command::new("python3").args(["-c", &script]))).unwrap();
    printed.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn mpop_fetches_pipelined_and_what_is_new() {
    if !have("mpop") || !have("python3") {
        return;
    }
    for (tls, starttls, auth) in [
        ("implicit", "off", "plain"),
        ("starttls", "on", "user"),
        ("starttls", "on", "scram-sha-256"),
        ("implicit", "off", "login"),
    ] {
        let server = filled();
        let folder = server.folder.path();
        for part in ["mail/new", "mail/cur", "mail/tmp"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let config = folder.join("mpoprc");
        let mpop = |keep: &str| {
            write_private(
                &config,
                &format!(
                    "defaults\ntls on\ntls_starttls {starttls}\ntls_trust_file {}\nuidls_file {}/uidls\nreceived_header off\n\
                     account here\nhost localhost\nport {}\nauth {auth}\nuser {USER}\npassword {PASSWORD}\npipelining on\nkeep {keep}\n\
                     delivery maildir {}/mail\n",
                    server.certificate().display(),
                    folder.display(),
                    server.port("pop3", tls),
                    folder.display()
                ),
            );
            String::from_utf8(succeed(Command::new("mpop").arg("-C").arg(&config).arg("here"))).unwrap()
        };
        mpop("on");
        are_all(&maildir(&folder.join("mail")));
        mpop("on");
        are_all(&maildir(&folder.join("mail")));
        deliver(&server, USER, &message(COUNT + 1));
        mpop("off");
        assert_eq!(maildir(&folder.join("mail")).len(), COUNT + 1, "{tls} {auth}");
        assert!(listed(&server).is_empty(), "{tls} {auth}");
    }
}

#[test]
fn curl_lists_peeks_and_deletes() {
    if !have("curl") {
        return;
    }
    let server = filled();
    let certificate = server.certificate();
    let curl = |tls: &str, path: &str, arguments: &[&str]| {
        let scheme = if tls == "implicit" { "pop3s" } else { "pop3" };
        let url = format!("{scheme}://localhost:{}/{path}", server.port("pop3", tls));
        let printed = succeed(
            Command::new("curl")
                .args(["--silent", "--show-error", "--ssl-reqd", "--cacert", certificate.to_str().unwrap()])
                .args(["--user", &format!("{USER}:{PASSWORD}"), &url])
                .args(arguments),
        );
        String::from_utf8(printed).unwrap()
    };
    for (tls, options) in [
        ("implicit", &[][..]),
        ("starttls", &[]),
        ("starttls", &["--login-options", "AUTH=PLAIN"]),
        ("implicit", &["--login-options", "AUTH=LOGIN"]),
    ] {
        let list = curl(tls, "", options);
        assert_eq!(list.lines().count(), COUNT, "{tls} {options:?}: {list}");
        assert!(list.starts_with("1 "), "{list}");
    }
    let ids = curl("implicit", "", &["--request", "UIDL"]);
    let ids: Vec<_> = ids.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    assert!(ids.len() == COUNT && ids.iter().all(|id| id.len() == 16) && ids[0] != ids[1], "{ids:?}");
    let top = curl("implicit", "", &["--request", "TOP 2 1"]);
    assert!(top.contains("Subject: message 2\r\n") && top.ends_with("\r\n\r\nHello,\r\n"), "{top}");
    let whole = curl("starttls", "2", &[]);
    assert!(whole.ends_with(&message(2)), "{whole}");
    curl("implicit", "2", &["--request", "DELE", "--head"]);
    let left = curl("implicit", "", &[]);
    assert_eq!(left.lines().count(), COUNT - 1, "{left}");
    let wrong = run(Command::new("curl")
        .args(["--silent", "--cacert", certificate.to_str().unwrap(), "--user", &format!("{USER}:wrong")])
        .arg(format!("pop3s://localhost:{}/", server.port("pop3", "implicit"))));
    // CURLE_LOGIN_DENIED
    assert_eq!(wrong.status.code(), Some(67));
}

#[test]
fn poplib_uses_every_command_it_has() {
    if !have("python3") {
        return;
    }
    let server = filled();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/pop3_commands.py");
    succeed(Command::new("python3").arg(script).args([
        USER,
        PASSWORD,
        &server.port("pop3", "implicit").to_string(),
        &server.port("pop3", "starttls").to_string(),
    ]));
    assert_eq!(listed(&server).len(), COUNT - 1);
}

#[test]
fn fetchmail_keeps_and_knows_again() {
    if !have("fetchmail") {
        return;
    }
    let server = filled();
    let folder = server.folder.path();
    let (config, fetched) = (folder.join("fetchmailrc"), folder.join("fetched"));
    write_private(
        &config,
        &format!(
            "poll localhost protocol pop3 port {} uidl user \"{USER}\" password \"{PASSWORD}\" ssl keep \
             sslcertck sslcertfile {} mda \"cat >> {}\"\n",
            server.port("pop3", "implicit"),
            server.certificate().display(),
            fetched.display()
        ),
    );
    let fetchmail = || {
        run(Command::new("fetchmail").env("FETCHMAILHOME", folder).env("HOME", folder).arg("-f").arg(&config))
            .status
            .code()
    };
    assert_eq!(fetchmail(), Some(0));
    let text = fs::read_to_string(&fetched).unwrap();
    assert_eq!(text.matches("Subject: message ").count(), COUNT, "{text}");
    // 1: there is nothing new.
    assert_eq!(fetchmail(), Some(1));
    deliver(&server, USER, &message(COUNT + 1));
    assert_eq!(fetchmail(), Some(0));
    let text = fs::read_to_string(&fetched).unwrap();
    assert_eq!(text.matches("Subject: message ").count(), COUNT + 1, "{text}");
}
