use proptest::prelude::*;

use super::*;

fn date(number: u32) -> DateTime {
    DateTime::new(i64::from(number) * 60, 0).unwrap()
}

fn threads(algorithm: ThreadAlgorithm, headers: &[&str]) -> String {
    let mut threader = Threader::new(algorithm);
    for (index, header) in headers.iter().enumerate() {
        let number = index as u32 + 1;
        let header = header.replace('|', "\r\n");
        threader.add(Uid::new(number).unwrap(), date(number), format!("{header}\r\n\r\n").as_bytes());
    }
    shown(&threader.finish())
}

/// `1>2>3,4` are a chain of three, and a fourth that hangs from nothing.
fn shown(threads: &Threads) -> String {
    let mut text = String::new();
    for node in threads.nodes() {
        if !text.is_empty() {
            text.push(' ');
        }
        text += &">".repeat(node.depth as usize);
        text += &node.message.map_or_else(|| "-".to_owned(), |uid| uid.to_string());
    }
    text
}

#[test]
fn references_make_trees() {
    let answers = |headers: &[&str]| threads(ThreadAlgorithm::Refs, headers);
    assert_eq!(
        answers(&["Message-ID: <a@x>", "Message-ID: <b@x>|References: <a@x>", "References: <a@x> <b@x>"]),
        "1 >2 >>3"
    );
    // The answer before what it answers; and by In-Reply-To.
    assert_eq!(answers(&["Message-ID: <b@x>|In-Reply-To: <a@x>", "Message-ID: <a@x>"]), "2 >1");
    // What is missing: with one answer it is nothing, with two it has a place.
    assert_eq!(answers(&["References: <a@x>"]), "1");
    assert_eq!(answers(&["References: <a@x>", "References: <a@x>"]), "- >1 >2");
    // Missing in the middle.
    assert_eq!(
        answers(&["Message-ID: <a@x>", "References: <a@x> <b@x>", "References: <a@x> <b@x>"]),
        "1 >2 >3"
    );
    // Rings are not closed.
    assert_eq!(
        answers(&["Message-ID: <a@x>|References: <b@x>", "Message-ID: <b@x>|References: <a@x>"]),
        "2 >1"
    );
    assert_eq!(answers(&["Message-ID: <a@x>|References: <a@x>"]), "1");
    // Twice the same identifier.
    assert_eq!(answers(&["Message-ID: <a@x>", "Message-ID: <a@x>", "References: <a@x>"]), "2 1 >3");
    // What a message says of itself counts: the third answers nothing.
    assert_eq!(answers(&["Message-ID: <a@x>", "References: <a@x> <b@x>", "Message-ID: <b@x>"]), "1 3 >2");
    // The newest message makes the thread new.
    assert_eq!(answers(&["Message-ID: <a@x>", "Message-ID: <b@x>", "References: <a@x>"]), "2 1 >3");
}

#[test]
fn subjects_gather_what_is_left() {
    let gathered = |headers: &[&str]| threads(ThreadAlgorithm::References, headers);
    assert_eq!(gathered(&["Subject: tea", "Subject: Re: tea", "Subject: RE: Tea"]), "1 >2 >3");
    assert_eq!(gathered(&["Subject: Re: tea", "Subject: tea"]), "2 >1");
    assert_eq!(gathered(&["Subject: tea", "Subject: tea"]), "- >1 >2");
    assert_eq!(gathered(&["Subject: Re: tea", "Subject: Re: tea", "Subject: Re: tea"]), "- >1 >2 >3");
    assert_eq!(gathered(&["Subject: ", "Subject: Re:", ""]), "1 2 3");
    // A place without a message takes in others.
    assert_eq!(
        gathered(&[
            "Subject: tea",
            "Subject: Re: tea|References: <a@x>",
            "Subject: Re: tea|References: <a@x>"
        ]),
        "- >1 >2 >3"
    );
    // The date that was sent counts, not when it came.
    assert_eq!(
        gathered(&[
            "Subject: tea|Date: Fri, 21 Nov 2025 10:00:00 +0000",
            "Subject: Re: tea",
            "Subject: coffee"
        ]),
        "3 1 >2"
    );
}

#[test]
fn subjects_alone() {
    let ordered = |headers: &[&str]| threads(ThreadAlgorithm::OrderedSubject, headers);
    assert_eq!(
        ordered(&["Subject: tea", "Subject: coffee", "Subject: Re: TEA", "Subject: Fwd: tea"]),
        "1 >3 >4 2"
    );
    assert_eq!(ordered(&[]), "");
}

#[test]
fn places_without_a_level_above_are_mended() {
    let node = |depth| ThreadNode { depth, message: None };
    let threads = Threads::new([3, 5, 1, 0].map(node).to_vec());
    assert_eq!(threads.nodes().iter().map(|node| node.depth).collect::<Vec<_>>(), [0, 1, 1, 0]);
}

#[test]
fn hostile_chains_take_their_time_and_no_more() {
    // Each refers to all before it, the last of them first, and ends at itself.
    let mut threader = Threader::new(ThreadAlgorithm::References);
    for number in 1..=3_000_u32 {
        let ids: String =
            (1..=200).map(|back| format!("<{}@x> ", (number * 7919 + back * 104_729) % 3_000)).collect();
        let header = format!("Message-ID: <{}@x>\r\nReferences: {ids}\r\n", number % 3_000);
        threader.add(Uid::new(number).unwrap(), date(number), header.as_bytes());
    }
    assert!(threader.finish().nodes().len() >= 3_000);
    let mut threader = Threader::new(ThreadAlgorithm::References);
    for number in 1..=100_000_u32 {
        let header = format!("Message-ID: <{number}@x>\r\nReferences: <{}@x>\r\nSubject: x\r\n", number - 1);
        threader.add(Uid::new(number).unwrap(), date(number), header.as_bytes());
    }
    assert_eq!(threader.finish().nodes().last().map(|node| node.depth), Some(99_999));
}

proptest! {
    #[test]
    fn every_message_has_one_place(
        messages in prop::collection::vec((0_u8..12, prop::collection::vec(0_u8..12, 0..4), 0_u8..4), 0..30),
        algorithm in prop::sample::select(&ThreadAlgorithm::ALL[..]),
    ) {
        let headers: Vec<String> = messages.iter().map(|(id, references, subject)| {
            let references: String = references.iter().map(|id| format!("<{id}@x> ")).collect();
            format!("Message-ID: <{id}@x>|References: {references}|Subject: {} {subject}", if subject % 2 == 0 { "Re:" } else { "" })
        }).collect();
        let mut threader = Threader::new(algorithm);
        for (index, header) in headers.iter().enumerate() {
            let number = index as u32 + 1;
            threader.add(Uid::new(number).unwrap(), date(100 - number), header.replace('|', "\r\n").as_bytes());
        }
        let threads = threader.finish();
        let mut found: Vec<u32> = threads.nodes().iter().filter_map(|node| node.message.map(Uid::get)).collect();
        found.sort_unstable();
        prop_assert_eq!(found, (1..=headers.len() as u32).collect::<Vec<_>>());
        // Only at the root a message may be missing, and only if several hang from there.
        for (index, node) in threads.nodes().iter().enumerate() {
            if node.message.is_none() {
                prop_assert_eq!(node.depth, 0);
                let below = threads.nodes()[index + 1..].iter().take_while(|node| node.depth > 0).filter(|node| node.depth == 1);
                prop_assert!(below.count() >= 2);
            }
        }
        prop_assert_eq!(Threads::new(threads.nodes().to_vec()), threads);
    }
}
