//! The PROXY protocol, version 1 and 2: whom a proxy in front of a server connects for.

mod additions;

use std::net::SocketAddr;

use ppp::{v1, v2};

use crate::Peer;

/// The specification's longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;
/// The shortest header there is, `PROXY UNKNOWN` and its line end: so much can be read without taking what is not the header's.
const SHORTEST: usize = 15;
/// The fixed part of version 2.
const FIXED: usize = 16;
/// How long the addresses of each family are.
const IPV4: usize = 12;
const IPV6: usize = 36;
const UNIX: usize = 216;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the first octets of a connection are, as a header of the PROXY protocol that HAProxy specifies.
///
/// The header has no end that could be looked for in both versions, so whoever reads it asks after each piece how many octets more are
/// certainly its own: what stands behind it is left for the protocol.
///
/// ```
/// use mailwright_line_proto::ProxyHeader;
///
/// let stream = b"PROXY TCP4 192.0.2.1 198.51.100.2 49153 25\r\nEHLO client.example\r\n";
/// let mut taken = 0;
/// let peer = loop {
///     match ProxyHeader::read(&stream[..taken]) {
///         ProxyHeader::Wants(more) => taken += more,
///         ProxyHeader::Whole(peer) => break peer,
///         ProxyHeader::Malformed => panic!("no header"),
///     }
/// };
/// assert_eq!(peer.and_then(|peer| peer.remote), Some("192.0.2.1:49153".parse()?));
/// assert!(stream[taken..].starts_with(b"EHLO"));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "octets are a header, a part of one, or none")]
pub enum ProxyHeader {
    /// The beginning of one, of which so many octets more are part, whatever they are: at least one, and not above
    /// [`LONGEST`](Self::LONGEST) with those that are here.
    Wants(usize),
    /// All of one, and nothing else: the client, and where it connected to. `None` if the proxy connects for itself, as it does to see
    /// whether the server is alive, or does not know.
    Whole(Option<Peer>),
    /// No header, or one that is too long.
    Malformed,
}

impl ProxyHeader {
    /// The longest header that is taken, in octets. Addresses take 52 octets of it at most; what follows is what the proxy adds. If there
    /// is a checksum in it (CRC32C), a header with another is malformed; nothing else of it is looked at.
    pub const LONGEST: usize = 4096;

    /// What these octets are, which are all that have come.
    pub fn read(octets: &[u8]) -> Self {
        if octets.len() < SHORTEST {
            return Self::Wants(SHORTEST - octets.len());
        }
        if octets.starts_with(SIGNATURE) {
            return binary(octets);
        }
        if !octets.starts_with(b"PROXY ") {
            return Self::Malformed;
        }
        match memchr::memchr(b'\n', octets) {
            Some(end) if end + 1 == octets.len() && octets.ends_with(b"\r\n") => line(octets),
            // Until the line end comes each octet may be the last.
            None if octets.len() < LONGEST_LINE => Self::Wants(1),
            _ => Self::Malformed,
        }
    }
}

fn line(octets: &[u8]) -> ProxyHeader {
    let Ok(header) = v1::Header::try_from(octets) else { return ProxyHeader::Malformed };
    ProxyHeader::Whole(match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(found) => between(
            (found.source_address, found.source_port),
            (found.destination_address, found.destination_port),
        ),
        v1::Addresses::Tcp6(found) => between(
            (found.source_address, found.source_port),
            (found.destination_address, found.destination_port),
        ),
    })
}

fn binary(octets: &[u8]) -> ProxyHeader {
    let Some(&[high, low]) = octets.get(FIXED - 2..FIXED) else {
        return ProxyHeader::Wants(FIXED - octets.len());
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > ProxyHeader::LONGEST || octets.len() > length {
        return ProxyHeader::Malformed;
    }
    if octets.len() < length {
        return ProxyHeader::Wants(length - octets.len());
    }
    // §2.2: the rest of what a proxy says that connects for itself, as to see whether we live, is to be thrown away, its
    // family too: there may be none of the addresses that it would have.
    if octets.get(12) == Some(&0x20) {
        return ProxyHeader::Whole(None);
    }
    let Ok(header) = v2::Header::try_from(octets) else { return ProxyHeader::Malformed };
    let addresses = match header.addresses {
        // Of a family that is not told, it is not known how long they are.
        v2::Addresses::Unspecified => None,
        v2::Addresses::IPv4(_) => Some(IPV4),
        v2::Addresses::IPv6(_) => Some(IPV6),
        v2::Addresses::Unix(_) => Some(UNIX),
    };
    if addresses.is_some_and(|length| !additions::are_right(octets, FIXED + length)) {
        return ProxyHeader::Malformed;
    }
    ProxyHeader::Whole(match (header.command, header.addresses) {
        (v2::Command::Local, _) | (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
        (v2::Command::Proxy, v2::Addresses::IPv4(found)) => between(
            (found.source_address, found.source_port),
            (found.destination_address, found.destination_port),
        ),
        (v2::Command::Proxy, v2::Addresses::IPv6(found)) => between(
            (found.source_address, found.source_port),
            (found.destination_address, found.destination_port),
        ),
    })
}

fn between(source: impl Into<SocketAddr>, destination: impl Into<SocketAddr>) -> Option<Peer> {
    Some(Peer::new(Some(source.into()), Some(destination.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(source: &str, destination: &str) -> ProxyHeader {
        ProxyHeader::Whole(Some(Peer::new(source.parse().ok(), destination.parse().ok())))
    }

    /// Feeds it as `read` does: what it came to, and how much was taken.
    fn feed(input: &[u8]) -> (ProxyHeader, usize) {
        let mut taken = 0;
        loop {
            match ProxyHeader::read(&input[..taken]) {
                ProxyHeader::Wants(more) if taken + more <= input.len() => taken += more,
                found => return (found, taken),
            }
        }
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[0x20 | command, family], &length, rest].concat()
    }

    #[test]
    fn headers_are_read_to_their_end_and_not_further() {
        let four = [&[192, 0, 2, 1, 198, 51, 100, 2][..], &[0xC0, 1, 0, 25]].concat();
        let six =
            [&[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 15], &[1, 0xC0, 1, 0, 25]]
                .concat();
        let added = [&four[..], &[4, 0, 200], &[0; 200]].concat();
        for (header, expected) in [
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.2 49153 25\r\n".to_vec(),
                addresses("192.0.2.1:49153", "198.51.100.2:25"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 49153 25\r\n".to_vec(),
                addresses("[2001:db8::1]:49153", "[::1]:25"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), ProxyHeader::Whole(None)),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), ProxyHeader::Whole(None)),
            (binary(1, 0x11, &four), addresses("192.0.2.1:49153", "198.51.100.2:25")),
            (binary(1, 0x21, &six), addresses("[2001:db8::1]:49153", "[::1]:25")),
            (binary(1, 0x11, &added), addresses("192.0.2.1:49153", "198.51.100.2:25")),
            (binary(0, 0x11, &four), ProxyHeader::Whole(None)),
            (binary(0, 0, b""), ProxyHeader::Whole(None)),
            (binary(1, 0, b"xyz"), ProxyHeader::Whole(None)),
        ] {
            let input = [&header[..], b"EHLO me\r\n"].concat();
            assert_eq!(feed(&input), (expected, header.len()), "{}", header.escape_ascii());
        }
    }

    /// Addresses, and behind them a checksum, an addition before and one behind it.
    fn summed(sum: u32) -> Vec<u8> {
        let four = [&[192, 0, 2, 1, 198, 51, 100, 2][..], &[0xC0, 1, 0, 25]].concat();
        let added = [&[4, 0, 2, 0, 0, 3, 0, 4][..], &sum.to_be_bytes(), &[0xea, 0, 1, 7]].concat();
        binary(1, 0x11, &[&four[..], &added].concat())
    }

    #[test]
    fn a_checksum_must_be_right() {
        const SUM: u32 = 0xf94e_9f43;
        let header = summed(SUM);
        assert_eq!(
            feed(&[&header[..], b"EHLO me\r\n"].concat()),
            (addresses("192.0.2.1:49153", "198.51.100.2:25"), header.len())
        );
        for taken in SHORTEST..header.len() {
            assert!(matches!(ProxyHeader::read(&header[..taken]), ProxyHeader::Wants(_)), "torn at {taken}");
        }
        // Addresses, the checksum itself, and what is added before and behind it; not types and lengths, without which there is none.
        for place in (FIXED..FIXED + IPV4).chain([31, 32, 36, 37, 38, 39, 43]) {
            for bit in 0..8 {
                let mut damaged = header.clone();
                damaged[place] ^= 1 << bit;
                assert_eq!(ProxyHeader::read(&damaged), ProxyHeader::Malformed, "bit {bit} of {place}");
            }
        }
        // Of a proxy that connects for itself nothing is looked at; nor is it known where additions begin without a family.
        let mut local = summed(SUM ^ 1);
        local[12] = 0x20;
        assert_eq!(ProxyHeader::read(&local), ProxyHeader::Whole(None));
        // §2.2: it may name a family and have no addresses, or half of them.
        for (family, rest) in
            [(0x11, &[][..]), (0x21, &[1, 2, 3]), (0x31, &[]), (0x00, &[9; 40]), (0xff, &[7])]
        {
            let header = binary(0, family, rest);
            assert_eq!(ProxyHeader::read(&header), ProxyHeader::Whole(None), "{family:x} {rest:?}");
        }
    }

    #[test]
    fn additions_are_whole() {
        let four = [&[192, 0, 2, 1, 198, 51, 100, 2][..], &[0xC0, 1, 0, 25]].concat();
        for (added, is_right) in [
            (&[][..], true),
            (&[4, 0, 0], true),
            (&[4, 0, 1, 9], true),
            (&[4], false),
            (&[4, 0], false),
            (&[4, 0, 1], false),
            (&[4, 0, 0, 4], false),
            (&[4, 0xff, 0xff, 9], false),
            // Checksums have four octets.
            (&[3, 0, 0], false),
            (&[3, 0, 5, 0, 0, 0, 0, 0], false),
        ] {
            let found = ProxyHeader::read(&binary(1, 0x11, &[&four[..], added].concat()));
            assert_eq!(found != ProxyHeader::Malformed, is_right, "{added:?}");
        }
    }

    #[test]
    fn whatever_is_changed_in_a_header_ends_within_bounds() {
        let four = [&[192, 0, 2, 1, 198, 51, 100, 2][..], &[0xC0, 1, 0, 25]].concat();
        let lines = [
            b"PROXY TCP4 192.0.2.1 198.51.100.2 49153 25\r\n".to_vec(),
            b"PROXY TCP6 2001:db8::1 ::1 49153 25\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
            binary(1, 0x11, &[&four[..], &[4, 0, 3, 1, 2, 3]].concat()),
            binary(1, 0x31, &[7; 216]),
        ];
        for line in &lines {
            for place in 0..line.len() {
                for octet in 0..=u8::MAX {
                    let mut input = [&line[..], &[b'x'; ProxyHeader::LONGEST]].concat();
                    input[place] = octet;
                    let (found, taken) = feed(&input);
                    // What is waited for is within the longest header, and never what is known already.
                    assert!(
                        !matches!(found, ProxyHeader::Wants(0)),
                        "{:?}",
                        input[..line.len()].escape_ascii()
                    );
                    assert!(taken <= ProxyHeader::LONGEST);
                    let (found, _) = feed(&input[..place]);
                    assert!(!matches!(found, ProxyHeader::Whole(_)) || place >= SHORTEST);
                }
            }
        }
    }

    #[test]
    fn hostile_headers_are_refused_in_bounded_memory() {
        let mut long = binary(1, 0x11, &[0; 4080]);
        assert!(!matches!(feed(&long).0, ProxyHeader::Wants(_)));
        long = binary(1, 0x11, &[0; 4081]);
        // What stands behind a header is none of it.
        let behind = [&binary(1, 0x11, &[0; 12])[..], b"x"].concat();
        assert_eq!(ProxyHeader::read(&behind), ProxyHeader::Malformed);
        let mut wrong_version = binary(1, 0x11, &[0; 12]);
        wrong_version[12] = 0x11;
        for input in [
            &b"EHLO mail.example.org\r\n"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03\0\0\0\0\0",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 49153\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 49153 99999\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 49153 25 26\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 49153 25\r\n",
            b"PROXY TCP4 300.0.2.1 198.51.100.2 49153 25\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 49153 25\nEHLO\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.2 49153 25\r\n",
            b"proxy unknown  \r\n",
            &[&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(),
            &long,
            &wrong_version,
            &binary(2, 0x11, &[0; 12]),
            &binary(1, 0x11, &[0; 4]),
            &binary(1, 0x41, &[0; 12]),
        ] {
            let (found, taken) = feed(input);
            assert_eq!(found, ProxyHeader::Malformed, "{}", input.escape_ascii());
            assert!(taken <= LONGEST_LINE);
        }
        // One that never ends is waited for, and no longer than the patience lasts.
        assert_eq!(feed(&binary(1, 0x11, &[0; 12])[..20]).0, ProxyHeader::Wants(12));
    }
}
