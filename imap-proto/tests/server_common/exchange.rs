//! The SASL exchanges that the RFCs show.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mailwright_line_proto::AuthStep;

/// The challenges of each mechanism, in base64; behind the last response the client is in.
const CHALLENGES: [(&str, &[&str]); 2] = [
    // RFC 3501 §6.2.2
    (
        "GSSAPI",
        &[
            "",
            "YGgGCSqGSIb3EgECAgIAb1kwV6ADAgEFoQMCAQ+iSzBJoAMCAQGiQgRAtHTEuOP2BXb9sBYFR4SJlDZxmg39IxmRBO\
             hXRKdDA0uHTCOT9Bq3OsUTXUlk0CsFLoa8j+gvGDlgHuqzWHPSQg==",
            "YDMGCSqGSIb3EgECAgIBAAD/////6jcyG4GE3KkTzBeBiVHeceP2CWY0SR0fAQAgAAQEBAQ=",
        ],
    ),
    // RFC 9051 §8
    (
        "SCRAM-SHA-256",
        &[
            "cj1yT3ByTkdmd0ViZVJXZ2JORWtxTyVodllEcFdVYTJSYVRDQWZ1eEZJbGopaE5sRiRrMCxzPVcyMlphSjBTTlk3c29Fc1VFamI2Z1E9PSxpPTQwOTY=",
            "dj02cnJpVFJCaTIzV3BSUi93dHVwK21NaFVaVW4vZEI1bkxUSlJzamw5NUc0PQ==",
        ],
    ),
];

pub(super) fn is_known(mechanism: &str) -> bool {
    CHALLENGES.iter().any(|(name, _)| *name == mechanism)
}

/// What answers the response behind so many challenges.
pub(super) fn step(mechanism: &str, number: u32) -> AuthStep {
    let (_, challenges) = CHALLENGES.iter().find(|(name, _)| *name == mechanism).unwrap();
    match challenges.get(number as usize) {
        Some(challenge) => AuthStep::Challenge(STANDARD.decode(challenge).unwrap().into()),
        None => AuthStep::Accept,
    }
}
