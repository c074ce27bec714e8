//! Random messages and queries.

use super::*;

/// Dice that fall the same every time.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// Some of the words: which ones differs from message to message.
    fn text(&mut self, words: usize) -> String {
        let vocabulary: Vec<&str> = (0..4).map(|_| self.one_of(WORDS)).collect();
        (0..words).map(|_| self.one_of(&vocabulary)).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn message(&mut self) -> String {
        let subject = match self.below(3) {
            0 => "=?utf-8?q?caf=C3=A9_Gr=C3=BC=C3=9Fe?=".to_owned(),
            _ => self.text(3),
        };
        let from = self.one_of(&["ann@example.net", "Bob <bob@example.org>"]);
        let words = self.below(300);
        let body = self.text(words);
        match self.below(3) {
            0 => format!("From: {from}\r\nSubject: {subject}\r\n\r\n{body}\r\n"),
            1 => format!(
                "From: {from}\r\nSubject: {subject}\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
                 Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe {body}\r\n"
            ),
            _ => format!(
                "From: {from}\r\nSubject: {subject}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
                 Content-Disposition: inline; filename={}\r\n\r\n{body}\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
                 Subject: inner {}\r\n\r\n{}\r\n--b--\r\n",
                self.one_of(WORDS),
                self.text(2),
                self.text(4)
            ),
        }
    }

    pub(super) fn query(&mut self, depth: usize) -> Query {
        match self.below(if depth == 0 { 4 } else { 8 }) {
            0 => Key::Text(self.wanted().into()).into(),
            1 => Key::Body(self.wanted().into()).into(),
            2 => Key::header(self.one_of(&["Subject", "From", "X-None"]), &self.wanted()).into(),
            3 => Key::Larger(self.below(2_000) as u64).into(),
            4 => Query::not(self.query(depth - 1)).unwrap(),
            5 => Query::fuzzy(self.query(depth - 1)).unwrap(),
            kind => {
                let some = (0..2 + self.below(2)).map(|_| self.query(depth - 1)).collect();
                if kind == 6 { Query::and(some).unwrap() } else { Query::or(some).unwrap() }
            }
        }
    }

    fn wanted(&mut self) -> String {
        let word = self.one_of(WORDS);
        let from = self.below(word.len() - 1);
        let some = word.get(from..).unwrap_or(word);
        match self.below(3) {
            0 => some.to_uppercase(),
            1 => format!("{word} {}", self.one_of(WORDS)),
            _ => some.to_owned(),
        }
    }
}

const WORDS: &[&str] = &[
    "tea",
    "teatime",
    "Caf\u{e9}",
    "invoice",
    "report",
    "=?utf-8?q?x?=",
    "http://example.org/a?b=c",
    "1234567890",
    "lunch",
    "Gr\u{fc}\u{df}e",
    "meeting",
    "x-y",
    "\u{65e5}\u{672c}\u{8a9e}",
    "zz",
];
