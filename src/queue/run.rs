//! The loop: what is due is offered to the scheduler, whose turn it is is sent, and what came of it is written down.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use mailwright_mailstore::{
    Due, QueueEntry, QueueNews, Scheduled, Settlement, Spool, Store, StoreError, clock,
};
use mailwright_relay_policy::{delivery::Diagnosis, dns::Resolve};
use mailwright_smtp_proto::Reply;
use tokio::{task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use super::{
    Concurrency, Outcome, Queue,
    judge::{Judgement, judge},
    look::{Looked, PAGE, Pages, before, behind, offer_all, unseen},
    report::seconds,
    scheduler::{Contact, Offer, Scheduler},
};
use crate::{service::entropy, smtp::Addressing};

/// How far it is looked for what is urgent behind what there is no room for.
const MOST_PAGES: usize = 100;
/// How often all that is due is looked through, whatever happens. What becomes due out of order is found then.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How long to wait after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// How often connections that nobody uses are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// What an attempt tells the loop.
struct Finished {
    entry: Scheduled,
    contact: Contact,
    failure: Option<Diagnosis>,
    /// Whether the entry is due already: it was made so, or given another way, while it was sent.
    again: bool,
}

/// Where the loop is.
struct Loop {
    scheduler: Scheduler,
    began: Instant,
    /// How far what is due was looked at.
    cursor: Option<Due>,
    /// What is due later than this was not looked at.
    looked: u64,
    /// Up to where it is known what was written.
    mark: u64,
    /// Whether to look at what is new, and whether to look at everything.
    look: bool,
    look_at_all: bool,
    /// The first one that there was no room for, if so.
    full: Option<Due>,
    /// The first one of those that were sent away and have room again.
    starved: Option<Due>,
    /// Why each dead destination is dead.
    reasons: HashMap<String, Diagnosis>,
}

impl Loop {
    fn new(limits: Concurrency) -> Self {
        Self {
            scheduler: Scheduler::new(limits),
            began: Instant::now(),
            cursor: None,
            looked: 0,
            mark: 0,
            look: true,
            look_at_all: true,
            full: None,
            starved: None,
            reasons: HashMap::new(),
        }
    }

    /// Forgets what there is no need to know any more.
    fn tidy(&mut self) {
        let now = self.now();
        let Self { scheduler, reasons, .. } = self;
        scheduler.tidy(now);
        reasons.retain(|destination, _| scheduler.knows(destination));
    }

    fn now(&self) -> u64 {
        since(self.began)
    }
}

impl<S, R, P> Queue<S, R, P>
where
    S: Store + 'static,
    R: Resolve + 'static,
    P: Addressing + 'static,
{
    /// Sends until it is stopped.
    ///
    /// # Errors
    /// If the store has no queue.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> Result<(), StoreError> {
        self.spool()?;
        self.under_way.open();
        let mut state = Loop::new(self.config.concurrency.clone());
        let (mut seen, mut attempts) = (0, JoinSet::new());
        let (mut sweep, mut again) = (time::interval(SWEEP), time::interval(LOOK_AGAIN));
        let mut known = Arc::clone(&self.config);
        loop {
            // What begins from here on goes by the latest configuration.
            let this = self.current();
            if !Arc::ptr_eq(&known, &this.config) {
                known = Arc::clone(&this.config);
                state.scheduler.limit(known.concurrency.clone());
            }
            if this.revive.swap(false, Ordering::AcqRel) {
                state.scheduler.revive();
                state.look_at_all = true;
            }
            let mut wait = LOOK_AGAIN;
            if let Err(error) = this.look_where_room_is(&mut state).await {
                tracing::error!(%error, "the queue cannot be read");
                wait = STORE_PAUSE;
            } else if state.look || state.look_at_all {
                match this.look(&mut state).await {
                    Ok(next) => wait = next,
                    Err(error) => {
                        tracing::error!(%error, "the queue cannot be read");
                        // What was new is known no more.
                        state.look_at_all = true;
                        wait = STORE_PAUSE;
                    }
                }
            } else if let Ok(Some(next)) = this.spool()?.next_due(state.looked).await {
                // Something else may have woken us when it was due.
                state.look = next <= seconds();
                wait = Duration::from_secs(next.saturating_sub(seconds()));
            }
            while let Some(entry) = state.scheduler.next(state.now()) {
                attempts.spawn(Arc::clone(&this).one(entry));
            }
            this.active.store(state.scheduler.active() as u64, Ordering::Relaxed);
            if let Some(wake) = state.scheduler.wake_at(state.now()) {
                wait = wait.min(Duration::from_millis(wake.saturating_sub(state.now()).max(1)));
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(finished) = attempts.join_next() => {
                    if let Ok(finished) = finished {
                        this.finish(&mut state, finished).await;
                    }
                    // Others that have ended by now need no look of their own.
                    while let Some(finished) = attempts.try_join_next() {
                        if let Ok(finished) = finished {
                            this.finish(&mut state, finished).await;
                        }
                    }
                }
                now = this.spool()?.added(seen) => {
                    seen = now;
                    state.look = true;
                }
                () = this.called.notified() => state.look_at_all = true,
                _ = sweep.tick() => this.sessions.sweep(this.config.idle),
                _ = again.tick() => {
                    state.look_at_all = true;
                    if let Err(error) = this.bring_near().await {
                        tracing::error!(%error, "the queue cannot be read");
                    }
                    state.tidy();
                }
                () = time::sleep(wait.min(LOOK_AGAIN)) => state.look = true,
            }
        }
        // Nothing more is begun. What is under way may end; what does not end in time is in the store, and is tried again.
        self.under_way.end();
        let _ = time::timeout(self.config.farewell, async { while attempts.join_next().await.is_some() {} })
            .await;
        Ok(())
    }

    /// Offers what is due to the scheduler; says for how long there is nothing more.
    async fn look(&self, state: &mut Loop) -> Result<Duration, StoreError> {
        let spool = self.spool()?;
        let now = seconds();
        // The clock went back: what came since is due before what was looked at.
        if now < state.looked {
            (state.look_at_all, state.cursor) = (true, None);
        }
        // Before anything is read: what is written meanwhile is new the next time, whether it is read now or not.
        let (mark, news) = spool.news(state.mark);
        state.mark = mark;
        let news = if state.look_at_all { QueueNews::Anywhere } else { news };
        let mut after = if state.look_at_all { None } else { behind(state.cursor, news) };
        (state.look, state.look_at_all) = (false, false);
        let looked_before = std::mem::replace(&mut state.looked, now);
        let began = state.began;
        let clock = || since(began);
        let pages = DuePages { spool, until: now };
        let Looked { mut dead, last, full } = match (state.full, after) {
            // What there is no room for is looked at when there is some.
            (Some(first), Some(after)) if !state.scheduler.takes_more() => {
                Looked { full: Some(first.min(after)), ..Looked::default() }
            }
            _ => offer_all(&mut state.scheduler, after, false, clock, &pages).await?,
        };
        state.cursor = state.cursor.max(last);
        state.full = full.into_iter().chain(state.full).min();
        if full.is_some() {
            after = after.max(last);
            let since = unseen(looked_before, news);
            self.look_for_urgent(state, now, after.max(since), &mut dead).await?;
        }
        self.put_off(state, dead).await;
        let next = spool.next_due(now).await?;
        Ok(next.map_or(LOOK_AGAIN, |next| Duration::from_secs(next.saturating_sub(now))))
    }

    /// Offers what there was no room for before, from the first that was sent away on.
    async fn look_where_room_is(&self, state: &mut Loop) -> Result<(), StoreError> {
        let (spool, began, until) = (self.spool()?, state.began, state.looked);
        let pages = DuePages { spool, until };
        let mut dead = Vec::new();
        if let Some(first) = state.starved {
            let clock = || since(began);
            let looked = offer_all(&mut state.scheduler, before(first), true, clock, &pages).await?;
            (state.starved, state.full) = (None, looked.full.into_iter().chain(state.full).min());
            dead.extend(looked.dead);
        }
        if let Some(first) = state.full.filter(|_| state.scheduler.has_room()) {
            let clock = || since(began);
            let looked = offer_all(&mut state.scheduler, before(first), false, clock, &pages).await?;
            state.full = looked.full;
            state.cursor = state.cursor.max(looked.last);
            dead.extend(looked.dead);
        }
        self.put_off(state, dead).await;
        Ok(())
    }

    /// Offers what is urgent of that for which there is no room: it has some of its own.
    async fn look_for_urgent(
        &self,
        state: &mut Loop,
        now: u64,
        mut after: Option<Due>,
        dead: &mut Vec<Scheduled>,
    ) -> Result<(), StoreError> {
        for _ in 0..MOST_PAGES {
            let page = self.spool()?.due(now, after, PAGE).await?;
            let clock = state.now();
            for entry in page.iter().filter(|entry| entry.priority > 0) {
                if state.scheduler.offer(entry.clone(), clock) == Offer::Dead {
                    dead.push(entry.clone());
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.due),
                _ => break,
            }
        }
        Ok(())
    }

    /// What is due later than any wait lasts was put off by a clock that was ahead: it is due now.
    async fn bring_near(&self) -> Result<(), StoreError> {
        let furthest = seconds().saturating_add(self.config.retry.longest.as_secs().saturating_mul(2));
        let mut after = Due::new(furthest, mailwright_mailstore::QueueNumber::new(u64::MAX));
        loop {
            let far = self.spool()?.due(u64::MAX, Some(after), PAGE).await?;
            let now = seconds();
            // What is held back until then is where it belongs.
            let astray = far.iter().filter(|entry| entry.release != Some(entry.due.at));
            let mut settle = astray.map(|entry| Settlement::Due(entry.due.number, now)).collect();
            self.settle_all(&mut settle).await;
            match far.last() {
                Some(last) if far.len() == PAGE => after = last.due,
                _ => return Ok(()),
            }
        }
    }

    async fn finish(&self, state: &mut Loop, finished: Finished) {
        let Finished { entry, contact, failure, again } = finished;
        let now = state.now();
        // What was new of it may have been looked at while it was being sent.
        state.look_at_all |= again;
        match failure {
            Some(failure) => drop(state.reasons.insert(entry.destination.clone(), failure)),
            None => drop(state.reasons.remove(&entry.destination)),
        }
        let drained = state.scheduler.finished(&entry, contact, now);
        self.put_off(state, drained).await;
        state.starved = state.scheduler.take_starved().into_iter().chain(state.starved).min();
    }

    /// Mail for a destination that cannot be reached is judged as if it had been tried: it would have met the same.
    async fn put_off(&self, state: &Loop, entries: Vec<Scheduled>) {
        let mut settle = Vec::new();
        for scheduled in entries {
            let reason = state.reasons.get(&scheduled.destination).cloned().unwrap_or_else(|| {
                Diagnosis::found(Reply::transient((4, 1), "The destination cannot be reached"))
            });
            let Ok(Some(mut entry)) = self.load(&scheduled).await else { continue };
            if let Some(destination) = self.moved(&entry) {
                (entry.destination, entry.due) = (destination, seconds());
                settle.push(Settlement::Update(Box::new(entry)));
                self.called.notify_one();
                continue;
            }
            let waiting = waiting(&entry);
            let outcomes =
                waiting.into_iter().map(|place| (place, Outcome::Refused(reason.clone()))).collect();
            let judgement = self.judged(entry, outcomes);
            match judgement.stays && judgement.reports.is_empty() {
                true => {
                    self.observed(&judgement);
                    settle.push(Settlement::Attempted(Box::new(judgement.entry), judgement.began));
                }
                false => self.write_down(judgement).await,
            }
            if settle.len() >= PAGE {
                self.settle_all(&mut settle).await;
            }
        }
        self.settle_all(&mut settle).await;
    }

    async fn settle_all(&self, settle: &mut Vec<Settlement>) {
        if settle.is_empty() {
            return;
        }
        if let Ok(spool) = self.spool()
            && let Err(error) = spool.settle(settle).await
        {
            tracing::error!(%error, "the queue cannot be written");
        }
        settle.clear();
    }

    /// Sends one entry, and writes down what came of it.
    async fn one(self: Arc<Self>, scheduled: Scheduled) -> Finished {
        let nothing = |entry| Finished { entry, contact: Contact::Unknown, failure: None, again: false };
        let _listed = self.under_way.list(scheduled.due.number);
        let entry = match self.load(&scheduled).await {
            Ok(Some(entry)) => Arc::new(entry),
            // Removed or held since it was found.
            Ok(None) => {
                self.handings.attempted(scheduled.due.number);
                return nothing(scheduled);
            }
            Err(error) => {
                tracing::error!(number = %scheduled.due.number, %error, "an entry of the queue cannot be read");
                self.shelve(&scheduled).await;
                self.handings.attempted(scheduled.due.number);
                return nothing(scheduled);
            }
        };
        let attempted = tokio::select! {
            biased;
            attempted = self.attempt(&entry) => attempted,
            // Nobody waits for hosts that may not answer.
            () = self.under_way.idle_at_end(entry.number) => {
                self.break_off(&entry).await;
                self.handings.attempted(scheduled.due.number);
                return nothing(scheduled);
            }
        };
        let (outcomes, some_left) = self.come_of(&entry, attempted.outcomes);
        if outcomes.is_empty() && some_left {
            self.handings.attempted(scheduled.due.number);
            return nothing(scheduled);
        }
        let entry = Arc::unwrap_or_clone(entry);
        let mut judgement = self.judged(entry, outcomes);
        if some_left {
            // Nobody has said that they are to wait.
            judgement.entry.due = judgement.began;
        }
        if let Some(destination) = self.moved(&judgement.entry) {
            judgement.entry.destination = destination;
        }
        let stays = judgement.stays;
        self.write_down(judgement).await;
        let again = stays && self.load(&scheduled).await.is_ok_and(|entry| entry.is_some());
        self.handings.attempted(scheduled.due.number);
        Finished { entry: scheduled, contact: attempted.contact, failure: attempted.failure, again }
    }

    async fn load(&self, scheduled: &Scheduled) -> Result<Option<QueueEntry>, StoreError> {
        let entry = self.spool()?.entry(scheduled.due.number).await?;
        Ok(entry.filter(|entry| !entry.held && entry.due <= seconds()))
    }

    /// An entry that cannot be read is left alone for a while.
    async fn shelve(&self, scheduled: &Scheduled) {
        let later = seconds() + self.config.retry.longest.as_secs();
        self.settle_all(&mut vec![Settlement::Due(scheduled.due.number, later)]).await;
    }

    pub(super) fn judged(&self, entry: QueueEntry, outcomes: Vec<(usize, Outcome)>) -> Judgement {
        let random = entropy()
            .map_or(0, |octets| octets.iter().take(8).fold(0, |sum, octet| sum << 8 | u64::from(*octet)));
        judge(entry, outcomes, &self.config.retry, clock::read(), random)
    }

    /// Until it is written down, an attempt has not ended: the entry would be sent again.
    async fn write_down(&self, mut judgement: Judgement) {
        while let Err(error) = self.settle(&mut judgement).await {
            tracing::error!(id = judgement.entry.id, %error, "what became of a message cannot be written down");
            // Without room for a report there may be room for a line that puts it off. Then this keeps no place that others need.
            let later = seconds() + self.config.retry.first.as_secs();
            let put_off = judgement.put_off(later).filter(|_| matches!(error, StoreError::Full(_)));
            if let (Some(entry), Ok(spool)) = (put_off, self.spool())
                && spool.settle(&[Settlement::Attempted(Box::new(entry), judgement.began)]).await.is_ok()
            {
                return;
            }
            time::sleep(STORE_PAUSE).await;
        }
        self.observed(&judgement);
    }
}

/// What of a queue is due at a time.
struct DuePages<'a, S> {
    spool: &'a S,
    until: u64,
}

impl<S: Spool + Sync> Pages for DuePages<'_, S> {
    async fn page(&self, after: Option<Due>) -> Result<Vec<Scheduled>, StoreError> {
        self.spool.due(self.until, after, PAGE).await
    }
}

/// Milliseconds since then.
fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The places of the recipients that nothing is decided about yet.
pub(super) fn waiting(entry: &QueueEntry) -> Vec<usize> {
    use mailwright_mailstore::RecipientState;
    let waits = entry.recipients.iter().enumerate();
    waits
        .filter(|(_, recipient)| recipient.state == RecipientState::Waiting)
        .map(|(place, _)| place)
        .collect()
}

#[cfg(test)]
#[path = "run/tests.rs"]
mod tests;
