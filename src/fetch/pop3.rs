//! A session with a POP3 server.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use bytes::Bytes;
use mailwright_mail_model::DateTime;
use mailwright_pop3_proto::client::Config;

use super::{
    Entry, FetchAccount, FetchError, MessageName,
    fingerprint::HeaderReader,
    notes::Notes,
    pass::{Listed, Remote},
    patience::Patience,
};
use crate::client::{ClientError, Endpoint, Pop3Client, Refusal};

/// A maildrop that is open.
pub(super) struct Pop3<'a> {
    client: Pop3Client,
    account: &'a FetchAccount,
    notes: Notes,
    patience: Patience,
}

impl<'a> Pop3<'a> {
    pub(super) async fn open(endpoint: &Endpoint, account: &'a FetchAccount) -> Result<Self, FetchError> {
        let mut config = Config::default();
        config.allow_plaintext_auth = account.in_clear;
        let mut patience = Patience::default();
        let mut client = patience.answer(Pop3Client::connect(endpoint, Arc::new(config))).await?;
        let bearer = account.bearer().await?;
        let login = async {
            let login = match bearer {
                Some(bearer) => client.authenticate(&bearer).await,
                None => client.login(&account.login, &account.password).await,
            };
            login.map_err(FetchError::at_login)
        };
        patience.answer(login).await?;
        Ok(Self { client, account, notes: Notes::default(), patience })
    }

    /// Ends the session: what was deleted goes now.
    pub(super) async fn quit(mut self) -> Result<(), FetchError> {
        self.patience.answer(self.client.quit()).await
    }

    /// The names of messages on a server that gives none: by their headers.
    async fn names_by_header(&mut self, count: u32) -> Result<Vec<Named>, FetchError> {
        let (mut names, mut seen) = (Vec::new(), HashMap::new());
        for number in 1..=count {
            if !Remote::open(self, number, true).await? {
                continue;
            }
            let mut header = HeaderReader::default();
            while let Some(octets) = self.piece().await? {
                header.push(&octets);
            }
            let fingerprint = header.fingerprint();
            let name = |nth: [u8; 4]| MessageName::of(&[b"header", &fingerprint.0, &nth]);
            // Whatever comes may have a header that was there before.
            names.push((number, name(nth(&mut seen, fingerprint)), Some(name(FIRST))));
        }
        Ok(names)
    }
}

/// The number of a message, its name, and what it shares with others.
type Named = (u32, MessageName, Option<MessageName>);

/// The first of those that share a name.
const FIRST: [u8; 4] = 1_u32.to_be_bytes();

/// How often this was seen before: servers have been met that give two messages one name.
fn nth<K: std::hash::Hash + Eq>(seen: &mut HashMap<K, u32>, name: K) -> [u8; 4] {
    let count = seen.entry(name).or_insert(0);
    *count += 1;
    count.to_be_bytes()
}

impl Remote for Pop3<'_> {
    async fn list(&mut self, _: &HashMap<MessageName, Entry>) -> Result<Vec<Listed>, FetchError> {
        let sizes: HashMap<u32, u64> = self
            .patience
            .answer(self.client.list())
            .await?
            .into_iter()
            .map(|listed| (listed.number.get(), listed.octets))
            .collect();
        let names = match self.patience.answer(self.client.uidl()).await {
            Ok(identified) => {
                let (mut seen, mut counts) = (HashMap::new(), HashMap::new());
                for message in &identified {
                    nth(&mut counts, message.unique_id.as_str());
                }
                let name = |message: &mailwright_pop3_proto::Identified| {
                    let id = message.unique_id.as_str();
                    let name = |nth: [u8; 4]| MessageName::of(&[b"uidl", id.as_bytes(), &nth]);
                    let shared = counts.get(id).is_some_and(|count| *count > 1).then(|| name(FIRST));
                    (message.number.get(), name(nth(&mut seen, id.to_owned())), shared)
                };
                identified.iter().map(name).collect()
            }
            // RFC 1939 §7: UIDL is optional.
            Err(FetchError::Client(ClientError::Refused(_))) => {
                let count = u32::try_from(sizes.len()).unwrap_or(u32::MAX);
                self.names_by_header(count).await?
            }
            Err(error) => return Err(error),
        };
        let listed =
            |(handle, name, shared)| Listed { name, handle, size: sizes.get(&handle).copied(), shared };
        Ok(names.into_iter().map(listed).collect())
    }

    async fn open(&mut self, handle: u32, header: bool) -> Result<bool, FetchError> {
        let Some(number) = NonZeroU32::new(handle) else { return Ok(false) };
        if header {
            match self.patience.part(self.client.top(number, 0)).await {
                Ok(_) => return Ok(true),
                // RFC 1939 §7: TOP is optional as well.
                Err(FetchError::Client(ClientError::Refused(Refusal::Pop3(_)))) => {}
                Err(error) => return Err(error),
            }
        }
        match self.patience.part(self.client.open(number)).await {
            Ok(_) => Ok(true),
            Err(FetchError::Client(ClientError::Refused(refusal))) => {
                self.notes.not_given(self.account, handle, refusal);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, FetchError> {
        let part = self.patience.part(self.client.part()).await?;
        match &part {
            Some(octets) => self.patience.came(octets.len()),
            None => self.patience.ended(),
        }
        Ok(part)
    }

    fn came(&self) -> (bool, Option<DateTime>) {
        (true, None)
    }

    async fn delete(&mut self, handles: &[u32]) -> Result<Vec<u32>, FetchError> {
        let mut deleted = Vec::new();
        for number in handles.iter().filter_map(|handle| NonZeroU32::new(*handle)) {
            match self.patience.answer(self.client.dele(number)).await {
                Ok(()) => deleted.push(number.get()),
                Err(FetchError::Client(ClientError::Refused(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(deleted)
    }

    fn notes(&mut self) -> Vec<String> {
        self.notes.take()
    }
}
