//! Who does what is asked: the same for the command line, the control socket and HTTP.

use std::sync::Arc;

use mailwright::mailstore::StoreError;

use super::{Hidden, Reason, Request, Response, meaning::meaning};
use crate::{
    config::Config,
    directory::{Directory, DirectoryError, repeated_aliases},
    fetch::Fetch,
    http::Tokens,
    life::Life,
    live::{self, Live},
    queue::{self, Access, QueueRequest},
    rules::Rules,
    sieve, trace,
};

/// Everything that requests are about. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Administration {
    pub(crate) config: Arc<Config>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) queue: Access,
    pub(crate) life: Life,
    pub(crate) fetch: Fetch,
    pub(crate) tokens: Arc<Tokens>,
    /// What decides about mail; without a server that runs, only where it is asked about.
    pub(crate) rules: Option<Arc<Rules>>,
    /// What only a running server has.
    pub(crate) live: Option<Arc<Live>>,
}

impl Administration {
    /// Does it. Slow where passwords are hashed: not for an async thread.
    pub(crate) fn execute(&self, request: Request) -> Response {
        match request {
            Request::Queue(request) => {
                let shown = match &request {
                    QueueRequest::Show { id } => Some(id.clone()),
                    _ => None,
                };
                match (queue::answer(&self.queue, request), shown) {
                    (Ok(response), _) => Response::Queue(response),
                    (Err(StoreError::NotFound), Some(id)) => Response::Failed {
                        message: format!(
                            "nothing in the queue has the id {id}; `mailwrightd queue list` shows all"
                        ),
                        reason: Reason::Missing,
                    },
                    (Err(error), _) => Response::failed(error),
                }
            }
            Request::Sieve(request) => match &self.life.filter {
                Ok(filter) => sieve::execute(&self.directory, &self.life.store, filter, &request)
                    .map_or_else(Response::failed, Response::Sieve),
                Err(message) => Response::refused(message),
            },
            Request::Fetch(request) => {
                self.fetch.execute(request).map_or_else(Response::failed, Response::Fetch)
            }
            Request::Life(request) => {
                self.life.execute(request).map_or_else(Response::failed, Response::Life)
            }
            Request::Dkim(request) => match self.directory.keys.execute(&request) {
                Ok(keys) => Response::Keys { keys },
                Err(error) => Response::failed(error),
            },
            Request::Live(request) => live::execute(self.live.as_deref(), &request),
            Request::Token(request) => self.tokens.execute(request),
            Request::Trace { message } => match trace::life_of(&self.config, &message) {
                Ok(found) => Response::Trace { left_out: found.left_out, records: found.into_records() },
                Err(error) => Response::failed(error),
            },
            request => self.directory(request).unwrap_or_else(Response::failed),
        }
    }

    /// What is about accounts and addresses.
    fn directory(&self, request: Request) -> Result<Response, DirectoryError> {
        let directory = &self.directory;
        let done = |()| Response::Done;
        match request {
            Request::UserAdd { name, password, mailbox } => {
                let mailbox = mailbox.unwrap_or(self.config.users.mailbox);
                directory.add(&name, &password.0, mailbox).map(done)
            }
            Request::UserList => Ok(Response::Users { users: directory.list() }),
            Request::UserPassword { name, password, old } => {
                let old = old.as_ref().map(|old| &*old.0);
                directory.set_password(&name, &password.0, old).map(done)
            }
            Request::UserEncrypt { name, password: Some(password) } => {
                let (key, again) = directory.encrypt(&name, &password.0)?;
                Ok(Response::RecoveryKey { key: Hidden(key.as_str().to_owned()), again })
            }
            Request::UserEncrypt { name, password: None } => directory.stop_encrypting(&name).map(done),
            Request::UserRemove { name } => self.remove(&name).map(done),
            Request::UserImport { entries, replace } => directory.import(&entries, replace, None),
            Request::Edit(edit) => directory.edit(edit).map(done),
            Request::ReadAliases => directory.read_aliases().map(|file| {
                let problems = repeated_aliases(&file).chain(directory.alias_problems()).collect();
                Response::AliasesRead { entries: file.aliases.len(), problems }
            }),
            Request::DirectoryExport { secrets } => {
                directory.export(secrets).map(|file| Response::Directory { file })
            }
            Request::DirectoryImport { file, only } => {
                directory.import_file(&file, only).map(|entries| Response::Written { entries })
            }
            Request::Address { address } => meaning(directory, &address).map(Response::Address),
            Request::Explain(question) => match &self.rules {
                Some(rules) => {
                    let stages = rules.explain(directory, &self.queue, &question)?;
                    Ok(Response::Explained { stages })
                }
                None => Ok(Response::refused("there are no rules to ask")),
            },
            Request::Proposed { local } => {
                let addresses =
                    directory.current().proposed(&local).map(|address| address.to_string()).collect();
                Ok(Response::Proposed { addresses })
            }
            // Whoever does these has done them.
            Request::Queue(_)
            | Request::Sieve(_)
            | Request::Fetch(_)
            | Request::Life(_)
            | Request::Dkim(_)
            | Request::Live(_)
            | Request::Token(_)
            | Request::Trace { .. } => Ok(Response::Done),
        }
    }

    fn remove(&self, name: &str) -> Result<(), DirectoryError> {
        let user = self.directory.account(name).map(|account| account.user.clone());
        self.directory.remove(name)?;
        // Whatever is fetched for them ends here; it is not looked at again before they are back.
        if let Ok(user) = user
            && let Err(error) = self.fetch.ask_again(user.as_str())
        {
            tracing::error!(%user, %error, "what is fetched for a removed user goes on to its next look");
        }
        Ok(())
    }
}
