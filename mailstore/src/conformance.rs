//! What any store must do, as a program: run it over yours.
//!
//! Each check makes users of its own, so the store may hold other mail, but none of users whose names begin with
//! `conformance-`: on a store that stays it runs once, and again after those users are erased. Facets that the store does not offer
//! are not checked. Nothing here needs a runtime: [`block_on`](crate::block_on) will do.
//!
//! A check that takes longer than [`LIMIT`] has failed; [`check_within`] gives another limit. What blocks its thread for good cannot be
//! ended: then the name of the check is written to standard error.
//!
//! | what is looked at | of which facets |
//! |---|---|
//! | octets come back as they were, in pieces and together; nothing is seen before its commit; all targets or none; sizes that were announced wrongly, uploads side by side, many messages, dates and keywords of all kinds | `Write` |
//! | UIDs rise and are never given again; flags, rights and conditions; expunges; old snapshots stay; counts | `Write` |
//! | what COPY, MOVE and a new name of INBOX keep, and what is new of it | `Write`, `Folders` |
//! | several sessions at the same moment; what is dropped half-way | `Write` |
//! | references to mailboxes that are gone | `Write`, `Folders`, and all that take references |
//! | CREATE, DELETE, RENAME, subscriptions; names of all letters, that differ in case, that look like patterns; many mailboxes; users with similar names | `Folders` |
//! | all that is left of a user who is erased | `Folders`, with `Acl`, `Metadata`, `Annotate`, `Quota`, `Scripts`, `Undelete` |
//! | each kind of change wakes whoever waits, and none is slept through | `Watch`, `Feed` |
//! | history of expunges | `Changes` |
//! | counts and limits, of several targets too | `Quota` |
//! | lists, inheritance, groups and anyone | `Acl` |
//! | annotations, private and shared | `Metadata`, `Annotate` |
//! | several messages in one commit | `Write::takes_several`, `Write::takes_rows` |
//! | the queue | `Spool` |
//! | the rest of what their traits say | `Cache`, `Scripts`, `Origins`, `Import`, `Undelete`, `Search` |
//!
//! What it cannot look at: whether anything lasts through a crash, and what many processes do at one store.
//!
//! ```
//! use mailwright_mailstore::{block_on, conformance, memory::Memory};
//!
//! let report = block_on(conformance::check(&Memory::new()))?;
//! assert_eq!(report.skipped, ["rows", "quota warnings", "search"]);
//! # Ok::<(), conformance::Failure>(())
//! ```

use std::time::Duration;

use mailwright_mail_model::MailboxName;

use crate::{Store, Write};

mod annotate;
mod append;
mod at_once;
mod change;
mod erase;
mod expect;
mod feed;
mod folders;
mod import;
mod limit;
mod mail;
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

use expect::{Outcome, Wrong, ensure, equal, refused, some, wrong};
use mail::{append, date, filled, flags, message, modseq_is_known, name, read_all, uids, user, writer};

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
