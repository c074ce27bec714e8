//! Whom another host of the destination is asked for, where one that has greeted does not take the message now (RFC 5321 §5.1).

use super::{
    Outcome,
    transaction::{Carried, put},
};

/// How many hosts that greet are given a message in one attempt at most.
pub(super) const MOST_SESSIONS: usize = 2;

/// What came of one host, or of several one after the other.
pub(super) struct Asked {
    pub(super) carried: Carried,
    /// Whom it was asked for last that another host may be asked for: all, if it took nothing before the message itself was on its way;
    /// else those whom it put off. Never those whose message it may have.
    pub(super) onward: Vec<usize>,
}

impl Asked {
    /// Of a host that was asked for these.
    pub(super) fn of(carried: Carried, theirs: &[usize]) -> Self {
        let onward = match &carried.outcomes {
            Err(_) if carried.untouched || carried.unheard => theirs.to_vec(),
            Err(_) => Vec::new(),
            Ok(outcomes) => {
                let all = theirs.iter().zip(outcomes);
                let those = all.filter(|(_, outcome)| is_put_off(outcome, &carried));
                those.map(|(place, _)| *place).collect()
            }
        };
        Self { carried, onward }
    }

    /// After another host was asked for those whom this one put off; it was asked for all these.
    pub(super) fn then(self, next: Self, places: &[usize]) -> Self {
        let Self { carried: mut all, onward: theirs } = self;
        let Self { carried: again, onward } = next;
        match (&mut all.outcomes, again.outcomes) {
            (Ok(outcomes), Ok(became)) => {
                for (place, outcome) in theirs.iter().zip(became).filter(|(_, outcome)| !is_unfit(outcome)) {
                    put(outcomes, places, &[*place], Ok(vec![outcome]));
                }
            }
            (Err(first), Ok(became)) if !became.iter().all(is_unfit) => {
                let before = Outcome::Refused(first.diagnosis.clone());
                let last = |outcome| if is_unfit(&outcome) { before.clone() } else { outcome };
                all.outcomes = Ok(became.into_iter().map(last).collect());
            }
            (Err(_), Err(unreached)) if !unreached.diagnosis.is_permanent() => all.outcomes = Err(unreached),
            // What the first has said of each says more than that the second is gone.
            _ => {}
        }
        all.rest.extend(again.rest);
        all.unheard = false;
        (all.untouched, all.cut) = (false, false);
        Self { carried: all, onward }
    }
}

/// Whether a host has put off a recipient by its own words, to RCPT or before that; or by the end of a connection that was kept, in the
/// middle of the envelope.
fn is_put_off(outcome: &Outcome, carried: &Carried) -> bool {
    let Outcome::Refused(diagnosis) = outcome else { return false };
    let said = diagnosis.quoted && (carried.untouched || diagnosis.of_recipient);
    !diagnosis.is_permanent() && (said || carried.cut)
}

/// Whether a host was found to be unfit for the message, for good: where it stands in for another, that one may still take it.
fn is_unfit(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(diagnosis) if diagnosis.is_permanent() && !diagnosis.quoted)
}

#[cfg(test)]
mod tests {
    use mailwright_relay_policy::delivery::Diagnosis;
    use mailwright_smtp_proto::Reply;

    use super::*;
    use crate::queue::attempt::Unreached;

    fn reply(line: &str) -> Reply {
        Reply::parse(format!("{line}\r\n").as_bytes()).unwrap()
    }

    fn said(line: &str) -> Diagnosis {
        Diagnosis::said("mx", &reply(line))
    }

    /// What a host said of each recipient: `+` took it, `@` stands before what it said to RCPT, `=` before what was found here.
    fn outcome(word: &str) -> Outcome {
        match word.split_at(1) {
            ("+", _) => Outcome::Taken {
                diagnosis: said("250 2.0.0 Ok"),
                reports: true,
                delivered: false,
                timed: true,
            },
            ("@", line) => Outcome::Refused(Diagnosis::said_of_recipient("mx", &reply(line))),
            ("=", line) => Outcome::Refused(Diagnosis::found_at("mx", reply(line))),
            _ => Outcome::Refused(said(word)),
        }
    }

    fn host(words: &[&str], untouched: bool) -> Carried {
        let outcomes = match words {
            ["gone"] => Err(Unreached::all(said("421 4.3.2 closing"))),
            words => Ok(words.iter().map(|word| outcome(word)).collect()),
        };
        Carried { untouched, ..Carried::of(outcomes) }
    }

    #[test]
    fn who_goes_on_to_the_next_host() {
        for (words, untouched, expected) in [
            (&["+", "@450 4.7.1 later", "@550 5.1.1 nobody"][..], false, &[5][..]),
            (&["@450 4.7.1 later", "@452 4.3.1 full", "@550 5.1.1 nobody"], true, &[4, 5]),
            // To MAIL, and to the message, which is not sent again at once.
            (&["451 4.3.0 later", "451 4.3.0 later", "451 4.3.0 later"], true, &[4, 5, 6]),
            (&["451 4.3.0 later", "451 4.3.0 later", "@550 5.1.1 nobody"], false, &[]),
            (&["550 5.7.1 no", "550 5.7.1 no", "550 5.7.1 no"], true, &[]),
            (&["gone"], true, &[4, 5, 6]),
            (&["gone"], false, &[]),
            (&["=550 5.3.4 large", "=450 4.0.0 later", "+"], false, &[]),
        ] {
            let places = [4, 5, 6];
            assert_eq!(Asked::of(host(words, untouched), &places).onward, expected, "{words:?} {untouched}");
        }
        let lost = Carried { unheard: true, ..host(&["gone"], false) };
        assert_eq!(Asked::of(lost, &[4]).onward, [4]);
        // Over a connection that was kept: before the message, and once it is under way.
        let words = ["=451 4.4.2 closed", "=550 5.7.17 another owner", "=451 4.4.2 closed"];
        for (cut, onward) in [(true, &[4, 6][..]), (false, &[])] {
            let lost = Carried { cut, ..host(&words, cut) };
            assert_eq!(Asked::of(lost, &[4, 5, 6]).onward, onward);
        }
    }

    #[test]
    fn the_last_word_about_each_counts() {
        for (first, second, expected) in [
            (
                &["+", "@450 4.7.1 later", "@550 5.1.1 nobody"][..],
                &["+"][..],
                &["+", "+", "@550 5.1.1 nobody"][..],
            ),
            (
                &["+", "@450 4.7.1 one", "@450 4.7.1 one"],
                &["@450 4.7.1 two", "@550 5.1.1 two"],
                &["+", "@450 4.7.1 two", "@550 5.1.1 two"],
            ),
            // A host that is unfit for the message does not return what the better one takes later.
            (
                &["+", "@450 4.7.1 one", "@450 4.7.1 one"],
                &["=550 5.6.7 unfit", "+"],
                &["+", "@450 4.7.1 one", "+"],
            ),
            (&["+", "@450 4.7.1 one", "+"], &["gone"], &["+", "@450 4.7.1 one", "+"]),
            (
                &["gone"],
                &["+", "@550 5.1.1 nobody", "=550 5.6.7 unfit"],
                &["+", "@550 5.1.1 nobody", "421 4.3.2 closing"],
            ),
            (&["gone"], &["=550 5.6.7 unfit", "=550 5.6.7 unfit", "=550 5.6.7 unfit"], &["gone"]),
        ] {
            let places = [4, 5, 6];
            let asked = Asked::of(host(first, first.len() == 1), &places);
            let next = Asked::of(host(second, false), &asked.onward);
            let asked = asked.then(next, &places);
            let expected = host(expected, false).outcomes.map_err(|unreached| unreached.diagnosis);
            let became = asked.carried.outcomes.map_err(|unreached| unreached.diagnosis);
            assert_eq!(became, expected, "{first:?} {second:?}");
        }
    }
}
