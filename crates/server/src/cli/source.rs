//! A schema file: text, or the JSON form of one. Told apart by what is in it; mistakes are shown where they stand.

use std::path::Path;

use corollary_schema::{Checked, Ids, check, check_parsed};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::limits::MAX_TEXT_BYTES;
use corollary_syntax::{
    MAX_JSON_BYTES, format_schema, is_json, json_to_schema, parse_schema_json, render, schema_to_json,
};

use super::Failure;

/// What a schema file holds.
pub struct Source {
    /// The name, for messages.
    name: String,
    /// What is in the file.
    content: String,
}

impl Source {
    /// Reads a schema file.
    pub fn read(file: &Path) -> Result<Source, Failure> {
        let shown = file.display();
        match std::fs::metadata(file) {
            Ok(metadata) if metadata.len() > MAX_JSON_BYTES as u64 => {
                return Err(format!("{shown} has more than {MAX_JSON_BYTES} bytes").into());
            }
            _ => {}
        }
        let bytes = std::fs::read(file).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let content = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            format!("{shown} is not UTF-8, at byte {at}")
        })?;
        if !is_json(&content) && content.len() > MAX_TEXT_BYTES {
            return Err(format!("{shown} has more than {MAX_TEXT_BYTES} bytes").into());
        }
        Ok(Source { name: shown.to_string(), content })
    }

    /// The text of a schema; of one in JSON the canonical text.
    pub fn text(&self) -> Result<String, Failure> {
        if is_json(&self.content) {
            json_to_schema(&self.content).map_err(|found| self.mistakes(&found))
        } else {
            Ok(self.content.clone())
        }
    }

    /// The JSON form.
    pub fn json(&self) -> Result<String, Failure> {
        let text = self.text()?;
        schema_to_json(&text).map_err(|found| self.mistakes(&found))
    }

    /// The same in its canonical format, text or JSON as it is.
    pub fn formatted(&self) -> Result<String, Failure> {
        if is_json(&self.content) {
            self.json()
        } else {
            format_schema(&self.content).map_err(|found| self.mistakes(&found))
        }
    }

    /// What is in the file.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The checked schema; all places are in the file.
    pub fn check(&self) -> Checked {
        if is_json(&self.content) {
            check_parsed(parse_schema_json(&self.content), &mut Ids::default())
        } else {
            check(&self.content, &mut Ids::default())
        }
    }

    /// Findings about the file, for people.
    pub fn render(&self, found: &[Diagnostic]) -> String {
        render(found, &self.name, &self.content)
    }

    /// Findings that make the file useless.
    pub fn mistakes(&self, found: &[Diagnostic]) -> Failure {
        Failure { message: self.render(found), code: 2 }
    }
}
