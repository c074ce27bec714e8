use super::*;

/// An alias file, and the forward files that accounts have.
struct Files(&'static [(&'static str, &'static str)]);

impl Includes for Files {
    fn include(&self, path: &str, identity: Option<Identity>) -> Result<Vec<Target>, String> {
        Ok(targets(&format!("{}@elsewhere.example", &path[1..]))).filter_by(identity)
    }

    fn forward(&self, account: &str) -> Result<Option<Forwarding>, String> {
        let found = self.0.iter().find(|(name, _)| *name == account);
        let read = |text: &str| crate::alias_file::forwards(text, &"d1.example".parse().unwrap());
        found
            .map(|(_, text)| read(text).map_err(|error| error.to_string()))
            .transpose()
            .map(|targets| targets.map(|targets| Forwarding::new(targets, Identity::new(7, 8))))
    }
}

trait FilterBy {
    fn filter_by(self, identity: Option<Identity>) -> Self;
}

impl FilterBy for Result<Vec<Target>, String> {
    fn filter_by(self, identity: Option<Identity>) -> Self {
        if identity.is_some_and(|identity| identity != Identity::new(7, 8)) {
            Err("whose?".into())
        } else {
            self
        }
    }
}

fn with_files(directory: &Directory, to: &str, files: &Files) -> String {
    let path = ForwardPath::Address(address(to));
    match directory.expand(&path, &Context::default(), files) {
        Err(refusal) => format!("{refusal:?}"),
        Ok(expansion) => {
            let here = expansion.deliveries.iter().map(|delivery| delivery.account.clone());
            let onward = expansion.onward.iter().map(|onward| format!("->{}", onward.to));
            let handed = expansion.handed.iter().map(|handed| format!("{} by {}", handed.target, handed.by));
            here.chain(onward).chain(handed).collect::<Vec<_>>().join(", ")
        }
    }
}

#[test]
fn the_aliases_of_a_file_go_first() {
    let mut directory = office();
    alias(&mut directory, "shadowed@d1.example", "bob@d1.example");
    let text = "root: alice\n\
        shadowed: carol@d2.example\n\
        alice: \\alice, log\n\
        bob: bob, /copies/bob\n\
        log: \"|logger -t mail\"\n\
        list: :include:/list\n\
        owner-list: alice\n\
        boss@d2.example: carol@d2.example\n\
        a: b\nb: a\n\
        nobody: /dev/null\n";
    let lines = crate::alias_file::aliases(text, &"d1.example".parse().unwrap()).unwrap().aliases;
    directory.set_alias_file(&lines, &["d1.example".parse().unwrap()]);
    let files = Files(&[]);
    for (to, expected) in [
        ("root@d1.example", "alice@d1.example, command::logger -t mail by log@d1.example"),
        ("ROOT@second.example", "alice@d1.example, command::logger -t mail by log@d1.example"),
        ("root@d2.example", "Unknown"),
        ("shadowed@d1.example", "carol@d2.example"),
        ("alice+x@d1.example", "alice@d1.example, command::logger -t mail by log@d1.example"),
        ("bob@d1.example", "bob@d1.example, file::/copies/bob by bob@d1.example"),
        ("list@d1.example", "->list@elsewhere.example"),
        ("boss@d2.example", "carol@d2.example"),
        ("a@d1.example", "Circle"),
        ("nobody@d1.example", "file::/dev/null by nobody@d1.example"),
    ] {
        assert_eq!(with_files(&directory, to, &files), expected, "{to}");
    }
    let to = ForwardPath::Address(address("list@d1.example"));
    let expansion = directory.expand(&to, &Context::default(), &files).unwrap();
    assert_eq!(expansion.onward[0].owner, Some(address("owner-list@d1.example")));
    assert!(directory.may_send_as("alice@d1.example", &address("root@d1.example")));
    assert!(!directory.may_send_as("bob@d1.example", &address("root@d1.example")));
    directory.set_alias_file(&[], &[]);
    assert_eq!(with_files(&directory, "shadowed@d1.example", &files), "bob@d1.example");
}

#[test]
fn forward_files_stand_in_for_the_mailbox() {
    let mut directory = office();
    forward(&mut directory, "carol@d2.example", "x@elsewhere.example", true);
    for (file, expected) in [
        ("eve@elsewhere.example", "->eve@elsewhere.example"),
        ("\\alice, eve@elsewhere.example", "alice@d1.example, ->eve@elsewhere.example"),
        ("alice\neve@elsewhere.example", "alice@d1.example, ->eve@elsewhere.example"),
        ("# nothing\n", "alice@d1.example"),
        (
            "\"|vacation alice\", /home/alice/copy",
            "command:7.8:vacation alice by alice@d1.example, file:7.8:/home/alice/copy by alice@d1.example",
        ),
        (":include:/friends", "->friends@elsewhere.example"),
        ("bob", "bob@d1.example, alice@d1.example"),
        ("log", "command::logger by log@d1.example"),
        ("\"|x", "Unreadable(\"line 1: expected a closing quote\")"),
    ] {
        // What the users' files lead to has their rights; what the server's aliases lead to has its own.
        alias(&mut directory, "log@d1.example", "|logger");
        let files = Files(Vec::leak(vec![("alice@d1.example", file), ("bob@d1.example", "bob, alice")]));
        assert_eq!(with_files(&directory, "alice@d1.example", &files), expected, "{file}");
    }
    let files = Files(&[("carol@d2.example", "/copy")]);
    let expected = "carol@d2.example, ->x@elsewhere.example, file:7.8:/copy by carol@d2.example";
    assert_eq!(with_files(&directory, "carol@d2.example", &files), expected);
}
