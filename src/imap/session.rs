//! The session loop: what the machine asks for, the store's changes and the end of it all, as they come.

use std::{io, sync::Arc, time::Duration};

use mailwright_imap_proto::server::{Event, Server};
use mailwright_line_proto::{AuthStep, Closed, Deflate, Shutdown};
use mailwright_mailstore::{
    News, Snapshot, Store, StoreError, User, Watch,
    accounts::{Accounts, Service as Purpose},
};
use tokio_util::sync::CancellationToken;

use super::{
    POLL, Visit,
    notify::{Own, news},
    selected::Selected,
};
use crate::{
    listen::Probation,
    service::{Session, abandon, release, revoke, warn},
};

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// Serves the client until the connection ends.
    pub(super) async fn run(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        probation: &mut Probation,
        stop: CancellationToken,
    ) -> io::Result<Option<Closed>> {
        let (mut closed, mut stopping, mut revoked) = (None, false, false);
        if let Some(news) = probation.first() {
            warn(connection, news);
        }
        loop {
            let server = connection.machine().inner().inner();
            if !stopping && server.transmit_room() == 0 {
                // A client that does not read is told no more of what happens: the next look covers all that it missed.
                tokio::select! {
                    flushed = connection.flush_below(self.service.config.limits.transmit / 2) => flushed?,
                    () = stop.cancelled() => {
                        stopping = true;
                        connection.machine().inner_mut().inner_mut().shutdown(Shutdown::Stopping);
                    }
                    () = self.seat.ended(), if !revoked => {
                        revoked = true;
                        revoke(connection);
                    }
                    news = probation.news() => warn(connection, news),
                }
                continue;
            }
            let awake = self.idle || server.notifies_selected();
            let watched = if awake { self.selected.as_ref() } else { None };
            let event = tokio::select! {
                event = connection.next() => event?,
                changed = changed(self.store, watched), if watched.is_some() => {
                    // In boxes, as all that a session does now and then: one that only waits holds no room for it.
                    Box::pin(self.tell_change(connection, changed)).await;
                    continue;
                }
                news = news(self.store, self.user.as_ref(), self.notifier.as_deref()), if self.notifier.is_some() => {
                    Box::pin(self.tell_feed(connection, news)).await;
                    continue;
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.machine().inner_mut().inner_mut().shutdown(Shutdown::Stopping);
                    continue;
                }
                () = self.seat.ended(), if !revoked => {
                    revoked = true;
                    revoke(connection);
                    continue;
                }
                news = probation.news() => {
                    warn(connection, news);
                    continue;
                }
            };
            probation.busy();
            match event {
                None => return Ok(closed),
                Some(Event::Closed(reason)) => {
                    // Before the client sees the end.
                    Box::pin(self.leave_soon()).await;
                    closed = Some(reason);
                }
                Some(_) if self.given_up => {}
                Some(event) => {
                    let patience = self.service.config.timeouts.work;
                    match Box::pin(connection.turns().within(patience, self.handle(connection, event))).await
                    {
                        Some(done) => done?,
                        None => self.give_up(connection),
                    }
                    if self.user.is_some() {
                        release(connection, probation);
                    }
                }
            }
        }
    }

    /// Tells what has changed in the open mailbox.
    async fn tell_change(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        changed: Result<Arc<Snapshot>, StoreError>,
    ) {
        let (turns, patience) = (connection.turns(), self.service.config.timeouts.work);
        if let Some(selected) = &mut self.selected {
            selected.is_still = true;
        }
        let told = async {
            self.catch_up(connection, changed).await;
            self.search_again(connection).await;
        };
        if turns.within(patience, told).await.is_none() {
            self.give_up(connection);
        }
    }

    /// Tells what has happened elsewhere.
    async fn tell_feed(
        &mut self,
        connection: &mut Session<Deflate<Server>>,
        news: (Option<User>, Result<News, StoreError>),
    ) {
        let (turns, patience) = (connection.turns(), self.service.config.timeouts.work);
        if turns.within(patience, self.tell_news(connection, news)).await.is_none() {
            self.give_up(connection);
        }
    }

    /// The store does not answer: the client is told to try again, and nothing more is asked of the store.
    fn give_up(&mut self, connection: &mut Session<Deflate<Server>>) {
        (self.selected, self.notifier, self.incoming) = (None, None, None);
        (self.idle, self.given_up) = (false, true);
        abandon(connection, "imap", &self.peer);
    }

    /// Leaves what is open, with as much time for it as for everything else.
    pub(super) async fn leave_soon(&mut self) {
        let patience = self.service.config.timeouts.work;
        // What is recent stays so then.
        let _ = tokio::time::timeout(patience, self.leave()).await;
    }

    async fn handle(&mut self, connection: &mut Session<Deflate<Server>>, event: Event) -> io::Result<()> {
        // An answer that comes too late was given by the machine already: nothing is left to do about it.
        match event {
            Event::Login(ask) => {
                let tls = connection.machine().is_secure();
                self.seat.begin();
                let authenticator = &self.service.authenticator;
                let answer = authenticator
                    .password_after(&mut self.exchange, &ask, &self.peer, tls, Purpose::Imap)
                    .await;
                let server = connection.machine().inner_mut().inner_mut();
                let answer = answer.and_then(|user| {
                    self.refer(server, Some(&user))?;
                    self.seat.take(&user);
                    self.user = Some(user);
                    Ok(())
                });
                connection.machine().inner_mut().inner_mut().allow_set_quota(self.is_administrator());
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::Authenticate(ask) => {
                let tls = connection.machine().inner().inner().tls().cloned();
                if !ask.continues {
                    self.seat.begin();
                }
                let (mut step, mut user) = self
                    .service
                    .authenticator
                    .step(&mut self.exchange, &ask, &self.peer, tls.as_ref(), Purpose::Imap)
                    .await;
                let server = connection.machine().inner_mut().inner_mut();
                if let Err(refused) = self.refer(server, user.as_ref()) {
                    (step, user) = (AuthStep::Refuse(refused), None);
                }
                if let Some(user) = user {
                    self.seat.take(&user);
                    self.user = Some(user);
                }
                connection.machine().inner_mut().inner_mut().allow_set_quota(self.is_administrator());
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, step);
            }
            Event::Open(ask) => {
                let answer = self.open(&ask).await;
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::Close(ask) => {
                let answer = self.close(ask.expunge).await;
                if !connection.machine().inner().inner().is_authenticated() {
                    // RFC 8437 §3: whoever logs in next is somebody else.
                    self.seat.leave();
                    (self.user, self.notifier) = (None, None);
                }
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::Refresh(ask) => {
                self.refresh(connection).await;
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, ());
            }
            Event::Idle(ask) => {
                self.refresh(connection).await;
                self.idle = connection.machine().inner_mut().inner_mut().answer(ask, ()).is_ok();
            }
            Event::IdleEnd => self.idle = false,
            Event::Message(ask) => {
                let answer = self.begin_append(&ask).await;
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::Body(chunk) => self.append_chunk(chunk).await,
            Event::Include(ask) => {
                let answer = self.include(&ask.url).await;
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::BodyEnd(ask) => {
                let answer = self.commit_append().await;
                self.refresh(connection).await;
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::BodyAborted => self.incoming = None,
            Event::Fetch(ask) => self.fetch(connection, ask).await?,
            Event::UrlFetch(ask) => self.fetch_urls(connection, ask).await?,
            Event::Store(ask) => self.store_flags(connection, ask).await?,
            Event::Annotate(ask) => self.store_annotations(connection, ask).await?,
            Event::Find(ask) => {
                self.refresh(connection).await;
                let answer = self.telling(connection, &ask, self.find(&ask)).await;
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::ApplyFilter(ask) => self.apply_filter(connection, ask).await?,
            Event::MultiSearch(ask) => {
                self.refresh(connection).await;
                let answer = self.telling(connection, &ask, self.search_several(&ask)).await;
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::Order(ask) => {
                self.refresh(connection).await;
                let answer = self.telling(connection, &ask, self.order(&ask)).await;
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::Gather(ask) => {
                self.refresh(connection).await;
                let answer = self.telling(connection, &ask, self.gather(&ask)).await;
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::Expunge(ask) => {
                let answer = self.expunge(ask.messages.as_ref()).await;
                // First: the answer says up to which mod-sequence everything is told.
                self.refresh(connection).await;
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::Copy(ask) => {
                let answer = self.copy(&ask.messages, &ask.to).await;
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::Move(ask) => {
                let answer = self.relocate(&ask.messages, &ask.to).await;
                self.refresh(connection).await;
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            Event::Notify(ask) => {
                self.refresh(connection).await;
                let answer = self.begin_to_notify(&ask).await;
                if answer.is_ok() {
                    self.tell_no_access(connection.machine().inner_mut().inner_mut());
                }
                let _ = connection.machine().inner_mut().inner_mut().answer(ask, answer);
            }
            other => {
                let own = self.notifier.as_ref().and_then(|_| Own::of(&other));
                if let Event::Id(ask) = &other {
                    let name = ask.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case("name"));
                    self.client = name.and_then(|(_, name)| name.as_deref().map(Into::into));
                }
                let done = self.handle_folders(connection, other).await;
                if let Some(own) = own.filter(|_| done) {
                    self.pass_over(&own).await;
                }
            }
        }
        Ok(())
    }
}

/// How long a store rests that said that something had changed when nothing had, and one that failed.
pub(super) const REST: Duration = Duration::from_secs(1);
pub(super) const LONG_REST: Duration = Duration::from_secs(15);

/// In a box: a session that only waits holds no room for what hardly any does.
pub(super) async fn rest(time: Duration) {
    Box::pin(tokio::time::sleep(time)).await;
}

/// Waits until the mailbox is no longer as the session has seen it. Commands are answered meanwhile, so this is where to wait with a store that
/// has nothing to say, and says it at once.
async fn changed<S: Store>(store: &S, watched: Option<&Selected>) -> Result<Arc<Snapshot>, StoreError> {
    let Some(selected) = watched else { return std::future::pending().await };
    let (user, name) = (selected.mailbox.user(), selected.mailbox.name());
    match store.watch() {
        Some(watch) => {
            if selected.is_still {
                rest(REST).await;
            }
            // In a box, for how much room a store needs for it is not known here, and few sessions wait so.
            let changed = Box::pin(watch.changed(user, name, &selected.snapshot)).await;
            if changed.as_ref().is_err_and(|error| !matches!(error, StoreError::NotFound)) {
                rest(LONG_REST).await;
            }
            changed
        }
        None => {
            tokio::time::sleep(POLL).await;
            Box::pin(store.open(user, name)).await
        }
    }
}
