//! The command that programs call sendmail: it reads a message and hands it to the running server.
//!
//! Programs know it by its name and its options, which are forty years old; what they may expect is in sendmail(1) of any
//! system. It has no rights of its own, and no queue: if no server runs, it says so and ends with `EX_TEMPFAIL`.

mod input;
mod message;
mod options;
mod submit;

use std::{
    ffi::{OsStr, OsString},
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::{ffi::OsStrExt, net::UnixStream},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use crate::{command::CommandError, config::Config, local::Users};

use input::Input;
use message::Author;
use options::{Mode, Options};
use submit::Failure;

/// Where the configuration is if nobody says.
const CONFIGURATION: &str = "/etc/mailwright.toml";

/// `sysexits.h`.
const USAGE: u8 = 64;
const DATA: u8 = 65;
const NO_USER: u8 = 67;
const UNAVAILABLE: u8 = 69;
const TEMPORARY: u8 = 75;

/// Whether the program was called by one of the names that other mail servers have their commands under; then, as what.
pub(crate) fn called_as(program: &OsStr) -> Option<&'static [&'static str]> {
    match Path::new(program).file_name()?.to_str()? {
        "sendmail" | "mailwright-sendmail" => Some(&[]),
        "mailq" => Some(&["-bp"]),
        "newaliases" | "postalias" => Some(&["-bi"]),
        _ => None,
    }
}

/// Runs it. `arguments` are those behind the name.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>, given: Option<&Path>) -> ExitCode {
    match attempt(arguments.map(text), given) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sendmail: {failure}");
            ExitCode::from(match failure {
                Failure::Usage(_) => USAGE,
                Failure::Message(_) => DATA,
                Failure::NoUser(_) => NO_USER,
                Failure::Refused(_) => UNAVAILABLE,
                Failure::Later(_) => TEMPORARY,
            })
        }
    }
}

/// An argument as text. What is no UTF-8 comes from a program as old as Latin-1, and every octet is a letter there.
fn text(argument: OsString) -> String {
    let latin = |octets: OsString| octets.as_bytes().iter().map(|octet| char::from(*octet)).collect();
    argument.into_string().unwrap_or_else(latin)
}

fn attempt(arguments: impl Iterator<Item = String>, given: Option<&Path>) -> Result<(), Failure> {
    let options = Options::parse(arguments).map_err(Failure::Usage)?;
    let config = configuration(options.config.as_deref().or(given))?;
    match options.mode {
        Mode::Deliver => deliver(&config, &options),
        Mode::Smtp => converse(&config),
        Mode::Queue => crate::queue::mailq(&config, false).map_err(later),
        Mode::Aliases => crate::address_book::new_aliases(&config).map_err(|error| match error {
            CommandError::Refused(text) => Failure::Message(text),
            error => later(error),
        }),
        Mode::Flush => crate::queue::flush(&config).map_err(later),
    }
}

fn later(error: impl std::fmt::Display) -> Failure {
    Failure::Later(error.to_string())
}

fn configuration(given: Option<&Path>) -> Result<Config, Failure> {
    let named =
        given.map(Path::to_owned).or_else(|| std::env::var_os("MAILWRIGHT_CONFIG").map(PathBuf::from));
    let path = named.or_else(|| Some(PathBuf::from(CONFIGURATION)).filter(|path| path.exists()));
    // What only the server needs is the server's to check: we may not even be able to see it.
    Config::unchecked(path.as_deref()).map_err(later)
}

fn deliver(config: &Config, options: &Options) -> Result<(), Failure> {
    let number = rustix::process::getuid().as_raw();
    let user = Users.by_number(number);
    let name = user.as_ref().map_or_else(|| format!("uid{number}"), |user| user.name.clone());
    let author = Author {
        login: name,
        full_name: options.full_name.clone().or_else(|| user.map(|user| user.full_name)).unwrap_or_default(),
        origin: config.origin().to_owned(),
        hostname: config.hostname.clone(),
    };
    let stdin = io::stdin().lock();
    let mut input = Input::new(stdin, options.dot_is_data);
    let head = input.head(&author, options)?;
    submit::send(|| connect(config), &author, &head, options, &mut input)
}

/// `-bs`: SMTP between standard input and the server.
fn converse(config: &Config) -> Result<(), Failure> {
    let mut stream = connect(config)?;
    let mut sending = stream.try_clone().map_err(later)?;
    // It ends with us: whoever gave us our input may keep it open after QUIT.
    let _talking = thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut sending);
        let _ = sending.shutdown(Shutdown::Write);
    });
    let (mut out, mut buffer) = (io::stdout().lock(), vec![0; 16 * 1024]);
    loop {
        let count = stream.read(&mut buffer).map_err(later)?;
        if count == 0 {
            return Ok(());
        }
        let heard = buffer.get(..count).unwrap_or_default();
        out.write_all(heard).and_then(|()| out.flush()).map_err(later)?;
    }
}

fn connect(config: &Config) -> Result<UnixStream, Failure> {
    let path = config.sendmail.socket(&config.data);
    UnixStream::connect(&path).map_err(|error| {
        let shown = path.display();
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "you may not reach that socket: [sendmail] socket in the configuration names another place, such as /run/mailwright/sendmail.sock"
            }
            _ => "does mailwrightd run, and with this configuration? (MAILWRIGHT_CONFIG or -C names another)",
        };
        Failure::Later(format!("cannot reach the server at {shown}: {error}\n  the message was not sent; {advice}"))
    })
}
