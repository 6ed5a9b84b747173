//! Events in a file: a line of JSON each, in the order of the log, on disk before the cursor passes them.
//!
//! What a line of an earlier run lacks is cut off when the file is opened, and comes again as a whole. So each line is whole, none
//! is missing, and one that comes twice has the same `id`.
//!
//! One process writes a file at a time (it is locked). One that was moved away, as a rotation of logs does, is left alone, and a
//! new one begun.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::lanes::Event;

/// Bytes of a name.
const MAX_NAME: usize = 128;

/// Bytes that are looked through together for the end of the last line.
const BLOCK: u64 = 64 << 10;

/// Is it the name of a file, and of nothing elsewhere?
///
/// # Errors
///
/// Why not.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.');
    match fits {
        true => Ok(()),
        false => Err(format!(
            "a file has a name of 1 to {MAX_NAME} letters, digits, `-`, `_` and `.`, and does not begin with `.`"
        )),
    }
}

/// The lines of some events: each the event, with its id.
pub fn lines(events: &[Event]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(events.iter().map(|event| event.body.len() + 96).sum());
    for event in events {
        // Ids are letters, digits, `-` and `_`; what a watch tells is an object that is not empty.
        lines.extend_from_slice(format!("{{\"id\":\"{}\",", event.id).as_bytes());
        lines.extend_from_slice(event.body.get(1..).unwrap_or_default());
        lines.push(b'\n');
    }
    lines
}

/// A file that is written.
pub struct Sink {
    path: PathBuf,
    open: Option<Open>,
}

struct Open {
    file: File,
    /// Bytes of whole lines.
    length: u64,
}

impl Sink {
    /// Nothing is opened yet.
    pub fn new(path: PathBuf) -> Sink {
        Sink { path, open: None }
    }

    /// Appends lines; they are on disk when it returns.
    ///
    /// # Errors
    ///
    /// Why they may not be. They can be appended again.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), String> {
        let told = |error: io::Error| format!("{}: {error}", self.path.display());
        let mut open = match self.open.take().filter(|open| is_there(open, &self.path)) {
            Some(open) => open,
            None => Open::at(&self.path).map_err(told)?,
        };
        let written = open.file.write_all(lines).and_then(|()| open.file.sync_data());
        if let Err(error) = written {
            // What came of it is no line yet; where it cannot be cut off, it is when the file is opened next.
            let _ = open.file.set_len(open.length);
            return Err(told(error));
        }
        open.length += lines.len() as u64;
        self.open = Some(open);
        Ok(())
    }
}

/// Is it still the file of that path?
fn is_there(open: &Open, path: &std::path::Path) -> bool {
    match (open.file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

impl Open {
    fn at(path: &std::path::Path) -> io::Result<Open> {
        // A link may lead anywhere.
        let is_new = match fs::symlink_metadata(path) {
            Ok(there) if !there.is_file() => {
                return Err(io::Error::other("there is something that is no file"));
            }
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another hook or server writes it"),
            TryLockError::Error(error) => error,
        })?;
        let whole = whole(&mut file)?;
        if whole < file.metadata()?.len() {
            file.set_len(whole)?;
        }
        if is_new {
            // Its name is on disk as well.
            file.sync_all()?;
            let folder = path.parent().ok_or_else(|| io::Error::other("it is in no folder"))?;
            File::open(folder)?.sync_all()?;
        }
        Ok(Open { file, length: whole })
    }
}

/// Bytes up to the end of the last whole line.
fn whole(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(0);
    }
    let mut first = [0];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut first)?;
    if first != *b"{" {
        return Err(io::Error::other("there is a file that no hook has written"));
    }
    let mut end = length;
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        let mut block = vec![0; (end - begin) as usize];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        for name in ["a", "orders.ndjson", "A_b-3"] {
            check_name(name).expect(name);
        }
        for name in ["", ".", "..", ".a", "a/b", "../a", "a\\b", "a b", "ä", &"a".repeat(129)] {
            check_name(name).expect_err(name);
        }
    }

    #[test]
    fn a_line_that_is_not_whole_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let long = format!("{{\"a\":\"{}\"", "x".repeat(200_000));
        for (there, kept) in [
            ("", ""),
            ("{\"a\":1}\n", "{\"a\":1}\n"),
            ("{\"a\":1}\n{\"a\"", "{\"a\":1}\n"),
            ("{\"a\"", ""),
            (&long, ""),
        ] {
            fs::write(&path, there).unwrap();
            Sink::new(path.clone()).append(b"{}\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{kept}{{}}\n"));
        }
    }

    #[test]
    fn one_writes_a_file_and_only_one_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let mut sink = Sink::new(path.clone());
        sink.append(b"{\"n\":1}\n").unwrap();
        let refused = Sink::new(path.clone()).append(b"{}\n").unwrap_err();
        assert!(refused.contains("another hook"), "{refused}");
        // Moved away, it stays as it is.
        fs::rename(&path, folder.path().join("f.1")).unwrap();
        sink.append(b"{\"n\":2}\n").unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("f.1")).unwrap(), "{\"n\":1}\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"n\":2}\n");
        for (name, content) in [("notes", Some("mine")), ("folder", None)] {
            let path = folder.path().join(name);
            match content {
                Some(content) => fs::write(&path, content).unwrap(),
                None => fs::create_dir(&path).unwrap(),
            }
            Sink::new(path.clone()).append(b"{}\n").unwrap_err();
            assert!(content.is_none_or(|content| fs::read_to_string(&path).unwrap() == content));
        }
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), folder.path().join("link")).unwrap();
        Sink::new(folder.path().join("link")).append(b"{}\n").unwrap_err();
        assert!(!folder.path().join("elsewhere").exists());
    }
}
