//! What real mail programs log in to.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    authority::Authority,
    common::{PASSWORD, Server, USER, deliver, run, wait_for, write_private},
    web::Web,
};

/// The user's name in a URL.
pub(crate) const IN_URL: &str = "alice%40example.org";
pub(crate) const TOKEN: &str = "token-of-alice";
const MESSAGE: &str = "From: alice@example.org\r\nTo: alice@example.org\r\nSubject: login\r\n\r\nbody\r\n";

/// The command of POP3, as the log names it.
pub(crate) const APOP: &str = "APOP";
/// LOGIN of IMAP, USER and PASS of POP3, as the server's log names them.
pub(crate) const COMMAND: &str = "password";
pub(crate) const PROOFS: &[&str] = &["CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"];
pub(crate) const TOKENS: &[&str] = &["OAUTHBEARER", "XOAUTH2"];

/// What is tried: the mechanism by its name, or the protocol's own command.
#[derive(Clone, Copy)]
pub(crate) struct Login {
    pub(crate) protocol: &'static str,
    pub(crate) mechanism: &'static str,
    /// Without TLS, after STARTTLS, or behind TLS: `none`, `starttls`, `implicit`.
    pub(crate) transport: &'static str,
    pub(crate) port: u16,
}

impl Login {
    pub(crate) fn is_tls(self) -> bool {
        self.transport != "none"
    }

    /// What a program is given as the user's secret.
    pub(crate) fn secret(self) -> &'static str {
        if TOKENS.contains(&self.mechanism) { TOKEN } else { PASSWORD }
    }

    /// A URL that names the server alone: `imaps://localhost:993`.
    pub(crate) fn url(self, user: &str) -> String {
        let s = if self.transport == "implicit" { "s" } else { "" };
        format!("{}{s}://{user}localhost:{}", self.protocol, self.port)
    }
}

/// A server that offers all it can, and what clients of it need.
pub(crate) struct World {
    pub(crate) server: Server,
    _web: Web,
}

impl World {
    pub(crate) fn new() -> Self {
        let web = Web::start(|request| {
            let is_known = request.contains(&format!("token={TOKEN}"));
            let said = if is_known {
                format!("{{\"active\":true,\"email\":\"{USER}\"}}")
            } else {
                "{\"active\":false}".into()
            };
            (200, String::new(), said)
        });
        let mut server = Server::prepare("allow_plaintext_auth = true");
        let (authority, folder) = (Authority::new(), server.folder.path().to_owned());
        let (chain, key) = authority.issue(&[USER], "Alice");
        for (name, content) in [
            ("ca.pem", authority.pem()),
            ("web.pem", &web.certificate),
            ("secret", "secret\n"),
            ("alice.pem", &chain),
            ("alice.key", &key),
            // Only passwords in clear have the keys of every proof.
            ("users", &format!("{USER}:{{PLAIN}}{PASSWORD}\n")),
            ("message", MESSAGE),
            ("text", &MESSAGE.replace("\r\n", "\n")),
        ] {
            write_private(&folder.join(name), content);
        }
        let path = folder.join("mailwright.toml");
        let mut config = fs::read_to_string(&path).unwrap();
        for protocol in ["submission", "imap", "pop3"] {
            let line = format!("protocol = \"{protocol}\"\n");
            config = config.replace(&line, &format!("{line}client_certificates = \"ask\"\n"));
        }
        config += &format!(
            "[pop3]\napop = true\n[tls]\nclient_ca = \"ca.pem\"\n[auth]\nlegacy_mechanisms = true\npasswd_files = [\"users\"]\n[auth.oauth]\n\
             url = \"https://localhost:{}/introspect\"\ntrust = \"web.pem\"\nclient = \"mail\"\nsecret_file = \"secret\"\n\
             account_field = \"email\"\n",
            web.port
        );
        fs::write(&path, config).unwrap();
        server.serve();
        // Some programs fail where there is nothing to read.
        deliver(&server, USER, MESSAGE);
        Self { server, _web: web }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.server.folder.path().join(name)
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    /// A program that reads the message from its standard input.
    pub(crate) fn fed(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" < \"$0\""]).arg(self.file("text")).arg(program);
        command.env("HOME", self.server.folder.path());
        command
    }

    /// A program that wants a screen.
    pub(crate) fn on_screen(&self, line: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["30", "script", "-qec", line, "/dev/null"]);
        command
            .env("HOME", self.server.folder.path())
            .env("TERM", "xterm")
            .env("LINES", "24")
            .env("COLUMNS", "80");
        command
    }

    /// Logs in by each of the mechanisms over each kind of connection, and looks at what the server says of it. What the
    /// program lacks is said and skipped; `command` tells why.
    pub(crate) fn try_all(
        &self,
        program: &str,
        protocol: &'static str,
        mechanisms: &[&'static str],
        command: impl Fn(Login) -> Result<Command, String>,
    ) {
        let mut wrong = Vec::new();
        for &mechanism in mechanisms {
            for transport in ["none", "starttls", "implicit"] {
                let service = if protocol == "smtp" { "submission" } else { protocol };
                let listener = if transport == "none" { "starttls" } else { transport };
                let port = self.server.port(service, listener);
                let login = Login { protocol, mechanism, transport, port };
                let shown = format!("{program}  {protocol}  {mechanism}  {transport}");
                if mechanism == "EXTERNAL" && !login.is_tls() {
                    continue;
                }
                let mut command = match command(login) {
                    Ok(command) => command,
                    Err(why) => {
                        eprintln!("skipped: {shown}: {why}");
                        continue;
                    }
                };
                let before = self.logins(login);
                let output = run(&mut command);
                let said = format!(
                    "{}{}",
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                );
                if !output.status.success() {
                    wrong.push(format!("{shown}: {}\n{said}", output.status));
                    continue;
                }
                wait_for(&format!("the login of {shown}: {said}\n{}", self.server.log()), || {
                    (self.logins(login) > before).then_some(())
                });
                eprintln!("logged in: {shown}");
            }
        }
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), self.server.log());
    }

    /// How many logins of this kind the server has told of.
    fn logins(&self, login: Login) -> usize {
        let (mechanism, tls) =
            (format!("mechanism=\"{}\"", login.mechanism), format!("tls={}", login.is_tls()));
        let log = self.server.log();
        let told = |line: &&str| line.contains(&mechanism) && line.contains(&tls) && line.contains("login");
        log.lines().filter(told).count()
    }
}

/// What a program says of itself.
pub(crate) fn says(program: &str, arguments: &[&str]) -> String {
    let output = run(Command::new(program).args(arguments));
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        .to_lowercase()
}

/// The mechanisms that msmtp or mpop was built with, by its own words.
pub(crate) fn built_with(program: &str) -> Vec<String> {
    let version = says(program, &["--version"]);
    let mut lines = version.lines().skip_while(|line| !line.starts_with("supported authentication methods"));
    lines.nth(1).unwrap().split_whitespace().map(str::to_owned).collect()
}

pub(crate) fn needs(has: bool, what: &str) -> Result<(), String> {
    if has { Ok(()) } else { Err(format!("it was built without {what}")) }
}
