//! Sieve scripts are kept, one of them active.

use bytes::Bytes;
use mailwright_mail_model::ScriptName;

use super::{Outcome, Wrong, equal, refused, some, user};
use crate::{ScriptLimits, Scripts, Store, StoreError, User};

fn scripts(store: &impl Store) -> Outcome<&impl Scripts> {
    some(store.scripts(), "the scripts that were there before")
}

fn name(name: &str) -> Outcome<ScriptName> {
    ScriptName::new(name).map_err(|error| Wrong(error.to_string()))
}

async fn listed(scripts: &impl Scripts, user: &User) -> Outcome<Vec<(String, u64, bool)>> {
    let all = scripts.all_scripts(user).await?;
    Ok(all.iter().map(|entry| (entry.name.to_string(), entry.size, entry.active)).collect())
}

const LIMITS: ScriptLimits = ScriptLimits::new(3, 10);

pub(super) async fn scripts_are_kept_and_one_is_active(store: &impl Store) -> Outcome {
    let (user, other, scripts) = (user("scripts")?, user("scripts-of-nobody")?, scripts(store)?);
    let (first, second) = (name("first")?, name("zweites \"Näheres\"/x")?);
    equal("scripts", listed(scripts, &user).await?, vec![])?;
    equal("active", scripts.active_script(&user).await?, None)?;
    scripts.activate_script(&user, None).await?;
    scripts.put_script(&user, &second, Bytes::from_static(b"\0\xff"), LIMITS).await?;
    scripts.put_script(&user, &first, Bytes::from_static(b"keep;"), LIMITS).await?;
    equal("content", scripts.script(&user, &second).await?, Bytes::from_static(b"\0\xff"))?;
    scripts.activate_script(&user, Some(&first)).await?;
    scripts.activate_script(&user, Some(&second)).await?;
    refused(scripts.activate_script(&user, Some(&name("none")?)).await, &StoreError::NotFound)?;
    let both = vec![("first".to_owned(), 5, false), (second.to_string(), 2, true)];
    equal("scripts", listed(scripts, &user).await?, both)?;
    // New content for the active one is active.
    scripts.put_script(&user, &second, Bytes::from_static(b"stop;"), LIMITS).await?;
    let active = Some((second.clone(), Bytes::from_static(b"stop;")));
    equal("active", scripts.active_script(&user).await?, active)?;
    refused(scripts.delete_script(&user, &second).await, &StoreError::Denied)?;
    refused(scripts.delete_script(&user, &name("none")?).await, &StoreError::NotFound)?;
    refused(scripts.script(&user, &name("none")?).await, &StoreError::NotFound)?;
    refused(scripts.script(&other, &first).await, &StoreError::NotFound)?;
    scripts.activate_script(&user, None).await?;
    equal("active", scripts.active_script(&user).await?, None)?;
    scripts.delete_script(&user, &second).await?;
    equal("scripts", listed(scripts, &user).await?, vec![("first".to_owned(), 5, false)])
}

pub(super) async fn scripts_get_other_names(store: &impl Store) -> Outcome {
    let (user, scripts) = (user("scripts-renamed")?, scripts(store)?);
    let (a, b, c) = (name("a")?, name("b")?, name("c")?);
    for (name, script) in [(&a, "a"), (&b, "bb")] {
        scripts.put_script(&user, name, Bytes::copy_from_slice(script.as_bytes()), LIMITS).await?;
    }
    scripts.activate_script(&user, Some(&a)).await?;
    refused(scripts.rename_script(&user, &a, &b).await, &StoreError::Exists)?;
    refused(scripts.rename_script(&user, &c, &b).await, &StoreError::NotFound)?;
    scripts.rename_script(&user, &a, &c).await?;
    scripts.rename_script(&user, &b, &a).await?;
    let expected = vec![("a".to_owned(), 2, false), ("c".to_owned(), 1, true)];
    equal("scripts", listed(scripts, &user).await?, expected)?;
    equal("active", scripts.active_script(&user).await?, Some((c, Bytes::from_static(b"a"))))
}

pub(super) async fn scripts_have_limits(store: &impl Store) -> Outcome {
    let (user, scripts) = (user("scripts-limits")?, scripts(store)?);
    let too_large = StoreError::TooLarge { limit: 10 };
    for (size, fits) in [(9, true), (10, true), (11, false)] {
        let (name, script) = (name("sized")?, Bytes::from(vec![b'#'; size]));
        let admitted = scripts.admit_script(&user, &name, size as u64, LIMITS).await;
        let stored = scripts.put_script(&user, &name, script, LIMITS).await;
        if fits {
            admitted?;
            stored?;
        } else {
            refused(admitted, &too_large)?;
            refused(stored, &too_large)?;
            equal("the old content", scripts.script(&user, &name).await?.len(), 10)?;
        }
    }
    let too_many = StoreError::TooMany { limit: 3 };
    for (name, fits) in
        [(name("two")?, true), (name("three")?, true), (name("four")?, false), (name("two")?, true)]
    {
        let admitted = scripts.admit_script(&user, &name, 1, LIMITS).await;
        let stored = scripts.put_script(&user, &name, Bytes::from_static(b"x"), LIMITS).await;
        if fits {
            admitted?;
            stored?;
        } else {
            refused(admitted, &too_many)?;
            refused(stored, &too_many)?;
        }
    }
    Ok(())
}
