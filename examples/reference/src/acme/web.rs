//! How the authority is asked.

use std::{
    fs,
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use mailwright::{
    https::{Https, HttpsLimits, HttpsRequest},
    line_proto::tls,
};

use super::AcmeError;

/// A chain of certificates is the longest that is answered.
const LONGEST: usize = 256 * 1024;

/// Asks by way of the library's own client.
#[derive(Clone)]
pub(super) struct Web(Https);

impl Web {
    /// Trusting these authorities.
    pub(super) fn new(trust: &Path) -> Result<Self, AcmeError> {
        let failed = |problem: String| AcmeError::Trust { path: PathBuf::from(trust), problem };
        let pem = fs::read(trust).map_err(|error| failed(error.to_string()))?;
        let config = tls::roots(&pem).and_then(tls::client_config);
        Ok(Self(Https::new(config.map_err(|error| failed(error.to_string()))?)))
    }
}

impl HttpClient for Web {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let https = self.0.clone();
        Box::pin(async move { exchange(https, request).await.map_err(Error::Other) })
    }
}

async fn exchange(
    https: Https,
    request: http::Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, Box<dyn std::error::Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let mut ask = HttpsRequest::new(parts.method.as_str(), parts.uri.to_string());
    for (name, value) in &parts.headers {
        ask = ask.with_header(name.as_str(), value.to_str()?);
    }
    let body = body.collect().await?.to_bytes();
    let limits = HttpsLimits::default().with_answer(LONGEST).with_timeout(Duration::from_secs(60));
    let answer = https.send(ask.with_body(body), &limits).await?;
    let mut response = http::Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(answer.body().clone()))?.into())
}
