//! Records: what one commit is in the journal.
//!
//! [`format`](super::super::format) describes them byte by byte.
//!
//! Invariant: a record is whole blocks, so that none of them is written again while the record counts; and its checksum
//! comes last, so that one of which only the front was written is not taken for whole, whatever stood behind it. Read
//! next: [`recover`](super::recover).

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::overlay::Entry;
use crate::StoreError;
use crate::batch::Point;

/// What records are aligned to: a page of the system's cache and a sector of the device, or several.
pub(in crate::embedded) const BLOCK_BYTES: usize = 4096;
/// Where the payload begins.
pub(in crate::embedded) const HEADER_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 8;
const MAGIC: [u8; 4] = *b"CRLJ";
/// The most memory that a draft keeps for records that are much smaller than that.
const KEPT_BYTES: usize = 16 << 20;
/// Bytes of a point before its key.
const POINT_BYTES: usize = 7;

/// A record that is built and built again in the same memory.
#[derive(Default)]
pub(in crate::embedded) struct Draft {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    payload_bytes: usize,
}

impl Draft {
    /// Takes up points, which are sorted, instead of what it held.
    pub(in crate::embedded) fn fill(&mut self, points: &[Point<'_>]) -> Result<(), StoreError> {
        self.entries.clear();
        self.bytes.clear();
        let value_bytes = |point: &Point<'_>| point.value.map_or(0, <[u8]>::len);
        let size = |point: &Point<'_>| POINT_BYTES + point.key.len() + value_bytes(point);
        self.payload_bytes = points.iter().map(size).sum();
        let limit = u32::MAX as usize;
        if self.payload_bytes > limit {
            return Err(StoreError::TooLarge { what: "batch", bytes: self.payload_bytes, limit });
        }
        let blocks = (HEADER_BYTES + self.payload_bytes + CHECKSUM_BYTES).div_ceil(BLOCK_BYTES);
        if self.bytes.capacity() > KEPT_BYTES.max(4 * blocks * BLOCK_BYTES) {
            *self = Self { payload_bytes: self.payload_bytes, ..Self::default() };
        }
        self.bytes.reserve(blocks * BLOCK_BYTES);
        self.entries.reserve(points.len());
        self.bytes.resize(HEADER_BYTES, 0);
        for point in points {
            let key_bytes =
                u16::try_from(point.key.len() + 1).expect("a batch is checked for its longest key");
            let value_bytes = match point.value {
                Some(value) => u32::try_from(value.len()).expect("a batch is checked for its longest value"),
                None => Entry::DELETED,
            };
            self.bytes.extend_from_slice(&key_bytes.to_le_bytes());
            self.bytes.extend_from_slice(&value_bytes.to_le_bytes());
            let at = u32::try_from(self.bytes.len() - HEADER_BYTES).expect("the payload is below the limit");
            self.entries.push(Entry { record: 0, at, value_bytes, key_bytes });
            self.bytes.push(point.keyspace.0);
            self.bytes.extend_from_slice(point.key);
            self.bytes.extend_from_slice(point.value.unwrap_or_default());
        }
        self.bytes.resize(blocks * BLOCK_BYTES, 0);
        Ok(())
    }

    /// Gives it its place in the journal. Returns the bytes to be written.
    pub(super) fn seal(&mut self, epoch: u64, sequence: u64, seed: u64) -> &[u8] {
        let blocks = u32::try_from(self.bytes.len() / BLOCK_BYTES).expect("the payload is below the limit");
        self.bytes[..4].copy_from_slice(&MAGIC);
        self.bytes[4..8].copy_from_slice(&blocks.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&epoch.to_le_bytes());
        self.bytes[16..24].copy_from_slice(&sequence.to_le_bytes());
        self.bytes[24..32].copy_from_slice(&(self.payload_bytes as u64).to_le_bytes());
        let covered = self.bytes.len() - CHECKSUM_BYTES;
        let checksum = xxh3_64_with_seed(&self.bytes[..covered], seed);
        self.bytes[covered..].copy_from_slice(&checksum.to_le_bytes());
        &self.bytes
    }

    /// Bytes that it takes in the journal.
    pub(in crate::embedded) fn journal_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The payload, and where its points are.
    pub(in crate::embedded) fn content(&self) -> (&[u8], &[Entry]) {
        (&self.bytes[HEADER_BYTES..HEADER_BYTES + self.payload_bytes], &self.entries)
    }
}

/// The start of a record. It says nothing until the checksum at the end has been found right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Bytes of the whole record.
    pub(super) bytes: u64,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    payload_bytes: u64,
}

impl Header {
    /// Reads the first bytes of what may be a record.
    pub(super) fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        if bytes[..4] != MAGIC {
            return None;
        }
        let header = Self {
            bytes: (number(0) >> 32) * BLOCK_BYTES as u64,
            epoch: number(8),
            sequence: number(16),
            payload_bytes: number(24),
        };
        let room = header.bytes.checked_sub((HEADER_BYTES + CHECKSUM_BYTES) as u64)?;
        (header.payload_bytes <= room).then_some(header)
    }

    /// The payload of the record that `record` holds whole; `None` if its checksum is wrong.
    pub(super) fn payload<'a>(&self, record: &'a [u8], seed: u64) -> Option<&'a [u8]> {
        let (covered, checksum) = record.split_at_checked(record.len().checked_sub(CHECKSUM_BYTES)?)?;
        if xxh3_64_with_seed(covered, seed).to_le_bytes() != checksum {
            return None;
        }
        record.get(HEADER_BYTES..HEADER_BYTES + usize::try_from(self.payload_bytes).ok()?)
    }
}

/// The points of a payload; `None` if it is not a list of sorted points.
pub(super) fn read_points(payload: &[u8]) -> Option<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = 0;
    let mut last: &[u8] = &[];
    while at < payload.len() {
        let (key_bytes, rest) = payload[at..].split_first_chunk::<2>()?;
        let (value_bytes, rest) = rest.split_first_chunk::<4>()?;
        let (key_bytes, value_bytes) = (u16::from_le_bytes(*key_bytes), u32::from_le_bytes(*value_bytes));
        let key = rest.get(..usize::from(key_bytes))?;
        if key <= last {
            return None;
        }
        let begin = payload.len() - rest.len();
        entries.push(Entry { record: 0, at: u32::try_from(begin).ok()?, value_bytes, key_bytes });
        let value_bytes = if value_bytes == Entry::DELETED { 0 } else { value_bytes as usize };
        at = begin + key.len() + value_bytes;
        if at > payload.len() {
            return None;
        }
        last = key;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keyspace;

    fn point(keyspace: u8, key: &'static [u8], value: Option<&'static [u8]>) -> Point<'static> {
        Point { keyspace: Keyspace(keyspace), key, value }
    }

    #[test]
    fn records_are_as_they_are_described() {
        let mut draft = Draft::default();
        draft.fill(&[point(0, b"", Some(b"v")), point(2, b"key", None)]).unwrap();
        let record = draft.seal(0x0000_0007_0000_0002, 9, 77).to_vec();
        let mut expected = b"CRLJ\x01\0\0\0\x02\0\0\0\x07\0\0\0\x09\0\0\0\0\0\0\0\x12\0\0\0\0\0\0\0".to_vec();
        expected.extend_from_slice(b"\x01\0\x01\0\0\0\0v");
        expected.extend_from_slice(b"\x04\0\xff\xff\xff\xff\x02key");
        expected.resize(BLOCK_BYTES - 8, 0);
        let checksum = xxh3_64_with_seed(&expected, 77);
        expected.extend_from_slice(&checksum.to_le_bytes());
        assert!(record == expected, "{:?}", &record[..64]);
        // From the specification of XXH3.
        assert_eq!(xxh3_64_with_seed(b"", 0), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn records_come_back_and_changed_ones_do_not() {
        let value: &'static [u8] = &[5; 9_000];
        let mut draft = Draft::default();
        draft.fill(&[point(1, b"a", Some(value)), point(1, b"b", None), point(3, b"", Some(b""))]).unwrap();
        let record = draft.seal(1, 2, 3).to_vec();
        let header = Header::read(record[..HEADER_BYTES].try_into().unwrap()).unwrap();
        assert_eq!((header.bytes, header.epoch, header.sequence), (3 * BLOCK_BYTES as u64, 1, 2));
        let payload = header.payload(&record, 3).unwrap();
        let (written, entries) = draft.content();
        assert_eq!(payload, written);
        assert_eq!(read_points(payload).unwrap(), entries);
        assert!(header.payload(&record, 4).is_none(), "a record of another store");
        for at in (0..record.len()).step_by(13).chain([record.len() - 1]) {
            let mut changed = record.clone();
            changed[at] ^= 0x10;
            assert!(header.payload(&changed, 3).is_none(), "byte {at}");
        }
    }

    #[test]
    fn what_is_no_list_of_sorted_points_is_refused() {
        let of = |points: &[&[u8]]| read_points(&points.concat()).map(|entries| entries.len());
        let (a, b): (&[u8], &[u8]) = (b"\x02\0\x01\0\0\0\0av", b"\x02\0\xff\xff\xff\xff\0b");
        assert_eq!(of(&[a, b]), Some(2));
        assert_eq!(of(&[]), Some(0));
        for wrong in [&[b, a][..], &[a, a], &[&a[..a.len() - 1]], &[a, &b[..4]], &[b"\0\0\0\0\0\0"]] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
