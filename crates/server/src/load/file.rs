//! Opens a file of rows: its form by the name (`.csv`, `.ndjson`), unpacked where it ends in `.gz` or `.zip`.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

/// The form of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Comma-separated values, the first row names the fields.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

/// A file of rows, open.
pub struct Source {
    /// How the rows are written.
    pub form: Form,
    /// Its text.
    pub text: Box<dyn Read + Send>,
    /// Bytes of the file as it lies there.
    pub bytes: u64,
    /// Bytes of it that have been read.
    pub read: Arc<AtomicU64>,
}

/// Counts what is read of a file.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(into)?;
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

fn form_of(name: &str) -> Option<Form> {
    let name = name.to_ascii_lowercase();
    match name.rsplit_once('.')?.1 {
        "csv" => Some(Form::Csv),
        "ndjson" | "jsonl" => Some(Form::Ndjson),
        _ => None,
    }
}

fn unknown(name: &str) -> String {
    format!("{name} is neither .csv nor .ndjson (nor one of them with .gz or .zip behind it)")
}

/// Opens a file; the error is one sentence that names it.
pub fn open(path: &Path) -> Result<Source, String> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| format!("{shown} cannot be opened: {error}"))?;
    let bytes = file.metadata().map_err(|error| format!("{shown} cannot be read: {error}"))?.len();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(inner) = name.strip_suffix(".zip") {
        return zipped(file, bytes, &name, inner);
    }
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted { inner: BufReader::with_capacity(1 << 16, file), read: read.clone() };
    let (name, text): (&str, Box<dyn Read + Send>) = match name.strip_suffix(".gz") {
        Some(inner) => (inner, Box::new(MultiGzDecoder::new(counted))),
        None => (&name, Box::new(counted)),
    };
    let form = form_of(name).ok_or_else(|| unknown(&shown.to_string()))?;
    Ok(Source { form, text, bytes, read })
}

/// A packed file that is in memory already.
pub fn gzipped(name: &str, packed: &'static [u8]) -> Option<Source> {
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted { inner: Cursor::new(packed), read: read.clone() };
    let form = form_of(name.strip_suffix(".gz")?)?;
    Some(Source { form, text: Box::new(MultiGzDecoder::new(counted)), bytes: packed.len() as u64, read })
}

/// The one file of rows in an archive. It is unpacked to a temporary file, since an archive is not read in order.
fn zipped(file: File, bytes: u64, name: &str, inner: &str) -> Result<Source, String> {
    let mut archive = zip::ZipArchive::new(BufReader::new(file))
        .map_err(|error| format!("{name} is no zip archive: {error}"))?;
    let named: Vec<String> =
        archive.file_names().filter(|name| form_of(name).is_some()).map(str::to_string).collect();
    let [entry] = &named[..] else {
        let found = named.len();
        return Err(format!("{name} holds {found} files of rows, and has to hold one: {inner}"));
    };
    let form = form_of(entry).ok_or_else(|| unknown(entry))?;
    let fail = |error: io::Error| format!("{name} cannot be unpacked: {error}");
    let mut packed = archive.by_name(entry).map_err(|error| format!("{name} cannot be unpacked: {error}"))?;
    let mut unpacked = tempfile::tempfile().map_err(fail)?;
    io::copy(&mut packed, &mut unpacked).map_err(fail)?;
    io::Seek::rewind(&mut unpacked).map_err(fail)?;
    let bytes = unpacked.metadata().map_or(bytes, |metadata| metadata.len());
    let read = Arc::new(AtomicU64::new(0));
    let text = Counted { inner: BufReader::with_capacity(1 << 16, unpacked), read: read.clone() };
    Ok(Source { form, text: Box::new(text), bytes, read })
}
