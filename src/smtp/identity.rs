//! Who the client of a session is: what is forgotten of it, and who takes its place.

use mailwright_line_proto::{Ask, AuthRefusal};
use mailwright_mailstore::{
    User,
    accounts::{Accounts, Service as Purpose},
};
use mailwright_relay_policy::Session as Conversation;
use mailwright_smtp_proto::{Attribute, Reply, XClient, server::Server};

use super::{Inbox, Smtp, Visit};
use crate::{
    Authenticator,
    service::{Session, shown},
};

impl<I, A> Smtp<I, A> {
    /// Who knows the accounts that proxies name.
    pub(super) fn knows_accounts(&self) -> Option<&Authenticator<A>> {
        self.proxied.as_deref().or(self.authenticator.as_deref())
    }
}

impl<I: Inbox, A: Accounts> Visit<'_, I, A> {
    /// What policies know of the session goes along with it.
    pub(super) fn look(&mut self, connection: &mut Session<Server>) {
        let tls = connection.machine().is_secure();
        if tls && !self.conversation.tls {
            self.forget();
        }
        self.conversation.tls = tls;
        self.conversation.may_log_in =
            self.service.authenticator.is_some() && self.conversation.user.is_none();
    }

    /// RFC 3207 §4.2: behind STARTTLS nothing counts that the client said before it, such as a login, which somebody on the way may have
    /// heard or made.
    fn forget(&mut self) {
        self.exchange = None;
        self.conversation.user = None;
        self.conversation.hello = None;
        self.conversation.mail = None;
        if let Some(seat) = &mut self.seat {
            seat.leave();
        }
    }

    /// From here on the connection is another client's: a proxy that is believed says so.
    pub(super) async fn take_over(&mut self, connection: &mut Session<Server>, ask: Ask<XClient>) {
        let proxy = shown(&self.conversation.peer);
        let typed = ask.request().0.login.as_ref().and_then(Attribute::known).cloned();
        let user = match &typed {
            Some(typed) => self.account(typed).await.map(Some),
            None => Ok(None),
        };
        let user = match user {
            Ok(user) => user,
            Err(reply) => {
                let text = reply.to_string();
                tracing::info!(protocol = "smtp", proxy, login = ?typed, reply = text.trim_end(), "not taken over");
                let _ = connection.machine().inner_mut().answer(ask, Err(reply));
                return;
            }
        };
        if connection.machine().inner_mut().answer(ask, Ok(())).is_err() {
            return;
        }
        self.forget();
        self.conversation = Conversation::default();
        self.conversation.tls = connection.machine().is_secure();
        self.conversation.peer = *connection.machine().inner().session().peer();
        if let (Some(seat), Some(user)) = (&mut self.seat, &user) {
            seat.take(user);
        }
        self.conversation.user = user.map(|user| user.as_str().to_owned());
        let (peer, user) = (shown(&self.conversation.peer), self.conversation.user.as_deref());
        tracing::info!(protocol = "smtp", proxy, peer, user, "taken over");
    }

    /// The account of whoever has logged in to the proxy with this name, as a client typed it.
    async fn account(&self, typed: &str) -> Result<User, Reply> {
        let Some(authenticator) = self.service.knows_accounts() else {
            return Err(Reply::permanent((7, 1), "Nobody logs in here"));
        };
        let opened = authenticator.proxied(typed, &self.conversation.peer, Purpose::Submission).await;
        opened.map_err(|refusal| match refusal {
            AuthRefusal::Unavailable => Reply::transient((7, 0), "Whose account that is cannot be told now"),
            _ => Reply::permanent((7, 1), "There is no account of that name that may send here"),
        })
    }
}
