//! What Pigeonhole adds: `vnd.dovecot.debug`, `report`, and the programs `pipe`, `filter`, `execute`.

use mailwright_mail_model::mime::Structure;

use super::base::addr_spec;
use crate::{
    Action, Answer, Call, Context, Definition, Extension, Flow, Message, Parameter, Pipe, ProgramInput,
    ProgramOutput, Report, Request, Stop, Tag, check::Checker, run::Current, text::Text,
};

pub(super) fn extensions() -> Vec<Extension> {
    let debug = Definition::command("debug_log", |context, call| {
        let message = context.text(call, 0)?.into_owned();
        context.log(message);
        Ok(Flow::Next)
    });
    let report = Definition::command("report", report)
        .tag(Tag::new("headers_only"))
        .parameter(Parameter::String)
        .parameter(Parameter::String)
        .parameter(Parameter::String)
        .checked(check_report);
    vec![
        Extension::new("vnd.dovecot.debug").command(debug.parameter(Parameter::String)),
        Extension::new("vnd.dovecot.report").command(report),
    ]
}

/// The extensions that start programs.
pub(super) fn programs() -> Vec<Extension> {
    let program = |definition: Definition| {
        definition.parameter(Parameter::Constant).optional(Parameter::Strings).checked(check_program)
    };
    let execute = |definition: Definition| {
        program(
            definition
                .tag(Tag::new("input").value(Parameter::String).group("input"))
                .tag(Tag::new("pipe").group("input"))
                .tag(Tag::new("output").value(Parameter::Variable)),
        )
        .checked(check_execute)
    };
    let filter_command = |context: &mut Context, call: &Call| filter(context, call, true).map(|_| Flow::Next);
    let execute_command =
        |context: &mut Context, call: &Call| run_program(context, call, true).map(|_| Flow::Next);
    vec![
        Extension::new("vnd.dovecot.pipe")
            .command(program(Definition::command("pipe", pipe).tag(Tag::new("try")))),
        Extension::new("vnd.dovecot.filter")
            .command(program(Definition::command("filter", filter_command)))
            .test(program(Definition::test("filter", |context, call| filter(context, call, false)))),
        Extension::new("vnd.dovecot.execute")
            .command(execute(Definition::command("execute", execute_command)))
            .test(execute(Definition::test("execute", |context, call| run_program(context, call, false)))),
    ]
}

/// A name that is no path, of at most 128 characters (spec-bosch-sieve-extprograms §3).
fn check_program(checker: &mut Checker<'_>, call: &mut Call) {
    let name = call.constant(0).unwrap_or_default();
    let control = |letter: char| letter.is_control() || matches!(letter, '/' | '\u{2028}' | '\u{2029}');
    if name.is_empty()
        || name.chars().count() > 128
        || name.chars().any(control)
        || matches!(name, "." | "..")
    {
        checker.error(call.position, "this is no name of a program");
    }
    if call.texts(1).len() > ARGUMENTS {
        checker.error(call.position, format!("a program takes at most {ARGUMENTS} arguments"));
    }
}

/// spec-bosch-sieve-extprograms §4 asks for at least 16 arguments of 1,024 octets.
const ARGUMENTS: usize = 16;
const ARGUMENT: usize = 1024;

fn check_execute(checker: &mut Checker<'_>, call: &mut Call) {
    if call.has("output") && !checker.is_active("variables") {
        checker.error(call.position, "`:output` needs `require \"variables\";`");
    }
}

fn arguments(context: &mut Context, call: &Call) -> Result<Vec<String>, Stop> {
    let arguments = context.texts(call, 1)?;
    if arguments.iter().any(|argument| argument.len() > ARGUMENT || argument.contains(['\r', '\n', '\0'])) {
        return Err(Stop::error("an argument of a program is too long, or has more than one line"));
    }
    Ok(arguments.into_iter().map(String::from).collect())
}

fn pipe(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let pipe = Pipe {
        program: call.constant(0).unwrap_or_default().to_owned(),
        arguments: arguments(context, call)?,
        ignore_failure: call.has("try"),
        copy: call.has("copy"),
        message: context.current.message(),
    };
    let copy = pipe.copy;
    context.act(Action::Pipe(pipe))?;
    if !copy {
        context.cancel_keep_by_pipe();
    }
    Ok(Flow::Next)
}

fn filter(context: &mut Context, call: &Call, command: bool) -> Result<bool, Stop> {
    let program = call.constant(0).unwrap_or_default().to_owned();
    let arguments = arguments(context, call)?;
    let message = context.current.message();
    match context.ask(Request::Filter { program: program.clone(), arguments, message })? {
        Answer::Message { source, structure } => {
            let structure: std::sync::Arc<Structure> = structure;
            let octets = Message::source(source, structure.octets());
            context.current = Current::of(structure, octets);
            context.loops.clear();
            Ok(true)
        }
        Answer::Program(ProgramOutput::Unknown) if command => {
            Err(Stop::error(format!("there is no program `{program}`")))
        }
        Answer::Program(ProgramOutput::Aborted) => {
            Err(Stop::error(format!("the program `{program}` could not be run to its end")))
        }
        // As Pigeonhole has it: the program said no, and the script goes on.
        Answer::Program(_) => Ok(false),
        other => Err(Stop::error(format!("the host answered {other:?} to a filter"))),
    }
}

fn run_program(context: &mut Context, call: &Call, command: bool) -> Result<bool, Stop> {
    let program = call.constant(0).unwrap_or_default().to_owned();
    let arguments = arguments(context, call)?;
    let input = match context.tag_text(call, "input")? {
        Some(text) => ProgramInput::Text(text.into_owned()),
        None if call.has("pipe") => ProgramInput::Message(context.current.message()),
        None => ProgramInput::Nothing,
    };
    match context.ask(Request::Execute { program: program.clone(), arguments, input })? {
        Answer::Program(ProgramOutput::Success(output)) => {
            if let Some(target) = call.tag_texts("output").first() {
                context.assign(target, String::from_utf8_lossy(&output).into_owned())?;
            }
            Ok(true)
        }
        Answer::Program(ProgramOutput::Unknown) if command => {
            Err(Stop::error(format!("there is no program `{program}`")))
        }
        Answer::Program(ProgramOutput::Aborted) => {
            Err(Stop::error(format!("the program `{program}` could not be run to its end")))
        }
        // As Pigeonhole has it: the program said no, and the script goes on.
        Answer::Program(_) => Ok(false),
        other => Err(Stop::error(format!("the host answered {other:?} to a program"))),
    }
}

fn check_report(checker: &mut Checker<'_>, call: &mut Call) {
    let constant = |index: usize| call.texts(index).first().and_then(Text::constant);
    let mut messages = Vec::new();
    if let Some(kind) = constant(0).filter(|kind| !is_token(kind)) {
        messages.push(format!("`{kind}` is no type of feedback"));
    }
    if let Some(address) = constant(2).filter(|address| addr_spec(address).is_none()) {
        messages.push(format!("`{address}` is no address to report to"));
    }
    for message in messages {
        checker.error(call.position, message);
    }
}

/// RFC 2045 §5.1
fn is_token(text: &str) -> bool {
    let special = b"()<>@,;:\\\"/[]?=";
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && !special.contains(&octet))
}

/// spec-bosch-sieve-report §3
fn report(context: &mut Context, call: &Call) -> Result<Flow, Stop> {
    let nobody = || Stop::error("there is no such report, or nobody to send it to");
    let report = Report {
        feedback_type: context.text(call, 0)?.into_owned(),
        text: context.text(call, 1)?.into_owned(),
        recipient: addr_spec(&context.text(call, 2)?).ok_or_else(nobody)?,
        headers_only: call.has("headers_only"),
        user: context.input().addresses.first().or_else(|| context.input().envelope.to.as_ref()).cloned(),
    };
    if !is_token(&report.feedback_type) {
        return Err(nobody());
    }
    let input = context.input();
    let mut own = input.addresses.iter().chain(&input.envelope.to);
    // A report to oneself would go round and round.
    if own.any(|own| own.eq_ignore_ascii_case(&report.recipient)) {
        context.log("no report is sent to the user's own address");
        return Ok(Flow::Next);
    }
    context.act(Action::Report(report))?;
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use crate::{Action, Language, MemoryHost, Outcome, ProgramOutput, extension};

    fn run(script: &str) -> Outcome {
        let language = extension::programs().into_iter().fold(Language::standard(), Language::with);
        let required = r#"require ["vnd.dovecot.pipe", "vnd.dovecot.filter", "vnd.dovecot.execute", "fileinto", "copy", "variables"];"#;
        let program = language.compile(format!("{required}{script}").as_bytes()).unwrap();
        let mut host = MemoryHost::new(*b"Subject: old\r\n\r\nx\r\n");
        host.programs.insert("no".into(), |_, _| ProgramOutput::Failure);
        host.programs.insert("dies".into(), |_, _| ProgramOutput::Aborted);
        host.programs.insert("new".into(), |_, _| ProgramOutput::Success("Subject: new\r\n\r\n".into()));
        host.programs.insert("echo".into(), |arguments, input| {
            ProgramOutput::Success([arguments.concat().as_bytes(), input].concat().into())
        });
        host.run(program)
    }

    /// What is done, in words; or `error`.
    fn words(script: &str) -> String {
        let outcome = run(script);
        if outcome.error.is_some() { "error".into() } else { outcome.in_words().join(", ") }
    }

    #[test]
    fn programs_answer_to_scripts() {
        let cases = [
            // A program that says no is no fault; one that is not there or dies is.
            (r#"filter "no"; fileinto "x";"#, r#"fileinto "x""#),
            (r#"execute "no"; fileinto "x";"#, r#"fileinto "x""#),
            (r#"filter "nothing"; fileinto "x";"#, "error"),
            (r#"execute "nothing"; fileinto "x";"#, "error"),
            (r#"filter "dies"; fileinto "x";"#, "error"),
            (r#"if execute "dies" { stop; } fileinto "x";"#, "error"),
            // In a test nothing is there either.
            (r#"if not filter "nothing" { fileinto "x"; }"#, r#"fileinto "x""#),
            (r#"if not execute "nothing" { fileinto "x"; }"#, r#"fileinto "x""#),
            (r#"if not execute "no" { fileinto "x"; }"#, r#"fileinto "x""#),
            (r#"filter "new"; if header "subject" "new" { fileinto "x"; }"#, r#"fileinto "x""#),
            (r#"set "v" "o"; execute :output "v" "no"; fileinto "${v}";"#, r#"fileinto "o""#),
            (r#"execute :output "v" :input "b" "echo" "a"; fileinto "${v}";"#, r#"fileinto "ab""#),
            (r#"execute :output "v" "echo" ["a", "b"]; fileinto "${v}";"#, r#"fileinto "ab""#),
            (r#"pipe :copy "a"; pipe "a";"#, "error"),
        ];
        for (script, expected) in cases {
            let found = words(script);
            assert!(found.starts_with(expected), "{script}: {found}");
        }
    }

    #[test]
    fn what_only_pipe_kept_from_being_kept_is_kept_if_no_program_takes_it() {
        let kept = |script: &str| run(script).unless_piped.is_some();
        assert!(kept(r#"pipe "a";"#));
        assert!(kept(r#"pipe :try "a"; fileinto :copy "b";"#));
        for other in [
            r#"pipe "a"; keep;"#,
            r#"pipe "a"; discard;"#,
            r#"discard; pipe "a";"#,
            r#"pipe "a"; fileinto "b";"#,
            r#"pipe :copy "a";"#,
            "keep;",
        ] {
            assert!(!kept(other), "{other}");
        }
        let filtered = run(r#"filter "new"; pipe "a";"#);
        assert!(matches!(&filtered.actions[..], [Action::Pipe(_)]));
        assert!(!filtered.unless_piped.unwrap().message.is_original());
    }
}
