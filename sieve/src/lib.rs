#![doc = include_str!("../README.md")]

pub mod compose;
pub mod extension;
pub mod managesieve;
pub mod redirect;
pub mod testsuite;
pub mod vacation;

mod action;
mod ast;
mod check;
mod comment;
mod comparator;
mod definition;
mod diagnostic;
mod few;
mod host;
mod input;
mod language;
mod lexer;
mod limits;
mod matching;
mod message;
mod options;
mod outcome;
mod parser;
mod printer;
mod program;
mod refusal;
mod request;
mod run;
mod text;
mod tree;
mod words;

pub use action::{
    Action, DeliverBy, Delivery, Notify, Pipe, ProgramInput, ProgramOutput, Redirect, Reject, Report, Snooze,
};
pub use ast::{Argument, ArgumentKind, Command, Comments, Position, Script, StringLiteral, Test};
pub use comment::Comment;
pub use comparator::Comparator;
pub use definition::{Definition, Parameter, Round, Tag};
pub use diagnostic::{CompileError, Diagnostic, Severity};
pub use host::{CalendarFunction, Converter, Folder, MemoryHost, ProgramFunction};
pub use input::{By, Envelope, Input};
pub use language::{Extension, Language, Target};
pub use limits::Limits;
pub use matching::Matcher;
pub use message::{Message, Segment};
pub use options::Options;
pub use outcome::{Ended, LogLine, Outcome, RuntimeError, Seen, TraceLine};
pub use parser::{SyntaxError, SyntaxErrorKind};
pub use program::{Call, Program};
pub use request::{Answer, CalendarOutcome, CalendarRequest, Request, Score};
pub use run::{Context, Flow, Run, Step, Stop};
