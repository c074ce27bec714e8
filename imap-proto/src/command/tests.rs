//! Every command, written and read again.

use mailwright_line_proto::Secret;
use mailwright_mail_model::{DateTime, Flag, FlagSet, MailboxName, UidSet};
use proptest::prelude::*;

use super::*;
use crate::{grammar::LiteralMode, sequence::tests::message_sets};

fn mailboxes() -> impl Strategy<Value = MailboxName> {
    "[a-zA-Z&äЖ \"\\\\]{1,6}(/[a-z0-9]{1,4}){0,2}"
        .prop_filter_map("a mailbox name", |name| MailboxName::new(&name).ok())
}

fn flags() -> impl Strategy<Value = FlagSet> {
    prop::sample::subsequence(vec!["\\Seen", "\\Deleted", "\\Draft", "$Junk", "work"], 0..5)
        .prop_map(|names| names.iter().map(|name| name.parse::<Flag>().unwrap()).collect())
}

fn secrets() -> impl Strategy<Value = Secret> {
    prop::collection::vec(any::<u8>(), 0..20).prop_map(|octets| Secret::from(&octets[..]))
}

fn filter_scripts() -> impl Strategy<Value = FilterScript> {
    prop_oneof![
        Just(FilterScript::Delivery),
        ".{1,9}".prop_map(FilterScript::Personal),
        "[a-z ]{1,9}".prop_map(FilterScript::Global),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|text| FilterScript::Text(text.into())),
    ]
}

fn dates() -> impl Strategy<Value = DateTime> {
    (0_i64..4_000_000_000, -700_i16..700).prop_map(|(seconds, zone)| DateTime::new(seconds, zone).unwrap())
}

fn outside_a_mailbox() -> impl Strategy<Value = Command> {
    let plain = vec![
        Command::Capability,
        Command::Noop,
        Command::Logout,
        Command::StartTls,
        Command::Namespace,
        Command::Idle,
        Command::Check,
        Command::Close,
        Command::Unselect,
    ];
    let fields = prop::collection::vec(("[a-z-]{1,9}", prop::option::of(".{0,9}")), 0..4);
    let items = prop::sample::subsequence(StatusItem::ALL.to_vec(), 1..=5);
    prop_oneof![
        prop::sample::select(plain),
        ("[A-Z0-9-]{1,9}", prop::option::of(secrets()))
            .prop_map(|(mechanism, response)| Command::Authenticate(Authenticate::new(mechanism, response))),
        (".{0,9}", secrets()).prop_map(|(user, password)| Command::Login(Login::new(user, password))),
        fields.prop_map(|fields| Command::Id(Id { fields })),
        prop::collection::vec("[A-Z0-9=]{1,9}", 1..4).prop_map(|names| Command::Enable(Enable::new(names))),
        (mailboxes(), any::<bool>())
            .prop_map(|(name, read_only)| Command::Select(Select::new(name, read_only))),
        mailboxes().prop_map(|name| Command::Create(Create::new(name))),
        mailboxes().prop_map(|name| Command::Delete(Delete::new(name))),
        (mailboxes(), mailboxes()).prop_map(|(from, to)| Command::Rename(Rename::new(from, to))),
        mailboxes().prop_map(|name| Command::Subscribe(Subscribe::new(name))),
        mailboxes().prop_map(|name| Command::Unsubscribe(Unsubscribe::new(name))),
        ("[a-zé&/]{0,5}", "[a-zé&/*%]{0,5}")
            .prop_map(|(reference, pattern)| Command::List(List::new(reference, pattern))),
        "[a-z/*%\"]{0,5}".prop_map(|pattern| Command::Lsub(Lsub::new(List::new("", pattern)))),
        (mailboxes(), items).prop_map(|(name, items)| Command::Status(Status::new(name, items))),
        (mailboxes(), flags(), prop::option::of(dates()), any::<u32>()).prop_map(
            |(mailbox, flags, internal_date, size)| {
                Command::Append(Append { flags, internal_date, ..Append::new(mailbox, size.into()) })
            }
        ),
    ]
}

fn inside_a_mailbox() -> impl Strategy<Value = Command> {
    let operation =
        prop::sample::select(vec![StoreOperation::Replace, StoreOperation::Add, StoreOperation::Remove]);
    prop_oneof![
        prop::option::of(message_sets()).prop_map(|set| {
            let messages = set.map(|set| MessageSet::Uid(set.set().clone()));
            Command::Expunge(Expunge::new(messages))
        }),
        (search::tests::queries(), any::<bool>())
            .prop_map(|(query, by_uid)| Command::Search(Search { by_uid, ..Search::new(query) })),
        (filter_scripts(), search::tests::queries(), any::<bool>()).prop_map(|(script, query, by_uid)| {
            Command::ApplyFilter(ApplyFilter { by_uid, ..ApplyFilter::new(script, query) })
        }),
        (message_sets(), prop::collection::vec(fetch::tests::items(), 1..5))
            .prop_map(|(messages, items)| Command::Fetch(Fetch::new(messages, items))),
        (message_sets(), operation, flags(), any::<bool>()).prop_map(
            |(messages, operation, flags, silent)| {
                Command::Store(Store { silent, ..Store::new(messages, operation, flags) })
            }
        ),
        (message_sets(), mailboxes()).prop_map(|(messages, to)| Command::Copy(Copy::new(messages, to))),
        (message_sets(), mailboxes()).prop_map(|(messages, to)| Command::Move(Move::new(messages, to))),
    ]
}

use crate::MessageSet;

proptest! {
    #[test]
    fn every_command_is_read_as_it_was_written(
        command in prop_oneof![outside_a_mailbox(), inside_a_mailbox()],
        mode in prop::sample::select(vec![LiteralMode::Synchronizing, LiteralMode::Minus, LiteralMode::Plus]),
    ) {
        let messages: UidSet = "1:100".parse().unwrap();
        let mut wire = CommandWriter::new(mode);
        command.encode(&mut wire);
        // What is left over from the last line's CRLF belongs to the message.
        let octets = match &command {
            Command::Append(_) => wire.as_slice().strip_suffix(b"\r\n").unwrap(),
            _ => wire.as_slice(),
        };
        let read = Command::parse(&mut Input::new(octets), SearchContext::new(&messages, &messages));
        prop_assert_eq!(read.unwrap(), command);
    }

    #[test]
    fn no_input_is_too_odd_to_be_refused(octets in prop::collection::vec(any::<u8>(), 0..60), row in any::<prop::sample::Index>()) {
        let name = row.get(&TABLE).name;
        let _ = Command::parse(&mut Input::new(&[name.as_bytes(), b" ", &octets].concat()), SearchContext::default());
    }
}

#[test]
fn names_are_found_in_any_case_and_nothing_else_is() {
    for spec in &TABLE {
        for name in [spec.name.to_owned(), spec.name.to_lowercase()] {
            assert_eq!(Spec::find(&mut Input::new(name.as_bytes())).unwrap().name, spec.name);
        }
    }
    for bad in ["", "UID", "UID ", "UID NOOP", "FETCHES", "UIDFETCH 1", "LOCALDELETE INBOX", " NOOP"] {
        assert!(Spec::find(&mut Input::new(bad.as_bytes())).is_err(), "{bad:?}");
    }
}
