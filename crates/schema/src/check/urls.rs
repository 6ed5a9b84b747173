//! The type option `url := EXPR`: a canonical path of its own for each resource.
//!
//! What the expression gives is a hidden derived field, [`URL_FIELD`], so it is kept true like any other and may depend on
//! whatever a derived field may. Which of the texts lead somewhere is the engine's business (`urls` there).

use corollary_syntax::ast::{self, OptionArgument, OptionText};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::format_expression;
use corollary_value::Value;

use super::declare::{Source, Sources};
use crate::ids::Ids;
use crate::model::{Field, FieldKind, FieldRef, Rules, Schema, Slot, TypeIx};
use crate::names::URL_FIELD;
use crate::typed::{Expr, Kind, Many};

/// Is it the option that is read here?
fn reads(option: &OptionText) -> bool {
    option.name == "url"
}

/// Gives each type with the option the field for it. All fields that have a slot already keep it.
pub fn declare<'t>(
    schema: &mut Schema,
    texts: &[&'t ast::TypeText],
    sources: &mut Sources<'t>,
    ids: &mut Ids,
    found: &mut Vec<Diagnostic>,
) {
    for (at, text) in texts.iter().enumerate() {
        let mut options = text.options.iter().filter(|option| reads(option));
        let Some(option) = options.next() else { continue };
        if let Some(again) = options.next() {
            found.push(Diagnostic::error("duplicate-option", again.span, "`url` stands twice"));
        }
        // Otherwise the parser has told that an expression is missing.
        let OptionArgument::Expr(source) = &option.argument else { continue };
        let ty = &mut schema.types[at];
        let slot = Slot(ty.fields.len() as u32);
        ty.url = Some(slot);
        ty.fields.push(Field {
            id: ids.field_id(&ty.name, &format!("{URL_FIELD} :=")),
            name: URL_FIELD.into(),
            kind: FieldKind::Derived {
                text: format_expression(source),
                expr: Expr::constant(Value::Null, Kind::Null),
                strict: false,
                background: false,
                lazy: false,
            },
            rules: Rules::default(),
            index: false,
            parent_index: None,
            reference_index: false,
            extended: None,
        });
        sources.push((FieldRef { ty: TypeIx(at as u32), slot }, Source::Expr(source)));
    }
}

/// Why the expression of a field is no url, where the field is for one.
pub fn misfit(schema: &Schema, field: FieldRef, expr: &Expr, source: Source<'_>) -> Option<Diagnostic> {
    let is_text = expr.ty.many == Many::One && matches!(expr.ty.kind, Kind::Str | Kind::Null);
    if schema.ty(field.ty).url != Some(field.slot) || is_text {
        return None;
    }
    let is = expr.ty.describe(&|ty| schema.ty(ty).name.clone());
    let message = format!("a url is a text, and this is {is}");
    Some(Diagnostic::error("url-type", source.span(), message).help("as in `url := '/blog/' + self.slug`"))
}
