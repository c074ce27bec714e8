//! Changes anywhere: what users that are followed have is compared with what was told, after changes of our own and when others change something.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mailwright_mail_model::{MailboxName, ModSeq, UidValidity};

use super::folder::Folder;
use super::watch::{Waiting, Watching, What};
use super::{Maildir, Shared, access, annotations, arrange};
use crate::feeds::Feeds;
use crate::signal::lock;
use crate::{Feed, FeedEvent, FeedPosition, News, Offload, Result, Snapshot, User};

/// How long a user is followed whose news nobody waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is followed, and what was told.
#[derive(Default)]
pub(super) struct Following {
    feeds: Feeds,
    users: Mutex<HashMap<User, Followed>>,
}

struct Followed {
    root: PathBuf,
    /// How many wait, and since when nobody did.
    waiting: usize,
    asked: Instant,
    subscriptions: Mark,
    mailboxes: BTreeMap<MailboxName, Place>,
    _watching: Option<Watching>,
}

struct Place {
    folder: Arc<Folder>,
    told: Version,
    access: Mark,
    annotations: Mark,
    _waiting: Waiting,
    _watching: Option<Watching>,
}

/// What tells one state of a mailbox from another.
type Version = Option<(UidValidity, ModSeq)>;

/// What tells one content of a small file from another: each is another file.
type Mark = Option<(u64, i64, i64, u64)>;

impl<O: Offload + Clone> Feed for Maildir<O> {
    async fn position(&self, user: &User) -> Result<FeedPosition> {
        // From here on it is kept what is told.
        let position = self.shared.following.feeds.position(key(user));
        let user = user.clone();
        self.run(move |shared| shared.follow(&user).map(|_| ())).await?;
        Ok(position)
    }

    async fn after(&self, user: &User, since: FeedPosition) -> Result<News> {
        let followed = user.clone();
        let anew = self.run(move |shared| shared.follow(&followed)).await?;
        if anew {
            // What happened while nobody followed is not known.
            self.shared.following.feeds.tell(key(user), FeedEvent::Anything);
        }
        let _waiting = Follower::new(&self.shared, user);
        Ok(self.shared.following.feeds.after(key(user), since).await)
    }
}

fn key(user: &User) -> &[u8] {
    user.as_str().as_bytes()
}

/// Somebody who waits for news.
struct Follower<'a> {
    shared: &'a Shared,
    user: &'a User,
}

impl<'a> Follower<'a> {
    fn new(shared: &'a Shared, user: &'a User) -> Self {
        if let Some(followed) = lock(&shared.following.users).get_mut(user) {
            followed.waiting += 1;
        }
        Self { shared, user }
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        if let Some(followed) = lock(&self.shared.following.users).get_mut(self.user) {
            followed.waiting = followed.waiting.saturating_sub(1);
            followed.asked = Instant::now();
        }
    }
}

impl Shared {
    /// Follows a user from now on. Says whether nobody did before.
    fn follow(&self, user: &User) -> Result<bool> {
        self.look_out()?;
        if let Some(followed) = lock(&self.following.users).get_mut(user) {
            followed.asked = Instant::now();
            return Ok(false);
        }
        let root = self.existing(user, &MailboxName::inbox())?.root.clone();
        let watching = self.lookout.watch(root.clone(), What::Both);
        let mut followed = Followed {
            subscriptions: mark(&root.join(arrange::SUBSCRIPTIONS)),
            root,
            waiting: 0,
            asked: Instant::now(),
            mailboxes: BTreeMap::new(),
            _watching: watching,
        };
        self.look_at(user, &mut followed, |_| true, |_| ());
        lock(&self.following.users).entry(user.clone()).or_insert(followed);
        Ok(true)
    }

    /// Tells what has changed of a user, if that is followed.
    pub(super) fn tell(&self, user: &User) {
        let mut users = lock(&self.following.users);
        if let Some(followed) = users.get_mut(user) {
            self.look_at(user, followed, |_| true, |event| self.following.feeds.tell(key(user), event));
        }
    }

    /// Tells a user, by name, that the rights to mailboxes of others are not as they were.
    pub(super) fn tell_of_access(&self, user: &str) {
        self.following.feeds.tell(user.as_bytes(), FeedEvent::Mailboxes);
    }

    /// Tells a user that their annotations of the server are not as they were.
    pub(super) fn tell_of_server(&self, user: &User) {
        self.following.feeds.tell(key(user), FeedEvent::Annotations(None));
    }

    /// Tells that a mailbox of a user has changed, if that is followed.
    pub(super) fn tell_messages(&self, user: &User, name: &MailboxName) {
        let mut users = lock(&self.following.users);
        let Some(followed) = users.get_mut(user) else { return };
        if let Some(place) = followed.mailboxes.get_mut(name)
            && place.has_changed(self)
        {
            self.following.feeds.tell(key(user), FeedEvent::Messages(name.clone()));
        }
    }

    /// Looks at users that are followed, where the path of the user and of a mailbox say that it is worth it.
    pub(super) fn look_at_followed(&self, worth: impl Fn(&Path, &Path) -> bool) {
        let mut users = lock(&self.following.users);
        for (user, followed) in &mut *users {
            let root = followed.root.clone();
            if worth(&root, &root)
                || followed.mailboxes.values().any(|place| worth(&root, &place.folder.path))
            {
                let tell = |event| self.following.feeds.tell(key(user), event);
                self.look_at(user, followed, |path| worth(&root, path), tell);
            }
        }
    }

    /// Follows nobody whose news nobody waits for.
    pub(super) fn forget_unfollowed(&self) {
        let mut users = lock(&self.following.users);
        users.retain(|_, followed| followed.waiting > 0 || followed.asked.elapsed() < PATIENCE);
    }

    fn look_at(
        &self,
        user: &User,
        followed: &mut Followed,
        worth: impl Fn(&Path) -> bool,
        mut tell: impl FnMut(FeedEvent),
    ) {
        // What cannot be looked at now is looked at later.
        let Ok(mut names) = self.names(&followed.root) else { return };
        names.push(MailboxName::inbox());
        let mut arranged = false;
        followed.mailboxes.retain(|name, place| {
            let stays = names.contains(name) && place.folder.exists();
            arranged |= !stays;
            stays
        });
        for name in names {
            match followed.mailboxes.get_mut(&name) {
                Some(place) => {
                    if worth(&place.folder.path) && place.has_changed(self) {
                        tell(FeedEvent::Messages(name.clone()));
                    }
                    let access = mark(&place.folder.path.join(access::NAME));
                    if std::mem::replace(&mut place.access, access) != access {
                        self.lists.forget();
                        arranged = true;
                    }
                    let annotations = mark(&place.folder.path.join(annotations::NAME));
                    if std::mem::replace(&mut place.annotations, annotations) != annotations {
                        tell(FeedEvent::Annotations(Some(name)));
                    }
                }
                None => {
                    let Ok(folder) = self.folder(user, &name) else { continue };
                    let mut place = Place {
                        told: None,
                        access: mark(&folder.path.join(access::NAME)),
                        annotations: mark(&folder.path.join(annotations::NAME)),
                        _waiting: Waiting::new(self, &folder),
                        _watching: self.lookout.watch(folder.path.clone(), What::Both),
                        folder,
                    };
                    place.has_changed(self);
                    followed.mailboxes.insert(name, place);
                    arranged = true;
                }
            }
        }
        if arranged {
            tell(FeedEvent::Mailboxes);
        }
        let subscriptions = mark(&followed.root.join(arrange::SUBSCRIPTIONS));
        if std::mem::replace(&mut followed.subscriptions, subscriptions) != subscriptions {
            tell(FeedEvent::Subscriptions);
        }
    }
}

impl Place {
    /// Whether the mailbox is not as it was told; from now on it is.
    fn has_changed(&mut self, shared: &Shared) -> bool {
        let version = |snapshot: Arc<Snapshot>| (snapshot.uid_validity(), snapshot.highest_modseq());
        let Ok(now) = self.folder.snapshot(&shared.setting).map(version) else { return false };
        self.told.replace(now) != Some(now)
    }
}

fn mark(path: &Path) -> Mark {
    let data = fs::symlink_metadata(path).ok()?;
    Some((data.ino(), data.mtime(), data.mtime_nsec(), data.len()))
}
