//! What happens to a message while it is being sent, which takes its time: the server stops, is killed, or somebody gives a command.

use std::os::unix::fs::PermissionsExt;

use super::*;

const RECIPIENTS: usize = 12;

/// A host on every loopback address that takes one recipient in a transaction, and its time for each message.
struct Slow {
    port: u16,
    /// Whom messages were for: when they had come, and when they were answered with a 250.
    begun: Arc<Mutex<Vec<String>>>,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Slow {
    fn start(time: Duration, reply: &'static str) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let slow = Self { port, begun: Arc::default(), taken: Arc::default() };
        let (begun, taken) = (Arc::clone(&slow.begun), Arc::clone(&slow.taken));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (begun, taken) = (Arc::clone(&begun), Arc::clone(&taken));
                thread::spawn(move || visit(stream, time, reply, &begun, &taken));
            }
        });
        slow
    }

    fn begun(&self) -> usize {
        self.begun.lock().unwrap().len()
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }
}

fn visit(
    stream: TcpStream,
    time: Duration,
    reply: &str,
    begun: &Mutex<Vec<String>>,
    taken: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut answer = |text: &str| writer.write_all(format!("{text}\r\n").as_bytes()).ok();
    let mut recipient = String::new();
    answer("220 slow.example ESMTP")?;
    loop {
        let line = lines.next()?;
        match line.get(..4)?.to_ascii_uppercase().as_str() {
            "EHLO" => answer("250-slow.example\r\n250 LIMITS RCPTMAX=1")?,
            "RCPT" => {
                line.split(['<', '>']).nth(1)?.clone_into(&mut recipient);
                answer("250 Ok")?;
            }
            "DATA" => {
                answer("354 Go on")?;
                lines.by_ref().find(|line| line == ".")?;
                begun.lock().unwrap().push(recipient.clone());
                thread::sleep(time);
                if reply.starts_with('2') {
                    taken.lock().unwrap().push(recipient.clone());
                }
                answer(reply)?;
            }
            "QUIT" => return answer("221 Bye"),
            _ => answer("250 Ok")?,
        }
    }
}

/// A site with this way for all mail; what is put off waits for a minute.
fn site(way: &str) -> Site {
    Site::start("a.example", "127.0.0.1", free_port(), &Names::none(), way, &["ann"])
}

fn to_host(host: &Slow) -> String {
    format!("[relay.transport]\n\"*\" = \"smtp:[127.0.0.1]:{}\"\n", host.port)
}

/// RCPT commands but for the first `RCPT TO:<` and the last `>`.
fn all_recipients(parameters: &str) -> String {
    let all: Vec<_> = (0..RECIPIENTS).map(|number| format!("r{number}@b.example")).collect();
    all.join(&format!(">{parameters}\r\nRCPT TO:<"))
}

/// How often each has got it.
fn counts(taken: &[String]) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for recipient in taken {
        *counts.entry(recipient.clone()).or_default() += 1;
    }
    counts
}

#[test]
fn what_was_taken_before_a_stop_is_not_sent_again() {
    let host = Slow::start(Duration::from_millis(300), "250 2.0.0 taken");
    let mut site = site(&to_host(&host));
    assert!(submit(&mut session(&site), &all_recipients(""), "to many"));
    wait_for("the first ones", || (host.begun() >= 3).then_some(()));
    site.stop();
    let before = host.taken();
    assert!(before.len() < RECIPIENTS, "it did not wait for all: {before:?}");
    assert_eq!(host.begun(), before.len(), "what was under way has ended");
    site.serve();
    // The rest goes at once, and does not wait for another try.
    wait_for("the queue to be sent", || site.queue(&["list"]).is_empty().then_some(()));
    let counts = counts(&host.taken());
    assert_eq!(counts.len(), RECIPIENTS, "{counts:?}");
    assert!(counts.values().all(|times| *times == 1), "{counts:?}");
}

#[test]
fn a_kill_repeats_no_more_than_one_transaction_and_loses_no_report() {
    let host = Slow::start(Duration::from_millis(300), "250 2.0.0 taken");
    let mut site = site(&to_host(&host));
    let all = all_recipients(" NOTIFY=SUCCESS");
    assert!(submit(
        &mut session(&site),
        &format!("{all}> NOTIFY=SUCCESS\r\nRCPT TO:<last@b.example"),
        "to many"
    ));
    wait_for("the first ones", || (host.begun() >= 5).then_some(()));
    site.kill();
    let before = host.taken();
    assert!(before.len() <= RECIPIENTS, "it was killed in the middle");
    site.serve();
    wait_for("the queue to be sent", || site.queue(&["list"]).is_empty().then_some(()));
    let counts = counts(&host.taken());
    assert_eq!(counts.len(), RECIPIENTS + 1, "{counts:?}");
    assert!(counts.values().sum::<usize>() <= counts.len() + 1, "{counts:?}");
    // Every recipient is told of, once; but of the last, of whom nobody wants to hear.
    let mut told = String::new();
    for number in 1.. {
        match site.fetch("ann@a.example", number) {
            Some(report) => told += &report,
            None => break,
        }
    }
    for number in 0..RECIPIENTS {
        let line = format!("Final-Recipient: rfc822; r{number}@b.example");
        assert_eq!(told.matches(&format!("{line}\r\n")).count(), 1, "{line}: {told}");
    }
    assert!(!told.contains("last@b.example"), "{told}");
}

#[test]
fn a_stop_begins_no_other_program() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let file = folder.path().join("taken");
    let way = format!(
        "[relay.pipes.slow]\ncommand = [\"/bin/sh\", \"-c\", \"cat > /dev/null; sleep 0.3; echo $0 >> {}\", \"${{recipient}}\"]\n\
         [relay.transport]\n\"*\" = \"pipe:slow\"\n",
        file.display()
    );
    let taken = || -> Vec<String> {
        fs::read_to_string(&file).unwrap_or_default().lines().map(str::to_owned).collect()
    };
    let mut site = site(&way);
    assert!(submit(&mut session(&site), &all_recipients(""), "to many"));
    wait_for("the first ones", || (taken().len() >= 3).then_some(()));
    site.stop();
    let before = taken().len();
    assert!(before < RECIPIENTS, "it did not wait for all");
    site.serve();
    wait_for("some more", || (taken().len() >= before + 3).then_some(()));
    site.kill();
    site.serve();
    wait_for("the queue to be sent", || site.queue(&["list"]).is_empty().then_some(()));
    let counts = counts(&taken());
    assert_eq!(counts.len(), RECIPIENTS, "{counts:?}");
    // RFC 1047: what was under way at the kill may have been repeated.
    assert!(counts.values().sum::<usize>() <= RECIPIENTS + 1, "{counts:?}");
}

/// What is put off by an attempt waits for a minute; what was said meanwhile counts at once.
#[test]
fn commands_count_that_are_given_while_a_message_is_being_sent() {
    let (slow, good) = (Slow::start(Duration::from_secs(3), "451 4.3.0 later"), Sink::start());
    let names = ["reroute", "retry", "expire"];
    let way: String = names
        .iter()
        .zip(1..)
        .map(|(name, host)| format!("\"{name}.example\" = \"smtp:[127.0.1.{host}]:{}\"\n", slow.port))
        .collect();
    let site = site(&format!("[relay.transport]\n{way}"));
    let mut talk = session(&site);
    for name in names {
        assert!(submit(&mut talk, &format!("bob@{name}.example"), name));
    }
    wait_for("the first attempts", || (slow.begun() == 3).then_some(()));
    // Times are whole seconds: in that of the first attempt, another try is this one.
    thread::sleep(Duration::from_millis(1_100));
    let begun = Instant::now();
    let via = format!("[127.0.0.1]:{}", good.port);
    site.queue(&["reroute", "--to", "@reroute.example", "--via", &via]);
    site.queue(&["retry", "--to", "@retry.example"]);
    site.queue(&["expire", "--to", "@expire.example", "--after", "5s"]);
    wait_for("the rerouted one", || good.taken.lock().unwrap().contains_key("reroute").then_some(()));
    let again = || slow.begun.lock().unwrap().iter().filter(|to| *to == "bob@retry.example").count() == 2;
    wait_for("the other try", || again().then_some(()));
    let report = wait_for("the report", || site.fetch("ann@a.example", 1));
    assert!(report.contains("Final-Recipient: rfc822; bob@expire.example"), "{report}");
    assert!(
        begun.elapsed() < Duration::from_secs(40),
        "it did not wait for the next try: {:?}",
        begun.elapsed()
    );
    // After that it is put off as ever.
    wait_for("the end of the other try", || {
        let list = site.queue(&["list", "--json"]);
        (list.lines().count() == 1 && list.contains("\"attempts\":2")).then_some(())
    });
}
