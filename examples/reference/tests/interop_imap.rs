//! imapfilter and alpine at the running server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use common::{PASSWORD, Server, Talk, USER, deliver, have, inbox, succeed, wait_for, write_private};

#[test]
fn imapfilter_sorts_mail() {
    if !have("imapfilter") {
        return;
    }
    let server = Server::start("allow_plaintext_auth = true");
    for (from, subject) in
        [("bob@example.net", "lunch"), ("eve@example.net", "cheap watches"), ("bob@example.net", "tea")]
    {
        deliver(&server, USER, &format!("From: {from}\r\nSubject: {subject}\r\n\r\nhi\r\n"));
    }
    let folder = server.folder.path();
    let config = folder.join("filter.lua");
    let port = server.port("imap", "implicit");
    let script = format!(
        "options.timeout = 60\noptions.create = true\n\
         account = IMAP {{ server = 'localhost', port = {port}, username = '{USER}', password = '{PASSWORD}', ssl = 'auto' }}\n\
         all = account.INBOX:select_all()\nassert(#all == 3)\n\
         junk = account.INBOX:is_unseen() * account.INBOX:contain_subject('WATCHES')\nassert(#junk == 1)\n\
         junk:move_messages(account['Filtered/Junk'])\n\
         bob = account.INBOX:contain_from('bob') - account.INBOX:contain_subject('tea')\nassert(#bob == 1)\n\
         bob:mark_flagged()\nbob:add_flags({{ '$Work' }})\n\
         copied = account.INBOX:match_body('h[i]')\nassert(#copied == 2)\n\
         copied:copy_messages(account['Filtered/Copy'])\n\
         account.INBOX:contain_subject('tea'):delete_messages()\n\
         account:subscribe_mailbox('Filtered/Copy')\n"
    );
    write_private(&config, &script);
    // It trusts the certificates of a file or directory, and asks about others at a terminal.
    let mut imapfilter = Command::new("imapfilter");
    imapfilter.arg("-t").arg(server.certificate()).arg("-c").arg(&config).env("HOME", folder);
    succeed(&mut imapfilter);
    let mut talk = inbox(&server);
    assert_eq!(talk.imap("a", "SEARCH ALL")[0], "* SEARCH 1");
    assert_eq!(talk.imap("b", "SEARCH FLAGGED KEYWORD $Work SUBJECT lunch")[0], "* SEARCH 1");
    let told = |talk: &mut Talk, name: &str| talk.imap("c", &format!("STATUS {name} (MESSAGES)")).remove(0);
    assert_eq!(told(&mut talk, "Filtered/Junk"), "* STATUS Filtered/Junk (MESSAGES 1)");
    assert_eq!(told(&mut talk, "Filtered/Copy"), "* STATUS Filtered/Copy (MESSAGES 2)");
    assert!(talk.imap("d", "LSUB \"\" *").iter().any(|line| line.ends_with("Filtered/Copy")));
}

/// A program at a terminal that reads what we type.
struct Terminal {
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(command: &str, home: &Path) -> Self {
        let mut child = Command::new("script")
            .args(["-qec", command, "/dev/null"])
            .env("TERM", "vt100")
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut output, keeps) = (child.stdout.take().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = output.read(&mut buffer)
                && count > 0
            {
                keeps.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { child, shown }
    }

    /// Waits until this is on the screen, and forgets it with all before it.
    fn sees(&self, text: &str) {
        self.sees_one_of(&[text]);
    }

    fn sees_one_of(&self, texts: &[&str]) {
        wait_for(texts[0], || {
            let mut shown = self.shown.lock().unwrap();
            let end = |text: &&str| {
                let at = shown.windows(text.len()).position(|window| window == text.as_bytes())?;
                Some(at + text.len())
            };
            let end = texts.iter().find_map(end)?;
            shown.drain(..end);
            Some(())
        });
    }

    fn types(&mut self, keys: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(keys.as_bytes()).unwrap();
        input.flush().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.shown.lock().unwrap().escape_ascii());
        }
        // The program ends with its terminal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn alpine_reads_and_deletes() {
    if !have("alpine") || !have("script") {
        return;
    }
    let server = Server::start("allow_plaintext_auth = true");
    for (subject, text) in [("breakfast", "porridge"), ("supper", "pancakes")] {
        let message = format!("From: bob@example.net\r\nSubject: {subject}\r\n\r\n{text}\r\n");
        deliver(&server, USER, &message);
    }
    let folder = server.folder.path();
    let config = folder.join("pinerc");
    let port = server.port("imap", "implicit");
    let place = format!("{{localhost:{port}/ssl/novalidate-cert/user={USER}}}");
    fs::write(
        &config,
        format!(
            "personal-name=Alice\nuser-domain=example.org\ninbox-path={place}INBOX\nfolder-collections=Mail {place}[]\n\
             last-version-used=9.99\ndefault-fcc=\"\"\n\
             feature-list=disable-password-file-saving,quit-without-confirm,expunge-without-confirm\n"
        ),
    )
    .unwrap();
    let command = format!("stty rows 24 cols 80; alpine -p {} -i", config.display());
    let mut terminal = Terminal::start(&command, folder);
    terminal.sees("ENTER PASSWORD");
    terminal.types(&format!("{PASSWORD}\r"));
    // The first that is new is at hand: it is shown, marked and left for the next one.
    terminal.sees("supper");
    // The latter if it took long enough for a note that it is busy.
    terminal.sees_one_of(&["opened with 2 messages", "DONE]"]);
    terminal.types("\r");
    terminal.sees("porridge");
    terminal.types("d");
    terminal.sees("pancakes");
    let mut talk = inbox(&server);
    wait_for("the mark", || (talk.imap("a", "SEARCH DELETED")[0] == "* SEARCH 1").then_some(()));
    terminal.types("q");
    wait_for("the expunge", || (inbox(&server).imap("a", "SEARCH ALL")[0] == "* SEARCH 1").then_some(()));
    wait_for("its end", || terminal.child.try_wait().unwrap());
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert!(!log.contains("panicked"), "{log}");
}
