//! Servers whose EHLO reply has a space where a hyphen belongs, in the middle of what they announce.

use std::sync::Arc;

use mailwright::{
    client::{Endpoint, Security, SmtpClient},
    line_proto::tls::{client_config, roots},
};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::JoinHandle,
};

/// What a server says.
#[derive(Clone, Copy)]
struct Says {
    ehlo: &'static str,
    /// Before its answer to what the client says next.
    late: &'static str,
    starttls: &'static str,
}

/// A server that says this to EHLO, in one piece, and that it has no TLS for now. It gives what it was told.
async fn server(ehlo: &'static str) -> (std::net::SocketAddr, JoinHandle<Vec<String>>) {
    saying(Says { ehlo, late: "", starttls: "454 4.7.0 Not now\r\n" }).await
}

async fn saying(says: Says) -> (std::net::SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (read, mut write) = listener.accept().await.unwrap().0.into_split();
        let (mut lines, mut told) = (BufReader::new(read).lines(), Vec::new());
        write.write_all(b"220 mail.example.com ESMTP\r\n").await.unwrap();
        let mut late = Some(says.late);
        while let Ok(Some(line)) = lines.next_line().await {
            let reply = match &line[..4] {
                "EHLO" => says.ehlo,
                "STAR" => says.starttls,
                "NOOP" => "250 2.0.0 Ok\r\n",
                _ => "221 2.0.0 Bye\r\n",
            };
            let behind = if &line[..4] == "EHLO" { "" } else { late.take().unwrap_or_default() };
            told.push(line);
            write.write_all(format!("{behind}{reply}").as_bytes()).await.unwrap();
        }
        told
    });
    (address, serving)
}

async fn connect(
    address: std::net::SocketAddr,
    security: Security,
) -> Result<SmtpClient, mailwright::client::ClientError> {
    let endpoint = Endpoint::new("mail.example.com", address.port(), security).at(address);
    SmtpClient::connect(&endpoint, "client.example.org".parse().unwrap(), Arc::default()).await
}

const TORN: &str = "250-mail.example.com\r\n250 8BITMIME\r\n250-STARTTLS\r\n250 DSN\r\n";

#[tokio::test]
async fn what_is_announced_behind_the_end_of_the_list_counts() {
    let (address, serving) = server(TORN).await;
    let mut client = connect(address, Security::Plain).await.unwrap();
    let found = client.capabilities();
    assert!(found.eight_bit_mime && found.starttls && found.dsn, "{found:?}");
    client.quit().await.unwrap();
    assert_eq!(serving.await.unwrap(), ["EHLO client.example.org", "QUIT"]);
}

#[tokio::test]
async fn no_mail_goes_in_the_clear_because_a_list_is_torn() {
    let (address, serving) = server(TORN).await;
    let refused = connect(address, Security::Starttls(tls())).await.map(drop);
    assert!(refused.unwrap_err().to_string().contains("Not now"));
    assert_eq!(serving.await.unwrap(), ["EHLO client.example.org", "STARTTLS"]);
    // It does where the server refuses what it offers and the mail would go in the clear anyway (RFC 7435 §3).
    let (address, serving) = server(TORN).await;
    let mut client = connect(address, Security::Opportunistic(tls())).await.unwrap();
    assert!(client.tls().is_none());
    client.quit().await.unwrap();
    assert_eq!(serving.await.unwrap(), ["EHLO client.example.org", "STARTTLS", "QUIT"]);
}

const BEGUN: Says = Says {
    ehlo: "250-mail.example.com\r\n250 8BITMIME\r\n",
    late: "250-STARTTLS\r\n250 DSN\r\n",
    starttls: "454 4.7.0 Not now\r\n",
};

fn tls() -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed(["mail.example.com".to_owned()]).unwrap();
    Arc::new(client_config(roots(made.cert.pem().as_bytes()).unwrap()).unwrap())
}

#[tokio::test]
async fn no_mail_goes_in_the_clear_because_the_rest_of_a_list_is_late() {
    for security in [Security::Opportunistic(tls()), Security::Starttls(tls())] {
        let required = matches!(security, Security::Starttls(_));
        let (address, serving) = saying(BEGUN).await;
        let connected = connect(address, security).await.map(drop);
        assert_eq!(connected.is_err_and(|error| error.to_string().contains("Not now")), required);
        assert_eq!(serving.await.unwrap(), ["EHLO client.example.org", "NOOP", "STARTTLS"]);
    }
}

#[tokio::test]
async fn mail_goes_in_the_clear_where_nothing_else_is_offered() {
    let (address, serving) = saying(Says { late: "250 DSN\r\n", ..BEGUN }).await;
    let mut client = connect(address, Security::Opportunistic(tls())).await.unwrap();
    assert!(client.capabilities().dsn && client.tls().is_none());
    client.quit().await.unwrap();
    assert_eq!(serving.await.unwrap(), ["EHLO client.example.org", "NOOP", "QUIT"]);
}

#[tokio::test]
async fn a_login_is_looked_for_in_the_rest_of_a_list() {
    let (address, serving) = saying(Says { late: "250 AUTH PLAIN\r\n", ..BEGUN }).await;
    let mut client = connect(address, Security::Plain).await.unwrap();
    let refused = client.login("ann", &"secret".into()).await.unwrap_err().to_string();
    assert_eq!(client.capabilities().auth, ["PLAIN"], "{refused}");
    client.quit().await.unwrap();
    assert_eq!(serving.await.unwrap(), ["EHLO client.example.org", "NOOP", "QUIT"]);
}

#[tokio::test]
async fn what_passes_for_a_consent_to_tls_is_none() {
    for starttls in ["250 2.0.0 Ok\r\n", "221 2.0.0 Bye\r\n", "251 x\r\n"] {
        for security in [Security::Opportunistic(tls()), Security::Starttls(tls())] {
            let (address, serving) = saying(Says { ehlo: TORN, late: "", starttls }).await;
            let refused = connect(address, security).await.map(drop);
            assert!(refused.unwrap_err().to_string().contains("220 or a refusal"), "{starttls}");
            assert_eq!(serving.await.unwrap(), ["EHLO client.example.org", "STARTTLS"]);
        }
    }
}

#[tokio::test]
async fn a_farewell_behind_the_list_is_heard() {
    let (address, serving) = server("250-mail.example.com\r\n250 DSN\r\n421 4.3.2 Going down\r\n").await;
    let ended = connect(address, Security::Plain).await.map(drop);
    assert!(ended.unwrap_err().to_string().contains("Going down"));
    assert_eq!(serving.await.unwrap(), ["EHLO client.example.org"]);
}
