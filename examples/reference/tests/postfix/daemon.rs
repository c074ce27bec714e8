//! Debian's Postfix with folders of its own. It must be started by root, and gives that up itself.
#![allow(unreachable_pub, reason = "a module of several test programs")]
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::common::{Talk, free_port, have, run, succeed, wait_for};

/// Whom the mail belongs to that it delivers itself.
pub const OWNER: u32 = 5000;

/// The domain it is at home in; it has a mailbox for `bob` there.
pub const HOME: &str = "postfix.example";

pub struct Postfix {
    pub folder: TempDir,
    pub port: u16,
    services: Vec<String>,
    started: bool,
}

impl Postfix {
    /// One that is not started; `None` if there is none here, which is said.
    pub fn find() -> Option<Self> {
        if !have("postfix") {
            return None;
        }
        if String::from_utf8(succeed(Command::new("id").arg("-u"))).unwrap().trim() != "0" {
            eprintln!("skipped: Postfix must be started by root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["etc", "spool", "data", "mail"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        chown(folder.path().join("mail"), Some(OWNER), Some(OWNER)).unwrap();
        succeed(Command::new("chown").arg("postfix").arg(folder.path().join("data")));
        fs::write(folder.path().join("etc/mailboxes"), format!("bob@{HOME} bob\n")).unwrap();
        let certificate = rcgen::generate_simple_self_signed([HOME.to_owned()]).unwrap();
        let pair = certificate.signing_key.serialize_pem() + &certificate.cert.pem();
        crate::common::write_private(&folder.path().join("etc/pair.pem"), &pair);
        Some(Self { folder, port: free_port(), services: Vec::new(), started: false })
    }

    /// A file in its configuration directory.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join("etc").join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A way of its own to send mail: a client with options, by this name in a transport map.
    pub fn client(&mut self, name: &str, program: &str, options: &[String]) {
        let options: String = options.iter().map(|option| format!(" -o {option}")).collect();
        self.services.push(format!("{name} unix - - n - - {program}{options}\n"));
    }

    /// Starts it, with more lines of `main.cf`.
    pub fn start(&mut self, options: &str) {
        let folder = self.folder.path().display();
        self.write(
            "main.cf",
            &format!(
                "compatibility_level = 3.6\nqueue_directory = {folder}/spool\ndata_directory = {folder}/data\n\
                 command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
                 setgid_group = postdrop\nmaillog_file = {folder}/log\nmaillog_file_prefixes = {folder}\n\
                 inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmyhostname = {HOME}\nmydestination =\n\
                 mynetworks = 127.0.0.0/8\nalias_maps =\nvirtual_mailbox_domains = {HOME}\n\
                 virtual_mailbox_maps = texthash:{folder}/etc/mailboxes\nvirtual_mailbox_base = {folder}/mail\n\
                 virtual_uid_maps = static:{OWNER}\nvirtual_gid_maps = static:{OWNER}\nsmtputf8_enable = yes\n\
                 smtpd_tls_chain_files = {folder}/etc/pair.pem\nsmtpd_tls_security_level = may\n\
                 smtpd_tls_loglevel = 1\nsmtp_tls_loglevel = 1\nsmtpd_delay_reject = no\n{options}\n"
            ),
        );
        let services = "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n\
            tlsmgr unix - - n 1000? 1 tlsmgr\nrewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\n\
            defer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\nflush unix n - n 1000? 0 flush\n\
            proxymap unix - - n - - proxymap\nsmtp unix - - n - - smtp\nerror unix - - n - - error\n\
            retry unix - - n - - error\nvirtual unix - n n - - virtual\nlmtp unix - - n - - lmtp\n\
            anvil unix - - n - 1 anvil\nscache unix - - n - 1 scache\nshowq unix n - n - - showq\n\
            postlog unix-dgram n - n - 1 postlogd\n";
        let own = self.services.concat();
        self.write("master.cf", &format!("127.0.0.1:{} inet n - n - - smtpd\n{services}{own}", self.port));
        // What it starts outlives it and holds on to its output, so that must not be ours.
        let out = fs::File::create(self.folder.path().join("out")).unwrap();
        let status = self
            .program("postfix")
            .arg("start")
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .status()
            .unwrap();
        self.started = true;
        assert!(status.success(), "Postfix does not start: {status}");
        let port = self.port;
        wait_for("Postfix", || TcpStream::connect(("127.0.0.1", port)).ok());
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.arg("-c").arg(self.folder.path().join("etc"));
        command
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until a line of the log has all of these; gives the line.
    pub fn logged(&self, words: &[&str]) -> String {
        wait_for(&format!("{words:?} in the log of Postfix"), || {
            let log = self.log();
            log.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        })
    }

    /// The mailbox of a user of its own.
    pub fn mail(&self, user: &str) -> String {
        fs::read_to_string(self.folder.path().join("mail").join(user)).unwrap_or_default()
    }

    /// Whether its queue is empty.
    pub fn is_idle(&self) -> bool {
        let output = run(self.program("postqueue").arg("-j"));
        output.status.success() && output.stdout.is_empty()
    }

    /// Gives it a message to send on.
    pub fn send(&self, from: &str, to: &[&str], parameters: &str, message: &str) {
        let mut talk = Talk::connect(self.port);
        assert!(talk.reply().starts_with("220"));
        assert!(talk.smtp("EHLO client.example").starts_with("250"));
        let reply = talk.smtp(&format!("MAIL FROM:<{from}>{parameters}"));
        assert!(reply.starts_with("250"), "{reply}");
        for to in to {
            let reply = talk.smtp(&format!("RCPT TO:<{to}>"));
            assert!(reply.starts_with("250"), "{to}: {reply}");
        }
        assert!(talk.smtp("DATA").starts_with("354"));
        talk.send(message.replace("\r\n.", "\r\n.."));
        let reply = talk.smtp(".");
        assert!(reply.starts_with("250"), "{reply}");
        assert!(talk.smtp("QUIT").starts_with("221"));
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if self.started {
            // Its master ends all that it started.
            let file: &Path = &self.folder.path().join("spool/pid/master.pid");
            if let Ok(pid) = fs::read_to_string(file) {
                let _ = run(Command::new("kill").arg(pid.trim()));
            }
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            let out = fs::read_to_string(self.folder.path().join("out")).unwrap_or_default();
            eprintln!("--- the end of Postfix's log ---\n{last}\n{out}");
        }
    }
}
