//! The rules of the server, and what they say of a message that could be.

mod known;
mod strangers;
mod way;

use std::{net::IpAddr, sync::Arc};

use mailwright::{
    line_proto::Peer,
    mail_model::{ForwardPath, ReversePath},
    relay_policy::{
        Chain, Decision, Session, Verdict,
        authentication::{
            Examiner,
            dmarc::{DmarcResult, Wish},
        },
        dns::AnyResolver,
        route::RouteTable,
        rules::{RateCounts, is_for_trouble},
    },
    smtp::Authentication,
    smtp_proto::{Hello, HelloName, Mail, Message, Rcpt},
};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Handle, Runtime};

use crate::{
    authentication,
    config::Config,
    directory::{Directory, DirectoryError},
    dmarc::Collector,
    queue::{self, Access},
};

pub(crate) use known::Known;
pub(crate) use strangers::counts;

/// Everything that decides about mail.
pub(crate) struct Rules {
    pub(crate) chain: Chain,
    pub(crate) authentication: Arc<Authentication>,
    /// Where mail goes that is not for here.
    routes: RouteTable,
    /// Whether mailboxes can be full: files of other programs cannot.
    counts_quota: bool,
    runtime: Handle,
    /// What runs lookups where no server does.
    _own: Option<Runtime>,
}

/// What `mailwrightd explain` asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) client: IpAddr,
    pub(crate) helo: String,
    /// Empty: the null sender.
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) user: Option<String>,
}

/// Stage, rule and outcome.
pub(crate) type Stage = (String, String, String);

impl Rules {
    /// Those of a server that runs.
    pub(crate) fn new(
        config: &Config,
        names: AnyResolver,
        directory: &Arc<Directory>,
        known: Arc<Known>,
        collector: Option<Arc<Collector>>,
        counts: RateCounts,
        runtime: Handle,
    ) -> Self {
        let chain = strangers::chain(config, &names, directory, known, counts);
        let authentication = Arc::new(authentication::make(config, names, directory, collector));
        // What is wrong with them was told already.
        let routes = config.routes().unwrap_or_default();
        let counts_quota = config.store.mbox.is_empty();
        Self { chain, authentication, routes, counts_quota, runtime, _own: None }
    }

    /// The same, where none runs.
    pub(crate) fn alone(
        config: &Config,
        directory: &Arc<Directory>,
        known: Arc<Known>,
    ) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let entered = runtime.enter();
        let names = AnyResolver::new(queue::resolver(config)?);
        drop(entered);
        let rules = Self::new(config, names, directory, known, None, counts(), runtime.handle().clone());
        Ok(Self { _own: Some(runtime), ..rules })
    }

    /// What every stage decides about a message that could be, and where it would go. The last one may be a refusal. Not for an async thread.
    pub(crate) fn explain(
        &self,
        directory: &Directory,
        queue: &Access,
        question: &Question,
    ) -> Result<Vec<Stage>, DirectoryError> {
        let bad = |what: &str, text: &str| DirectoryError::Target(format!("{text:?} is not {what}"));
        let name: HelloName = question.helo.parse().map_err(|_| bad("a name for EHLO", &question.helo))?;
        let from = ReversePath::parse(format!("<{}>", question.from).as_bytes())
            .map_err(|_| bad("a sender", &question.from))?;
        let to = ForwardPath::parse(format!("<{}>", question.to).as_bytes())
            .map_err(|_| bad("a recipient", &question.to))?;
        let mut session = Session::default();
        session.peer = Peer::new(Some((question.client, 0).into()), None);
        session.rehearsal = true;
        if let Some(user) = &question.user {
            session.user = Some(directory.account(user)?.user.as_str().to_owned());
        }
        let asked = way::Asked {
            from: from.address(),
            to: &to,
            trusted: directory.trusts(&session),
            proved: directory.trusts(&session),
        };
        let way = way::stages(directory, &queue.suppressed, &self.routes, &asked);
        let (mail, rcpt) = (Mail::new(from.clone()), Rcpt::new(to.clone()));
        let store = self.counts_quota.then_some(&queue.store);
        let impossible = way::impossible(directory, &self.routes, store, &asked);
        let impossible = self.runtime.block_on(impossible);
        let asking = self.stages(session, Hello::new(name), mail, rcpt, impossible);
        let (mut stages, refused) = self.runtime.block_on(asking);
        if !refused {
            stages.extend(way);
        }
        Ok(stages)
    }

    /// What each stage decides, and whether that is the end of it. `impossible` is what stands in the way behind the rules.
    async fn stages(
        &self,
        mut session: Session,
        hello: Hello,
        mail: Mail,
        rcpt: Rcpt,
        impossible: Option<Stage>,
    ) -> (Vec<Stage>, bool) {
        let mut stages = Vec::new();
        let all = self.chain.rules().collect::<Vec<_>>().join(", ");
        stages.push(("rules".into(), "-".into(), all));
        if note(&mut stages, "connect", self.chain.decide_connect(&session).await)
            || note(&mut stages, "hello", self.chain.decide_hello(&session, &hello).await)
        {
            return accepted(stages);
        }
        session.hello = Some(hello);
        if note(&mut stages, "mail", self.chain.decide_mail(&session, &mail).await) {
            return accepted(stages);
        }
        session.mail = Some(mail.clone());
        let decision = self.chain.decide_rcpt(&session, &rcpt).await;
        let refused = matches!(decision.verdict, Verdict::Reject(_));
        let last = note(&mut stages, "rcpt", decision);
        if let Some(stage) = impossible.filter(|_| !refused) {
            stages.push(stage);
            return (stages, true);
        }
        if last {
            return accepted(stages);
        }
        // As if the sender were the author.
        let mut header = Examiner::new().without_verifying();
        if let Some(from) = mail.from.address() {
            header.push(format!("From: {from}\r\n").as_bytes());
        }
        let spared = is_for_trouble(&rcpt);
        let (message, header) = (Message::new(mail, vec![rcpt]), header.finish());
        let decision = self.chain.decide_message(&session, &message, &header).await;
        if decision.verdict != Verdict::Pass && note(&mut stages, "message", decision) {
            return accepted(stages);
        }
        let Some((findings, done)) = self.authentication.rehearse(&session).await else {
            return (stages, false);
        };
        let (spf, dmarc) = (&findings.spf, &findings.dmarc);
        let whose = if spf.of_sender { "the sender's domain" } else { "the name of EHLO" };
        stages.push((
            "message".into(),
            "spf".into(),
            format!("{} for {whose}, {}", spf.result.as_str(), spf.domain),
        ));
        let word = dmarc.result.as_str();
        let done = if spared { done.min(Wish::Quarantine) } else { done };
        let put_off = !spared && self.authentication.puts_off(&findings);
        let outcome = match (&dmarc.author.record, done) {
            // Whoever writes as nobody has an author all the same, whom only the message names.
            _ if dmarc.author.domain.is_empty() => {
                "not judged: nobody is the author without a sender (--from)".to_owned()
            }
            (None, _) if dmarc.result == DmarcResult::TempError => {
                format!("{word}, nothing is done: what {} says cannot be told now", dmarc.author.domain)
            }
            (None, _) => format!("{word}: {} says nothing", dmarc.author.domain),
            (Some((place, record)), _) if put_off => format!(
                "{word}, 450 for now unless it is signed by {} (p={} at {place})",
                dmarc.author.domain,
                record.policy.as_str()
            ),
            (Some((place, record)), Wish::None) => {
                format!("{word}, nothing is done (p={} at {place})", record.policy.as_str())
            }
            (Some((place, record)), done) => format!(
                "{word}, {} unless it is signed by {} (p={} at {place})",
                done.as_str(),
                dmarc.author.domain,
                record.policy.as_str()
            ),
        };
        stages.push(("message".into(), "dmarc".into(), outcome));
        (stages, false)
    }
}

/// What a rule that decides leaves open: nothing, if it refuses.
fn accepted(stages: Vec<Stage>) -> (Vec<Stage>, bool) {
    let refused = stages.last().is_some_and(|(_, _, outcome)| outcome != ACCEPTED);
    (stages, refused)
}

/// What is said of a rule that accepts.
const ACCEPTED: &str = "accepted";

/// Whether that was the last.
fn note(stages: &mut Vec<Stage>, stage: &str, decision: Decision) -> bool {
    let (rule, outcome, last) = match decision.verdict {
        Verdict::Pass => ("-".to_owned(), "no objection".to_owned(), false),
        Verdict::Accept => (decision.rule, ACCEPTED.to_owned(), true),
        Verdict::Reject(reply) => (decision.rule, reply.to_string().trim_end().to_owned(), true),
        other => (decision.rule, format!("{other:?}"), true),
    };
    stages.push((stage.to_owned(), rule, outcome));
    last
}
