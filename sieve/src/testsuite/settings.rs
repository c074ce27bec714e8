//! The settings of Pigeonhole that mean something here. Those of Dovecot, of storage and of logs do not.

use std::sync::Arc;

use mailwright_mail_model::Address;

use super::{scores, whole_language, world::World};
use crate::{Language, Limits, Options};

/// What a setting does with its value; `None` if the value cannot be understood.
type Apply = fn(&mut World, &str) -> Option<()>;

/// Each setting as Pigeonhole's documentation names and describes it.
const SETTINGS: &[(&str, Apply)] = &[
    ("recipient_delimiter", |world, value| set(&mut world.host.input.separator, Some(value.to_owned()))),
    // Where scripts are that are included: looked at when they are.
    ("sieve", |_, _| Some(())),
    ("sieve_global", |_, _| Some(())),
    // These two in this order, which is that of their names.
    ("sieve_extensions", extensions),
    ("sieve_global_extensions", global_extensions),
    // Programs: looked at when they are run, if they may be.
    ("sieve_pipe_bin_dir", |_, _| Some(())),
    ("sieve_pipe_input_eol", |_, value| matches!(value, "crlf" | "lf").then_some(())),
    ("sieve_pipe_exec_timeout", |_, value| period(value).map(|_| ())),
    ("sieve_filter_bin_dir", |_, _| Some(())),
    ("sieve_filter_input_eol", |_, value| matches!(value, "crlf" | "lf").then_some(())),
    ("sieve_filter_exec_timeout", |_, value| period(value).map(|_| ())),
    ("sieve_execute_bin_dir", |_, _| Some(())),
    ("sieve_execute_input_eol", |_, value| matches!(value, "crlf" | "lf").then_some(())),
    ("sieve_execute_exec_timeout", |_, value| period(value).map(|_| ())),
    ("sieve_user_email", |world, value| {
        set(&mut world.host.input.addresses, address(value).map(|own| vec![own]))
    }),
    // Whom the mail comes from that is sent: looked at when it is.
    ("sieve_redirect_envelope_from", |_, value| is_source(value).then_some(())),
    ("sieve_notify_mailto_envelope_from", |_, value| is_source(value).then_some(())),
    ("sieve_report_from", |_, value| is_source(value).then_some(())),
    ("sieve_vacation_send_from_recipient", |_, value| truth(value).map(|_| ())),
    ("sieve_max_script_size", |world, value| set(&mut world.host.limits.script, limit(value))),
    ("sieve_max_actions", |world, value| set(&mut world.host.limits.actions, limit(value))),
    ("sieve_max_redirects", |world, value| set(&mut world.host.limits.redirects, value.parse().ok())),
    ("sieve_include_max_nesting_depth", |world, value| {
        set(&mut world.host.limits.include_depth, limit(value))
    }),
    ("sieve_include_max_includes", |world, value| set(&mut world.host.limits.includes, limit(value))),
    ("sieve_variables_max_scope_size", |world, value| {
        set(&mut world.host.limits.variables, value.parse().ok())
    }),
    ("sieve_variables_max_variable_size", |world, value| set(&mut world.host.limits.variable, size(value))),
    ("sieve_vacation_min_period", |world, value| set(&mut world.options.vacation_least, period(value))),
    ("sieve_vacation_max_period", |world, value| {
        // 0 is no limit.
        let most = period(value).map(|most| if most == 0 { u64::MAX } else { most });
        set(&mut world.options.vacation_most, most)
    }),
    ("sieve_vacation_default_period", |world, value| set(&mut world.options.vacation_default, period(value))),
    ("sieve_vacation_use_original_recipient", |world, value| {
        set(&mut world.options.vacation_final_recipient, truth(value).map(|original| !original))
    }),
    ("sieve_vacation_dont_check_recipient", |world, value| {
        set(&mut world.options.vacation_unaddressed, truth(value))
    }),
    ("sieve_vacation_default_subject", |world, value| {
        set(&mut world.options.vacation_subject_default, Some(value.to_owned()))
    }),
    ("sieve_vacation_default_subject_template", |world, value| {
        set(&mut world.options.vacation_subject_template, Some(value.to_owned()))
    }),
    ("sieve_vacation_max_subject_codepoints", |world, value| {
        set(&mut world.options.vacation_subject_most, value.parse().ok())
    }),
    ("sieve_vacation_to_header_ignore_envelope", |world, value| {
        set(&mut world.options.vacation_to_header_sender, truth(value))
    }),
    ("sieve_duplicate_default_period", |world, value| {
        set(&mut world.options.duplicate_default, period(value))
    }),
    ("sieve_duplicate_max_period", |world, value| set(&mut world.options.duplicate_most, period(value))),
    ("sieve_editheader_max_header_size", |world, value| {
        set(&mut world.options.added_value, size(value).filter(|size| *size >= 1024))
    }),
    ("sieve_editheader_forbid_add", |world, value| add(&mut world.options.unaddable, value)),
    ("sieve_editheader_forbid_delete", |world, value| add(&mut world.options.undeletable, value)),
    ("sieve_editheader_protected", |world, value| {
        add(&mut world.options.unaddable, value)?;
        add(&mut world.options.undeletable, value)
    }),
];

/// What the choices of a site are before any setting, in Pigeonhole.
pub(super) fn options() -> Options {
    Options { vacation_final_recipient: true, ..Options::default() }
}

fn set<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

fn add(names: &mut Vec<String>, value: &str) -> Option<()> {
    names.extend(value.split_whitespace().map(str::to_owned));
    Some(())
}

/// What `sieve_env_name` is as an item of the environment (vnd.dovecot.environment).
const ENVIRONMENT: (&str, &str) = ("sieve_env_", "vnd.dovecot.config.");

pub(super) fn is_known(name: &str) -> bool {
    name.starts_with(ENVIRONMENT.0)
        || scores::is_known(name)
        || SETTINGS.iter().any(|(known, _)| *known == name)
}

/// Makes the settings of now take effect, and those that are gone take none.
pub(super) fn reload(world: &mut World) {
    world.host.limits = Limits::default();
    world.options = options();
    world.host.input.separator = "+".into();
    world.host.input.addresses.clear();
    world.global_language = world.whole.clone();
    world.language = world.whole.clone();
    world.host.environment.retain(|name, _| !name.starts_with(ENVIRONMENT.1));
    // An empty value is as none.
    world.config.retain(|_, value| !value.trim().is_empty());
    for (name, value) in world.config.clone() {
        if let Some((_, apply)) = SETTINGS.iter().find(|(known, _)| *known == name) {
            if apply(world, value.trim()).is_none() {
                world.warn(format!("the setting `{name}` cannot be `{value}`"));
            }
        } else if scores::is_known(&name) && !scores::is_valid(&name, value.trim()) {
            world.warn(format!("the setting `{name}` cannot be `{value}`"));
        } else if let Some(item) = name.strip_prefix(ENVIRONMENT.0) {
            let item = format!("{}{}", ENVIRONMENT.1, item.to_ascii_lowercase());
            // RFC 5229 §3: names of variables have no hyphens, those of items may.
            world.host.environment.insert(item.replace('_', "-"), value.clone());
            world.host.environment.insert(item, value);
        }
    }
    world.host.input.options = Arc::new(world.options.clone());
}

/// `sieve_extensions`: the names of all that there are, or what differs from the default with `+` and `-`.
fn extensions(world: &mut World, value: &str) -> Option<()> {
    let relative = value.split_whitespace().all(|name| name.starts_with(['+', '-']));
    world.language = only(&world.whole, |name| match relative {
        true => !value.split_whitespace().any(|other| other.strip_prefix('-') == Some(name)),
        false => names(value).any(|other| other == name),
    });
    world.global_language = world.language.clone();
    are_known(value)
}

/// `sieve_global_extensions`: those that only the server's own scripts have.
fn global_extensions(world: &mut World, value: &str) -> Option<()> {
    let before = world.language.clone();
    let has = |name: &str| before.extensions().any(|other| other == name);
    let listed = |name: &str| names(value).any(|other| other == name);
    world.language = only(&world.whole, |name| has(name) && !listed(name));
    world.global_language = only(&world.whole, |name| has(name) || listed(name));
    are_known(value)
}

/// The names in a list of extensions, but for those taken away.
fn names(value: &str) -> impl Iterator<Item = &str> {
    value.split_whitespace().filter(|name| !name.starts_with('-')).map(|name| name.trim_start_matches('+'))
}

fn are_known(value: &str) -> Option<()> {
    let language = whole_language();
    let known = |name: &str| language.extension(name.trim_start_matches(['+', '-'])).is_some();
    value.split_whitespace().all(known).then_some(())
}

/// The language with these extensions alone, and that of test suites.
fn only(whole: &Language, keep: impl Fn(&str) -> bool) -> Language {
    let gone = whole.extensions().filter(|name| *name != super::NAME && !keep(name));
    gone.fold(whole.clone(), |language, name| language.without(name))
}

pub(super) fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "y" | "true" | "1" => Some(true),
        "no" | "n" | "false" | "0" => Some(false),
        _ => None,
    }
}

/// A number and what its unit multiplies it by.
fn scaled(value: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = value.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at_checked(digits)?;
    let unit = unit.trim().to_ascii_lowercase();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Seconds.
pub(super) fn period(value: &str) -> Option<u64> {
    scaled(value, &[("", 1), ("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)])
}

/// Octets.
fn size(value: &str) -> Option<usize> {
    let units = [("", 1), ("b", 1), ("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30)];
    usize::try_from(scaled(value, &units)?).ok()
}

/// A size or a number, of which 0 is no limit.
fn limit(value: &str) -> Option<usize> {
    size(value).map(|limit| if limit == 0 { usize::MAX } else { limit })
}

fn address(value: &str) -> Option<String> {
    let value = value.trim_start_matches('<').trim_end_matches('>');
    Address::parse(value.as_bytes()).ok().map(|_| value.to_owned())
}

/// The words of `sieve_redirect_envelope_from`, or an address in its brackets.
fn is_source(value: &str) -> bool {
    let bracketed = value.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    matches!(value, "sender" | "recipient" | "orig_recipient" | "user_email" | "postmaster")
        || bracketed.is_some_and(|inside| inside.is_empty() || address(inside).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;

    fn world(settings: &[(&str, &str)], script: &'static str) -> World {
        let mut world = World::new(Box::new(move |_| Some(script.as_bytes().to_vec())), None);
        world.set_message("To: recipient@example.com\r\n\r\n".into());
        world.config =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        reload(&mut world);
        world
    }

    #[test]
    fn periods_of_vacation_are_within_bounds() {
        let seconds = "require \"vacation-seconds\"; vacation :seconds 10 \"x\";";
        let days = "require \"vacation\"; vacation :days 80 \"x\";";
        let none = "require \"vacation\"; vacation \"x\";";
        let (least, most) = ("sieve_vacation_min_period", "sieve_vacation_max_period");
        let default = "sieve_vacation_default_period";
        for (settings, script, expected) in [
            (&[][..], seconds, 10),
            (&[(least, "1h")], seconds, 3_600),
            (&[(least, "90 m")], days, 80 * 86_400),
            (&[(most, "30d")], days, 30 * 86_400),
            (&[(most, "30d")], none, 7 * 86_400),
            (&[(default, "12h")], none, 43_200),
            (&[(default, "12h"), (least, "1d")], none, 86_400),
            (&[(most, "0")], "require \"vacation\"; vacation :days 400 \"x\";", 400 * 86_400),
            (&[], "require \"vacation\"; vacation :days 400 \"x\";", 90 * 86_400),
            (&[], "require \"vacation\"; vacation :days 0 \"x\";", 86_400),
        ] {
            let mut world = world(settings, script);
            assert!(
                world.compile("x") && world.warnings.is_empty(),
                "{:?} {:?}",
                world.errors,
                world.warnings
            );
            let program = world.program.clone().unwrap();
            let run = world.begin(vec![program], false).unwrap();
            let outcome = world.host.drive(run);
            world.ended(outcome);
            let [Action::Vacation(reply), ..] = &world.actions[..] else { panic!("{:?}", world.actions) };
            assert_eq!(reply.seconds, expected, "{settings:?} {script}");
        }
    }

    #[test]
    fn values_that_cannot_be_understood_are_told() {
        for (name, value) in [
            ("sieve_max_script_size", "large"),
            ("sieve_max_redirects", "-1"),
            ("sieve_vacation_max_period", "1 week"),
            ("sieve_duplicate_max_period", "99999999999999999999d"),
            ("sieve_vacation_dont_check_recipient", "perhaps"),
            ("sieve_editheader_max_header_size", "1023"),
            ("sieve_user_email", "nobody"),
            ("sieve_redirect_envelope_from", "bob@example.org"),
            ("sieve_spamtest_status_type", "words"),
            ("sieve_spamtest_status_header", "X-Spam: ("),
            ("sieve_virustest_max_value", "much"),
            ("sieve_global_extensions", "+none-such"),
        ] {
            let world = world(&[(name, value)], "");
            assert_eq!(world.warnings, [format!("the setting `{name}` cannot be `{value}`")]);
        }
    }
}
