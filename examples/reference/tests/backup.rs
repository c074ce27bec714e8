//! Backup, restore and check of a server's data, from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::process::Command;

use common::{Server, USER, deliver, run};

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn what_was_backed_up_while_serving_comes_back() {
    let mut server = Server::start("");
    for number in 0..3 {
        deliver(&server, USER, &format!("Subject: {number}\r\n\r\n{}\r\n", "text ".repeat(100)));
    }
    let folder = tempfile::tempdir().unwrap();
    let (backup, data) = (folder.path().join("backup"), folder.path().join("data"));
    let (backup, data) = (backup.to_str().unwrap(), data.to_str().unwrap());
    for generation in ["generation 1: ", "generation 2: "] {
        let output = run(&mut server.command(&["backup", backup]));
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with(generation), "{}", text(&output.stdout));
    }
    let output = run(&mut server.command(&["fsck"]));
    assert!(output.status.success() && text(&output.stdout).ends_with(": 0 findings\n"), "{output:?}");
    let output = run(&mut server.command(&["fsck", "--repair"]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("expected no server to run"), "{output:?}");
    server.stop();

    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailwrightd"));
        run(command.args(["--data", data]).args(arguments).env_remove("MAILWRIGHT_CONFIG"))
    };
    let output = program(&["restore", backup]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = program(&["restore", backup]);
    assert!(text(&output.stderr).contains("is not empty"), "{output:?}");
    let output = program(&["fsck", "--repair", "--json"]);
    let event: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((event["event"].as_str(), event["messages"].as_u64()), (Some("checked"), Some(3)), "{event}");
    assert_eq!(event["findings"].as_array().map(Vec::len), Some(0), "{event}");
    let output = program(&["user", "list"]);
    assert!(text(&output.stdout).contains(USER), "{output:?}");
    let output = program(&["restore", "--generation", "9", backup]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
