//! The command that programs call sendmail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use common::{Server, USER, have, run, succeed, wait_for};

/// A server whose socket all can reach, and the names by which programs know us.
fn start() -> Server {
    let mut server = prepare();
    server.add_user(USER, common::PASSWORD);
    server.serve();
    server
}

fn prepare() -> Server {
    let server = Server::prepare("allow_plaintext_auth = true\norigin = \"example.org\"");
    let folder = server.folder.path();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let config = folder.join("mailwright.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(folder.join("aliases"), "root: alice\n").unwrap();
    fs::write(
        &config,
        text + "[sendmail]\nsocket = \"sendmail.sock\"\n[aliases]\nfile = \"aliases\"\n\
        [relay.transport]\n\"later.example\" = \"[127.0.0.1]:1\"\n",
    )
    .unwrap();
    fs::create_dir(folder.join("bin")).unwrap();
    for name in ["sendmail", "mailq", "newaliases", "postalias"] {
        symlink(env!("CARGO_BIN_EXE_mailwrightd"), folder.join("bin").join(name)).unwrap();
    }
    server
}

fn program(server: &Server, name: &str) -> PathBuf {
    server.folder.path().join("bin").join(name)
}

fn command(server: &Server, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program(server, name));
    command.args(arguments).env("MAILWRIGHT_CONFIG", server.folder.path().join("mailwright.toml"));
    command
}

/// Calls sendmail with a message.
fn send(server: &Server, arguments: &[&str], message: &str) -> Output {
    feed(command(server, "sendmail", arguments), message)
}

fn feed(mut command: Command, message: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Who refuses the arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(message.as_bytes());
    child.wait_with_output().unwrap()
}

/// The last message of INBOX.
fn last(server: &Server) -> String {
    common::inbox(server).imap("f", "FETCH * BODY.PEEK[]").join("\n")
}

#[test]
fn a_message_is_sent_as_programs_send_it() {
    let server = start();
    let message = "To: alice, nobody-else <alice@example.org>\nBcc: root\nSubject: by -t\n\nline\n.\n..two\n";
    let sent = send(&server, &["-t", "-oi", "-oem", "-F", "The Cron", "-f", "cron"], message);
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(common::count(&server), 1, "alice is named three times");
    let text = last(&server);
    for part in [
        "Return-Path: <cron@example.org>\n",
        "From: The Cron <cron@example.org>\n",
        "\nDate: ",
        "\nMessage-ID: <",
        "Received: from mail.example.org (local user ",
        "\n\nline\n.\n..two\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!text.contains("Bcc") && !text.contains("root@"), "{text}");
    // Recipients behind the options; without -i a dot ends it; root's mail is from root at our origin.
    let sent = send(&server, &["alice"], "Subject: by name\n\nthere\n.\nnot there\n");
    assert!(sent.status.success(), "{sent:?}");
    let text = last(&server);
    let user = String::from_utf8(succeed(Command::new("id").arg("-un"))).unwrap();
    assert!(text.contains(&format!("Return-Path: <{}@example.org>", user.trim())), "{text}");
    assert!(text.contains("there\n") && !text.contains("not there"), "{text}");
    // The same without a link, and with a null sender.
    let mut direct = server.command(&["sendmail", "-i", "-f", "<>", "--", "root"]);
    direct.stdin(Stdio::piped());
    assert!(feed(direct, "Subject: direct\n\nx\n").status.success());
    assert!(last(&server).contains("Return-Path: <>"));
    // As large as it likes: it is not kept in memory.
    let large = format!("Subject: large\n\n{}", "0123456789abcdef\n".repeat(600_000));
    assert!(send(&server, &["-i", "alice"], &large).status.success());
    assert_eq!(common::count(&server), 4);
}

#[test]
fn what_cannot_be_sent_is_said_and_nothing_is() {
    let mut server = start();
    for (arguments, message, code, why) in [
        (&["-t"][..], "Subject: x\n\nx\n", 64, "no recipients"),
        (&[][..], "x\n", 64, "no recipients"),
        (&["-Z"][..], "", 64, "-Z"),
        (&["-f"][..], "", 64, "-f"),
        (&["alice", "ghost"][..], "x\n", 67, "550 5.1.1"),
        (&["-f", "a@@b", "alice"][..], "", 64, "not an address"),
        (&["-bd"][..], "", 64, "serve"),
    ] {
        let sent = send(&server, arguments, message);
        let said = String::from_utf8_lossy(&sent.stderr).into_owned();
        assert_eq!(sent.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.starts_with("sendmail: ") && said.contains(why), "{arguments:?}: {said}");
    }
    assert_eq!(common::count(&server), 0, "not even to those that there are");
    server.stop();
    let sent = send(&server, &["alice"], "x\n");
    let said = String::from_utf8_lossy(&sent.stderr).into_owned();
    assert_eq!(sent.status.code(), Some(75), "{said}");
    assert!(said.contains("was not sent") && said.contains("does mailwrightd run"), "{said}");
}

/// As cron hands over what a program wrote that shows how far it is, and as programs name people.
#[test]
fn what_programs_write_is_sent() {
    let server = start();
    let progress = "From: root (Cron Daemon)\nTo: alice\nSubject: Cron\n\n  10%\r 100%\r\ndone\n";
    let sent = send(&server, &["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "alice"], progress);
    assert!(sent.status.success(), "{sent:?}");
    assert!(last(&server).contains("\n\n  10%\n 100%\ndone\n"));
    let sent =
        send(&server, &["-f", "Bob <b@x.example>", "Alice A <alice@example.org>"], "Subject: x\n\nx\n");
    assert!(sent.status.success(), "{sent:?}");
    assert!(last(&server).contains("Return-Path: <b@x.example>\n"));
    // What is no UTF-8 is Latin-1.
    let mut old = command(&server, "sendmail", &["-t", "-F"]);
    old.arg(OsStr::from_bytes(b"J\xfcrgen"));
    let sent = feed(old, "To: alice\nSubject: x\n\nx\n");
    assert!(sent.status.success(), "{sent:?}");
    assert!(last(&server).contains("From: =?UTF-8?B?SsO8cmdlbg==?= <"), "{}", last(&server));
    let mut direct = server.command(&["sendmail"]);
    direct.arg(OsStr::from_bytes(b"j\xfcrgen@example.org"));
    let sent = feed(direct, "x\n");
    assert_eq!(sent.status.code(), Some(67), "{sent:?}");
    assert_eq!(common::count(&server), 3);
}

#[test]
fn more_recipients_than_a_message_has_get_several() {
    let mut server = prepare();
    let config = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("[limits]\n", "[limits]\nrecipients = 100\n")).unwrap();
    server.add_user(USER, common::PASSWORD);
    server.serve();
    // alice is in the last of three.
    let mut names: Vec<String> = (0..249).map(|number| format!("u{number}@later.example")).collect();
    names.push(USER.into());
    let arguments: Vec<&str> = names.iter().map(String::as_str).collect();
    let large = format!("Subject: many\n\n{}", "0123456789abcdef\n".repeat(20_000));
    let sent = send(&server, &arguments, &large);
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(common::count(&server), 1);
    let waiting = || {
        let shown = succeed(&mut command(&server, "mailq", &["--"]));
        String::from_utf8(shown).unwrap().matches("@later.example").count()
    };
    wait_for("the queue", || (waiting() == 249).then_some(()));
    // One that is unknown keeps it from all.
    names.push("ghost@example.org".into());
    let arguments: Vec<&str> = names.iter().map(String::as_str).collect();
    let sent = send(&server, &arguments, &large);
    let said = String::from_utf8_lossy(&sent.stderr).into_owned();
    assert_eq!(sent.status.code(), Some(67), "{said}");
    assert!(said.contains("550 5.1.1") && said.contains("nothing was sent"), "{said}");
    assert_eq!((common::count(&server), waiting()), (1, 249));
}

#[test]
fn smtp_on_standard_input() {
    let server = start();
    let talk = "EHLO here\nMAIL FROM:<cron@example.org>\nRCPT TO:<root>\nRCPT TO:<alice@example.org>\nDATA\nSubject: by SMTP\n\nx\n.\nQUIT\n";
    let said = feed(command(&server, "sendmail", &["-bs"]), &talk.replace('\n', "\r\n"));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.starts_with("220 mail.example.org") && said.contains("\r\n221 2.0.0 Bye"), "{said}");
    assert!(last(&server).contains("Subject: by SMTP"), "{said}");
}

#[test]
fn anybody_here_may_send_and_is_named() {
    if String::from_utf8(succeed(Command::new("id").arg("-u"))).unwrap().trim() != "0" {
        eprintln!("skipped: only root can be somebody else");
        return;
    }
    use std::os::unix::process::CommandExt;
    let server = start();
    let mut somebody = command(&server, "sendmail", &["-t"]);
    somebody.uid(65_534).gid(65_534);
    let sent = feed(somebody, "To: alice\nSubject: mine\n\nx\n");
    assert!(sent.status.success(), "{sent:?}");
    let text = last(&server);
    assert!(text.contains("Return-Path: <nobody@example.org>"), "{text}");
    assert!(text.contains("(local user nobody)"), "{text}");
    // Commands that show or change things are for who owns the data.
    let mut somebody = command(&server, "mailq", &[]);
    somebody.uid(65_534).gid(65_534);
    assert!(!run(&mut somebody).status.success());
}

#[test]
fn mailq_and_newaliases() {
    let server = start();
    let shown = succeed(&mut command(&server, "mailq", &[]));
    assert_eq!(String::from_utf8(shown).unwrap(), "Mail queue is empty\n");
    assert!(
        send(&server, &["-N", "delay", "-R", "hdrs", "-V", "an id", "x@later.example"], "x\n")
            .status
            .success()
    );
    wait_for("an entry", || {
        let shown = succeed(&mut command(&server, "sendmail", &["-bp"]));
        String::from_utf8(shown).unwrap().contains("x@later.example").then_some(())
    });
    assert!(run(&mut command(&server, "sendmail", &["-q"])).status.success());
    fs::write(server.folder.path().join("aliases"), "root: alice\nboss: root\n").unwrap();
    let said = String::from_utf8(succeed(&mut command(&server, "newaliases", &[]))).unwrap();
    assert!(said.contains("2 aliases"), "{said}");
    let output = run(&mut command(&server, "postalias", &["hash:/etc/aliases"]));
    assert!(output.status.success(), "{output:?}");
    assert!(send(&server, &["boss"], "x\n").status.success());
    fs::write(server.folder.path().join("aliases"), "boss root\n").unwrap();
    let said = run(&mut command(&server, "sendmail", &["-bi"]));
    assert_eq!(said.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&said.stderr).contains("line 1"), "{said:?}");
}

#[test]
fn mutt_and_python_send_by_it() {
    let server = start();
    let sendmail = program(&server, "sendmail");
    let config = server.folder.path().join("mailwright.toml");
    let mut expected = 0;
    if have("mutt") {
        let rc = server.folder.path().join("muttrc");
        let text = format!(
            "set sendmail=\"{} -oem -oi\"\nset from=\"carol@example.org\"\nset use_envelope_from=yes\nset copy=no\n",
            sendmail.display()
        );
        fs::write(&rc, text).unwrap();
        let mut mutt = Command::new("mutt");
        mutt.arg("-F").arg(&rc).args(["-s", "by mutt", "-b", "root@example.org", "--", USER]);
        mutt.env("MAILWRIGHT_CONFIG", &config).env("HOME", server.folder.path());
        let sent = feed(mutt, "from mutt\n.\nto the end\n");
        assert!(sent.status.success(), "{sent:?}");
        expected += 1;
        wait_for("mutt's message", || (common::count(&server) == expected).then_some(()));
        let text = last(&server);
        assert!(text.contains("Return-Path: <carol@example.org>"), "{text}");
        assert!(text.contains("\n.\nto the end"), "{text}");
    }
    if have("python3") {
        let script = "import subprocess,sys,email.message\n\
            m=email.message.EmailMessage()\n\
            m['To']='alice@example.org'\nm['Subject']='by Python: \\u00fc'\nm.set_content('gr\\u00fc\\u00dfe\\n')\n\
            subprocess.run([sys.argv[1],'-t','-oi'],input=m.as_bytes(),check=True)\n";
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(&sendmail).env("MAILWRIGHT_CONFIG", &config);
        succeed(&mut python);
        expected += 1;
        assert_eq!(common::count(&server), expected);
        assert!(last(&server).contains("Subject: by Python: =?utf-8?"), "{}", last(&server));
    }
    if have("s-nail") {
        let mut mail = Command::new("s-nail");
        mail.args(["-n", "-r", "dave@example.org", "-S"]).arg(format!("mta={}", sendmail.display()));
        mail.args(["-s", "by mail", USER]).env("MAILWRIGHT_CONFIG", &config);
        let sent = feed(mail, "from mail\n");
        assert!(sent.status.success(), "{sent:?}");
        expected += 1;
        wait_for("mail's message", || (common::count(&server) == expected).then_some(()));
        assert!(last(&server).contains("Return-Path: <dave@example.org>"), "{}", last(&server));
    }
}
