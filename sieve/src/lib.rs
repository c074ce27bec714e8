#![doc = include_str!("../README.md")]

mod ast;
mod lexer;
mod parser;
mod printer;

pub use ast::{Argument, ArgumentKind, Command, Position, Script, StringLiteral, Test};
pub use parser::{Limits, SyntaxError, SyntaxErrorKind};
