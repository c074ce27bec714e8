//! What any store must do, as a program: run it over yours.
//!
//! Each check makes users of its own, so the store may hold other mail, but none of users whose names begin with
//! `conformance-`: on a store that stays it runs once, and again after those users are erased. Facets that the store does not offer
//! are not checked. Nothing here needs a runtime: [`block_on`](crate::block_on) will do.
//!
//! A check that takes longer than [`LIMIT`] has failed; [`check_within`] gives another limit. What blocks its thread for good cannot be
//! ended: then the name of the check is written to standard error.
//!
//! ```
//! use mailwright_mailstore::{block_on, conformance, memory::Memory};
//!
//! let report = block_on(conformance::check(&Memory::new()))?;
//! assert_eq!(report.skipped, ["rows", "quota warnings", "search"]);
//! # Ok::<(), conformance::Failure>(())
//! ```

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use bytes::Bytes;
use mailwright_mail_model::{DateTime, FlagSet, MailboxName, Uid, UidSet};

use crate::{
    Appended, CommitError, MailboxRef, Message, MessageRef, Snapshot, Store, StoreError, Target, User, Write,
};

mod annotate;
mod append;
mod at_once;
mod change;
mod erase;
mod feed;
mod folders;
mod import;
mod limit;
mod names;
mod notice;
mod queue;
mod quota;
mod rename;
mod rows;
mod scripts;
mod search;
mod several;
mod sharing;
mod stale;
mod told;
mod transfer;
mod undelete;
mod uploads;

/// What was checked of a store that passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The checks that passed.
    pub passed: Vec<&'static str>,
    /// The facets that the store does not offer.
    pub skipped: Vec<&'static str>,
}

/// What a store did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{check}: {what}")]
#[non_exhaustive]
pub struct Failure {
    /// The check that found it.
    pub check: &'static str,
    /// What was expected and what came.
    pub what: String,
}

/// How long each check may take for [`check`].
pub const LIMIT: Duration = Duration::from_secs(30);

/// Runs every check that the store's facets allow, and stops at the first failure.
///
/// # Errors
/// What the store did wrong.
pub async fn check(store: &impl Store) -> Result<Report, Failure> {
    check_within(store, LIMIT).await
}

/// As [`check`], with another limit of the time that each check may take.
///
/// # Errors
/// What the store did wrong.
pub async fn check_within(store: &impl Store, limit: Duration) -> Result<Report, Failure> {
    let mut report = Report::default();
    macro_rules! run {
        ($($function:path),* $(,)?) => {{$(
            let name = stringify!($function);
            limited(limit, name, $function(store)).await?;
            report.passed.push(name);
        )*}};
    }
    limited(limit, "before the first check", nobody_is_there_yet(store)).await?;
    run!(append::a_new_user_has_an_empty_inbox, append::an_unknown_mailbox_is_not_found);
    if store.writer().is_some() {
        run!(
            append::a_message_comes_back_as_it_was,
            append::what_is_not_committed_is_read_back,
            append::uids_rise_and_are_never_used_again,
            append::every_target_or_none,
            append::what_is_dropped_was_never_there,
            append::a_large_message_streams_through,
            append::small_messages_are_read_together,
            uploads::uploads_side_by_side_are_not_mixed,
            uploads::the_size_expected_is_not_believed,
            uploads::nothing_is_seen_before_it_is_committed,
            uploads::many_messages_are_all_there,
            uploads::dates_and_keywords_of_all_kinds,
            uploads::other_content_has_another_identity,
            uploads::what_is_larger_than_the_limit_is_refused,
            change::flags_are_added_removed_and_replaced,
            change::flags_beyond_the_rights_stay,
            change::unchanged_since_protects,
            change::expunge_takes_what_is_deleted,
            change::an_old_snapshot_stays_as_it_was,
            change::status_is_what_the_snapshot_counts,
            transfer::a_copy_is_a_message_of_its_own,
            transfer::a_copy_into_the_same_mailbox,
            transfer::a_move_takes_the_original_away,
            transfer::what_is_moved_stays_as_it_was,
            transfer::copies_are_new_where_they_are,
            at_once::messages_that_come_at_once_are_all_there,
            at_once::flags_that_change_at_once_all_count,
            at_once::what_comes_and_goes_at_once_adds_up,
            stale::references_of_another_mailbox_find_nothing,
            stale::nothing_goes_where_there_is_no_mailbox,
            several::a_list_counts_as_status_does,
            several::messages_tell_when_they_were_saved,
            several::an_answer_continues_its_thread,
            several::recent_messages_are_claimed_once,
        );
    } else {
        report.skipped.push("writer");
    }
    if store.folders().is_some() {
        run!(folders::mailboxes_are_made_with_those_above, folders::subscriptions_need_no_mailbox);
        run!(folders::names_that_cannot_be, folders::a_name_made_again_is_another_mailbox);
        if store.writer().is_some() {
            run!(
                names::names_of_all_letters,
                names::names_that_differ_in_case,
                names::names_are_no_patterns,
                names::many_mailboxes_are_all_listed,
                names::users_are_not_mistaken_for_each_other,
                rename::a_new_name_keeps_messages_and_children,
                rename::a_new_name_keeps_what_the_mailbox_is,
                rename::inbox_is_emptied_by_a_new_name,
                rename::subscriptions_stay_with_the_name,
                rename::a_name_taken_by_another_has_its_own_uid_validity,
                transfer::what_inbox_had_stays_as_it_was,
                at_once::a_message_moved_twice_at_once_is_there_once,
                at_once::what_is_dropped_half_way_is_done_or_not,
            );
            run!(erase::who_is_erased_begins_anew);
            run!(stale::a_mailbox_made_again_keeps_what_it_has, stale::a_deleted_mailbox_is_not_found);
        }
    } else {
        report.skipped.push("folders");
    }
    match (store.watch().is_some(), store.writer().is_some()) {
        (true, true) => {
            run!(notice::a_change_wakes_who_waits, notice::a_change_before_the_wait_is_told_at_once);
            run!(notice::a_deleted_mailbox_ends_the_wait, told::no_change_is_slept_through);
            if store.folders().is_some() {
                run!(told::whoever_waits_at_a_mailbox_is_told);
            }
        }
        _ => report.skipped.push("watch"),
    }
    match (store.changes().is_some(), store.writer().is_some()) {
        (true, true) => run!(notice::expunges_are_remembered),
        _ => report.skipped.push("changes"),
    }
    match (store.cache().is_some(), store.writer().is_some()) {
        (true, true) => run!(notice::a_summary_stays_with_the_content),
        _ => report.skipped.push("cache"),
    }
    let (writes, makes) = (store.writer().is_some(), store.folders().is_some());
    if store.writer().is_some_and(Write::takes_several) {
        run!(several::several_messages_come_at_one_moment, several::one_replaces_another);
        run!(several::uploads_are_committed_together);
    } else {
        report.skipped.push("several");
    }
    if store.writer().is_some_and(Write::takes_rows) {
        run!(rows::rows_change_with_a_message_or_not_at_all);
    } else {
        report.skipped.push("rows");
    }
    match (store.spool().is_some(), writes) {
        (true, true) => run!(
            queue::a_message_goes_into_mailboxes_and_queue_at_once,
            queue::what_is_due_comes_in_order,
            queue::nothing_is_due_before_it_is_released,
            queue::settlements_change_what_is_there_and_nothing_else,
            queue::recipients_are_removed_while_an_entry_is_being_sent,
            queue::what_is_set_by_hand_stays_while_an_entry_is_being_sent,
            queue::what_is_set_by_hand_says_when_an_entry_is_tried_next,
            queue::what_became_of_recipients_is_written_down_while_an_entry_is_being_sent,
            queue::a_body_stays_as_long_as_an_entry_has_it,
            queue::what_is_added_wakes_who_waits,
        ),
        _ => report.skipped.push("spool"),
    }
    match (store.quota().is_some(), writes) {
        (true, true) => {
            run!(quota::what_is_there_is_counted, quota::too_much_is_refused);
            run!(quota::room_for_one_is_not_room_for_two);
            if store.metadata().is_some() {
                run!(quota::annotations_that_count_are_limited);
            }
            if makes {
                run!(quota::mailboxes_count_too);
            }
            let name = "quota::warnings_are_told_until_they_are_settled";
            if limited(limit, name, quota::warnings_are_told_until_they_are_settled(store)).await? {
                report.passed.push(name);
            } else {
                report.skipped.push("quota warnings");
            }
        }
        _ => report.skipped.push("quota"),
    }
    match (store.acl().is_some(), makes) {
        (true, true) => {
            run!(sharing::rights_follow_the_list, sharing::shared_mailboxes_are_listed);
            run!(sharing::what_groups_and_anyone_share_is_listed);
            if writes {
                run!(erase::nothing_is_shared_any_more);
            }
        }
        _ => report.skipped.push("acl"),
    }
    match (store.metadata().is_some(), makes) {
        (true, true) => {
            run!(sharing::annotations_are_private_or_shared, sharing::annotations_go_with_the_mailbox);
            run!(erase::nothing_private_is_left_with_others);
        }
        _ => report.skipped.push("metadata"),
    }
    match (store.annotator().is_some(), writes && makes) {
        (true, true) => {
            run!(annotate::notes_are_private_or_shared, annotate::notes_of_what_changed_stay);
            run!(annotate::notes_go_along_with_copies, annotate::notes_come_with_messages_and_end_with_them);
            run!(annotate::notes_have_limits_and_count, erase::no_private_note_is_left_with_others);
            if store.acl().is_some() {
                run!(annotate::the_right_to_annotate_is_kept);
            }
        }
        _ => report.skipped.push("annotate"),
    }
    if store.scripts().is_some() {
        run!(scripts::scripts_are_kept_and_one_is_active, scripts::scripts_get_other_names);
        run!(scripts::scripts_have_limits);
    } else {
        report.skipped.push("scripts");
    }
    match (store.origins().is_some(), writes) {
        (true, true) => run!(import::origins_go_along_with_copies),
        _ => report.skipped.push("origins"),
    }
    match (store.import().is_some(), writes && makes) {
        (true, true) => run!(import::a_mailbox_keeps_its_numbers),
        _ => report.skipped.push("import"),
    }
    match (store.feed().is_some(), writes && makes) {
        (true, true) => {
            run!(feed::changes_anywhere_are_told, told::whoever_follows_all_is_told);
            run!(told::no_news_is_slept_through);
        }
        _ => report.skipped.push("feed"),
    }
    match (store.undelete().is_some(), writes) {
        (true, true) => run!(undelete::what_was_expunged_can_be_had_back),
        _ => report.skipped.push("undelete"),
    }
    match (store.search().is_some(), writes) {
        (true, true) => run!(search::no_message_that_answers_is_left_out),
        _ => report.skipped.push("search"),
    }
    Ok(report)
}

/// What comes of a check, if that comes in time.
async fn limited<T>(
    limit: Duration,
    check: &'static str,
    outcome: impl Future<Output = Outcome<T>>,
) -> Result<T, Failure> {
    let late = format!("not done within {limit:?}: the store hangs, or is very slow");
    let stuck = {
        let late = late.clone();
        move || eprintln!("{check}: {late}; it blocks the thread that called it")
    };
    match limit::within(limit, stuck, outcome).await {
        Some(outcome) => outcome.map_err(|Wrong(what)| Failure { check, what }),
        None => Err(Failure { check, what: late }),
    }
}

/// What goes wrong where it ran before would look like a fault of the store.
async fn nobody_is_there_yet(store: &impl Store) -> Outcome {
    if store.writer().is_none() && store.folders().is_none() {
        // Whatever it has, no run left it.
        return Ok(());
    }
    for name in ["append", "uids", "create"] {
        let user = user(name)?;
        let mail = store.open(&user, &MailboxName::inbox()).await?.len();
        if mail > 0 || store.mailboxes(&user).await?.len() > 1 {
            return Err(Wrong(format!(
                "{user} has mail or mailboxes already, perhaps of an earlier run: the suite wants a store in which no user has anything \
                 whose name begins with `conformance-`. Give it an empty store, or erase those users first"
            )));
        }
    }
    Ok(())
}

/// What went wrong within a check.
#[derive(Debug)]
struct Wrong(String);

impl Wrong {
    /// With what it was that went wrong.
    fn within(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

type Outcome<T = ()> = Result<T, Wrong>;

impl From<StoreError> for Wrong {
    #[track_caller]
    fn from(error: StoreError) -> Self {
        wrong(&format!("expected success, got {error:?}"))
    }
}

impl From<CommitError> for Wrong {
    #[track_caller]
    fn from(error: CommitError) -> Self {
        wrong(&format!("expected success, got {error:?}"))
    }
}

/// With the line of the suite that expects otherwise: a check calls a store many times.
#[track_caller]
fn wrong(what: &str) -> Wrong {
    let place = Location::caller();
    let file = place.file().rsplit(['/', '\\']).next().unwrap_or_default();
    Wrong(format!("{what} (conformance/{file}, line {})", place.line()))
}

#[track_caller]
fn ensure(holds: bool, rule: &str) -> Outcome {
    if holds { Ok(()) } else { Err(wrong(&format!("expected: {rule}"))) }
}

#[track_caller]
fn equal<T: PartialEq + fmt::Debug>(what: &str, got: T, expected: T) -> Outcome {
    if got == expected { Ok(()) } else { Err(wrong(&format!("{what}: expected {expected:?}, got {got:?}"))) }
}

#[track_caller]
fn refused<T: fmt::Debug>(result: crate::Result<T>, expected: &StoreError) -> Outcome {
    match result {
        Err(error) if std::mem::discriminant(&error) == std::mem::discriminant(expected) => Ok(()),
        other => Err(wrong(&format!("expected {expected:?}, got {other:?}"))),
    }
}

#[track_caller]
fn some<T>(value: Option<T>, rule: &str) -> Outcome<T> {
    match value {
        Some(value) => Ok(value),
        None => Err(wrong(&format!("expected: {rule}"))),
    }
}

fn user(name: &str) -> Outcome<User> {
    User::new(&format!("conformance-{name}@example.org")).map_err(|error| Wrong(error.to_string()))
}

fn name(name: &str) -> Outcome<MailboxName> {
    MailboxName::new(name).map_err(|error| Wrong(error.to_string()))
}

fn flags(text: &str) -> Outcome<FlagSet> {
    text.parse().map_err(|_| Wrong(format!("{text} is no list of flags")))
}

fn uids(text: &str) -> Outcome<UidSet> {
    text.parse().map_err(|_| Wrong(format!("{text} is no set of UIDs")))
}

fn date() -> Outcome<DateTime> {
    some(DateTime::new(1_234_567_890, -90), "a date")
}

fn writer(store: &impl Store) -> Outcome<&impl Write> {
    some(store.writer(), "the writer that was there before")
}

/// Appends a message to one mailbox.
async fn append(
    store: &impl Store,
    user: &User,
    mailbox: &MailboxName,
    text: &str,
    with: &str,
) -> Outcome<Appended> {
    let mut upload = writer(store)?.begin(Some(text.len() as u64)).await?;
    upload.write(Bytes::copy_from_slice(text.as_bytes())).await?;
    let target = Target::new(user.clone(), mailbox.clone(), date()?).with_flags(flags(with)?);
    some(upload.commit(&[target]).await?.pop(), "one answer for one target")
}

/// A user with an INBOX of messages with these flags, whose UIDs are 1 and so on in every sensible store, but
/// need not be.
async fn filled(store: &impl Store, user: &User, each: &[&str]) -> Outcome<(MailboxRef, Vec<Uid>)> {
    let inbox = MailboxName::inbox();
    let mut uids = Vec::new();
    for (number, with) in each.iter().enumerate() {
        uids.push(append(store, user, &inbox, &format!("message {number}\r\n"), with).await?.uid);
    }
    let snapshot = store.open(user, &inbox).await?;
    Ok((MailboxRef::new(user.clone(), inbox, &snapshot), uids))
}

/// All octets of a message, read in pieces of at most `piece`.
async fn read_all(store: &impl Store, message: &MessageRef, piece: u64) -> Outcome<Vec<u8>> {
    let mut octets = Vec::new();
    while (octets.len() as u64) < message.size {
        let start = octets.len() as u64;
        let chunk = store.read(message, start..(start + piece).min(message.size)).await?;
        ensure(
            !chunk.is_empty() && chunk.len() as u64 <= piece,
            "a read gives some octets, and no more than asked",
        )?;
        octets.extend_from_slice(&chunk);
    }
    ensure(store.read(message, message.size..message.size + 10).await?.is_empty(), "nothing behind the end")?;
    Ok(octets)
}

fn message(snapshot: &Snapshot, uid: Uid) -> Outcome<&Message> {
    some(snapshot.message(uid), &format!("UID {uid} in the snapshot"))
}

fn modseq_is_known(store: &impl Store) -> bool {
    store.changes().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_says_where_it_was_asked_for() {
        let asks = || -> Outcome { Err(StoreError::NotFound)? };
        let [by_store, by_rule] = [asks(), ensure(false, "a rule")].map(|wrong| wrong.unwrap_err().0);
        let line = line!() - 2;
        assert_eq!(
            by_store,
            format!("expected success, got NotFound (conformance/conformance.rs, line {line})")
        );
        assert_eq!(by_rule, format!("expected: a rule (conformance/conformance.rs, line {})", line + 1));
    }
}
