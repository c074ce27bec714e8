//! Both sides, one beside the other.

use mailwright::{mail_model::UidSet, mailstore::Snapshot};

use super::{
    Report,
    brought::Brought,
    places::Places,
    source::{Entry, Folder},
};

/// How many differences of a mailbox are told.
const TOLD: usize = 20;

/// Adds what is not the same on both sides.
pub(super) fn compare(
    folder: &Folder,
    entries: &[Entry],
    (places, brought): (&Places, &Brought),
    snapshot: &Snapshot,
    report: &mut Report,
) {
    let differences = &mut report.differences;
    if let Some((validity, _)) = folder.numbers
        && validity != snapshot.uid_validity()
    {
        differences.push(format!("UIDVALIDITY {validity} is {} here", snapshot.uid_validity()));
    }
    for entry in entries {
        let uid = entry.uid;
        if places.is_gone(uid) {
            continue;
        }
        let Some(message) = places.here(uid).and_then(|here| snapshot.message(here)) else {
            differences.push(match places.is_removed(uid) {
                true => {
                    format!("UID {uid} is not here any more: it was removed here (--missing brings it again)")
                }
                false => format!("UID {uid} is not here: the source did not give it"),
            });
            continue;
        };
        // Of a source without UIDs of its own it does not matter.
        if message.uid != uid && folder.numbers.is_some() {
            let why = match snapshot.message(uid) {
                Some(_) => "another message had it before",
                None => "UIDs only rise",
            };
            differences.push(format!("UID {uid} is {} here, for {why}", message.uid));
        }
        if message.size != entry.size {
            differences.push(format!("UID {uid} of {} octets has {} here", entry.size, message.size));
        }
        if message.flags != entry.flags && brought.is_fresh(uid) {
            differences.push(format!("UID {uid} with {} has {} here", entry.flags, message.flags));
        } else if message.flags != entry.flags {
            // What the source has by now was given to it.
            report.changed_here += 1;
        }
        if message.internal_date.seconds() != entry.date.seconds() {
            let (there, here) = (entry.date.to_imap(), message.internal_date.to_imap());
            differences.push(format!("UID {uid} of {there} is of {here} here"));
        }
    }
    let theirs: UidSet = places.all().collect();
    for uid in snapshot.uids().difference(&theirs).iter().take(TOLD) {
        differences.push(format!("UID {uid} is only here"));
    }
    let more = differences.len().saturating_sub(TOLD);
    if more > 0 {
        differences.truncate(TOLD);
        differences.push(format!("and {more} more"));
    }
}
