//! The options of forty years.

use std::path::PathBuf;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Read a message and send it.
    Deliver,
    /// Speak SMTP.
    Smtp,
    /// Show the queue.
    Queue,
    /// Read the aliases again.
    Aliases,
    /// Try again now what waits.
    Flush,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) mode: Mode,
    /// `-t`: the recipients of the header fields get it.
    pub(super) from_header: bool,
    /// `-i`: a dot alone on a line is not the end.
    pub(super) dot_is_data: bool,
    /// `-f`: the sender; empty is the null sender.
    pub(super) sender: Option<String>,
    pub(super) full_name: Option<String>,
    /// `-N`: the value of NOTIFY.
    pub(super) notify: Option<String>,
    /// `-R`: the value of RET.
    pub(super) returned: Option<&'static str>,
    /// `-V`: the value of ENVID.
    pub(super) envelope_id: Option<String>,
    /// `-B 8bitmime`.
    pub(super) eight_bit: bool,
    pub(super) config: Option<PathBuf>,
    pub(super) recipients: Vec<String>,
}

/// Options with a value that mean nothing here: what the daemon does, how it logs, how often it tries.
const IGNORED_WITH_VALUE: &str = "ADLMOXdhpx";
/// Those without.
const IGNORED: &str = "EGUmnsv";

/// What there is.
const HELP: &str = "\
a message on standard input is sent to the recipients behind the options
  -t            to those in To, Cc and Bcc of the message, too
  -i            a dot alone on a line is not the end
  -f SENDER     who hears of trouble; <> for nobody
  -F NAME       the sender's full name, if the message has no From
  -N WHEN       never, or some of success,failure,delay: what the sender wants to hear (-R full or hdrs, -V id)
  -B 8bitmime   the message has octets above 127
  -bs           speak SMTP on standard input and output
  -bp, mailq    show what waits
  -bi, -I, newaliases   read the alias file again
  -q            try again now what waits
  -C FILE       the configuration of the server";

impl Options {
    /// Takes the arguments apart.
    pub(super) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            mode: Mode::Deliver,
            from_header: false,
            dot_is_data: false,
            sender: None,
            full_name: None,
            notify: None,
            returned: None,
            envelope_id: None,
            eight_bit: false,
            config: None,
            recipients: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                break;
            }
            // Options may stand behind recipients, as getopt(3) takes them.
            if argument.len() < 2 || !argument.starts_with('-') {
                options.recipients.push(argument);
                continue;
            }
            if argument == "--help" {
                return Err(HELP.into());
            }
            let mut letters = argument.chars().skip(1);
            while let Some(letter) = letters.next() {
                // The value is the rest of the argument, or the next one.
                let mut value = |letters: &mut dyn Iterator<Item = char>| {
                    let rest: String = letters.collect();
                    if !rest.is_empty() {
                        return Ok(rest);
                    }
                    arguments.next().ok_or_else(|| format!("option -{letter} needs a value"))
                };
                match letter {
                    't' => options.from_header = true,
                    'i' => options.dot_is_data = true,
                    'f' | 'r' => options.sender = Some(value(&mut letters)?),
                    'F' => options.full_name = Some(value(&mut letters)?),
                    'N' => options.notify = Some(notify(&value(&mut letters)?)?),
                    'R' => options.returned = Some(returned(&value(&mut letters)?)?),
                    'V' => options.envelope_id = Some(value(&mut letters)?),
                    'B' => options.eight_bit = body(&value(&mut letters)?)?,
                    'C' => options.config = Some(value(&mut letters)?.into()),
                    'I' => options.mode = Mode::Aliases,
                    'b' => options.mode = mode(&value(&mut letters)?)?,
                    // -q alone; an interval would be a daemon's.
                    'q' => {
                        options.mode = Mode::Flush;
                        letters.by_ref().for_each(drop);
                    }
                    // -oi, and others that stand in the same argument: -oem, -odb.
                    'o' => {
                        let setting = value(&mut letters)?;
                        options.dot_is_data |= setting == "i";
                    }
                    // -em stands alone, as -o's do.
                    'e' => letters.by_ref().for_each(drop),
                    letter if IGNORED_WITH_VALUE.contains(letter) => drop(value(&mut letters)?),
                    letter if IGNORED.contains(letter) => {}
                    letter => return Err(format!("there is no option -{letter}")),
                }
            }
        }
        options.recipients.extend(arguments);
        Ok(options)
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "m" => Ok(Mode::Deliver),
        "s" => Ok(Mode::Smtp),
        "p" => Ok(Mode::Queue),
        "i" => Ok(Mode::Aliases),
        "d" | "D" => Err("the server is started with mailwrightd serve, not with -bd".into()),
        other => Err(format!("-b{other} is not known; there are -bm, -bs, -bp and -bi")),
    }
}

/// RFC 3461 §4.1, in any case.
fn notify(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    let fits = |word: &str| matches!(word, "SUCCESS" | "FAILURE" | "DELAY");
    if upper == "NEVER" || upper.split(',').all(fits) {
        Ok(upper)
    } else {
        Err(format!("-N {text}: expected never, or some of success, failure and delay with commas"))
    }
}

/// RFC 3461 §4.3.
fn returned(text: &str) -> Result<&'static str, String> {
    match &*text.to_ascii_lowercase() {
        "full" => Ok("FULL"),
        "hdrs" => Ok("HDRS"),
        _ => Err(format!("-R {text}: expected full or hdrs")),
    }
}

fn body(text: &str) -> Result<bool, String> {
    match &*text.to_ascii_lowercase() {
        "8bitmime" => Ok(true),
        "7bit" => Ok(false),
        _ => Err(format!("-B {text}: expected 7bit or 8bitmime")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned))
    }

    #[test]
    fn as_programs_call_it() {
        // mutt, bsd-mailx, cron, git send-email, PHP, Python, logwatch.
        let options = parse("-oem -oi -f ann@a.example -- bob@b.example eve").unwrap();
        assert!(options.dot_is_data && !options.from_header);
        assert_eq!(options.sender.as_deref(), Some("ann@a.example"));
        assert_eq!(options.recipients, ["bob@b.example", "eve"]);
        for text in ["-t -i", "-ti", "-it", "-t -oi", "-i -t -oem", "-bm -tiv", "-t -i -X /dev/null"] {
            let options = parse(text).unwrap();
            assert!(options.from_header && options.dot_is_data && options.recipients.is_empty(), "{text}");
        }
        // As getopt(3) has it, options go on behind recipients, but not behind --.
        let options = parse("bob@b.example -oi eve -- -t").unwrap();
        assert!(options.dot_is_data && !options.from_header);
        assert_eq!(options.recipients, ["bob@b.example", "eve", "-t"]);
        let options = parse("-FCronDaemon -i -B8BITMIME -oem root").unwrap();
        assert_eq!(options.full_name.as_deref(), Some("CronDaemon"));
        assert!(options.eight_bit && options.recipients == ["root"]);
        let options = parse("-N success,delay -R hdrs -V id7 -r x@y.test z@y.test").unwrap();
        assert_eq!(options.notify.as_deref(), Some("SUCCESS,DELAY"));
        assert_eq!((options.returned, options.envelope_id.as_deref()), (Some("HDRS"), Some("id7")));
        for (text, mode) in [
            ("-bs", Mode::Smtp),
            ("-bp", Mode::Queue),
            ("-bi", Mode::Aliases),
            ("-I", Mode::Aliases),
            ("-q", Mode::Flush),
            ("-q15m", Mode::Flush),
            ("-O DeliveryMode=b -bm x", Mode::Deliver),
        ] {
            assert_eq!(parse(text).unwrap().mode, mode, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("-f", "needs a value"),
            ("-Z", "no option -Z"),
            ("-N sometimes", "never"),
            ("-R some", "full or hdrs"),
            ("-bd", "mailwrightd serve"),
            ("-bz", "-bz"),
            ("-B utf8", "7bit"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
