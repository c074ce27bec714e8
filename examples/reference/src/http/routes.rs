//! Everything that can be asked by HTTP: a row for each.

mod directory;
mod queue;
mod users;

use axum::routing::MethodFilter;

use super::{given::Given, problem::Problem, show::Show};
use crate::{
    admin::Request,
    life::LifeRequest,
    live::LiveRequest,
    queue::{Change, QueueRequest},
    rules::Question,
};

/// The largest body, in octets, and the largest file of a whole directory.
const LONGEST: usize = 1 << 20;
const LONGEST_FILE: usize = 16 << 20;
/// Which entries of the queue are meant.
const WHICH: &[&str] = &["id", "from", "to"];
const CHANGED: &[&str] = &["id", "from", "to", "all", "dry_run"];
/// Of those with the id in the path.
const OF_ONE: &[&str] = &["to", "dry_run"];

/// What is needed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Any token.
    Read,
    /// One that is not for reading alone.
    Change,
}

/// What is to be done to a resource (RFC 9110 §9.3). HEAD goes with GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    pub(super) fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// One row.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) method: Verb,
    /// With `{name}` for what differs.
    pub(super) path: &'static str,
    pub(super) right: Right,
    /// The words that may stand in the query.
    pub(super) query: &'static [&'static str],
    pub(super) takes_body: bool,
    pub(super) longest: usize,
    pub(super) request: fn(&Given) -> Result<Request, Problem>,
    pub(super) show: Show,
}

type Make = fn(&Given) -> Result<Request, Problem>;

impl Route {
    const fn new(method: Verb, path: &'static str, right: Right, request: Make) -> Self {
        let (query, longest, show): (&[&str], _, _) = (&[], LONGEST, Show::Whole);
        Self { method, path, right, query, takes_body: false, longest, request, show }
    }

    const fn get(path: &'static str, show: Show, request: Make) -> Self {
        Self { show, ..Self::new(Verb::Get, path, Right::Read, request) }
    }

    /// With a body.
    const fn with(method: Verb, path: &'static str, request: Make) -> Self {
        Self { takes_body: true, ..Self::new(method, path, Right::Change, request) }
    }

    const fn post(path: &'static str, request: Make) -> Self {
        Self::new(Verb::Post, path, Right::Change, request)
    }

    const fn delete(path: &'static str, request: Make) -> Self {
        Self::new(Verb::Delete, path, Right::Change, request)
    }

    const fn query(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }

    /// Of one entry of the queue: that it is not there is an error.
    const fn of_one(self) -> Self {
        Self { query: OF_ONE, show: Show::Counted, ..self }
    }

    const fn up_to(self, longest: usize) -> Self {
        Self { longest, ..self }
    }

    const fn show(self, show: Show) -> Self {
        Self { show, ..self }
    }
}

/// All of them.
pub(super) const ROUTES: &[Route] = &[
    Route::get("/v1/health", Show::Health, |_| Ok(Request::Live(LiveRequest::Health))),
    // The queue.
    Route::get("/v1/queue", Show::Whole, queue::list).query(WHICH),
    Route::delete("/v1/queue", |given| queue::change(given, Change::Delete)).query(CHANGED),
    Route::post("/v1/queue/retry", |given| queue::change(given, Change::Retry)).query(CHANGED),
    Route::post("/v1/queue/hold", |given| queue::change(given, Change::Hold)).query(CHANGED),
    Route::post("/v1/queue/release", |given| queue::change(given, Change::Release)).query(CHANGED),
    Route::with(Verb::Post, "/v1/queue/expire", queue::expire).query(CHANGED),
    Route::with(Verb::Post, "/v1/queue/reroute", queue::reroute).query(CHANGED),
    Route::get("/v1/queue/{id}", Show::Whole, queue::show),
    Route::delete("/v1/queue/{id}", |given| queue::change(given, Change::Delete)).of_one(),
    Route::post("/v1/queue/{id}/retry", |given| queue::change(given, Change::Retry)).of_one(),
    Route::post("/v1/queue/{id}/hold", |given| queue::change(given, Change::Hold)).of_one(),
    Route::post("/v1/queue/{id}/release", |given| queue::change(given, Change::Release)).of_one(),
    Route::with(Verb::Post, "/v1/queue/{id}/expire", queue::expire).of_one(),
    Route::with(Verb::Post, "/v1/queue/{id}/reroute", queue::reroute).of_one(),
    Route::get("/v1/suppressed", Show::Whole, |_| Ok(Request::Queue(QueueRequest::Suppressed))),
    Route::delete("/v1/suppressed/{address}", queue::unsuppress).show(Show::Counted),
    // The directory.
    Route::get("/v1/directory", Show::Inner("file"), directory::export),
    Route::with(Verb::Post, "/v1/directory", directory::import).query(&["only"]).up_to(LONGEST_FILE),
    Route::get("/v1/domains", Show::Tables(&["domain", "domain-alias"]), directory::export),
    Route::with(Verb::Post, "/v1/domains", directory::add_domain),
    Route::get("/v1/domains/{name}", Show::Row("domain"), directory::export),
    Route::with(Verb::Patch, "/v1/domains/{name}", directory::change_domain),
    Route::delete("/v1/domains/{name}", directory::remove_domain),
    Route::with(Verb::Put, "/v1/domain-aliases/{name}", directory::put_domain_alias),
    Route::delete("/v1/domain-aliases/{name}", directory::remove_domain_alias),
    Route::get("/v1/aliases", Show::Tables(&["alias", "pseudonym"]), directory::export),
    Route::with(Verb::Post, "/v1/aliases", directory::add_alias),
    Route::get("/v1/aliases/{name}", Show::Row("alias"), directory::export),
    Route::with(Verb::Put, "/v1/aliases/{name}", directory::put_alias),
    Route::delete("/v1/aliases/{name}", directory::remove_alias),
    Route::get("/v1/pseudonyms/{name}", Show::Row("pseudonym"), directory::export),
    Route::with(Verb::Put, "/v1/pseudonyms/{name}", directory::put_pseudonym),
    Route::delete("/v1/pseudonyms/{name}", directory::remove_pseudonym),
    Route::get("/v1/groups", Show::Tables(&["group"]), directory::export),
    Route::with(Verb::Post, "/v1/groups", directory::add_group),
    Route::get("/v1/groups/{name}", Show::Row("group"), directory::export),
    Route::with(Verb::Put, "/v1/groups/{name}", directory::put_group),
    Route::with(Verb::Patch, "/v1/groups/{name}", directory::change_group),
    Route::delete("/v1/groups/{name}", directory::remove_group),
    Route::get("/v1/networks", Show::Tables(&["network"]), directory::export),
    Route::with(Verb::Post, "/v1/networks", directory::add_network),
    Route::get("/v1/networks/{name}", Show::Row("network"), directory::export),
    Route::with(Verb::Put, "/v1/networks/{name}", directory::put_network),
    Route::with(Verb::Patch, "/v1/networks/{name}", directory::change_network),
    Route::delete("/v1/networks/{name}", directory::remove_network),
    Route::get("/v1/addresses/{name}", Show::Whole, |given| {
        Ok(Request::Address { address: given.path("name") })
    }),
    // Accounts.
    Route::get("/v1/users", Show::Whole, |_| Ok(Request::UserList)),
    Route::with(Verb::Post, "/v1/users", users::add),
    Route::get("/v1/users/{name}", Show::Member("users"), |_| Ok(Request::UserList)),
    Route::with(Verb::Patch, "/v1/users/{name}", users::change),
    Route::delete("/v1/users/{name}", |given| Ok(Request::UserRemove { name: given.path("name") })),
    Route::with(Verb::Put, "/v1/users/{name}/password", users::password),
    Route::get("/v1/users/{name}/quota", Show::Whole, users::quota),
    Route::with(Verb::Patch, "/v1/users/{name}/quota", users::change_quota),
    Route::delete("/v1/users/{name}/quota", users::no_quota),
    Route::get("/v1/users/{name}/expiry", Show::Whole, users::expiry),
    Route::with(Verb::Patch, "/v1/users/{name}/expiry", users::change_expiry),
    Route::delete("/v1/users/{name}/expiry", users::no_expiry),
    Route::get("/v1/usage", Show::Whole, |_| Ok(Request::Life(LifeRequest::Usage))),
    Route::get("/v1/removed-users", Show::Whole, |_| Ok(Request::Life(LifeRequest::Removed))),
    Route::post("/v1/removed-users/{name}/restore", users::restore),
    Route::delete("/v1/removed-users/{name}", users::erase),
    // What became of mail, what would, and the server itself.
    Route::get("/v1/trace", Show::Whole, |given| Ok(Request::Trace { message: given.needed("message")? }))
        .query(&["message"]),
    Route::get("/v1/explain", Show::Stages, explain).query(&["client", "helo", "from", "to", "auth"]),
    Route::get("/v1/bans", Show::Whole, |_| Ok(Request::Live(LiveRequest::Bans))),
    Route::delete("/v1/bans/{who}", lift),
    Route::post("/v1/reload", |_| Ok(Request::Live(LiveRequest::Reload))),
];

fn explain(given: &Given) -> Result<Request, Problem> {
    let client = given.needed("client")?;
    Ok(Request::Explain(Question {
        client: client.parse().map_err(|_| Problem::bad(format!("client: {client:?} is no address")))?,
        helo: given.query("helo")?.unwrap_or_else(|| "client.invalid".into()),
        from: given.query("from")?.unwrap_or_default(),
        to: given.needed("to")?,
        user: given.query("auth")?,
    }))
}

fn lift(given: &Given) -> Result<Request, Problem> {
    Ok(Request::Live(LiveRequest::lift(&given.path("who"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_documented() {
        let text = include_str!("../../../../docs/http.md");
        for Route { method, path, .. } in ROUTES {
            let row = text.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{path}`")));
            let row = row.unwrap_or_else(|| panic!("{path} is not in docs/http.md"));
            let method = format!("{method:?}").to_uppercase();
            assert!(row.contains(&method), "{method} {path} is not in docs/http.md: {row}");
        }
    }

    #[test]
    fn reading_changes_nothing() {
        for route in ROUTES {
            let reads = route.method == Verb::Get;
            assert_eq!(route.right == Right::Read, reads, "{:?} {}", route.method, route.path);
            assert!(!(reads && route.takes_body), "{}", route.path);
        }
    }
}
