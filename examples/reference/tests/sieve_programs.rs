//! Programs that Sieve scripts start: `vnd.dovecot.pipe`, `vnd.dovecot.filter`, `vnd.dovecot.execute`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use common::{PASSWORD, Server, USER, have, run, wait_for};

const REQUIRE: &str = r#"require ["vnd.dovecot.pipe", "vnd.dovecot.filter", "vnd.dovecot.execute", "fileinto", "mailbox", "copy", "variables", "editheader"];"#;

/// The programs, by their names. `$0` tells them where they are.
const PROGRAMS: [(&str, &str); 10] = [
    ("take", "cat > \"${0%/*}/taken\"; echo \"$# $*\" >> \"${0%/*}/taken\"; env >> \"${0%/*}/taken\""),
    ("refuse", "cat > /dev/null; echo out; echo because >&2; exit 1"),
    ("die", "kill -9 $$"),
    ("silent", "cat > /dev/null"),
    // Its lines end as those of Unix do.
    ("new", "cat > /dev/null; printf 'From: bob@example.org\\nSubject: new\\n\\nmade of %s\\n' \"$1\""),
    ("upper", "tr a-z A-Z"),
    ("deaf", "exec < /dev/null; echo heard nothing"),
    ("count", "cat > /dev/null; echo ran >> \"${0%/*}/counted\"; sleep 0.3"),
    ("slow", "cat > /dev/null; echo ran >> \"${0%/*}/counted\"; sleep 2"),
    // A child of its own, which has the output too.
    ("sleep", "sleep 1000"),
];

fn write_programs(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (name, text) in PROGRAMS {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    fs::write(folder.join("plain"), "#!/bin/sh\n").unwrap();
    // Scripts of the server.
    let journal = format!("{REQUIRE} fileinto :create :copy \"Journal\";");
    fs::write(folder.join("journal.sieve"), journal).unwrap();
    let before = format!(
        "{REQUIRE} fileinto :create :copy \"Archive\"; if header \"subject\" \"server\" {{ pipe :copy \"refuse\"; }}"
    );
    fs::write(folder.join("before.sieve"), before).unwrap();
}

/// A server with these programs.
fn server(script: &str, extra: &str) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let folder = server.folder.path();
    write_programs(&folder.join("programs"));
    fs::write(folder.join("default.sieve"), script).unwrap();
    let file = folder.join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    let sieve = format!("[sieve]\ndefault = \"default.sieve\"\nprograms = \"programs\"\n{extra}\n");
    fs::write(&file, format!("{text}\n{sieve}")).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    server
}

fn deliver(server: &Server, subject: &str, body: &str) {
    deliver_when(server, subject, body, || ());
}

/// The same; the last line is sent when `ready` comes back.
fn deliver_when(server: &Server, subject: &str, body: &str, ready: impl FnOnce()) {
    let mut talk = server.talk(server.port("lmtp", "none"));
    talk.reply();
    talk.smtp("LHLO client.example");
    talk.smtp("MAIL FROM:<bob@example.org>");
    assert!(talk.smtp(&format!("RCPT TO:<{USER}>")).starts_with("250"));
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send(format!(
        "From: bob@example.org\r\nTo: {USER}\r\nMessage-ID: <{subject}@x>\r\nSubject: {subject}\r\n\r\n{body}"
    ));
    ready();
    talk.send("\r\n.\r\n");
    let reply = talk.reply();
    assert!(reply.starts_with("250"), "{reply}");
}

/// Sends a message that is always the same to several.
fn send(server: &Server, recipients: &[&str]) {
    let mut talk = server.talk(server.port("lmtp", "none"));
    talk.reply();
    talk.smtp("LHLO client.example");
    talk.smtp("MAIL FROM:<bob@example.org>");
    for recipient in recipients {
        assert!(talk.smtp(&format!("RCPT TO:<{recipient}>")).starts_with("250"));
    }
    assert!(talk.smtp("DATA").starts_with("354"));
    talk.send("Message-ID: <1@x>\r\nSubject: x\r\n\r\nx\r\n.\r\n");
    for _ in recipients {
        let reply = talk.reply();
        assert!(reply.starts_with("250"), "{reply}");
    }
}

/// All messages of a mailbox, one after another.
fn mailbox(server: &Server, name: &str) -> String {
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    talk.imap("a", &format!("LOGIN {USER} {PASSWORD}"));
    if !talk.imap("b", &format!("EXAMINE {name}")).last().unwrap().starts_with("b OK") {
        return String::new();
    }
    talk.imap("c", "FETCH 1:* BODY.PEEK[]").join("\n")
}

/// A mailbox, and what is found in it.
type Found = (&'static str, &'static str);

/// Each subject has a script of its own, and the mailboxes where `here` is found after it, in the message or its header.
const CASES: [(&str, &str, &[Found]); 16] = [
    ("pipe", r#"pipe "take" ["a", "b c"];"#, &[]),
    ("pipe-copy", r#"pipe :copy "take";"#, &[("INBOX", "Subject: pipe-copy")]),
    // The script asks for a mailbox; but a program failed that must not.
    ("pipe-refuse", r#"fileinto :create "Away"; pipe "refuse";"#, &[("INBOX", "Subject: pipe-refuse")]),
    ("pipe-try", r#"pipe :try "refuse";"#, &[("INBOX", "Subject: pipe-try")]),
    ("pipe-try-header", r#"addheader "X-Seen" "y"; pipe :try "die";"#, &[("INBOX", "X-Seen: y")]),
    ("pipe-try-discard", r#"pipe :try "refuse"; discard;"#, &[]),
    ("pipe-nothing", r#"pipe "nothing";"#, &[("INBOX", "Subject: pipe-nothing")]),
    ("pipe-plain", r#"pipe "plain";"#, &[("INBOX", "Subject: pipe-plain")]),
    (
        "filter",
        r#"filter "new" "tea"; if header "subject" "new" { fileinto :create "New"; }"#,
        &[("New", "made of tea")],
    ),
    (
        "filter-twice",
        r#"filter "new" "two"; filter "upper"; fileinto :create "Upper";"#,
        &[("Upper", "MADE OF TWO")],
    ),
    ("filter-keep", r#"if filter "new" "kept" { keep; }"#, &[("INBOX", "made of kept")]),
    ("filter-refuse", r#"filter "refuse"; fileinto :create "Same";"#, &[("Same", "Subject: filter-refuse")]),
    (
        "filter-silent",
        r#"if not filter "silent" { fileinto :create "Silent"; }"#,
        &[("Silent", "Subject: filter-silent")],
    ),
    (
        "execute",
        r#"if execute :input "quiet" :output "v" "upper" { fileinto :create "X${v}"; }"#,
        &[("XQUIET", "Subject: execute")],
    ),
    (
        "execute-pipe",
        r#"execute :pipe :output "v" "deaf"; if string :contains "${v}" "heard nothing" { fileinto :create "Deaf"; }"#,
        &[("Deaf", "Subject: execute-pipe")],
    ),
    (
        "execute-die",
        r#"if execute "die" { stop; } fileinto :create "Dead";"#,
        &[("INBOX", "Subject: execute-die")],
    ),
];

#[test]
fn programs_take_change_and_answer() {
    let mut script = format!("{REQUIRE}\n");
    for (subject, text, _) in CASES {
        script += &format!("if header :is \"subject\" \"{subject}\" {{ {text} }}\n");
    }
    let server = server(&script, "");
    // More than pipes between programs hold.
    let body = "line of the body\r\n".repeat(20_000);
    for (subject, _, _) in CASES {
        deliver(&server, subject, &body);
    }
    let inbox = mailbox(&server, "INBOX");
    for (subject, _, places) in CASES {
        for (place, here) in places {
            let found = mailbox(&server, place);
            assert!(found.contains(here), "{subject}: {here:?} is not in {place}\n{}", server.log());
        }
        if places.iter().all(|(place, _)| *place != "INBOX") {
            assert!(!inbox.contains(&format!("Subject: {subject}\n")), "{subject} is in INBOX");
        }
    }
    assert!(mailbox(&server, "Away").is_empty());
    let taken = fs::read_to_string(server.folder.path().join("programs/taken")).unwrap();
    // Written twice, the second time by `pipe :copy`.
    assert!(taken.contains("Subject: pipe-copy") && taken.contains("line of the body"));
    for line in ["0 ", &format!("USER={USER}"), "SENDER=bob@example.org", &format!("RECIPIENT={USER}")] {
        assert!(taken.lines().any(|found| found == line), "{line}");
    }
    // Nothing of the server's own environment.
    assert!(!taken.contains("HOME=") && !taken.contains("CARGO"), "{taken}");
}

/// The journal of the server is kept whatever users do; what its own script wants beside a program that fails is not done.
#[test]
fn a_program_that_fails_undoes_its_own_script_and_no_other() {
    let script = format!(
        r#"{REQUIRE} if header "subject" "user" {{ fileinto :create "Away"; pipe "refuse"; }}
           elsif header "subject" "missing" {{ pipe :copy "nothing"; discard; }}"#
    );
    let server = server(&script, "before = [\"programs/journal.sieve\", \"programs/before.sieve\"]");
    for subject in ["user", "missing", "server"] {
        deliver(&server, subject, "x");
        let subject = format!("Subject: {subject}\n");
        for (name, there) in
            [("Journal", true), ("INBOX", true), ("Archive", !subject.contains("server")), ("Away", false)]
        {
            let found = mailbox(&server, name).matches(&subject).count();
            assert_eq!(found, usize::from(there), "{subject} in {name}");
        }
    }
}

/// RFC 7352: of copies that come at once one is the first, for programs too, which nobody can take a message back from.
#[test]
fn of_copies_that_come_at_once_a_program_is_given_one() {
    const ROUNDS: usize = 4;
    let script = format!(
        "{REQUIRE} require [\"duplicate\", \"vacation\"];
         if duplicate {{ discard; stop; }} vacation :days 1 \"at sea\"; pipe :copy \"count\";"
    );
    for extra in ["", "[store]\nkind = \"maildir\"\npath = \"mail/%d/%n/Maildir\""] {
        let server = server(&script, extra);
        for round in 0..ROUNDS {
            let gate = Barrier::new(3);
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        deliver_when(&server, &format!("r{round}"), "x", || {
                            gate.wait();
                        })
                    });
                }
            });
        }
        let counted = fs::read_to_string(server.folder.path().join("programs/counted")).unwrap();
        assert_eq!(counted.lines().count(), ROUNDS, "{extra}");
        assert_eq!(mailbox(&server, "INBOX").matches("Subject: r").count(), ROUNDS, "{extra}");
    }
}

/// Who wrote the script is told what the server's log says of its programs.
#[test]
fn a_program_that_fails_is_told_to_the_user() {
    let script = format!(
        r#"{REQUIRE} if header "subject" "pipe" {{ pipe "refuse"; }}
           elsif header "subject" "try" {{ pipe :try "die"; }}
           elsif header "subject" "execute" {{ if execute "nothing" {{ stop; }} }}
           elsif header "subject" "filter" {{ filter "refuse"; }}
           elsif header "subject" "good" {{ execute "silent"; }}"#
    );
    let server = server(&script, "");
    let told = || {
        let output = server.command(&["sieve", "log", USER]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    deliver(&server, "good", "x");
    assert!(!told().contains("program"), "{}", told());
    for (subject, line) in [
        ("pipe", "the program \"refuse\" said no: its exit code is not 0; the message is kept"),
        (
            "try",
            "the program \"die\" did not come to its end: it died, took too long or could not be started",
        ),
        ("execute", "the program \"nothing\" is not there"),
        ("filter", "the program \"refuse\" said no: its exit code is not 0"),
    ] {
        deliver(&server, subject, "x");
        assert!(told().lines().any(|told| told.ends_with(line)), "{subject}: {}", told());
    }
}

/// What others are faster with, for another recipient, has the scripts run again, and programs not.
#[test]
fn a_program_is_given_a_message_once_however_often_it_is_filtered() {
    const AARON: &str = "aaron@example.org";
    let script = format!(
        "{REQUIRE} require [\"duplicate\", \"envelope\"]; if duplicate {{ discard; stop; }}
         if envelope :localpart \"to\" \"alice\" {{ pipe \"slow\"; }}"
    );
    let server = server(&script, "[log]\nlevel = \"mailwright=debug\"");
    server.add_user(AARON, PASSWORD);
    let counted = server.folder.path().join("programs/counted");
    let count = || fs::read_to_string(&counted).unwrap_or_default().lines().count();
    thread::scope(|scope| {
        scope.spawn(|| send(&server, &[AARON, USER]));
        wait_for("the program", || (count() == 1).then_some(()));
        // While it runs; aaron's script was asked before.
        send(&server, &[AARON]);
        assert_eq!(count(), 1);
    });
    assert_eq!(count(), 1);
    assert!(!mailbox(&server, "INBOX").contains("Subject"), "the program took it");
    assert!(server.log().contains("filtered again"), "{}", server.log());
}

/// Who has a message by two ways does not wait for oneself.
#[test]
fn a_message_that_comes_by_two_ways_is_taken_at_once() {
    const AARON: &str = "aaron@example.org";
    let script = format!(
        "{REQUIRE} require [\"duplicate\", \"envelope\"];
         if envelope :localpart \"to\" \"aaron\" {{ redirect \"{USER}\"; stop; }}
         if duplicate {{ discard; stop; }} pipe :copy \"count\";"
    );
    for extra in ["", "[store]\nkind = \"maildir\"\npath = \"mail/%d/%n/Maildir\""] {
        let server = server(&script, extra);
        server.add_user(AARON, PASSWORD);
        let began = Instant::now();
        send(&server, &[AARON, USER]);
        assert!(began.elapsed() < Duration::from_secs(30), "{extra}: {:?}", began.elapsed());
        assert!(mailbox(&server, "INBOX").contains("Subject: x"), "{extra}");
    }
}

#[test]
fn arguments_come_as_they_are() {
    let server = server(&format!(r#"{REQUIRE} pipe "take" ["a", "b c", "$(touch x)", "-n;"];"#), "");
    deliver(&server, "x", "x");
    let taken = fs::read_to_string(server.folder.path().join("programs/taken")).unwrap();
    assert!(taken.contains("\n4 a b c $(touch x) -n;\n"), "{taken}");
    assert!(mailbox(&server, "INBOX").lines().all(|line| !line.starts_with("Subject")));
}

#[test]
fn a_program_that_does_not_end_is_ended_with_all_it_started() {
    let server = server(&format!("{REQUIRE} execute \"sleep\"; discard;"), "program_seconds = 1");
    deliver(&server, "kept", "x");
    assert!(mailbox(&server, "INBOX").contains("Subject: kept"));
    let folder = server.folder.path().join("programs/sleep");
    let running = || {
        fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(folder.to_str().unwrap())
        })
    };
    wait_for("the end of the program", || (!running()).then_some(()));
    assert!(server.log().contains("took too long"), "{}", server.log());
}

#[test]
fn a_script_starts_so_many_programs_and_no_more() {
    let many = "execute \"refuse\";\n".repeat(40);
    let server = server(&format!("{REQUIRE} {many} discard;"), "");
    deliver(&server, "kept", "x");
    assert!(mailbox(&server, "INBOX").contains("Subject: kept"));
}

#[test]
fn programs_are_an_option_and_may_be_the_servers_alone() {
    let script = "require \"vnd.dovecot.execute\"; execute \"silent\";";
    let check = |extra: &str| {
        let mut server = Server::prepare("allow_plaintext_auth = true");
        let folder = server.folder.path();
        write_programs(&folder.join("programs"));
        fs::write(folder.join("before.sieve"), script).unwrap();
        let file = folder.join("mailwright.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}\n[sieve]\n{extra}\n")).unwrap();
        server.add_user(USER, PASSWORD);
        server.serve();
        let mut talk = server.talk(server.port("managesieve", "starttls"));
        talk.until("OK").join("\n")
    };
    assert!(!check("").contains("vnd.dovecot.execute"));
    let all = check("programs = \"programs\"\nbefore = [\"before.sieve\"]");
    for name in ["vnd.dovecot.pipe", "vnd.dovecot.filter", "vnd.dovecot.execute"] {
        assert!(all.contains(name), "{all}");
    }
    let server = check("programs = \"programs\"\nprogram_scripts = \"server\"\nbefore = [\"before.sieve\"]");
    assert!(!server.contains("vnd.dovecot.execute"), "{server}");
}

#[test]
fn a_folder_that_all_can_write_to_is_refused() {
    let server = Server::prepare("");
    let folder = server.folder.path();
    let file = folder.join("mailwright.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[sieve]\nprograms = \"programs\"\n")).unwrap();
    let check = || {
        let output = run(&mut server.command(&["config", "check"]));
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (good, said) = check();
    assert!(!good && said.contains("make the directory"), "{said}");
    fs::create_dir(folder.join("programs")).unwrap();
    fs::set_permissions(folder.join("programs"), PermissionsExt::from_mode(0o777)).unwrap();
    let (good, said) = check();
    assert!(!good && said.contains("chmod o-w"), "{said}");
    fs::set_permissions(folder.join("programs"), PermissionsExt::from_mode(0o755)).unwrap();
    let (good, said) = check();
    assert!(good, "{said}");
}

/// Where Pigeonhole does not do what is done here.
/// `pipe :try` that fails loses the message there, against spec-bosch-sieve-extprograms §5; a filter that writes nothing is true
/// there, against §8.
const OTHERWISE: [&str; 3] = ["pipe-try", "pipe-try-header", "filter-silent"];

#[test]
fn pigeonhole_does_the_same() {
    if !have("sieve-test") {
        return;
    }
    assert!(Path::new("/usr/lib/dovecot/modules/sieve/lib90_sieve_extprograms_plugin.so").exists());
    // It serves no mail as root.
    const OWNER: u32 = 65534;
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write_programs(&base.join("programs"));
    let own = |path: &Path| chown(path, Some(OWNER), Some(OWNER)).is_ok();
    if !own(base) || !own(&base.join("programs")) {
        println!("skipped: only root can run Pigeonhole for another user");
        return;
    }
    let shown = base.display();
    let config = format!(
        "base_dir = {shown}/run\nstate_dir = {shown}/run\nlog_path = /dev/stderr\nmail_uid = {OWNER}\nmail_gid = {OWNER}\n\
         first_valid_uid = 1\nmail_location = maildir:{shown}/mail\n\
         plugin {{\n sieve_plugins = sieve_extprograms\n\
         sieve_extensions = +vnd.dovecot.pipe +vnd.dovecot.filter +vnd.dovecot.execute +editheader\n\
         sieve_pipe_bin_dir = {shown}/programs\n sieve_filter_bin_dir = {shown}/programs\n\
         sieve_execute_bin_dir = {shown}/programs\n}}\n"
    );
    fs::write(base.join("dovecot.conf"), config).unwrap();
    for (subject, script, places) in CASES {
        let message = format!("From: bob@example.org\r\nTo: {USER}\r\nSubject: {subject}\r\n\r\nx\r\n");
        fs::write(base.join("message"), message).unwrap();
        fs::write(base.join("script.sieve"), format!("{REQUIRE}\n{script}\n")).unwrap();
        assert!(own(&base.join("script.sieve")));
        let _ = fs::remove_dir_all(base.join("mail"));
        let _ = fs::remove_file(base.join("script.svbin"));
        let mut command = Command::new("sieve-test");
        command.arg("-c").arg(base.join("dovecot.conf")).args(["-e", "-l"]);
        command.arg(format!("maildir:{shown}/mail")).arg(base.join("script.sieve")).arg(base.join("message"));
        let output = run(&mut command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let found = files(&base.join("mail"));
        let same = if places.is_empty() {
            found.is_empty()
        } else {
            places.iter().all(|(_, here)| found.iter().any(|message| message.contains(here)))
        };
        assert_eq!(same, !OTHERWISE.contains(&subject), "{subject}: {found:?} {said}");
    }
}

/// What is in the files below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path if path.parent().unwrap().ends_with("new") || path.parent().unwrap().ends_with("cur") => {
                found.push(fs::read_to_string(path).unwrap());
            }
            _ => {}
        }
    }
    found
}
