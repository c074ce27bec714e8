//! How responses look.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use mailwright::{
    mail_model::{Address, Domain},
    relay_policy::directory::Directory as Model,
};
use serde_json::{Map, Value, json};

use super::{given::Given, problem::Problem};
use crate::admin::{self, Reason};

/// The tags by which the control socket tells responses apart; here the path does.
const TAGS: [&str; 3] = ["response", "queue-response", "life-response"];

/// What of a response is shown.
#[derive(Debug, Clone, Copy)]
pub(super) enum Show {
    /// All of it.
    Whole,
    /// One member alone.
    Inner(&'static str),
    /// These tables of the directory.
    Tables(&'static [&'static str]),
    /// What a table of the directory has under the name in the path.
    Row(&'static str),
    /// The one of a list that has the name in the path.
    Member(&'static str),
    /// How many entries of the queue were meant: none is not there.
    Counted,
    /// What every stage decides.
    Stages,
    /// How the store is; a monitor need not look into the body.
    Health,
}

impl Show {
    /// The response of HTTP. Nothing to say is `204 No Content`.
    pub(super) fn response(
        self,
        given: &Given,
        model: &Model,
        response: admin::Response,
    ) -> Result<Response, Problem> {
        if let admin::Response::Failed { message, reason } = response {
            return Err(Problem::refused(reason, message));
        }
        let mut value = serde_json::to_value(response).map_err(internal)?;
        if let Value::Object(members) = &mut value {
            TAGS.iter().for_each(|tag| drop(members.remove(*tag)));
        }
        let (status, shown) = self.pick(given, model, value)?;
        if shown == json!({}) && !matches!(self, Self::Tables(_) | Self::Row(_) | Self::Inner(_)) {
            let mut nothing = Response::new(Body::empty());
            *nothing.status_mut() = StatusCode::NO_CONTENT;
            return Ok(nothing);
        }
        let mut response = Response::new(Body::from(serde_json::to_vec(&shown).map_err(internal)?));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    fn pick(self, given: &Given, model: &Model, mut value: Value) -> Result<(StatusCode, Value), Problem> {
        let missing = |what: &str| {
            let message = format!("there is no {what} {}", given.path("name"));
            Problem::refused(Reason::Missing, message)
        };
        let shown = match self {
            Self::Whole => value,
            Self::Inner(name) => take(&mut value, name),
            Self::Tables(names) => {
                let mut file = take(&mut value, "file");
                let table = |name: &&str| {
                    ((*name).to_owned(), file.get_mut(*name).map_or_else(|| json!({}), Value::take))
                };
                names.iter().map(table).collect::<Map<_, _>>().into()
            }
            Self::Row(table) => {
                let (file, name) = (take(&mut value, "file"), canonical(model, table, &given.path("name")));
                let row = file.get(table).and_then(|rows| rows.get(name)).cloned();
                row.ok_or_else(|| missing(table))?
            }
            Self::Member(list) => {
                let (list, name) = (take(&mut value, list), canonical(model, list, &given.path("name")));
                let found = list.as_array().into_iter().flatten();
                let mut found =
                    found.filter(|entry| entry.get("name").and_then(Value::as_str) == Some(&name));
                found.next().cloned().ok_or_else(|| missing("account"))?
            }
            Self::Counted if value.get("count") == Some(&json!(0)) => {
                return Err(Problem::refused(Reason::Missing, "nothing there is meant by this".into()));
            }
            Self::Counted => value,
            Self::Stages => {
                let stages = take(&mut value, "stages");
                let stage = |stage: &Value| {
                    let part = |place: usize| stage.get(place).cloned().unwrap_or_default();
                    json!({ "stage": part(0), "rule": part(1), "outcome": part(2) })
                };
                json!({ "stages": stages.as_array().into_iter().flatten().map(stage).collect::<Vec<_>>() })
            }
            Self::Health => {
                let health = take(&mut value, "health");
                let failing = ["failure", "shortage"]
                    .iter()
                    .any(|member| health.get(member).is_some_and(|text| !text.is_null()));
                let status = if failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                return Ok((status, health));
            }
        };
        Ok((StatusCode::OK, shown))
    }
}

/// The name by which a table of the directory has what somebody names: an address or a domain, however it is written, or a word.
fn canonical(model: &Model, table: &str, name: &str) -> String {
    let known = match table {
        "users" | "alias" | "group" => name.parse().ok().map(|address: Address| model.canonical(&address)),
        "domain" => name.parse().ok().map(|domain: Domain| domain.key().to_owned()),
        // Compared as they are: Lan and lan are two.
        "network" => Some(name.to_owned()),
        _ => None,
    };
    known.unwrap_or_else(|| name.to_lowercase())
}

/// A member, which is gone from the rest then.
fn take(value: &mut Value, name: &str) -> Value {
    value.get_mut(name).map(Value::take).unwrap_or_default()
}

fn internal(error: serde_json::Error) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error)
}
