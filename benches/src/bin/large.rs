//! A message far larger than memory may be: in by SMTP, out by IMAP.

use std::time::Instant;

use mailwright_benches::{PASSWORD, Result, Server, USER, checksum};

const LINE: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz.\r\n";

fn main() -> Result<()> {
    let size: u64 = std::env::args().nth(1).map_or(Ok(2 << 30), |size| size.parse())?;
    let server = Server::start()?;
    let (before, _) = server.memory()?;
    let block = LINE.repeat(65536 / LINE.len());
    let mut smtp = server.connect("smtp", false)?;
    smtp.until("220 ")?;
    smtp.ask("HELO client.example", "250 ")?;
    smtp.ask("MAIL FROM:<a@example.net>", "250 ")?;
    smtp.ask(&format!("RCPT TO:<{USER}>"), "250 ")?;
    smtp.ask("DATA", "354 ")?;
    let header = b"Subject: large\r\n\r\n";
    smtp.send(header)?;
    let (mut sent, mut sum) = (header.len() as u64, checksum(0, header));
    let begun = Instant::now();
    while sent < size {
        smtp.send(&block)?;
        sent += block.len() as u64;
        sum = checksum(sum, &block);
    }
    smtp.ask(".", "250 ")?;
    let rate_in = sent as f64 / begun.elapsed().as_secs_f64() / 1e6;
    let (after_in, peak_in) = server.memory()?;

    let mut imap = server.connect("imap", false)?;
    imap.until("* OK")?;
    imap.ask(&format!("a LOGIN {USER} {PASSWORD}"), "a OK")?;
    imap.ask("b SELECT INBOX", "b OK")?;
    let begun = Instant::now();
    let answer = imap.ask("c FETCH 1 BODY.PEEK[]", "* 1 FETCH")?;
    let announced: u64 =
        answer.rsplit('{').next().and_then(|rest| rest.split('}').next()).unwrap_or("").parse()?;
    // The server put trace fields in front.
    let trace = announced.checked_sub(sent).ok_or("the message came out shorter than it went in")?;
    imap.skip(trace)?;
    let got = imap.skip(sent)?;
    imap.until("c OK")?;
    let rate_out = sent as f64 / begun.elapsed().as_secs_f64() / 1e6;
    let (_, peak_out) = server.memory()?;
    if got != sum {
        return Err("the message came out different".into());
    }
    println!(
        "{sent} octets in by SMTP  {rate_in:7.0} MB/s  resident: {before} KiB before, {after_in} after, {peak_in} at most"
    );
    println!("{sent} octets out by IMAP {rate_out:7.0} MB/s  resident: {peak_out} KiB at most");
    Ok(())
}
