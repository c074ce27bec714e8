//! A message as it streams by: its header is kept, its body hashed.

use std::{collections::HashMap, ops::Range, sync::Arc};

use mailwright_mail_model::{
    Address, Domain, LocalPart,
    address_list::{self, Mailbox},
};
use memchr::{memchr, memchr_iter};

use super::{
    arc,
    canonical::{BodyHasher, Canonicalization},
    dkim::Signature,
};

/// Looks at a message while it streams by. Memory is bounded by [`Examiner::LONGEST_HEADER`], whatever the size of the
/// message.
///
/// An example is at the [module](super).
#[derive(Clone)]
pub struct Examiner {
    header: Vec<u8>,
    /// Where its fields are, once all of it is there.
    fields: Vec<Range<usize>>,
    /// Where the line begins that is being read.
    line: usize,
    in_body: bool,
    overlong: bool,
    verifies: bool,
    /// `None` if it is not signed in any case.
    signs: Option<Signs>,
    hashers: Vec<(Wanted, BodyHasher)>,
}

/// Whether a message is signed, as its header tells.
type Signs = Arc<dyn Fn(&Examined) -> bool + Send + Sync>;

/// A hash that a signature asks for.
pub(super) type Wanted = (Canonicalization, Option<u64>);

/// What there is to know of a message to judge its signatures, or to sign it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Examined {
    header: Vec<u8>,
    fields: Vec<Range<usize>>,
    hashes: Vec<(Wanted, [u8; 32], u64)>,
    overlong: bool,
}

impl Default for Examiner {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Examiner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Examiner").field("header", &self.header.len()).finish_non_exhaustive()
    }
}

impl Examiner {
    /// The longest header that is looked at, in octets; no signature of a message with a longer one is good.
    pub const LONGEST_HEADER: usize = 1 << 20;

    /// For a message that has not begun.
    pub fn new() -> Self {
        Self {
            header: Vec::new(),
            fields: Vec::new(),
            line: 0,
            in_body: false,
            overlong: false,
            verifies: true,
            signs: None,
            hashers: Vec::new(),
        }
    }

    /// The same, for a message that is to be signed too.
    #[must_use]
    pub fn for_signing(self) -> Self {
        self.for_signing_if(|_| true)
    }

    /// The same, for a message that is to be signed too if this says so once the header is there: a body that nobody needs the
    /// hash of is not hashed.
    #[must_use]
    pub fn for_signing_if(mut self, signs: impl Fn(&Examined) -> bool + Send + Sync + 'static) -> Self {
        self.signs = Some(Arc::new(signs));
        self
    }

    /// The same, for a message whose own signatures nobody verifies.
    #[must_use]
    pub fn without_verifying(mut self) -> Self {
        self.verifies = false;
        self
    }

    /// The next octets, cut anywhere.
    pub fn push(&mut self, octets: &[u8]) {
        let mut rest = octets;
        if !self.in_body {
            let (header, body) = self.header_in(octets);
            rest = body.unwrap_or_default();
            let empty_line = octets.len() - header.len() - rest.len();
            if self.header.len() + header.len() + empty_line > Self::LONGEST_HEADER {
                // Nothing will be verified, so nothing need be kept.
                (self.overlong, self.in_body) = (true, true);
                self.header = Vec::new();
                return;
            }
            self.header.extend_from_slice(header);
            if body.is_some() {
                // The CR of an empty line that was torn.
                self.header.truncate(self.line);
                self.begin_body();
            }
        }
        for (_, hasher) in &mut self.hashers {
            hasher.push(rest);
        }
    }

    /// What of these octets is header, the empty line apart, and what is body if that begins in them.
    fn header_in<'a>(&mut self, octets: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
        let (before, mut start) = (self.header.len(), 0);
        for end in memchr_iter(b'\n', octets).map(|feed| feed + 1) {
            let begun = self.header.get(self.line..).unwrap_or_default();
            let line = octets.get(start..end).unwrap_or_default();
            if matches!((begun, line), (b"", b"\r\n" | b"\n") | (b"\r", b"\n")) {
                return (octets.get(..start).unwrap_or_default(), octets.get(end..));
            }
            start = end;
            self.line = before + end;
        }
        (octets, None)
    }

    /// At the end of the message.
    pub fn finish(mut self) -> Examined {
        if !self.in_body {
            self.begin_body();
        }
        let hash = |(wanted, hasher): (Wanted, BodyHasher)| {
            let (hash, octets) = hasher.finish();
            (wanted, hash, octets)
        };
        let hashes = self.hashers.into_iter().map(hash).collect();
        Examined { fields: self.fields, header: self.header, hashes, overlong: self.overlong }
    }

    /// The header is there: from it follows how the body is hashed.
    fn begin_body(&mut self) {
        self.in_body = true;
        let header = std::mem::take(&mut self.header);
        let examined = Examined { fields: fields(&header), header, ..Examined::default() };
        let mut wanted: Vec<Wanted> = Vec::new();
        if self.verifies {
            let signatures = examined.named("DKIM-Signature").take(Examined::MOST_SIGNATURES);
            let signatures = signatures.filter_map(|field| Signature::parse(field.value()).ok());
            wanted.extend(signatures.map(|found| found.body()));
            wanted.extend(arc::wanted(&examined));
        }
        if self.signs.as_ref().is_some_and(|signs| signs(&examined)) {
            wanted.push((Canonicalization::Relaxed, None));
        }
        (self.header, self.fields) = (examined.header, examined.fields);
        for wanted in wanted {
            if !self.hashers.iter().any(|(other, _)| *other == wanted) {
                self.hashers.push((wanted, BodyHasher::new(wanted.0, wanted.1)));
            }
        }
    }
}

/// One field of the header, with its line ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) octets: &'a [u8],
}

impl<'a> Field<'a> {
    pub(super) fn name(&self) -> &'a [u8] {
        let end = self.octets.iter().position(|octet| *octet == b':').unwrap_or(self.octets.len());
        self.octets.get(..end).unwrap_or_default().trim_ascii_end()
    }

    pub(super) fn value(&self) -> &'a [u8] {
        let start =
            self.octets.iter().position(|octet| *octet == b':').map_or(self.octets.len(), |at| at + 1);
        self.octets.get(start..).unwrap_or_default()
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }
}

impl Examined {
    /// So many signatures of a message are looked at.
    pub(super) const MOST_SIGNATURES: usize = 8;

    /// All fields, from the top.
    pub(super) fn fields(&self) -> impl DoubleEndedIterator<Item = Field<'_>> {
        self.fields.iter().filter_map(|range| self.header.get(range.clone())).map(|octets| Field { octets })
    }

    /// The fields of a name, from the top.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = Field<'a>> {
        self.fields().filter(move |field| field.is(name))
    }

    /// The hash of the body, and the length of its canonical form.
    pub(super) fn hash(&self, wanted: Wanted) -> Option<([u8; 32], u64)> {
        self.hashes.iter().find(|(other, ..)| *other == wanted).map(|(_, hash, octets)| (*hash, *octets))
    }

    /// The topmost field Authentication-Results in the name of a server (RFC 8601 §2.2), whole, if there is one.
    pub fn results_of(&self, server: &str) -> Option<String> {
        let written_by = |field: &Field<'_>| {
            let value = String::from_utf8_lossy(field.value());
            let name = value.split(';').next().unwrap_or_default();
            name.split_whitespace().next().is_some_and(|name| name.eq_ignore_ascii_case(server))
        };
        let field = self.named("Authentication-Results").find(written_by)?;
        Some(String::from_utf8_lossy(field.octets).into_owned())
    }

    /// The domains of the signatures at the very top that are by these domains, each once, and how many octets the fields
    /// have.
    pub fn topmost_signatures(&self, by: impl Fn(&str) -> bool) -> (Vec<String>, usize) {
        let (mut domains, mut octets) = (Vec::new(), 0);
        for field in self.fields().take_while(|field| field.is("DKIM-Signature")).take(Self::MOST_SIGNATURES)
        {
            let Some(signature) = Signature::parse(field.value()).ok().filter(|found| by(&found.domain))
            else {
                break;
            };
            octets += field.octets.len();
            if !domains.contains(&signature.domain) {
                domains.push(signature.domain);
            }
        }
        (domains, octets)
    }

    /// The domains that have signed the message, each once, whether or not their signatures hold.
    pub fn signing_domains(&self) -> Vec<String> {
        let mut domains = Vec::new();
        for field in self.named("DKIM-Signature").take(Self::MOST_SIGNATURES) {
            if let Ok(signature) = Signature::parse(field.value())
                && !domains.contains(&signature.domain)
            {
                domains.push(signature.domain);
            }
        }
        domains
    }

    /// Whether the header was too long to be looked at.
    pub fn is_overlong(&self) -> bool {
        self.overlong
    }

    /// The canonical form of the fields that a signature names, in its order. RFC 6376 §5.4.2: of several of one name, the last
    /// counts first; one that is not there is nothing.
    pub(super) fn signed(&self, names: &[String], kind: Canonicalization) -> Vec<u8> {
        let mut output = Vec::new();
        let mut by_name: HashMap<Vec<u8>, Vec<Field<'_>>> = HashMap::new();
        for field in self.fields() {
            by_name.entry(field.name().to_ascii_lowercase()).or_default().push(field);
        }
        for name in names {
            let fields = by_name.get_mut(name.to_ascii_lowercase().as_bytes());
            if let Some(field) = fields.and_then(Vec::pop) {
                kind.field(field.octets, &mut output);
                output.extend_from_slice(b"\r\n");
            }
        }
        output
    }

    /// The domains of all authors: those of every address in every From field, each once; `None` if there is none, or if
    /// [not all of them can be told](Self::authors).
    pub fn author_domains(&self) -> Option<Vec<String>> {
        let authors = self.authors();
        (!authors.doubtful && !authors.domains.is_empty()).then_some(authors.domains)
    }

    /// The domains of the authors that can be read, and whether there may be others.
    pub fn authors(&self) -> Authors {
        // Nobody honest writes for nine domains at once, and each costs questions.
        const MOST: usize = 8;
        let mut authors = Authors { doubtful: self.overlong, ..Authors::default() };
        for field in self.named("From") {
            let (entries, whole) = address_list::parse_telling(field.value());
            authors.doubtful |= !whole;
            for entry in entries {
                let address_list::Entry::Mailbox(mailbox) = entry else { continue };
                let domain = str::from_utf8(&mailbox.domain).unwrap_or_default();
                // An absolute name means the same host.
                match domain.strip_suffix('.').unwrap_or(domain).parse::<Domain>() {
                    Ok(domain) if authors.domains.iter().any(|known| known == domain.key()) => {}
                    Ok(domain) if authors.domains.len() < MOST => {
                        authors.domains.push(domain.key().to_owned())
                    }
                    // `From: root` names nobody elsewhere.
                    Err(_) if !field.value().contains(&b'@') => {}
                    _ => authors.doubtful = true,
                }
            }
        }
        authors
    }

    /// Who says that it is from them: every address in every From and Sender field (RFC 5322 §3.6.2), none if there is no such
    /// field. `None` if that cannot be told: a field without any address, with one that cannot be read or with something else, a
    /// header that was too long to be looked at, or more than a hundred addresses.
    pub fn writers(&self) -> Option<Vec<Address>> {
        const MOST: usize = 100;
        let mut writers = Vec::new();
        for field in self.fields().filter(|field| field.is("From") || field.is("Sender")) {
            let before = writers.len();
            let (entries, whole) = address_list::parse_telling(field.value());
            for entry in entries {
                let address_list::Entry::Mailbox(mailbox) = entry else { continue };
                writers.push(address(&mailbox)?);
            }
            if !whole || writers.len() == before || writers.len() > MOST {
                return None;
            }
        }
        (!self.overlong).then_some(writers)
    }
}

/// Whom a message says that it is from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Authors {
    /// The domains of those that can be read, each once, as their keys; eight at most.
    pub domains: Vec<String>,
    /// Whether there may be others: the header was too long to be looked at, there are too many, an address has no domain that
    /// can be asked about, or a From field holds something that is no address here and may be one for somebody else.
    pub doubtful: bool,
}

/// The address of a mailbox, if it is one.
fn address(mailbox: &Mailbox) -> Option<Address> {
    let part = |octets| str::from_utf8(octets).ok();
    let local = LocalPart::from_unquoted(part(&mailbox.local)?).ok()?;
    Address::new(local, part(&mailbox.domain)?.parse().ok()?).ok()
}

/// Where each field is.
fn fields(header: &[u8]) -> Vec<Range<usize>> {
    let mut fields: Vec<Range<usize>> = Vec::with_capacity(FIELDS);
    let mut at = 0;
    while at < header.len() {
        let rest = header.get(at..).unwrap_or_default();
        let end = at + memchr(b'\n', rest).map_or(rest.len(), |feed| feed + 1);
        match fields.last_mut() {
            Some(field) if matches!(rest.first(), Some(b' ' | b'\t')) => field.end = end,
            _ => fields.push(at..end),
        }
        at = end;
    }
    fields
}

/// How many fields most messages do not have more of.
const FIELDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_claims_to_have_written_it_is_found() {
        let writers = |header: &str| {
            let mut examiner = Examiner::new();
            examiner.push(format!("{header}\r\n\r\nFrom: body@a.example\r\n").as_bytes());
            let found = examiner.finish().writers()?;
            Some(found.iter().map(Address::to_string).collect::<Vec<_>>().join(" "))
        };
        for (header, expected) in [
            ("Subject: x", Some("")),
            ("From: Ann <ann@a.example>", Some("ann@a.example")),
            ("from : \"a b\"@a.example,\r\n bob@b.example", Some("\"a b\"@a.example bob@b.example")),
            ("From: <ann@a.example> <bob@b.example>", Some("ann@a.example bob@b.example")),
            ("From: bob@b.example <ann@a.example>", Some("ann@a.example")),
            ("From: ann@a.example\r\nSender: bob@b.example", Some("ann@a.example bob@b.example")),
            ("From: ann@a.example\r\nFROM: bob@b.example", Some("ann@a.example bob@b.example")),
            ("From: team: ann@a.example;", Some("ann@a.example")),
            ("From: ann@a.example\r\nReply-To: bob@b.example", Some("ann@a.example")),
            ("From: ann", None),
            ("From:", None),
            ("From: nobody:;", None),
            ("From: ann@a.example\r\nSender:", None),
            ("From: ann@a.example, x@-.b_?", None),
        ] {
            assert_eq!(writers(header).as_deref(), expected, "{header}");
        }
        assert_eq!(writers(&format!("From: {}", "a@a.example, ".repeat(101))), None);
        assert_eq!(writers(&format!("From: a@a.example\r\nX: {}", "x".repeat(1 << 20))), None);
    }

    #[test]
    fn the_header_is_the_same_however_it_comes() {
        for (message, header, body) in [
            (
                &b"A: b\r\n c\r\nD: e\r\n\r\nbody\r\n\r\nF: g\r\n"[..],
                &b"A: b\r\n c\r\nD: e\r\n"[..],
                &b"body\r\n\r\nF: g\r\n"[..],
            ),
            (b"A: b\n\nbody", b"A: b\n", b"body"),
            (b"A: b\r\n\rC: d\r\n\r\n", b"A: b\r\n\rC: d\r\n", b""),
            (b"\r\nbody", b"", b"body"),
            (b"A: b", b"A: b", b""),
        ] {
            let hashed = |octets: &[u8]| {
                let mut hasher = BodyHasher::new(Canonicalization::Relaxed, None);
                hasher.push(octets);
                hasher.finish()
            };
            for split in 1..=message.len() {
                let mut examiner = Examiner::new().for_signing();
                message.chunks(split).for_each(|piece| examiner.push(piece));
                let found = examiner.finish();
                assert_eq!(found.header, header, "pieces of {split}");
                assert_eq!(
                    found.hash((Canonicalization::Relaxed, None)),
                    Some(hashed(body)),
                    "pieces of {split}"
                );
            }
        }
        let mut header = vec![b'x'; Examiner::LONGEST_HEADER - 2];
        for overlong in [false, true] {
            for split in [header.len() + 1, 4_096, header.len()] {
                let mut examiner = Examiner::new();
                [&header[..], b"\r\n"].concat().chunks(split).for_each(|piece| examiner.push(piece));
                assert_eq!(examiner.finish().is_overlong(), overlong, "pieces of {split}");
            }
            header.push(b'x');
        }
    }

    #[test]
    fn nothing_is_hashed_that_nobody_asks_for() {
        let message = b"From: ann@a.example\r\nSubject: x\r\n\r\nbody\r\n";
        let hashes = |mut examiner: Examiner| {
            examiner.push(message);
            let asking = examiner.hashers.len();
            (asking, examiner.finish().hashes.len())
        };
        let by_ann = |examined: &Examined| examined.author_domains() == Some(vec!["a.example".to_owned()]);
        assert_eq!(hashes(Examiner::new()), (0, 0));
        assert_eq!(hashes(Examiner::new().for_signing()), (1, 1));
        assert_eq!(hashes(Examiner::new().for_signing_if(by_ann)), (1, 1));
        assert_eq!(hashes(Examiner::new().for_signing_if(move |examined| !by_ann(examined))), (0, 0));
        let signed = "DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=AAAA; b=AAAA\r\n";
        for (examiner, expected) in [(Examiner::new(), 1), (Examiner::new().without_verifying(), 0)] {
            let mut examiner = examiner;
            examiner.push(signed.as_bytes());
            assert_eq!(hashes(examiner), (expected, expected));
        }
    }
}
