//! How an account does.

/// What is known of an account that is fetched from. Times are in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchStatus {
    /// What it does now.
    pub phase: FetchPhase,
    /// When it looked the last time, and when all went well the last time.
    pub tried: Option<u64>,
    /// See `tried`.
    pub succeeded: Option<u64>,
    /// When it looks again at the latest.
    pub next: Option<u64>,
    /// How many messages came since the server started.
    pub delivered: u64,
    /// How often it failed since all went well.
    pub failures: u32,
    /// What went wrong the last time; `None` if all went well.
    pub error: Option<String>,
    /// What the last look passed over, a line each: mailboxes that cannot be opened or written to, messages that the server does not give, and
    /// those that wait because the connection breaks at them.
    /// While there is any, not all went well.
    pub notes: Vec<String>,
    /// The mailboxes there that show all messages of the others (`\All`, RFC 6154), of which at most 20 are named. They are left out: what is
    /// in no other does not come.
    pub views: Vec<String>,
}

/// What an account does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchPhase {
    /// It waits for its turn, or for its time.
    #[default]
    Waiting,
    /// It looks for mail and brings it.
    Fetching,
    /// It waits for the server's news.
    Listening,
}

impl FetchPhase {
    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Fetching => "fetching",
            Self::Listening => "listening",
        }
    }
}
