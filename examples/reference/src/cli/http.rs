//! `http`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum HttpCommand {
    /// Tokens, by which administrators ask by HTTP
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it, this once
    #[command(after_help = "\
Examples:
  mailwrightd http token add monitoring --read-only
  curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8025/v1/queue")]
    Add {
        /// What it is called in lists and in the log
        name: String,
        /// Let it change nothing; it reads everything all the same, messages in the queue too
        #[arg(long)]
        read_only: bool,
    },
    /// List the tokens by their names
    List {
        /// One JSON object a token
        #[arg(long)]
        json: bool,
    },
    /// Take a token back
    Remove {
        /// Its name
        name: String,
    },
}
