//! Sends a file as a message by submission, with TLS and a login. The password is taken from `MAIL_PASSWORD`, and whom to trust from the
//! system or the file `SSL_CERT_FILE`.
//!
//! ```text
//! cargo run -p mailwright --example send -- mail.example.org ann@example.org bob@example.net message.eml
//! ```

use std::{env, error::Error, sync::Arc};

use mailwright::{
    client::{Endpoint, Security, SmtpClient, system_roots},
    line_proto::{Secret, tls},
    mail_model::Address,
    smtp_proto::{Mail, Message, Rcpt, Reply, client::Config},
};
use tokio::fs::File;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: send HOST[:PORT] FROM TO FILE");
    let (server, from, to, file) = (next()?, next()?, next()?, next()?);
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) => (host, port.parse()?),
        None => (server.as_str(), 587),
    };
    let trusted = tls::client_config(system_roots()?)?;
    let endpoint = Endpoint::new(host, port, Security::Starttls(Arc::new(trusted)));

    let mut client =
        SmtpClient::connect(&endpoint, "localhost".parse()?, Arc::new(Config::default())).await?;
    client.login(&from, &Secret::from(env::var("MAIL_PASSWORD")?.as_str())).await?;
    let sender = Mail::new(from.parse::<Address>()?.into());
    let recipient = Rcpt::new(to.parse::<Address>()?.into());
    // Read as fast as the server takes it, and never all at once.
    let mut body = File::open(file).await?;
    let replies = client.send_from(Message::new(sender, vec![recipient]), &mut body).await?;
    for reply in &replies {
        print!("{to}: {reply}");
    }
    client.quit().await?;
    if replies.iter().all(Reply::is_positive) { Ok(()) } else { Err("the server does not take it".into()) }
}
