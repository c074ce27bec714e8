//! Searching, sorting, and what comes of it.

use super::*;

impl App {
    /// What is searched for.
    pub(super) fn searching(&mut self, server: &mut Server, event: Event) -> Result<(), Gone> {
        match event {
            Event::ApplyFilter(ask) if matches!(ask.script, FilterScript::Personal(_)) => {
                server.filter_problem(&ask, FilterResult::Errors("line 1: what is that?".into()));
                server.answer(ask, Err(Refusal::plain("no such script")))
            }
            Event::ApplyFilter(ask) => {
                if let FilterScript::Global(name) = &ask.script {
                    server.filter_problem(&ask, FilterResult::Warnings(format!("{name} is old")));
                }
                let failed = FilterResult::Errors("line 1: what is that?".into());
                let results = [Some(FilterResult::Done), None, Some(failed)];
                for (uid, result) in self.find(&ask.query).iter().zip(results.into_iter().cycle()) {
                    server.filtered(&ask, uid, result);
                }
                server.answer(ask, Ok(()))
            }
            Event::Find(ask) if ask.query == Query::from(Key::Larger(99)) => {
                server.progress(&ask, Some(2), Some(4));
                server.progress(&ask, Some(4), Some(4));
                server.progress(&ask, None, None);
                server.answer(ask, Ok(UidSet::new().into()))
            }
            Event::Find(ask) => {
                let found = self.find(&ask.query);
                let told = ask.mod_seq.of(&found);
                let messages = self.open().messages.iter().filter(|message| told.contains(message.uid));
                let mod_seq = messages.map(|message| message.mod_seq).max().and_then(ModSeq::new);
                let scores = self.scores(&ask.query, ask.scores);
                server.answer(ask, Ok(Found::new(found).with_mod_seq(mod_seq).with_scores(scores)))
            }
            Event::MultiSearch(ask) => {
                let mut all = Vec::new();
                for (name, folder) in &self.folders {
                    let selected = self.selected.as_deref() == Some(name) && ask.names_selected();
                    let named = ask.sources.iter().any(|source| match source {
                        NotifyMailboxes::Personal => true,
                        NotifyMailboxes::Subtree(names) => {
                            names.iter().any(|above| name.starts_with(above.as_str()))
                        }
                        NotifyMailboxes::Mailboxes(names) => names.iter().any(|one| one.as_str() == name),
                        _ => false,
                    });
                    if let (true, Some(query)) = (selected || named, ask.query_in(&folder.uids())) {
                        let messages =
                            folder.messages.iter().filter(|message| matches_query(message, &query));
                        let uids: UidSet = messages.map(|message| message.uid).collect();
                        let told = ask.mod_seq().of(&uids);
                        let of_told = folder.messages.iter().filter(|message| told.contains(message.uid));
                        let mod_seq = of_told.map(|message| message.mod_seq).max().and_then(ModSeq::new);
                        let found = Found::new(uids).with_mod_seq(mod_seq);
                        let mut found = FoundIn::new(MailboxName::new(name).unwrap(), validity(), found);
                        found.selected = selected;
                        all.push(found);
                    }
                }
                server.answer(ask, Ok(all))
            }
            Event::Order(ask) => {
                let sorted = self.order(&ask);
                let told = ask.mod_seq.of_sorted(&sorted);
                let messages = self.open().messages.iter().filter(|message| told.contains(message.uid));
                let mod_seq = messages.map(|message| message.mod_seq).max().and_then(ModSeq::new);
                let scores = self.scores(&ask.query, ask.scores);
                let of = |uid: &Uid| scores.iter().find(|(scored, _)| scored == uid).map(|(_, score)| *score);
                let scores = sorted.iter().filter_map(of).collect();
                server.answer(ask, Ok(Ordered::new(sorted).with_mod_seq(mod_seq).with_scores(scores)))
            }
            Event::Gather(ask) => {
                let found = self.find(&ask.query).intersection(&ask.among);
                let mut threader = Threader::new(ask.algorithm);
                for message in self.open().messages.iter().filter(|message| found.contains(message.uid)) {
                    threader.add(message.uid, message.date, &message.octets);
                }
                server.answer(ask, Ok(threader.finish()))
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn find(&mut self, query: &Query) -> UidSet {
        let folder = self.open();
        folder
            .messages
            .iter()
            .filter(|message| matches_query(message, query))
            .map(|message| message.uid)
            .collect()
    }

    pub(super) fn scores(&mut self, query: &Query, wanted: bool) -> Vec<(Uid, u8)> {
        let messages = self.open().messages.iter().filter(|_| wanted);
        messages.filter_map(|message| Some((message.uid, score(message, query)?))).collect()
    }

    pub(super) fn order(&mut self, order: &Order) -> Vec<Uid> {
        let found = self.find(&order.query);
        let mut sorter = Sorter::new(order.criteria.clone());
        for message in self.open().messages.iter().filter(|message| found.contains(message.uid)) {
            let envelope = Envelope::of(&message.octets);
            let size = message.octets.len() as u64;
            let score = score(message, &order.query).unwrap_or(100);
            let noted: Vec<_> =
                order.annotations.iter().map(|(entry, scope)| message.noted(entry, *scope)).collect();
            sorter.add_annotated(message.uid, message.date, size, Some(&envelope), score, &noted);
        }
        sorter.finish()
    }

    /// Searches again for what the client watches.
    pub(super) fn watch(&mut self, server: &mut Server) {
        let watched: Vec<(String, Question)> =
            server.watched().map(|watched| (watched.tag.to_owned(), watched.question.clone())).collect();
        for (tag, question) in watched {
            let found = match question {
                Question::Find(find) => self.find(&find.query).iter().collect(),
                Question::Order(order) => self.order(&order),
                other => panic!("{other:?}"),
            };
            server.found(&tag, found);
        }
    }
}
