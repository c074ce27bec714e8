//! mailwrightd, the reference server of the mailwright family.

#[macro_use]
mod output;

#[cfg(feature = "acme")]
mod acme;
mod address_book;
mod admin;
mod authentication;
mod backup;
mod certificate;
mod cli;
mod command;
mod companion;
mod config;
mod control;
mod directory;
mod dkim;
mod dmarc;
mod dns_plan;
mod doctor;
mod export;
mod fetch;
mod first_run;
mod health;
mod http;
#[cfg(feature = "ldap")]
mod ldap;
mod life;
mod live;
mod local;
mod migrate;
mod on_demand;
mod passwd_file;
mod password;
mod qshape;
mod queue;
mod rules;
mod sendmail;
mod serve;
mod server_scripts;
mod sieve;
mod tlsrpt;
mod trace;
mod user;

use std::{error::Error, process::ExitCode};

use clap::Parser;
use tracing_subscriber::{Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    cli::{Cli, Command, Common, ConfigCommand, DoctorCommand},
    command::CommandError,
    config::{Config, LogFormat, StoreKind},
    rules::Question,
    serve::Source,
};

/// A delivery allocates in the thread of its session and frees in the store's, where the C library's allocator takes its time.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What a wrong configuration ends with, as a wrong command line does.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if let Some(first) = arguments.next().as_deref().and_then(sendmail::called_as) {
        return sendmail::run(first.iter().map(Into::into).chain(arguments), None);
    }
    let cli = Cli::parse();
    if let Some(Command::Sendmail { arguments }) = cli.command {
        return sendmail::run(arguments.into_iter(), cli.common.config.as_deref());
    }
    if let Some(Command::Config(ConfigCommand::Default)) = cli.command {
        print!("{}", config::DEFAULT);
        return ExitCode::SUCCESS;
    }
    if let Some(Command::Append { file, sender }) = &cli.command {
        return local::append(file, sender);
    }
    let config = match Config::load(cli.common.config.as_deref(), cli.common.data.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(&error, USAGE),
    };
    match cli.command {
        Some(Command::Config(command)) => show(&config, &command),
        Some(Command::User(command)) => done(user::run(&config, command)),
        Some(Command::Ban(command)) => done(live::ban(&config, command)),
        Some(Command::Http(command)) => done(http::run(&config, command)),
        Some(Command::Status { json }) => done(health::status(&config, json)),
        Some(Command::Reload) => done(live::reload(&config)),
        Some(Command::Backup { directory, check: true, json }) => done(backup::verify(&directory, json)),
        Some(Command::Backup { directory, check: false, json }) => {
            done(backup::back_up(&config, directory, json))
        }
        Some(Command::Restore { directory, generation, damaged, json }) => {
            done(backup::restore_from(&config, directory, generation, damaged, json))
        }
        Some(Command::Export { user, directory, format, json }) => {
            done(backup::export_user(&config, user, directory, format, json))
        }
        Some(Command::Fsck { repair, forget, json }) => done(backup::check(&config, repair, forget, json)),
        Some(Command::Expire { dry_run, json }) => done(backup::expire(&config, dry_run, json)),
        Some(Command::Sieve(command)) => done(sieve::run(&config, command)),
        Some(Command::Fetch(command)) => done(fetch::run(&config, command)),
        Some(Command::Undelete(options)) => done(life::show_undelete(&config, options)),
        Some(Command::Usage { json }) => done(life::usage(&config, json)),
        Some(Command::Domain(command)) => done(address_book::domain(&config, command)),
        Some(Command::Alias(command)) => done(address_book::alias(&config, command)),
        Some(Command::Group(command)) => done(address_book::group(&config, command)),
        Some(Command::Network(command)) => done(address_book::network(&config, command)),
        Some(Command::Explain { client, helo, from, to, auth, json }) => {
            let question = Question { client, helo, from, to, user: auth };
            done(address_book::explain(&config, question, json))
        }
        Some(Command::Address { address, json }) => done(address_book::address(&config, &address, json)),
        Some(Command::Dmarc(command)) => done(dmarc::run(&config, command)),
        Some(Command::Dns(command)) => done(dns_plan::run(&config, command)),
        Some(Command::Tlsrpt(command)) => done(tlsrpt::run(&config, command)),
        Some(Command::Dkim(command)) => done(dkim::run(&config, command)),
        Some(Command::Queue(command)) => done(queue::run(&config, command)),
        Some(Command::Mailq { json }) => done(queue::mailq(&config, json)),
        Some(Command::Qshape { senders }) => {
            done(queue::entries(&config, queue::Selection::default()).map(|entries| {
                print!("{}", qshape::table(&entries, senders, queue::unix_time()));
            }))
        }
        Some(Command::Trace { message, json }) => done(trace::run(&config, &message, json)),
        Some(Command::Newaliases) => done(address_book::new_aliases(&config)),
        // This was done already.
        Some(Command::Append { .. } | Command::Sendmail { .. }) => ExitCode::SUCCESS,
        Some(Command::Directory(command)) => done(address_book::directory(&config, command)),
        Some(Command::Doctor(DoctorCommand::Relay { json })) => match doctor::relay(&config, json) {
            Ok(true) => ExitCode::SUCCESS,
            // Which one is open has been said.
            Ok(false) => ExitCode::FAILURE,
            Err(error) => fail(&error, 1),
        },
        Some(Command::Migrate(options)) => match migrate::run(&config, &options) {
            Ok(true) => ExitCode::SUCCESS,
            // All that differs has been said.
            Ok(false) => ExitCode::FAILURE,
            Err(error) => fail(&error, 1),
        },
        Some(Command::Serve) | None => match run(config, cli.common) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&*error, 1),
        },
    }
}

fn done(outcome: Result<(), CommandError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn show(config: &Config, command: &ConfigCommand) -> ExitCode {
    if let ConfigCommand::Check = command {
        match directory::check_alias_file(config) {
            Ok(warnings) => warnings.iter().for_each(|warning| eprintln!("mailwrightd: warning: {warning}")),
            Err(error) => return fail(&error, USAGE),
        }
        serve::warnings(config).iter().for_each(|warning| eprintln!("mailwrightd: warning: {warning}"));
        if let Err(error) = user::check_passwd_files(config) {
            return fail(&error, USAGE);
        }
        if let Err(error) = user::check_guest(config) {
            return fail(&error, USAGE);
        }
        println!("the configuration is right");
        return ExitCode::SUCCESS;
    }
    match toml::to_string_pretty(config) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, 1),
    }
}

fn run(config: Config, common: Common) -> Result<(), Box<dyn Error>> {
    let filter = config.log.filter()?;
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let log = match config.log.format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().boxed(),
    };
    // Whatever the log shows, the journal is whole. A store that cannot be opened says why by itself.
    let pen = first_run::make_private(&config.data).and_then(|()| trace::begin(&config.data, &config.trace));
    let pen = pen.ok().flatten();
    let journal = pen.clone().map(|pen| trace::Journal(pen).with_filter(trace::wanted()));
    tracing_subscriber::registry().with(log.with_filter(filter)).with(journal).init();
    // Each thread that blocks has an allocator's arena of its own: many of them cost more memory than they win time.
    let threads = 4.max(2 * std::thread::available_parallelism().map_or(1, usize::from));
    // A Maildir is read and written by these alone, and each waits for the disk.
    let blocking = match config.store.kind {
        StoreKind::Embedded => threads,
        StoreKind::Maildir => 16 * threads,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(blocking)
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve::serve(config, Source { file: common.config, data: common.data }));
    pen.iter().for_each(trace::Pen::finish);
    Ok(served?)
}

fn fail(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("mailwrightd: {error}");
    ExitCode::from(code)
}
