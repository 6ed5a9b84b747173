//! The file of a backup, version 1.
//!
//! ```text
//! file     = magic, version, part…              the last part is an end, and nothing is behind it
//! magic    = 89 43 4f 52 42 41 4b 0a            ("\x89CORBAK\n")
//! version  = 4 bytes
//! part     = kind, 4 bytes length, 4 bytes plain length, content, 8 bytes checksum
//! kind     = 1 labels | 2 keyspace | 3 entries | 4 end
//! content  = of `length` bytes: `plain length` bytes, compressed as one Zstandard frame
//! checksum = XXH3 (64 bits) of the part before it, seeded with the checksum of the part before; the first with the version
//! labels   = (4 bytes length, name, 4 bytes length, text)…    once, the first part
//! keyspace = its name; the entries that follow are of it
//! entries  = (4 bytes length, key, 4 bytes length, value)…    in ascending order of keys, also from part to part
//! end      = 8 bytes number of all entries
//! ```
//!
//! Numbers are big endian. Texts are UTF-8. A part of entries has about [`PART_BYTES`] plain, or one entry that is larger.
//! Since each checksum depends on all before it, parts can neither be changed nor left out nor exchanged; a file that is
//! cut anywhere has no end.

use std::io::{self, Read, Write};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{BackupError, Contents, Labels, Summary};
use crate::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// How a file begins.
pub const MAGIC: [u8; 8] = *b"\x89CORBAK\n";

/// The version that is written, and the newest that is read.
pub const VERSION: u32 = 1;

/// Plain bytes of a part of entries, about.
pub const PART_BYTES: usize = 1 << 20;

/// Plain bytes of any part, at most: one more entry than fits, with both of its lengths.
const MAX_PART_BYTES: usize = PART_BYTES + MAX_KEY_BYTES + MAX_VALUE_BYTES + 8;

/// How hard it is compressed: as fast as it goes, since a disk or a network is seldom faster.
const COMPRESSION: i32 = 1;

/// Kind, length and plain length.
const HEADER_BYTES: usize = 9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Labels = 1,
    Keyspace = 2,
    Entries = 3,
    End = 4,
}

/// Writes parts.
pub(super) struct Writer<W> {
    out: W,
    seed: u64,
    /// The part to come: its header and its content.
    part: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_be_bytes())?;
        Ok(Self { out, seed: u64::from(VERSION), part: Vec::new() })
    }

    pub(super) fn labels(&mut self, labels: &Labels) -> io::Result<()> {
        let mut plain = Vec::new();
        for text in labels.iter().flat_map(|(name, text)| [name, text]) {
            push(&mut plain, text.as_bytes());
        }
        self.write(Kind::Labels, &plain)
    }

    pub(super) fn keyspace(&mut self, name: &str) -> io::Result<()> {
        self.write(Kind::Keyspace, name.as_bytes())
    }

    /// Writes entries as [`push`] has put them together, key by value.
    pub(super) fn entries(&mut self, plain: &[u8]) -> io::Result<()> {
        self.write(Kind::Entries, plain)
    }

    /// Ends the file, and gives back what it was written to.
    pub(super) fn end(mut self, entries: u64) -> io::Result<W> {
        self.write(Kind::End, &entries.to_be_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn write(&mut self, kind: Kind, plain: &[u8]) -> io::Result<()> {
        let content = zstd::bulk::compress(plain, COMPRESSION)?;
        let part = &mut self.part;
        part.clear();
        part.push(kind as u8);
        part.extend_from_slice(&length(&content));
        part.extend_from_slice(&length(plain));
        part.extend_from_slice(&content);
        self.seed = xxh3_64_with_seed(part, self.seed);
        part.extend_from_slice(&self.seed.to_be_bytes());
        self.out.write_all(part)
    }
}

/// As four bytes. Keys, values and so parts are far shorter than that allows.
fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("a part is at most some hundred megabytes").to_be_bytes()
}

/// Adds bytes with their length.
pub(super) fn push(plain: &mut Vec<u8>, bytes: &[u8]) {
    plain.extend_from_slice(&length(bytes));
    plain.extend_from_slice(bytes);
}

/// Takes bytes with their length off the front; none where they are not there.
fn take<'p>(plain: &mut &'p [u8]) -> Option<&'p [u8]> {
    let (length, rest) = plain.split_first_chunk::<4>()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *plain = rest;
    Some(bytes)
}

/// What a reader calls with each entry: the name of its keyspace, key, value.
pub type Take<'t> = dyn FnMut(&str, &[u8], &[u8]) -> Result<(), BackupError> + 't;

/// Reads a backup part by part, and sees that it is whole.
///
/// # Errors
///
/// Reading fails with [`BackupError::Foreign`], [`BackupError::NewerVersion`], [`BackupError::Cut`],
/// [`BackupError::Damaged`], or [`BackupError::File`] where the file cannot be read.
pub struct Reader<R> {
    input: R,
    /// Bytes that were read.
    at: u64,
    seed: u64,
    summary: Summary,
    last: Vec<u8>,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads what it begins with, up to its labels.
    pub fn open(input: R) -> Result<Self, BackupError> {
        let seed = u64::from(VERSION);
        let mut reader =
            Self { input, at: 0, seed, summary: Summary::default(), last: Vec::new(), ended: false };
        let mut magic = [0; MAGIC.len()];
        match reader.fill(&mut magic) {
            Ok(()) if magic == MAGIC => {}
            Ok(()) => return Err(BackupError::Foreign),
            // What is shorter, and is no beginning of a backup either, is something else.
            Err(BackupError::Cut { at }) if at > 0 && MAGIC.starts_with(&magic[..at as usize]) => {
                return Err(BackupError::Cut { at });
            }
            Err(BackupError::Cut { .. }) => return Err(BackupError::Foreign),
            Err(error) => return Err(error),
        }
        let mut version = [0; 4];
        reader.fill(&mut version)?;
        match u32::from_be_bytes(version) {
            VERSION => {}
            0 => return Err(BackupError::damaged(MAGIC.len() as u64, "it has no version")),
            found => return Err(BackupError::NewerVersion { found, supported: VERSION }),
        }
        let begin = reader.at;
        let (kind, plain) = reader.part()?;
        if kind != Kind::Labels {
            return Err(BackupError::damaged(begin, "it does not begin with its labels"));
        }
        reader.summary.labels =
            labels(&plain).ok_or_else(|| BackupError::damaged(begin, "its labels are none"))?;
        Ok(reader)
    }

    /// Reads the next part, and hands out the entries that are in it; false at the end, to which all is right.
    pub fn next(&mut self, take: &mut Take<'_>) -> Result<bool, BackupError> {
        if self.ended {
            return Ok(false);
        }
        let begin = self.at;
        let damaged = |why: &str| BackupError::damaged(begin, why);
        match self.part()? {
            (Kind::Labels, _) => return Err(damaged("it has labels twice")),
            (Kind::Keyspace, name) => {
                let name = String::from_utf8(name).map_err(|_| damaged("the name of a keyspace is none"))?;
                if self.summary.keyspaces.iter().any(|keyspace| keyspace.name == name) {
                    return Err(damaged("it has a keyspace twice"));
                }
                self.summary.keyspaces.push(Contents { name, ..Contents::default() });
                self.last.clear();
            }
            (Kind::Entries, plain) => self.entries(&plain, begin, take)?,
            (Kind::End, plain) => {
                if plain != self.summary.entries().to_be_bytes() {
                    return Err(damaged("it does not have as many entries as it says"));
                }
                let mut more = [0];
                if self.input.read(&mut more)? > 0 {
                    return Err(BackupError::damaged(self.at, "there is something behind its end"));
                }
                self.ended = true;
            }
        }
        Ok(!self.ended)
    }

    /// What was read so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The same, for who is done.
    pub fn into_summary(self) -> Summary {
        self.summary
    }

    fn entries(&mut self, mut plain: &[u8], begin: u64, sink: &mut Take<'_>) -> Result<(), BackupError> {
        let damaged = |why: &str| BackupError::damaged(begin, why);
        if self.summary.keyspaces.is_empty() {
            return Err(damaged("it has entries of no keyspace"));
        }
        while !plain.is_empty() {
            let entry = take(&mut plain).and_then(|key| Some((key, take(&mut plain)?)));
            let (key, value) = entry.ok_or_else(|| damaged("an entry is cut"))?;
            let keyspace = self.summary.keyspaces.last().expect("there is one");
            if keyspace.entries > 0 && *self.last >= *key {
                return Err(damaged("its keys are not in order"));
            }
            sink(&keyspace.name, key, value)?;
            self.last.clear();
            self.last.extend_from_slice(key);
            self.summary.count(key, value);
        }
        Ok(())
    }

    /// The next part, its checksum compared: its kind and its plain content.
    fn part(&mut self) -> Result<(Kind, Vec<u8>), BackupError> {
        let begin = self.at;
        let damaged = |why: &str| BackupError::damaged(begin, why);
        let mut header = [0; HEADER_BYTES];
        self.fill(&mut header)?;
        let number = |at: usize| {
            let bytes = header[at..at + 4].try_into().expect("four bytes");
            u32::from_be_bytes(bytes) as usize
        };
        let (length, plain_length) = (number(1), number(5));
        // Compressed it may be a little longer than plain, never much.
        if plain_length > MAX_PART_BYTES || length > MAX_PART_BYTES + MAX_PART_BYTES / 64 + 1_024 {
            return Err(damaged("a part is longer than any may be"));
        }
        // It is read as it comes, so that a length that is damaged takes no memory.
        let mut part = header.to_vec();
        let read = (&mut self.input).take(length as u64).read_to_end(&mut part)?;
        self.at += read as u64;
        if read < length {
            return Err(BackupError::Cut { at: self.at });
        }
        let mut checksum = [0; 8];
        self.fill(&mut checksum)?;
        let expected = xxh3_64_with_seed(&part, self.seed);
        if u64::from_be_bytes(checksum) != expected {
            return Err(damaged("its checksum is another"));
        }
        self.seed = expected;
        let kind = match header[0] {
            1 => Kind::Labels,
            2 => Kind::Keyspace,
            3 => Kind::Entries,
            4 => Kind::End,
            _ => return Err(damaged("a part is of an unknown kind")),
        };
        let plain = zstd::bulk::decompress(&part[HEADER_BYTES..], plain_length);
        match plain {
            Ok(plain) if plain.len() == plain_length => Ok((kind, plain)),
            Ok(_) | Err(_) => Err(damaged("a part cannot be unpacked")),
        }
    }

    /// Reads so many bytes, or finds that it ends before.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), BackupError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) => return Err(BackupError::Cut { at: self.at }),
                Ok(read) => {
                    filled += read;
                    self.at += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn labels(mut plain: &[u8]) -> Option<Labels> {
    let mut labels = Labels::new();
    while !plain.is_empty() {
        let name = take(&mut plain)?.to_vec();
        let text = take(&mut plain)?.to_vec();
        labels.push((String::from_utf8(name).ok()?, String::from_utf8(text).ok()?));
    }
    Some(labels)
}
