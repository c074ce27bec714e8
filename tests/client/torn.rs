//! Servers whose EHLO reply has a space where a hyphen belongs, in the middle of what they announce.

use std::sync::Arc;

use mailwright::{
    client::{Endpoint, Security, SmtpClient},
    line_proto::tls::{client_config, roots},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::JoinHandle,
};

/// A server that says this to EHLO, in one piece, and that it has no TLS for now. It gives what it was told.
async fn server(announced: &'static str) -> (std::net::SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (read, mut write) = listener.accept().await.unwrap().0.into_split();
        let (mut lines, mut told) = (BufReader::new(read).lines(), Vec::new());
        write.write_all(b"220 mail.example.com ESMTP\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            let reply = match &line[..4] {
                "EHLO" => announced,
                "STAR" => "454 4.7.0 Not now\r\n",
                _ => "221 2.0.0 Bye\r\n",
            };
            told.push(line);
            write.write_all(reply.as_bytes()).await.unwrap();
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
    let made = rcgen::generate_simple_self_signed(["mail.example.com".to_owned()]).unwrap();
    let tls = client_config(roots(made.cert.pem().as_bytes()).unwrap()).unwrap();
    let refused = connect(address, Security::Opportunistic(Arc::new(tls))).await.map(drop);
    assert!(refused.unwrap_err().to_string().contains("Not now"));
    assert_eq!(serving.await.unwrap(), ["EHLO client.example.org", "STARTTLS"]);
}

#[tokio::test]
async fn a_farewell_behind_the_list_is_heard() {
    let (address, serving) = server("250-mail.example.com\r\n250 DSN\r\n421 4.3.2 Going down\r\n").await;
    let ended = connect(address, Security::Plain).await.map(drop);
    assert!(ended.unwrap_err().to_string().contains("Going down"));
    assert_eq!(serving.await.unwrap(), ["EHLO client.example.org"]);
}
