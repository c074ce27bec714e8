//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A mail server: SMTP, submission and LMTP in, IMAP and POP3 out, one durable store.
///
/// Without arguments it serves on unprivileged ports of this machine, keeps everything in ./mailwright-data, makes a
/// self-signed certificate and two accounts, and prints how to send and read a first message.
#[derive(Debug, Parser)]
#[command(name = "mailwrightd", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The configuration file; without it every key has its default
    #[arg(long, value_name = "FILE", global = true, env = "MAILWRIGHT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The data directory, in place of the one in the configuration
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve mail (what happens without a command)
    Serve,
    /// Check, show or explain the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Accounts; these commands work while the server runs
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration and say everything that is wrong with it
    Check,
    /// Print the configuration that is in force, defaults included
    Show,
    /// Print the default configuration, every key with its meaning
    Default,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add an account; without a password on standard input one is made and printed
    Add {
        /// The account's name, a mail address: alice@example.org
        name: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the accounts
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Set an account's password; without one on standard input one is made and printed
    Password {
        /// The account's name
        name: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove an account; it cannot log in any more and gets no mail, its mail is kept
    Remove {
        /// The account's name
        name: String,
    },
    /// Add the accounts of a Dovecot passwd-file: lines of user@domain:{SCHEME}hash
    Import {
        /// The file, or - for standard input
        file: PathBuf,
        /// Replace the passwords of accounts that are there already
        #[arg(long)]
        replace: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
