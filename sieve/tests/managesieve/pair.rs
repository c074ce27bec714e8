//! Client and server back to back: what is stored is what comes back.

use std::sync::Arc;

use mailwright_line_proto::{Authenticate, Closed, Secret, testing::Pair};
use mailwright_sieve::managesieve::{
    Client, GetScript, ListScripts, Logout, PutScript, ScriptName, SetActive, client::Event,
};
use proptest::prelude::*;

use crate::subjects::{Vault, client_config, server_config};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn scripts_come_back_as_they_were(
        scripts in prop::collection::btree_map("[a-c\" \\\\é]{1,4}", "[ -~\r\n]{1,40}", 1..5),
        split in 1_usize..60,
    ) {
        let mut vault = Vault::new(server_config());
        let (server, client) = (vault.server(), Client::new(Arc::new(client_config())));
        let mut pair = Pair::new(server, client, split);
        let scripts: Vec<(ScriptName, String)> =
            scripts.into_iter().map(|(name, script)| (name.parse().unwrap(), script)).collect();
        let (mut found, mut body, mut listed, mut closed) = (Vec::new(), Vec::new(), Vec::new(), None);
        let (mut next_put, mut next_get) = (0, 0);
        pair.run(
            |server, event| vault.serve(server, event),
            |client, event| {
                match event {
                    Event::Greeting => {
                        let response = Secret::from("\0test\0test");
                        client.call(Authenticate::new("PLAIN".to_owned(), Some(response))).unwrap();
                        return;
                    }
                    Event::Authenticate(_, answer) => drop(answer.unwrap()),
                    Event::PutScript(_, answer) => drop(answer.unwrap()),
                    Event::GetScript(_, answer) => drop(answer.unwrap()),
                    Event::SetActive(_, answer) => answer.unwrap(),
                    Event::Body(chunk) => body.extend_from_slice(&chunk),
                    Event::BodyEnd => found.push(String::from_utf8(std::mem::take(&mut body)).unwrap()),
                    Event::ListScripts(_, answer) => {
                        listed = answer.unwrap();
                        client.call(Logout).unwrap();
                        return;
                    }
                    Event::Logout(_, answer) => answer.unwrap(),
                    Event::Closed(why) => closed = Some(why),
                    other => panic!("{other:?}"),
                }
                if closed.is_some() {
                    return;
                }
                // One call at a time.
                if let Some((name, script)) = scripts.get(next_put) {
                    if next_put == 0 || found.is_empty() {
                        let size = script.len() as u32;
                        if client.call(PutScript { name: name.clone(), size }).is_ok() {
                            client.send_body(script.clone().into()).unwrap();
                            client.end_body().unwrap();
                            next_put += 1;
                        }
                    }
                } else if next_get == 0 && next_put == scripts.len() {
                    next_put += 1;
                    client.call(SetActive(Some(scripts[0].0.clone()))).unwrap();
                    for (name, _) in &scripts {
                        client.call(GetScript { name: name.clone() }).unwrap();
                        next_get += 1;
                    }
                    client.call(ListScripts).unwrap();
                }
            },
        );
        prop_assert_eq!(found, scripts.iter().map(|(_, script)| script.clone()).collect::<Vec<_>>());
        prop_assert_eq!(listed.iter().filter(|listed| listed.active).count(), 1);
        prop_assert_eq!(listed.len(), scripts.len());
        prop_assert_eq!(closed, Some(Closed::Farewell));
    }
}
