//! The laws are worth something only if machines that break them are caught.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::time::Instant;

use bytes::BytesMut;
use mailwright_line_proto::{
    Ask, Closed, Machine, Output, TlsInfo, Transmit, Wait,
    testing::{Seen, Side, Subject, Transcript, check_laws},
};
use support::{Toy, ToyEvent};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    SecondPollDiffers,
    NeverTimesOut,
    WaitsForThePast,
    TakesInputWhileItOwesAnAnswer,
    ReadsAfterTheEnd,
    ClosesTwice,
    ClosesWithoutSayingSo,
    OpensAgain,
    StartsTlsOverInput,
    KeepsLongLines,
    ServesWhoTakesNothing,
    TellsHowInputWasCut,
}

struct Broken {
    toy: Toy,
    fault: Fault,
    count: usize,
    closed: bool,
    unsent: Transmit,
}

impl Machine for Broken {
    type Event = ToyEvent;

    fn poll(&mut self, now: Instant, rx: &mut BytesMut) -> Output<ToyEvent> {
        self.count += 1;
        if self.fault == Fault::KeepsLongLines && rx.len() > 600 && !rx.contains(&b'\n') {
            return self.toy.poll(now, &mut BytesMut::new());
        }
        if self.fault == Fault::StartsTlsOverInput && rx.starts_with(b"STARTTLS\r\n") {
            rx.truncate(10);
        }
        if self.fault == Fault::ServesWhoTakesNothing {
            self.unsent.append(self.toy.transmit());
        }
        match (self.fault, self.toy.poll(now, rx)) {
            (Fault::SecondPollDiffers, Output::Wait(wait)) => Output::Wait(Wait {
                until: wait.until.map(|until| until + support::IDLE * (self.count % 2) as u32),
                ..wait
            }),
            (Fault::NeverTimesOut, Output::Wait(wait)) => Output::Wait(Wait { until: None, ..wait }),
            (Fault::WaitsForThePast, Output::Wait(wait)) => Output::Wait(Wait { until: Some(now), ..wait }),
            (Fault::TakesInputWhileItOwesAnAnswer, Output::Wait(wait @ Wait { read: false, .. }))
                if rx.len() > 2 =>
            {
                rx.truncate(rx.len() - 1);
                Output::Wait(wait)
            }
            (Fault::ClosesTwice, Output::Close) if !std::mem::replace(&mut self.closed, true) => {
                Output::Event(ToyEvent::Closed(Closed::Eof))
            }
            (Fault::ClosesWithoutSayingSo, Output::Event(ToyEvent::Closed(_))) => Output::Close,
            (Fault::OpensAgain, Output::Close) if std::mem::replace(&mut self.closed, true) => {
                Output::Wait(Wait { read: false, until: None })
            }
            (Fault::TellsHowInputWasCut, Output::Event(ToyEvent::Give(ask))) => {
                Output::Event(ToyEvent::Give(Ask::new(rx.len() as u32, *ask)))
            }
            (_, output) => output,
        }
    }

    fn transmit(&mut self) -> &mut Transmit {
        if self.fault == Fault::ServesWhoTakesNothing {
            self.unsent.append(self.toy.transmit());
            return &mut self.unsent;
        }
        self.toy.transmit()
    }

    fn handle_eof(&mut self) {
        if self.fault != Fault::ReadsAfterTheEnd {
            self.toy.handle_eof();
        }
    }

    fn handle_tls(&mut self, tls: TlsInfo) {
        self.toy.handle_tls(tls);
    }
}

impl Subject for Fault {
    type Machine = Broken;

    fn build(&self) -> Broken {
        Broken { toy: Toy::new(), fault: *self, count: 0, closed: false, unsent: Transmit::default() }
    }

    fn side(&self) -> Side {
        Side::Server
    }

    fn react(&mut self, machine: &mut Broken, event: ToyEvent) -> Seen {
        match event {
            ToyEvent::Give(ask) => {
                machine.toy.give(vec![b'g'; *ask % 1000].into());
                Seen::Event(format!("give {} to {}", *ask, ask.id()))
            }
            ToyEvent::Body(chunk) => Seen::Body(chunk),
            ToyEvent::Taken => Seen::Event("taken".to_owned()),
            ToyEvent::Closed(why) => Seen::Closed(format!("{why:?}")),
        }
    }
}

fn check(fault: Fault) {
    let parse = |text| Transcript::parse(text).unwrap();
    let sessions = [
        parse("S: 220 toy\nC: ECHO a\nS: 250 a\nC: TAKE 3\nC| abc\nS: 250 taken\nC: QUIT\nS: 221 bye"),
        parse("S: 220 toy\nC: GIVE 3\nC: ECHO b\nS| ggg250 b\\r\\n\nC: what?\nS: 500 what?\nT: 300"),
    ];
    let starttls = parse("S: 220 toy\nC: STARTTLS\nS: 220 go ahead");
    check_laws(|| fault, &sessions, Some(&starttls));
}

#[test]
fn a_sound_machine_passes() {
    check(Fault::None);
}

#[test]
#[should_panic(expected = "laws 2 and 10")]
fn law_2_polling_again_is_harmless() {
    check(Fault::SecondPollDiffers);
}

#[test]
#[should_panic(expected = "law 3: a server waits for ever")]
fn law_3_deadlines_pass() {
    check(Fault::NeverTimesOut);
}

#[test]
#[should_panic(expected = "law 3: the machine waits for a moment that has passed")]
fn law_3_deadlines_lie_ahead() {
    check(Fault::WaitsForThePast);
}

#[test]
#[should_panic(expected = "law 4")]
fn law_4_input_is_left_alone() {
    check(Fault::TakesInputWhileItOwesAnAnswer);
}

#[test]
#[should_panic(expected = "law 5")]
fn law_5_a_peer_that_takes_nothing_is_not_served() {
    check(Fault::ServesWhoTakesNothing);
}

#[test]
#[should_panic(expected = "law 6")]
fn law_6_nothing_is_read_after_the_end() {
    check(Fault::ReadsAfterTheEnd);
}

#[test]
#[should_panic(expected = "law 7: after the closing event")]
fn law_7_there_is_one_closing_event() {
    check(Fault::ClosesTwice);
}

#[test]
#[should_panic(expected = "law 7: one closing event comes before Close")]
fn law_7_there_is_a_closing_event() {
    check(Fault::ClosesWithoutSayingSo);
}

#[test]
#[should_panic(expected = "law 7: Close is final")]
fn law_7_close_is_final() {
    check(Fault::OpensAgain);
}

#[test]
#[should_panic(expected = "law 8")]
fn law_8_nothing_stands_behind_starttls() {
    check(Fault::StartsTlsOverInput);
}

#[test]
#[should_panic(expected = "law 9")]
fn law_9_memory_is_bounded() {
    check(Fault::KeepsLongLines);
}

#[test]
#[should_panic(expected = "laws 1 and 10")]
fn law_10_the_split_does_not_matter() {
    check(Fault::TellsHowInputWasCut);
}
