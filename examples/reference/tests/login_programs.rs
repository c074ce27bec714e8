//! Real mail programs log in to the running server, by every mechanism they have and over every kind of connection.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "identity/authority.rs"]
mod authority;
mod common;
#[path = "login_programs/fetching.rs"]
mod fetching;
#[path = "identity/web.rs"]
mod web;
#[path = "login_programs/world.rs"]
mod world;

use std::process::Command;

use common::{PASSWORD, USER, have, write_private};
use world::{APOP, COMMAND, IN_URL, PROOFS, TOKEN, TOKENS, World, built_with, needs, says};

#[test]
fn swaks_logs_in() {
    if !have("swaks") {
        return;
    }
    let world = World::new();
    let supported = says("swaks", &["--support"]);
    world.try_all("swaks", "smtp", &["PLAIN", "LOGIN", "CRAM-MD5"], |login| {
        needs(login.mechanism != "CRAM-MD5" || supported.contains("cram-md5 supported"), "Digest::MD5")?;
        let mut command = Command::new("swaks");
        command.args([
            "--server",
            "127.0.0.1",
            "--port",
            &login.port.to_string(),
            "--to",
            USER,
            "--from",
            USER,
        ]);
        command.args(["--helo", "client.example", "--timeout", "30", "--auth", login.mechanism]);
        command.args(["--auth-user", USER, "--auth-password", PASSWORD]);
        match login.transport {
            "starttls" => command.arg("--tls"),
            "implicit" => command.arg("--tls-on-connect"),
            _ => &mut command,
        };
        Ok(command)
    });
}

#[test]
fn msmtp_logs_in() {
    if !have("msmtp") {
        return;
    }
    let world = World::new();
    let methods = built_with("msmtp");
    let mechanisms = [&["PLAIN", "LOGIN", "EXTERNAL"][..], PROOFS, TOKENS].concat();
    world.try_all("msmtp", "smtp", &mechanisms, |login| {
        let method = login.mechanism.to_lowercase();
        needs(methods.contains(&method), &method)?;
        let mut command = world.fed("msmtp");
        command.args(["--file=/dev/null", "--host=localhost", &format!("--port={}", login.port)]);
        command.args([format!("--auth={method}"), format!("--user={USER}"), format!("--from={USER}")]);
        command.arg(format!("--passwordeval=echo {}", login.secret()));
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
        command.arg(USER);
        Ok(command)
    });
}

#[test]
fn curl_logs_in() {
    if !have("curl") {
        return;
    }
    let world = World::new();
    let version = says("curl", &["--version"]);
    let mechanisms = [&["PLAIN", "LOGIN", "EXTERNAL"][..], PROOFS, TOKENS].concat();
    for protocol in ["smtp", "imap", "pop3"] {
        let own = if protocol == "pop3" { &[APOP][..] } else { &[] };
        world.try_all("curl", protocol, &[&mechanisms, own].concat(), |login| {
            needs(!login.mechanism.starts_with("SCRAM") || version.contains("gsasl"), "GNU SASL")?;
            if login.mechanism == "XOAUTH2" {
                return Err("it takes OAUTHBEARER wherever that is offered".to_owned());
            }
            let mut command = Command::new("curl");
            command.args(["--silent", "--show-error", "--cacert"]).arg(world.server.certificate());
            let plus = if login.mechanism == APOP { "+" } else { "" };
            command.args(["--login-options", &format!("AUTH={plus}{}", login.mechanism)]);
            match login.mechanism {
                "EXTERNAL" => {
                    command.args(["--user", &format!("{USER}:")]);
                    command
                        .arg("--cert")
                        .arg(world.file("alice.pem"))
                        .arg("--key")
                        .arg(world.file("alice.key"));
                }
                _ if TOKENS.contains(&login.mechanism) => {
                    command.args(["--user", USER, "--oauth2-bearer", TOKEN]);
                }
                _ => {
                    command.args(["--user", &format!("{USER}:{PASSWORD}")]);
                }
            }
            if login.is_tls() {
                command.arg("--ssl-reqd");
            }
            if protocol == "smtp" {
                command
                    .args(["--mail-from", USER, "--mail-rcpt", USER, "--upload-file"])
                    .arg(world.file("message"));
            }
            command.arg(format!(
                "{}/{}",
                login.url(""),
                if protocol == "smtp" { "client.example" } else { "" }
            ));
            Ok(command)
        });
    }
}

#[test]
fn mutt_logs_in() {
    if !have("mutt") || !have("script") {
        return;
    }
    let world = World::new();
    let built = says("mutt", &["-v"]);
    for (protocol, commands) in [("smtp", &[][..]), ("imap", &[]), ("pop3", &[COMMAND, APOP])] {
        // Its "login" is the mechanism, also of IMAP.
        let mechanisms = [&["PLAIN", "LOGIN"][..], commands, PROOFS, TOKENS].concat();
        world.try_all("mutt", protocol, &mechanisms, |login| {
            let is_own = TOKENS.contains(&login.mechanism) || commands.contains(&login.mechanism);
            needs(is_own || built.contains("+use_gsasl") || built.contains("+use_sasl"), "SASL")?;
            needs(!login.mechanism.starts_with("SCRAM") || built.contains("+use_gsasl"), "GNU SASL")?;
            if protocol == "imap" && TOKENS.contains(&login.mechanism) && !login.is_tls() {
                return Err("it shows no token without TLS".to_owned());
            }
            let name = if protocol == "pop3" { "pop" } else { protocol };
            let method =
                if login.mechanism == COMMAND { "user".to_owned() } else { login.mechanism.to_lowercase() };
            let mut rc = format!(
                "set {name}_authenticators=\"{}\"\nset {name}_oauth_refresh_command=\"echo {TOKEN}\"\nset {name}_pass=\"{PASSWORD}\"\n\
                 set certificate_file=\"{}\"\nset folder=\"{}\"\nset from=\"{USER}\"\n\
                 set ssl_starttls={}\nset ssl_force_tls={}\nset header_cache=\"\"\nset sleep_time=0\nset wait_key=no\nset copy=no\n\
                 set tunnel=\"\"\n",
                method,
                world.server.certificate().display(),
                world.server.folder.path().display(),
                if login.transport == "starttls" { "yes" } else { "no" },
                if login.transport == "starttls" { "yes" } else { "no" },
            );
            let path = world.file("muttrc");
            let url = login.url(&format!("{IN_URL}@")).replacen("pop3", "pop", 1);
            let command = if protocol == "smtp" {
                rc += &format!("set smtp_url=\"{url}/\"\n");
                let mut command = world.fed("mutt");
                command.arg("-n").arg("-F").arg(&path).args(["-s", "login", "--", USER]);
                command
            } else {
                rc += "push \"<exit>\"\n";
                world.on_screen(&format!("mutt -n -R -F {} -f {url}/", path.display()))
            };
            write_private(&path, &rc);
            Ok(command)
        });
    }
}

#[test]
fn s_nail_logs_in() {
    if !have("s-nail") {
        return;
    }
    let world = World::new();
    let features = says("s-nail", &["-:/", "-X", "echo $features", "-X", "x"]);
    for (protocol, mechanisms) in [
        ("smtp", &["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "EXTERNAL"][..]),
        ("imap", &[COMMAND, "CRAM-MD5", "XOAUTH2", "EXTERNAL"]),
        ("pop3", &[COMMAND, APOP, "XOAUTH2", "EXTERNAL"]),
    ] {
        world.try_all("s-nail", protocol, mechanisms, |login| {
            needs(features.contains(&format!("+{protocol}")), protocol)?;
            needs(login.mechanism != "CRAM-MD5" || features.contains("+md5"), "MD5")?;
            if login.mechanism == "XOAUTH2" && !login.is_tls() {
                return Err("it shows no token without TLS".to_owned());
            }
            let method = match (login.mechanism, protocol) {
                (COMMAND, "imap") => "login".to_owned(),
                (COMMAND | APOP, _) => "plain".to_owned(),
                // It calls it by the other's name.
                ("XOAUTH2", _) => "oauthbearer".to_owned(),
                (mechanism, _) => mechanism.to_lowercase(),
            };
            let url = login.url(&format!("{IN_URL}:{}@", login.secret()));
            let mut options = vec![
                "v15-compat".to_owned(),
                "DEAD=/dev/null".to_owned(),
                format!("{protocol}-auth={method}"),
                format!("tls-ca-file={}", world.server.certificate().display()),
                "tls-ca-no-defaults".to_owned(),
                "tls-verify=strict".to_owned(),
            ];
            if login.transport == "starttls" {
                options.push(format!("{protocol}-use-starttls"));
            }
            if (protocol, login.mechanism) == ("pop3", COMMAND) {
                options.push("pop3-no-apop".to_owned());
            }
            if login.mechanism == "EXTERNAL" {
                let (chain, key) = (world.shown("alice.pem"), world.shown("alice.key"));
                options.push(format!("tls-config-pairs=Certificate={chain},PrivateKey={key}"));
            }
            let mut command = world.fed("s-nail");
            command.arg("-:/");
            if protocol == "smtp" {
                options.extend([format!("mta={url}"), format!("from={USER}")]);
            }
            for option in &options {
                command.args(["-S", option]);
            }
            if protocol == "smtp" {
                command.args(["-s", "login", USER]);
            } else {
                command.args(["-R", "-H", "-f", &url]);
            }
            Ok(command)
        });
    }
}

#[test]
fn python_logs_in() {
    if !have("python3") {
        return;
    }
    let world = World::new();
    let certificate = world.server.certificate().display().to_string();
    for (protocol, mechanisms) in [
        ("smtp", &["PLAIN", "LOGIN", "CRAM-MD5"][..]),
        ("imap", &[COMMAND, "PLAIN", "CRAM-MD5", "XOAUTH2"]),
        ("pop3", &[COMMAND]),
    ] {
        world.try_all("python3", protocol, mechanisms, |login| {
            let mut command = Command::new("python3");
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/login.py"));
            command.args([
                protocol,
                login.mechanism,
                login.transport,
                &login.port.to_string(),
                &certificate,
                USER,
            ]);
            command.arg(login.secret());
            Ok(command)
        });
    }
}
