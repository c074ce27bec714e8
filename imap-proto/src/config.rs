//! What a server is and may do.

use std::num::NonZeroU32;

use mailwright_line_proto::{Language, Limits, Timeouts};

use crate::grammar::LiteralMode;

/// The configuration of a server, shared by all its connections.
///
/// ```
/// use mailwright_imap_proto::server::Config;
///
/// let mut config = Config::default();
/// config.greeting = "mail.example.org ready".into();
/// config.auth_mechanisms = vec!["PLAIN".into(), "SCRAM-SHA-256".into()];
/// config.starttls = true;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The text of the greeting.
    pub greeting: String,
    /// The language that `LANGUAGE default` stands for (RFC 5255 §3.2).
    pub preferred_language: Language,
    /// Whether users whose mail is elsewhere are told where: LOGIN-REFERRALS (RFC 2221), by
    /// [`Server::refer`](crate::server::Server::refer).
    pub login_referrals: bool,
    /// Whether there are mailboxes on other servers: MAILBOX-REFERRALS (RFC 2193). See [`Mailboxes`](crate::server::Mailboxes) and
    /// [`Refusal::referred`](crate::Refusal::referred).
    pub mailbox_referrals: bool,
    /// What the application behind the server can do. Capabilities follow from it.
    pub abilities: Abilities,
    /// The SASL mechanisms, by name in upper case, the best first.
    pub auth_mechanisms: Vec<String>,
    /// Whether STARTTLS is offered: there is a TLS layer beneath that waits to be started.
    pub starttls: bool,
    /// Whether COMPRESS is offered: there is a layer beneath that can deflate and waits to be started (RFC 4978).
    pub compress: bool,
    /// Whether passwords may be sent without TLS. For tests, and for sockets that never leave the machine.
    pub allow_plaintext_auth: bool,
    /// Which literals a client may send without waiting (RFC 7888).
    pub literals: LiteralMode,
    /// Where the same mail can be had by JMAP: the URL of the session object, told after login (RFC 9698).
    pub jmap_url: Option<String>,
    /// Where scripts that run when messages change are managed, such as `sieve://mail.example.org`; `None` if there are none:
    /// IMAPSIEVE (RFC 6785 §2.1).
    pub sieve_url: Option<String>,
    /// The largest message that APPEND takes, in octets.
    pub max_message_size: u64,
    /// How many messages one FETCH, SEARCH, STORE, COPY, MOVE, UID EXPUNGE or APPEND deals with; of more, those with the highest
    /// UIDs are taken and the client is told (RFC 9738). `None` if there is no limit.
    pub message_limit: Option<NonZeroU32>,
    /// How many messages `$` can stand for (RFC 5182, RFC 9738); `None` if there is no limit.
    pub save_limit: Option<NonZeroU32>,
    /// Sizes and counts.
    pub limits: Limits,
    /// Deadlines.
    pub timeouts: Timeouts,
}

impl Default for Config {
    /// A server of everything, without TLS and mechanisms.
    fn default() -> Self {
        Self {
            greeting: "ready".into(),
            preferred_language: Language::default(),
            login_referrals: false,
            mailbox_referrals: false,
            abilities: Abilities::default(),
            auth_mechanisms: Vec::new(),
            starttls: false,
            compress: false,
            allow_plaintext_auth: false,
            literals: LiteralMode::Plus,
            jmap_url: None,
            sieve_url: None,
            max_message_size: 50 << 20,
            message_limit: None,
            save_limit: None,
            limits: Limits::imap(),
            timeouts: Timeouts::imap(),
        }
    }
}

/// What a server does for a client that is wrong, by the names that Dovecot gave these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workarounds {
    /// `delay-newmail`: new messages are announced in answer to NOOP and CHECK, and during IDLE, and nowhere else.
    pub delay_new_mail: bool,
    /// `tb-extra-mailbox-sep`: the name of a mailbox may end with the separator of levels, which is passed over.
    pub extra_separator: bool,
}

/// What the application behind a server can do. What it cannot is neither announced nor asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// Messages can be added, changed and removed: APPEND, STORE, EXPUNGE, COPY, MOVE. If not, every mailbox is
    /// opened for reading only.
    pub write: bool,
    /// Mailboxes can be made, removed, renamed and subscribed to.
    pub folders: bool,
    /// Mod-sequences are kept, and what was expunged since one of them is known: CONDSTORE and QRESYNC (RFC 7162).
    pub mod_sequences: bool,
    /// Mailboxes, messages and threads have identities that last: OBJECTID (RFC 8474).
    pub object_ids: bool,
    /// It is known when a message came into its mailbox: SAVEDATE (RFC 8514).
    pub save_dates: bool,
    /// Whatever can be derived from the octets of a message is: BINARY (RFC 3516), PREVIEW (RFC 8970), and parts of messages by
    /// their URL for CATENATE (RFC 4469); and all keys of a
    /// search are known (WITHIN, RFC 5032) and special uses heeded when mailboxes are made (RFC 6154 §3).
    pub derives: bool,
    /// It is known how much everybody has and may have: QUOTA with all resources of RFC 9208.
    pub quota: bool,
    /// Somebody may change that: QUOTASET.
    pub set_quota: bool,
    /// It is known who may do what with a mailbox: ACL (RFC 4314) and LIST-MYRIGHTS (RFC 8440).
    pub access_lists: bool,
    /// Things can be noted about mailboxes and the server: METADATA (RFC 5464) and LIST-METADATA (RFC 9590).
    pub annotations: bool,
    /// Things can be noted about messages: ANNOTATE-EXPERIMENT-1 (RFC 5257), and AnnotationChange of NOTIFY (RFC 5465 §5.1).
    pub annotates: bool,
    /// The client is told how far what takes long has come: INPROGRESS (RFC 9585), by
    /// [`Server::progress`](crate::server::Server::progress).
    pub tells_progress: bool,
    /// Users can give out URLs that let others read parts of their messages: URLAUTH (RFC 4467, RFC 5524).
    pub url_auth: bool,
    /// Searches can have names: FILTERS (RFC 5466). Those are annotations.
    pub filters: bool,
    /// Several messages are added, and others expunged in their place, at one moment: MULTIAPPEND (RFC 3502) and REPLACE (RFC 8508).
    pub several: bool,
    /// The counts of mailboxes come with their list: LIST-STATUS (RFC 5819). STATUS knows SIZE and DELETED besides.
    pub statuses: bool,
    /// Messages can be sorted and gathered to threads (RFC 5256, RFC 5957), and texts are compared and searched by
    /// `i;unicode-casemap` (RFC 5255 §4.1); the searches that a client watches are searched again when the mailbox changes
    /// (RFC 5267): see [`Server::watched`](crate::server::Server::watched).
    pub sorts: bool,
    /// What happens is told by itself, in the open mailbox and in others: NOTIFY (RFC 5465).
    pub notifies: bool,
    /// Searches need not be met to the letter, and it is known how well each message meets them: SEARCH=FUZZY (RFC 6203).
    pub fuzzy: bool,
    /// Mailboxes that are not selected can be searched: MULTISEARCH (RFC 7377).
    pub searches_all: bool,
    /// Sieve scripts can be run on messages that are here already: FILTER=SIEVE (draft-bosch-imap-filter-sieve).
    pub refilters: bool,
}

impl Default for Abilities {
    /// What RFC 3501 has, and nothing that asks more of the application.
    fn default() -> Self {
        Self { write: true, folders: true, ..Self::read_only() }
    }
}

impl Abilities {
    /// Reading only.
    pub fn read_only() -> Self {
        Self {
            write: false,
            folders: false,
            mod_sequences: false,
            object_ids: false,
            save_dates: false,
            derives: false,
            several: false,
            quota: false,
            set_quota: false,
            access_lists: false,
            annotations: false,
            annotates: false,
            tells_progress: false,
            url_auth: false,
            filters: false,
            statuses: false,
            sorts: false,
            notifies: false,
            fuzzy: false,
            searches_all: false,
            refilters: false,
        }
    }

    /// Everything there is.
    pub fn everything() -> Self {
        Self {
            write: true,
            folders: true,
            mod_sequences: true,
            object_ids: true,
            save_dates: true,
            derives: true,
            several: true,
            quota: true,
            set_quota: true,
            access_lists: true,
            annotations: true,
            annotates: true,
            tells_progress: true,
            url_auth: true,
            filters: true,
            statuses: true,
            sorts: true,
            notifies: true,
            fuzzy: true,
            searches_all: true,
            refilters: true,
        }
    }
}
