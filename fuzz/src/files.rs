//! mailstore, relay-policy and sieve: what administrators write into files, and other servers publish.

use mailwright_mail_model::Address;
use mailwright_mailstore::accounts::PasswdEntry;
use mailwright_relay_policy::{
    delivery::{CommandLine, LocalTarget},
    rules::List,
    sts::{PolicyId, StsPolicy},
};
use mailwright_sieve::compose::Mailto;

/// A passwd-file: each account is one line of it, and a line is told that is none.
pub fn store_passwd(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match PasswdEntry::read(&text) {
        Ok(entries) => {
            assert!(entries.len() <= text.lines().count());
            for entry in entries {
                let (name, password) = (entry.name(), entry.password());
                assert!(name.contains('@') && !name.contains([':', '\n']), "{name:?}");
                assert!(password.starts_with('{') && !password.contains([':', '\n']), "{password:?}");
            }
        }
        Err(error) => {
            let wrong = text.lines().nth(error.line - 1).expect("a line of the file");
            assert_eq!(PasswdEntry::read(wrong).map_err(|error| error.line), Err(1), "{wrong:?}");
        }
    }
}

/// Policies of MTA-STS, lists of the name service, files and programs that aliases lead to, methods of notification.
pub fn policy_files(data: &[u8]) {
    if let Ok(policy) = StsPolicy::parse(data) {
        assert_eq!(StsPolicy::parse(policy.to_string().as_bytes()), Ok(policy));
    }
    let text = String::from_utf8_lossy(data);
    if let Some(id) = PolicyId::of([&text]) {
        assert_eq!(PolicyId::new(id.as_str()), Some(id));
    }
    if let Ok(list) = text.parse::<List>() {
        assert!(list.weight != 0 && !list.counts("192.0.2.1".parse().unwrap()));
    }
    if let Ok(target) = text.parse::<LocalTarget>() {
        assert_eq!(target.to_string().parse(), Ok(target));
    }
    if let Ok(line) = CommandLine::parse(&text) {
        assert!(!line.program().is_empty() && !line.program().contains(['\0', '\n']));
    }
    if let Some(mailto) = Mailto::parse(&text) {
        assert!(mailto.recipients.iter().all(|recipient| Address::parse(recipient.as_bytes()).is_ok()));
        assert!(mailto.subject.is_none_or(|subject| !subject.contains(['\r', '\n'])));
    }
}
