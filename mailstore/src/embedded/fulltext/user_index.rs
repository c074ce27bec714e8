//! The index of one user: a document for each message, with every run of three octets of its text
//! ([`Trigrams`](mailwright_mail_model::query::Trigrams)).

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::{fs, slice};

use mailwright_mail_model::UidSet;
use mailwright_mail_model::query::Candidates;
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::Column;
use tantivy::directory::Directory;
use tantivy::merge_policy::{LogMergePolicy, MergeCandidate, MergePolicy};
use tantivy::query::{AllQuery, BooleanQuery, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, NumericOptions, Schema};
use tantivy::{
    DocId, Index, IndexReader, IndexWriter, ReloadPolicy, Score, Searcher, SegmentMeta, SegmentOrdinal,
    SegmentReader, TantivyDocument, TantivyError, Term,
};

use crate::signal::lock;
use crate::{Message, Snapshot};

/// What a message that may contain any text has in place of its runs.
const ANYTHING: u64 = 1 << 24;
/// What a writer may hold in memory.
const BUDGET: usize = 32 << 20;
/// The names of the fields. That of the runs has to change whenever something else is noted of the same message: an index of before
/// would not find what is there.
const ID: &str = "id";
const SIZE: &str = "size";
const RUNS: &str = "runs1";

/// What names a message's content: its number and, lest another one should ever have got it, its size.
pub(in super::super) type Identity = (u64, u64);

/// The name of a message's content; `None` if it has none: then it is always a candidate.
pub(in super::super) fn identity(message: &Message) -> Option<Identity> {
    let number = message.object.and_then(super::super::row::number_of).filter(|number| *number > 0)?;
    Some((number, message.size))
}

/// The index of one user.
pub(in super::super) struct UserIndex {
    index: Index,
    reader: IndexReader,
    fields: Fields,
    view: Mutex<Arc<View>>,
}

#[derive(Clone, Copy)]
struct Fields {
    id: Field,
    size: Field,
    runs: Field,
}

/// What was in it at one moment.
struct View {
    searcher: Searcher,
    /// All there were, ascending.
    known: Vec<Identity>,
    /// Up to which state of the mail.
    state: String,
}

/// What is put into it: a message and what was found in it, or none if that may be anything.
pub(in super::super) type Entry = (Identity, Option<Vec<u32>>);

impl UserIndex {
    /// Whether there is one.
    pub(super) fn exists(directory: &Path) -> bool {
        directory.join("meta.json").exists()
    }

    /// Opens it, or makes it if there is none. One that is damaged is an error.
    pub(super) fn open(directory: &Path) -> tantivy::Result<Self> {
        let mut schema = Schema::builder();
        let id = schema.add_u64_field(ID, NumericOptions::default().set_fast().set_indexed());
        let size = schema.add_u64_field(SIZE, NumericOptions::default().set_fast());
        let runs = schema.add_u64_field(RUNS, NumericOptions::default().set_indexed());
        let schema = schema.build();
        let index = if Self::exists(directory) {
            let index = Index::open_in_dir(directory)?;
            if index.schema() != schema {
                return Err(wrong("another kind of index"));
            }
            check(&index)?;
            index
        } else {
            // What may be left of another one is nobody's.
            super::remove(directory)?;
            fs::create_dir_all(directory)?;
            Index::create_in_dir(directory, schema)?
        };
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let view = Mutex::new(Arc::new(look(&index, &reader)?));
        Ok(Self { index, reader, fields: Fields { id, size, runs }, view })
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&lock(&self.view))
    }

    /// How many messages it knows.
    pub(super) fn known(&self) -> usize {
        self.view().known.len()
    }

    /// Whether it was brought up to this state of the mail.
    pub(in super::super) fn is_up_to(&self, state: &str) -> bool {
        self.view().state == state
    }

    /// Whether it could know a message, and does not.
    pub(in super::super) fn lacks(&self, message: &Message) -> bool {
        identity(message).is_some_and(|id| !holds(&self.view().known, id))
    }

    /// What it knows and is not among these, which ascend.
    pub(in super::super) fn gone(&self, live: &[Identity]) -> Vec<Identity> {
        self.view().known.iter().copied().filter(|id| !holds(live, *id)).collect()
    }

    /// The messages of a mailbox that may be meant.
    pub(in super::super) fn candidates(
        &self,
        snapshot: &Snapshot,
        wanted: &Candidates,
    ) -> tantivy::Result<UidSet> {
        let view = self.view();
        let mut found = view.searcher.search(&*self.query(wanted), &Identities)?;
        found.sort_unstable();
        let may = |message: &&Message| {
            identity(message).is_none_or(|id| holds(&found, id) || !holds(&view.known, id))
        };
        Ok(snapshot.messages().filter(may).map(|message| message.uid).collect())
    }

    fn query(&self, wanted: &Candidates) -> Box<dyn Query> {
        let term = |run: u64| -> Box<dyn Query> {
            let term = Term::from_field_u64(self.fields.runs, run);
            Box::new(TermQuery::new(term, IndexRecordOption::Basic))
        };
        let all = |some: &[Candidates]| some.iter().map(|one| self.query(one)).collect();
        match wanted {
            Candidates::Having(runs) if !runs.is_empty() => {
                let having = runs.iter().map(|run| term((*run).into())).collect();
                let having: Box<dyn Query> = Box::new(BooleanQuery::intersection(having));
                Box::new(BooleanQuery::union(vec![having, term(ANYTHING)]))
            }
            Candidates::All(some) if !some.is_empty() => Box::new(BooleanQuery::intersection(all(some))),
            Candidates::Any(some) => Box::new(BooleanQuery::union(all(some))),
            // A kind that is newer than this file narrows nothing.
            _ => Box::new(AllQuery),
        }
    }

    /// Takes some out and puts some in: one commit, of which after a crash all is there or nothing. `state` is that of the mail which
    /// the index is up to then, if it is up to one.
    pub(in super::super) fn change(
        &self,
        gone: &[Identity],
        entries: Vec<Entry>,
        state: Option<&str>,
    ) -> tantivy::Result<()> {
        let mut writer: IndexWriter<TantivyDocument> = self.index.writer_with_num_threads(1, BUDGET)?;
        writer.set_merge_policy(Box::new(Purging::default()));
        for (number, _) in gone {
            writer.delete_term(Term::from_field_u64(self.fields.id, *number));
        }
        for ((number, size), runs) in entries {
            let mut document = TantivyDocument::default();
            document.add_u64(self.fields.id, number);
            document.add_u64(self.fields.size, size);
            match runs {
                Some(runs) => runs.into_iter().for_each(|run| document.add_u64(self.fields.runs, run.into())),
                None => document.add_u64(self.fields.runs, ANYTHING),
            }
            writer.add_document(document)?;
        }
        let mut commit = writer.prepare_commit()?;
        commit.set_payload(state.unwrap_or_default());
        commit.commit()?;
        writer.wait_merging_threads()?;
        self.reader.reload()?;
        let view = Arc::new(look(&self.index, &self.reader)?);
        *lock(&self.view) = view;
        Ok(())
    }
}

fn holds(ascending: &[Identity], id: Identity) -> bool {
    ascending.binary_search(&id).is_ok()
}

fn wrong(text: &str) -> TantivyError {
    TantivyError::InternalError(text.into())
}

/// What is in an index now.
fn look(index: &Index, reader: &IndexReader) -> tantivy::Result<View> {
    let searcher = reader.searcher();
    let mut known = searcher.search(&AllQuery, &Identities)?;
    known.sort_unstable();
    Ok(View { searcher, known, state: index.load_metas()?.payload.unwrap_or_default() })
}

/// Reads all of an index once: what follows trusts it.
fn check(index: &Index) -> tantivy::Result<()> {
    let directory = index.directory();
    let managed = directory.list_managed_files();
    for path in index.load_metas()?.list_segment_files() {
        // Those that must be there are missed when they are opened.
        if !directory.exists(&path)? {
            continue;
        }
        // One that is not managed would stay when its time is over.
        if !managed.contains(&path) || !directory.validate_checksum(&path)? {
            return Err(wrong("a file that is not what was written"));
        }
    }
    Ok(())
}

/// Merges as usual, and writes anew what is left of a segment of which much was taken out: until then it is still on disk.
#[derive(Debug)]
struct Purging(LogMergePolicy);

/// Segments with fewer documents than this are alike: one delivery should not have thousands of messages written anew.
const FEW: u32 = 200;

/// Of a segment with at most so many documents nothing is kept that was taken out, and of others at most so many hundredths.
const SMALL: u32 = 5_000;
const TOLERATED: u64 = 2;

impl Default for Purging {
    fn default() -> Self {
        let mut usual = LogMergePolicy::default();
        usual.set_min_layer_size(FEW);
        Self(usual)
    }
}

impl MergePolicy for Purging {
    fn compute_merge_candidates(&self, segments: &[SegmentMeta]) -> Vec<MergeCandidate> {
        let mut candidates = self.0.compute_merge_candidates(segments);
        let merged = |candidates: &[MergeCandidate], segment: &SegmentMeta| {
            candidates.iter().any(|candidate| candidate.0.contains(&segment.id()))
        };
        for segment in segments.iter().filter(|segment| segment.has_deletes()) {
            let [deleted, all] = [segment.num_deleted_docs(), segment.max_doc()].map(u64::from);
            if (segment.max_doc() <= SMALL || deleted * 100 > all * TOLERATED)
                && !merged(&candidates, segment)
            {
                candidates.push(MergeCandidate(vec![segment.id()]));
            }
        }
        candidates
    }
}

/// Collects the identities of documents.
struct Identities;

impl Collector for Identities {
    type Fruit = Vec<Identity>;
    type Child = SegmentIdentities;

    fn for_segment(&self, _: SegmentOrdinal, segment: &SegmentReader) -> tantivy::Result<SegmentIdentities> {
        let columns = [segment.fast_fields().u64(ID)?, segment.fast_fields().u64(SIZE)?];
        // How many documents there are is told in a file without a checksum.
        if columns.iter().any(|column| column.num_docs() != segment.max_doc()) {
            return Err(wrong("a segment with another number of documents"));
        }
        Ok(SegmentIdentities { columns, found: Vec::new() })
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(&self, fruits: Vec<Vec<Identity>>) -> tantivy::Result<Vec<Identity>> {
        Ok(fruits.concat())
    }
}

struct SegmentIdentities {
    columns: [Column<u64>; 2],
    found: Vec<Identity>,
}

impl SegmentCollector for SegmentIdentities {
    type Fruit = Vec<Identity>;

    fn collect(&mut self, document: DocId, _: Score) {
        self.collect_block(slice::from_ref(&document));
    }

    fn collect_block(&mut self, documents: &[DocId]) {
        let [numbers, sizes] = &self.columns;
        let of = |document: &DocId| numbers.first(*document).zip(sizes.first(*document));
        self.found.extend(documents.iter().filter_map(of));
    }

    fn harvest(self) -> Vec<Identity> {
        self.found
    }
}
