use std::num::NonZeroU32;

use mailwright_mail_model::{DateTime, ForwardPath, ReversePath};
use proptest::prelude::*;

use super::*;
use crate::{Command, Mail, Rcpt, SizeLimit, Syntax};

fn mail(parameters: &str) -> Result<MailParameters, u16> {
    let line = format!("MAIL FROM:<a@b.example>{parameters}");
    match Command::parse(line.as_bytes(), Syntax::Strict) {
        Ok(Command::Mail(mail)) => Ok(mail.parameters),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.reply().code()),
    }
}

fn rcpt(parameters: &str) -> Result<RcptParameters, u16> {
    let line = format!("RCPT TO:<a@b.example>{parameters}");
    match Command::parse(line.as_bytes(), Syntax::Strict) {
        Ok(Command::Rcpt(rcpt)) => Ok(rcpt.parameters),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.reply().code()),
    }
}

#[test]
fn wrong_parameters() {
    for (parameters, code) in [
        (" SIZE=-1", 501),
        (" SIZE=", 501),
        (" SIZE", 501),
        (" SIZE=1x", 501),
        (" SIZE=18446744073709551615", 0),
        (" SIZE=18446744073709551616", 552),
        (" SIZE=18446744073709551617", 552),
        (" SIZE=184467440737095516170", 501),
        (" SIZE=1 SIZE=1", 501),
        (" size=1 Size=2", 501),
        (" BODY=BOGUS", 501),
        (" BODY", 501),
        (" BODY=7BIT BODY=8BITMIME", 501),
        (" SMTPUTF8=1", 501),
        (" AUTH", 501),
        (" AUTH=", 501),
        (" AUTH=a+4", 501),
        (" AUTH=a+zz", 501),
        (" AUTH=<> AUTH=<>", 501),
        (" FOO FOO", 501),
        (" FOO=1 foo=2", 501),
        (" RET=NOPE", 501),
        (" RET", 501),
        (" ENVID=", 501),
        (" ENVID=a+0A", 501),
        (" BY=1", 501),
        (" BY=0;R", 501),
        (" BY=-1;R", 501),
        (" BY=1;X", 501),
        (" BY=1;TR", 501),
        (" BY=1234567890;R", 501),
        (" BY=--1;N", 501),
        (" BY=+;N", 501),
        (" HOLDFOR=0", 501),
        (" HOLDFOR=01", 501),
        (" HOLDFOR=1000000000", 501),
        (" HOLDFOR=-1", 501),
        (" HOLDUNTIL=tomorrow", 501),
        (" HOLDUNTIL=2026-11-21T10:00:00+01:00", 501),
        (" HOLDFOR=1 HOLDUNTIL=2026-11-21T10:00:00Z", 501),
        (" MT-PRIORITY=99", 501),
        (" MT-PRIORITY=+1", 501),
        (" MT-PRIORITY=-0", 501),
        (" MT-PRIORITY=", 501),
        (" REQUIRETLS=1", 501),
        (" SOLICIT=", 501),
        (" SOLICIT=1a", 501),
        (" SOLICIT=a,,b", 501),
        (" PRDR=1", 501),
        (" -SIZE=1", 501),
        (" =1", 501),
        (" SIZE=1=2", 501),
        (" more!", 501),
        ("SIZE=1", 501),
        ("", 0),
        ("   SIZE=1   BODY=8bitmime  ", 0),
    ] {
        assert_eq!(mail(parameters).err().unwrap_or(0), code, "{parameters}");
    }
    assert_eq!(mail(&format!(" ENVID={}", "x".repeat(101))), Err(501));
    assert!(mail(&format!(" ENVID={}", "x".repeat(100))).is_ok());
    assert_eq!(mail(&format!(" SOLICIT={}", "x".repeat(1001))), Err(501));
    for (parameters, code) in [
        (" NOTIFY=", 501),
        (" NOTIFY=NEVER,SUCCESS", 501),
        (" NOTIFY=SOMETIMES", 501),
        (" NOTIFY=SUCCESS,", 501),
        (" ORCPT=bob@example.com", 501),
        (" ORCPT=;x", 501),
        (" ORCPT=rfc822;", 501),
        (" ORCPT=rfc822;a+0D+0Ab", 501),
        (" ORCPT=rfc822;+C3+A9", 0),
        (" ORCPT=utf-8;\\x{110000}", 501),
        (" ORCPT=utf-8;\\x{0A}", 501),
        (" ORCPT=utf-8;\\x", 501),
        (" RRVS=yesterday", 501),
        (" RRVS=2014-04-03T23:01:00Z;X", 501),
        (" RRVS=2014-04-03T23:01:00Z;C", 0),
        (" NOTIFY=never", 0),
    ] {
        assert_eq!(rcpt(parameters).err().unwrap_or(0), code, "{parameters}");
    }
    assert_eq!(rcpt(&format!(" ORCPT=rfc822;{}", "x".repeat(494))), Err(501));
    assert!(rcpt(&format!(" ORCPT=rfc822;{}", "x".repeat(493))).is_ok());
}

#[test]
fn values() {
    let found = mail(" SIZE=5 BODY=7BIT SMTPUTF8 AUTH=e+3Dmc2@example.com BY=-120;NT").unwrap();
    assert_eq!(found.size, Some(5));
    assert_eq!(found.body, Some(BodyKind::SevenBit));
    assert!(found.smtputf8);
    assert_eq!(found.auth, Some(Submitter::Mailbox("e=mc2@example.com".to_owned())));
    assert_eq!(found.deliver_by, DeliverBy::new(-120, ByMode::Notify, true));
    // RFC 6533 §3: both ways of writing it, and that of Postfix
    for written in ["utf-8;\\x{3B1}@example.com", "utf-8;α@example.com", "rfc822;+CE+B1@example.com"] {
        let found = rcpt(&format!(" ORCPT={written}")).unwrap().original.unwrap();
        assert_eq!((found.kind(), found.address()), ("utf-8", "α@example.com"));
    }
    // RFC 3461 §4.2: "+" itself is encoded
    let found = rcpt(" ORCPT=rfc822;Carol+2Bx@Ivory.EDU").unwrap().original.unwrap();
    assert_eq!(found.address(), "Carol+x@Ivory.EDU");
}

#[test]
fn unknown_parameters_are_kept() {
    let found = mail(" xfoo MTRK=abc:1 SIZE=5").unwrap();
    let names: Vec<_> = found.other.iter().map(|other| (other.keyword(), other.value())).collect();
    assert_eq!(names, [("XFOO", None), ("MTRK", Some("abc:1"))]);
    assert_eq!(found.size, Some(5));
    assert_eq!(rcpt(" foo=").unwrap().other[0].to_string(), "FOO=");
    for (keyword, value) in
        [("", None), ("-A", None), ("A B", None), ("A", Some("b c")), ("A", Some("b=")), ("A=", None)]
    {
        assert!(Parameter::new(keyword, value).is_err(), "{keyword:?} {value:?}");
    }
}

#[test]
fn xverp_may_have_an_equals_sign() {
    for (written, delimiters) in
        [(" XVERP", "+="), (" xverp=+=", "+="), (" XVERP=-=", "-="), (" XVERP===", "==")]
    {
        let found = mail(written).unwrap();
        assert_eq!(found.verp.map(|verp| verp.to_string()).as_deref(), Some(delimiters), "{written}");
    }
    for written in [" XVERP=", " XVERP=+", " XVERP=+=-", " XVERP=a=", " SIZE==1"] {
        assert!(mail(written).is_err(), "{written}");
    }
}

#[test]
fn only_what_is_announced_is_sent() {
    let mut parameters =
        mail(" SIZE=5 AUTH=<> RET=FULL ENVID=x MT-PRIORITY=3 BY=5;N PRDR SOLICIT=a:b").unwrap();
    let none = Capabilities::default();
    assert_eq!(fit(MAIL, &parameters, &none), Ok(MailParameters::default()));
    parameters.smtputf8 = true;
    assert_eq!(fit(MAIL, &parameters, &none), Err("SMTPUTF8"));
    for (needed, keyword) in [
        (" BY=5;R", "BY"),
        (" HOLDFOR=5", "HOLDFOR"),
        (" HOLDUNTIL=2026-11-21T10:00:00Z", "HOLDUNTIL"),
        (" REQUIRETLS", "REQUIRETLS"),
        (" BODY=8BITMIME", "BODY"),
        (" BODY=BINARYMIME", "BODY"),
    ] {
        assert_eq!(fit(MAIL, &mail(needed).unwrap(), &none), Err(keyword));
    }
    assert_eq!(fit(RCPT, &rcpt(" RRVS=2014-04-03T23:01:00Z").unwrap(), &none), Err("RRVS"));
    assert_eq!(fit(RCPT, &rcpt(" NOTIFY=NEVER").unwrap(), &none), Ok(RcptParameters::default()));
    let all = Capabilities {
        size: Some(SizeLimit::Unknown),
        smtputf8: true,
        auth: vec!["PLAIN".to_owned()],
        dsn: true,
        priority: Some(String::new()),
        deliver_by: Some(None),
        each_recipient: true,
        no_soliciting: Some(None),
        ..none
    };
    assert_eq!(fit(MAIL, &parameters, &all), Ok(parameters));
}

fn solicitation() -> impl Strategy<Value = Option<Solicitation>> {
    prop::option::of(
        "[a-z][a-zA-Z0-9.:_-]{0,20}(,[A-Z][a-z]{0,5}){0,3}".prop_map(|text| text.parse().unwrap()),
    )
}

prop_compose! {
    fn any_mail()(
        size in prop::option::of(any::<u64>()),
        body in 0_usize..4,
        flags: [bool; 3],
        auth in prop::option::of("[ -~é]{0,20}"),
        full in prop::option::of(any::<bool>()),
        id in prop::option::of("[ -~]{1,30}"),
        by in prop::option::of((1_i32..=999_999_999, any::<bool>(), any::<bool>())),
        hold in prop::option::of((1_u32..=999_999_999, any::<bool>())),
        priority in prop::option::of(-9_i8..=9),
        solicitation in solicitation(),
        other in prop::collection::btree_map("X[A-Z0-9-]{1,8}", prop::option::of("[!-<>-~é]{0,9}"), 0..4),
    ) -> MailParameters {
        let kinds = [None, Some(BodyKind::SevenBit), Some(BodyKind::EightBitMime), Some(BodyKind::BinaryMime)];
        let submitter = |text: String| if text.is_empty() { Submitter::Unknown } else { Submitter::Mailbox(text) };
        MailParameters {
            size,
            body: kinds[body],
            smtputf8: flags[0],
            auth: auth.map(submitter),
            return_content: full.map(|full| if full { ReturnContent::Full } else { ReturnContent::Headers }),
            envelope_id: id.map(|id| EnvelopeId::new(id).unwrap()),
            deliver_by: by.map(|(seconds, notify, trace)| {
                let (mode, sign) = if notify { (ByMode::Notify, -1) } else { (ByMode::Return, 1) };
                DeliverBy::new(seconds * sign, mode, trace).unwrap()
            }),
            hold: hold.map(|(seconds, until)| match until {
                true => Hold::Until(DateTime::new(i64::from(seconds), 0).unwrap()),
                false => Hold::For(NonZeroU32::new(seconds).unwrap()),
            }),
            priority: priority.and_then(Priority::new),
            require_tls: flags[1],
            solicitation,
            each_recipient: flags[2],
            verp: flags[2].then(|| VerpDelimiters::new('=', '-').unwrap()),
            other: other.iter().map(|(keyword, value)| Parameter::new(keyword, value.as_deref()).unwrap()).collect(),
        }
    }
}

prop_compose! {
    fn any_rcpt()(
        notify in prop::option::of(0_u8..8),
        original in prop::option::of(("rfc822|x-[a-z]{1,5}|utf-8", "[!-~]{1,30}", "[ -~äα𝒳]{0,20}")),
        since in prop::option::of((0_i64..4_000_000_000, -1439_i16..=1439, any::<bool>())),
        other in prop::option::of("[!-<>-~]{1,9}"),
    ) -> RcptParameters {
        RcptParameters {
            notify: notify.map(|bits| match bits {
                0 => Notify::Never,
                _ => Notify::On { success: bits & 1 != 0, failure: bits & 2 != 0, delay: bits & 4 != 0 },
            }),
            original: original.map(|(kind, ascii, unicode)| {
                let address = if kind == "utf-8" { ascii + &unicode } else { ascii };
                OriginalRecipient::new(kind, address).unwrap()
            }),
            valid_since: since.map(|(seconds, offset, go_on)| {
                let changed = if go_on { Changed::Continue } else { Changed::Reject };
                ValidSince::new(DateTime::new(seconds, offset).unwrap(), changed)
            }),
            other: other.iter().map(|value| Parameter::new("XYZ", Some(value)).unwrap()).collect(),
        }
    }
}

proptest! {
    #[test]
    fn mail_comes_round(parameters in any_mail()) {
        let command = Command::Mail(Mail::new(ReversePath::Null).with_parameters(parameters));
        prop_assert_eq!(Command::parse(command.encode().trim_end().as_bytes(), Syntax::Strict), Ok(command));
    }

    #[test]
    fn rcpt_comes_round(parameters in any_rcpt()) {
        let command = Command::Rcpt(Rcpt::new(ForwardPath::Postmaster).with_parameters(parameters));
        prop_assert_eq!(Command::parse(command.encode().trim_end().as_bytes(), Syntax::Strict), Ok(command));
    }
}
