//! The field option `actor`: the field by which an actor is found among the resources, as `ego`.
//!
//! It is a stored text that no two resources have, and there is one such field in a schema: then a name is that of one resource, or of none.

use corollary_syntax::ast;
use corollary_syntax::diagnostic::Diagnostic;

use crate::model::{FieldKind, FieldRef, Schema, TypeIx, ValueType};

/// Finds the field with the option. Fields are there already.
pub fn declare(schema: &mut Schema, texts: &[&ast::TypeText], found: &mut Vec<Diagnostic>) {
    for (at, text) in texts.iter().enumerate() {
        let ty = TypeIx(at as u32);
        for member in &text.fields {
            let Some(option) = member.options.iter().find(|option| option.name == "actor") else { continue };
            let resource = schema.ty(ty);
            let Some((slot, field)) = resource.named(&member.name.name) else { continue };
            // Where it may not stand at all, that has been told.
            if !matches!(field.kind, FieldKind::Stored(ValueType::Str)) {
                continue;
            }
            let mut refuse = |message: String, help: String| {
                found.push(Diagnostic::error("actor", option.span, message).help(help));
            };
            let (owner, name) = (&resource.name, &field.name);
            if !field.rules.unique {
                let message = format!("`{owner}.{name}` is not `unique`: an actor is one resource");
                refuse(message, format!("as in `{name}: str unique actor`"));
            } else if let Some(first) = schema.ego {
                let (owner, name) = (&schema.ty(first.ty).name, &schema.field(first).name);
                let message = format!("actors are found by `{owner}.{name}` already");
                refuse(message, "one field of one type has the option `actor`".into());
            } else {
                schema.ego = Some(FieldRef { ty, slot });
            }
        }
    }
}
