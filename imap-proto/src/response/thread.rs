//! `* THREAD`: messages as trees (RFC 5256 §4).

use mailwright_mail_model::{
    Uid,
    thread::{ThreadNode, Threads},
};

use super::reader::{Reader, Result};
use crate::grammar::Wire;

/// Threads of sequence numbers, or of UIDs if UID THREAD asked for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thread {
    /// The trees. What is a UID by its type is a sequence number if the command was THREAD.
    pub threads: Threads,
}

impl Thread {
    /// These threads.
    pub fn new(threads: Threads) -> Self {
        Self { threads }
    }

    /// Writes the response.
    pub fn encode(&self, wire: &mut impl Wire) {
        Self::encode_with(&self.threads, |uid| Some(uid.get()), wire);
    }

    /// The same with a number for each message; one without is passed over.
    pub(crate) fn encode_with(threads: &Threads, number: impl Fn(Uid) -> Option<u32>, wire: &mut impl Wire) {
        let nodes = threads.nodes();
        wire.put(if nodes.is_empty() { b"* THREAD" } else { b"* THREAD " });
        let branches = branches(nodes);
        // The depths of the places that the lists still open began with.
        let mut open: Vec<u32> = Vec::new();
        let mut after_number = false;
        for (index, node) in nodes.iter().enumerate() {
            while open.last().is_some_and(|depth| *depth >= node.depth) {
                open.pop();
                wire.put(b")");
                after_number = false;
            }
            if after_number {
                wire.put(b" ");
            }
            if branches.get(index).copied().unwrap_or(true) {
                open.push(node.depth);
                wire.put(b"(");
                after_number = false;
            }
            if let Some(number) = node.message.and_then(&number) {
                wire.put_number(number.into());
                after_number = true;
            }
        }
        for _ in open {
            wire.put(b")");
        }
        wire.put(b"\r\n");
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut nodes = Vec::new();
        if reader.input.peek() == Some(b' ') {
            reader.space()?;
        }
        // The depth at which each open list began, and the depth of what comes next.
        let (mut open, mut depth): (Vec<u32>, u32) = (Vec::new(), 0);
        let mut begun = false;
        while let Some(octet) = reader.input.peek() {
            match octet {
                b'(' => {
                    reader.open()?;
                    if std::mem::replace(&mut begun, true) {
                        // A list that begins with a list: the message above them is missing.
                        nodes.push(ThreadNode { depth, message: None });
                        depth = depth.saturating_add(1);
                    }
                    open.push(depth);
                }
                b')' => {
                    reader.input.octet(b')', "a closing parenthesis")?;
                    if begun {
                        return Err(reader.expected("a message in each thread"));
                    }
                    depth = open.pop().ok_or_else(|| reader.expected("as many threads opened as closed"))?;
                    begun = false;
                }
                b' ' if !open.is_empty() => reader.space()?,
                _ if !open.is_empty() => {
                    let message = Uid::new(reader.number()?);
                    nodes.push(ThreadNode { depth, message });
                    depth = depth.saturating_add(1);
                    begun = false;
                }
                _ => return Err(reader.expected("a thread")),
            }
        }
        if !open.is_empty() {
            return Err(reader.expected("as many threads closed as opened"));
        }
        Ok(Self { threads: Threads::new(nodes) })
    }
}

/// For each place whether it begins a list: at the root, and where it has siblings.
fn branches(nodes: &[ThreadNode]) -> Vec<bool> {
    let mut branches = vec![false; nodes.len()];
    // The last place at each depth, as far as its parent is still the same.
    let mut path: Vec<usize> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let depth = node.depth as usize;
        path.truncate(depth.saturating_add(1));
        let sibling = path.get(depth).copied();
        for place in [sibling, (sibling.is_some() || depth == 0).then_some(index)].into_iter().flatten() {
            if let Some(branch) = branches.get_mut(place) {
                *branch = true;
            }
        }
        path.truncate(depth);
        path.push(index);
    }
    branches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::response::{Leniency, Response};

    fn read(line: &str) -> std::result::Result<Thread, String> {
        match Response::parse(line.as_bytes(), Leniency::strict()) {
            Ok(Response::Thread(thread)) => Ok(thread),
            other => Err(format!("{line}: {other:?}")),
        }
    }

    fn written(thread: &Thread) -> String {
        let mut octets = Vec::new();
        thread.encode(&mut octets);
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        for line in [
            "* THREAD\r\n",
            "* THREAD (2)(3 6 (4 23)(44 7 96))\r\n",
            "* THREAD (166)(167)(168)(169)(172)(170)(171)(173)(174 (175)(176)(178)(181)(180))(179)(177 (183)(182)(188)(184)(185)(186)(187)(189))(190)(191)\r\n",
            "* THREAD ((3)(5))\r\n",
            "* THREAD ((1 2)(3 (4)(5)))(6)\r\n",
        ] {
            assert_eq!(written(&read(line).unwrap()), line);
        }
        let depths: Vec<u32> = read("* THREAD (2)(3 6 (4 23)(44 7 96))\r\n")
            .unwrap()
            .threads
            .nodes()
            .iter()
            .map(|node| node.depth)
            .collect();
        assert_eq!(depths, [0, 0, 1, 2, 3, 2, 3, 4]);
        assert_eq!(read("* THREAD \r\n").unwrap(), Thread::default());
        for bad in [
            "* THREAD (\r\n",
            "* THREAD )\r\n",
            "* THREAD 1\r\n",
            "* THREAD ()\r\n",
            "* THREAD (x)\r\n",
            "* THREAD (1))\r\n",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_tree(depths in prop::collection::vec(0_u32..5, 1..40)) {
            let node = |(index, depth): (usize, &u32)| ThreadNode { depth: *depth, message: Uid::new(index as u32 + 1) };
            let thread = Thread::new(Threads::new(depths.iter().enumerate().map(node).collect()));
            prop_assert_eq!(read(&written(&thread)).unwrap(), thread);
        }
    }
}
