//! SORT and THREAD, from the header fields that are kept; and searches that are kept up to date.

use std::sync::Arc;

use bytes::Bytes;
use mailwright_imap_proto::{
    Answered, Refusal,
    server::{Find, Gather, Order, Ordered, Question, Server},
};
use mailwright_line_proto::Deflate;
use mailwright_mail_model::{
    Envelope, Uid, UidSet,
    header::Fields,
    sort::{SortKey, Sorter},
    thread::{self, Threader, Threads},
};
use mailwright_mailstore::{Message, MessageRef, Store, accounts::Accounts};

use super::{Visit, ahead::Ahead, refusal, selected::Selected};
use crate::service::Session;

/// How many headers are had at a time.
const BATCH: usize = 256;

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    pub(super) async fn order(&self, order: &Order) -> Answered<Ordered> {
        let selected = self.selected.as_ref().ok_or_else(Refusal::no_permission)?;
        let by_score = order.criteria.iter().any(|criterion| criterion.key == SortKey::Relevancy);
        let (found, scores) = self.scored(selected, &order.query, by_score || order.scores).await?;
        let score = |uid: Uid| {
            let at = scores.binary_search_by_key(&uid, |(uid, _)| *uid).ok();
            at.and_then(|at| scores.get(at)).map_or(100, |(_, score)| *score)
        };
        let mut sorter = Sorter::new(order.criteria.clone());
        let noted = self.sorted_by(selected, &found, &order.annotations).await?;
        let noted = |uid: Uid| noted.get(&uid).map_or(&[][..], Vec::as_slice);
        if sorter.needs_envelope() {
            let mut fields: Vec<&str> =
                order.criteria.iter().filter_map(|criterion| field(criterion.key)).collect();
            fields.sort_unstable();
            fields.dedup();
            self.with_headers(selected, &found, &fields, |message, header| {
                let envelope = Envelope::of(&chosen(header, &fields));
                let score = score(message.uid);
                let (date, size) = (message.internal_date, message.size);
                sorter.add_annotated(message.uid, date, size, Some(&envelope), score, noted(message.uid));
            })
            .await?;
        } else {
            for message in selected.snapshot.among(&found) {
                let score = score(message.uid);
                let (date, size) = (message.internal_date, message.size);
                sorter.add_annotated(message.uid, date, size, None, score, noted(message.uid));
            }
        }
        let sorted = sorter.finish();
        let told = order.mod_seq.of_sorted(&sorted);
        let mod_seq = selected.snapshot.among(&told).map(|message| message.modseq).max();
        let scores = if order.scores { sorted.iter().map(|uid| score(*uid)).collect() } else { Vec::new() };
        Ok(Ordered::new(sorted).with_mod_seq(mod_seq).with_scores(scores))
    }

    pub(super) async fn gather(&self, gather: &Gather) -> Answered<Threads> {
        let selected = self.selected.as_ref().ok_or_else(Refusal::no_permission)?;
        let found = self.matching(selected, &gather.query, Some(&gather.among)).await?;
        let mut threader = Threader::new(gather.algorithm);
        self.with_headers(selected, &found, &thread::FIELDS, |message, header| {
            threader.add(message.uid, message.internal_date, &chosen(header, &thread::FIELDS));
        })
        .await?;
        Ok(threader.finish())
    }

    /// Goes through messages with what is kept of their headers, these fields at least; of one that cannot be read any more, with nothing.
    async fn with_headers(
        &self,
        selected: &Selected,
        uids: &UidSet,
        names: &[&str],
        mut take: impl FnMut(&Message, &[u8]),
    ) -> Answered<()> {
        let fields = self.wanted(selected, names.iter().copied());
        let mut messages = selected.snapshot.among(uids);
        let mut ahead = Ahead::new();
        loop {
            // A store whose reads never wait would otherwise keep this thread from everybody else.
            tokio::task::yield_now().await;
            let batch: Vec<&Message> = messages.by_ref().take(BATCH).collect();
            let references: Vec<MessageRef> =
                batch.iter().map(|message| selected.mailbox.message(message)).collect();
            let (store, more) = (Arc::clone(&self.service.store), batch.len() == BATCH);
            let fields = fields.clone();
            let read = async move { fields.of(&*store, &references).await };
            let read = match batch.is_empty() {
                true => match ahead.next().await {
                    Some(last) => Some(last),
                    None => return Ok(()),
                },
                false => ahead.begin(batch, read, more).await,
            };
            let Some((batch, headers)) = read else { continue };
            for (message, header) in batch.into_iter().zip(headers.map_err(|error| refusal(&error))?) {
                take(message, &header.unwrap_or_else(Bytes::new));
            }
        }
    }

    /// Makes the searches again that the client watches, as far as what changed can have changed them.
    pub(super) async fn search_again(&mut self, connection: &mut Session<Deflate<Server>>) {
        let Some(stale) = self.stale.take() else { return };
        let Some(selected) = &self.selected else { return };
        let server = connection.machine().inner_mut().inner_mut();
        let watched: Vec<(String, Question, Vec<Uid>)> = server
            .watched()
            .map(|watched| (watched.tag.to_owned(), watched.question.clone(), watched.found.to_vec()))
            .collect();
        let mut failed = false;
        for (tag, question, before) in watched {
            let found = match question {
                Question::Find(Find { query, .. }) => {
                    let before: UidSet = before.into_iter().collect();
                    let again = self.matching(selected, &query, Some(&stale)).await;
                    again.map(|found| before.difference(&stale).union(&found).iter().collect())
                }
                Question::Order(order) => self.order(&order).await.map(|ordered| ordered.uids),
                _ => continue,
            };
            match found {
                Ok(found) => connection.machine().inner_mut().inner_mut().found(&tag, found),
                Err(_) => failed = true,
            }
        }
        if failed {
            // What cannot be found out now is found out at the next look.
            self.stale = Some(stale);
        }
    }
}

/// The field that a key looks at.
fn field(key: SortKey) -> Option<&'static str> {
    Some(match key {
        SortKey::Cc => "Cc",
        SortKey::Date => "Date",
        SortKey::From | SortKey::DisplayFrom => "From",
        SortKey::Subject => "Subject",
        SortKey::To | SortKey::DisplayTo => "To",
        _ => return None,
    })
}

/// The fields of these names: what nobody looks at need not be understood.
fn chosen(header: &[u8], names: &[&str]) -> Vec<u8> {
    let mut chosen = Vec::new();
    for field in Fields::new(header) {
        if names.iter().any(|name| field.is(name)) {
            chosen.extend_from_slice(field.raw());
        }
    }
    chosen
}
