//! What the application can do with a message beyond taking it.

use crate::{Capabilities, FutureRelease, Solicitation};

/// What the application honours. Nothing is announced that is not in here, and a parameter of an extension that is not
/// announced is refused with 555.
///
/// What the machine can do without the application (PIPELINING, SIZE, 8BITMIME, SMTPUTF8, CHUNKING, LIMITS and the
/// status codes) is always announced.
///
/// ```
/// use mailwright_smtp_proto::server::{Abilities, Config};
///
/// let mut abilities = Abilities::default();
/// abilities.dsn = true;
/// let mut config = Config::smtp("mail.example.org")?;
/// config.abilities = abilities;
/// # Ok::<(), mailwright_smtp_proto::SyntaxError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Abilities {
    /// BINARYMIME: it stores and passes on content of any octets.
    pub binary: bool,
    /// DSN: it sends reports as NOTIFY, RET, ENVID and ORCPT ask for them, or passes these on.
    pub dsn: bool,
    /// DELIVERBY: it keeps to BY; the shortest time in seconds that it takes on, if there is one.
    pub deliver_by: Option<Option<u32>>,
    /// FUTURERELEASE: it holds messages, so long at most.
    pub future_release: Option<FutureRelease>,
    /// MT-PRIORITY: it does the urgent first; the name of the profile, which may be empty.
    pub priority: Option<String>,
    /// REQUIRETLS: it passes such a message on by verified TLS or not at all. Announced inside TLS.
    pub require_tls: bool,
    /// RRVS: it knows since when a mailbox is whose it is.
    pub valid_since: bool,
    /// NO-SOLICITING: it looks at SOLICIT; the classes that nobody here wants, if they are named.
    pub no_soliciting: Option<Option<Solicitation>>,
    /// PRDR: it decides about a message for each recipient.
    pub each_recipient: bool,
    /// BURL: it fetches parts of messages; the words that say from where, often `imap`.
    pub burl: Option<Vec<String>>,
    /// ETRN: it can run a queue when asked.
    pub start_queue: bool,
    /// ATRN: it can send a client its mail on the client's own connection.
    pub turn: bool,
    /// Extensions that this crate does not speak and the application does.
    pub extensions: Vec<Extension>,
}

/// An extension that the application knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Extension {
    /// The line that announces it: `MTRK`.
    pub announced: String,
    /// Keywords of its parameters of MAIL, in upper case.
    pub mail: Vec<String>,
    /// Keywords of its parameters of RCPT, in upper case.
    pub rcpt: Vec<String>,
}

impl Extension {
    /// An extension that is announced so, with these parameters of MAIL and of RCPT.
    pub fn new(announced: &str, mail: &[&str], rcpt: &[&str]) -> Self {
        let upper = |keywords: &[&str]| keywords.iter().map(|keyword| keyword.to_ascii_uppercase()).collect();
        Self { announced: announced.to_owned(), mail: upper(mail), rcpt: upper(rcpt) }
    }
}

impl Abilities {
    /// Adds what follows from these.
    pub(super) fn announce(&self, tls: bool, capabilities: &mut Capabilities) {
        capabilities.binary_mime = self.binary;
        capabilities.dsn = self.dsn;
        capabilities.deliver_by = self.deliver_by;
        capabilities.future_release = self.future_release;
        capabilities.priority.clone_from(&self.priority);
        // RFC 8689 §2: only where there is TLS already
        capabilities.require_tls = self.require_tls && tls;
        capabilities.valid_since = self.valid_since;
        capabilities.no_soliciting.clone_from(&self.no_soliciting);
        capabilities.each_recipient = self.each_recipient;
        capabilities.burl.clone_from(&self.burl);
        capabilities.etrn = self.start_queue;
        capabilities.atrn = self.turn;
        capabilities.other = self.extensions.iter().map(|extension| extension.announced.clone()).collect();
    }

    pub(super) fn takes_of_mail(&self, keyword: &str) -> bool {
        self.extensions.iter().any(|extension| extension.mail.iter().any(|own| own == keyword))
    }

    pub(super) fn takes_of_rcpt(&self, keyword: &str) -> bool {
        self.extensions.iter().any(|extension| extension.rcpt.iter().any(|own| own == keyword))
    }
}
