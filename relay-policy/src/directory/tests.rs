use mailwright_mail_model::ForwardPath;

use super::*;
use crate::delivery::Identity;

mod files;

fn address(text: &str) -> Address {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn targets(text: &str) -> Vec<Target> {
    text.split_whitespace().map(|target| target.parse().unwrap()).collect()
}

/// Two domains, one with a second name; accounts alice, bob and carol.
fn office() -> Directory {
    let mut directory = Directory::default();
    for domain in ["d1.example", "d2.example"] {
        directory.set_domain(&domain.parse().unwrap(), DomainEntry::default());
    }
    directory.set_domain_alias(&"second.example".parse().unwrap(), &"d1.example".parse().unwrap()).unwrap();
    for name in ["alice@d1.example", "bob@d1.example", "carol@d2.example"] {
        directory.set(&address(name), Entry::Account(Account::with_mailbox())).unwrap();
    }
    directory
}

fn alias(directory: &mut Directory, name: &str, to: &str) {
    directory.set(&address(name), Entry::Alias(Alias::to(targets(to)))).unwrap();
}

fn forward(directory: &mut Directory, name: &str, to: &str, keep: bool) {
    let account = Account { mailbox: true, forward: targets(to), keep, ..Account::default() };
    directory.set(&address(name), Entry::Account(account)).unwrap();
}

fn expand(directory: &Directory, to: &str) -> Result<Expansion, Refusal> {
    let path = if to == "postmaster" { ForwardPath::Postmaster } else { ForwardPath::Address(address(to)) };
    directory.expand(&path, &Context::default(), &NoIncludes)
}

/// Where mail goes, in words: mailboxes, then addresses elsewhere.
fn goes(directory: &Directory, to: &str) -> String {
    match expand(directory, to) {
        Err(refusal) => format!("{refusal:?}"),
        Ok(expansion) => {
            let here = expansion.deliveries.iter().map(|delivery| match &delivery.detail {
                Some(detail) => format!("{}[{detail}]", delivery.account),
                None => delivery.account.clone(),
            });
            let onward = expansion.onward.iter().map(|onward| format!("->{}", onward.to));
            let handed = expansion.handed.iter().map(|handed| handed.target.to_string());
            here.chain(onward).chain(handed).collect::<Vec<_>>().join(" ")
        }
    }
}

#[test]
fn an_account_is_found_however_its_address_is_written() {
    let directory = office();
    for written in ["alice@d1.example", "ALICE@D1.Example", "\"alice\"@d1.example", "alice@SECOND.example"] {
        assert_eq!(goes(&directory, written), "alice@d1.example", "{written}");
    }
    assert_eq!(goes(&directory, "nobody@d1.example"), "Unknown");
    assert_eq!(goes(&directory, "alice@d2.example"), "Unknown");
    let expansion = expand(&directory, "x@elsewhere.example").unwrap();
    assert_eq!(expansion.onward[0].reason, OnwardReason::Remote);
}

#[test]
fn domains_come_and_go_and_what_is_at_them_stays() {
    let mut directory = office();
    assert!(directory.remove_domain(&"d1.example".parse().unwrap()));
    // Ours no more: somebody else's, and a policy says whether one may send there.
    assert_eq!(goes(&directory, "alice@d1.example"), "->alice@d1.example");
    assert_eq!(goes(&directory, "alice@second.example"), "->alice@second.example");
    directory.set_domain(&"d1.example".parse().unwrap(), DomainEntry::default());
    assert_eq!(goes(&directory, "alice@d1.example"), "alice@d1.example");
    let error = directory.set(&address("x@d3.example"), Entry::Account(Account::default())).unwrap_err();
    assert_eq!(error, DirectoryError::NotOurs("d3.example".into()));
}

#[test]
fn a_domain_is_an_alias_or_a_domain() {
    let mut directory = office();
    let alias = |directory: &mut Directory, alias: &str, domain: &str| {
        directory.set_domain_alias(&alias.parse().unwrap(), &domain.parse().unwrap())
    };
    for (one, other) in [
        ("d1.example", "d1.example"),
        ("d2.example", "d1.example"),
        ("x.example", "second.example"),
        ("x.example", "y.example"),
    ] {
        assert!(alias(&mut directory, one, other).is_err(), "{one} {other}");
    }
    // An entry at the alias is the entry at the domain.
    directory.set(&address("dave@second.example"), Entry::Account(Account::with_mailbox())).unwrap();
    assert_eq!(goes(&directory, "dave@d1.example"), "dave@d1.example");
}

#[test]
fn several_names_of_one_account_are_one_delivery() {
    let mut directory = office();
    alias(
        &mut directory,
        "all@d1.example",
        "alice@d1.example a@d1.example ALICE@second.example \\alice@d1.example",
    );
    alias(&mut directory, "a@d1.example", "alice@d1.example");
    assert_eq!(goes(&directory, "all@d1.example"), "alice@d1.example");
}

#[test]
fn a_group_is_there_while_a_member_has_a_mailbox() {
    let mut directory = office();
    let group = Group::of([
        address("alice@d1.example"),
        address("carol@d2.example"),
        address("eve@elsewhere.example"),
    ]);
    directory.set(&address("team@d1.example"), Entry::Group(group)).unwrap();
    assert_eq!(
        goes(&directory, "team@d1.example"),
        "alice@d1.example carol@d2.example ->eve@elsewhere.example"
    );
    for name in ["alice@d1.example", "carol@d2.example"] {
        directory.remove(&address(name)).unwrap();
        directory.set(&address(name), Entry::Account(Account::default())).unwrap();
    }
    assert_eq!(goes(&directory, "team@d1.example"), "Unknown");
    directory.set(&address("alice@d1.example"), Entry::Account(Account::with_mailbox())).unwrap();
    assert_eq!(goes(&directory, "team@d1.example"), "alice@d1.example ->eve@elsewhere.example");
}

#[test]
fn a_group_can_share_one_message() {
    let mut directory = office();
    let mut group = Group::of([address("alice@d1.example"), address("bob@d1.example")]);
    group.delivery = GroupDelivery::SharedFolder;
    directory.set(&address("team@d1.example"), Entry::Group(group)).unwrap();
    let expansion = expand(&directory, "team@d1.example").unwrap();
    assert_eq!(expansion.deliveries.len(), 1);
    assert!(expansion.deliveries[0].shared);
    assert_eq!(expansion.deliveries[0].account, "team@d1.example");
}

#[test]
fn groups_within_groups_end() {
    let mut directory = office();
    let nested = |members: &[&str]| Entry::Group(Group::of(members.iter().map(|member| address(member))));
    directory.set(&address("a@d1.example"), nested(&["b@d1.example", "alice@d1.example"])).unwrap();
    directory.set(&address("b@d1.example"), nested(&["a@d1.example", "bob@d1.example"])).unwrap();
    assert_eq!(goes(&directory, "a@d1.example"), "alice@d1.example bob@d1.example");
    directory.set(&address("c@d1.example"), nested(&["c@d1.example"])).unwrap();
    assert_eq!(goes(&directory, "c@d1.example"), "Unknown");
}

#[test]
fn a_forward_goes_on_with_or_without_a_copy() {
    let mut directory = office();
    forward(&mut directory, "alice@d1.example", "eve@elsewhere.example", false);
    assert_eq!(goes(&directory, "alice@d1.example"), "->eve@elsewhere.example");
    forward(&mut directory, "alice@d1.example", "eve@elsewhere.example", true);
    let expansion = expand(&directory, "alice@d1.example").unwrap();
    assert_eq!(expansion.deliveries[0].account, "alice@d1.example");
    assert_eq!(expansion.onward[0].reason, OnwardReason::Forward("alice@d1.example".into()));
}

#[test]
fn a_circle_of_forwards_ends_and_loses_nothing() {
    let mut directory = office();
    forward(&mut directory, "alice@d1.example", "bob@d1.example", false);
    forward(&mut directory, "bob@d1.example", "alice@d1.example", false);
    assert_eq!(goes(&directory, "alice@d1.example"), "alice@d1.example");
    assert_eq!(goes(&directory, "bob@d1.example"), "bob@d1.example");
    forward(&mut directory, "alice@d1.example", "bob@d1.example", true);
    forward(&mut directory, "bob@d1.example", "alice@d1.example", true);
    assert_eq!(goes(&directory, "alice@d1.example"), "alice@d1.example bob@d1.example");
    // As in ~/.forward: naming oneself keeps a copy.
    forward(&mut directory, "bob@d1.example", "bob@d1.example eve@elsewhere.example", false);
    assert_eq!(goes(&directory, "bob@d1.example"), "bob@d1.example ->eve@elsewhere.example");
    // And aliases that name each other are nobody's.
    alias(&mut directory, "x@d1.example", "y@d1.example");
    alias(&mut directory, "y@d1.example", "x@d1.example");
    assert_eq!(goes(&directory, "x@d1.example"), "Circle");
}

#[test]
fn pseudonyms_are_in_all_domains_unless_a_domain_has_its_own() {
    let mut directory = office();
    directory.set_pseudonym("Info", Alias::to(targets("alice@d1.example")));
    alias(&mut directory, "goofy@d2.example", "carol@d2.example");
    for to in ["info@d1.example", "INFO@d2.example", "info@second.example"] {
        assert_eq!(goes(&directory, to), "alice@d1.example", "{to}");
    }
    assert_eq!(goes(&directory, "goofy@d1.example"), "Unknown");
    assert_eq!(goes(&directory, "goofy@d2.example"), "carol@d2.example");
    alias(&mut directory, "info@d2.example", "carol@d2.example");
    assert_eq!(goes(&directory, "info@d2.example"), "carol@d2.example");
}

#[test]
fn some_addresses_are_for_our_own_people() {
    let mut directory = office();
    let mut everyone = Group::of([address("alice@d1.example")]);
    everyone.local_only = true;
    directory.set(&address("everyone@d1.example"), Entry::Group(everyone)).unwrap();
    assert_eq!(goes(&directory, "everyone@d1.example"), "LocalOnly");
    let path = ForwardPath::Address(address("everyone@d1.example"));
    assert!(directory.expand(&path, &Context::new(true), &NoIncludes).is_ok());
    // Through an open alias strangers reach it: whoever made that alias wanted it so.
    alias(&mut directory, "open@d1.example", "everyone@d1.example");
    assert_eq!(goes(&directory, "open@d1.example"), "alice@d1.example");
}

#[test]
fn details_and_catch_alls() {
    let mut directory = office();
    assert_eq!(goes(&directory, "alice+Lists.Rust@d1.example"), "alice@d1.example[Lists.Rust]");
    assert_eq!(goes(&directory, "alice+@d1.example"), "alice@d1.example[]");
    assert_eq!(goes(&directory, "+x@d1.example"), "Unknown");
    let entry = DomainEntry { unknown: Some("bob@d1.example".parse().unwrap()), ..DomainEntry::default() };
    directory.set_domain(&"d1.example".parse().unwrap(), entry);
    assert_eq!(goes(&directory, "whoever@d1.example"), "bob@d1.example");
    assert_eq!(goes(&directory, "whoever@d2.example"), "Unknown");
    let mut other = Directory::new(Settings { separators: "-".into(), ..Settings::default() });
    other.set_domain(&"d1.example".parse().unwrap(), DomainEntry::default());
    other.set(&address("alice@d1.example"), Entry::Account(Account::with_mailbox())).unwrap();
    assert_eq!(goes(&other, "alice-x@d1.example"), "alice@d1.example[x]");
    assert_eq!(goes(&other, "alice+x@d1.example"), "Unknown");
}

#[test]
fn the_postmaster_is_always_there() {
    let mut directory = office();
    assert_eq!(goes(&directory, "postmaster"), "Unknown");
    directory.set_postmaster(Some(address("alice@d1.example")));
    for to in ["postmaster", "postmaster@d1.example", "Postmaster@D2.example", "postmaster@second.example"] {
        assert_eq!(goes(&directory, to), "alice@d1.example", "{to}");
    }
    let entry = DomainEntry { postmaster: Some(address("eve@elsewhere.example")), ..DomainEntry::default() };
    directory.set_domain(&"d2.example".parse().unwrap(), entry);
    assert_eq!(goes(&directory, "postmaster@d2.example"), "->eve@elsewhere.example");
    alias(&mut directory, "postmaster@d1.example", "bob@d1.example");
    assert_eq!(goes(&directory, "postmaster@d1.example"), "bob@d1.example");
    // One that names itself is nobody, and no circle.
    directory.set_postmaster(Some(address("postmaster@d2.example")));
    let entry = DomainEntry { postmaster: Some(address("postmaster@d2.example")), ..DomainEntry::default() };
    directory.set_domain(&"d2.example".parse().unwrap(), entry);
    assert_eq!(goes(&directory, "postmaster"), "Unknown");
}

#[test]
fn a_domain_in_relay_mode_takes_everybody_and_its_exceptions() {
    let mut directory = office();
    let entry = DomainEntry { mode: DomainMode::Relay, ..DomainEntry::default() };
    directory.set_domain(&"d2.example".parse().unwrap(), entry);
    let expansion = expand(&directory, "who@d2.example").unwrap();
    assert_eq!(expansion.onward[0].reason, OnwardReason::Relay);
    assert_eq!(goes(&directory, "carol@d2.example"), "carol@d2.example");
}

#[test]
fn a_domain_in_relay_mode_may_take_those_alone_that_are_listed() {
    let mut directory = office();
    let mut branch = DomainEntry { mode: DomainMode::Relay, ..DomainEntry::default() };
    branch.recipients = RelayRecipients::Listed;
    branch.unknown = "bob@d1.example".parse().ok();
    directory.set_domain(&"branch.example".parse().unwrap(), branch);
    alias(&mut directory, "bob@branch.example", "Bob@Branch.example");
    alias(&mut directory, "both@branch.example", "both@branch.example alice@d1.example");
    alias(&mut directory, "away@branch.example", "alice@d1.example");
    for (to, expected) in [
        ("bob@branch.example", "->bob@branch.example"),
        ("BOB+x@branch.example", "->BOB+x@branch.example"),
        ("both@branch.example", "alice@d1.example ->both@branch.example"),
        ("away@branch.example", "alice@d1.example"),
        ("eve@branch.example", "Unknown"),
    ] {
        assert_eq!(goes(&directory, to), expected, "{to}");
    }
    let found = expand(&directory, "both@branch.example").unwrap();
    assert_eq!(found.onward[0].reason, OnwardReason::Relay);
    // Where mail ends here, an alias of itself leads nowhere.
    alias(&mut directory, "self@d1.example", "self@d1.example");
    assert_eq!(goes(&directory, "self@d1.example"), "Circle");
}

#[test]
fn mail_for_what_cannot_be_read_is_tried_again() {
    let mut directory = office();
    directory.set_unreadable("lost@d1.example");
    alias(&mut directory, "team@d1.example", "alice@d1.example lost@d1.example");
    for to in ["lost@d1.example", "Lost+x@second.example", "team@d1.example"] {
        assert_eq!(goes(&directory, to), "Unreadable(\"lost@d1.example\")", "{to}");
    }
    alias(&mut directory, "lost@d1.example", "bob@d1.example");
    assert_eq!(goes(&directory, "team@d1.example"), "alice@d1.example bob@d1.example");
}

#[test]
fn trouble_with_a_journal_is_the_authors_or_the_postmasters() {
    let mut directory = office();
    directory.set_postmaster(Some(address("carol@d2.example")));
    for (own, expected) in [(None, "carol@d2.example"), (Some("bob@d1.example"), "bob@d1.example")] {
        let mut entry = DomainEntry { journal: Some(address("j@archive.example")), ..DomainEntry::default() };
        entry.postmaster = own.map(address);
        directory.set_domain(&"d1.example".parse().unwrap(), entry.clone());
        let sender = |directory: &Directory| {
            directory.copies(None, [&address("alice@d1.example")])[0].sender.as_ref().map(ToString::to_string)
        };
        assert_eq!(sender(&directory), None);
        entry.journal_reports = JournalReports::Postmaster;
        directory.set_domain(&"d1.example".parse().unwrap(), entry);
        assert_eq!(sender(&directory).as_deref(), Some(expected));
    }
}

#[test]
fn the_owner_of_a_list_hears_of_its_trouble() {
    let mut directory = office();
    alias(&mut directory, "list@d1.example", "alice@d1.example eve@elsewhere.example");
    alias(&mut directory, "owner-list@d1.example", "bob@d1.example");
    let expansion = expand(&directory, "list@d1.example").unwrap();
    assert_eq!(expansion.onward[0].owner, Some(address("owner-list@d1.example")));
    assert_eq!(expansion.deliveries[0].owner, Some(address("owner-list@d1.example")));
    assert_eq!(expand(&directory, "alice@d1.example").unwrap().deliveries[0].owner, None);
}

#[test]
fn the_sender_of_a_list_may_tell_who_failed() {
    let mut directory = office();
    directory.settings.verp = Some(Verp::default());
    alias(&mut directory, "list@d1.example", "eve@elsewhere.example joe@b.example alice@d1.example");
    alias(&mut directory, "owner-list@d1.example", "bob@d1.example");
    let expansion = expand(&directory, "list@d1.example").unwrap();
    let owners: Vec<_> =
        expansion.onward.iter().map(|onward| onward.owner.clone().unwrap().to_string()).collect();
    assert_eq!(
        owners,
        ["owner-list+eve=elsewhere.example@d1.example", "owner-list+joe=b.example@d1.example"]
    );
    // What comes back for one of them comes to the owner.
    assert_eq!(goes(&directory, &owners[0]), "bob@d1.example");
    alias(&mut directory, "team@d1.example", "eve@elsewhere.example");
    assert_eq!(expand(&directory, "team@d1.example").unwrap().onward[0].owner, None);
}

#[test]
fn lists_files_and_programs_are_each_named_once() {
    struct Files;
    impl Includes for Files {
        fn include(&self, path: &str, _: Option<Identity>) -> Result<Vec<Target>, String> {
            match path {
                "/list" => Ok((0..100_000)
                    .map(|n| Target::Address(address(&format!("u{n}@elsewhere.example"))))
                    .collect()),
                "/round" => Ok(targets(":include:/round alice@d1.example")),
                _ => Err("no such file".into()),
            }
        }
    }
    let mut directory = office();
    alias(&mut directory, "big@d1.example", ":include:/list :include:/list");
    alias(&mut directory, "round@d1.example", ":include:/round");
    alias(&mut directory, "lost@d1.example", ":include:/lost");
    let ask = |directory: &Directory, to: &str| {
        directory.expand(&ForwardPath::Address(address(to)), &Context::default(), &Files)
    };
    assert_eq!(ask(&directory, "big@d1.example").unwrap().onward.len(), 100_000);
    assert_eq!(ask(&directory, "round@d1.example").unwrap().deliveries.len(), 1);
    assert!(matches!(ask(&directory, "lost@d1.example"), Err(Refusal::Unreadable(_))));
    directory
        .set(
            &address("f@d1.example"),
            Entry::Alias(Alias {
                targets: ["/a", "/a", "|b c", "|b c"].map(|target| target.parse().unwrap()).to_vec(),
                local_only: false,
            }),
        )
        .unwrap();
    assert_eq!(goes(&directory, "f@d1.example"), "file::/a command::b c");
}

#[test]
fn there_is_an_end_to_depth_and_number() {
    let mut directory = office();
    for n in 0..60 {
        alias(&mut directory, &format!("n{n}@d1.example"), &format!("n{}@d1.example", n + 1));
    }
    alias(&mut directory, "n60@d1.example", "alice@d1.example");
    assert_eq!(goes(&directory, "n0@d1.example"), "TooDeep");
    assert_eq!(goes(&directory, "n20@d1.example"), "alice@d1.example");
    // n accounts that forward to all n: work is bounded by the entries, not by the ways through them.
    let mut mesh = Directory::new(Settings { most_targets: 5_000, ..Settings::default() });
    mesh.set_domain(&"d1.example".parse().unwrap(), DomainEntry::default());
    let all: Vec<String> = (0..60).map(|n| format!("m{n}@d1.example")).collect();
    for name in &all {
        forward(&mut mesh, name, &all.join(" "), false);
    }
    let expansion = expand(&mesh, "m0@d1.example");
    assert!(matches!(expansion, Ok(_) | Err(Refusal::TooMany)), "{expansion:?}");
}

#[test]
fn what_nobody_has_is_left_out_and_told() {
    let mut directory = office();
    alias(&mut directory, "half@d1.example", "alice@d1.example gone@d1.example");
    let expansion = expand(&directory, "half@d1.example").unwrap();
    assert_eq!(expansion.dangling, [address("gone@d1.example")]);
    assert_eq!(expansion.deliveries.len(), 1);
    alias(&mut directory, "none@d1.example", "gone@d1.example");
    assert_eq!(goes(&directory, "none@d1.example"), "Unknown");
    let reply = expand(&directory, "none@d1.example").unwrap_err().reply("none@d1.example").to_string();
    assert!(reply.starts_with("550 5.1.1 "), "{reply}");
}

#[test]
fn journals_and_blind_copies_are_made_once() {
    let mut directory = office();
    let d1 = DomainEntry {
        journal: Some(address("journal@d1.example")),
        bcc: Some(address("bcc@d1.example")),
        ..DomainEntry::default()
    };
    directory.set_domain(&"d1.example".parse().unwrap(), d1);
    let copies = |sender: Option<&str>, recipients: &[&str]| {
        let sender = sender.map(address);
        let recipients: Vec<Address> = recipients.iter().map(|text| address(text)).collect();
        let copies = directory.copies(sender.as_ref(), &recipients);
        copies.iter().map(|copy| format!("{:?} {}", copy.reason, copy.to)).collect::<Vec<_>>().join(", ")
    };
    let both = "Journal journal@d1.example, Bcc bcc@d1.example";
    assert_eq!(copies(Some("alice@d1.example"), &["bob@d1.example", "alice@second.example"]), both);
    assert_eq!(copies(Some("alice@d1.example"), &["eve@elsewhere.example"]), "Journal journal@d1.example");
    assert_eq!(copies(None, &["alice@d1.example"]), both);
    assert_eq!(copies(None, &["carol@d2.example"]), "");
    assert_eq!(copies(None, &["alice@d1.example", "JOURNAL@d1.example"]), "Bcc bcc@d1.example");
    directory.set_bcc(Some(address("all@d2.example")));
    let copies = directory.copies(None, [&address("carol@d2.example")]);
    assert_eq!(copies.len(), 1);
    assert_eq!(copies[0].reason, CopyReason::Bcc);
}

#[test]
fn an_address_is_one_thing() {
    let mut directory = office();
    let error = directory.set(&address("alice@d1.example"), Entry::Alias(Alias::default())).unwrap_err();
    assert_eq!(error.to_string(), "alice@d1.example is an account already");
    let proposed: Vec<String> =
        directory.proposed("donald.duck").map(|address| address.to_string()).collect();
    assert_eq!(proposed, ["donald.duck@d1.example", "donald.duck@d2.example"]);
}
