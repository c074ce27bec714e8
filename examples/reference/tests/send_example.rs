//! The example that sends a file, at the running server. `cargo test --workspace` builds it before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::{PASSWORD, Server, USER, run};

/// Beside the folder that this test is in.
fn example() -> Option<PathBuf> {
    let path = env::current_exe().unwrap().parent()?.parent()?.join("examples/send");
    if !path.is_file() {
        assert!(env::var_os("CI").is_none(), "{} is missing", path.display());
        println!("skipped: `cargo test --workspace` builds {}", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn a_file_is_sent_and_what_was_said_is_told() {
    let Some(example) = example() else { return };
    let mut server = Server::prepare("allow_plaintext_auth = true");
    server.add_user(USER, PASSWORD);
    server.serve();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("message.eml");
    // More than fits in a buffer, with lines that begin with dots.
    let text = format!("From: <{USER}>\r\nSubject: sent\r\n\r\n{}", ".dots\r\n".repeat(50_000));
    fs::write(&file, &text).unwrap();
    let ours = server.folder.path().join("data/tls/self-signed.pem");
    let empty = folder.path().join("nobody.pem");
    fs::write(&empty, rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem())
        .unwrap();
    let missing = folder.path().join("missing.eml");
    let host = format!("localhost:{}", server.port("submission", "starttls"));
    let send = |to: &str, file: &Path, trust: &Path, password: &str| {
        let mut command = Command::new(&example);
        command.args([&host, USER, to]).arg(file).env("SSL_CERT_FILE", trust).env("MAIL_PASSWORD", password);
        let output = run(&mut command);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (sent, said, wrong) = send(USER, &file, &ours, PASSWORD);
    assert!(sent && said.starts_with(&format!("{USER}: 250 2.0.0 Ok: queued as ")), "{said} {wrong}");
    for (to, file, trust, password, says, why) in [
        ("nobody@example.org", &file, &ours, PASSWORD, "nobody@example.org: 550 5.1.1", "does not take it"),
        (USER, &file, &ours, "guess", "", "535"),
        (USER, &file, &empty, PASSWORD, "", "certificate"),
        (USER, &missing, &ours, PASSWORD, "", "No such file"),
        ("no address", &file, &ours, PASSWORD, "", ""),
    ] {
        let (sent, said, wrong) = send(to, file, trust, password);
        assert!(!sent && said.starts_with(says), "{to} {password}: {said} {wrong}");
        assert!(said.is_empty() == says.is_empty() && wrong.contains(why), "{to} {password}: {said} {wrong}");
    }
    let usage = run(Command::new(&example).arg(&host));
    assert!(!usage.status.success() && String::from_utf8_lossy(&usage.stderr).contains("usage: send HOST"));
    assert_eq!(common::count(&server), 1);
}
