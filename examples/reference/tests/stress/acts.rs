//! What a client does.

use super::*;

impl Client {
    pub(super) fn append(&mut self) -> Check {
        self.texts += 1;
        let subject = format!("Subject: {}-{}", self.index, self.texts);
        let text = text_of(&subject);
        let name = NAMES[self.below(NAMES.len())];
        let flags = self.of(&["", "\\Seen", "\\Flagged"]);
        let answer = self.ok(&format!("APPEND {name} ({flags}) {{{}+}}\r\n{text}", text.len()))?;
        let code = answer.last.code().ok_or("no APPENDUID")?;
        let words: Vec<&str> = code.split(' ').collect();
        let ["APPENDUID", validity, uid] = words[..] else { return Err("no APPENDUID".into()) };
        let (validity, uid) = (validity.parse().unwrap_or(0), uid.parse().unwrap_or(0));
        self.ledger.append(&(name.to_owned(), validity), uid, &subject)
    }

    pub(super) fn select(&mut self) -> Check {
        let name = NAMES[self.below(NAMES.len())];
        self.select_one(name)
    }

    fn select_one(&mut self, name: &str) -> Check {
        self.remember();
        self.view = None;
        let read_only = self.below(8) == 0;
        let verb = if read_only { "EXAMINE" } else { "SELECT" };
        let memory = self.memory.get(name).cloned().filter(|_| self.qresync);
        let parameters = memory
            .as_ref()
            .map_or(String::new(), |memory| format!(" (QRESYNC ({} {}))", memory.validity, memory.mod_seq));
        let answer = self.ok(&format!("{verb} {name}{parameters}"))?;
        let mut view = View::new(name, read_only);
        let (mut exists, mut vanished, mut fetched) = (0, BTreeSet::new(), Vec::new());
        for items in &answer.said {
            let words: Vec<&str> = items.iter().map(Item::word).collect();
            match words[..] {
                ["*", count, "EXISTS"] => exists = count.parse().unwrap_or(0),
                ["*", "OK", "[UIDVALIDITY", validity, ..] => {
                    view.validity = validity.trim_end_matches(']').parse().unwrap_or(0);
                }
                ["*", "OK", "[HIGHESTMODSEQ", mod_seq, ..] => {
                    view.mod_seq = mod_seq.trim_end_matches(']').parse().unwrap_or(0);
                }
                ["*", "VANISHED", _, set] => vanished.extend(numbers(set)),
                ["*", _, "FETCH", ..] => fetched.push(items.clone()),
                _ => {}
            }
        }
        let memory = memory.filter(|memory| memory.validity == view.validity);
        let Some(memory) = memory else {
            view.entries.resize_with(exists, Entry::default);
            self.view = Some(view);
            return Ok(());
        };
        // What was there, but for what has vanished, and with what is told of: that is all there is.
        let mut entries: BTreeMap<u64, Entry> = memory
            .entries
            .into_iter()
            .filter_map(|entry| Some((entry.uid.filter(|uid| !vanished.contains(uid))?, entry)))
            .collect();
        for items in &fetched {
            let list = items.get(3).map_or(&[][..], Item::list);
            let uid = list.iter().position(|item| item.word() == "UID").and_then(|at| list.get(at + 1));
            let uid = uid.and_then(Item::number).ok_or("no UID in the answer to QRESYNC")?;
            entries.entry(uid).or_insert_with(|| Entry { uid: Some(uid), ..Entry::default() });
        }
        if entries.len() != exists {
            return Err(format!(
                "after QRESYNC {} messages are known, and {exists} are there",
                entries.len()
            ));
        }
        view.entries = entries.into_values().collect();
        self.view = Some(view);
        for items in &fetched {
            let line = Response(b"* FETCH\r\n".to_vec());
            let Some(view) = &mut self.view else { continue };
            view.believe(&line, items, false, true)?;
        }
        self.keyword_is_right()
    }

    /// The keyword of this client stands where it was put, in all that is known.
    fn keyword_is_right(&self) -> Check {
        let Some(view) = &self.view else { return Ok(()) };
        let Some(mine) = self.mine.get(&view.mailbox()) else { return Ok(()) };
        for (uid, flags) in view.flags() {
            let has = flags.contains(&self.keyword);
            if mine.get(&uid).is_some_and(|known| *known != has) {
                return Err(format!("UID {uid}: {} is believed to be {has}", self.keyword));
            }
        }
        Ok(())
    }

    /// Some of the messages, by number or by UID: the words of the command, and which they are.
    fn some(&mut self) -> Option<(&'static str, String, Vec<Option<u64>>)> {
        let by_uid = self.below(2) == 0;
        let view = self.view.as_ref()?;
        let entries: Vec<Option<u64>> = view.entries.iter().map(|entry| entry.uid).collect();
        if entries.is_empty() {
            return None;
        }
        let first = self.below(entries.len());
        let last = (first + self.below(5)).min(entries.len() - 1);
        let uids = entries[first..=last].to_vec();
        if !by_uid {
            return Some(("", format!("{}:{}", first + 1, last + 1), uids));
        }
        let named: Vec<String> = uids.iter().flatten().map(u64::to_string).collect();
        (!named.is_empty()).then(|| ("UID ", named.join(","), uids))
    }

    pub(super) fn fetch(&mut self) -> Check {
        let Some((word, set, _)) = self.some() else { return self.learn() };
        let items = self.of(&[
            "(UID FLAGS)",
            "(UID FLAGS MODSEQ)",
            "(UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
            "(UID RFC822.SIZE BODY[])",
            "(UID ENVELOPE INTERNALDATE)",
            "(UID BODYSTRUCTURE)",
        ]);
        let answer = self.run(&format!("{word}FETCH {set} {items}"))?;
        self.no_only_if_gone(&answer)
    }

    fn no_only_if_gone(&self, answer: &Answer) -> Check {
        let gone = answer.last.code().is_some_and(|code| code == "EXPUNGEISSUED");
        let fine = answer.is("OK") || gone || !self.ours;
        if fine { Ok(()) } else { Err("refused".into()) }
    }

    /// All UIDs and flags.
    pub(super) fn learn(&mut self) -> Check {
        drop(self.ok("UID FETCH 1:* (FLAGS)")?);
        Ok(())
    }

    pub(super) fn store(&mut self) -> Check {
        let Some((word, set, uids)) = self.some() else { return Ok(()) };
        if self.view.as_ref().is_some_and(|view| view.read_only) {
            return Ok(());
        }
        let sets = self.below(2) == 0;
        let silent = if self.below(3) == 0 { ".SILENT" } else { "" };
        let other = self.of(&["", " \\Seen", " \\Flagged", " \\Deleted", " \\Deleted", " \\Answered"]);
        // Nothing is known of them until the server has answered.
        let mailbox = self.view.as_ref().ok_or("no mailbox")?.mailbox();
        let mine = self.mine.entry(mailbox.clone()).or_default();
        // One whose UID is not known may be any.
        let unknown = uids.contains(&None);
        mine.retain(|uid, _| !unknown && !uids.contains(&Some(*uid)));
        let (sign, keyword) = (if sets { "+" } else { "-" }, self.keyword.clone());
        let answer = self.run(&format!("{word}STORE {set} {sign}FLAGS{silent} ({keyword}{other})"))?;
        let mine = self.mine.entry(mailbox).or_default();
        if !answer.is("OK") {
            // Whatever was told before the refusal need not hold for all.
            mine.retain(|uid, _| !uids.contains(&Some(*uid)));
            return self.no_only_if_gone(&answer);
        }
        mine.extend(uids.iter().flatten().map(|uid| (*uid, sets)));
        if !silent.is_empty()
            && let Some(view) = &mut self.view
        {
            for entry in view.entries.iter_mut().filter(|entry| uids.contains(&entry.uid)) {
                // A client that does not want to hear what it did would have to work it out; this one asks again.
                entry.flags = None;
            }
        }
        Ok(())
    }

    pub(super) fn search(&mut self) -> Check {
        let Some(view) = &self.view else { return Ok(()) };
        let (mailbox, before) = (view.mailbox(), view.uids());
        let command = match self.below(4) {
            0 => "UID SORT (ARRIVAL) UTF-8 ALL".to_owned(),
            1 => "UID SEARCH RETURN (ALL) UNSEEN".to_owned(),
            _ => format!("UID SEARCH KEYWORD {}", self.keyword),
        };
        let answer = self.ok(&command)?;
        if !command.contains("KEYWORD") {
            return Ok(());
        }
        let found = answer.found();
        let mine = self.mine.get(&mailbox).cloned().unwrap_or_default();
        for uid in &found {
            if mine.get(uid) == Some(&false) {
                return Err(format!("UID {uid} was found, though it has no {}", self.keyword));
            }
        }
        self.simple("NOOP")?;
        // What is still there after all expunges were told was there when the search ran.
        let Some(view) = &self.view else { return Ok(()) };
        let there: BTreeSet<u64> = view.uids().into_iter().collect();
        for uid in before.iter().filter(|uid| there.contains(uid)) {
            if mine.get(uid) == Some(&true) && !found.contains(uid) {
                return Err(format!("UID {uid} was not found, though it has {}", self.keyword));
            }
        }
        Ok(())
    }

    /// The server's list of all messages and the client's are the same.
    pub(super) fn all_are_there(&mut self) -> Check {
        self.learn()?;
        let Some(view) = &self.view else { return Ok(()) };
        let before: BTreeSet<u64> = view.uids().into_iter().collect();
        let answer = self.ok("UID SEARCH ALL")?;
        let found = answer.found();
        self.simple("NOOP")?;
        self.learn()?;
        let Some(view) = &self.view else { return Ok(()) };
        let after: BTreeSet<u64> = view.uids().into_iter().collect();
        if let Some(uid) = before.intersection(&after).find(|uid| !found.contains(uid)) {
            return Err(format!("UID {uid} is there and was not found"));
        }
        Ok(())
    }

    pub(super) fn copy(&mut self) -> Check {
        let Some((word, set, uids)) = self.some() else { return Ok(()) };
        let Some(view) = &self.view else { return Ok(()) };
        let (mailbox, read_only) = (view.mailbox(), view.read_only);
        let to = NAMES[self.below(NAMES.len())];
        let verb = if self.below(2) == 0 && !read_only { "MOVE" } else { "COPY" };
        let answer = self.run(&format!("{word}{verb} {set} {to}"))?;
        if !answer.is("OK") {
            return self.no_only_if_gone(&answer);
        }
        let untagged = answer.said.iter().find_map(|items| {
            let at = items.iter().position(|item| item.word() == "[COPYUID")?;
            let words: Vec<&str> = items[at..].iter().map(|item| item.word().trim_end_matches(']')).collect();
            Some(words.join(" ").trim_start_matches('[').to_owned())
        });
        let code = answer.last.code().filter(|code| code.starts_with("COPYUID")).or(untagged);
        // Nothing was left of them.
        let Some(code) = code else { return Ok(()) };
        let words: Vec<&str> = code.split(' ').collect();
        let ["COPYUID", validity, source, target, ..] = words[..] else { return Err(code) };
        let (source, target) = (numbers(source), numbers(target));
        if source.len() != target.len() {
            return Err(format!("{code}: not as many copies as originals"));
        }
        let target_mailbox = (to.to_owned(), validity.parse().unwrap_or(0));
        for (from, copy) in source.iter().zip(&target) {
            if uids.iter().all(Option::is_some) && !uids.contains(&Some(*from)) {
                return Err(format!("{code}: UID {from} was not to be copied"));
            }
            // A copy has the keywords of its original.
            let had = self.mine.get(&mailbox).and_then(|mine| mine.get(from)).copied();
            if let Some(had) = had {
                self.mine.entry(target_mailbox.clone()).or_default().insert(*copy, had);
            }
        }
        Ok(())
    }

    pub(super) fn expunge(&mut self) -> Check {
        if self.view.as_ref().is_some_and(|view| view.read_only) {
            return Ok(());
        }
        match self.some() {
            Some(("UID ", set, _)) => self.simple(&format!("UID EXPUNGE {set}")),
            _ => self.simple("EXPUNGE"),
        }
    }

    pub(super) fn idle(&mut self) -> Check {
        let tag = self.send("IDLE")?;
        let answer = self.until(&tag, "IDLE")?;
        if !answer.last.0.starts_with(b"+ ") {
            return Err("IDLE was refused".into());
        }
        let end = Instant::now() + Duration::from_millis(self.below(60) as u64 + 1);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let wire = self.wire.as_mut().ok_or("no connection")?;
            if left.is_zero() || !wire.has_more(left).map_err(|error| error.to_string())? {
                break;
            }
            let response = self.next()?;
            self.believe(&response, true, false)?;
        }
        self.note(format!("{} C: DONE", self.index));
        let wire = self.wire.as_mut().ok_or("no connection")?;
        wire.send("DONE\r\n").map_err(|error| error.to_string())?;
        let answer = self.until(&tag, "IDLE")?;
        if answer.is("OK") { Ok(()) } else { Err("IDLE ended badly".into()) }
    }

    /// Several commands at once; their answers come one after the other.
    pub(super) fn pipeline(&mut self) -> Check {
        let commands = ["NOOP", "UID FETCH 1:* (FLAGS)", "STATUS Later (MESSAGES)", "UID SEARCH ALL"];
        let mut sent = Vec::new();
        for command in commands {
            sent.push((self.send(command)?, command));
        }
        while !sent.is_empty() {
            let response = self.next()?;
            if response.0.starts_with(b"* ") {
                self.believe(&response, true, false)?;
                continue;
            }
            let tag = response.text().split(' ').next().unwrap_or_default().to_owned();
            let before = sent.len();
            sent.retain(|(other, _)| *other != tag);
            if sent.len() == before || !response.text().starts_with(&format!("{tag} OK")) {
                return Err(response.text());
            }
            if let Some(view) = &mut self.view {
                view.ended(&response);
            }
        }
        Ok(())
    }

    pub(super) fn close(&mut self) -> Check {
        let command = self.of(&["CLOSE", "UNSELECT"]);
        drop(self.ok(command)?);
        self.remember();
        self.view = None;
        Ok(())
    }

    /// When all is over: what is there, for all to compare.
    pub(crate) fn settle(&mut self) -> Check {
        while self.wire.is_none() {
            self.connect()?;
        }
        for name in NAMES {
            self.select_one(name)?;
            self.learn()?;
            self.simple("NOOP")?;
            let view = self.view.as_ref().ok_or("no mailbox")?;
            if !view.is_complete() {
                return Err(format!("{name}: there are messages of which nothing is known"));
            }
            self.keyword_is_right()?;
            self.ledger.last(&view.mailbox(), &view.flags())?;
        }
        self.leave_off();
        Ok(())
    }
}
