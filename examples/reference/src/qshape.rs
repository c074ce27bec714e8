//! How old the mail in the queue is, by domain.

use std::{collections::HashMap, fmt::Write};

use crate::queue::Entry;

/// How many buckets of age there are.
const BUCKETS: usize = 10;
/// How old, in minutes, mail in the first one is at most. Each next one is twice as wide.
const MINUTES: u64 = 5;
/// How wide the table is, and the column of domains at least.
const WIDTH: usize = 80;
const LEAST: usize = 18;

/// The table of Postfix's `qshape`: recipients' domains, or with `by_sender` those of the senders.
pub(crate) fn table(entries: &[Entry], by_sender: bool, now: u64) -> String {
    let mut rows: HashMap<String, [u64; BUCKETS + 1]> = HashMap::new();
    let mut total = [0; BUCKETS + 1];
    for entry in entries {
        let bucket = bucket(now.saturating_sub(entry.arrival));
        let waiting = entry.recipients.iter().filter(|recipient| recipient.state == "waiting");
        let names: Vec<&str> = match by_sender {
            true => vec![&entry.sender],
            false => waiting.map(|recipient| &*recipient.address).collect(),
        };
        for name in names {
            let row = rows.entry(domain(name)).or_default();
            for counts in [&mut total, row] {
                for place in [0, bucket] {
                    if let Some(count) = counts.get_mut(place) {
                        *count += 1;
                    }
                }
            }
        }
    }
    let mut rows: Vec<(String, [u64; BUCKETS + 1])> = rows.into_iter().collect();
    rows.sort_by(|(one, a), (other, b)| {
        b.first().cmp(&a.first()).then(one.len().cmp(&other.len())).then(one.cmp(other))
    });
    rows.insert(0, ("TOTAL".into(), total));
    print(&rows, &total)
}

fn bucket(age: u64) -> usize {
    let bucket = match age / (60 * MINUTES) {
        0 => 1,
        ticks => 2 + usize::try_from(ticks.ilog2()).unwrap_or(BUCKETS),
    };
    bucket.min(BUCKETS)
}

fn domain(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, domain)) => domain.to_lowercase(),
        None => "MAILER-DAEMON".into(),
    }
}

fn print(rows: &[(String, [u64; BUCKETS + 1])], total: &[u64; BUCKETS + 1]) -> String {
    let limits: Vec<u64> = (0..BUCKETS - 1).map(|number| MINUTES << number).collect();
    let mut heads = vec!["T".to_owned()];
    heads.extend(limits.iter().map(ToString::to_string));
    heads.push(format!("{}+", limits.last().copied().unwrap_or(MINUTES)));
    // As wide as its widest number, and at least two digits and a space.
    let widths: Vec<usize> = heads
        .iter()
        .zip(total)
        .map(|(head, count)| head.len().max(count.to_string().len()).max(2) + 1)
        .collect();
    let left = WIDTH.saturating_sub(widths.iter().sum()).max(LEAST);
    let mut text = format!("{:left$}", "");
    for (head, width) in heads.iter().zip(&widths) {
        let _ = write!(text, "{head:>width$}");
    }
    text.push('\n');
    for (domain, counts) in rows {
        let cut = domain.char_indices().nth_back(left.saturating_sub(2)).map(|(at, _)| at);
        let name = match cut.filter(|_| domain.chars().count() > left) {
            Some(at) => format!("+{}", domain.get(at..).unwrap_or(domain)),
            None => domain.clone(),
        };
        let _ = write!(text, "{name:>left$}");
        for (count, width) in counts.iter().zip(&widths) {
            let _ = write!(text, "{count:>width$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of one recipient each, so many with each of these ages in minutes.
    fn entries(to: &str, ages: &[(u64, u64)], now: u64) -> Vec<Entry> {
        let make = |age: u64| {
            serde_json::from_value(serde_json::json!({
                "id": "1", "number": 1, "size": 1, "arrival": now - age * 60, "sender": "bulk@ours.example",
                "recipients": [{ "address": to, "state": "waiting", "last_error": null }],
                "destination": "x", "attempts": 1, "next_try": 1, "last_error": null, "held": false, "message_id": null,
            }))
            .unwrap()
        };
        ages.iter().flat_map(|(age, count)| (0..*count).map(move |_| *age)).map(make).collect()
    }

    #[test]
    fn the_table_of_the_manual() {
        let now = 1_700_000_000;
        let ages = [(7, 3), (15, 1), (50, 2), (100, 2), (200, 7), (400, 20), (900, 43), (2_000, 199)];
        let mut all = entries("a@b.example", &ages, now);
        all.extend(entries("a@gmail.com", &[(3_000, 12)], now));
        let lines: Vec<String> = table(&all, false, now).lines().map(str::to_owned).collect();
        let squeezed = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&lines[0]), "T 5 10 20 40 80 160 320 640 1280 1280+");
        assert_eq!(squeezed(&lines[1]), "TOTAL 289 0 3 1 0 2 2 7 20 43 211");
        assert_eq!(squeezed(&lines[2]), "b.example 277 0 3 1 0 2 2 7 20 43 199");
        assert_eq!(squeezed(&lines[3]), "gmail.com 12 0 0 0 0 0 0 0 0 0 12");
        assert!(lines.iter().all(|line| line.len() == 80), "{lines:#?}");
        assert_eq!(lines[3], format!("{:>38}  12  0  0  0  0  0   0   0   0    0    12", "gmail.com"));
        let by_sender = table(&all, true, now);
        assert!(by_sender.lines().nth(2).unwrap().trim_start().starts_with("ours.example 289"));
    }

    #[test]
    fn long_domains_lose_their_front() {
        let long = format!("a@{}.example", "x".repeat(60));
        let text = table(&entries(&long, &[(1, 1)], 1_700_000_000), false, 1_700_000_000);
        let row = text.lines().nth(2).unwrap();
        assert!(row.starts_with("+xx") && row.len() == 80, "{row}");
    }

    #[test]
    fn buckets_double() {
        let minutes = |minutes: u64| bucket(minutes * 60);
        for (age, expected) in
            [(0, 1), (4, 1), (5, 2), (9, 2), (10, 3), (19, 3), (20, 4), (1_279, 9), (1_280, 10), (9_999, 10)]
        {
            assert_eq!(minutes(age), expected, "{age}");
        }
    }
}
