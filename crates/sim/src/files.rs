//! Files: their bytes on the way into the store before a group, and what a transaction may say of them.
//!
//! The bytes follow from what is told of them, so whoever judges needs to keep none: `content`. Each time that a transaction is
//! run its files come anew, as uploads of their own; what became of none of them is what a sweep has to find.

use std::collections::BTreeMap;
use std::sync::Arc;

use corollary_engine::files::{BlobId, CHUNK_BYTES, Received, Upload, digest};
use corollary_engine::{Edit, Engine, Transaction, Write};
use corollary_value::Value;
use jiff::Timestamp;

use crate::draft::{Fact, FactKind, Member, Rules, ValueType};
use crate::model::{Facts, Place, Step};
use crate::random::Random;
use crate::rules::Codes;

/// What is told of a file, in the order in which it is.
pub fn members() -> Vec<Member> {
    let member = |name, ty| {
        let rules = Rules { required: name != "name", ..Rules::default() };
        Member { of: None, name, ty, rules }
    };
    let (text, number) = (ValueType::Str, ValueType::Int);
    vec![
        member("type", text.clone()),
        member("size", number),
        member("digest", text.clone()),
        member("name", text),
    ]
}

/// The bytes of a file of so many.
fn content(size: u64) -> Vec<u8> {
    vec![(size % 7) as u8; size as usize]
}

/// Something that a client may send as a file; mostly short, now and then of more than one chunk.
pub fn any(random: &mut Random) -> Received {
    let size = match random.below(60) {
        0 => CHUNK_BYTES as u64 + random.below(2) as u64,
        _ => random.below(5) as u64,
    };
    let media_type = (*random.pick(&["text/plain", "image/png"])).into();
    let name = random.percent(20).then(|| "n".into());
    // Where the bytes are is decided when they come.
    Received { blob: BlobId([0; 16]), size, digest: digest(&content(size)), media_type, name }
}

/// Has the bytes of all files of some transactions in the store of an engine, under ids from a number on.
pub fn send(
    engine: &Engine,
    transactions: &mut [Transaction],
    next: &mut u64,
    now: Timestamp,
) -> Result<(), String> {
    for write in transactions.iter_mut().flat_map(|transaction| &mut transaction.writes) {
        let Write::Update(_, edits) = write else { continue };
        for (_, edit) in edits {
            let Edit::File(told) = edit else { continue };
            *next += 1;
            let blob = BlobId(u128::from(*next).to_be_bytes());
            let mut upload = Upload::new(engine.store().clone(), blob);
            let sent = upload.push(&content(told.size), now);
            let sent = sent.and_then(|()| upload.finish(told.media_type.clone(), told.name.clone(), now));
            let received = sent.map_err(|error| format!("a file cannot be sent: {error}"))?;
            if (Received { blob, ..(**told).clone() }) != received {
                return Err(format!("{told:?} came as {received:?}"));
            }
            *told = Arc::new(received);
        }
    }
    Ok(())
}

/// A file changes with bytes that come for it, and in no other way.
pub fn check(facts: &[Vec<Fact<'_>>], steps: &[Step], before: &Facts, now: &Facts) -> Result<(), Codes> {
    let mut sent: BTreeMap<(&Place, &str), Value> = BTreeMap::new();
    for step in steps {
        let Step::Update(place, edits) = step else { continue };
        for (name, edit) in edits {
            if let Edit::File(received) = edit {
                sent.insert((place, name), received.value());
            }
        }
    }
    for (place, record) in &now.records {
        for fact in facts[place.ty].iter().filter(|fact| is_file(fact)) {
            let held =
                |record: &crate::model::Record| record.get(&fact.name).filter(|it| !it.is_null()).cloned();
            let (old, new) = (before.records.get(place).and_then(|it| held(it)), held(record));
            if new.is_some() && new != old && new.as_ref() != sent.get(&(place, fact.name.as_str())) {
                return Err(Codes::from(["file"]));
            }
        }
    }
    Ok(())
}

/// Is it a file?
pub fn is_file(fact: &Fact<'_>) -> bool {
    matches!(fact.kind, FactKind::Stored(ValueType::File))
}
