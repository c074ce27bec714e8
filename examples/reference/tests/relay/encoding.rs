//! BASE64, written by hand: what is tested is not tested by itself.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn base64(octets: &[u8]) -> String {
    let mut text = String::new();
    for three in octets.chunks(3) {
        let number =
            three.iter().chain([&0, &0]).take(3).fold(0_u32, |sum, octet| sum << 8 | u32::from(*octet));
        for place in 0..4 {
            let letter = ALPHABET[(number >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

pub fn unbase64(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .bytes()
        .filter_map(|letter| ALPHABET.iter().position(|other| *other == letter))
        .map(|place| place as u32)
        .collect();
    let mut octets = Vec::new();
    for four in digits.chunks(4) {
        let number = four.iter().fold(0, |sum, digit| sum << 6 | digit) << (6 * (4 - four.len()));
        octets.extend_from_slice(&number.to_be_bytes()[1..four.len()]);
    }
    octets
}
