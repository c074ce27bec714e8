//! What a request says: in its path, behind the question mark, and in its body.

use axum::extract::RawPathParams;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::problem::Problem;

/// All that was given, of which the row of the table takes what it wants.
#[derive(Debug, Default)]
pub(super) struct Given {
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
    body: Option<Value>,
}

impl Given {
    /// `known` are the words that may stand behind the question mark: one that would be passed over could be the `dry_run` that somebody
    /// relies on.
    pub(super) fn new(
        path: &RawPathParams,
        query: Vec<(String, String)>,
        known: &[&str],
        body: Option<Value>,
    ) -> Result<Self, Problem> {
        if let Some((unknown, _)) = query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
            return Err(Problem::bad(format!("{unknown} means nothing in the query; {known} would")));
        }
        let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self { path, query, body })
    }

    /// A part of the path.
    pub(super) fn path(&self, name: &str) -> String {
        find(&self.path, name).unwrap_or_default().to_owned()
    }

    /// What stands in the query under a name: once.
    pub(super) fn query(&self, name: &str) -> Result<Option<String>, Problem> {
        let mut found = self.query.iter().filter(|(found, _)| found == name).map(|(_, value)| value.clone());
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(Problem::bad(format!("{name} is in the query more than once"))),
            (found, None) => Ok(found),
        }
    }

    /// All that stand in the query under a name.
    pub(super) fn queries(&self, name: &str) -> Vec<String> {
        let found = self.query.iter().filter(|(found, _)| found == name);
        found.map(|(_, value)| value.clone()).collect()
    }

    /// What must stand in the query.
    pub(super) fn needed(&self, name: &str) -> Result<String, Problem> {
        self.query(name)?.ok_or_else(|| Problem::bad(format!("the query has no {name}")))
    }

    /// Whether the query says so.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.query(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Problem::bad(format!("{name} is true or false, not {other:?}"))),
        }
    }

    /// The body, which is an object. Without one every member is missing.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let body = self.body.clone().unwrap_or_else(|| Value::Object(Map::new()));
        serde_json::from_value(body).map_err(wrong)
    }

    /// The body of something new: its name, and what is said of it.
    pub(super) fn named<T: DeserializeOwned>(&self, key: &str) -> Result<(String, T), Problem> {
        let Some(Value::Object(mut members)) = self.body.clone() else {
            return Err(Problem::bad(format!("the body is not right: missing field `{key}`")));
        };
        match members.remove(key) {
            Some(Value::String(name)) => Ok((name, serde_json::from_value(members.into()).map_err(wrong)?)),
            Some(_) => Err(Problem::bad(format!("the body is not right: {key} is no string"))),
            None => Err(Problem::bad(format!("the body is not right: missing field `{key}`"))),
        }
    }
}

fn wrong(error: serde_json::Error) -> Problem {
    Problem::bad(format!("the body is not right: {error}"))
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}
