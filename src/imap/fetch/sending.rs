//! Sending the items of a message; what is large goes piece by piece, as fast as the client takes it.

use std::{io, ops::Range};

use bytes::Bytes;
use mailwright_imap_proto::{
    command::Fetch,
    server::{FetchData, Server},
};
use mailwright_line_proto::{Ask, Deflate};
use mailwright_mail_model::UidSet;
use mailwright_mailstore::{MessageRef, Store, StoreError, accounts::Accounts};

use super::items::Item;
use crate::service::octets_of;
use crate::{
    imap::{Visit, derived::Decoding, described::CHUNK},
    service::Session,
};

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    pub(super) async fn send_one(
        &self,
        connection: &mut Session<Deflate<Server>>,
        ask: &Ask<Fetch<UidSet>>,
        reference: &MessageRef,
        items: &[Item<'_>],
    ) -> io::Result<()> {
        let (mut begun, mut open) = (false, false);
        let mut rest = items;
        while !(rest.is_empty() && begun) {
            // Up to and with the next section that is streamed: nothing can stand behind that.
            let length = rest.iter().position(Item::is_stream).map_or(rest.len(), |at| at + 1);
            let (now, later) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = later;
            let data: Vec<FetchData<'_>> = now
                .iter()
                .map(|item| match item {
                    Item::Ready(data) => *data,
                    Item::Octets(section, octets) => FetchData::Section(section, octets.as_ref()),
                    Item::EmailId(id) => FetchData::EmailId(id),
                    Item::ThreadId(id) => FetchData::ThreadId(id.as_deref()),
                    Item::Preview(text) => FetchData::Preview(text.as_deref()),
                    Item::FuzzyPreview(name, text) => FetchData::FuzzyPreview(*name, text.as_deref()),
                    Item::Binary(section, octets) => FetchData::Binary(section, octets.as_ref()),
                    Item::Stream(section, range, _) => FetchData::Stream(section, range.end - range.start),
                    Item::Decode(section, length, _) => FetchData::StreamBinary(section, *length),
                })
                .collect();
            let server = connection.machine().inner_mut().inner_mut();
            let sent = if begun {
                server.fetch_more(&data).map(|()| true)
            } else {
                server.fetch(ask, reference.uid, &data)
            };
            match sent {
                Ok(true) => begun = true,
                // The client does not know of the message, or the request is gone.
                Ok(false) | Err(_) => return Ok(()),
            }
            let went = match now.last() {
                Some(Item::Stream(_, range, first)) => {
                    self.stream(connection, reference, range.clone(), first.clone()).await?
                }
                Some(Item::Decode(_, _, decoding)) => self.decode(connection, reference, decoding).await?,
                _ => continue,
            };
            if !went {
                return Ok(());
            }
            open = true;
        }
        if open {
            // If the connection is gone, its closing event says so next.
            let _ = connection.machine().inner_mut().inner_mut().end_body();
        }
        Ok(())
    }

    /// Sends octets of a message; says whether all of them could be had.
    async fn stream(
        &self,
        connection: &mut Session<Deflate<Server>>,
        reference: &MessageRef,
        range: Range<u64>,
        first: Bytes,
    ) -> io::Result<bool> {
        let mut offset = range.start + first.len() as u64;
        if !self.send_chunk(connection, reference, Ok(first)).await? {
            return Ok(false);
        }
        while offset < range.end {
            let chunk = octets_of(self.store, reference, offset..range.end.min(offset + CHUNK)).await;
            offset += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
            if !self.send_chunk(connection, reference, chunk).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same for a part without its encoding.
    async fn decode(
        &self,
        connection: &mut Session<Deflate<Server>>,
        reference: &MessageRef,
        decoding: &Decoding,
    ) -> io::Result<bool> {
        let mut decoder = decoding.start();
        while let Some(chunk) = decoder.next(self.store, reference).await.transpose() {
            if !self.send_chunk(connection, reference, chunk).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends the next octets of what is being sent, and waits until the client takes them.
    async fn send_chunk(
        &self,
        connection: &mut Session<Deflate<Server>>,
        reference: &MessageRef,
        chunk: Result<Bytes, StoreError>,
    ) -> io::Result<bool> {
        let server = connection.machine().inner_mut().inner_mut();
        match chunk {
            Ok(chunk) if !chunk.is_empty() => {
                if server.send_body(chunk).is_err() {
                    return Ok(false);
                }
            }
            failed => {
                let uid = reference.uid.get();
                tracing::error!(uid, ?failed, "cannot read a message that is being sent");
                // Short of what was announced: the machine closes, so that nobody takes the part for the whole.
                let _ = server.end_body();
                return Ok(false);
            }
        }
        // Below what is compressed ahead, or the machine's own would grow while nothing is taken of that. What is less waits for more, so
        // that messages of some size do not leave one by one.
        let (most, room) =
            (self.service.config.limits.transmit, connection.machine().inner().inner().transmit_room());
        if room < most - most / 2 {
            connection.flush_below(most / 2).await?;
        }
        Ok(true)
    }
}
