//! The type option `path NAME`: the field that stands for the id in canonical paths.
//!
//! It is a text that every resource has and no two share, among all of the type, or where a type has no root collection,
//! among the children of one parent: then a path with it leads to one resource. That no name is the id of another
//! resource is held with each write (the engine's `names`).

use corollary_syntax::ast::{self, OptionArgument, OptionText};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::nearest;

use crate::model::{FieldKind, Schema, ValueType};

/// Is it the option that is read here?
fn reads(option: &OptionText) -> bool {
    option.name == "path"
}

/// Finds the field that the option of each type names. Fields and parents are there already.
pub fn declare(schema: &mut Schema, texts: &[&ast::TypeText], found: &mut Vec<Diagnostic>) {
    for (ty, text) in schema.types.iter_mut().zip(texts) {
        let mut options = text.options.iter().filter(|option| reads(option));
        let Some(option) = options.next() else { continue };
        if let Some(again) = options.next() {
            found.push(Diagnostic::error("duplicate-option", again.span, "`path` stands twice"));
        }
        // Otherwise the parser has told that a name is missing.
        let OptionArgument::Word(name) = &option.argument else { continue };
        let Some((slot, field)) = ty.named(&name.name) else {
            let message = format!("`{}` has no field `{}`", ty.name, name.name);
            let names = ty.fields.iter().filter(|field| field.visible()).map(|field| field.name.as_str());
            let help = nearest(&name.name, names).map(|near| format!("did you mean `{near}`?"));
            found.push(Diagnostic::error("unknown-field", name.span, message).maybe_help(help));
            continue;
        };
        let rules = &field.rules;
        let among_siblings = ty.root.is_none() && rules.unique_in_parent;
        let lacks = if matches!(field.kind, FieldKind::Stored(ValueType::Str)) {
            match (rules.required && !rules.nullable, rules.unique || among_siblings) {
                (true, true) => None,
                (false, _) => Some("is not `required`: each resource must have one"),
                (true, false) if ty.root.is_some() => {
                    Some("is not `unique`: a path must lead to one resource")
                }
                (true, false) => {
                    Some("is neither `unique` nor `unique in parent`: a path must lead to one resource")
                }
            }
        } else {
            Some("is no stored `str`")
        };
        match lacks {
            Some(lacks) => {
                let message = format!("`{}.{}` {lacks}", ty.name, name.name);
                let help = format!("as in `{}: str required unique`", name.name);
                found.push(Diagnostic::error("path-field", name.span, message).help(help));
            }
            None => ty.path = Some(slot),
        }
    }
}
