//! `corollary schema check|fmt`.

use std::path::Path;

use corollary_schema::plan::describe::describe;
use corollary_schema::{Field, FieldKind, Ids, Schema, check as check_schema};
use corollary_syntax::{format_schema, render};

use super::{Failure, open};
use crate::http::openapi::document;

/// The schema in a file; mistakes are the failure, warnings are told.
fn checked(file: &Path) -> Result<Schema, Failure> {
    let text = open::read_schema(file)?;
    let checked = check_schema(&text, &mut Ids::default());
    let told = render(&checked.diagnostics, &file.display().to_string(), &text);
    let schema = checked.schema.ok_or(Failure { message: told.clone(), code: 2 })?;
    if !checked.diagnostics.is_empty() {
        eprint!("{told}");
    }
    Ok(schema)
}

/// Writes the OpenAPI document.
pub fn openapi(file: &Path) -> Result<(), Failure> {
    println!("{:#}", document(&checked(file)?));
    Ok(())
}

/// Lists mistakes, or shows the plan.
pub fn check(file: &Path, plan: bool) -> Result<(), Failure> {
    let schema = checked(file)?;
    if plan {
        print!("{}", describe(&schema));
        return Ok(());
    }
    let derived = |field: &&Field| matches!(field.kind, FieldKind::Derived { .. });
    let count = schema.types.iter().flat_map(|ty| &ty.fields).filter(derived).count();
    let types = schema.types().filter(|(_, ty)| ty.visible()).count();
    println!("{} is in order: {} types, {count} derived fields", file.display(), types);
    Ok(())
}

/// Formats, or tells whether it is formatted.
pub fn fmt(file: &Path, only_check: bool) -> Result<(), Failure> {
    let text = open::read_schema(file)?;
    let formatted = format_schema(&text).map_err(|diagnostics| Failure {
        message: render(&diagnostics, &file.display().to_string(), &text),
        code: 2,
    })?;
    if formatted == text {
        return Ok(());
    }
    if only_check {
        return Err(format!("{} is not in the canonical format", file.display()).into());
    }
    write_whole(file, &formatted)
}

/// Replaces a file as a whole, so that nothing is lost when writing fails half-way.
fn write_whole(file: &Path, text: &str) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::from(format!("{} cannot be written: {error}", file.display()));
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    std::io::Write::write_all(&mut new, text.as_bytes()).map_err(failed)?;
    if let Ok(metadata) = std::fs::metadata(file) {
        new.as_file().set_permissions(metadata.permissions()).map_err(failed)?;
    }
    new.persist(file).map_err(|error| failed(error.error))?;
    Ok(())
}
