//! Programs that fetch mail by POP3.

use std::{fs, process::Command};

use crate::{
    common::{PASSWORD, USER, have, write_private},
    world::{APOP, COMMAND, PROOFS, TOKENS, World, built_with, needs},
};

#[test]
fn mpop_logs_in() {
    if !have("mpop") {
        return;
    }
    let world = World::new();
    let methods = built_with("mpop");
    let mechanisms = [&[COMMAND, APOP, "PLAIN", "LOGIN", "EXTERNAL"][..], PROOFS, TOKENS].concat();
    world.try_all("mpop", "pop3", &mechanisms, |login| {
        let method =
            if login.mechanism == COMMAND { "user".to_owned() } else { login.mechanism.to_lowercase() };
        needs(methods.contains(&method), &method)?;
        let mut command = Command::new("mpop");
        command.args(["--file=/dev/null", "--host=localhost", &format!("--port={}", login.port)]);
        command.args([format!("--auth={method}"), format!("--user={USER}")]);
        command.arg(format!("--passwordeval=echo {}", login.secret()));
        command.args(["--keep=on", &format!("--uidls-file={}", world.shown("uidls"))]);
        command.arg(format!("--delivery=mbox,{}", world.shown("fetched")));
        if login.is_tls() {
            let starttls = if login.transport == "starttls" { "on" } else { "off" };
            command.args(["--tls=on", &format!("--tls-starttls={starttls}")]);
            command.arg(format!("--tls-trust-file={}", world.server.certificate().display()));
        } else {
            command.arg("--tls=off");
        }
        if login.mechanism == "EXTERNAL" {
            command.arg(format!("--tls-cert-file={}", world.shown("alice.pem")));
            command.arg(format!("--tls-key-file={}", world.shown("alice.key")));
        }
        Ok(command)
    });
}

#[test]
fn fetchmail_logs_in() {
    if !have("fetchmail") {
        return;
    }
    let world = World::new();
    world.try_all("fetchmail", "pop3", &[COMMAND, APOP], |login| {
        let protocol = if login.mechanism == APOP { "apop" } else { "pop3" };
        if login.mechanism == APOP && login.transport == "starttls" {
            return Err("it asks for no TLS before APOP".to_owned());
        }
        let tls = match login.transport {
            "implicit" => "ssl",
            "starttls" => "sslproto \"tls1.2+\"",
            _ => "sslproto \"\"",
        };
        let config = world.file("fetchmailrc");
        let rest = format!(
            "sslcertck sslcertfile {} fetchall keep mda \"cat > /dev/null\"",
            world.server.certificate().display()
        );
        write_private(
            &config,
            &format!(
                "poll localhost protocol {protocol} port {} auth password user \"{USER}\" password \"{PASSWORD}\" {tls} {rest}\n",
                login.port
            ),
        );
        let mut command = Command::new("fetchmail");
        let folder = world.server.folder.path();
        command.env("FETCHMAILHOME", folder).env("HOME", folder).arg("-f").arg(config);
        Ok(command)
    });
}

#[test]
fn getmail_logs_in() {
    if !have("getmail") {
        return;
    }
    let world = World::new();
    world.try_all("getmail", "pop3", &[COMMAND, APOP], |login| {
        let (kind, authority) = match login.transport {
            "implicit" => {
                ("SimplePOP3SSLRetriever", format!("ca_certs = {}\n", world.server.certificate().display()))
            }
            "none" => ("SimplePOP3Retriever", String::new()),
            _ => return Err("it knows no STLS".to_owned()),
        };
        let folder = world.file("getmail");
        fs::create_dir_all(&folder).unwrap();
        write_private(
            &folder.join("getmailrc"),
            &format!(
                "[retriever]\ntype = {kind}\nserver = localhost\nport = {}\nusername = {USER}\npassword = {PASSWORD}\n\
                 use_apop = {}\n{authority}[destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n\
                 arguments = (\"-c\", \"cat > /dev/null\")\n[options]\nread_all = true\ndelete = false\n",
                login.port,
                login.mechanism == APOP
            ),
        );
        let mut command = Command::new("getmail");
        command.env("HOME", world.server.folder.path()).arg("--getmaildir").arg(folder);
        Ok(command)
    });
}
