//! From a request of HTTP to its response: who asks, what is meant, and what came of it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::on,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use mailwright::Throttle;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use super::{
    TokenEntry,
    given::Given,
    problem::Problem,
    routes::{ROUTES, Right, Route},
};
use crate::{admin, live::Current};

/// How many requests are worked on at once; more wait.
const AT_ONCE: usize = 8;
/// How long a body may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// RFC 6750 §3
const CHALLENGE: &str = "Bearer realm=\"mailwright\"";
const WRONG_TOKEN: &str = "Bearer realm=\"mailwright\", error=\"invalid_token\"";
const TOO_LITTLE: &str = "Bearer realm=\"mailwright\", error=\"insufficient_scope\"";

/// What answers.
pub(super) struct Desk {
    pub(super) administration: Arc<Current>,
    pub(super) throttle: Arc<Throttle>,
    working: Arc<Semaphore>,
}

/// Where a request comes from; a socket of the file system has no address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin(pub(super) Option<IpAddr>);

/// Everything in the table, for those who have a token.
pub(super) fn router(administration: Arc<Current>, throttle: Arc<Throttle>) -> Router {
    let desk = Arc::new(Desk { administration, throttle, working: Arc::new(Semaphore::new(AT_ONCE)) });
    let mut router = Router::new();
    for route in ROUTES {
        let handle = move |State(desk): State<Arc<Desk>>,
                           Extension(who): Extension<TokenEntry>,
                           path: Result<RawPathParams, RawPathParamsRejection>,
                           request: Request| async move {
            let answered = match path {
                Ok(path) => answer(&desk, route, &who, &path, request).await,
                Err(_) => Err(Problem::bad("the path is not UTF-8 where it has % and digits")),
            };
            answered.unwrap_or_else(Problem::into_response)
        };
        router = router.route(route.path, on(route.method.filter(), handle));
    }
    router
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "nothing is here; docs/http.md names all there is")
        })
        // RFC 9110 §15.5.6: the field Allow is added to it.
        .method_not_allowed_fallback(|method: Method| async move {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} does nothing here"))
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), authenticate))
        .with_state(desk)
}

/// Lets nobody in without a token. Nothing of the body was read yet.
async fn authenticate(
    State(desk): State<Arc<Desk>>,
    Extension(origin): Extension<Origin>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match identify(&desk, origin, request.headers()).await {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn identify(desk: &Desk, Origin(address): Origin, headers: &HeaderMap) -> Result<TokenEntry, Problem> {
    let given = headers.get(header::AUTHORIZATION).and_then(|field| field.to_str().ok());
    // RFC 9110 §11.1: the scheme is in any case.
    let token = given
        .and_then(|field| field.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"));
    // Nobody finds one of 256 random bits by trying, so whoever has it is heard: somebody who tries, behind the same proxy
    // maybe, must not shut the administrator out.
    let tokens = Arc::clone(&desk.administration.get().tokens);
    if let Some(who) = token.and_then(|(_, token)| tokens.whose(token.trim())) {
        return Ok(who);
    }
    if !desk.throttle.hears(address) {
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "the address is banned for failed logins"));
    }
    if token.is_none() {
        let problem = Problem::new(
            StatusCode::UNAUTHORIZED,
            "say who you are by a field Authorization: Bearer TOKEN; `mailwrightd http token add` makes one",
        );
        return Err(problem.challenging(CHALLENGE));
    }
    tokio::time::sleep(desk.throttle.wrong(address)).await;
    let from = address.map(|address| address.to_string());
    tracing::warn!(from, "a token of HTTP is wrong");
    Err(Problem::new(StatusCode::UNAUTHORIZED, "there is no such token").challenging(WRONG_TOKEN))
}

async fn answer(
    desk: &Desk,
    route: &'static Route,
    who: &TokenEntry,
    path: &RawPathParams,
    request: Request,
) -> Result<Response, Problem> {
    if route.right == Right::Change && who.read_only {
        let problem =
            Problem::new(StatusCode::FORBIDDEN, format!("the token {} is for reading alone", who.name));
        return Err(problem.challenging(TOO_LITTLE));
    }
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let body = read(route, &head.headers, body).await?;
    let given = Given::new(path, query, route.query, body)?;
    let asked = (route.request)(&given)?;
    if route.right == Right::Change {
        tracing::info!(token = who.name, method = %head.method, path = head.uri.path(), "http");
    }
    let response = work(desk, asked).await?;
    let names = desk.administration.get().directory.current();
    route.show.response(&given, &names, response)
}

/// The body, if the row of the table wants one.
async fn read(route: &Route, headers: &HeaderMap, body: Body) -> Result<Option<Value>, Problem> {
    let too_large = || {
        let text = format!("the body is larger than {} octets", route.longest);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > route.longest) {
        return Err(too_large());
    }
    let collected = Limited::new(body, route.longest).collect();
    let octets = match tokio::time::timeout(BODY_PATIENCE, collected).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(error)) => return Err(Problem::bad(format!("the body did not arrive whole: {error}"))),
        Err(_) => return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body takes too long")),
    };
    if octets.is_empty() {
        return Ok(None);
    }
    if !route.takes_body {
        return Err(Problem::bad("there is a body, which means nothing here"));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|field| field.to_str().ok()).unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        let text = format!("the body is to be application/json, not {kind:?}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    match serde_json::from_slice(&octets) {
        Ok(value @ Value::Object(_)) => Ok(Some(value)),
        Ok(_) => Err(Problem::bad("the body is no JSON object")),
        Err(error) => Err(Problem::bad(format!("the body is no JSON: {error}"))),
    }
}

/// Has it done by a thread of its own, as the control socket does: hashing takes its time, and reading disks too.
async fn work(desk: &Desk, asked: admin::Request) -> Result<admin::Response, Problem> {
    let failed = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "it was not done; the log may say why");
    let place = Arc::clone(&desk.working).acquire_owned().await.map_err(|_| failed())?;
    let (administration, runtime) = (desk.administration.get(), tokio::runtime::Handle::current());
    let (sender, receiver) = oneshot::channel();
    let spawned = std::thread::Builder::new().name("http".into()).spawn(move || {
        // Stores may hand what blocks to its threads.
        let _runtime = runtime.enter();
        // Nobody may wait any more; it is done all the same.
        let _ = sender.send(administration.execute(asked));
        drop(place);
    });
    spawned.map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error))?;
    receiver.await.map_err(|_| failed())
}
