//! The queue commands, and how their answers look.

use mailwright::mail_model::DateTime;
use serde_json::json;

use super::{Change, Entry, QueueRequest, QueueResponse, Selection, unix_time};
use crate::{
    admin::{Request, Response},
    cli::{Changed, QueueCommand, SuppressCommand, Which},
    command::{CommandError, print_json, request},
    config::Config,
};

/// Has everything that waits tried again now.
pub(crate) fn flush(config: &Config) -> Result<(), CommandError> {
    let selection = Selection::default();
    let (change, dry_run, told) = (Change::Retry, false, false);
    ask(config, QueueRequest::Change { selection, change, dry_run, told }).map(drop)
}

/// Does it, and prints what came of it.
pub(crate) fn run(config: &Config, command: QueueCommand) -> Result<(), CommandError> {
    match command {
        QueueCommand::List { which, json } => {
            for entry in entries(config, selection(which, true)?)? {
                if json {
                    print_json(&entry)?;
                } else {
                    print!("{}", described(&entry));
                }
            }
            Ok(())
        }
        QueueCommand::Show { id, json } => {
            if let QueueResponse::Message { entries, text, own_listing } =
                ask(config, QueueRequest::Show { id })?
            {
                if json {
                    let own = own_listing;
                    return print_json(&json!({ "entries": entries, "message": text, "own_listing": own }));
                }
                if let Some(listing) = own_listing {
                    println!("{listing}: relay.fallback gets what would go to mail exchangers");
                }
                let shown: String = entries.iter().map(described).collect();
                print!("{shown}\n{text}");
            }
            Ok(())
        }
        QueueCommand::Retry { which } => change(config, which, Change::Retry, "tried again"),
        QueueCommand::Delete { which } => change(config, which, Change::Delete, "deleted"),
        QueueCommand::Hold { which } => change(config, which, Change::Hold, "held"),
        QueueCommand::Release { which } => change(config, which, Change::Release, "released"),
        QueueCommand::Expire { which, after } => {
            let done = if after.is_never() { "given up when that is configured" } else { "given up then" };
            change(config, which, Change::expire_after(after), done)
        }
        QueueCommand::Reroute { which, via } => {
            let rerouted =
                Change::reroute_via(&via).map_err(|problem| CommandError::Refused(format!("--{problem}")))?;
            change(config, which, rerouted, "rerouted")
        }
        QueueCommand::Suppress(SuppressCommand::List { json }) => {
            let QueueResponse::Suppressed { addresses } = ask(config, QueueRequest::Suppressed)? else {
                return Ok(());
            };
            for entry in addresses {
                if json {
                    print_json(&entry)?;
                } else {
                    let state = if entry.suppressed { "suppressed" } else { "still sent to" };
                    println!(
                        "{}  {state}, refused {} times, last {}",
                        entry.address,
                        entry.bounces,
                        date(entry.last)
                    );
                }
            }
            Ok(())
        }
        QueueCommand::Suppress(SuppressCommand::Remove { addresses }) => {
            if let QueueResponse::Changed { count, .. } = ask(config, QueueRequest::Unsuppress { addresses })?
            {
                println!("{count} sent to again");
            }
            Ok(())
        }
    }
}

/// What Postfix's `mailq` prints, or with `json` what its `postqueue -j` does.
pub(crate) fn mailq(config: &Config, json: bool) -> Result<(), CommandError> {
    let entries = entries(config, Selection::default())?;
    if json {
        return entries.iter().try_for_each(|entry| print_json(&postqueue(entry)));
    }
    print!("{}", listing(&entries));
    Ok(())
}

/// All entries that are meant.
pub(crate) fn entries(config: &Config, selection: Selection) -> Result<Vec<Entry>, CommandError> {
    match ask(config, QueueRequest::List { selection })? {
        QueueResponse::Entries { entries } => Ok(entries),
        _ => Ok(Vec::new()),
    }
}

fn ask(config: &Config, question: QueueRequest) -> Result<QueueResponse, CommandError> {
    match request(config, Request::Queue(question))? {
        Response::Queue(response) => Ok(response),
        other => Err(CommandError::Refused(format!("an answer about the queue was expected, not {other:?}"))),
    }
}

fn change(config: &Config, which: Changed, change: Change, done: &str) -> Result<(), CommandError> {
    let Changed { which, dry_run, json } = which;
    let selection = selection(which, false)?;
    let told = dry_run || json;
    let asked = QueueRequest::Change { selection, change, dry_run, told };
    let QueueResponse::Changed { count, entries, held_back, held } = ask(config, asked)? else {
        return Ok(());
    };
    for entry in &entries {
        if json {
            print_json(&entry)?;
        } else {
            print!("{}", described(entry));
        }
    }
    match (json, dry_run) {
        (true, _) => {}
        (false, true) => println!("{count} would be {done}"),
        (false, false) => println!("{count} {done}"),
    }
    if held > 0 && !json {
        println!("{held} held, and tried when they are released; queue release does that");
    }
    if held_back > 0 && !json {
        println!("{held_back} held back until the time that the sender set; queue release sends it now");
    }
    Ok(())
}

/// What is meant by the arguments. Everything is changed only if somebody says so.
fn selection(which: Which, may_be_all: bool) -> Result<Selection, CommandError> {
    let selection = Selection { ids: which.ids, from: which.from, to: which.to };
    if selection.is_everything() && !which.all && !may_be_all {
        let text = "which ones? name their ids, --from or --to, or say --all";
        return Err(CommandError::Refused(text.into()));
    }
    Ok(selection)
}

fn date(seconds: u64) -> String {
    let date = i64::try_from(seconds).ok().and_then(|seconds| DateTime::new(seconds, 0));
    date.map_or_else(String::new, |date| date.to_rfc5322())
}

fn sender(entry: &Entry) -> &str {
    if entry.sender.is_empty() { "MAILER-DAEMON" } else { &entry.sender }
}

/// An entry in words.
fn described(entry: &Entry) -> String {
    let mut text = format!("{}  {} octets  from <{}>", entry.id, entry.size, entry.sender);
    text += &format!("\n  arrived {}, goes to {}", date(entry.arrival), entry.destination);
    let later = entry.release.filter(|release| *release > unix_time());
    if entry.priority != 0 {
        text += &format!("\n  priority {}", entry.priority);
    }
    if let Some(time) = entry.deliver_by {
        text += &format!("\n  to be delivered by {}", date(time));
    }
    text += &if entry.held {
        "\n  held".to_owned()
    } else if let Some(release) = later {
        format!("\n  held back until {}, as its sender wants", date(release))
    } else {
        let wait = entry.next_try.saturating_sub(unix_time());
        format!("\n  tried {} times, next in {wait} s at {}", entry.attempts, date(entry.next_try))
    };
    if let Some(time) = entry.expires {
        text += &format!("\n  given up at {}", date(time));
    }
    if let Some(route) = &entry.route {
        text += &format!("\n  by way of {route}");
    }
    for recipient in &entry.recipients {
        text += &format!("\n  to <{}>, {}", recipient.address, recipient.state);
        if let Some(error) = &recipient.last_error {
            text += &format!(": {error}");
        }
    }
    text + "\n"
}

/// One line of `postqueue -j` (Postfix 3.7).
fn postqueue(entry: &Entry) -> serde_json::Value {
    let waiting = entry.recipients.iter().filter(|recipient| recipient.state == "waiting");
    let recipients: Vec<_> = waiting
        .map(|recipient| match &recipient.last_error {
            Some(error) => json!({ "address": recipient.address, "delay_reason": error }),
            None => json!({ "address": recipient.address }),
        })
        .collect();
    json!({
        "queue_name": queue_name(entry),
        "queue_id": entry.id,
        "arrival_time": entry.arrival,
        "message_size": entry.size,
        "forced_expire": false,
        "sender": sender(entry),
        "recipients": recipients,
    })
}

/// In which of Postfix's queues it would be.
fn queue_name(entry: &Entry) -> &'static str {
    match entry {
        Entry { held: true, .. } => "hold",
        Entry { attempts: 0, .. } => "active",
        _ => "deferred",
    }
}

/// What `mailq` prints for long queue ids.
fn listing(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "Mail queue is empty\n".into();
    }
    let mut text = format!(
        "{:<17} {:>8} {:<19} {}\n",
        "----Queue ID-----", "--Size--", "---Arrival Time----", "--Sender/Recipient------"
    );
    let mut octets = 0;
    for entry in entries {
        octets += entry.size;
        let mark = match queue_name(entry) {
            "hold" => "!",
            "active" => "*",
            _ => "",
        };
        let id = format!("{}{mark}", entry.id);
        text += &format!("{id:<17} {:>8} {:>19} {}\n", entry.size, ctime(entry.arrival), sender(entry));
        let mut last = None;
        for recipient in entry.recipients.iter().filter(|recipient| recipient.state == "waiting") {
            if let Some(error) = recipient.last_error.as_ref().filter(|error| last != Some(*error)) {
                text += &format!("{:>78}\n", format!("({error})"));
                last = Some(error);
            }
            text += &format!("{:<17} {:>8} {:<19} {}\n", "", "", "", recipient.address);
        }
        text.push('\n');
    }
    let (count, plural) = (entries.len(), if entries.len() == 1 { "" } else { "s" });
    text + &format!("-- {} Kbytes in {count} Request{plural}.\n", octets / 1024)
}

/// `Sat Nov 21 07:45:22`
fn ctime(seconds: u64) -> String {
    let text = date(seconds);
    // "Sat, 21 Nov 2026 07:45:22 +0000"
    let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    match words[..] {
        [weekday, day, month, _, time, _] => format!("{weekday} {month} {day:>2} {time}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::admin::Recipient, *};

    fn entry() -> Entry {
        Entry {
            id: "0123456789ABCDEF".into(),
            number: 7,
            size: 2_345,
            arrival: 1_700_000_000,
            sender: "ann@a.example".into(),
            recipients: vec![
                Recipient {
                    address: "bob@b.example".into(),
                    state: "waiting".into(),
                    last_error: Some("host b said: 451 no".into()),
                },
                Recipient { address: "eve@b.example".into(), state: "delivered".into(), last_error: None },
            ],
            destination: "b.example".into(),
            attempts: 1,
            next_try: 1_700_000_060,
            last_error: None,
            held: false,
            release: None,
            deliver_by: None,
            expires: None,
            route: None,
            priority: 0,
            message_id: None,
        }
    }

    #[test]
    fn mailq_as_postfix_prints_it() {
        let expected = "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n\
            0123456789ABCDEF      2345 Tue Nov 14 22:13:20 ann@a.example\n\
            \u{20}                                                        (host b said: 451 no)\n\
            \u{20}                                              bob@b.example\n\n\
            0123456789ABCDEF!     2345 Tue Nov 14 22:13:20 MAILER-DAEMON\n\n\
            -- 4 Kbytes in 2 Requests.\n";
        let held = Entry { held: true, sender: String::new(), recipients: Vec::new(), ..entry() };
        assert_eq!(listing(&[entry(), held]), expected);
        assert_eq!(listing(&[]), "Mail queue is empty\n");
    }

    #[test]
    fn postqueue_has_the_fields_of_postfix() {
        let value = postqueue(&entry());
        assert_eq!(value["queue_name"], "deferred");
        assert_eq!(value["recipients"].as_array().unwrap().len(), 1);
        assert_eq!(value["recipients"][0]["delay_reason"], "host b said: 451 no");
        assert_eq!(value["arrival_time"], 1_700_000_000);
    }
}
