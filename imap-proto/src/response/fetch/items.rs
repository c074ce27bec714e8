//! Finding what was asked for among the items of a FETCH response, whose order is the server's.

use mailwright_mail_model::{DateTime, ModSeq, Uid};

use super::{Fetched, FetchedItem};
use crate::response::{BodyStructure, Envelope, FlagList};

impl Fetched {
    /// The UID, if it is among the items.
    pub fn uid(&self) -> Option<Uid> {
        self.find(|item| if let FetchedItem::Uid(uid) = item { Some(*uid) } else { None })
    }

    /// The flags, if they are among the items.
    pub fn flags(&self) -> Option<&FlagList> {
        self.find(|item| if let FetchedItem::Flags(flags) = item { Some(flags) } else { None })
    }

    /// When it arrived, if that is among the items.
    pub fn internal_date(&self) -> Option<DateTime> {
        self.find(|item| if let FetchedItem::InternalDate(date) = item { Some(*date) } else { None })
    }

    /// Its octets, if they are among the items.
    pub fn size(&self) -> Option<u64> {
        self.find(|item| if let FetchedItem::Size(size) = item { Some(*size) } else { None })
    }

    /// Its mod-sequence (RFC 7162), if that is among the items.
    pub fn mod_seq(&self) -> Option<ModSeq> {
        self.find(|item| if let FetchedItem::ModSeq(mod_seq) = item { Some(*mod_seq) } else { None })
    }

    /// The envelope, if it is among the items.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.find(|item| if let FetchedItem::Envelope(envelope) = item { Some(&**envelope) } else { None })
    }

    /// The structure, if BODYSTRUCTURE is among the items, or BODY, which says less.
    pub fn body_structure(&self) -> Option<&BodyStructure> {
        let whole =
            self.find(|item| if let FetchedItem::BodyStructure(it) = item { Some(&**it) } else { None });
        whole.or_else(|| self.find(|item| if let FetchedItem::Body(it) = item { Some(&**it) } else { None }))
    }

    fn find<'a, T>(&'a self, of: impl FnMut(&'a FetchedItem) -> Option<T>) -> Option<T> {
        self.items.iter().find_map(of)
    }
}

#[cfg(test)]
mod tests {
    use crate::response::{Leniency, Response};

    #[test]
    fn items_are_found_in_any_order() {
        let line = concat!(
            "* 7 FETCH (RFC822.SIZE 12 ENVELOPE (NIL \"tea\" NIL NIL NIL NIL NIL NIL NIL NIL) UID 3 ",
            "INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" FLAGS (\\Seen) MODSEQ (9) ",
            "BODY (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 5 1))\r\n",
        );
        let Ok(Response::Fetch(fetched)) = Response::parse(line.as_bytes(), Leniency::default()) else {
            panic!("{line}")
        };
        assert_eq!((fetched.uid().map(u32::from), fetched.size()), (Some(3), Some(12)));
        assert_eq!(fetched.internal_date().unwrap().to_imap(), "17-Jul-1996 02:44:25 -0700");
        assert_eq!(fetched.flags().unwrap().flags.to_string(), "(\\Seen)");
        assert_eq!(fetched.mod_seq().map(|mod_seq| mod_seq.get()), Some(9));
        assert_eq!(fetched.envelope().unwrap().subject.as_deref(), Some(&b"tea"[..]));
        assert!(fetched.body_structure().is_some());
        let Ok(Response::Fetch(nothing)) = Response::parse(b"* 7 FETCH (UID 3)\r\n", Leniency::default())
        else {
            panic!("a FETCH response")
        };
        assert_eq!((nothing.size(), nothing.envelope(), nothing.body_structure()), (None, None, None));
    }
}
