//! `http token`.

use super::TokenRequest;
use crate::{
    admin::{Request, Response},
    cli::{HttpCommand, TokenCommand},
    command::{CommandError, print_json, request},
    config::Config,
};

/// Does it, and prints what came of it.
pub(crate) fn run(config: &Config, command: HttpCommand) -> Result<(), CommandError> {
    let HttpCommand::Token(command) = command;
    match command {
        TokenCommand::Add { name, read_only } => {
            let asked = TokenRequest::Add { name: name.clone(), read_only };
            if let Response::Token { token } = request(config, Request::Token(asked))? {
                println!("{}", token.0);
                let rights = if read_only { "read everything" } else { "read and change everything" };
                eprintln!("who has this token, {name}, may {rights}; it is not shown again");
            }
        }
        TokenCommand::List { json } => {
            if let Response::Tokens { tokens } = request(config, Request::Token(TokenRequest::List))? {
                for token in tokens {
                    if json {
                        print_json(&token)?;
                    } else {
                        println!("{}{}", token.name, if token.read_only { "  (read-only)" } else { "" });
                    }
                }
            }
        }
        TokenCommand::Remove { name } => {
            request(config, Request::Token(TokenRequest::Remove { name: name.clone() }))?;
            println!("removed the token {name}; it opens nothing any more");
        }
    }
    Ok(())
}
