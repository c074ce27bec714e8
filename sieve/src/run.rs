//! The interpreter: a machine that runs a program until it needs to know something from its host.
//!
//! Laws of this file: an instruction that needs an answer does nothing before it has it; once answered it is begun anew and finds the
//! answer there. Nothing is done to the message here: what is to be done is in the outcome. Whatever goes wrong, the message is kept.

mod actions;
mod context;
mod fields;
mod reading;
mod strings;
mod watch;

use std::{collections::VecDeque, sync::Arc};

pub(crate) use context::PartLoop;
use context::StopKind;
pub use context::{Context, Flow, Stop};
pub(crate) use fields::{Found, Mailbox, text};
pub(crate) use reading::{Current, PIECE};
pub(crate) use strings::Strings;

use crate::{
    Answer, Input, Limits, Outcome, Program, Request, Round, RuntimeError,
    definition::Code,
    program::{Call, Instruction},
};

/// A program at work on one message.
///
/// ```
/// use std::sync::Arc;
/// use mailwright_mail_model::{DateTime, mime::Structure};
/// use mailwright_sieve::{Action, Answer, Input, Language, Request, Run, Step};
///
/// let program = Language::standard().compile(br#"require "fileinto"; if header :contains "subject" "tea" { fileinto "Tea"; }"#)?;
/// let message = b"Subject: More tea?\r\n\r\nNow.\r\n";
/// let input = Input::new(Arc::new(Structure::of(message)), DateTime::EPOCH);
/// let mut run = Run::new(Arc::new(program), input);
/// let outcome = loop {
///     match run.poll() {
///         Step::Need(Request::Octets { range, .. }) => {
///             let octets = &message[range.start as usize..range.end as usize];
///             run.answer(Answer::Octets(octets.into()));
///         }
///         // There is one mailbox, and nothing else that a script could ask about.
///         Step::Need(Request::Mailbox(name)) => run.answer(Answer::Truth(name == "Tea")),
///         Step::Need(other) => run.answer(other.unanswered()),
///         Step::Done(outcome) => break outcome,
///     }
/// };
/// let [Action::FileInto(delivery)] = &outcome.actions[..] else { panic!("{outcome:?}") };
/// assert_eq!(delivery.mailbox.as_deref(), Some("Tea"));
/// # Ok::<(), mailwright_sieve::CompileError>(())
/// ```
#[derive(Debug)]
pub struct Run {
    context: Context,
    frames: Vec<Frame>,
    /// What is run next if the message is still to be kept.
    queue: VecDeque<Arc<Program>>,
    includes: usize,
    needed: Option<Request>,
    outcome: Option<Box<Outcome>>,
}

/// What comes next.
#[derive(Debug)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "a run needs something or is done")]
pub enum Step {
    /// Nothing until [`Run::answer`].
    Need(Request),
    /// The end.
    Done(Box<Outcome>),
}

/// A script that has begun: the first one, or one that is included.
#[derive(Debug)]
struct Frame {
    program: Arc<Program>,
    name: Option<String>,
    at: usize,
    /// The result of the last test.
    flag: bool,
    /// The variables of the script that included this one.
    outer: Vec<String>,
    /// The instructions that began the blocks control is in, and how many loops over parts there were before.
    blocks: Vec<(usize, usize)>,
    /// How many loops over parts there were before.
    loops: usize,
}

impl Run {
    /// A run of this program on this message, within the default limits.
    pub fn new(program: Arc<Program>, input: Input) -> Self {
        Self::with_limits(program, input, Limits::default())
    }

    /// A run of this program on this message.
    pub fn with_limits(program: Arc<Program>, input: Input, limits: Limits) -> Self {
        let mut run = Self {
            context: Context::new(input, limits),
            frames: Vec::new(),
            queue: VecDeque::new(),
            includes: 0,
            needed: None,
            outcome: None,
        };
        run.begin(program);
        run
    }

    /// The same, followed by another script if the message is still to be kept at the end of the one before: so the scripts of the
    /// server come before and after that of the user.
    #[must_use]
    pub fn then(mut self, program: Arc<Program>) -> Self {
        self.queue.push_back(program);
        self
    }

    /// The same, as if these were the actions of scripts that have ended before it.
    pub(crate) fn behind(mut self, actions: Vec<crate::Action>) -> Self {
        self.context.committed = actions.len();
        self.context.actions = actions;
        self
    }

    /// The same, ended with an error as soon as `over` says so. It is asked every few hundred steps, and not again once it has said yes: what
    /// it looks at, such as a clock, is the host's, and so is what the time between questions and answers counts for.
    ///
    /// ```
    /// use std::{sync::Arc, time::{Duration, Instant}};
    /// use mailwright_mail_model::{DateTime, mime::Structure};
    /// use mailwright_sieve::{Input, Language, Run, Step};
    ///
    /// let program = Language::standard().compile("if not false { keep; }".repeat(1_000).as_bytes())?;
    /// let input = Input::new(Arc::new(Structure::of(b"Subject: tea\r\n\r\nNow.\r\n")), DateTime::EPOCH);
    /// let deadline = Instant::now();
    /// let mut run = Run::new(Arc::new(program), input).until(move || Instant::now() >= deadline);
    /// let Step::Done(outcome) = run.poll() else { panic!("nothing is asked here") };
    /// assert!(outcome.error.is_some_and(|error| error.message.contains("takes too long")));
    /// # Ok::<(), mailwright_sieve::CompileError>(())
    /// ```
    #[must_use]
    pub fn until(mut self, over: impl FnMut() -> bool + Send + 'static) -> Self {
        self.context.watch = watch::Watch::new(over);
        self
    }

    /// Goes on until something is needed or all is done. After the end it says the same again.
    pub fn poll(&mut self) -> Step {
        if let Some(outcome) = &self.outcome {
            return Step::Done(outcome.clone());
        }
        if let Some(request) = &self.needed {
            return Step::Need(request.clone());
        }
        let outcome = loop {
            match self.advance() {
                Ok(()) => match self.finish() {
                    Some(outcome) => break outcome,
                    None => continue,
                },
                Err(StopKind::Need(request)) => {
                    self.needed = Some((*request).clone());
                    return Step::Need(*request);
                }
                Err(StopKind::Error(message)) => {
                    if let Some(outcome) = self.fail(message) {
                        break outcome;
                    }
                }
            }
        };
        self.outcome = Some(Box::new(outcome));
        self.poll()
    }

    /// The answer to what was needed. Without a question it is ignored.
    pub fn answer(&mut self, answer: Answer) {
        if let Some(request) = self.needed.take() {
            self.context.answered(request, answer);
        }
    }

    fn begin(&mut self, program: Arc<Program>) {
        self.context.begin(&program);
        self.frames = vec![Frame::new(program, None, Vec::new(), 0)];
    }

    /// Runs to the end of the script.
    fn advance(&mut self) -> Result<(), StopKind> {
        while let Some(frame) = self.frames.last() {
            let program = Arc::clone(&frame.program);
            self.context.captures_on(program.captures);
            while let Some(frame) = self.frames.last_mut() {
                let Some(instruction) = program.code.get(frame.at) else {
                    self.leave();
                    break;
                };
                let flow = step(&mut self.context, frame, &program, instruction)?;
                self.context.instruction_done();
                match flow {
                    Flow::Next => {}
                    Flow::Stop => {
                        while !self.frames.is_empty() {
                            self.leave();
                        }
                        break;
                    }
                    Flow::Return => {
                        self.leave();
                        break;
                    }
                    Flow::Leave(command, name) => {
                        self.leave_block(&command, name.as_deref()).map_err(|stop| stop.0)?
                    }
                    Flow::Run(included, name) => {
                        self.include(included, name)?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn include(&mut self, program: Arc<Program>, name: String) -> Result<(), StopKind> {
        self.includes += 1;
        let limits = self.context.limits();
        let (most, deepest) = (limits.includes, limits.include_depth);
        if self.includes > most {
            return Err(StopKind::Error(format!("more than {most} scripts are included")));
        }
        if self.frames.len() > deepest {
            return Err(StopKind::Error(format!("scripts include one another more than {deepest} deep")));
        }
        let outer = self.context.enter(&program);
        let loops = self.context.loops.len();
        self.context.included = Some(name.as_str().into());
        self.frames.push(Frame::new(program, Some(name), outer, loops));
        self.context.depth = self.frames.len().saturating_sub(1);
        Ok(())
    }

    /// Ends the innermost script.
    fn leave(&mut self) {
        if let Some(frame) = self.frames.pop() {
            self.context.loops.truncate(frame.loops);
            self.context.locals = frame.outer;
            let outer = self.frames.last().and_then(|frame| frame.name.as_deref());
            self.context.included = outer.map(Into::into);
        }
        self.context.depth = self.frames.len().saturating_sub(1);
    }

    /// Goes behind the innermost block of that command, and of that name if one is given.
    fn leave_block(&mut self, command: &str, name: Option<&str>) -> Result<(), Stop> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        let program = Arc::clone(&frame.program);
        while let Some((start, _)) = frame.blocks.pop() {
            let Some((call, end)) = program.block(start) else { continue };
            block(&mut self.context, call, Round::Left)?;
            frame.at = end;
            if call.name() == command && (name.is_none() || call.tag_constant("name") == name) {
                return Ok(());
            }
        }
        Err(Stop::error(format!("there is no `{command}` to leave here")))
    }

    /// Something went wrong: goes behind the innermost block that catches errors, or ends everything.
    fn fail(&mut self, message: String) -> Option<Outcome> {
        let script = self.frames.last().and_then(|frame| frame.name.clone());
        let position = self.context.position;
        let error = RuntimeError { script, position, message };
        self.context.instruction_done();
        while let Some(frame) = self.frames.last_mut() {
            let program = Arc::clone(&frame.program);
            while let Some((start, loops)) = frame.blocks.pop() {
                let Some((call, end)) = program.block(start) else { continue };
                if call.definition.catches {
                    self.context.loops.truncate(loops);
                    self.context.caught = Some(error);
                    frame.at = end;
                    // A block that catches errors makes none of them.
                    let _ = block(&mut self.context, call, Round::Left);
                    self.context.caught = None;
                    return None;
                }
            }
            self.leave();
        }
        let committed = self.context.committed;
        let mut outcome = self.context.outcome();
        outcome.undo(committed, self.context.input().structure.octets());
        outcome.error = Some(error);
        Some(outcome)
    }

    /// A script has ended: the outcome, unless there is one more to run.
    fn finish(&mut self) -> Option<Outcome> {
        if self.context.kept()
            && let Some(next) = self.queue.pop_front()
        {
            self.context.commit();
            self.begin(next);
            return None;
        }
        self.context.keep_implicitly();
        Some(self.context.outcome())
    }
}

impl Frame {
    const fn new(program: Arc<Program>, name: Option<String>, outer: Vec<String>, loops: usize) -> Self {
        Self { program, name, at: 0, flag: false, outer, blocks: Vec::new(), loops }
    }
}

/// One instruction. The place in the frame changes only if it was carried out.
fn step(
    context: &mut Context,
    frame: &mut Frame,
    program: &Program,
    instruction: &Instruction,
) -> Result<Flow, StopKind> {
    context.charge(0).map_err(|stop| stop.0)?;
    context.expanded = 0;
    let next = frame.at + 1;
    match instruction {
        Instruction::Set(flag) => frame.flag = *flag,
        Instruction::Not => frame.flag = !frame.flag,
        Instruction::JumpIf { when, to } => {
            frame.at = if frame.flag == *when { *to } else { next };
            return Ok(Flow::Next);
        }
        Instruction::Jump { to } => {
            frame.at = *to;
            return Ok(Flow::Next);
        }
        Instruction::Test(call) => {
            let Some(call) = program.calls.get(*call) else { return Ok(Flow::Stop) };
            context.position = call.position;
            frame.flag = match &call.definition.code {
                Code::Test(code) => code(context, call).map_err(|stop| stop.0)?,
                _ => false,
            };
            if context.tracing() {
                context.trace(call.position, format!("{} is {}", call.name(), frame.flag));
            }
        }
        Instruction::Command(call) => {
            let Some(call) = program.calls.get(*call) else { return Ok(Flow::Stop) };
            context.position = call.position;
            let flow = match &call.definition.code {
                Code::Command(code) => code(context, call).map_err(|stop| stop.0)?,
                _ => Flow::Next,
            };
            if context.tracing() {
                context.trace(call.position, call.name().to_owned());
            }
            frame.at = next;
            return Ok(flow);
        }
        Instruction::Enter { call, end } => {
            let Some(call) = program.calls.get(*call) else { return Ok(Flow::Stop) };
            let loops = context.loops.len();
            if block(context, call, Round::First).map_err(|stop| stop.0)? {
                frame.blocks.push((frame.at, loops));
            } else {
                frame.at = *end;
                return Ok(Flow::Next);
            }
        }
        Instruction::Again { start } => {
            if let Some((call, _)) = program.block(*start) {
                if block(context, call, Round::Again).map_err(|stop| stop.0)? {
                    frame.at = start + 1;
                    return Ok(Flow::Next);
                }
                frame.blocks.pop();
            }
        }
        Instruction::Raise { position, message } => {
            context.position = *position;
            return Err(StopKind::Error(message.to_string()));
        }
    }
    frame.at = next;
    Ok(Flow::Next)
}

fn block(context: &mut Context, call: &Call, round: Round) -> Result<bool, Stop> {
    context.position = call.position;
    let entered = match &call.definition.code {
        Code::Block(code) => code(context, call, round)?,
        _ => false,
    };
    if context.tracing() {
        context.trace(call.position, format!("{} {}", call.name(), if entered { "entered" } else { "left" }));
    }
    Ok(entered)
}
