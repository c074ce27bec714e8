//! Telling users that their quota is nearly used up.

use std::{
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use mailwright::{
    ProcessGroup,
    mail_model::{DateTime, MailboxName},
    mailstore::{AnyStore, Quota, QuotaWarning, Resource, Store, Target, Write},
};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::first_run::random_password;

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Passes on every warning of the store, until it is to stop: by `command`, or by a message if there is none.
pub(crate) async fn warn(store: AnyStore, command: Vec<String>, hostname: String, stop: CancellationToken) {
    let Some(quota) = store.quota() else { return };
    loop {
        let pass = async {
            let mut all = true;
            let warnings = match quota.quota_warnings().await {
                Ok(warnings) => warnings,
                Err(error) => {
                    tracing::error!(%error, "users cannot be told of their quotas");
                    return false;
                }
            };
            for warning in warnings {
                let mut told = match command.split_first() {
                    Some((program, arguments)) => run(program, arguments, &warning).await,
                    None => tell(&store, &hostname, &warning).await,
                };
                if told.is_ok() {
                    tracing::info!(user = %warning.user.as_str(), resource = warning.resource.as_str(), percent = warning.percent, "told of the quota");
                    // Told first: a crash in between tells it twice, which is better than never.
                    let settled = quota.settle_warnings(std::slice::from_ref(&warning)).await;
                    told = settled.map_err(|error| error.to_string());
                }
                // Whoever cannot be told keeps nobody else from it.
                if let Err(error) = told {
                    tracing::error!(user = %warning.user.as_str(), error, "a user cannot be told of the quota");
                    all = false;
                }
            }
            all
        };
        tokio::select! {
            () = stop.cancelled() => return,
            all = pass => {
                if all {
                    continue;
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        }
    }
}

async fn run(program: &str, arguments: &[String], warning: &QuotaWarning) -> Result<(), String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg(warning.user.as_str())
        .arg(warning.resource.as_str())
        .arg(warning.percent.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // What it starts ends with it, if it takes too long.
        .process_group(0)
        .kill_on_drop(true);
    let work = async {
        let mut child = command.spawn()?;
        let group = ProcessGroup::of(&child);
        let status = child.wait().await?;
        group.has_ended();
        Ok::<_, std::io::Error>(status)
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{program}: {status}")),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => Err(format!("{program} takes more than {} seconds", PATIENCE.as_secs())),
    }
}

async fn tell(store: &AnyStore, hostname: &str, warning: &QuotaWarning) -> Result<(), String> {
    let writer = store.writer().ok_or("the store takes no messages")?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = DateTime::new(i64::try_from(since).unwrap_or(i64::MAX), 0).ok_or("the clock is wrong")?;
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let id = random_password().map_err(|error| failed(&error))?;
    let mut upload = writer.begin(None).await.map_err(|error| failed(&error))?;
    upload.write(Bytes::from(message(warning, hostname, now, &id))).await.map_err(|error| failed(&error))?;
    let target = Target::new(warning.user.clone(), MailboxName::inbox(), now).exempt();
    upload.commit(&[target]).await.map(drop).map_err(|error| failed(&error))
}

fn message(warning: &QuotaWarning, hostname: &str, now: DateTime, id: &str) -> String {
    let (user, percent) = (warning.user.as_str(), warning.percent);
    let what = match warning.resource {
        Resource::Storage => "the space for messages",
        Resource::Message => "the number of messages",
        Resource::Mailbox => "the number of mailboxes",
        Resource::AnnotationStorage => "the space for annotations",
        _ => "what is there",
    };
    // RFC 3834 §5: nobody is to answer automatically.
    format!(
        "Return-Path: <>\r\n\
         From: Mail server <postmaster@{hostname}>\r\n\
         To: <{user}>\r\n\
         Subject: Your mailbox is {percent} % full\r\n\
         Date: {}\r\n\
         Message-ID: <{id}@{hostname}>\r\n\
         Auto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\
         \r\n\
         Of {what} that {user} may use up, {percent} % or more are used.\r\n\
         \r\n\
         When all of it is used, messages to you go back to those who sent them.\r\n\
         Delete what you do not need, and empty the trash.\r\n",
        now.to_rfc5322(),
    )
}
