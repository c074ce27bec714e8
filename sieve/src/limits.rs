//! What a script may cost, to compile and to run.

/// The bounds of a script. The defaults are Pigeonhole's where it has one.
///
/// ```
/// use mailwright_sieve::Limits;
///
/// let mut limits = Limits::default();
/// limits.redirects = 1;
/// assert_eq!(limits.actions, 32);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The size of a script in octets; 1 MiB.
    pub script: usize,
    /// How deep blocks, and tests, may be nested; 32 each, which is Pigeonhole's limit.
    pub nesting: usize,
    /// How many errors are reported for one script before the checker gives up; 100.
    pub errors: usize,
    /// Variables of one script, and of the `global` namespace; 128 (RFC 5229 §6 asks for as many).
    pub variables: usize,
    /// Octets of a variable, a match variable and the list of flags; what is longer is cut off (RFC 5229 §6); 64 KiB.
    pub variable: usize,
    /// Octets of a string after its variables are put in; what is longer is cut off; 1 MiB.
    pub string: usize,
    /// Octets of all variables of a run together; 8 MiB. More is a run-time error. The strings that one command puts together have as
    /// many at most, and so have those that all actions keep.
    pub memory: usize,
    /// Match variables, `${0}` included; 33.
    pub match_values: usize,
    /// Instructions of a run, one more for each KiB compared or read; 1,000,000.
    pub instructions: u64,
    /// Actions of a run; 32.
    pub actions: usize,
    /// Redirects and reports of each script of those that run one after another; 4.
    pub redirects: usize,
    /// Scripts that are included in a run; 255.
    pub includes: usize,
    /// How deep scripts may include one another; 10.
    pub include_depth: usize,
    /// Octets of a compiled regular expression; 1 MiB.
    pub regex: usize,
    /// Octets of all regular expressions of a script, and of those that one test compiles when it is run; 64 MiB.
    pub regexes: usize,
    /// Octets of the header of a part that are read; 1 MiB.
    pub header: usize,
    /// Octets of the decoded text of a part that `:is`, `:matches`, `:regex`, `:value` and `extracttext` see; 1 MiB.
    /// `:contains` sees all of it.
    pub body: usize,
    /// Header fields that `addheader` may add; 32.
    pub added_headers: usize,
    /// Lines of the user's log and of `debug_log`, each as long as a variable at most; 100.
    pub log: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            script: 1 << 20,
            nesting: 32,
            errors: 100,
            variables: 128,
            variable: 64 << 10,
            string: 1 << 20,
            memory: 8 << 20,
            match_values: 33,
            instructions: 1_000_000,
            actions: 32,
            redirects: 4,
            includes: 255,
            include_depth: 10,
            regex: 1 << 20,
            regexes: 64 << 20,
            header: 1 << 20,
            body: 1 << 20,
            added_headers: 32,
            log: 100,
        }
    }
}
