//! IMAP servers that are asked for one message and give something else, or something else besides.

use std::sync::Arc;

use mailwright::{
    client::{ClientError, Endpoint, ImapClient, Security},
    imap_proto::{
        client::Config,
        command::{BodySection, FetchItem, Partial, Section, StatusItem},
    },
    mail_model::{MailboxName, Uid, UidSet, query::Query},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

/// A client of a server that says this to UID FETCH, and to whatever else asks for something.
async fn client(answer: &'static str) -> ImapClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (read, mut write) = listener.accept().await.unwrap().0.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"* OK [CAPABILITY IMAP4rev1] hello\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            let (tag, command) = line.split_once(' ').unwrap();
            let said = match command.split(' ').next().unwrap() {
                "SELECT" => "* 3 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT 8] x\r\n",
                "UID" | "LIST" | "STATUS" => answer,
                _ => "",
            };
            write.write_all(format!("{said}{tag} OK done\r\n").as_bytes()).await.unwrap();
        }
    });
    let endpoint = Endpoint::new("imap.example.com", address.port(), Security::Plain).at(address);
    let mut config = Config::default();
    config.allow_plaintext_auth = true;
    let mut client = ImapClient::connect(&endpoint, Arc::new(config)).await.unwrap();
    client.login("ann", &"pass".into()).await.unwrap();
    client.select(MailboxName::inbox()).await.unwrap();
    client
}

/// What comes of a section of the message with UID 5.
async fn section(answer: &'static str, section: BodySection) -> (Result<Option<u64>, ClientError>, String) {
    let (mut client, mut sink) = (client(answer).await, Vec::new());
    let outcome = client.section(Uid::new(5).unwrap(), section, &mut sink).await;
    // Whatever it was, the session goes on.
    client.noop().await.unwrap();
    (outcome, String::from_utf8(sink).unwrap())
}

async fn message(answer: &'static str) -> (Result<Option<u64>, ClientError>, String) {
    section(answer, BodySection::peek(Section::default())).await
}

#[tokio::test]
async fn what_comes_of_a_message_is_that_message_once() {
    for answer in [
        "* 2 FETCH (UID 5 BODY[] {3}\r\ntwo)\r\n",
        "* 2 FETCH (BODY[] {3}\r\ntwo UID 5)\r\n",
        // RFC 3501 §6.4.8 asks for the UID; those that leave it out are believed.
        "* 2 FETCH (BODY[] \"two\")\r\n",
        "* 2 FETCH (UID 5 BODY[] {3}\r\ntwo)\r\n* 2 FETCH (UID 5 BODY[] {3}\r\ntwo)\r\n",
        "* 2 FETCH (UID 5 BODY[] {3}\r\ntwo BODY[] {3}\r\ntwo)\r\n",
        "* 1 FETCH (UID 4 BODY[] {3}\r\none)\r\n* 2 FETCH (UID 5 BODY[] {3}\r\ntwo)\r\n",
        "* 2 FETCH (UID 5 BODY[] {3}\r\ntwo)\r\n* 1 FETCH (UID 4 BODY[] {3}\r\none)\r\n",
        "* 2 FETCH (UID 5 BODY[] {3}\r\ntwo)\r\n* 1 FETCH (FLAGS (\\Seen) UID 4)\r\n",
        "* 2 FETCH (UID 5 BODY[HEADER] {3}\r\none BODY[] {3}\r\ntwo)\r\n",
        "* 2 FETCH (UID 5 BODY[] NIL)\r\n* 2 FETCH (UID 5 BODY[] {3}\r\ntwo)\r\n",
        // What is unreadable beside it is none of it.
        "* 1 FETCH (UID 4 FLAGS NIL)\r\n* 2 FETCH (UID 5 BODY[] {3}\r\ntwo)\r\n",
        "* 2 FETCH (UID 5 BODY[] {3}\r\ntwo)\r\n* 2 FETCH (UID 5 FLAGS NIL)\r\n",
    ] {
        let (outcome, text) = message(answer).await;
        assert_eq!((outcome.unwrap(), text.as_str()), (Some(3), "two"), "{answer:?}");
    }
}

#[tokio::test]
async fn nothing_else_is_taken_for_it() {
    for answer in [
        "",
        "* 2 FETCH (UID 5 FLAGS ())\r\n",
        "* 2 FETCH (UID 5 BODY[] NIL)\r\n",
        "* 1 FETCH (UID 4 FLAGS NIL)\r\n",
        "* LIST x\r\n",
    ] {
        let (outcome, text) = message(answer).await;
        assert_eq!((outcome.unwrap(), text.as_str()), (None, ""), "{answer:?}");
    }
    for answer in [
        "* 1 FETCH (UID 4 BODY[] {3}\r\none)\r\n",
        "* 1 FETCH (BODY[] {3}\r\none UID 4)\r\n",
        "* 1 FETCH (UID 5 BODY[] {3}\r\none UID 4)\r\n",
        "* 1 FETCH (UID 5 BODY[] {3}\r\none UID 4 UID 5)\r\n",
        "* 1 FETCH (UID 4 BODY[] {3}\r\none UID 5)\r\n",
    ] {
        let (outcome, _) = message(answer).await;
        assert!(matches!(outcome, Err(ClientError::AnotherMessage)), "{answer:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_part_begins_where_it_was_asked_for() {
    let mut from_three = BodySection::peek(Section::default());
    from_three.partial = Some(Partial::new(3, 3));
    for (answer, expected) in [
        ("* 2 FETCH (UID 5 BODY[]<3> {3}\r\ntwo)\r\n", Some(3)),
        // From servers that know no parts.
        ("* 2 FETCH (UID 5 BODY[] {6}\r\nonetwo)\r\n", None),
    ] {
        let (outcome, text) = section(answer, from_three.clone()).await;
        assert_eq!((outcome.unwrap(), text.len() as u64), (expected, expected.unwrap_or(0)), "{answer:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_neither_no_message_nor_a_whole_one() {
    for answer in [
        "* 2 FETCH (UID 5 FLAGS NIL BODY[] {3}\r\ntwo)\r\n",
        "* 2 FETCH (UID 5 BODY[] {3}\r\ntwo FLAGS NIL)\r\n",
        "* 2 FETCH (BODY[] {3}\r\ntwo FLAGS NIL)\r\n",
        // A length that is wrong.
        "* 2 FETCH (UID 5 BODY[] {2}\r\ntwo)\r\n",
        "* 2 FETCH (FLAGS NIL)\r\n",
        "* 2 FETCH (UID 5 FLAGS NIL)\r\n* 1 FETCH (UID 4 BODY[] {3}\r\none)\r\n",
    ] {
        let (outcome, _) = message(answer).await;
        assert!(matches!(outcome, Err(ClientError::Unreadable(_))), "{answer:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_not_a_short_one() {
    let is_unreadable = |outcome: Result<usize, ClientError>| {
        assert!(matches!(outcome, Err(ClientError::Unreadable(_))), "{outcome:?}");
    };
    let mut asked = client("* SEARCH 4\r\n* SEARCH 5 x\r\n").await;
    is_unreadable(asked.search(Query::all()).await.map(|found| found.len()));
    let mut asked = client("* LIST () \"/\" a\r\n* LIST b\r\n").await;
    is_unreadable(asked.list("*").await.map(|found| found.len()));
    let mut asked = client("* STATUS INBOX (MESSAGES -1)\r\n").await;
    is_unreadable(
        asked.status(MailboxName::inbox(), [StatusItem::Messages]).await.map(|told| told.iter().len()),
    );
    let both: UidSet = "4:5".parse().unwrap();
    let mut asked = client("* 1 FETCH (UID 4 FLAGS ())\r\n* 2 FETCH (UID 5 FLAGS NIL)\r\n").await;
    is_unreadable(asked.items(both.clone(), [FetchItem::Flags]).await.map(|found| found.len()));
    assert_eq!(asked.readable_items(both, [FetchItem::Flags]).await.unwrap().len(), 1);
    // The session goes on, and what is no part of the answer does not matter.
    let mut asked = client("* SEARCH 4 5\r\n* XODD (\r\n* STATUS x\r\n").await;
    assert_eq!(asked.search(Query::all()).await.unwrap().len(), 2);
}
