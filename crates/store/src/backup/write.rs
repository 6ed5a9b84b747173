//! Making a backup: a walk over everything that a snapshot shows.

use std::io::Write;
use std::ops::ControlFlow;

use super::format::{PART_BYTES, Writer, push};
use super::{BackupError, Contents, Labels, Summary};
use crate::{Direction, KeyRange, Keyspace, KeyspaceSpec, Snapshot};

/// Writes all that a snapshot shows in the declared keyspaces, but for entries that `leave_out` names: those that mean
/// something to the processes of this one store only. Takes the memory of a part, however much there is.
///
/// # Errors
///
/// Those of the snapshot and of `out`; what was written by then has no end mark.
pub fn write(
    snapshot: &dyn Snapshot,
    specs: &[KeyspaceSpec],
    labels: Labels,
    leave_out: &dyn Fn(Keyspace, &[u8]) -> bool,
    out: impl Write,
) -> Result<Summary, BackupError> {
    let mut writer = Writer::new(out)?;
    writer.labels(&labels)?;
    let mut summary = Summary { labels, keyspaces: Vec::new() };
    let mut plain = Vec::with_capacity(PART_BYTES);
    for spec in specs {
        writer.keyspace(spec.name)?;
        summary.keyspaces.push(Contents { name: spec.name.to_owned(), ..Contents::default() });
        let mut written = Ok(());
        snapshot.scan(
            spec.keyspace,
            &KeyRange::all(),
            Direction::Forward,
            usize::MAX,
            &mut |key, value| {
                if leave_out(spec.keyspace, key) {
                    return ControlFlow::Continue(());
                }
                summary.count(key, value);
                push(&mut plain, key);
                push(&mut plain, value);
                if plain.len() < PART_BYTES {
                    return ControlFlow::Continue(());
                }
                written = writer.entries(&plain);
                plain.clear();
                if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        )?;
        written?;
        if !plain.is_empty() {
            writer.entries(&plain)?;
            plain.clear();
        }
    }
    writer.end(summary.entries())?;
    Ok(summary)
}
