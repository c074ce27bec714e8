//! Hands each message on as it comes, with a field in front, and answers what the next host answered. With a key the
//! message is signed, for which it waits in a file until all of it is here: the signature stands in front.
//!
//! ```text
//! cargo run -p mailwright --example gateway -- 127.0.0.1:2525 127.0.0.1:2526 [DOMAIN SELECTOR KEY.der]
//! ```

use std::{
    env,
    error::Error,
    fs,
    io::{self, Cursor, Seek, Write},
    net::SocketAddr,
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use mailwright::{
    CancellationToken, Listener, ListenerTls,
    client::{ClientError, Endpoint, Security, SmtpClient},
    relay_policy::{
        Session,
        authentication::{
            Examiner,
            dkim::{Signer, SigningKey, sign},
        },
    },
    smtp::{Body, Inbox, Smtp},
    smtp_proto::{HelloName, Message, Outcome, Rcpt, Reply, server::Config},
};
use tokio::{fs::File, io::AsyncReadExt};

const FIELD: &str = "X-Gateway: gateway.localhost\r\n";

struct Gateway {
    name: HelloName,
    next: SocketAddr,
    signer: Option<Signer>,
}

impl Gateway {
    async fn connect(&self) -> Result<SmtpClient, ClientError> {
        let endpoint = Endpoint::new(self.next.ip().to_string(), self.next.port(), Security::Plain);
        SmtpClient::connect(&endpoint, self.name.clone(), Arc::default()).await
    }

    async fn stream(&self, message: &Message, body: &mut Body<'_>) -> Result<Vec<Reply>, ClientError> {
        let mut client = self.connect().await?;
        let mut sending = client.begin(message.clone()).await?;
        sending.write(FIELD.into()).await?;
        // If the message breaks off here, what was begun there breaks off too.
        while let Some(chunk) =
            body.next().await.map_err(|broken| ClientError::Body(io::Error::other(broken)))?
        {
            sending.write(chunk).await?;
        }
        sending.finish().await
    }

    async fn sign(
        &self,
        signer: &Signer,
        message: &Message,
        body: &mut Body<'_>,
    ) -> Result<Vec<Reply>, ClientError> {
        let mut examiner = Examiner::new().without_verifying().for_signing();
        let mut file = tempfile::tempfile()?;
        let mut chunk = Bytes::from_static(FIELD.as_bytes());
        loop {
            examiner.push(&chunk);
            file.write_all(&chunk)?;
            match body.next().await.map_err(|broken| ClientError::Body(io::Error::other(broken)))? {
                Some(next) => chunk = next,
                None => break,
            }
        }
        file.rewind()?;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let signature = sign(signer, &examiner.finish(), now).map_err(io::Error::other)?;
        let mut whole = Cursor::new(signature).chain(File::from_std(file));
        self.connect().await?.send_from(message.clone(), &mut whole).await
    }
}

impl Inbox for Gateway {
    async fn recipient(&self, _: &Session, _: &Rcpt) -> Reply {
        Reply::RECIPIENT_OK
    }

    async fn deliver(&self, _: &Session, message: &Message, body: &mut Body<'_>) -> Outcome {
        let sent = match &self.signer {
            Some(signer) => self.sign(signer, message, body).await,
            None => self.stream(message, body).await,
        };
        // A word about each recipient. SMTP has room for one, which is the worst: then it comes again for all.
        sent.map_or_else(|_| Reply::INTERNAL.into(), Outcome::from)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let (address, next, key) = match arguments.as_slice() {
        [address, next] => (address, next, None),
        [address, next, domain, selector, key] => (address, next, Some((domain, selector, key))),
        _ => return Err("usage: gateway ADDRESS NEXT [DOMAIN SELECTOR KEY.der]".into()),
    };
    let signer = match key {
        Some((domain, selector, key)) => {
            Some(Signer::new(domain, selector, SigningKey::from_pkcs8(&fs::read(key)?)?))
        }
        None => None,
    };
    let gateway = Gateway { name: "gateway.localhost".parse()?, next: next.parse()?, signer };
    let service =
        Smtp::without_logins(Arc::new(gateway), ListenerTls::None, Config::smtp("gateway.localhost")?);
    let stop = CancellationToken::new();
    let listener = Listener::bind(address, stop.clone()).await?;
    Arc::new(service).serve(listener, stop).await;
    Ok(())
}
