//! What the configuration decides about extensions.

use mailwright::{filter::FilterOptions, sieve::Options};

use super::Sieve;

/// In seconds.
const DAY: u64 = 86_400;
/// A hundred years: more is a slip of the pen, and far more would be no time at all.
const MOST_DAYS: u64 = 36_500;
/// Extensions that there are only where the configuration has what they need.
const OPTIONAL: [&str; 10] = [
    "convert",
    "extlists",
    "imapsieve",
    "snooze",
    "spamtest",
    "spamtestplus",
    "virustest",
    "vnd.dovecot.execute",
    "vnd.dovecot.filter",
    "vnd.dovecot.pipe",
];

impl Sieve {
    /// What is decided about extensions.
    pub(super) fn extensions(&self) -> Options {
        let mut options = Options::default();
        options.vacation_default = self.vacation_days.saturating_mul(DAY);
        options.vacation_least = self.vacation_least_seconds;
        options.vacation_most = self.vacation_most_days.saturating_mul(DAY);
        options.vacation_unaddressed = self.vacation_unaddressed;
        options.vacation_subject_template.clone_from(&self.vacation_subject);
        options.vacation_subject_default.clone_from(&self.vacation_subject_default);
        options.duplicate_default = self.duplicate_days.saturating_mul(DAY);
        options.duplicate_most = self.duplicate_most_days.saturating_mul(DAY);
        options.unaddable.clone_from(&self.unaddable_fields);
        options.undeletable.clone_from(&self.undeletable_fields);
        options.added_value = self.added_field_octets;
        options
    }

    /// What is wrong with it.
    pub(super) fn extension_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let known = FilterOptions::default().server_language();
        let unknown = |name: &&String| {
            !known.extensions().any(|other| other == **name) && !OPTIONAL.contains(&name.as_str())
        };
        problems.extend(self.disabled.iter().filter(unknown).map(|name| {
            format!(
                "[sieve] disabled: there is no extension \"{name}\"; expected a name such as \"editheader\""
            )
        }));
        for (key, days) in [
            ("vacation_days", self.vacation_days),
            ("vacation_most_days", self.vacation_most_days),
            ("duplicate_days", self.duplicate_days),
            ("duplicate_most_days", self.duplicate_most_days),
        ] {
            if !(1..=MOST_DAYS).contains(&days) {
                problems.push(format!("[sieve] {key} = {days}: expected 1 to {MOST_DAYS}"));
            }
        }
        let most = self.vacation_most_days.saturating_mul(DAY);
        let default = self.vacation_days.saturating_mul(DAY);
        if !(self.vacation_least_seconds..=most).contains(&default) {
            problems.push(format!(
                "[sieve] vacation_days = {} is not between vacation_least_seconds = {} and vacation_most_days = {}",
                self.vacation_days, self.vacation_least_seconds, self.vacation_most_days
            ));
        }
        for (key, subject) in [
            ("vacation_subject", &self.vacation_subject),
            ("vacation_subject_default", &self.vacation_subject_default),
        ] {
            if subject.trim().is_empty() || subject.chars().any(char::is_control) {
                problems.push(format!(
                    "[sieve] {key} = {subject:?}: expected a line such as \"Auto: %{{subject}}\""
                ));
            }
        }
        if self.duplicate_days > self.duplicate_most_days {
            problems.push(format!(
                "[sieve] duplicate_days = {} is more than duplicate_most_days = {}",
                self.duplicate_days, self.duplicate_most_days
            ));
        }
        for (key, names) in
            [("unaddable_fields", &self.unaddable_fields), ("undeletable_fields", &self.undeletable_fields)]
        {
            let is_name = |name: &String| {
                // RFC 5322 §3.6.8
                !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':')
            };
            problems.extend(
                names
                    .iter()
                    .filter(|name| !is_name(name))
                    .map(|name| format!("[sieve] {key}: {name:?} is no name of a header field")),
            );
            if names.iter().any(|name| name.eq_ignore_ascii_case("Subject")) {
                problems.push(format!(
                    "[sieve] {key}: \"Subject\" may be changed by every script that has editheader (RFC 5293 §6); put \"editheader\" into disabled to forbid that"
                ));
            }
        }
        // No redirects at all is what some sites want.
        for (key, number) in [("actions", self.actions), ("added_field_octets", self.added_field_octets)] {
            if number == 0 {
                problems.push(format!("[sieve] {key} must be at least 1"));
            }
        }
        if self.run_seconds == 0 {
            problems.push("[sieve] run_seconds must be at least 1".into());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn config(text: &str) -> Config {
        toml::from_str(&format!("[sieve]\n{text}")).unwrap()
    }

    #[test]
    fn what_is_set_is_what_scripts_are_run_with() {
        let text = r#"
            disabled = ["editheader", "vnd.dovecot.pipe"]
            actions = 5
            redirects = 0
            run_seconds = 2
            vacation_days = 3
            vacation_least_seconds = 60
            vacation_most_days = 4
            vacation_unaddressed = true
            vacation_subject = "Fort: %{subject}"
            vacation_subject_default = "Fort"
            duplicate_days = 5
            duplicate_most_days = 6
            unaddable_fields = ["X-A"]
            undeletable_fields = ["X-D"]
            added_field_octets = 100
        "#;
        let config = config(text);
        assert_eq!(config.sieve.extension_problems(), Vec::<String>::new());
        let options = config.filter_options();
        let extensions = &options.extensions;
        assert_eq!((extensions.vacation_default, extensions.vacation_least), (259_200, 60));
        assert_eq!((extensions.vacation_most, extensions.vacation_unaddressed), (345_600, true));
        assert_eq!(
            (&extensions.vacation_subject_template[..], &extensions.vacation_subject_default[..]),
            ("Fort: %{subject}", "Fort")
        );
        assert_eq!((extensions.duplicate_default, extensions.duplicate_most), (432_000, 518_400));
        assert_eq!((&extensions.unaddable[0][..], &extensions.undeletable[0][..]), ("X-A", "X-D"));
        assert_eq!((extensions.added_value, options.limits.actions, options.limits.redirects), (100, 5, 0));
        assert_eq!(options.time.map(|time| time.as_secs()), Some(2));
        let has =
            |language: mailwright::sieve::Language| language.extensions().any(|name| name == "editheader");
        assert!(!has(options.language()) && has(options.server_language()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, told) in [
            ("disabled = [\"editheaders\"]", "there is no extension \"editheaders\""),
            ("vacation_days = 0", "vacation_days = 0: expected 1 to 36500"),
            ("duplicate_most_days = 99999", "duplicate_most_days = 99999"),
            ("vacation_days = 100", "vacation_days = 100 is not between"),
            (
                "vacation_least_seconds = 864000",
                "vacation_days = 7 is not between vacation_least_seconds = 864000",
            ),
            ("vacation_subject = \"a\\nb\"", "vacation_subject = \"a\\nb\": expected a line"),
            ("vacation_subject_default = ' '", "vacation_subject_default = \" \""),
            ("duplicate_days = 9\nduplicate_most_days = 8", "duplicate_days = 9 is more than"),
            ("unaddable_fields = [\"X A\"]", "\"X A\" is no name of a header field"),
            ("undeletable_fields = [\"subject\"]", "RFC 5293"),
            ("actions = 0", "actions must be at least 1"),
            ("added_field_octets = 0", "added_field_octets must be at least 1"),
            ("run_seconds = 0", "run_seconds must be at least 1"),
        ] {
            let problems = config(text).sieve.extension_problems();
            assert!(problems.len() == 1 && problems[0].contains(told), "{text}: {problems:?}");
        }
    }
}
