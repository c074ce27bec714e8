//! What servers on the way say that they found out (RFC 8617 §4.1.1): whom their results prove.

use super::super::dmarc::{DmarcFinding, same_organization};
use crate::{authentication::Examined, dns::Resolve};

/// What one server on the way says, in a chain that holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ArcSet {
    /// The domain of its seal.
    pub domain: String,
    /// The value of its field ARC-Authentication-Results.
    pub results: String,
    /// Whether it says that every author was proved to it: DMARC passed for that domain, or DKIM or SPF for one that is aligned with it.
    /// Found out by [`check`](super::super::check) where DMARC does not pass here.
    pub proved: bool,
}

/// So many names of others are looked up for one message.
const MOST_QUESTIONS: usize = 8;

/// Notes which servers say that the authors were proved to them.
pub(in super::super) async fn prove<R: Resolve>(
    resolve: &R,
    sets: &mut [ArcSet],
    examined: &Examined,
    dmarc: &DmarcFinding,
) {
    let authors = examined.authors();
    if authors.doubtful || authors.domains.is_empty() {
        return;
    }
    let mut questions = MOST_QUESTIONS;
    for set in sets {
        let told = Told::read(&set.results);
        let mut all = true;
        for author in &authors.domains {
            all = all && told.proves(resolve, author, dmarc, &mut questions).await;
        }
        set.proved = all;
    }
}

/// The domains of results, in lower case.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// For which DMARC passed.
    dmarc: Vec<String>,
    /// For which it did not.
    failed: Vec<String>,
    dkim: Vec<String>,
    spf: Vec<String>,
}

impl Told {
    /// Nothing, if that cannot be understood.
    fn read(results: &str) -> Self {
        let mut told = Self::default();
        // The number and the server's name come first.
        for words in sections(results).unwrap_or_default().into_iter().skip(2) {
            let mut words = words.iter().map(|word| word.split_once('=').unwrap_or((word, "")));
            let Some((method, result)) = words.next() else { continue };
            let (method, passes) = (method.split('/').next(), result.eq_ignore_ascii_case("pass"));
            let kind = |kind: &str| method.is_some_and(|method| method.eq_ignore_ascii_case(kind));
            let add = |list: &mut Vec<String>, names: [&str; 2]| {
                let found = words
                    .clone()
                    .filter(|(name, _)| names.iter().any(|known| name.eq_ignore_ascii_case(known)));
                list.extend(found.filter_map(|(_, value)| domain(value)));
            };
            match passes {
                true if kind("dmarc") => add(&mut told.dmarc, ["header.from"; 2]),
                false if kind("dmarc") && result.eq_ignore_ascii_case("fail") => {
                    add(&mut told.failed, ["header.from"; 2]);
                }
                true if kind("dkim") => add(&mut told.dkim, ["header.d", "header.i"]),
                true if kind("spf") => add(&mut told.spf, ["smtp.mailfrom", "smtp.helo"]),
                _ => {}
            }
        }
        told
    }

    async fn proves<R: Resolve>(
        &self,
        resolve: &R,
        author: &str,
        dmarc: &DmarcFinding,
        questions: &mut usize,
    ) -> bool {
        let is_author = |domain: &String| domain == author;
        // Of a server that says both, nobody knows what it means.
        if self.failed.iter().any(is_author) {
            return false;
        }
        if [&self.dmarc, &self.dkim, &self.spf].into_iter().any(|list| list.iter().any(is_author)) {
            return true;
        }
        // Without the author's record nobody knows that the alignment may be relaxed (RFC 9989 §4.4.1).
        let record = dmarc.author.record.as_ref().filter(|_| dmarc.author.domain == author);
        let Some((_, record)) = record else { return false };
        let relaxed = [(&self.dkim, record.strict_dkim), (&self.spf, record.strict_spf)];
        for domain in relaxed.into_iter().filter(|(_, strict)| !strict).flat_map(|(list, _)| list) {
            if *questions == 0 {
                return false;
            }
            *questions -= 1;
            if same_organization(resolve, author, domain).await == Some(true) {
                return true;
            }
        }
        false
    }
}

/// The domain of a value: a domain, or an address, quoted or not.
fn domain(value: &str) -> Option<String> {
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let domain = value.rsplit_once('@').map_or(value, |(_, domain)| domain);
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    (!domain.is_empty()).then_some(domain)
}

/// The words between semicolons, without comments and without space around equals signs (RFC 8601 §2.2); `None` if a comment or a quoted
/// string has no end. What is quoted is one word with its quotes, whatever is in it.
fn sections(text: &str) -> Option<Vec<Vec<String>>> {
    let (mut sections, mut words, mut word) = (Vec::new(), Vec::new(), String::new());
    let mut letters = text.chars();
    // Whether an equals sign goes on with the last word.
    let mut spaced = false;
    while let Some(letter) = letters.next() {
        match letter {
            '(' => {
                let mut depth = 1_u32;
                while depth > 0 {
                    match letters.next()? {
                        '\\' => {
                            letters.next()?;
                        }
                        '(' => depth += 1,
                        ')' => depth -= 1,
                        _ => {}
                    }
                }
                spaced = true;
            }
            ';' => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
                sections.push(std::mem::take(&mut words));
                spaced = false;
            }
            letter if letter.is_ascii_whitespace() => spaced = true,
            letter => {
                if spaced && letter != '=' && !word.ends_with('=') && !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                spaced = false;
                word.push(letter);
                if letter == '"' {
                    loop {
                        let inner = letters.next()?;
                        word.push(inner);
                        match inner {
                            '\\' => word.push(letters.next()?),
                            '"' => break,
                            _ => {}
                        }
                    }
                }
            }
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    sections.push(words);
    Some(sections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        authentication::{Examiner, dmarc::evaluate, spf::SpfFinding, tests::ready},
        dns::CannedAnswers,
    };

    fn proves(results: &str, from: &str) -> bool {
        let zone = CannedAnswers::default()
            .txt("_dmarc.a.example", "v=DMARC1; p=reject")
            .txt("_dmarc.strict.example", "v=DMARC1; p=reject; adkim=s; aspf=s");
        let mut examiner = Examiner::new();
        examiner.push(format!("From: {from}\r\n\r\n").as_bytes());
        let examined = examiner.finish();
        let dmarc = ready(evaluate(&zone, &examined, &SpfFinding::default(), &[]));
        let mut sets = [ArcSet { results: format!(" i=1; mx.example{results}"), ..ArcSet::default() }];
        ready(prove(&zone, &mut sets, &examined, &dmarc));
        sets[0].proved
    }

    #[test]
    fn only_results_that_name_the_author_prove_one() {
        for (results, expected) in [
            ("; dmarc=pass header.from=a.example", true),
            (" 1;\r\n\tspf=fail; DMARC/1 = Pass (p=REJECT; \\) x) header.from = \"A.example\"", true),
            ("; dkim=pass header.i=@mail.a.example header.s=s", true),
            ("; spf=pass (mx: ok) smtp.mailfrom=x@a.example", true),
            ("; dmarc=temperror header.from=a.example; spf=pass smtp.mailfrom=a.example", true),
            ("", false),
            ("; none", false),
            ("; dmarc=fail header.from=a.example", false),
            ("; dmarc=fail header.from=a.example; spf=pass smtp.mailfrom=a.example", false),
            ("; dmarc=pass header.from=b.example; dkim=pass header.d=b.example", false),
            ("; dmarc=pass", false),
            ("; dkim=fail header.d=a.example; spf=none smtp.mailfrom=a.example", false),
            // Words of whoever sent it, in quotes and comments.
            ("; spf=fail smtp.mailfrom=\"x; dmarc=pass header.from=a.example; \\\"\"@b.example", false),
            ("; spf=fail (x; dmarc=pass header.from=a.example)", false),
            ("; dmarc=pass header.from=a.example; spf=none (no end", false),
        ] {
            assert_eq!(proves(results, "x@a.example"), expected, "{results}");
        }
        // The name of the server is no result.
        assert!(!Told::read("i=1; dmarc=pass header.from=a.example").dmarc.contains(&"a.example".to_owned()));
    }

    #[test]
    fn every_author_is_proved_and_as_strictly_as_it_wants() {
        let strict = "; dkim=pass header.d=mail.strict.example; spf=pass smtp.mailfrom=x@mail.strict.example";
        assert!(!proves(strict, "x@strict.example"));
        assert!(proves(&strict.replace("d=mail.", "d="), "x@strict.example"));
        let one = "; dmarc=pass header.from=a.example";
        assert!(!proves(one, "x@a.example, y@strict.example"));
        assert!(proves(
            &format!("{one}; dmarc=pass header.from=strict.example"),
            "x@a.example, y@strict.example"
        ));
        assert!(!proves(one, "x@a.example, y@-bad-.example"));
    }
}
