//! What went wrong, as RFC 9457 has it.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::admin::Reason;

/// A problem document.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    /// RFC 6750 §3: how one is to say who one is.
    challenge: Option<&'static str>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl ToString) -> Self {
        Self { status, detail: detail.to_string(), challenge: None }
    }

    /// The request is wrong by itself.
    pub(super) fn bad(detail: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// With a field WWW-Authenticate.
    pub(super) fn challenging(self, challenge: &'static str) -> Self {
        Self { challenge: Some(challenge), ..self }
    }

    /// What the command line would print, with the status that says the same.
    pub(super) fn refused(reason: Reason, message: String) -> Self {
        let status = match reason {
            Reason::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            Reason::Missing => StatusCode::NOT_FOUND,
            Reason::Exists => StatusCode::CONFLICT,
            Reason::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // RFC 9457 §4.2.1: `about:blank` says no more than the status does, whose phrase is the title then.
        let document = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        // RFC 9112 §9.6: what is left of a body that was not read is no next request.
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
