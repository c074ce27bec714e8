//! URLs that let others read: what is answered to those who make them, and to those who use them (RFC 4467, RFC 5524).

use mailwright_line_proto::{Ask, Misuse};
use mailwright_mail_model::mime::Structure;

use super::{
    Server,
    answer::Reply,
    fetch::{Stream, Tail},
    slots::Slot,
};
use crate::{
    command::{GenUrlAuth, ResetKey, UrlFetch, UrlOctets},
    grammar::Wire,
    refusal::Answered,
    response::{ResponseCode, put_part_structure},
};

/// What a URL names, in the answer to [`UrlFetch`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct UrlContent<'a> {
    /// The structure of the message and the path of the part in it, if that is wanted.
    pub structure: Option<(&'a Structure, &'a [std::num::NonZeroU32])>,
    /// How many octets come with [`Server::send_body`], if they are wanted.
    pub length: Option<u64>,
}

impl<'a> UrlContent<'a> {
    /// So many octets.
    pub fn octets(length: u64) -> Self {
        Self { structure: None, length: Some(length) }
    }

    /// This part of a message, and perhaps so many octets of it.
    pub fn part(structure: &'a Structure, path: &'a [std::num::NonZeroU32], length: Option<u64>) -> Self {
        Self { structure: Some((structure, path)), length }
    }
}

impl Server {
    /// Sends what the URL at this place among those of the request names; nothing is told of it but that if it is `None`, whatever the
    /// reason is (RFC 4467 §7).
    ///
    /// If octets were announced, go on with [`send_body`](Self::send_body) and [`end_body`](Self::end_body).
    ///
    /// # Errors
    /// [`Misuse::BodyOpen`] while another response is open, [`Misuse::Argument`] if the request is gone or has no such place.
    pub fn fetch_url(
        &mut self,
        ask: &Ask<UrlFetch>,
        place: usize,
        content: Option<UrlContent<'_>>,
    ) -> Result<(), Misuse> {
        if self.stream.is_some() {
            return Err(Misuse::BodyOpen);
        }
        self.slots.find(ask.id()).ok_or(Misuse::Argument("the request is gone"))?;
        self.slots.touch(ask.id());
        let wanted = ask.urls.get(place).ok_or(Misuse::Argument("there is no such URL"))?;
        let wire = &mut self.transmit;
        wire.put(b"* URLFETCH ");
        wire.put_string(wanted.url.as_bytes());
        let Some(content) = content else {
            wire.put(b" NIL\r\n");
            return Ok(());
        };
        if let Some((structure, path)) = content.structure.filter(|_| wanted.structure) {
            wire.put(b" (BODYPARTSTRUCTURE ");
            put_part_structure(structure, path, wire);
            wire.put(b")");
        }
        let Some((length, octets)) = content.length.zip(wanted.octets) else {
            wire.put(b"\r\n");
            return Ok(());
        };
        let before: &[u8] = match (wanted.extended, octets) {
            (false, _) => b" {",
            (true, UrlOctets::Encoded) => b" (BODY {",
            // Whatever octets come out of an encoding (RFC 3516 §4.4).
            (true, UrlOctets::Decoded) => b" (BINARY ~{",
        };
        wire.put(before);
        wire.put_number(length);
        wire.put(b"}\r\n");
        let tail = if wanted.extended { Tail::Literal(b")\r\n") } else { Tail::Literal(b"\r\n") };
        let any = wanted.extended && octets == UrlOctets::Decoded;
        self.stream = Some(Stream::new(ask.id(), tail, length).of_any(any));
        Ok(())
    }
}

impl Reply for UrlFetch {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<()>) {
        server.done(&slot, answer);
    }
}

impl Reply for GenUrlAuth {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<Vec<String>>) {
        if let Ok(urls) = &answer
            && !urls.is_empty()
        {
            let wire = server.out();
            wire.put(b"* GENURLAUTH");
            for url in urls {
                wire.put(b" ");
                wire.put_string(url.as_bytes());
            }
            wire.put(b"\r\n");
        }
        server.done(&slot, answer.map(drop));
    }
}

impl Reply for ResetKey {
    fn reply(server: &mut Server, slot: Slot, _: Self, answer: Answered<()>) {
        match answer {
            Ok(()) => server.succeed(&slot, Some(mechanisms())),
            Err(refusal) => server.refuse(&slot, refusal),
        }
    }
}

/// The mechanisms that there are (RFC 4467 §8).
pub(super) fn mechanisms() -> ResponseCode {
    ResponseCode::Other { name: "URLMECH".into(), text: Some("INTERNAL".into()) }
}
