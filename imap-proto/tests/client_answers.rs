//! What comes of calls, typed as they were asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "client_common/desk.rs"]
mod desk;

use desk::Desk;
use mailwright_imap_proto::{
    MessageSet, SequenceSet,
    client::{Event, Find, Noop},
    command::{
        Fetch, FetchItem, GetAcl, GetMetadata, GetQuotaRoot, List, ListRights, MyRights, Search,
        SearchReturn, SetQuota, Status, StatusItem,
    },
    response::Response,
};
use mailwright_mail_model::{MailboxName, Uid, query::Query};

/// Each request is answered by what belongs to it, whoever else talks in between.
#[test]
fn quotas_rights_annotations_and_searches_are_typed() {
    let mut desk = Desk::selected();
    let inbox = MailboxName::inbox;
    desk.client.call(GetQuotaRoot::new(inbox())).unwrap();
    desk.client.call(GetAcl::new(inbox())).unwrap();
    desk.client.call(ListRights::new(inbox(), "bob")).unwrap();
    desk.client.call(MyRights::new(inbox())).unwrap();
    desk.client.call(GetMetadata::new(Some(inbox()), ["/private/comment"])).unwrap();
    // It waits for the other question about quotas.
    desk.client.call(SetQuota::new("", vec![("STORAGE".to_owned(), 10)])).unwrap();
    let sent = desk.sent();
    assert!(sent.contains("GETQUOTAROOT INBOX\r\n") && !sent.contains("SETQUOTA"), "{sent}");
    let events = desk.hear(
        "* MYRIGHTS INBOX lr\r\n* LISTRIGHTS INBOX bob \"\" l r\r\n* ACL INBOX bob lr\r\n\
         * METADATA INBOX (/private/comment \"x\")\r\n* METADATA \"\" /shared/motd\r\n\
         * QUOTAROOT INBOX \"\"\r\n* QUOTA \"\" (STORAGE 1 10)\r\n\
         aaaa2 OK x\r\naaaa3 OK x\r\naaaa4 OK x\r\naaaa5 OK x\r\naaaa6 OK x\r\n",
    );
    let [
        Event::Unasked(Response::Annotations(changed)),
        Event::GetQuotaRoot(_, Ok(roots)),
        Event::GetAcl(_, Ok(acl)),
        Event::ListRights(_, Ok(rights)),
        Event::MyRights(_, Ok(own)),
        Event::GetMetadata(_, Ok(notes)),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert!(changed.names_only);
    assert_eq!((roots[0].resources[0].usage, roots[0].resources[0].limit), (1, 10));
    assert_eq!(acl, &[("bob".to_owned(), "lr".to_owned())]);
    assert_eq!((rights.optional.len(), own.as_str()), (2, "lr"));
    assert_eq!(notes[0].1.as_deref(), Some(&b"x"[..]));
    assert_eq!(desk.sent(), "aaaa7 SETQUOTA \"\" (STORAGE 10)\r\n");
    let events = desk.hear("aaaa7 NO [NOPERM] not you\r\n");
    assert!(matches!(&events[..], [Event::SetQuota(_, Err(_))]), "{events:?}");

    let mut search = Search::new(Query::all());
    search.returns = Some(SearchReturn::all());
    desk.client.call(Find(search.clone())).unwrap();
    let events = desk.hear(
        "* ESEARCH (TAG \"other\") UID ALL 7\r\n\
         * ESEARCH (TAG \"aaaa8\") UID MIN 2 MAX 9 COUNT 3 ALL 2,8:9 MODSEQ 77\r\naaaa8 OK x\r\n",
    );
    let [Event::Unasked(Response::Esearch(_)), Event::Find(_, Ok(found))] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((found.min, found.max, found.count), (Some(2), Some(9), Some(3)));
    // In the old form, and asked for in the old way.
    desk.client.call(Find(search)).unwrap();
    let events = desk.hear("* SEARCH 4 2\r\naaaa9 OK x\r\n");
    let [Event::Find(_, Ok(found))] = &events[..] else { panic!("{events:?}") };
    assert_eq!((found.min, found.max, found.count), (Some(2), Some(4), Some(2)));
    desk.client.call(Search::new(Query::all())).unwrap();
    let events = desk.hear("* ESEARCH (TAG \"aaaa10\") UID ALL 2:3\r\naaaa10 OK x\r\n");
    assert!(matches!(&events[..], [Event::Search(_, Ok(found))] if found == &[2, 3]), "{events:?}");
}

/// A mailbox with gaps has more ranges than any command may have.
#[test]
fn all_ranges_of_an_answer_count() {
    let mut desk = Desk::selected();
    let numbers: Vec<u32> = (1..=25_000).map(|number| 2 * number).collect();
    for order in [numbers.clone(), numbers.iter().rev().copied().collect()] {
        let listed = order.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let ticket = desk.client.call(Search::new(Query::all())).unwrap();
        let id = ticket.id();
        let events =
            desk.hear(&format!("* ESEARCH (TAG \"aaaa{id}\") UID ALL {listed}\r\naaaa{id} OK x\r\n"));
        let [Event::Search(answered, Ok(found))] = &events[..] else { panic!("{events:?}") };
        assert!(*answered == ticket && *found == numbers);
    }
}

/// What cannot be read and would have been part of an answer is told as that.
#[test]
fn it_is_known_whose_answer_lacks_something() {
    let mut desk = Desk::selected();
    let noop = desk.client.call(Noop).unwrap();
    let all = || MessageSet::Uid(SequenceSet::all());
    let fetch = desk.client.call(Fetch::new(all(), [FetchItem::Flags])).unwrap();
    let search = desk.client.call(Search::new(Query::all())).unwrap();
    let list = desk.client.call(List::new("", "*")).unwrap();
    let status = desk.client.call(Status::new(MailboxName::inbox(), [StatusItem::Messages])).unwrap();
    desk.hear("* 2 FETCH (UID 7 FLAGS ())\r\n");
    let mut of = |line: &str| {
        let events = desk.hear(&format!("{line}\r\n"));
        assert!(matches!(events[..], [Event::Skipped(_)]), "{line}: {events:?}");
        let skipped = desk.client.skipped();
        assert!(!skipped.is_of(noop));
        let calls = [skipped.is_of(fetch), skipped.is_of(search), skipped.is_of(list), skipped.is_of(status)];
        (calls.map(u8::from), skipped.uid.map(Uid::get))
    };
    assert_eq!(of("* 1 FETCH (UID 5 FLAGS NIL)"), ([1, 0, 0, 0], Some(5)));
    assert_eq!(of("* 2 FETCH (FLAGS NIL)"), ([1, 0, 0, 0], Some(7)));
    assert_eq!(of("* 3 fetch (FLAGS NIL UID 8)"), ([1, 0, 0, 0], None));
    assert_eq!(of("* 0 FETCH (UID 4 FLAGS ())"), ([1, 0, 0, 0], None));
    assert_eq!(of("* SEARCH 1 x"), ([0, 1, 0, 0], None));
    assert_eq!(of("* ESEARCH UID ALL 1,"), ([0, 1, 0, 0], None));
    assert_eq!(of("* LIST x"), ([0, 0, 1, 0], None));
    assert_eq!(of("* STATUS INBOX (MESSAGES x)"), ([0, 0, 0, 1], None));
    assert_eq!(of("* LSUB x"), ([0, 0, 0, 0], None));
    assert_eq!(of("* XODD"), ([0, 0, 0, 0], None));
    assert_eq!(of("* 0 EXPUNGE"), ([0, 0, 0, 0], None));
    // One of them is gone, and nobody knows which.
    assert_eq!(of("* 2 FETCH (FLAGS NIL)"), ([1, 0, 0, 0], None));
}

/// What NOTIFY tells of other mailboxes answers no question about this one (RFC 5465 §5.4).
#[test]
fn what_is_told_of_other_mailboxes_is_no_answer() {
    let mut desk = Desk::selected();
    desk.client.call(Status::new(MailboxName::inbox(), [StatusItem::Messages])).unwrap();
    let events = desk.hear(
        "* STATUS Other (MESSAGES 99)\r\n* STATUS inbox (MESSAGES 1)\r\n* STATUS Third (MESSAGES 98)\r\naaaa2 OK x\r\n",
    );
    let [
        Event::Unasked(Response::MailboxStatus(_)),
        Event::Unasked(Response::MailboxStatus(_)),
        Event::Status(_, Ok(Some(status))),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(status.messages, Some(1));
    desk.client.call(List::new("", "INBOX")).unwrap();
    let events = desk.hear("* LIST (\\NonExistent) \"/\" Two\r\n* LIST () \"/\" Inbox\r\naaaa3 OK x\r\n");
    let [Event::Unasked(Response::List(gone)), Event::List(_, Ok(listed))] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (&*gone.name.text(), listed.len(), listed[0].mailbox()),
        ("Two", 1, Some(&MailboxName::inbox()))
    );
}
