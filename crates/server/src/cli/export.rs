//! `corollary export`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use corollary_engine::lazy;
use corollary_engine::query::{self, From, Query};
use corollary_engine::updates::Settled;
use corollary_engine::{EngineError, among};
use corollary_schema::{FieldKind, FieldRef};
use corollary_value::{Id, Value};
use jiff::Timestamp;

use super::{Failure, Place, open};
use crate::json::encode::{bare, bare_among, text};

/// Resources written at a time.
const PAGE: usize = 1_000;

/// Writes the resources of a type.
pub fn run(ty: &str, out: Option<&Path>, derived: bool, place: &Place) -> Result<(), Failure> {
    let (executor, _) = open::open_existing(place)?;
    let engine = executor.engine();
    let ty = open::type_named(engine.schema(), ty)?;
    let mut out: Box<dyn Write> = match out {
        Some(path) => {
            let file = File::create(path);
            Box::new(file.map_err(|error| format!("{} cannot be written: {error}", path.display()))?)
        }
        None => Box::new(io::stdout().lock()),
    };
    let mut out = BufWriter::new(&mut out);
    // Children of ordered collections come as they stand, since an import puts each at the end. No index has the order of
    // all of them, so they are sorted once.
    let schema = engine.schema();
    let positions = schema.ty(ty).positions.iter().map(|position| FieldRef { ty, slot: position.slot });
    let order: Vec<_> = positions.map(query::by_position).collect();
    let limit = if order.is_empty() { PAGE } else { usize::MAX };
    let mut after = None;
    loop {
        let query = Query {
            ty,
            from: From::All,
            filter: None,
            order: order.clone(),
            limit,
            after: after.take(),
            scan_limit: usize::MAX,
        };
        let page = engine.read(Timestamp::now(), |working| {
            let mut page = query::run(working, &query)?;
            let settled = Settled::new(working);
            let mut pending = None;
            if derived && (!schema.ty(ty).lazy.is_empty() || !settled.is_trivial()) {
                let ids: Vec<&Id> = page.items.iter().map(|item| &item.key.id).collect();
                lazy::prefetch(working, ty, &ids, &|_| true)?;
                for item in &mut page.items {
                    let shown = settled.doc(&item.key, &item.doc, usize::MAX)?;
                    let shown = settled.fill(&item.key, shown, usize::MAX, &|_| true)?;
                    pending = pending.or(shown.pending.first().copied());
                    item.doc = Arc::new(shown.doc.into_owned());
                }
            }
            Ok((page, pending))
        });
        let (page, pending) = page.map_err(|error: EngineError| error.to_string())?;
        if let Some(slot) = pending {
            let ty = engine.schema().ty(ty);
            let field = &ty.field(slot).name;
            let name = &ty.name;
            return Err(format!(
                "{name}.{field} is being brought up to date; serve the data until that is done"
            )
            .into());
        }
        let mut line = Vec::new();
        for item in &page.items {
            line.clear();
            line.extend_from_slice(b"{\"_id\":");
            text(&item.key.id.to_string(), &mut line);
            let resource = engine.schema().ty(ty);
            for (slot, field) in resource.slots().filter(|(_, field)| !field.name.starts_with('#')) {
                // What is told of a file cannot be written again without its bytes.
                let written = field.is_written() && (derived || !field.is_file());
                let shown = written || (derived && matches!(field.kind, FieldKind::Derived { .. }));
                let value = item.doc.get(if derived { resource.shown(slot) } else { slot });
                if shown && among::is_set(engine.schema(), ty, slot, &item.doc) {
                    line.extend_from_slice(format!(",\"{}\":", field.name).as_bytes());
                    bare_among(engine.schema(), ty, slot, &item.doc, &mut line);
                } else if shown && !matches!(value, Value::Absent) {
                    line.extend_from_slice(format!(",\"{}\":", field.name).as_bytes());
                    bare(value, &mut line);
                }
            }
            line.extend_from_slice(b"}\n");
            match out.write_all(&line) {
                // Whoever reads has had enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written.map_err(not_written)?,
            }
        }
        match page.items.last().filter(|_| page.more) {
            Some(last) => after = Some(last.position.clone()),
            None => break,
        }
    }
    if schema.ty(ty).files().next().is_some() && !derived {
        eprintln!("the files of {} are not among its lines: a backup has them", schema.ty(ty).name);
    }
    match out.flush() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        flushed => flushed.map_err(not_written),
    }
}

fn not_written(error: io::Error) -> Failure {
    format!("the export cannot be written: {error}").into()
}
