//! Reading the journal that a crash has left.
//!
//! Every block of every segment is looked at for a whole record, so that what is found does not depend on what is
//! damaged. Of those found, the ones count that the data does not have: they must follow the data's last one without a
//! gap. What is not whole behind them was being written when the crash came, and its commit had not returned; but if
//! something is missing before one that is whole, then a commit that had returned is lost, and that is damage, to be
//! reported and not passed over.
//!
//! Segments that were used before hold older records behind the newer ones. All of these are in the data, because a
//! segment is used again only then. Invariant: nothing is changed here. Read next: [`record`](super::record).

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::super::overlay::Entry;
use super::record::{BLOCK_BYTES, HEADER_BYTES, Header, read_points};
use crate::StoreError;

/// Where the data stands, and whose records are its.
#[derive(Clone, Copy, Debug)]
pub(in crate::embedded) struct Position {
    /// The last sequence number that the data has.
    pub(in crate::embedded) applied: u64,
    /// The last run of the store.
    pub(in crate::embedded) run: u32,
    /// The id of the store.
    pub(in crate::embedded) seed: u64,
}

/// What records are handed to: the sequence number, the payload and its points.
pub(in crate::embedded) type Take<'a> = dyn FnMut(u64, &[u8], Vec<Entry>) -> Result<(), StoreError> + 'a;

/// A whole record.
struct Located {
    header: Header,
    file: usize,
    at: u64,
    /// Where what is no record begins that lies before it; `at` if there is nothing of the kind.
    gap: u64,
}

/// A file that is read from, and memory for one record.
struct Reader {
    path: PathBuf,
    file: File,
    bytes: u64,
    record: Vec<u8>,
}

/// Hands the records after `position.applied` to `take`, in order.
pub(in crate::embedded) fn recover(
    paths: &[PathBuf],
    position: Position,
    take: &mut Take<'_>,
) -> Result<(), StoreError> {
    let mut readers = paths.iter().map(|path| Reader::open(path)).collect::<Result<Vec<_>, _>>()?;
    let mut records = Vec::new();
    for (file, reader) in readers.iter_mut().enumerate() {
        reader.find(file, position, &mut records)?;
    }
    records.sort_by_key(|found| found.header.sequence);
    check(&records, position, &readers)?;
    for found in &records {
        let (header, reader) = (&found.header, &mut readers[found.file]);
        let unreadable = corrupt(&reader.path, format!("the record at {} does not hold points", found.at));
        let payload = reader.payload(header, found.at, position.seed)?;
        let points = payload.and_then(|payload| Some((payload, read_points(payload)?)));
        let (payload, entries) = points.ok_or(unreadable)?;
        take(header.sequence, payload, entries)?;
    }
    Ok(())
}

/// Refuses records that do not follow each other and the data.
fn check(records: &[Located], position: Position, readers: &[Reader]) -> Result<(), StoreError> {
    let (mut expected, mut before): (u64, Option<&Located>) = (position.applied + 1, None);
    for found in records {
        let (header, path) = (&found.header, &readers[found.file].path);
        let why = if header.sequence < expected {
            format!("record {} is there twice, once at offset {}", header.sequence, found.at)
        } else if header.sequence > expected {
            // It should lie in the gap before this one, or else behind the one before it.
            let (path, at) = match before {
                Some(before) if found.gap == found.at => {
                    (&readers[before.file].path, before.at + before.header.bytes)
                }
                _ => (path, found.gap),
            };
            let why = format!(
                "record {expected} is missing or damaged at offset {at}, but record {} is whole",
                header.sequence
            );
            return Err(corrupt(path, why));
        } else if (header.epoch >> 32) != u64::from(position.run)
            || before.is_some_and(|before| before.header.epoch > header.epoch)
        {
            format!(
                "record {} at offset {} is of epoch {:#x}, which does not belong to run {}",
                header.sequence, found.at, header.epoch, position.run
            )
        } else {
            (expected, before) = (expected + 1, Some(found));
            continue;
        };
        return Err(corrupt(path, why));
    }
    Ok(())
}

fn corrupt(path: &Path, why: String) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), why }
}

impl Reader {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let open = || {
            let file = File::open(path)?;
            let bytes = file.metadata()?.len();
            Ok(Self { path: path.to_owned(), file, bytes, record: Vec::new() })
        };
        open().map_err(|error| StoreError::from_io(path, "opening the journal", &error))
    }

    /// Adds the whole records that the data does not have.
    fn find(
        &mut self,
        file: usize,
        position: Position,
        records: &mut Vec<Located>,
    ) -> Result<(), StoreError> {
        let (mut at, mut gap) = (0, 0);
        while at + (BLOCK_BYTES as u64) <= self.bytes {
            let header = self.read(at, BLOCK_BYTES)?.and_then(|block| Header::read(block.first_chunk()?));
            let whole = match header {
                Some(header) if self.payload(&header, at, position.seed)?.is_some() => Some(header),
                _ => None,
            };
            let Some(header) = whole else {
                at += BLOCK_BYTES as u64;
                continue;
            };
            if header.sequence > position.applied {
                records.push(Located { header, file, at, gap });
            }
            at += header.bytes;
            gap = at;
        }
        Ok(())
    }

    /// The payload of the record at `at`; `None` if it is not whole.
    fn payload(&mut self, header: &Header, at: u64, seed: u64) -> Result<Option<&[u8]>, StoreError> {
        if header.bytes > self.bytes - at {
            return Ok(None);
        }
        let Ok(bytes) = usize::try_from(header.bytes) else { return Ok(None) };
        Ok(self.read(at, bytes)?.and_then(|record| header.payload(record, seed)))
    }

    /// Reads so many bytes, of which the first [`HEADER_BYTES`] are a header; `None` if the file has not so many.
    fn read(&mut self, at: u64, bytes: usize) -> Result<Option<&[u8]>, StoreError> {
        debug_assert!(bytes >= HEADER_BYTES);
        self.record.resize(bytes, 0);
        let read = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(&mut self.record));
        match read {
            Ok(()) => Ok(Some(&self.record)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(StoreError::from_io(&self.path, "reading the journal", &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::record::Draft;
    use super::*;
    use crate::Keyspace;
    use crate::batch::Point;

    const SEED: u64 = 99;
    const BLOCK: usize = BLOCK_BYTES;

    /// A record of so many blocks, its sequence number in each byte of its value.
    fn record(epoch: u64, sequence: u64, blocks: usize) -> Vec<u8> {
        let value = vec![sequence as u8; blocks * BLOCK - 60];
        let mut draft = Draft::default();
        draft.fill(&[Point { keyspace: Keyspace(0), key: b"k", value: Some(&value) }]).unwrap();
        let record = draft.seal((1 << 32) + epoch, sequence, SEED).to_vec();
        assert_eq!(record.len(), blocks * BLOCK);
        record
    }

    /// The sequence numbers that are recovered from segments of these contents after the commit `applied`.
    fn recovered(segments: &[Vec<u8>], applied: u64) -> Result<Vec<u64>, (String, String)> {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (number, content) in segments.iter().enumerate() {
            let path = folder.path().join(number.to_string());
            fs::write(&path, content).unwrap();
            paths.push(path);
        }
        let mut found = Vec::new();
        let position = Position { applied, run: 1, seed: SEED };
        let result = recover(&paths, position, &mut |sequence, payload, entries| {
            assert_eq!(entries.len(), 1);
            assert!(payload[8..].iter().all(|byte| *byte == sequence as u8), "record {sequence}");
            found.push(sequence);
            Ok(())
        });
        match result {
            Ok(()) => Ok(found),
            Err(StoreError::Corrupt { path, why }) => {
                assert!(found.is_empty(), "nothing is handed out of a damaged journal");
                Err((path.file_name().unwrap().to_str().unwrap().to_owned(), why))
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn records_come_in_order_whatever_the_order_of_files() {
        let first = [record(0, 1, 1), record(0, 2, 2), vec![0; BLOCK]].concat();
        let second = [record(1, 3, 3), record(1, 4, 1)].concat();
        let third = vec![0; 8 * BLOCK];
        let segments = [third, second, first];
        assert_eq!(recovered(&segments, 0), Ok(vec![1, 2, 3, 4]));
        assert_eq!(recovered(&segments, 2), Ok(vec![3, 4]));
        assert_eq!(recovered(&segments, 4), Ok(vec![]));
        assert_eq!(recovered(&[], 7), Ok(vec![]));
    }

    #[test]
    fn the_last_record_is_whole_or_not_there() {
        let before = [record(0, 5, 1), record(0, 6, 2)].concat();
        let whole = [before.clone(), record(0, 7, 2)].concat();
        assert_eq!(recovered(std::slice::from_ref(&whole), 4), Ok(vec![5, 6, 7]));
        for at in before.len()..whole.len() {
            // What was in the segment before: zeros, another use's records, anything.
            let old = match at % 3 {
                0 => vec![0; whole.len() - at],
                1 => vec![0xa5; whole.len() - at],
                _ => record(0, 3, 2).split_off(at - before.len()),
            };
            let torn = [&whole[..at], &old].concat();
            assert_eq!(recovered(&[torn], 4), Ok(vec![5, 6]), "torn at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            assert_eq!(recovered(&[changed], 4), Ok(vec![5, 6]), "changed at {at}");
            if at % 64 == 0 {
                assert_eq!(recovered(&[whole[..at].to_vec()], 4), Ok(vec![5, 6]), "cut at {at}");
            }
        }
    }

    #[test]
    fn a_damaged_record_before_a_whole_one_is_reported_with_its_place() {
        let whole = [record(0, 1, 1), record(0, 2, 2), record(0, 3, 1), vec![0; BLOCK]].concat();
        for at in (BLOCK..3 * BLOCK).step_by(7).chain([3 * BLOCK - 1]) {
            let mut changed = whole.clone();
            changed[at] ^= 0x40;
            let why = format!("record 2 is missing or damaged at offset {BLOCK}, but record 3 is whole");
            assert_eq!(recovered(&[changed, record(1, 4, 1)], 0), Err(("0".to_owned(), why)), "{at}");
        }
        // The end of one segment, the beginning of one, and one that is missing.
        let mut end = whole.clone();
        end[3 * BLOCK..].fill(0);
        let why = format!("record 3 is missing or damaged at offset {}, but record 4 is whole", 3 * BLOCK);
        assert_eq!(recovered(&[end.clone(), record(1, 4, 1)], 0), Err(("0".to_owned(), why)));
        let begin = [vec![0; BLOCK], record(1, 5, 1)].concat();
        let why = "record 4 is missing or damaged at offset 0, but record 5 is whole".to_owned();
        assert_eq!(recovered(&[whole.clone(), begin], 0), Err(("1".to_owned(), why)));
        let why = "record 1 is missing or damaged at offset 0, but record 4 is whole".to_owned();
        assert_eq!(recovered(&[record(1, 4, 1)], 0), Err(("0".to_owned(), why)));
        // But not if the data has it.
        assert_eq!(recovered(&[record(1, 4, 1)], 3), Ok(vec![4]));
    }

    #[test]
    fn older_records_behind_newer_ones_are_passed_over() {
        let older: Vec<u8> = (1..=6).flat_map(|sequence| record(0, sequence, 1)).collect();
        for newer in 0..=6 {
            let mut segment = older.clone();
            for at in 0..newer {
                segment[at * BLOCK..(at + 1) * BLOCK].copy_from_slice(&record(3, 7 + at as u64, 1));
            }
            let expected: Vec<u64> = (7..7 + newer as u64).collect();
            assert_eq!(recovered(&[segment.clone()], 6), Ok(expected.clone()));
            // The next was being written.
            if newer < 6 {
                segment[newer * BLOCK..][..100].copy_from_slice(&record(3, 7 + newer as u64, 2)[..100]);
                assert_eq!(recovered(&[segment], 6), Ok(expected));
            }
        }
    }

    #[test]
    fn records_of_another_store_run_or_order_are_not_taken() {
        let mut draft = Draft::default();
        draft.fill(&[Point { keyspace: Keyspace(0), key: b"k", value: None }]).unwrap();
        let foreign = draft.seal(1 << 32, 1, SEED + 1).to_vec();
        assert_eq!(recovered(&[foreign], 0), Ok(vec![]));
        let other_run = draft.seal(2 << 32, 1, SEED).to_vec();
        let (_, why) = recovered(&[other_run], 0).unwrap_err();
        assert!(why.contains("epoch 0x200000000"), "{why}");
        let (_, why) = recovered(&[record(1, 1, 1), record(0, 2, 1)], 0).unwrap_err();
        assert!(why.contains("record 2 at offset 0 is of epoch"), "{why}");
        let (_, why) = recovered(&[record(0, 1, 1), record(1, 1, 1)], 0).unwrap_err();
        assert_eq!(why, "record 1 is there twice, once at offset 0");
    }
}
