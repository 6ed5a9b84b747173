//! `corollary backup`, `corollary backup verify`, `corollary restore`.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use corollary_store::backup::{BackupError, Summary, verify as verified};
use indicatif::{HumanBytes, ProgressBar};
use jiff::Timestamp;

use super::{Failure, Stored, open};
use crate::backup::{self, MakeError, Moment, Shown};
use crate::http::backup::CONTENT_TYPE;

/// Bytes that are read and written at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// Writes a backup of a store, or of a running server, into a file that is not there yet.
pub fn run(path: &Path, server: Option<&str>, stored: &Stored) -> Result<(), Failure> {
    let draft = Draft::create(path)?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, &draft.file);
    let written = match server {
        Some(url) => {
            download(url, &mut out)?;
            None
        }
        None => {
            let store = open::existing_store(stored)?;
            if !backup::has_data(&*store).map_err(|error| error.to_string())? {
                return Err(format!("there is no data in {}", stored.shown()).into());
            }
            let moment = Moment::open(&*store).map_err(|error| error.to_string())?;
            let written = moment.write(Timestamp::now(), &mut out);
            Some(written.map_err(|MakeError(why)| not_written(path, &why))?)
        }
    };
    out.flush().map_err(|error| not_written(path, &error))?;
    drop(out);
    let summary = match written {
        Some(summary) => summary,
        // What came over the network is read once more: only its end mark says that it is whole.
        None => verified(BufReader::with_capacity(BUFFER_BYTES, draft.reopen()?))
            .map_err(|error| format!("the server broke the backup off: {error}"))?,
    };
    draft.finish()?;
    println!("{}: {}", path.display(), Shown(&summary));
    Ok(())
}

/// Tells whether a backup is whole.
pub fn verify(path: &Path) -> Result<(), Failure> {
    let summary = check(path)?;
    println!("{} is whole: {}", path.display(), Shown(&summary));
    for keyspace in &summary.keyspaces {
        println!("  {:<16} {:>12} entries {:>15} bytes", keyspace.name, keyspace.entries, keyspace.bytes);
    }
    Ok(())
}

/// Brings a backup into an empty store. What is not whole is refused before anything is written.
pub fn restore(path: &Path, stored: &Stored) -> Result<(), Failure> {
    check(path)?;
    let store = open::new_store(stored)?;
    let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
    let bar = ProgressBar::new_spinner();
    let refused = |error: BackupError| match error {
        BackupError::NotEmpty { .. } => format!("{} has data already: {error}", stored.shown()),
        error => format!("{} is not restored, and cannot be served: {error}", stored.shown()),
    };
    let input = BufReader::with_capacity(BUFFER_BYTES, opened(path)?);
    let summary = backup::restore(input, &*store, &mut |so_far: &Summary| {
        bar.set_message(format!("{} of {} packed", HumanBytes(so_far.bytes()), HumanBytes(size)));
        bar.tick();
    });
    bar.finish_and_clear();
    println!("restored {}", Shown(&summary.map_err(refused)?));
    Ok(())
}

fn opened(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| format!("{} cannot be read: {error}", path.display()).into())
}

/// Reads a backup to its end.
fn check(path: &Path) -> Result<Summary, Failure> {
    let input = BufReader::with_capacity(BUFFER_BYTES, opened(path)?);
    verified(input).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn not_written(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    format!("{} cannot be written: {why}", path.display()).into()
}

/// Takes a backup from a running server.
fn download(url: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let url = url.trim_end_matches('/');
    let agent = super::remote::agent();
    let reply = agent.get(format!("{url}/api/_backup")).call();
    let mut reply = reply.map_err(|error| format!("{url} does not answer: {error}"))?;
    if reply.status() != 200 {
        let text = reply.body_mut().read_to_string().unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let why = problem["detail"].as_str().unwrap_or("it is no Corollary server of this version");
        return Err(format!("{url} gives no backup: {why}").into());
    }
    if reply.headers().get("content-type").is_none_or(|kind| kind.as_bytes() != CONTENT_TYPE.as_bytes()) {
        return Err(format!("{url} is no Corollary server of this version").into());
    }
    let mut body = reply.into_body().into_with_config().limit(u64::MAX).reader();
    io::copy(&mut body, out).map_err(|error| format!("{url} broke the backup off: {error}"))?;
    Ok(())
}

/// A file that has its name only when it is whole. It goes when it is dropped before that.
struct Draft {
    file: File,
    draft: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl Draft {
    fn create(path: &Path) -> Result<Draft, Failure> {
        if path.exists() {
            return Err(format!("{} exists already, and is left as it is", path.display()).into());
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let draft = path.with_file_name(name);
        let file = File::options().read(true).write(true).create_new(true).open(&draft);
        let file = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                let draft = draft.display();
                format!("{draft} exists: another backup is being made, or one was broken off; remove it then")
            }
            _ => format!("{} cannot be written: {error}", draft.display()),
        })?;
        Ok(Draft { file, draft, path: path.to_owned(), finished: false })
    }

    /// To be read from the beginning.
    fn reopen(&self) -> Result<File, Failure> {
        opened(&self.draft)
    }

    /// Makes it durable under its name.
    fn finish(mut self) -> Result<(), Failure> {
        let finished = self.file.sync_all().and_then(|()| fs::rename(&self.draft, &self.path));
        finished.map_err(|error| not_written(&self.path, &error))?;
        self.finished = true;
        // The name, too, survives the loss of power.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let synced = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
        synced.map_err(|error| not_written(&self.path, &error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished {
            // What stays tells its name to the next one.
            let _ = fs::remove_file(&self.draft);
        }
    }
}
