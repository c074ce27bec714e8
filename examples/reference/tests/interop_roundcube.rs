//! Roundcube reads, sends, files and filters: a webmail program in front of the running server, used through its pages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
};

use common::{PASSWORD, Server, USER, free_port, have, run, wait_for};

const BOB: &str = "bob@example.org";
/// Where Debian has it.
const PROGRAM: &str = "/usr/share/roundcube";

/// PHP's own web server, until it is dropped.
struct Web(Child);

impl Drop for Web {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All that is in one of the program's folders, but for this.
fn link_all(folder: &Path, part: &str, but: &str) {
    for entry in fs::read_dir(Path::new(PROGRAM).join(part)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != but {
            symlink(entry.path(), folder.join(part).join(entry.file_name())).unwrap();
        }
    }
}

/// An installation of our own: the program as it is, with other settings and another database.
fn install(folder: &Path, server: &Server) {
    for part in ["config", "db", "logs", "temp", "plugins/managesieve"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    for part in ["program", "skins", "SQL"] {
        symlink(Path::new(PROGRAM).join(part), folder.join(part)).unwrap();
    }
    link_all(folder, "plugins", "managesieve");
    link_all(folder, "plugins/managesieve", "config.inc.php");
    let plugin = Path::new(PROGRAM).join("plugins/managesieve");
    let ours = |port| format!("localhost:{port}");
    let settings = format!(
        "$config['managesieve_host'] = 'tls://{}';\n$config['managesieve_conn_options'] = $ours;\n$config['managesieve_vacation'] = 1;\n",
        ours(server.port("managesieve", "starttls")),
    );
    // Its own settings are made for what Debian installs; these are the ones that Roundcube itself proposes, and ours.
    let proposed = fs::read_to_string(plugin.join("config.inc.php.dist")).unwrap();
    let trust = format!(
        "$ours = ['ssl' => ['cafile' => '{}', 'peer_name' => 'mail.example.org']];\n",
        server.certificate().display()
    );
    fs::write(folder.join("plugins/managesieve/config.inc.php"), format!("{proposed}\n{trust}{settings}"))
        .unwrap();
    fs::copy("/etc/roundcube/defaults.inc.php", folder.join("config/defaults.inc.php")).unwrap();
    let shown = folder.display();
    let config = format!(
        "<?php\n{trust}\
         $config['db_dsnw'] = 'sqlite:///{shown}/db/roundcube?mode=0600';\n\
         $config['log_driver'] = 'file';\n$config['log_dir'] = '{shown}/logs/';\n$config['temp_dir'] = '{shown}/temp/';\n\
         $config['imap_host'] = 'ssl://{}';\n$config['imap_conn_options'] = $ours;\n\
         $config['smtp_host'] = 'ssl://{}';\n$config['smtp_conn_options'] = $ours;\n\
         $config['smtp_user'] = '%u';\n$config['smtp_pass'] = '%p';\n\
         $config['des_key'] = 'twenty-four-octets-of-it';\n$config['language'] = 'en_US';\n\
         $config['plugins'] = ['managesieve', 'acl'];\n$config['create_default_folders'] = true;\n",
        ours(server.port("imap", "implicit")),
        ours(server.port("submission", "implicit")),
    );
    fs::write(folder.join("config/config.inc.php"), config).unwrap();
    let front = format!(
        "<?php\ndefine('INSTALL_PATH', '{shown}/');\ndefine('RCMAIL_CONFIG_DIR', '{shown}/config');\nrequire '{PROGRAM}/index.php';\n"
    );
    fs::write(folder.join("front.php"), front).unwrap();
}

#[test]
fn roundcube_reads_sends_files_and_filters() {
    if !have("php") || !have("python3") {
        return;
    }
    if !Path::new(PROGRAM).exists() {
        assert!(std::env::var_os("CI").is_none(), "roundcube is not installed, and CI must have it");
        eprintln!("skipped: roundcube is not installed");
        return;
    }
    let server = Server::start("");
    server.add_user(BOB, PASSWORD);
    let folder = server.folder.path().join("roundcube");
    install(&folder, &server);
    let port = free_port();
    let log = fs::File::create(folder.join("web.log")).unwrap();
    let web = Command::new("php")
        .args(["-S", &format!("127.0.0.1:{port}"), "front.php"])
        .current_dir(&folder)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let _web = Web(web);
    wait_for("the web server", || TcpStream::connect(("127.0.0.1", port)).ok());
    let output = run(Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/roundcube.py"))
        .args([&format!("http://127.0.0.1:{port}/"), USER, BOB, PASSWORD]));
    let errors = fs::read_to_string(folder.join("logs/errors.log")).unwrap_or_default();
    let web = fs::read_to_string(folder.join("web.log")).unwrap();
    assert!(output.status.success(), "{}\n{errors}\n{web}", String::from_utf8_lossy(&output.stderr));
    assert!(!errors.contains("PHP Error"), "{errors}");
}
