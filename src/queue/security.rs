//! How a connection to a host must be secured: a decision without I/O, over what is configured, what the recipient's domain has
//! published, and what the sender wants.

use mailwright_relay_policy::{
    dane::{Dane, TlsaSet},
    sts::{StsMode, StsPolicy},
};
use mailwright_smtp_proto::Reply;

use super::{TlsFailure, TlsLevel};

/// All that there is to know.
pub(super) struct Circumstances<'a> {
    /// What is configured for the destination.
    pub(super) level: TlsLevel,
    pub(super) dane: &'a Dane,
    pub(super) sts: Option<&'a StsPolicy>,
    /// The host's name.
    pub(super) host: &'a str,
    /// Whether the host is surely the one that was meant: configured, or named by signed records.
    pub(super) vouched: bool,
    /// REQUIRETLS.
    pub(super) require: bool,
}

/// What a connection must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Guard {
    /// Nothing.
    Plain,
    /// TLS if it is there.
    May,
    /// TLS, with any certificate.
    Encrypt,
    /// TLS, with a certificate for the host by an authority that is trusted.
    Verify,
    /// The same as a trial: if it fails the domain is told, and mail goes on with TLS if it is there.
    Trial,
    /// TLS, with a certificate of these.
    Dane(TlsaSet),
}

/// Why a host is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) reply: Reply,
    /// What the domain is told.
    pub(super) failure: Option<TlsFailure>,
}

impl Unfit {
    fn new(reply: Reply, failure: Option<TlsFailure>) -> Self {
        Self { reply, failure }
    }
}

/// Decides.
pub(super) fn guard(circumstances: &Circumstances<'_>) -> Result<Guard, Unfit> {
    let Circumstances { dane, sts, host, .. } = circumstances;
    let sts = sts.filter(|policy| policy.mode != StsMode::None);
    let guard = match circumstances.level {
        TlsLevel::Verify => Guard::Verify,
        TlsLevel::Dane => match dane {
            Dane::Usable(set) => Guard::Dane(set.clone()),
            _ => {
                let text =
                    "DANE is configured for the destination, and there are no signed TLSA records to use";
                return Err(Unfit::new(Reply::transient((7, 5), text), Some(TlsFailure::DaneRequired)));
            }
        },
        TlsLevel::Sts => match sts {
            Some(policy) => listed(policy, host)?,
            None => {
                let text = "MTA-STS is configured for the destination, and its domain has no policy";
                return Err(Unfit::new(Reply::transient((7, 5), text), None));
            }
        },
        TlsLevel::None => Guard::Plain,
        level @ (TlsLevel::May | TlsLevel::Encrypt) => {
            let least = if level == TlsLevel::Encrypt { Guard::Encrypt } else { Guard::May };
            match (dane, sts) {
                // RFC 8461 §2: MTA-STS does not overrule DANE.
                (Dane::Usable(set), _) => Guard::Dane(set.clone()),
                (_, Some(policy)) if policy.mode == StsMode::Enforce => listed(policy, host)?,
                // RFC 7672 §2.2
                (Dane::Unusable, _) => Guard::Encrypt,
                // A trial would weaken what is configured.
                (_, Some(policy)) if level == TlsLevel::May && policy.allows(host) => Guard::Trial,
                _ => least,
            }
        }
    };
    if !circumstances.require || matches!(guard, Guard::Dane(_)) {
        return Ok(guard);
    }
    // RFC 8689 §4.2.1: the name must be the right one, and the certificate must bear it.
    if circumstances.vouched || sts.is_some_and(|policy| policy.allows(host)) {
        return Ok(Guard::Verify);
    }
    let text = "The sender requires TLS, and neither DNSSEC nor MTA-STS vouches for the name of the host";
    Err(Unfit::new(Reply::permanent((7, 10), text), None))
}

/// A host that a policy names.
pub(super) fn listed(policy: &StsPolicy, host: &str) -> Result<Guard, Unfit> {
    if policy.allows(host) {
        return Ok(Guard::Verify);
    }
    let text = format!("The MTA-STS policy of the domain does not name the host {host}");
    Err(Unfit::new(Reply::transient((7, 5), text), Some(TlsFailure::ValidationFailure)))
}

#[cfg(test)]
mod tests {
    use mailwright_relay_policy::dane::Tlsa;

    use super::*;

    fn shown(decided: Result<Guard, Unfit>) -> String {
        match decided {
            Ok(Guard::Dane(_)) => "dane".into(),
            Ok(guard) => format!("{guard:?}").to_lowercase(),
            Err(unfit) => {
                let reply = unfit.reply.to_string();
                reply.split(' ').nth(1).unwrap().to_owned()
            }
        }
    }

    /// Level, DANE, MTA-STS, whether the name is vouched for, REQUIRETLS, and what follows.
    #[test]
    fn the_table() {
        let usable =
            TlsaSet::new("mx.b.example", [], [Tlsa::new(3, 1, 1, vec![1; 32])]).map(Dane::Usable).unwrap();
        let dane = |word| match word {
            "usable" => usable.clone(),
            "unusable" => Dane::Unusable,
            _ => Dane::Absent,
        };
        let sts = |word| {
            let policy = |mode, host: &str| Some(StsPolicy::new(mode, [host.to_owned()], 604_800));
            match word {
                "enforce" => policy(StsMode::Enforce, "mx.b.example"),
                "enforce-other" => policy(StsMode::Enforce, "mx.c.example"),
                "testing" => policy(StsMode::Testing, "*.b.example"),
                "testing-other" => policy(StsMode::Testing, "mx.c.example"),
                "none" => policy(StsMode::None, "mx.b.example"),
                _ => None,
            }
        };
        use TlsLevel::{Dane as ByDane, Encrypt, May, None as Off, Sts, Verify};
        for (level, published, policy, vouched, require, expected) in [
            (May, "", "", false, false, "may"),
            (May, "usable", "", true, false, "dane"),
            (May, "unusable", "", true, false, "encrypt"),
            (May, "usable", "enforce", true, false, "dane"),
            (May, "usable", "enforce-other", true, false, "dane"),
            (May, "", "enforce", false, false, "verify"),
            (May, "", "enforce-other", false, false, "4.7.5"),
            (May, "unusable", "enforce", true, false, "verify"),
            (May, "", "testing", false, false, "trial"),
            (May, "", "testing-other", false, false, "may"),
            (May, "unusable", "testing", true, false, "encrypt"),
            (May, "", "none", false, false, "may"),
            (Encrypt, "", "", false, false, "encrypt"),
            (Encrypt, "usable", "", true, false, "dane"),
            (Encrypt, "", "enforce", false, false, "verify"),
            (Encrypt, "", "testing", false, false, "encrypt"),
            (Off, "usable", "enforce", true, false, "plain"),
            (Verify, "", "", false, false, "verify"),
            (Verify, "usable", "enforce-other", true, false, "verify"),
            (ByDane, "usable", "", true, false, "dane"),
            (ByDane, "unusable", "", true, false, "4.7.5"),
            (ByDane, "", "enforce", true, false, "4.7.5"),
            (Sts, "", "enforce", false, false, "verify"),
            (Sts, "", "testing", false, false, "verify"),
            (Sts, "", "testing-other", false, false, "4.7.5"),
            (Sts, "", "none", false, false, "4.7.5"),
            (Sts, "usable", "", true, false, "4.7.5"),
            (May, "", "", false, true, "5.7.10"),
            (May, "", "", true, true, "verify"),
            (May, "usable", "", true, true, "dane"),
            (May, "", "testing", false, true, "verify"),
            (May, "", "testing-other", false, true, "5.7.10"),
            (Off, "", "", true, true, "verify"),
            (Encrypt, "unusable", "", true, true, "verify"),
        ] {
            let (dane, sts) = (dane(published), sts(policy));
            let host = "mx.b.example";
            let circumstances =
                Circumstances { level, dane: &dane, sts: sts.as_ref(), host, vouched, require };
            assert_eq!(
                shown(guard(&circumstances)),
                expected,
                "{level:?} {published:?} {policy:?} {vouched} {require}"
            );
        }
    }
}
