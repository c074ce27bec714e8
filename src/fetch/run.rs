//! One account, from its start to its end: when to look, and what to do when that fails.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time};
use tokio_util::sync::CancellationToken;

use super::{
    Current, FetchAccount, FetchConfig, FetchError, FetchPhase, FetchStatus, Inner, Ledger, Receive,
    imap::Imap,
    pass::{Pass, Remote, seconds},
    pop3::Pop3,
    stumbling::Stumbling,
};
use crate::{
    client::{Endpoint, Security},
    service::entropy,
};

/// A server may say that it has news whenever it is listened to. After so many looks for nothing, each takes so long at least, with the time
/// until the next.
const VAIN: u32 = 3;
const LEAST: Duration = Duration::from_secs(5);

/// What an account's status is changed by.
type Shared = Arc<Mutex<FetchStatus>>;

impl<D: Receive, L: Ledger> Inner<D, L> {
    /// Fetches until it is stopped.
    pub(super) async fn run(
        &self,
        account: FetchAccount,
        stop: CancellationToken,
        wake: Arc<Notify>,
        status: Shared,
    ) {
        let stumbling = Stumbling::default();
        // Accounts that start together do not look together.
        let mut wait = share(self.current().config.first_retry.min(Duration::from_secs(2)), 0, 100);
        loop {
            let next = seconds().saturating_add(wait.as_secs());
            change(&status, |status| {
                (status.phase, status.next) = (FetchPhase::Waiting, Some(next));
            });
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = wake.notified() => {}
                () = time::sleep(wait) => {}
            }
            let visit = self.visit(&account, &wake, &status, &stumbling);
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = visit => outcome,
            };
            wait = match outcome {
                Ok(()) => share(account.poll, 90, 110),
                Err(error) => {
                    let failures = change(&status, |status| {
                        status.failures = status.failures.saturating_add(1);
                        status.error = Some(error.to_string());
                        status.failures
                    });
                    tracing::warn!(user = %account.user, host = account.host, %error, failures, "mail cannot be fetched");
                    retry(&self.current().config, failures, error.is_login())
                }
            };
        }
    }

    /// One session: a look, and as long as the server tells its news, further ones.
    async fn visit(
        &self,
        account: &FetchAccount,
        wake: &Notify,
        status: &Shared,
        stumbling: &Stumbling,
    ) -> Result<(), FetchError> {
        let mut slot = self.slots.acquire().await.ok();
        change(status, |status| {
            (status.phase, status.tried) = (FetchPhase::Fetching, Some(seconds()));
        });
        let mut current = self.current();
        current.takes_for(account).await?;
        let endpoint = endpoint(account, &current.config)?;
        let delivered = || change(status, |status| status.delivered += 1);
        if account.protocol.is_pop3() {
            let mut remote = Pop3::open(&endpoint, account).await?;
            let looked = self.pass(&current, account, stumbling, &delivered).run(&mut remote).await;
            note(account, status, stumbling, &mut remote);
            // RFC 1939 §6: what was marked goes with QUIT, even if something failed, as long as the session goes on.
            if matches!(looked, Ok(()) | Err(FetchError::Delivery(_))) {
                remote.quit().await?;
            }
            looked?;
            went_well(status);
            return Ok(());
        }
        let mut remote = Imap::open(&endpoint, account).await?;
        let brought = || change(status, |status| status.delivered);
        let mut vain = 0_u32;
        loop {
            let (begun, before) = (time::Instant::now(), brought());
            let looked = self.pass(&current, account, stumbling, &delivered).run(&mut remote).await;
            note(account, status, stumbling, &mut remote);
            looked?;
            went_well(status);
            if !account.push || !remote.tells() {
                // All is done: what it says to our leave changes nothing.
                let _ = remote.logout().await;
                return Ok(());
            }
            drop(slot.take());
            let wait = share(account.poll, 90, 110);
            let next = seconds().saturating_add(wait.as_secs());
            change(status, |status| {
                (status.phase, status.next) = (FetchPhase::Listening, Some(next));
            });
            let mut woken = false;
            let stop = async {
                tokio::select! {
                    () = wake.notified() => woken = true,
                    () = time::sleep(wait) => {}
                }
            };
            remote.listen(stop).await?;
            let for_nothing = !woken && brought() == before && begun.elapsed() < LEAST;
            vain = if for_nothing { vain.saturating_add(1) } else { 0 };
            if vain > VAIN {
                tokio::select! {
                    () = wake.notified() => {}
                    () = time::sleep_until(begun + LEAST) => {}
                }
            }
            slot = self.slots.acquire().await.ok();
            // It may have listened for days.
            current = self.current();
            current.takes_for(account).await?;
            change(status, |status| {
                (status.phase, status.tried) = (FetchPhase::Fetching, Some(seconds()));
            });
        }
    }

    fn pass<'a>(
        &'a self,
        current: &'a Current<D>,
        account: &'a FetchAccount,
        stumbling: &'a Stumbling,
        delivered: &'a (dyn Fn() + Send + Sync),
    ) -> Pass<'a, D, L> {
        let Current { delivery, config } = current;
        Pass { delivery: &**delivery, ledger: &self.ledger, config, account, stumbling, delivered }
    }
}

impl<D: Receive> Current<D> {
    async fn takes_for(&self, account: &FetchAccount) -> Result<(), FetchError> {
        self.delivery.takes_for(&account.user).await.map_err(FetchError::Delivery)
    }
}

fn endpoint(account: &FetchAccount, config: &FetchConfig) -> Result<Endpoint, FetchError> {
    let tls = || config.tls.clone().ok_or(FetchError::NoTrust);
    let security = match (account.protocol.is_implicit(), account.in_clear) {
        (true, _) => Security::Implicit(tls()?),
        (false, false) => Security::Starttls(tls()?),
        (false, true) => Security::Plain,
    };
    let endpoint = Endpoint::new(account.host.clone(), account.port, security);
    Ok(match account.address {
        Some(address) => endpoint.at(address),
        None => endpoint,
    })
}

fn change<T>(status: &Shared, how: impl FnOnce(&mut FetchStatus) -> T) -> T {
    how(&mut status.lock().unwrap_or_else(PoisonError::into_inner))
}

fn note(account: &FetchAccount, status: &Shared, stumbling: &Stumbling, remote: &mut impl Remote) {
    let mut notes = remote.notes();
    notes.extend(stumbling.told());
    change(status, |status| status.notes = notes);
    let Some(views) = remote.views() else { return };
    let is_news = change(status, |status| {
        let is_news = status.views != views;
        status.views = views.to_vec();
        is_news && !views.is_empty()
    });
    if is_news {
        let (user, host) = (&account.user, &account.host);
        tracing::info!(%user, host, mailboxes = ?views, "left out, for they show messages of the other mailboxes: what is in no other does not come");
    }
}

fn went_well(status: &Shared) {
    change(status, |status| {
        (status.failures, status.error) = (0, None);
        if status.notes.is_empty() {
            status.succeeded = Some(seconds());
        }
    });
}

/// How long to wait after so many failures in a row.
fn retry(config: &FetchConfig, failures: u32, login: bool) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(20));
    let wait = config.first_retry.saturating_mul(doubled).min(config.longest_retry);
    share(if login { wait.max(config.login_retry) } else { wait }, 75, 125)
}

/// A share of a time, in hundredths between these: many who failed together must not come back together.
fn share(time: Duration, least: u32, most: u32) -> Duration {
    let [first, second, ..] = entropy().unwrap_or([128; 32]);
    let random = u32::from(u16::from_be_bytes([first, second]));
    let thousandths = least * 10 + (most - least) * 10 * random / u32::from(u16::MAX);
    time.saturating_mul(thousandths) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_make_the_wait_longer_up_to_a_limit() {
        let config = FetchConfig::new("mx.test");
        let seconds = |failures, login| retry(&config, failures, login).as_secs();
        assert!((45..=75).contains(&seconds(1, false)));
        assert!((180..=300).contains(&seconds(3, false)));
        assert!((2_700..=4_500).contains(&seconds(u32::MAX, false)));
        assert!((675..=1_125).contains(&seconds(1, true)));
    }

    #[test]
    fn no_two_wait_alike() {
        let minute = Duration::from_secs(60);
        let waits: std::collections::HashSet<Duration> = (0..50).map(|_| share(minute, 75, 125)).collect();
        assert!(waits.len() > 10);
        assert!(waits.iter().all(|wait| (Duration::from_secs(45)..=Duration::from_secs(75)).contains(wait)));
    }
}
