//! Abstract types: their fields become fields of every type that is one.
//!
//! This happens in the syntax tree, before anything is resolved: each type gets the fields of its interfaces before its
//! own, and abstract types themselves are gone. So a field that came from an interface is a field like any other, with a
//! number of its own in each type; an expression in it is typed where it stands, once for each type.

use std::collections::HashMap;

use corollary_syntax::ast::{FieldKindText, FieldText, Ident, SchemaText, TypeExpr, TypeExprKind, TypeText};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::nearest;
use corollary_syntax::span::Span;
use smol_str::SmolStr;

use super::declare::{Abstract, check_name};

/// A tree without abstract types.
pub struct Merged {
    /// The types, with the fields of their interfaces.
    pub tree: SchemaText,
    /// What is left of abstract types.
    pub left: Abstract,
    /// Where abstract types stand: what is wrong there may be found again in each type.
    abstracts: Vec<Span>,
    /// Names of abstract types where only others may stand; told already.
    refused: Vec<Span>,
}

impl Merged {
    /// Leaves of each mistake in an interface one that is told, and of each abstract name where it may not stand, and of
    /// each union, the first thing that was told of it.
    pub fn told_once(&self, found: &mut Vec<Diagnostic>) {
        let inside =
            |span: Span| self.abstracts.iter().any(|it| it.start <= span.start && span.end <= it.end);
        let unions = found.iter().filter(|diagnostic| diagnostic.code == "no-union");
        let unions: Vec<Span> = unions.map(|diagnostic| diagnostic.span).collect();
        let is_union = |span: Span| unions.iter().any(|it| span.start <= it.start && it.end <= span.end);
        let mut told: Vec<(Span, &'static str)> = Vec::new();
        found.retain(|diagnostic| {
            let here = (diagnostic.span, diagnostic.code);
            let again = inside(diagnostic.span) && told.contains(&here);
            told.push(here);
            let span = diagnostic.span;
            let refused =
                diagnostic.code == "unknown-type" && (self.refused.contains(&span) || is_union(span));
            !(again || refused)
        });
    }
}

/// Puts the fields of interfaces into the types.
pub fn merge(tree: &SchemaText, found: &mut Vec<Diagnostic>) -> Merged {
    let mut abstracts: HashMap<&str, &TypeText> = HashMap::new();
    for (at, ty) in tree.types.iter().enumerate() {
        // Of two that are not abstract it is told where they are declared.
        let same =
            |other: &&TypeText| other.name.name == ty.name.name && (other.is_abstract || ty.is_abstract);
        if tree.types[..at].iter().any(|other| same(&other)) {
            let message = format!("there are two types `{}`", ty.name.name);
            found.push(Diagnostic::error("duplicate-type", ty.name.span, message));
        }
    }
    for ty in tree.types.iter().filter(|ty| ty.is_abstract) {
        check_name(&ty.name, "a type", found);
        abstracts.entry(&ty.name.name).or_insert(ty);
        for option in &ty.options {
            let message = format!("an abstract type has no option `{}`", option.name);
            found.push(Diagnostic::error("unsupported", option.span, message));
        }
    }
    let merging = Merging { tree, abstracts };
    let mut refused = Vec::new();
    for field in tree.types.iter().flat_map(|ty| &ty.fields) {
        if let FieldKindText::Stored(ty) = &field.kind {
            merging.refuse_members(ty, &mut refused, found);
        }
    }
    for ty in tree.types.iter().filter(|ty| ty.is_abstract) {
        merging.refuse_unused(ty, found);
    }
    let types = tree.types.iter().filter(|ty| !ty.is_abstract).map(|ty| {
        let mut merged = ty.clone();
        merged.fields = merging.fields(ty, found);
        merged
    });
    let types = types.collect();
    let spans = tree.types.iter().filter(|ty| ty.is_abstract).map(|ty| ty.span).collect();
    let left = merging.left();
    Merged {
        tree: SchemaText { name: tree.name.clone(), types, mounts: tree.mounts.clone() },
        left,
        abstracts: spans,
        refused,
    }
}

struct Merging<'t> {
    tree: &'t SchemaText,
    abstracts: HashMap<&'t str, &'t TypeText>,
}

impl<'t> Merging<'t> {
    /// All fields of a type, those of its interfaces first.
    fn fields(&self, ty: &TypeText, found: &mut Vec<Diagnostic>) -> Vec<FieldText> {
        let mut interfaces = Vec::new();
        self.collect(ty, &mut Vec::new(), &mut interfaces, found);
        let mut fields: Vec<(&TypeText, &FieldText)> = Vec::new();
        for (interface, named) in interfaces {
            for field in &interface.fields {
                match fields.iter().find(|(_, other)| other.name.name == field.name.name) {
                    // A name that stands twice in one interface is told as that.
                    Some((other, _)) if other.name.name != interface.name.name => {
                        let name = &field.name.name;
                        let message = format!(
                            "`{}` and `{}` both have a field `{name}`",
                            other.name.name, interface.name.name
                        );
                        found.push(
                            Diagnostic::error("duplicate-field", named, message)
                                .help("put the field into an abstract type that both are"),
                        );
                    }
                    _ => fields.push((interface, field)),
                }
            }
        }
        for field in &ty.fields {
            match fields.iter().find(|(of, other)| of.is_abstract && other.name.name == field.name.name) {
                Some((interface, _)) => {
                    let name = &field.name.name;
                    let message = format!("`{name}` is a field of `{}` already", interface.name.name);
                    found.push(
                        Diagnostic::error("duplicate-field", field.name.span, message)
                            .help("a field of an interface cannot be declared again"),
                    );
                }
                None => fields.push((ty, field)),
            }
        }
        fields.into_iter().map(|(_, field)| field.clone()).collect()
    }

    /// The interfaces of a type, those of interfaces before them, each once, with where the type names it.
    fn collect(
        &self,
        ty: &TypeText,
        open: &mut Vec<&'t str>,
        interfaces: &mut Vec<(&'t TypeText, Span)>,
        found: &mut Vec<Diagnostic>,
    ) {
        for (at, named) in ty.interfaces.iter().enumerate() {
            if ty.interfaces[..at].iter().any(|other| other.name == named.name) {
                let message = format!("`{}` stands twice", named.name);
                found.push(Diagnostic::error("duplicate-interface", named.span, message));
                continue;
            }
            let Some(interface) = self.interface(named, found) else { continue };
            let name = interface.name.name.as_str();
            if open.contains(&name) {
                let message = format!("`{name}` would be itself");
                found.push(Diagnostic::error("interface-cycle", named.span, message));
                continue;
            }
            open.push(name);
            self.collect(interface, open, interfaces, found);
            open.pop();
            if !interfaces.iter().any(|(other, _)| other.name.name == interface.name.name) {
                interfaces.push((interface, named.span));
            }
        }
    }

    /// The abstract type with a name.
    fn interface(&self, named: &Ident, found: &mut Vec<Diagnostic>) -> Option<&'t TypeText> {
        if let Some(interface) = self.abstracts.get(named.name.as_str()) {
            return Some(interface);
        }
        let concrete = self.tree.types.iter().any(|ty| ty.name.name == named.name);
        let diagnostic = match concrete {
            true => {
                Diagnostic::error("not-abstract", named.span, format!("`{}` is not abstract", named.name))
                    .help(format!("write `abstract type {}` for what other types can be", named.name))
            }
            false => {
                let message = format!("there is no abstract type `{}`", named.name);
                let diagnostic = Diagnostic::error("unknown-type", named.span, message);
                match nearest(&named.name, self.abstracts.keys().copied()) {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None => diagnostic,
                }
            }
        };
        found.push(diagnostic);
        None
    }

    /// The types that are one of each abstract type, its fields, and the root collections of those.
    fn left(&self) -> Abstract {
        let mut concrete: HashMap<SmolStr, Vec<SmolStr>> =
            self.abstracts.keys().map(|name| (SmolStr::new(name), Vec::new())).collect();
        for ty in self.tree.types.iter().filter(|ty| !ty.is_abstract) {
            let mut interfaces = Vec::new();
            self.collect(ty, &mut Vec::new(), &mut interfaces, &mut Vec::new());
            for (interface, _) in interfaces {
                if let Some(types) = concrete.get_mut(&interface.name.name) {
                    types.push(ty.name.name.clone());
                }
            }
        }
        let roots = self.tree.types.iter().filter(|ty| ty.is_abstract);
        let roots = roots.filter_map(|ty| Some((ty.root.clone()?, ty.name.name.clone()))).collect();
        let fields = self.abstracts.values().map(|ty| {
            let fields = self.fields(ty, &mut Vec::new()).into_iter().map(|field| field.name);
            (ty.name.name.clone(), fields.collect())
        });
        Abstract { types: concrete, fields: fields.collect(), roots }
    }

    /// An abstract type that no type is, directly or through another, would never be looked at.
    fn refuse_unused(&self, ty: &TypeText, found: &mut Vec<Diagnostic>) {
        let is_one = |other: &&TypeText| {
            let mut interfaces = Vec::new();
            self.collect(other, &mut Vec::new(), &mut interfaces, &mut Vec::new());
            interfaces.iter().any(|(interface, _)| interface.name.name == ty.name.name)
        };
        if !self.tree.types.iter().filter(|other| !other.is_abstract).any(|other| is_one(&other)) {
            let message = format!("no type is a `{}`", ty.name.name);
            found.push(
                Diagnostic::error("unused-interface", ty.name.span, message)
                    .help(format!("as in `type X is {} in xs {{ … }}`", ty.name.name)),
            );
        }
    }

    /// A link within objects leads to one type.
    fn refuse_members(&self, ty: &TypeExpr, refused: &mut Vec<Span>, found: &mut Vec<Diagnostic>) {
        for member in members(ty) {
            let target = match &member.kind {
                FieldKindText::Stored(ty) => {
                    self.refuse_members(ty, refused, found);
                    continue;
                }
                FieldKindText::Link(targets) => match targets.as_slice() {
                    [] => continue,
                    [target] if !self.abstracts.contains_key(target.name.as_str()) => continue,
                    [target, ..] => target,
                },
                _ => continue,
            };
            let message = "a link within an object leads to one type";
            found.push(
                Diagnostic::error("unsupported", target.span, message)
                    .help("name one type; a link to one of several is a field of the type itself"),
            );
            refused.push(target.span);
        }
    }
}

/// The members of the objects that a value consists of; of an object in an object those of the outer one.
fn members(ty: &TypeExpr) -> &[FieldText] {
    match &ty.kind {
        TypeExprKind::Object(members) => members,
        TypeExprKind::Union(union) => &union.variants,
        TypeExprKind::List(of) | TypeExprKind::Set(of) | TypeExprKind::Map(of) => members(of),
        TypeExprKind::Name(_) | TypeExprKind::Enum(_) => &[],
    }
}
