//! Sieve: scripts compiled a second and messages filtered a second, beside Pigeonhole where it is installed.
//!
//! `sieve [SCRIPTS [MESSAGES]]`. Both read the same files. Pigeonhole compiles a folder with one `sievec`, and filters a Maildir with one
//! `sieve-filter`, which only says what it would do; what these take for a folder with nothing in it is taken off.

use std::{
    fs,
    hint::black_box,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use mailwright_benches::Result;
use mailwright_sieve::{Language, MemoryHost};

/// As `nobody`, so that no mail of anybody is near.
const CONFIG: &str = "base_dir = @/run\nstate_dir = @/state\nlog_path = /dev/stderr\nssl = no\nmail_uid = 65534\nmail_gid = 65534\n\
    first_valid_uid = 1\nmail_home = @/home\nmail_location = maildir:@/mail\nplugin {\n  sieve = @/none.sieve\n}\n";

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<usize>());
    let scripts = numbers.next().transpose()?.unwrap_or(500);
    let messages = numbers.next().transpose()?.unwrap_or(5000);
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    for name in ["run", "state", "home", "scripts", "none", "mail/cur", "mail/new", "mail/tmp"] {
        fs::create_dir_all(root.join(name))?;
    }
    for number in 0..scripts {
        fs::write(root.join(format!("scripts/s{number}.sieve")), script(number))?;
    }
    for number in 0..messages {
        fs::write(root.join(format!("mail/cur/{number}.M.host:2,S")), message(number))?;
    }
    let ours = (compile(&root.join("scripts"))?, filter(root)?);
    println!("compiled: {scripts} scripts of {} octets", script(0).len());
    let rate = |count: usize, time: Duration| count as f64 / time.as_secs_f64().max(1e-9);
    println!("  mailwright {:10.0} scripts/s", rate(scripts, ours.0));
    let theirs = pigeonhole(root)?;
    if let Some((compiled, _)) = theirs {
        let times = compiled.as_secs_f64() / ours.0.as_secs_f64();
        println!("  pigeonhole {:10.0} scripts/s   ratio {times:.1}", rate(scripts, compiled));
    }
    println!("filtered: {messages} messages of {} octets", message(0).len());
    println!("  mailwright {:10.0} messages/s", rate(messages, ours.1));
    match theirs {
        Some((_, filtered)) => {
            let times = filtered.as_secs_f64() / ours.1.as_secs_f64();
            println!("  pigeonhole {:10.0} messages/s   ratio {times:.1}", rate(messages, filtered));
        }
        None => println!("pigeonhole is not here (Debian: apt-get install dovecot-sieve)"),
    }
    Ok(())
}

/// A script as people have them: lists sorted into folders, friends flagged, spam put away.
fn script(number: usize) -> String {
    let mut script = String::from(
        "require [\"fileinto\", \"imap4flags\", \"variables\", \"copy\", \"envelope\", \"regex\", \"relational\", \"comparator-i;ascii-numeric\"];\r\n\
         if header :matches \"List-Id\" \"*<*.lists.example.org>\" { set \"list\" \"${2}\"; }\r\n",
    );
    for rule in 0..40 {
        script += &format!(
            "if anyof (address :is \"from\" [\"u{rule}@example.net\", \"v{rule}@example.net\"],\r\n          header :contains \"subject\" \"[topic-{number}-{rule}]\") {{\r\n  \
             addflag \"$Topic{rule}\"; fileinto \"Topics/{rule}\"; stop;\r\n}}\r\n",
        );
    }
    script += "if header :regex \"subject\" \"^(re|fwd?): *\\\\[[a-z]+\\\\] tea\" { fileinto :copy \"Tea\"; }\r\n\
               elsif allof (header :value \"ge\" :comparator \"i;ascii-numeric\" \"x-score\" \"5\", not envelope :domain \"from\" \"example.com\") {\r\n  \
               fileinto \"Junk\"; }\r\nif size :over 2M { fileinto \"Large\"; }\r\n";
    script
}

fn message(number: usize) -> String {
    let (from, score) = (number % 60, number % 9);
    format!(
        "Return-Path: <u{from}@example.net>\r\nReceived: from a.example.net by mx.example.org; Mon, 2 Mar 2026 10:00:00 +0000\r\n\
         From: \"A Friend\" <u{from}@example.net>\r\nTo: bob@example.org\r\nCc: ann@example.org, dora@example.org\r\n\
         Subject: Re: [kitchen] tea number {number}\r\nMessage-ID: <{number}@example.net>\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n\
         X-Score: {score}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{}--b\r\n\
         Content-Type: text/html\r\n\r\n{}--b--\r\n",
        "The quick brown fox jumps over the lazy dog.\r\n".repeat(30),
        "<p>The quick brown fox jumps over the lazy dog.</p>\r\n".repeat(30),
    )
}

fn compile(scripts: &Path) -> Result<Duration> {
    let language = Language::standard();
    let begun = Instant::now();
    for entry in fs::read_dir(scripts)? {
        black_box(language.compile(&fs::read(entry?.path())?)?);
    }
    Ok(begun.elapsed())
}

fn filter(root: &Path) -> Result<Duration> {
    let program = std::sync::Arc::new(Language::standard().compile(script(0).as_bytes())?);
    let mut host = MemoryHost::new(Vec::new());
    host.input.envelope.to = Some("bob@example.org".into());
    host.input.envelope.from = Some("ann@example.net".into());
    let begun = Instant::now();
    for entry in fs::read_dir(root.join("mail/cur"))? {
        host.set_message(fs::read(entry?.path())?);
        let outcome = host.run(std::sync::Arc::clone(&program));
        if let Some(error) = outcome.error {
            return Err(error.to_string().into());
        }
        black_box(outcome);
    }
    Ok(begun.elapsed())
}

/// The same by Pigeonhole: compiling, and filtering; `None` if it is not installed.
fn pigeonhole(root: &Path) -> Result<Option<(Duration, Duration)>> {
    let here = root.display().to_string();
    let config = root.join("dovecot.conf");
    fs::write(&config, CONFIG.replace('@', &here))?;
    fs::write(root.join("filter.sieve"), script(0))?;
    let run = |program: &str, arguments: &[&str]| -> Result<Option<Duration>> {
        let begun = Instant::now();
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).args(arguments).env("USER", "nobody").env("HOME", root.join("home"));
        let output = match command.stdin(Stdio::null()).output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            output => output?,
        };
        let taken = begun.elapsed();
        if !output.status.success() {
            return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(Some(taken))
    };
    let (scripts, none, script) =
        (format!("{here}/scripts"), format!("{here}/none"), format!("{here}/filter.sieve"));
    let Some(nothing) = run("sievec", &[&none])? else { return Ok(None) };
    let Some(compiled) = run("sievec", &[&scripts])? else { return Ok(None) };
    own_all(root)?;
    // Once before, so that the script is compiled and the indexes of the Maildir are made.
    run("sieve-filter", &[&script, "INBOX"])?;
    let Some(filtered) = run("sieve-filter", &[&script, "INBOX"])? else { return Ok(None) };
    fs::rename(root.join("mail"), root.join("full"))?;
    for name in ["cur", "new", "tmp"] {
        fs::create_dir_all(root.join("mail").join(name))?;
    }
    own_all(root)?;
    let empty = run("sieve-filter", &[&script, "INBOX"])?.unwrap_or_default();
    Ok(Some((compiled.saturating_sub(nothing), filtered.saturating_sub(empty))))
}

/// What `nobody` has to write to; only root can give it away, and others are the ones who run it.
fn own_all(root: &Path) -> Result<()> {
    if Command::new("id").arg("-u").output()?.stdout == b"0\n" {
        Command::new("chown").args(["-R", "65534:65534"]).arg(root).status()?;
    }
    Ok(())
}
