//! The laws of the contract, checked on any machine.
#![allow(clippy::indexing_slicing, clippy::expect_used, reason = "a test harness reports by panicking")]

use std::time::Duration;

use bytes::BytesMut;

use super::{
    Pace, Run, Seen, Side, Subject, Transcript,
    run::{Player, run, run_input},
};
use crate::Output;

/// Runs the laws of [`Machine`](crate::Machine) over a machine.
///
/// `make` gives a fresh subject; `transcripts` are sessions it must follow to the octet. If the machine can start
/// TLS, `starttls` is a transcript that ends with the line which starts it: the client's command for a server
/// under test, the server's consent for a client.
///
/// # Panics
/// When a law is broken; the message names it.
pub fn check_laws<S: Subject>(
    make: impl Fn() -> S,
    transcripts: &[Transcript],
    starttls: Option<&Transcript>,
) {
    assert!(!transcripts.is_empty(), "the laws need a session to be tried on");
    for transcript in transcripts {
        any_split_gives_the_same_session(&make, transcript);
        input_may_end_anywhere(&make, transcript);
        silence_is_bounded(&make, transcript);
        damaged_input_is_survived(&make, transcript);
    }
    input_without_end_is_bounded(&make);
    a_peer_that_takes_nothing_is_not_served(&make, transcripts);
    if let Some(transcript) = starttls {
        octets_behind_starttls_close(&make, transcript);
    }
}

/// Laws 1, 2, 4 and 10.
fn any_split_gives_the_same_session<S: Subject>(make: &impl Fn() -> S, transcript: &Transcript) {
    let whole = run(&mut make(), transcript, Pace::default());
    for split in (1..40).chain([57, 64, 100, 128, 1000]) {
        for lazy in [false, true] {
            let pace = Pace { split, lazy };
            let found = run(&mut make(), transcript, pace);
            // A lazy application sees the same; only the moment differs.
            assert_eq!(found, whole, "laws 1 and 10: the session differs with {pace:?}");
        }
    }
}

/// Laws 6 and 7.
fn input_may_end_anywhere<S: Subject>(make: &impl Fn() -> S, transcript: &Transcript) {
    let input = transcript.input(make().side());
    for cut in cuts(input.len()) {
        let mut subject = make();
        let mut player = Player::new(&mut subject, Pace { split: 64, lazy: false });
        player.settle();
        player.feed(input.get(..cut).unwrap_or_default());
        if !player.run.closed {
            player.eof();
        }
        ends(&mut player, &format!("after {cut} octets and the end of input"));
    }
}

/// Law 3: a peer that says nothing more is got rid of by deadlines alone.
fn silence_is_bounded<S: Subject>(make: &impl Fn() -> S, transcript: &Transcript) {
    let input = transcript.input(make().side());
    for cut in cuts(input.len()) {
        let mut subject = make();
        let mut player = Player::new(&mut subject, Pace::default());
        player.settle();
        player.feed(input.get(..cut).unwrap_or_default());
        let idle_client = player.subject.side() == Side::Client && player.wait.until.is_none();
        if !player.run.closed && !idle_client {
            assert!(player.wait.until.is_some(), "law 3: a server waits for ever after {cut} octets");
            wait_for_close(&mut player, &format!("after {cut} octets and silence"));
        }
    }
}

/// Octets that mean something in one protocol or another.
const SPECIAL: &[u8] = b"\r\n\0.{}()\"\\*+ \xff";

/// Law 9, and no panic on anything.
fn damaged_input_is_survived<S: Subject>(make: &impl Fn() -> S, transcript: &Transcript) {
    let input = transcript.input(make().side());
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..300 {
        let mut damaged = input.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(damaged.len().max(1)).min(damaged.len());
            match random.below(4) {
                0 => damaged.insert(at, SPECIAL[random.below(SPECIAL.len())]),
                1 if at < damaged.len() => drop(damaged.remove(at)),
                2 => {
                    let end = (at + random.below(40)).min(damaged.len());
                    let piece = damaged[at..end].to_vec();
                    damaged.splice(at..at, piece);
                }
                _ if at < damaged.len() => damaged[at] = random.below(256) as u8,
                _ => {}
            }
        }
        let whole = run_input(&mut make(), &damaged, Pace::default(), true);
        let piecewise =
            run_input(&mut make(), &damaged, Pace { split: 1 + random.below(9), lazy: false }, true);
        // By law 8 octets behind STARTTLS may come too early or just in time.
        if whole.layers.is_empty() && piecewise.layers.is_empty() {
            assert_same(&whole, &piecewise, &damaged);
        }
    }
}

fn assert_same(whole: &Run, piecewise: &Run, input: &[u8]) {
    assert_eq!(
        (&whole.seen, String::from_utf8_lossy(&whole.sent)),
        (&piecewise.seen, String::from_utf8_lossy(&piecewise.sent)),
        "law 10: the split matters for {:?}",
        String::from_utf8_lossy(input)
    );
}

/// Law 9: a line without an end, and no end of bad lines.
fn input_without_end_is_bounded<S: Subject>(make: &impl Fn() -> S) {
    for filler in
        [&[b'x'; 65536][..], &b"((((((((".repeat(8192), &b"x y z\r\n".repeat(9362), &b"{1}\r\n".repeat(13107)]
    {
        let mut subject = make();
        let mut player = Player::new(&mut subject, Pace::default());
        player.settle();
        let mut fed = 0_usize;
        while !player.run.closed && player.wait.read && fed < 64 << 20 {
            player.feed(filler);
            fed += filler.len();
            assert!(player.rx.len() <= 512 * 1024, "law 9: {} octets of input are held", player.rx.len());
        }
        assert!(
            player.run.closed || !player.wait.read,
            "law 9: {fed} octets of garbage were read without an end ({:?}…)",
            String::from_utf8_lossy(&filler[..8])
        );
    }
}

/// How many different lines of the transcripts are looked at for law 5, every which of them is repeated, and how much of
/// it at most, in octets.
const REPEATED_LINES: usize = 24;
const REPEATED_EVERY: usize = 3;
const REPEATED: usize = 512 * 1024;
/// What may wait in `transmit` at most: its limit, and the answers to what was taken before it was reached.
const UNSENT: usize = 384 * 1024;
/// A line need not be repeated any more when so much was answered: that cannot all wait.
const ANSWERED: usize = 2 * UNSENT;

/// Laws 5 and 9: commands without end from a peer that takes no answers. The session is the same as with one that
/// takes them, only later.
fn a_peer_that_takes_nothing_is_not_served<S: Subject>(make: &impl Fn() -> S, transcripts: &[Transcript]) {
    if make().side() == Side::Client {
        // It makes output because it is called, not because of what comes in.
        return;
    }
    let mut tried = std::collections::HashSet::new();
    for transcript in transcripts {
        let input = transcript.input(Side::Server);
        let mut end = 0;
        for line in input.split_inclusive(|octet| *octet == b'\n') {
            end += line.len();
            let seen = tried.len() >= REPEATED_LINES || !tried.insert(line.to_vec());
            if seen || tried.len() % REPEATED_EVERY != 1 {
                continue;
            }
            let mut flood = input.get(..end).unwrap_or_default().to_vec();
            let mut subject = make();
            let mut taking = Player::new(&mut subject, Pace::default());
            taking.settle();
            taking.feed(&flood);
            let lines = line.repeat((16 * 1024 / line.len()).max(1));
            let most = flood.len() + REPEATED;
            while flood.len() < most && taking.run.sent.len() < ANSWERED && !taking.run.closed {
                taking.feed(&lines);
                flood.extend_from_slice(&lines);
            }
            let mut subject = make();
            let mut stalled = Player::new(&mut subject, Pace::default());
            stalled.stalled = true;
            stalled.settle();
            let mut pieces = flood.chunks(16 * 1024);
            while !stalled.run.closed {
                let waiting = crate::Machine::transmit(&mut stalled.machine).len();
                assert!(
                    waiting <= UNSENT,
                    "law 5: {waiting} octets wait for a peer that repeats {:?}",
                    String::from_utf8_lossy(line)
                );
                if stalled.wait.read {
                    let Some(piece) = pieces.next() else { break };
                    stalled.rx.extend_from_slice(piece);
                } else if !stalled.collect() {
                    break;
                }
                stalled.settle();
            }
            while stalled.collect() && !stalled.run.closed {
                stalled.settle();
            }
            // Where TLS begins, octets behind it matter by when they come (law 8).
            if taking.run.layers.is_empty() {
                let (whole, later) = (&taking.run, &stalled.run);
                assert!(
                    whole.seen == later.seen && whole.sent == later.sent,
                    "law 5: a peer that repeats {:?} is told {} octets if it takes them at once, {} if later",
                    String::from_utf8_lossy(line),
                    whole.sent.len(),
                    later.sent.len()
                );
            }
        }
    }
}

/// Law 8.
fn octets_behind_starttls_close<S: Subject>(make: &impl Fn() -> S, transcript: &Transcript) {
    let alone = run(&mut make(), transcript, Pace::default());
    assert_eq!(alone.layers.len(), 1, "the STARTTLS transcript does not start TLS");
    let mut spoiled = transcript.clone();
    let mut subject = make();
    let mut player = Player::new(&mut subject, Pace::default());
    player.settle();
    let side = player.subject.side();
    let last = spoiled.steps.iter_mut().rev().find_map(|step| match (step, side) {
        (super::Step::Client(sent), Side::Server) | (super::Step::Server(sent), Side::Client) => Some(sent),
        _ => None,
    });
    last.expect("the peer says something in the STARTTLS transcript").extend(b"INJECTED\r\n");
    for step in &spoiled.steps {
        match (step, side) {
            (super::Step::Client(sent), Side::Server) | (super::Step::Server(sent), Side::Client) => {
                player.feed(sent)
            }
            _ => {}
        }
    }
    assert!(player.run.layers.is_empty(), "law 8: TLS was started with octets behind the command");
    assert!(player.run.closed, "law 8: the connection was not closed");
}

/// Lets deadlines pass until the machine closes.
fn wait_for_close<S: Subject>(player: &mut Player<'_, S>, when: &str) {
    for _ in 0..10_000 {
        if player.run.closed {
            return;
        }
        let Some(until) = player.wait.until else { break };
        let duration = until.saturating_duration_since(player.now);
        player.pass(duration.max(Duration::from_millis(1)));
    }
    assert!(player.run.closed, "the machine does not close {when}");
}

fn ends<S: Subject>(player: &mut Player<'_, S>, when: &str) {
    wait_for_close(player, when);
    let closings = player.run.seen.iter().filter(|seen| matches!(seen, Seen::Closed(_))).count();
    assert_eq!(closings, 1, "law 7: one closing event, {when}");
    let mut empty = BytesMut::new();
    assert!(matches!(crate::Machine::poll(&mut player.machine, player.now, &mut empty), Output::Close));
}

/// Every place of a short input, and some of a long one.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..=length).step_by((length / 300).max(1))
}

/// xorshift64*: enough to damage input, and the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}
