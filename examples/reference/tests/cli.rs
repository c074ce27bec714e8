//! The command line of `mailwrightd`, from outside: what it prints, and what it ends with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use common::{PASSWORD, Server, USER, have, imap, run, succeed, wait_for};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailwrightd"));
    command.args(arguments).env_remove("MAILWRIGHT_CONFIG");
    command
}

/// Runs it with something on standard input.
fn fed(mut command: Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {output:?}"))
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A configuration file of this text, in a directory of its own.
fn config(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mailwright.toml");
    fs::write(&file, text).unwrap();
    let path = file.display().to_string();
    (folder, path)
}

#[test]
fn help_names_every_command_and_what_happens_without_one() {
    let output = run(&mut program(&["--help"]));
    assert_eq!(code(&output), 0);
    for word in ["serve", "config", "user", "--config", "--data", "MAILWRIGHT_CONFIG", "self-signed"] {
        assert!(out(&output).contains(word), "{word}: {}", out(&output));
    }
    let output = run(&mut program(&["user", "--help"]));
    for word in ["add", "list", "password", "remove", "import", "while the server runs"] {
        assert!(out(&output).contains(word), "{word}: {}", out(&output));
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_would_be_right() {
    for wrong in [&["usr"][..], &["user", "ad"], &["--confg", "x"], &["user", "add"], &["config"]] {
        let output = run(&mut program(wrong));
        assert_eq!(code(&output), 2, "{wrong:?}: {output:?}");
        assert!(err(&output).contains("Usage: mailwrightd"), "{wrong:?}: {}", err(&output));
        assert_eq!(out(&output), "");
    }
}

#[test]
fn the_default_configuration_checks_and_shows_itself() {
    let default = out(&run(&mut program(&["config", "default"])));
    let (_folder, path) = config(&default);
    let output = run(&mut program(&["--config", &path, "config", "check"]));
    assert_eq!((code(&output), out(&output).as_str()), (0, "the configuration is right\n"));
    // What is shown can be used again, and shows the same.
    let shown = out(&run(&mut program(&["--config", &path, "config", "show"])));
    let (_folder, path) = config(&shown);
    let again = run(&mut program(&["--config", &path, "config", "show"]));
    assert_eq!(code(&again), 0, "{}", err(&again));
    assert_eq!(out(&again), shown);
}

#[test]
fn every_problem_of_a_configuration_is_told_at_once() {
    let (_folder, path) = config(
        "hostname = \"not a name\"\ndomains = []\n[limits]\nrecipients = 5\n[log]\nlevel = \"warning\"\n",
    );
    let output = run(&mut program(&["--config", &path, "config", "check"]));
    assert_eq!(code(&output), 2);
    for word in ["not a name", "domains is empty", "limits.recipients", "[log] level = \"warning\""] {
        assert!(err(&output).contains(word), "{word}: {}", err(&output));
    }
    // And the server does not start with it.
    let output = run(&mut program(&["--config", &path, "serve"]));
    assert_eq!((code(&output), out(&output).as_str()), (2, ""));
}

#[test]
fn a_misspelled_key_is_named_with_its_line() {
    let (_folder, path) = config("domains = [\"a.example\"]\nhostnam = \"mail.a.example\"\n");
    let output = run(&mut program(&["--config", &path, "config", "check"]));
    assert_eq!(code(&output), 2);
    for word in ["line 2", "hostnam", "config default"] {
        assert!(err(&output).contains(word), "{word}: {}", err(&output));
    }
}

#[test]
fn a_missing_configuration_says_how_to_make_one() {
    let output = run(&mut program(&["--config", "/nonexistent/mailwright.toml", "config", "check"]));
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("/nonexistent/mailwright.toml"), "{}", err(&output));
    assert!(err(&output).contains("mailwrightd config default >"), "{}", err(&output));
}

#[test]
fn the_configuration_can_come_from_the_environment() {
    let (_folder, path) = config("hostname = \"from.the.environment.example\"\n");
    let output = run(program(&["config", "show"]).env("MAILWRIGHT_CONFIG", &path));
    assert!(out(&output).contains("from.the.environment.example"), "{}", out(&output));
}

#[test]
fn accounts_are_managed_without_a_server() {
    let server = Server::prepare("");
    server.add_user(USER, PASSWORD);
    let again = fed(server.command(&["user", "add", USER, "--password-stdin"]), "another-one-9\n");
    assert_eq!(code(&again), 1);
    assert!(err(&again).contains(USER), "{}", err(&again));

    // Without a password one is made, and shown.
    let output = run(&mut server.command(&["user", "add", "bob@example.org"]));
    assert_eq!(code(&output), 0, "{}", err(&output));
    let made = out(&output).trim_end().rsplit(' ').next().unwrap().to_owned();
    assert!(made.len() >= 16, "{}", out(&output));

    for (name, why) in
        [("carol", "carol"), ("carol@elsewhere.example", "elsewhere.example"), ("a b@example.org", "a b")]
    {
        let output = fed(server.command(&["user", "add", name, "--password-stdin"]), "long-enough-1\n");
        assert_eq!(code(&output), 1, "{name} was taken");
        assert!(err(&output).contains(why), "{}", err(&output));
    }
    // A password that nobody asked for is not passed over without a word.
    let change = || server.command(&["user", "password", "bob@example.org"]);
    let unread = fed(change(), "correct horse\n");
    assert!(out(&unread).contains("with the password "), "{unread:?}");
    assert!(err(&unread).contains("--password-stdin"), "{unread:?}");
    let nothing = fed(change(), "");
    assert!(out(&nothing).contains("with the password ") && err(&nothing).is_empty(), "{nothing:?}");
    let empty = fed(server.command(&["user", "add", "carol@example.org", "--password-stdin"]), "\n");
    assert_eq!(code(&empty), 1, "an empty password was taken");

    let listed = out(&run(&mut server.command(&["user", "list"])));
    assert_eq!(listed, "alice@example.org\nbob@example.org\n");
    let listed = out(&run(&mut server.command(&["user", "list", "--json"])));
    for line in listed.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["name"].as_str().unwrap().ends_with("@example.org"));
    }
    assert_eq!(listed.lines().count(), 2);

    assert_eq!(code(&run(&mut server.command(&["user", "remove", "bob@example.org"]))), 0);
    let output = run(&mut server.command(&["user", "remove", "bob@example.org"]));
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("bob@example.org"), "{}", err(&output));
}

#[test]
fn accounts_are_managed_while_the_server_runs() {
    let mut server = Server::start("allow_plaintext_auth = true");
    let login = |server: &Server, name: &str, password: &str| {
        let mut talk = server.talk(server.port("imap", "starttls"));
        talk.line();
        let answer = talk.imap("a", &format!("LOGIN {name} {password}"));
        answer.last().unwrap().starts_with("a OK")
    };
    server.add_user("bob@example.org", "first-password-1");
    assert!(login(&server, "bob@example.org", "first-password-1"));
    let output =
        fed(server.command(&["user", "password", "bob@example.org", "--password-stdin"]), "second-one-2\n");
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(!login(&server, "bob@example.org", "first-password-1"), "the old password still opens");
    assert!(login(&server, "bob@example.org", "second-one-2"));
    assert_eq!(code(&run(&mut server.command(&["user", "remove", "bob@example.org"]))), 0);
    assert!(!login(&server, "bob@example.org", "second-one-2"), "a removed account opens");
    // What was changed lives through a restart; passwords are in no log.
    server.stop();
    server.serve();
    assert_eq!(out(&run(&mut server.command(&["user", "list"]))), "alice@example.org\n");
    assert!(!server.log().contains("second-one-2"));
}

#[test]
fn a_passwd_file_is_imported_or_its_bad_line_is_named() {
    let server = Server::prepare("");
    let file = server.folder.path().join("passwd");
    let import = || run(server.command(&["user", "import"]).arg(&file));
    fs::write(&file, "# accounts\ncarol@example.org:{PLAIN}carols-password:1000:1000::/home/carol\n\ndave\n")
        .unwrap();
    let output = import();
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("line 4"), "{}", err(&output));
    // All or nothing: the good line was not taken either.
    assert_eq!(out(&run(&mut server.command(&["user", "list"]))), "");
    fs::write(&file, "carol@example.org:{PLAIN}carols-password\ndave@example.org:{NONSENSE}x\n").unwrap();
    let output = import();
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("NONSENSE") && err(&output).contains("dave"), "{}", err(&output));
    fs::write(&file, "carol@example.org:{PLAIN}carols-password\n").unwrap();
    assert!(out(&import()).starts_with("1 added, 0 replaced, 0 skipped"));
    assert!(out(&import()).starts_with("0 added, 0 replaced, 1 skipped"));
    let output =
        fed(server.command(&["user", "import", "-", "--replace"]), "carol@example.org:{PLAIN}another\n");
    assert!(out(&output).starts_with("0 added, 1 replaced, 0 skipped"), "{output:?}");
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let server = Server::start("");
    let output = run(&mut server.command(&["serve"]));
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("data/store"), "{}", err(&output));
    assert!(err(&output).contains("has it open"), "{}", err(&output));
    assert_eq!(out(&output), "");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (_folder, path) = config(&format!(
        "domains = [\"example.org\"]\n[[listener]]\nprotocol = \"imap\"\naddress = \"{address}\"\ntls = \"implicit\"\n"
    ));
    let output = run(&mut program(&["--config", &path, "serve"]));
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains(&format!("cannot listen on {address} for imap")), "{}", err(&output));
    assert!(!out(&output).contains("ready"));
    // Passwords that nobody was shown belong to no account: this was no first start.
    let output = run(&mut program(&["--config", &path, "user", "list"]));
    assert_eq!((code(&output), out(&output)), (0, String::new()));
    drop(taken);
    let mut child = program(&["--config", &path, "serve"]).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    let said: Vec<String> = said.map(Result::unwrap).take_while(|line| line != "ready").collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.iter().any(|line| line.contains("This is the first start")), "{said:?}");
}

#[test]
fn a_certificate_of_ones_own_is_used_and_a_bad_one_is_told() {
    let made = rcgen::generate_simple_self_signed(vec!["mail.example.org".into()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["other.example.org".into()]).unwrap();
    let mut server = Server::prepare("");
    let folder = server.folder.path().to_owned();
    let file = folder.join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (before, listeners) = text.split_at(text.find("[[listener]]").unwrap());
    fs::write(&file, format!("{before}[tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n{listeners}"))
        .unwrap();
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    let put = |path: &Path, text: &str, mode: u32| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused = |server: &Server| {
        let output = run(&mut server.command(&["serve"]));
        assert_eq!(code(&output), 1, "{output:?}");
        err(&output)
    };
    assert!(refused(&server).contains("chain.pem"), "a missing chain is not named");
    put(&chain, &made.cert.pem(), 0o644);
    assert!(refused(&server).contains("key.pem"), "a missing key is not named");
    put(&key, &made.signing_key.serialize_pem(), 0o644);
    let error = refused(&server);
    assert!(error.contains("chmod 600") && error.contains("key.pem"), "{error}");
    put(&key, "no key at all", 0o600);
    let error = refused(&server);
    assert!(error.contains("certificate") || error.contains("key"), "{error}");
    put(&key, &other.signing_key.serialize_pem(), 0o600);
    let error = refused(&server);
    assert!(error.contains("certificate"), "a key of another certificate: {error}");
    put(&key, &made.signing_key.serialize_pem(), 0o600);
    server.add_user(USER, PASSWORD);
    server.serve();
    if have("curl") {
        let port = server.port("imap", "implicit");
        succeed(Command::new("curl").args(["-sS", "--cacert"]).arg(&chain).args([
            "--resolve",
            &format!("mail.example.org:{port}:127.0.0.1"),
            "--user",
            &format!("{USER}:{PASSWORD}"),
            &format!("imaps://mail.example.org:{port}/"),
        ]));
    }
    assert!(!folder.join("data/tls/self-signed.pem").exists(), "a certificate was made that nobody uses");
}

#[test]
fn the_data_is_for_its_owner_only() {
    let server = Server::start("");
    for (path, mode) in [("data", 0o700), ("data/control.sock", 0o600), ("data/tls/self-signed.key", 0o600)] {
        let found =
            fs::metadata(server.folder.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(found.permissions().mode() & 0o777, mode, "{path}");
    }
}

#[test]
fn a_data_directory_that_others_could_enter_is_closed() {
    let mut server = Server::start("");
    server.stop();
    let data = server.folder.path().join("data");
    let places = [data.clone(), data.join("store")];
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(places.each_ref().map(mode), [0o700; 2]);
    // As systemd makes such a directory, and as stores were made.
    places.iter().for_each(|path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap());
    let output = run(&mut server.command(&["config", "check"]));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(err(&output).matches("(mode 755)").count(), 2, "{output:?}");
    server.serve();
    assert_eq!(places.each_ref().map(mode), [0o700; 2]);
    wait_for("the log", || (server.log().matches("others could enter").count() == 2).then_some(()));
    let output = run(&mut server.command(&["config", "check"]));
    assert!(!err(&output).contains("warning"), "{output:?}");
    // A command does it as well.
    server.stop();
    fs::set_permissions(&places[1], fs::Permissions::from_mode(0o750)).unwrap();
    let output = run(&mut server.command(&["user", "list"]));
    assert!(err(&output).contains("data/store (mode 750)"), "{output:?}");
    assert_eq!(places.each_ref().map(mode), [0o700; 2]);
}

#[test]
fn whose_files_keep_the_server_from_its_store_is_said() {
    const NOBODY: u32 = 65_534;
    let mut server = Server::prepare("");
    let data = server.folder.path().join("data");
    fs::create_dir_all(data.join("store")).unwrap();
    if std::os::unix::fs::chown(&data, Some(NOBODY), Some(NOBODY)).is_err() {
        println!("skipped: only root can be somebody else");
        return;
    }
    for (path, mode) in [(server.folder.path(), 0o755), (&data, 0o700), (&data.join("store"), 0o700)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    server.identity = Some(NOBODY);
    let error = err(&run(&mut server.command(&["serve"])));
    for part in ["data/store belongs to the user of the number 0", "chown -R 65534 ", "sudo -u USER"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // What others can read there cannot be mended by somebody else, and is not served.
    fs::set_permissions(data.join("store"), fs::Permissions::from_mode(0o755)).unwrap();
    let error = err(&run(&mut server.command(&["serve"])));
    assert!(error.contains("(mode 755)") && error.contains("chmod 700"), "{error}");
}

#[test]
fn a_reader_that_stops_reading_is_no_reason_to_panic() {
    let server = Server::prepare("");
    for arguments in [&["config", "default"][..], &["config", "check"], &["user", "list"]] {
        let mut child =
            server.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
    let mut full = server.command(&["config", "default"]);
    full.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let output = full.stderr(Stdio::piped()).output().unwrap();
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(err(&output).contains("cannot write to standard output"), "{output:?}");
}

#[test]
fn sigterm_and_sigint_end_it_well_and_a_restart_has_all() {
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start("allow_plaintext_auth = true");
        common::deliver(&server, USER, "Subject: kept\r\n\r\nkept\r\n");
        let mut idle = imap(&server);
        let begun = Instant::now();
        let status = server.signal(signal);
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{signal}: an idle session held it up");
        assert!(idle.rest().starts_with("* BYE "), "{signal}");
        server.serve();
        assert_eq!(common::count(&server), 1);
    }
}

#[test]
fn the_recipe_of_the_first_start_works_as_printed() {
    if !have("curl") {
        return;
    }
    let mut server = Server::prepare("");
    let file = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    // The recipe says localhost, which the certificate must be for.
    fs::write(&file, text.replace("mail.example.org", "localhost")).unwrap();
    let said = server.serve();
    let steps: Vec<&str> = said.split("Send a first message:").nth(1).unwrap().split("Read it:").collect();
    let command =
        |text: &str| text.split("\n\n").find(|part| part.contains("curl")).unwrap().trim().to_owned();
    succeed(Command::new("sh").arg("-ec").arg(command(steps[0])));
    let read = succeed(Command::new("sh").arg("-ec").arg(command(steps[1])));
    assert!(
        String::from_utf8_lossy(&read).contains("\r\nIt works.\r\n"),
        "{}",
        String::from_utf8_lossy(&read)
    );
    // It is for the first start only.
    server.stop();
    assert!(!server.serve().contains("first start"));
}

#[test]
fn a_connection_over_the_limit_is_told_in_its_protocol() {
    let mut server = Server::prepare("");
    let file = server.folder.path().join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("connections_per_address = 0", "connections_per_address = 1")).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    let mut first = server.talk(server.port("imap", "starttls"));
    assert!(first.line().starts_with("* OK"));
    for (protocol, tls, begin) in
        [("imap", "starttls", "* BYE "), ("pop3", "starttls", "-ERR "), ("smtp", "starttls", "421 ")]
    {
        let mut second = server.talk(server.port(protocol, tls));
        let line = second.line();
        assert!(line.starts_with(begin), "{protocol}: {line:?}");
        assert!(second.at_end(), "{protocol} stays open");
    }
    // TLS is not up yet: anything in the clear would be taken for a broken handshake.
    assert_eq!(server.talk(server.port("imap", "implicit")).rest(), "");
    drop(first);
    wait_for("the place to be free", || {
        server.talk(server.port("imap", "starttls")).line().starts_with("* OK").then_some(())
    });
}

#[test]
fn nobody_writes_lines_of_their_own_into_the_log() {
    let server = Server::start("allow_plaintext_auth = true");
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    talk.send("a LOGIN {30}\r\n");
    talk.line();
    talk.send("x\nFORGED \u{1b}[31mline@example.or {1}\r\n");
    talk.line();
    talk.send("y\r\n");
    talk.line();
    let mut talk = server.talk(server.port("smtp", "starttls"));
    talk.reply();
    talk.send("EHLO a\u{1b}[2Jb\rFORGED\r\n");
    talk.reply();
    drop(talk);
    std::thread::sleep(Duration::from_millis(200));
    let log = server.log();
    assert!(!log.lines().any(|line| line.starts_with("FORGED")), "{log}");
    assert!(!log.contains('\u{1b}') && !log.contains('\r'), "{log:?}");
}
