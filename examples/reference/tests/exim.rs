//! Debian's Exim beside the running server: as a client that sends to it, and as a server that it sends to.
//!
//! Exim and Postfix cannot be installed together, so `EXIM` may name a program that was only unpacked. It must be
//! started by root, and gives that up itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "this uses a part of it")]
mod world;

use std::{
    fs,
    io::Write,
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{PASSWORD, Server, Talk, USER, count, free_port, inbox, succeed, wait_for};
use tempfile::TempDir;
use world::{Names, Site};

/// Eight-bit text, a dot at the start of a line and a long line.
const MESSAGE: &str = "From: Bob <bob@exim.example>\nTo: alice@example.org\nSubject: by Exim\nMIME-Version: 1.0\n\
    Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nHellö\n.dot\n..two\n.\nbye\n";

/// An Exim with a folder of its own.
struct Exim {
    program: PathBuf,
    folder: TempDir,
    daemon: Option<Child>,
    port: u16,
}

impl Exim {
    /// One that is not started; `None` if there is none here, which is said.
    fn find() -> Option<Self> {
        let named = std::env::var_os("EXIM").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut found =
            named.into_iter().chain(std::env::split_paths(&path).map(|folder| folder.join("exim4")));
        let Some(program) = found.find(|program| program.is_file()) else {
            assert!(
                std::env::var_os("CI").is_none(),
                "exim4 is not installed, and CI must have it: see .ci/run"
            );
            eprintln!("skipped: exim4 is not installed, and EXIM does not name it");
            return None;
        };
        if String::from_utf8(succeed(Command::new("id").arg("-u"))).unwrap().trim() != "0" {
            eprintln!("skipped: Exim must be started by root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["spool", "log", "mail"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        succeed(Command::new("chown").args(["-R", "Debian-exim"]).arg(folder.path()));
        Some(Self { program, folder, daemon: None, port: free_port() })
    }

    /// The program with a configuration: options of the server, of the transport to ours, and authenticators.
    fn command(&self, options: &str, transport: &str, authenticators: &str) -> Command {
        let folder = self.folder.path().display();
        let configuration = format!(
            "primary_hostname = exim.example\nspool_directory = {folder}/spool\nlog_file_path = {folder}/log/%slog\n\
             pid_file_path = {folder}/spool/pid\nlocal_interfaces = 127.0.0.1\ndaemon_smtp_ports = {}\n\
             acl_smtp_rcpt = check\nacl_smtp_data = accept\nsmtputf8_advertise_hosts = *\ndsn_advertise_hosts = *\n\
             prdr_enable = true\nkeep_environment =\nexim_path = {}\n{options}\n\
             begin acl\ncheck:\n  deny local_parts = nobody\n  accept\n\
             begin routers\nhere:\n  driver = accept\n  domains = exim.example\n  transport = here\n\
             there:\n  driver = manualroute\n  route_data = 127.0.0.1\n  self = send\n  transport = there\n\
             begin transports\nhere:\n  driver = appendfile\n  file = {folder}/mail/$local_part_data\n  user = Debian-exim\n\
             there:\n  driver = smtp\n{transport}\n\
             begin retry\n* * F,1h,1m\nbegin authenticators\n{authenticators}\n",
            self.port,
            self.program.display()
        );
        // What a stranger gave is not to be a file's name: the router has to look it up.
        let configuration = configuration.replace(
            "  domains = exim.example\n",
            "  domains = exim.example\n  local_parts = lsearch;FOLDER/names\n",
        );
        let configuration = configuration.replace("FOLDER", &folder.to_string());
        fs::write(self.folder.path().join("names"), "bob: bob\n").unwrap();
        let file = self.folder.path().join("exim.conf");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-C").arg(file);
        command
    }

    /// Sends a message to ours and waits for the end of it; gives what was logged.
    fn send(&self, port: u16, transport: &str, authenticators: &str, recipients: &[&str]) -> String {
        let transport = format!("  port = {port}\n{transport}");
        let mut child = self
            .command("", &transport, authenticators)
            .args(["-odf", "-oi", "-f", "bob@exim.example"])
            .args(recipients)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(MESSAGE.as_bytes()).unwrap();
        wait_for("Exim to have sent it", || child.try_wait().unwrap());
        self.log()
    }

    /// Starts the server.
    fn serve(&mut self, options: &str, authenticators: &str) {
        let log = fs::File::create(self.folder.path().join("out")).unwrap();
        let mut command = self.command(options, "", authenticators);
        command.arg("-bdf").stdout(Stdio::null()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
        let port = self.port;
        wait_for("Exim", || TcpStream::connect(("127.0.0.1", port)).ok());
    }

    fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("log/mainlog") + &read("log/paniclog") + &read("out")
    }

    /// The mailbox of a user.
    fn mail(&self, user: &str) -> String {
        fs::read_to_string(self.folder.path().join("mail").join(user)).unwrap_or_default()
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- Exim's log ---\n{}", self.log());
        }
    }
}

const TLS: &str = "  hosts_require_tls = *\n  tls_verify_hosts = :\n  tls_try_verify_hosts = :\n";

#[test]
fn exim_sends_in_every_way() {
    let Some(exim) = Exim::find() else { return };
    // A whole site sends by one account: who writes as whom there is for the site to watch over.
    let server = Server::start("allow_plaintext_auth = true\nauth.sender_login = \"envelope\"");
    let login =
        format!("plain:\n  driver = plaintext\n  public_name = PLAIN\n  client_send = ^{USER}^{PASSWORD}\n");
    let (smtp, submission) = (server.port("smtp", "starttls"), server.port("submission", "starttls"));
    let implicit = server.port("submission", "implicit");
    // A submission is only from an address of whoever logs in.
    let own = "  return_path = alice@example.org\n  hosts_require_auth = *\n";
    let cases = [
        ("plainly", smtp, "  hosts_avoid_tls = *\n".to_owned(), ""),
        ("in parts", smtp, "  hosts_avoid_tls = *\n  hosts_try_chunking = *\n".to_owned(), ""),
        ("by DATA", smtp, "  hosts_avoid_tls = *\n  hosts_try_chunking = :\n".to_owned(), ""),
        ("without a pipeline", smtp, "  hosts_avoid_tls = *\n  hosts_avoid_pipelining = *\n".to_owned(), ""),
        ("over TLS", smtp, TLS.to_owned(), ""),
        ("logged in", submission, format!("{TLS}{own}"), &*login),
        ("over TLS from the start", implicit, format!("{TLS}{own}  protocol = smtps\n"), &*login),
    ];
    for (sent, (how, port, transport, authenticators)) in cases.iter().enumerate() {
        let log = exim.send(*port, transport, authenticators, &[USER]);
        assert_eq!(log.matches("=> alice@example.org").count(), sent + 1, "{how}: {log}");
        assert!(!log.contains("** "), "{how}: {log}");
        assert_eq!(count(&server), sent + 1, "{how}");
        let text = inbox(&server).imap("text", &format!("FETCH {} BODY.PEEK[TEXT]", sent + 1));
        let body: Vec<_> = text.iter().map(|line| &**line).collect();
        assert!(body.join("\n").contains("\nHellö\n.dot\n..two\n.\nbye\n"), "{how}: {body:?}");
    }
    // Several recipients in one pipeline, one of them unknown; then all of them.
    let log = exim.send(smtp, "  hosts_avoid_tls = *\n", "", &[USER, "nobody@example.org"]);
    assert!(log.contains("** nobody@example.org"), "{log}");
    assert_eq!(count(&server), cases.len() + 1);
    let log =
        exim.send(smtp, "  hosts_avoid_tls = *\n", "", &["a@example.org", "b@example.org", "c@example.org"]);
    assert!(log.contains("** c@example.org"), "{log}");
    assert_eq!(count(&server), cases.len() + 1);
}

#[test]
fn exim_takes_what_is_relayed() {
    let Some(mut exim) = Exim::find() else { return };
    let folder = exim.folder.path().to_owned();
    let certificate = rcgen::generate_simple_self_signed(["exim.example".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), certificate.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
    succeed(
        Command::new("chown").arg("Debian-exim").arg(folder.join("cert.pem")).arg(folder.join("key.pem")),
    );
    let password = folder.join("password");
    common::write_private(&password, "s3cret\n");
    exim.serve(
        &format!(
            "tls_advertise_hosts = *\ntls_certificate = {0}/cert.pem\ntls_privatekey = {0}/key.pem\n\
             chunking_advertise_hosts = *\nauth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}",
            folder.display()
        ),
        "plain:\n  driver = plaintext\n  public_name = PLAIN\n  server_prompts = :\n  \
         server_condition = ${if and{{eq{$auth2}{relay}}{eq{$auth3}{s3cret}}}}\n  server_set_id = $auth2\n",
    );
    let relay = format!(
        "[relay]\nsmarthost = \"[127.0.0.1]:[{}]\"\nuser = \"relay\"\npassword_file = \"{}\"\ntls = \"encrypt\"\n",
        exim.port,
        password.display()
    );
    let site = Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), &relay, &["ann"]);
    let mut talk = site.talk("submission");
    assert!(talk.reply().starts_with("220"));
    talk.smtp("EHLO client.example");
    assert!(talk.smtp(&site.auth("ann@a.example")).starts_with("235"));
    for (number, body) in ["Hellö\r\n..dot\r\n", "again\r\n"].into_iter().enumerate() {
        assert!(talk.smtp("MAIL FROM:<ann@a.example> BODY=8BITMIME").starts_with("250"));
        assert!(talk.smtp("RCPT TO:<bob@exim.example>").starts_with("250"));
        assert!(talk.smtp("RCPT TO:<nobody@exim.example>").starts_with("250"));
        assert!(talk.smtp("DATA").starts_with("354"));
        talk.send(format!("From: <ann@a.example>\r\nSubject: {number}\r\n\r\n{body}"));
        assert!(talk.smtp(".").starts_with("250"));
    }
    let mail = wait_for("both to be there", || {
        let mail = exim.mail("bob");
        (mail.contains("Subject: 0") && mail.contains("Subject: 1")).then_some(mail)
    });
    assert!(mail.contains("\nHellö\n.dot\n"), "{mail}");
    let log = exim.log();
    assert!(log.contains("A=plain:relay") && log.contains(" X=TLS1."), "{log}");
    // The one that Exim refused comes back, for each message.
    let report = wait_for("the second report", || site.fetch("ann@a.example", 2));
    assert!(report.contains("nobody@exim.example") && report.contains("Action: failed"), "{report}");
    wait_for("an empty queue", || site.queue(&["list"]).is_empty().then_some(()));
}

#[test]
fn exim_asks_whether_a_login_is_right() {
    let Some(mut exim) = Exim::find() else { return };
    let socket = exim.folder.path().join("auth");
    let mut server = Server::prepare(&format!("auth.listen = [{socket:?}]\nauth.socket_mode = \"0666\""));
    server.add_user(USER, PASSWORD);
    server.serve();
    let authenticator = |name: &str| {
        let socket = socket.display();
        format!(
            "ours_{name}:\n  driver = dovecot\n  public_name = {name}\n  server_socket = {socket}\n  server_set_id = $auth1\n"
        )
    };
    exim.serve("auth_advertise_hosts = *", &format!("{}{}", authenticator("PLAIN"), authenticator("LOGIN")));
    let hello = || {
        let mut talk = Talk::connect(exim.port);
        assert!(talk.reply().starts_with("220"));
        let offered = talk.smtp("EHLO client.example");
        assert!(offered.contains("AUTH PLAIN LOGIN"), "{offered}");
        talk
    };
    let plain = |password: &str| STANDARD.encode(format!("\0{USER}\0{password}"));
    let mut talk = hello();
    assert!(talk.smtp(&format!("AUTH PLAIN {}", plain("guess"))).starts_with("535 "));
    assert!(talk.smtp(&format!("AUTH PLAIN {}", plain(PASSWORD))).starts_with("235 "));
    assert!(talk.smtp(&format!("MAIL FROM:<{USER}>")).starts_with("250"));
    assert!(talk.smtp("RCPT TO:<bob@exim.example>").starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354"));
    assert!(talk.smtp("Subject: asked\r\n\r\nhello\r\n.").starts_with("250"));
    wait_for("the message to be there", || exim.mail("bob").contains("Subject: asked").then_some(()));
    assert!(exim.log().contains(&format!("A=ours_PLAIN:{USER}")), "{}", exim.log());

    // In steps, and given up once.
    let mut talk = hello();
    for (user, password, expected) in [(USER, "guess", "535 "), ("nobody@example.org", PASSWORD, "535 ")] {
        let begun = talk.smtp("AUTH LOGIN");
        assert!(begun.starts_with("334 "), "{user}: {begun}");
        assert!(talk.smtp(&STANDARD.encode(user)).starts_with("334 "));
        let told = talk.smtp(&STANDARD.encode(password));
        assert!(told.starts_with(expected), "{user} {password}: {told}");
    }
    let mut talk = hello();
    assert!(talk.smtp("AUTH LOGIN").starts_with("334 "));
    assert!(talk.smtp("*").starts_with("501 "));
    assert!(talk.smtp("AUTH LOGIN").starts_with("334 "));
    assert!(talk.smtp(&STANDARD.encode(USER)).starts_with("334 "));
    assert!(talk.smtp(&STANDARD.encode(PASSWORD)).starts_with("235 "));
}
