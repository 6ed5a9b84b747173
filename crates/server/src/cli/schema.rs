//! `corollary schema …`: what a schema file says, and in which forms.

use std::path::Path;

use corollary_schema::mounts::explain::{explain as explain_mount, explain_all as explain_mounts};
use corollary_schema::plan::describe::describe;
use corollary_schema::plan::explain::{explain as explain_field, explain_all, explain_type};
use corollary_schema::{Field, FieldKind, FieldRef, Schema};
use corollary_syntax::{format_schema, nearest};

use super::source::Source;
use super::{Failure, open};
use crate::http::openapi::document;

/// The schema in a file; mistakes are the failure, warnings are told.
fn checked(file: &Path) -> Result<Schema, Failure> {
    let source = Source::read(file)?;
    let checked = source.check();
    let schema = checked.schema.ok_or_else(|| source.mistakes(&checked.diagnostics))?;
    if !checked.diagnostics.is_empty() {
        eprint!("{}", source.render(&checked.diagnostics));
    }
    Ok(schema)
}

/// Explains one derived field, those of a type and its indexes over several fields, one mount, or all.
pub fn explain(what: Option<&str>, file: Option<&Path>) -> Result<(), Failure> {
    let is_file = |what: &&str| what.ends_with(".cor") || what.ends_with(".json");
    let (what, file) = match (what, file) {
        (Some(only), None) if is_file(&only) => (None, Path::new(only)),
        (what, file) => (what, file.unwrap_or(Path::new("schema.cor"))),
    };
    let schema = checked(file)?;
    let Some(what) = what else {
        let said = [explain_all(&schema), explain_mounts(&schema)];
        print!("{}", said.into_iter().filter(|said| !said.is_empty()).collect::<Vec<_>>().join("\n"));
        return Ok(());
    };
    if let Some(mount) = schema.mounts.iter().find(|mount| mount.name() == what) {
        print!("{}", explain_mount(&schema, mount));
        return Ok(());
    }
    let usage = |message: String| Failure { message, code: 2 };
    let Some((ty, field)) = what.split_once('.') else {
        let ty = open::type_named(&schema, what).map_err(|failure| {
            usage(format!("{}; write TYPE.FIELD for one derived field, as Customer.total", failure.message))
        })?;
        let explained = explain_type(&schema, ty);
        if explained.is_empty() {
            return Err(usage(format!("{what} has no derived field, and no index over several fields")));
        }
        print!("{explained}");
        return Ok(());
    };
    let ty = open::type_named(&schema, ty)?;
    let named = schema.ty(ty).named(field).map(|(slot, _)| FieldRef { ty, slot });
    let explained = named.and_then(|field| explain_field(&schema, field));
    let explained = explained.ok_or_else(|| {
        let of = schema.ty(ty);
        let derived = of.slots().filter(|(_, field)| matches!(field.kind, FieldKind::Derived { .. }));
        let near = nearest(field, derived.map(|(_, field)| field.name.as_str()));
        let help = near.map_or(String::new(), |near| format!("; did you mean {}.{near}?", of.name));
        usage(format!("{} has no derived field {field}{help}", of.name))
    })?;
    print!("{explained}");
    Ok(())
}

/// Writes the JSON form.
pub fn json(file: &Path) -> Result<(), Failure> {
    print!("{}", Source::read(file)?.json()?);
    Ok(())
}

/// Writes the text, in the canonical format.
pub fn text(file: &Path) -> Result<(), Failure> {
    let source = Source::read(file)?;
    print!("{}", format_schema(&source.text()?).map_err(|found| source.mistakes(&found))?);
    Ok(())
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
    let source = Source::read(file)?;
    let formatted = source.formatted()?;
    if formatted == source.content() {
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
