//! HTTP for administrators, asked by curl.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{PASSWORD, Server, USER, have, run, succeed, wait_for};
use serde_json::{Value, json};

/// A server with HTTP at a loopback address, in TLS and at a socket, and mail for nowhere that waits.
fn start(extra: &str) -> Server {
    let mut server = Server::prepare("allow_plaintext_auth = true");
    let config = server.folder.path().join("mailwright.toml");
    let socket = server.folder.path().join("http.sock").display().to_string();
    let text = fs::read_to_string(&config).unwrap()
        + &format!("[http]\nlisten = [\"unix:{socket}\", \"127.0.0.1:0\", \"0.0.0.0:0\"]\n")
        + "[relay.transport]\n\"later.example\" = \"[127.0.0.1]:1\"\n\"never.example\" = \"[127.0.0.1]:1\"\n"
        + extra;
    fs::write(&config, text).unwrap();
    server.add_user(USER, PASSWORD);
    server.serve();
    server
}

fn token(server: &Server, arguments: &[&str]) -> String {
    let all = [&["http", "token", "add"], arguments].concat();
    String::from_utf8(succeed(&mut server.command(&all))).unwrap().trim().to_owned()
}

/// Who asks.
struct Client {
    base: String,
    token: String,
}

/// What came back: the status, the fields and the body.
#[derive(Debug)]
struct Answer {
    status: u16,
    fields: String,
    body: Value,
}

impl Client {
    fn new(server: &Server, arguments: &[&str]) -> Self {
        let base = format!("http://127.0.0.1:{}", server.port("http", "none"));
        Self { base, token: token(server, arguments) }
    }

    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string());
        let mut arguments = vec!["-X", method];
        if let Some(body) = &body {
            arguments.extend(["-H", "Content-Type: application/json", "--data-binary", body]);
        }
        self.curl(path, &arguments)
    }

    fn curl(&self, path: &str, arguments: &[&str]) -> Answer {
        let field = format!("Authorization: Bearer {}", self.token);
        let mut command = Command::new("curl");
        command.args(["-sS", "-i", "--max-time", "60"]).args(arguments);
        if !self.token.is_empty() {
            command.args(["-H", &field]);
        }
        let output = succeed(command.arg(format!("{}{path}", self.base)));
        answer(&String::from_utf8(output).unwrap())
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, None);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    /// Does something that must work.
    fn act(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = self.ask(method, path, body);
        assert!(matches!(answer.status, 200 | 204), "{method} {path}: {answer:?}");
        answer.body
    }
}

fn answer(text: &str) -> Answer {
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(text);
    let (fields, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let status = fields.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() };
    let fields = fields.to_lowercase();
    assert!(fields.contains("cache-control: no-store"), "{fields}");
    if status >= 400 {
        assert!(fields.contains("content-type: application/problem+json"), "{fields}");
        assert_eq!((&body["status"], &body["type"]), (&json!(status), &json!("about:blank")), "{body}");
        assert!(!body["detail"].as_str().unwrap().is_empty(), "{body}");
    }
    Answer { status, fields, body }
}

/// Sends a message that waits; gives its id.
fn submit(server: &Server, to: &str, subject: &str) -> String {
    let mut talk = server.talk(server.port("submission", "starttls"));
    talk.reply();
    talk.smtp("EHLO laptop.example");
    let login = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
    assert!(talk.smtp(&format!("AUTH PLAIN {login}")).starts_with("235"));
    assert!(talk.smtp(&format!("MAIL FROM:<{USER}>")).starts_with("250"));
    assert!(talk.smtp(&format!("RCPT TO:<{to}>")).starts_with("250"), "{to}");
    talk.smtp("DATA");
    talk.send(format!("Subject: {subject}\r\nMessage-ID: <{subject}@laptop.example>\r\n\r\nits text\r\n"));
    let reply = talk.smtp(".");
    reply.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("{reply}")).to_owned()
}

fn entries(client: &Client, path: &str) -> Vec<Value> {
    client.get(path)["entries"].as_array().unwrap().clone()
}

#[test]
fn every_action_on_the_queue() {
    if !have("curl") {
        return;
    }
    let server = start("");
    let client = Client::new(&server, &["all"]);
    let (first, second) =
        (submit(&server, "a@later.example", "one"), submit(&server, "b@never.example", "two"));
    wait_for("both to be tried", || {
        let tried = entries(&client, "/v1/queue").iter().filter(|entry| entry["attempts"] == 1).count();
        (tried == 2).then_some(())
    });
    // What there is: as the command line has it.
    let printed = succeed(&mut server.command(&["queue", "list", "--json"]));
    let printed: Vec<Value> =
        String::from_utf8(printed).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries(&client, "/v1/queue"), printed);
    for key in ["id", "size", "arrival", "sender", "recipients", "last_error", "next_try"] {
        assert!(!printed[0][key].is_null(), "{key}: {printed:?}");
    }
    for (query, ids) in [
        (format!("id={first}"), vec![&first]),
        (format!("id={first}&id={second}"), vec![&first, &second]),
        ("to=@never.example".into(), vec![&second]),
        (format!("from={USER}"), vec![&first, &second]),
        ("from=nobody@a.example".into(), vec![]),
    ] {
        let found = entries(&client, &format!("/v1/queue?{query}"));
        assert_eq!(found.iter().map(|entry| &entry["id"]).collect::<Vec<_>>(), ids, "{query}");
    }
    // One of them, and its text.
    let shown = client.get(&format!("/v1/queue/{first}"));
    assert_eq!(shown["entries"][0]["id"], json!(first));
    assert!(shown["message"].as_str().unwrap().contains("\r\n\r\nits text\r\n"), "{shown}");
    let one = |what: &str| format!("/v1/queue/{first}/{what}");
    let now = |id: &str| entries(&client, &format!("/v1/queue?id={id}"))[0].clone();
    // Held, and nothing tries it; released and tried again.
    assert_eq!(client.act("POST", &one("hold?dry_run=true"), None)["count"], 1);
    assert_eq!(now(&first)["held"], false);
    assert_eq!(client.act("POST", &one("hold"), None)["count"], 1);
    assert_eq!((&now(&first)["held"], &now(&second)["held"]), (&json!(true), &json!(false)));
    client.act("POST", &one("release"), None);
    assert_eq!(now(&first)["held"], false);
    client.act("POST", &one("retry"), None);
    wait_for("it to be tried again", || (now(&first)["attempts"] == 2).then_some(()));
    client.act("POST", "/v1/queue/retry?all=true", None);
    wait_for("all to be tried again", || {
        entries(&client, "/v1/queue").iter().all(|entry| entry["attempts"].as_u64() > Some(1)).then_some(())
    });
    // Another end, another way.
    client.act("POST", &one("expire"), Some(json!({ "after": "1d" })));
    assert!(now(&first)["expires"].as_u64() > now(&first)["arrival"].as_u64());
    client.act("POST", &one("expire"), Some(json!({ "after": "0" })));
    assert!(now(&first)["expires"].is_null());
    client.act("POST", "/v1/queue/reroute?to=@later.example", Some(json!({ "via": "[127.0.0.2]:2" })));
    assert_eq!(now(&first)["route"], "[127.0.0.2]:2");
    assert!(now(&second)["route"].is_null());
    client.act("POST", &one("reroute"), Some(json!({ "via": "none" })));
    assert!(now(&first)["route"].is_null());
    // What is wrong changes nothing.
    for (method, path, body, status, word) in [
        ("DELETE", "/v1/queue".to_owned(), None, 400, "which ones"),
        ("POST", "/v1/queue/hold".into(), None, 400, "which ones"),
        ("DELETE", format!("/v1/queue/{first}?dry-run=true"), None, 400, "dry-run means nothing"),
        ("DELETE", "/v1/queue?all=yes".into(), None, 400, "true or false"),
        ("DELETE", format!("/v1/queue?all=true&id={first}"), None, 400, "all is not for"),
        ("POST", one("reroute"), Some(json!({ "via": "[x" })), 400, "via [x"),
        ("POST", one("reroute"), None, 400, "missing field `via`"),
        ("POST", one("expire"), Some(json!({ "after": "1d", "at": 1 })), 400, "unknown field `at`"),
        ("POST", one("hold"), Some(json!({ "dry_run": true })), 400, "means nothing here"),
        ("GET", "/v1/queue/0000".into(), None, 404, "nothing in the queue has the id 0000"),
        ("DELETE", "/v1/queue/0000".into(), None, 404, "nothing there"),
        ("GET", "/v1/queue/%ff".into(), None, 400, "the path is not UTF-8"),
        ("PUT", "/v1/pseudonyms/x%40y".into(), Some(json!({ "targets": [USER] })), 422, "is no local part"),
    ] {
        let answer = client.ask(method, &path, body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(answer.body["detail"].as_str().unwrap().contains(word), "{answer:?}");
    }
    assert_eq!(entries(&client, "/v1/queue").len(), 2);
    // Deleted: one, and all.
    assert_eq!(client.act("DELETE", &format!("/v1/queue/{first}?dry_run=true"), None)["count"], 1);
    assert_eq!(entries(&client, "/v1/queue").len(), 2);
    client.act("DELETE", &format!("/v1/queue/{first}"), None);
    assert_eq!(entries(&client, "/v1/queue").len(), 1);
    assert_eq!(client.act("DELETE", "/v1/queue?all=true", None)["entries"][0]["id"], json!(second));
    assert_eq!(entries(&client, "/v1/queue").len(), 0);
    // What became of it.
    let life = client.get("/v1/trace?message=one@laptop.example");
    assert!(life["records"].as_array().unwrap().iter().any(|record| record["id"] == json!(first)), "{life}");
    assert_eq!(client.ask("GET", "/v1/trace?message=no@such.example", None).status, 404);
    assert_eq!(client.get("/v1/suppressed"), json!({ "addresses": [] }));
    assert_eq!(client.ask("DELETE", "/v1/suppressed/a@b.example", None).status, 404);
}

#[test]
fn the_directory_and_accounts() {
    if !have("curl") {
        return;
    }
    let server = start("");
    let client = Client::new(&server, &["all"]);
    let done = |method: &str, path: &str, body: Value| {
        let answer = client.ask(method, path, (!body.is_null()).then_some(body));
        assert_eq!(answer.status, 204, "{method} {path}: {answer:?}");
    };
    // Domains.
    done("POST", "/v1/domains", json!({ "name": "new.example", "postmaster": USER }));
    assert_eq!(client.get("/v1/domains/New.example"), json!({ "postmaster": USER }));
    done("PATCH", "/v1/domains/new.example", json!({ "postmaster": "none", "relay": true }));
    assert_eq!(client.get("/v1/domains/new.example"), json!({ "relay": true }));
    done("PUT", "/v1/domain-aliases/old.example", json!({ "domain": "example.org" }));
    let domains = client.get("/v1/domains");
    assert_eq!(domains["domain-alias"], json!({ "old.example": "example.org" }));
    assert_eq!(client.ask("DELETE", "/v1/domain-aliases/new.example", None).status, 404);
    assert_eq!(client.get("/v1/domains/new.example"), json!({ "relay": true }));
    done("DELETE", "/v1/domain-aliases/old.example", Value::Null);
    done("DELETE", "/v1/domains/new.example", Value::Null);
    // Users: no password comes back, and neither does what was made of it.
    done("POST", "/v1/users", json!({ "name": "carol@example.org", "password": "Tulip-7-meadow" }));
    done("PATCH", "/v1/users/carol@example.org", json!({ "forward": [USER], "keep": true }));
    let carol = client.get("/v1/users/carol%40example.org");
    assert_eq!((&carol["forward"], &carol["mailbox"]), (&json!([USER]), &json!(true)), "{carol}");
    done("PUT", "/v1/users/carol@example.org/password", json!({ "password": "Daisy-8-meadow" }));
    let mut talk = server.talk(server.port("imap", "starttls"));
    talk.line();
    assert!(talk.imap("a", "LOGIN carol@example.org Tulip-7-meadow")[0].starts_with("a NO"));
    assert!(talk.imap("b", "LOGIN carol@example.org Daisy-8-meadow").last().unwrap().starts_with("b OK"));
    let everything = format!("{}{}", client.get("/v1/users"), client.get("/v1/directory"));
    for secret in ["meadow", "$argon2", "stored_key", "salt"] {
        assert!(!everything.contains(secret), "{everything}");
    }
    let quota =
        client.act("PATCH", "/v1/users/carol@example.org/quota", Some(json!({ "storage": 1_000_000 })));
    assert_eq!(quota["users"][0]["storage_limit"], 1_000_000);
    let quota = client.act("DELETE", "/v1/users/carol@example.org/quota", None);
    assert!(quota["users"][0]["storage_limit"].is_null(), "{quota}");
    let expiry = client.act("PATCH", "/v1/users/carol@example.org/expiry", Some(json!({ "trash": "3d" })));
    assert_eq!((&expiry["trash"], &expiry["own"]), (&json!("3d"), &json!(true)));
    client.act("DELETE", "/v1/users/carol@example.org/expiry", None);
    assert_eq!(client.get("/v1/users/carol@example.org/expiry")["own"], false);
    let usage = client.get("/v1/usage");
    assert!(usage["users"].as_array().unwrap().iter().any(|user| user["name"] == "carol@example.org"));
    // Aliases, groups, networks.
    done("POST", "/v1/aliases", json!({ "address": "info@example.org", "targets": ["carol@example.org"] }));
    done("PUT", "/v1/aliases/info@example.org", json!({ "targets": [USER] }));
    assert_eq!(client.get("/v1/aliases/info@example.org"), json!({ "targets": [USER] }));
    done("PUT", "/v1/pseudonyms/abuse", json!({ "targets": [USER] }));
    assert_eq!(client.get("/v1/aliases")["pseudonym"]["abuse"], json!({ "targets": [USER] }));
    done("POST", "/v1/groups", json!({ "address": "team@example.org", "members": [USER] }));
    done("PATCH", "/v1/groups/team@example.org", json!({ "add": ["carol@example.org"], "remove": [USER] }));
    assert_eq!(client.get("/v1/groups/team@example.org")["members"], json!(["carol@example.org"]));
    done("POST", "/v1/networks", json!({ "name": "Office", "members": ["192.0.2.0/28"], "relay": true }));
    done("PATCH", "/v1/networks/Office", json!({ "add": ["198.51.100.1"] }));
    assert_eq!(client.get("/v1/networks/Office")["members"].as_array().unwrap().len(), 2);
    assert_eq!(client.get("/v1/addresses/info@example.org")["mailboxes"], json!([USER]));
    let stages = client.get("/v1/explain?client=192.0.2.1&from=a@b.example&to=team@example.org");
    let stage = json!({ "stage": "delivery", "rule": "mailbox", "outcome": "carol@example.org" });
    assert!(stages["stages"].as_array().unwrap().contains(&stage), "{stages}");
    // The whole of it, there and back; what is printed is what HTTP has.
    let whole = client.get("/v1/directory");
    let printed = succeed(&mut server.command(&["directory", "export", "--json"]));
    assert_eq!(whole, serde_json::from_slice::<Value>(&printed).unwrap());
    for name in ["/v1/aliases/info@example.org", "/v1/groups/team@example.org", "/v1/networks/Office"] {
        done("DELETE", name, Value::Null);
        assert_eq!(client.ask("DELETE", name, None).status, 404, "{name}");
        assert_eq!(client.ask("GET", name, None).status, 404, "{name}");
    }
    done("DELETE", "/v1/pseudonyms/abuse", Value::Null);
    assert_ne!(client.get("/v1/directory"), whole);
    assert!(client.act("POST", "/v1/directory?only=true", Some(whole.clone()))["entries"].as_u64() > Some(0));
    assert_eq!(client.get("/v1/directory"), whole);
    // Gone, back, and gone for good.
    done("DELETE", "/v1/users/carol@example.org", Value::Null);
    assert_eq!(client.get("/v1/removed-users")["accounts"].as_array().unwrap().len(), 1);
    done("POST", "/v1/removed-users/carol@example.org/restore", Value::Null);
    done("DELETE", "/v1/users/carol@example.org", Value::Null);
    done("DELETE", "/v1/removed-users/carol@example.org", Value::Null);
    assert_eq!(client.get("/v1/health"), json!({ "failure": null, "damage": [] }));
    assert_eq!(client.get("/v1/bans"), json!({ "bans": [] }));
    // In the words of the command line.
    for (method, path, body, status, command) in [
        ("DELETE", "/v1/users/eve@example.org", Value::Null, 404, vec!["user", "remove", "eve@example.org"]),
        ("DELETE", "/v1/domains/gone.example", Value::Null, 404, vec!["domain", "remove", "gone.example"]),
        ("PATCH", "/v1/domains/gone.example", json!({}), 404, vec!["domain", "set", "gone.example"]),
        ("POST", "/v1/domains", json!({ "name": "example.org" }), 409, vec!["domain", "add", "example.org"]),
        ("POST", "/v1/domains", json!({ "name": "a b" }), 422, vec!["domain", "add", "a b"]),
        (
            "POST",
            "/v1/groups",
            json!({ "address": USER, "members": [] }),
            409,
            vec!["group", "add", USER, "x@example.org"],
        ),
    ] {
        let answer = client.ask(method, path, (!body.is_null()).then_some(body));
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        let output = run(&mut server.command(&command));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            said,
            format!("mailwrightd: {}\n", answer.body["detail"].as_str().unwrap()),
            "{command:?}"
        );
    }
}

#[test]
fn nobody_comes_in_without_a_token() {
    if !have("curl") {
        return;
    }
    let server = start("");
    let mut client = Client::new(&server, &["monitoring", "--read-only"]);
    let shown = succeed(&mut server.command(&["http", "token", "list", "--json"]));
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("monitoring") && !shown.contains(&client.token), "{shown}");
    // Neither the database nor the log has it.
    assert!(!server.log().contains(&client.token));
    let grep =
        ["-raF", &client.token, &server.folder.path().join("data").display().to_string()].map(String::from);
    assert_eq!(run(Command::new("grep").args(grep)).status.code(), Some(1));
    // It reads and changes nothing.
    assert_eq!(client.ask("GET", "/v1/queue", None).status, 200);
    assert_eq!(client.curl("/v1/queue", &["--head"]).status, 200);
    for (method, path) in [("POST", "/v1/reload"), ("DELETE", "/v1/queue?all=true"), ("POST", "/v1/users")] {
        let answer = client.ask(method, path, None);
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.fields.contains("error=\"insufficient_scope\""), "{answer:?}");
    }
    // A password is no token, and neither is a wrong one, or none.
    let right = client.token.clone();
    for (token, error) in
        [(format!("{right}x"), true), (String::from("mailwright_"), true), (String::new(), false)]
    {
        client.token = token;
        for path in ["/v1/queue", "/v1/nothing", "/"] {
            let answer = client.ask("GET", path, None);
            assert_eq!(answer.status, 401, "{answer:?}");
            assert!(answer.fields.contains("www-authenticate: bearer realm="), "{answer:?}");
            assert_eq!(answer.fields.contains("error=\"invalid_token\""), error, "{answer:?}");
        }
    }
    let basic = client.curl("/v1/queue", &["-u", &format!("{USER}:{PASSWORD}")]);
    assert_eq!(basic.status, 401);
    // In TLS by the server's certificate, and at the socket.
    client.token = right;
    client.base = format!("https://localhost:{}", server.port("http", "implicit"));
    let certificate = server.certificate().display().to_string();
    assert_eq!(client.curl("/v1/health", &["-4", "--cacert", &certificate]).status, 200);
    let plain = run(Command::new("curl").args(["-sS", &client.base.replace("https", "http")]));
    assert!(!plain.status.success(), "{plain:?}");
    client.base = "http://localhost".into();
    let socket = server.folder.path().join("http.sock").display().to_string();
    assert_eq!(client.curl("/v1/health", &["--unix-socket", &socket]).status, 200);
    // Taken back, it opens nothing, from one moment to the next.
    succeed(&mut server.command(&["http", "token", "remove", "monitoring"]));
    assert_eq!(client.curl("/v1/health", &["--unix-socket", &socket]).status, 401);
    let gone = run(&mut server.command(&["http", "token", "remove", "monitoring"]));
    assert!(String::from_utf8(gone.stderr).unwrap().contains("no token monitoring"));
}

#[test]
fn guessing_costs_time_and_then_a_ban() {
    if !have("curl") {
        return;
    }
    let server = start("[auth]\nexempt = []\nfailures_per_address = 3\npenalty_milliseconds = 200\n");
    let mut client = Client::new(&server, &["all"]);
    let right = std::mem::replace(&mut client.token, "mailwright_guess".into());
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(client.ask("GET", "/v1/queue", None).status, 401);
    }
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
    assert_eq!(client.ask("GET", "/v1/queue", None).status, 429);
    // Who has a token is heard all the same, and may end it.
    client.token = right;
    assert_eq!(client.ask("DELETE", "/v1/bans/127.0.0.1", None).status, 204);
    assert_eq!(client.ask("DELETE", "/v1/bans/nobody@example.org", None).status, 404);
    client.token = "mailwright_guess".into();
    assert_eq!(client.ask("GET", "/v1/queue", None).status, 401);
}

#[test]
fn requests_that_are_wrong() {
    if !have("curl") {
        return;
    }
    let server = start("");
    let client = Client::new(&server, &["all"]);
    for path in ["/", "/v1", "/v1/", "/v1/queues", "/v1/queue/", "/v1/queue/A/B/C", "/v1/../etc/passwd"] {
        let answer = client.curl(path, &["--path-as-is"]);
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    for (method, path, allow) in
        [("PUT", "/v1/queue", "delete"), ("OPTIONS", "/v1/users", "post"), ("GET", "/v1/queue/retry", "post")]
    {
        let answer = client.ask(method, path, None);
        assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
        let allowed = answer.fields.lines().find(|line| line.starts_with("allow: ")).unwrap();
        assert!(allowed.contains(allow), "{allowed}");
    }
    let json = "Content-Type: application/json";
    for (body, kind, status, word) in [
        ("{\"name\": \"x.example\"", json, 400, "no JSON"),
        ("[]", json, 400, "no JSON object"),
        ("{}", json, 400, "missing field `name`"),
        ("{\"name\": 7}", json, 400, "name is no string"),
        ("{\"name\": \"x.example\", \"relais\": true}", json, 400, "unknown field `relais`"),
        ("{\"name\": \"x.example\"}", "Content-Type: text/plain", 415, "application/json"),
        ("name=x.example", "Content-Type: application/x-www-form-urlencoded", 415, "application/json"),
    ] {
        let answer = client.curl("/v1/domains", &["-H", kind, "--data-binary", body]);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.body["detail"].as_str().unwrap().contains(word), "{answer:?}");
    }
    assert!(client.get("/v1/domains")["domain"].get("x.example").is_none());
    // Too much, announced or not.
    let large = server.folder.path().join("large");
    fs::write(&large, vec![b' '; 2 << 20]).unwrap();
    let large = format!("@{}", large.display());
    for chunked in ["X-Nothing: x", "Transfer-Encoding: chunked"] {
        let answer = client.curl("/v1/domains", &["-H", json, "-H", chunked, "--data-binary", &large]);
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    // Too many fields.
    let mut stream = TcpStream::connect(("127.0.0.1", server.port("http", "none"))).unwrap();
    let many = "X-Field: x\r\n".repeat(100);
    stream.write_all(format!("GET /v1/queue HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
}

#[test]
fn slow_clients_are_let_go_and_others_served() {
    if !have("curl") {
        return;
    }
    let mut server = start("");
    let client = Client::new(&server, &["all"]);
    let port = server.port("http", "none");
    let begun = Instant::now();
    // Each in the middle of its fields.
    let mut slow: Vec<TcpStream> = (0..12)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            stream.write_all(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(client.ask("GET", "/v1/health", None).status, 200);
    // One that had its answer and asks nothing more.
    let mut idle = TcpStream::connect(("127.0.0.1", port)).unwrap();
    idle.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request =
        format!("GET /v1/health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", client.token);
    idle.write_all(request.as_bytes()).unwrap();
    slow.push(idle);
    for stream in &mut slow {
        let mut said = Vec::new();
        // Closed, with or without a word.
        let _ = stream.read_to_end(&mut said);
        let elapsed = begun.elapsed();
        assert!(elapsed > Duration::from_secs(8) && elapsed < Duration::from_secs(40), "{elapsed:?}");
    }
    assert_eq!(client.ask("GET", "/v1/health", None).status, 200);
    // A connection that is open keeps no server from stopping.
    let _open = TcpStream::connect(("127.0.0.1", port)).unwrap();
    server.stop();
}
