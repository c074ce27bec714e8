//! Rows of tables change with a commit or not at all. What they hold is shown by the store's own tables alone.

use bytes::Bytes;
use mailwright_mail_model::MailboxName;

use super::{Outcome, date, ensure, equal, some, user, writer};
use crate::{Batch, Row, Store, Target, Write};

const TABLE: &str = "conformance";

pub(super) async fn rows_change_with_a_message_or_not_at_all(store: &impl Store) -> Outcome {
    let (user, inbox) = (user("rows")?, MailboxName::inbox());
    let target = Target::new(user.clone(), inbox.clone(), date()?);
    let row = |key: &[u8], value: &[u8]| Row::new(TABLE, key, Some(value.to_vec()));
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from_static(b"with rows")).await?;
    let nobodys = row(b"about ", b"").of_target(1);
    let batch = Batch::to([target.clone()]).with_rows(vec![row(b"one", b"1"), nobodys]);
    ensure(upload.commit_batch(&batch).await.is_err(), "no row about a target that is not there")?;
    ensure(store.open(&user, &inbox).await?.is_empty(), "no message without its rows")?;
    let about = row(b"about ", b"2").of_target(0);
    let batch = Batch::to([target]).with_rows(vec![row(b"one", b"1"), about]);
    let committed = upload.commit_batch(&batch).await?;
    equal("messages", store.open(&user, &inbox).await?.len(), 1)?;
    // A message that nobody gets leaves its rows all the same; these take away what is there by now.
    let appended = some(committed.appended.first(), "one answer for one target")?;
    let numbers = [appended.uid_validity.get(), appended.uid.get()].map(u32::to_be_bytes).concat();
    let gone = [b"one".to_vec(), [b"about ", &numbers[..]].concat()].map(|key| Row::new(TABLE, key, None));
    let mut upload = writer(store)?.begin(None).await?;
    upload.write(Bytes::from_static(b"for nobody")).await?;
    let committed = upload.commit_batch(&Batch::default().with_rows(gone.to_vec())).await?;
    equal("places of a message for nobody", committed.appended.len(), 0)
}
