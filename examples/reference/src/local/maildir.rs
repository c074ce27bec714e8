//! Maildirs that aliases lead to: `/path/to/maildir/`, as aliases(5) of Postfix has them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Counts what this process has delivered, so that no two files have one name.
static DELIVERED: AtomicU64 = AtomicU64::new(0);

/// Whether a path means a Maildir.
pub(super) fn is_meant(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// Delivers a message: it is in `new` whole, or not at all. Lines end as files have them, with LF. The folders are made if they are
/// not there, for their owner alone.
pub(super) fn deliver(maildir: &Path, message: impl Read) -> io::Result<()> {
    for folder in ["cur", "new", "tmp"] {
        DirBuilder::new().recursive(true).mode(0o700).create(maildir.join(folder))?;
    }
    let name = unique();
    let temporary = maildir.join("tmp").join(&name);
    let size = write(&temporary, message).inspect_err(|_| {
        // What is left there others clean up after a day and a half.
        let _ = fs::remove_file(&temporary);
    })?;
    fs::rename(&temporary, maildir.join("new").join(format!("{name},S={size}")))?;
    File::open(maildir.join("new"))?.sync_all()
}

/// Writes the file, durably; says how many octets it has.
fn write(path: &Path, mut message: impl Read) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let (mut file, mut size) = (BufWriter::new(file), 0);
    let (mut buffer, mut held) = (vec![0; 64 * 1024], false);
    loop {
        let count = message.read(&mut buffer)?;
        let octets = buffer.get(..count).unwrap_or_default();
        if octets.is_empty() {
            break;
        }
        let mut put = |octets: &[u8]| {
            size += octets.len() as u64;
            file.write_all(octets)
        };
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            // A CR that ended what was read before.
            if std::mem::take(&mut held) && line != b"\n" {
                put(b"\r")?;
            }
            match (line.strip_suffix(b"\r\n"), line.strip_suffix(b"\r")) {
                (Some(text), _) => {
                    put(text)?;
                    put(b"\n")?;
                }
                (None, Some(text)) => {
                    put(text)?;
                    held = true;
                }
                (None, None) => put(line)?,
            }
        }
    }
    if held {
        size += 1;
        file.write_all(b"\r")?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(size)
}

/// A name that no other delivery on this machine has.
fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = DELIVERED.fetch_add(1, Ordering::Relaxed);
    // A slash or a colon would mean something in a name.
    let host = rustix::system::uname().nodename().to_string_lossy().replace(['/', ':'], "-");
    format!("{}.M{}P{}Q{count}.{host}", now.as_secs(), now.subsec_micros(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what there is in pieces of so many octets.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            let (now, rest) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = rest;
            Ok(count)
        }
    }

    #[test]
    fn lines_end_as_in_files_however_they_come() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = folder.path().join("a/b");
        let message = b"Subject: x\r\n\r\none\r\rtwo\rthree\r\n\nfour\r";
        for piece in 1..message.len() + 1 {
            deliver(&maildir, Slow(message, piece)).unwrap();
        }
        let files: Vec<_> = fs::read_dir(maildir.join("new")).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(files.len(), message.len());
        for file in files {
            let text = fs::read(file.path()).unwrap();
            assert_eq!(text, b"Subject: x\n\none\r\rtwo\rthree\n\nfour\r");
            assert!(file.file_name().to_str().unwrap().ends_with(&format!(",S={}", text.len())));
        }
        assert_eq!(fs::read_dir(maildir.join("tmp")).unwrap().count(), 0);
    }
}
