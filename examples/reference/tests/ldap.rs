//! Accounts in LDAP, at a real OpenLDAP.
#![cfg(feature = "ldap")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use common::{Server, Talk, USER, deliver, free_port, succeed, wait_for, write_private};

const SLAPD: &str = "/usr/sbin/slapd";

const ENTRIES: &str = "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n\
    dn: cn=reader,dc=example,dc=org\nobjectClass: person\ncn: reader\nsn: reader\nuserPassword: reads-7\n\n\
    dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\n\
    dn: uid=alice,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: alice\ncn: Alice\nsn: A\n\
    mail: Alice@example.org\ndepartmentNumber: al@example.org\nemployeeNumber: 1024000\nuserPassword: in-ldap-7\n\n\
    dn: uid=carol,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: carol\ncn: Carol\nsn: C\n\
    mail: carol@example.org\nuserPassword: in-ldap-8\n\n\
    dn: uid=nomail,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: nomail\ncn: N\nsn: N\nuserPassword: in-ldap-9\n";

/// A running OpenLDAP, which ends with the test.
struct Slapd {
    child: Child,
    port: u16,
}

impl Slapd {
    fn start(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.join("ldap.pem"), made.cert.pem()).unwrap();
        write_private(&folder.join("ldap.key"), &made.signing_key.serialize_pem());
        fs::create_dir(folder.join("ldap")).unwrap();
        let shown = folder.display();
        let config = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\ninclude /etc/ldap/schema/inetorgperson.schema\n\
             modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {shown}/ldap/pid\n\
             TLSCertificateFile {shown}/ldap.pem\nTLSCertificateKeyFile {shown}/ldap.key\n\
             security simple_bind=128\n\
             database mdb\nsuffix \"dc=example,dc=org\"\nrootdn \"cn=admin,dc=example,dc=org\"\nrootpw admin-7\ndirectory {shown}/ldap\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to * by dn.exact=\"cn=reader,dc=example,dc=org\" read by * none\n"
        );
        fs::write(folder.join("slapd.conf"), config).unwrap();
        fs::write(folder.join("entries"), ENTRIES).unwrap();
        succeed(Command::new("/usr/sbin/slapadd").current_dir(folder).args([
            "-f",
            "slapd.conf",
            "-l",
            "entries",
        ]));
        let port = free_port();
        let child = Command::new(SLAPD)
            .args([
                "-f",
                &format!("{shown}/slapd.conf"),
                "-d",
                "0",
                "-h",
                &format!("ldap://127.0.0.1:{port}/"),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("OpenLDAP to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { child, port }
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn login(server: &Server, user: &str, password: &str) -> String {
    let mut talk = Talk::connect(server.port("pop3", "starttls"));
    talk.line();
    talk.send(format!("USER {user}\r\nPASS {password}\r\n"));
    talk.line();
    talk.line()
}

#[test]
fn accounts_come_and_go_with_their_entries_and_log_in_there() {
    if !Path::new(SLAPD).exists() {
        assert!(std::env::var_os("CI").is_none(), "slapd is not installed, and CI must have it");
        eprintln!("skipped: slapd is not installed");
        return;
    }
    for template in [false, true] {
        let mut server = Server::prepare("allow_plaintext_auth = true");
        let folder = server.folder.path().to_owned();
        let slapd = Slapd::start(&folder);
        write_private(&folder.join("reader"), "reads-7\n");
        let path = folder.join("mailwright.toml");
        let config = fs::read_to_string(&path).unwrap();
        let how = if template { "user_dn = \"uid=%n,ou=people,dc=example,dc=org\"\n" } else { "" };
        let section = format!(
            "[auth]\npenalty_milliseconds = 0\nfailures_per_address = 0\nfailures_per_user = 0\n\
             [auth.ldap]\nurl = \"ldap://localhost:{}\"\ntrust = \"ldap.pem\"\nbind_dn = \"cn=reader,dc=example,dc=org\"\n\
             password_file = \"reader\"\nbase = \"ou=people,dc=example,dc=org\"\naccounts = \"(objectClass=inetOrgPerson)\"\n\
             aliases = \"departmentNumber\"\nquota = \"employeeNumber\"\nevery_seconds = 1\ntimeout_seconds = 30\n{how}",
            slapd.port
        );
        fs::write(&path, config + &section).unwrap();
        // An account of our own, of which LDAP knows nothing.
        server.add_user("bob@example.org", "not-in-ldap");
        // What an earlier version noted: whose entry is gone, and who was here before.
        server.add_user("gone@example.org", "not-in-ldap");
        let ledger = r#"{"accounts":{"gone@example.org":null,"bob@example.org":null},"aliases":{},"by_hand":["bob@example.org"]}"#;
        fs::write(folder.join("data/ldap-accounts.json"), ledger).unwrap();
        server.serve();
        wait_for("the accounts", || {
            let list = String::from_utf8(succeed(&mut server.command(&["user", "list"]))).unwrap();
            (list.contains(USER) && list.contains("carol@example.org")).then_some(())
        });
        for (user, password, expected) in [
            (USER, "in-ldap-7", "+OK"),
            ("\"Alice\"@EXAMPLE.org", "in-ldap-7", "+OK"),
            ("carol@example.org", "in-ldap-8", "+OK"),
            (USER, "in-ldap-8", "-ERR [AUTH]"),
            // An alias is no account; what means something in a filter or a name means nothing here.
            ("al@example.org", "in-ldap-7", "-ERR [AUTH]"),
            ("*@example.org", "in-ldap-7", "-ERR [AUTH]"),
            ("alice,ou=people@example.org", "in-ldap-7", "-ERR [AUTH]"),
            ("nobody@example.org", "in-ldap-7", "-ERR [AUTH]"),
            ("bob@example.org", "not-in-ldap", "-ERR [AUTH]"),
        ] {
            let answer = login(&server, user, password);
            assert!(answer.starts_with(expected), "{user} {password}: {answer}\n{}", server.log());
        }
        wait_for("the alias", || {
            let said = succeed(&mut server.command(&["address", "al@example.org"]));
            String::from_utf8(said).unwrap().contains(USER).then_some(())
        });
        deliver(&server, "al@example.org", "Subject: hello\r\n\r\nhello\r\n");
        let mut talk = server.talk(server.port("imap", "starttls"));
        talk.line();
        assert!(talk.imap("a", &format!("LOGIN {USER} in-ldap-7")).last().unwrap().starts_with("a OK"));
        let quota = talk.imap("b", "GETQUOTAROOT INBOX").join("\n");
        assert!(quota.contains(" 1000"), "{quota}");
        let count = talk.imap("c", "STATUS INBOX (MESSAGES)").join("\n");
        assert!(count.contains("MESSAGES 1"), "{count}");

        assert!(!folder.join("data/ldap-accounts.json").exists());
        let list = String::from_utf8(succeed(&mut server.command(&["user", "list"]))).unwrap();
        assert!(list.contains("bob@example.org") && !list.contains("gone@example.org"), "{list}");

        // What somebody removes whose entry is there comes back.
        succeed(&mut server.command(&["alias", "remove", "al@example.org"]));
        succeed(&mut server.command(&["user", "remove", "carol@example.org"]));
        wait_for("both to come back", || {
            let list = String::from_utf8(succeed(&mut server.command(&["user", "list"]))).unwrap();
            let said = server.command(&["address", "al@example.org"]).output().unwrap();
            (list.contains("carol@example.org") && String::from_utf8(said.stdout).unwrap().contains(USER))
                .then_some(())
        });

        let modify = |change: &str| {
            fs::write(folder.join("change"), change).unwrap();
            succeed(Command::new("ldapmodify").env("LDAPTLS_REQCERT", "never").current_dir(&folder).args([
                "-x",
                "-ZZ",
                "-H",
                &format!("ldap://localhost:{}", slapd.port),
                "-D",
                "cn=admin,dc=example,dc=org",
                "-w",
                "admin-7",
                "-f",
                "change",
            ]));
        };
        // RFC 4511 §4.1.7: of several addresses another one may come first at any time. The account is the same one.
        for (addresses, quota) in [
            (["a.alice@example.org", USER], 2000),
            ([USER, "a.alice@example.org"], 3000),
            (["z.alice@example.org", USER], 4000),
        ] {
            let [first, second] = addresses;
            modify(&format!(
                "dn: uid=alice,ou=people,dc=example,dc=org\nchangetype: modify\nreplace: mail\nmail: {first}\nmail: {second}\n-\n\
                 replace: employeeNumber\nemployeeNumber: {}\n",
                quota * 1024
            ));
            wait_for("the change", || {
                let mut talk = server.talk(server.port("imap", "starttls"));
                talk.line();
                let login = talk.imap("a", &format!("LOGIN {USER} in-ldap-7"));
                assert!(login.last().unwrap().starts_with("a OK"), "{login:?}");
                talk.imap("b", "GETQUOTAROOT INBOX").join("\n").contains(&format!(" {quota}")).then_some(())
            });
            let list = String::from_utf8(succeed(&mut server.command(&["user", "list"]))).unwrap();
            assert!(list.contains(USER) && !list.contains(".alice@"), "{list}");
        }

        for other in ["a.alice@example.org", "z.alice@example.org"] {
            let doubt = format!("by auth.ldap.name {other} as well, which gets no mail");
            wait_for("the doubt to be told", || server.log().contains(&doubt).then_some(()));
        }
        let twin = "dn: uid=twin,ou=people,dc=example,dc=org\nchangetype:";
        modify(&format!("{twin} add\nobjectClass: inetOrgPerson\ncn: twin\nsn: twin\nmail: {USER}\n"));
        let doubt = format!("is the account {USER}, which another entry is too");
        wait_for("the other doubt to be told", || server.log().contains(&doubt).then_some(()));
        modify(&format!("{twin} delete\n"));

        // What it is asked by may be another: it is read again with the configuration.
        modify(
            "dn: cn=reader,dc=example,dc=org\nchangetype: modify\nreplace: userPassword\nuserPassword: reads-8\n",
        );
        write_private(&folder.join("reader"), "reads-8\n");
        succeed(&mut server.command(&["reload"]));

        // Who leaves has no account any more; who was added by hand stays.
        succeed(
            Command::new("ldapdelete")
                .env("LDAPTLS_REQCERT", "never")
                .args(["-x", "-ZZ", "-H", &format!("ldap://localhost:{}", slapd.port)])
                .args([
                    "-D",
                    "cn=admin,dc=example,dc=org",
                    "-w",
                    "admin-7",
                    "uid=carol,ou=people,dc=example,dc=org",
                ]),
        );
        wait_for("the account to go", || {
            let list = String::from_utf8(succeed(&mut server.command(&["user", "list"]))).unwrap();
            assert!(list.contains("bob@example.org") && list.contains(USER), "{list}");
            (!list.contains("carol@example.org")).then_some(())
        });
        assert!(login(&server, "carol@example.org", "in-ldap-8").starts_with("-ERR [AUTH]"));

        // Nobody to ask: no password is wrong for that, and the accounts stay.
        drop(slapd);
        let answer = login(&server, USER, "in-ldap-7");
        assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
        wait_for("the failure to be told", || {
            server.log().contains("the accounts of LDAP stay as they are").then_some(())
        });
        let list = String::from_utf8(succeed(&mut server.command(&["user", "list"]))).unwrap();
        assert!(list.contains(USER), "{list}");
    }
}
