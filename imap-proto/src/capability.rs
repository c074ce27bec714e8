//! What the server says it can do: always computed, never configured.

use mailwright_line_proto::{TlsInfo, can_offer};

use crate::{config::Config, grammar::LiteralMode, response::Capabilities};

/// The capabilities of a session.
///
/// `tls` is the layer if it is up, `logged_in` whether the peer is known, `sets_quota` whether it may set quotas.
pub(crate) fn capabilities(
    config: &Config,
    tls: Option<&TlsInfo>,
    logged_in: bool,
    compressed: bool,
    sets_quota: bool,
) -> Capabilities {
    let mut names = vec!["IMAP4rev1"];
    let abilities = &config.abilities;
    // RFC 9051 has these among its requirements.
    if abilities.statuses && abilities.derives && abilities.write && abilities.folders {
        names.push("IMAP4rev2");
    }
    match config.literals {
        LiteralMode::Plus => names.push("LITERAL+"),
        LiteralMode::Minus => names.push("LITERAL-"),
        LiteralMode::Synchronizing => {}
    }
    // RFC 5255 §3.1: before login too.
    names.extend(["SASL-IR", "ENABLE", "ID", "LANGUAGE"]);
    if config.login_referrals {
        names.push("LOGIN-REFERRALS");
    }
    let mechanisms: Vec<String>;
    let limit: String;
    let at_a_time: Vec<String>;
    let sieve: String;
    if logged_in {
        names.extend(["IDLE", "NAMESPACE", "UNSELECT", "CHILDREN", "SPECIAL-USE", "XLIST"]);
        names.extend(["ESEARCH", "SEARCHRES", "PARTIAL", "LIST-EXTENDED", "UTF8=ACCEPT", "UIDONLY"]);
        names.extend(["UIDBATCHES", "UNAUTHENTICATE"]);
        for (able, more) in [
            (abilities.mod_sequences, &["CONDSTORE", "QRESYNC"][..]),
            (abilities.object_ids, &["OBJECTID"]),
            (abilities.save_dates, &["SAVEDATE"]),
            (
                abilities.derives,
                &["BINARY", "PREVIEW", "PREVIEW=FUZZY", "SNIPPET=FUZZY", "SEARCH=MIMEPART", "WITHIN"],
            ),
            (abilities.statuses, &["LIST-STATUS", "STATUS=SIZE", "STATUS=DELETED"]),
            (abilities.sorts, SORTING),
            (abilities.fuzzy, &["SEARCH=FUZZY"]),
            (abilities.notifies, &["NOTIFY"]),
            (abilities.searches_all, &["MULTISEARCH"]),
            (abilities.folders && abilities.derives, &["CREATE-SPECIAL-USE"]),
            (abilities.quota, &["QUOTA", "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", "QUOTA=RES-MAILBOX"]),
            // RFC 9208 §5.4
            (
                abilities.quota && (abilities.annotations || abilities.annotates),
                &["QUOTA=RES-ANNOTATION-STORAGE"],
            ),
            (abilities.set_quota && sets_quota, &["QUOTASET"]),
            // RFC 4314 §2.2: those that RFC 2086 did not have, with that of RFC 5257 §4.10.
            (abilities.access_lists && !abilities.annotates, &["ACL", "RIGHTS=kxte", "LIST-MYRIGHTS"]),
            (abilities.access_lists && abilities.annotates, &["ACL", "RIGHTS=kxten", "LIST-MYRIGHTS"]),
            (abilities.annotations, &["METADATA", "LIST-METADATA"]),
            (abilities.annotates, &["ANNOTATE-EXPERIMENT-1"]),
            (abilities.filters, &["FILTERS"]),
            (abilities.refilters && abilities.write, &["FILTER=SIEVE"]),
            (abilities.tells_progress, &["INPROGRESS"]),
            (abilities.url_auth, &["URLAUTH", "URLAUTH=BINARY"]),
            (config.mailbox_referrals, &["MAILBOX-REFERRALS"]),
            (config.jmap_url.is_some(), &["JMAPACCESS"]),
            (config.compress && !compressed, &["COMPRESS=DEFLATE"]),
        ] {
            if able {
                names.extend(more);
            }
        }
        // RFC 9738
        let limits = [("MESSAGELIMIT", config.message_limit), ("SAVELIMIT", config.save_limit)];
        let limits = limits.into_iter().filter_map(|(name, limit)| Some(format!("{name}={}", limit?)));
        at_a_time = limits.collect();
        names.extend(at_a_time.iter().map(String::as_str));
        if let Some(url) = config.sieve_url.as_ref().filter(|_| abilities.annotations && abilities.write) {
            sieve = format!("IMAPSIEVE={url}");
            names.push(&sieve);
        }
        if config.abilities.write {
            names.extend(["UIDPLUS", "MOVE"]);
            if abilities.derives {
                // RFC 5550 §4.2: URLs of some octets of a part.
                names.extend(["CATENATE", "URL-PARTIAL"]);
            }
            if abilities.several {
                names.extend(["MULTIAPPEND", "REPLACE"]);
            }
            limit = format!("APPENDLIMIT={}", config.max_message_size);
            names.push(&limit);
        }
    } else {
        if config.starttls && tls.is_none() {
            names.push("STARTTLS");
        }
        if !may_log_in(config, tls) {
            names.push("LOGINDISABLED");
        }
        mechanisms = offered(config, tls).map(|name| format!("AUTH={name}")).collect();
        names.extend(mechanisms.iter().map(String::as_str));
    }
    names.into_iter().collect()
}

/// What sorting messages and keeping searches up to date makes possible.
const SORTING: &[&str] = &[
    "SORT",
    "SORT=DISPLAY",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "THREAD=REFS",
    "ESORT",
    "CONTEXT=SEARCH",
    "CONTEXT=SORT",
    "I18NLEVEL=2",
];

/// Whether a password may be sent as it is: RFC 3501 §11.1 wants TLS for that.
pub(crate) fn may_log_in(config: &Config, tls: Option<&TlsInfo>) -> bool {
    tls.is_some() || config.allow_plaintext_auth
}

/// The mechanisms that can be used now.
pub(crate) fn offered<'a>(
    config: &'a Config,
    tls: Option<&'a TlsInfo>,
) -> impl Iterator<Item = &'a str> + 'a {
    let names = config.auth_mechanisms.iter().map(String::as_str);
    names.filter(move |name| match *name {
        // These send what opens the account to anybody who reads along.
        "PLAIN" | "LOGIN" | "XOAUTH2" | "OAUTHBEARER" => may_log_in(config, tls),
        name => can_offer(name, tls),
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::Abilities;

    fn text(config: &Config, tls: Option<&TlsInfo>, logged_in: bool) -> String {
        capabilities(config, tls, logged_in, false, true).iter().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn follow_from_what_is_possible() {
        let mut config = Config {
            auth_mechanisms: ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"].map(String::from).to_vec(),
            starttls: true,
            ..Config::default()
        };
        assert_eq!(
            text(&config, None, false),
            "IMAP4REV1 LITERAL+ SASL-IR ENABLE ID LANGUAGE STARTTLS LOGINDISABLED AUTH=SCRAM-SHA-256"
        );
        let mut tls = TlsInfo::default();
        assert_eq!(
            text(&config, Some(&tls), false),
            "IMAP4REV1 LITERAL+ SASL-IR ENABLE ID LANGUAGE AUTH=PLAIN AUTH=SCRAM-SHA-256"
        );
        tls.exporter = Some([1; 32]);
        assert!(text(&config, Some(&tls), false).ends_with("AUTH=SCRAM-SHA-256-PLUS"));
        assert!(
            text(&config, None, true)
                .ends_with("UIDBATCHES UNAUTHENTICATE UIDPLUS MOVE APPENDLIMIT=52428800")
        );
        config.abilities = Abilities::everything();
        config.compress = true;
        assert_eq!(
            text(&config, None, true),
            "IMAP4REV1 IMAP4REV2 LITERAL+ SASL-IR ENABLE ID LANGUAGE IDLE NAMESPACE UNSELECT CHILDREN SPECIAL-USE XLIST ESEARCH \
             SEARCHRES PARTIAL LIST-EXTENDED UTF8=ACCEPT UIDONLY UIDBATCHES UNAUTHENTICATE CONDSTORE QRESYNC OBJECTID SAVEDATE \
             BINARY PREVIEW PREVIEW=FUZZY SNIPPET=FUZZY SEARCH=MIMEPART WITHIN LIST-STATUS STATUS=SIZE STATUS=DELETED SORT SORT=DISPLAY THREAD=ORDEREDSUBJECT \
             THREAD=REFERENCES THREAD=REFS ESORT CONTEXT=SEARCH CONTEXT=SORT I18NLEVEL=2 SEARCH=FUZZY NOTIFY MULTISEARCH CREATE-SPECIAL-USE QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE \
             QUOTA=RES-MAILBOX QUOTA=RES-ANNOTATION-STORAGE QUOTASET ACL RIGHTS=KXTEN LIST-MYRIGHTS METADATA LIST-METADATA ANNOTATE-EXPERIMENT-1 FILTERS FILTER=SIEVE INPROGRESS URLAUTH URLAUTH=BINARY COMPRESS=DEFLATE UIDPLUS MOVE \
             CATENATE URL-PARTIAL MULTIAPPEND REPLACE APPENDLIMIT=52428800"
        );
        (config.message_limit, config.save_limit) = (NonZeroU32::new(1000), NonZeroU32::new(5000));
        assert!(
            text(&config, None, true).contains(" COMPRESS=DEFLATE MESSAGELIMIT=1000 SAVELIMIT=5000 UIDPLUS ")
        );
        (config.message_limit, config.save_limit) = (None, None);
        (config.login_referrals, config.mailbox_referrals) = (true, true);
        assert!(text(&config, None, false).contains(" LANGUAGE LOGIN-REFERRALS "));
        assert!(text(&config, None, true).contains(" MAILBOX-REFERRALS COMPRESS=DEFLATE"));
        (config.login_referrals, config.mailbox_referrals) = (false, false);
        // Only where scripts can be named; not below.
        config.sieve_url = Some("sieve://mail.example.org".into());
        assert!(
            text(&config, None, true)
                .contains(" COMPRESS=DEFLATE IMAPSIEVE=sieve://mail.example.org UIDPLUS ")
        );
        config.compress = false;
        config.abilities = Abilities::read_only();
        config.literals = LiteralMode::Minus;
        assert_eq!(
            text(&config, None, true),
            "IMAP4REV1 LITERAL- SASL-IR ENABLE ID LANGUAGE IDLE NAMESPACE UNSELECT CHILDREN SPECIAL-USE XLIST ESEARCH SEARCHRES \
             PARTIAL LIST-EXTENDED UTF8=ACCEPT UIDONLY UIDBATCHES UNAUTHENTICATE"
        );
    }
}
