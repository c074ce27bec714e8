//! SEARCH: what the snapshot does not tell is read, from the header fields that are kept if they suffice.

mod judge;
mod reading;
mod scan;

use mailwright_imap_proto::{
    Answered, Refusal,
    server::{Find, Found},
};
use mailwright_mail_model::{Uid, UidSet, query::Query};
use mailwright_mailstore::{Search as _, Store, accounts::Accounts};

use self::scan::Scan;
use super::{Visit, remembered::fields_of, selected::Selected};

/// So few messages are searched without a look into an index.
const FEW: u64 = 16;

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    pub(super) async fn find(&self, find: &Find) -> Answered<Found> {
        let selected = self.selected.as_ref().ok_or_else(Refusal::no_permission)?;
        let (found, scores) = self.scored(selected, &find.query, find.scores).await?;
        let told = find.mod_seq.of(&found);
        let mod_seq = selected.snapshot.among(&told).map(|message| message.modseq).max();
        Ok(Found::new(found).with_mod_seq(mod_seq).with_scores(scores))
    }

    /// The messages that answer a query, and how well if that is wanted: in the order of their UIDs (RFC 6203 §4).
    pub(super) async fn scored(
        &self,
        selected: &Selected,
        query: &Query,
        wanted: bool,
    ) -> Answered<(UidSet, Vec<(Uid, u8)>)> {
        let scores = wanted.then(Vec::new);
        let (found, mut scores) = self.search(selected, query, None, scores).await?;
        scores.sort_unstable();
        Ok((found, scores))
    }

    /// The messages that answer a query, of all or of some.
    pub(super) async fn matching(
        &self,
        selected: &Selected,
        query: &Query,
        among: Option<&UidSet>,
    ) -> Answered<UidSet> {
        Ok(self.search(selected, query, among, None).await?.0)
    }

    async fn search(
        &self,
        selected: &Selected,
        query: &Query,
        among: Option<&UidSet>,
        scores: Option<Vec<(Uid, u8)>>,
    ) -> Answered<(UidSet, Vec<(Uid, u8)>)> {
        let resolved;
        let query = match query.annotations().is_empty() {
            true => query,
            false => {
                resolved = self.resolved(selected, query, among).await?;
                &resolved
            }
        };
        let fields = self.wanted(selected, fields_of(query));
        let scan = Scan::new(&self.service.store, selected, query, fields, &self.progress, scores);
        let among = match (query.uids(), among) {
            (Some(uids), Some(among)) => Some(uids.intersection(among)),
            (Some(uids), None) => Some(uids),
            (None, among) => among.cloned(),
        };
        let among = self.narrowed(selected, query, among).await;
        let all = among.as_ref().map_or_else(|| selected.snapshot.len().into(), UidSet::len);
        self.progress.expect(all);
        match among {
            Some(uids) => scan.run(selected.snapshot.among(&uids)).await,
            None => scan.run(selected.snapshot.messages()).await,
        }
    }
}

impl<S: Store + 'static, A: Accounts + 'static> Visit<'_, S, A> {
    /// The messages that need be looked at, by the index of texts if there is one. The search goes on without it if need be.
    async fn narrowed(&self, selected: &Selected, query: &Query, among: Option<UidSet>) -> Option<UidSet> {
        let count = among.as_ref().map_or_else(|| selected.snapshot.len().into(), UidSet::len);
        let Some(index) = self.store.search().filter(|_| count > FEW) else { return among };
        match (index.candidates(&selected.mailbox, &selected.snapshot, query).await, among) {
            (Ok(Some(few)), Some(among)) => Some(among.intersection(&few)),
            (Ok(Some(few)), None) => Some(few),
            (_, among) => among,
        }
    }
}
