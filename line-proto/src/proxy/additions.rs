//! What a proxy adds behind the addresses of a header of version 2: types, lengths and values. Looked at for the checksum among them.

/// PP2_TYPE_CRC32C
const CHECKSUM: u8 = 0x03;

/// Whether what stands behind the addresses, from this octet of the header on, is whole, and the checksum right if there is one.
///
/// PROXY protocol §2.2.4: a receiver that knows checksums must verify the one that is there, and a wrong one makes the connection
/// invalid. An addition that has no end would hide one.
pub(super) fn are_right(header: &[u8], from: usize) -> bool {
    let mut rest = header.get(from..).unwrap_or_default();
    while let Some((head, behind)) = rest.split_first_chunk::<3>() {
        let [kind, high, low] = *head;
        let Some((value, after)) = behind.split_at_checked(u16::from_be_bytes([high, low]).into()) else {
            return false;
        };
        if kind == CHECKSUM && !is_checksum(header, header.len() - behind.len(), value) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// Whether this value, which begins at that octet, is the checksum of the header with zeros in its place.
fn is_checksum(header: &[u8], at: usize, value: &[u8]) -> bool {
    let (Ok(said), Some((before, from))) = (<[u8; 4]>::try_from(value), header.split_at_checked(at)) else {
        return false;
    };
    let after = from.get(value.len()..).unwrap_or_default();
    crc32c(before.iter().chain(&[0; 4]).chain(after)) == u32::from_be_bytes(said)
}

/// RFC 4960 appendix B, as most have it: reflected, and inverted at the end.
fn crc32c<'a>(octets: impl Iterator<Item = &'a u8>) -> u32 {
    !octets.fold(u32::MAX, |sum, octet| {
        let entry = usize::from(octet ^ sum.to_le_bytes()[0]);
        (sum >> 8) ^ REMAINDERS.get(entry).copied().unwrap_or_default()
    })
}

/// Castagnoli's polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What each octet leaves.
static REMAINDERS: [u32; 256] = {
    let mut all = [0; 256];
    let (mut rest, mut octet): (&mut [u32], u32) = (&mut all, 0);
    while let [entry, after @ ..] = rest {
        let (mut remainder, mut bit) = (octet, 0);
        while bit < 8 {
            remainder = if remainder & 1 == 0 { remainder >> 1 } else { (remainder >> 1) ^ POLYNOMIAL };
            bit += 1;
        }
        *entry = remainder;
        octet += 1;
        rest = after;
    }
    all
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_rfc_3720() {
        // RFC 3720 §B.4, and the check value that all catalogues of CRCs have.
        let ascending: Vec<u8> = (0..32).collect();
        let descending: Vec<u8> = (0..32).rev().collect();
        for (octets, sum) in [
            (&b"123456789"[..], 0xe306_9283),
            (b"", 0),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (&descending, 0x113f_db5c),
        ] {
            assert_eq!(crc32c(octets.iter()), sum, "{octets:?}");
        }
    }
}
