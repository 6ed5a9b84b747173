//! Types the expressions of derived fields, in whatever order they need each other, and makes the plan.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::span::Span;

use super::declare::{Source, Sources};
use crate::expr::{Names, Place, check_expr};
use crate::ids::Ids;
use crate::model::{
    Field, FieldKind, FieldRef, OnDelete, Rules, Schema, Slot, TypeIx, ValueType, for_links_of,
};
use crate::plan::lower::Lowering;
use crate::plan::order::{Cycle, finish};
use crate::typed::{Expr, Kind, Node, Type};
use smol_str::format_smolstr;

/// Fills in the expressions and the plan; none where a diagnostic makes that impossible.
pub fn derive(
    schema: Schema,
    sources: Sources,
    ids: &mut Ids,
    found: &mut Vec<Diagnostic>,
) -> Option<Schema> {
    let draft = Draft {
        schema: &schema,
        sources: sources.iter().copied().collect(),
        embedded: RefCell::default(),
        ids: RefCell::new(ids),
        typed: RefCell::default(),
        found: RefCell::default(),
        open: Cell::default(),
        chain: Cell::default(),
    };
    for (field, source) in &sources {
        draft.type_of(*field, source.span());
    }
    let embedded = draft.embedded.into_inner();
    let ids = draft.ids.into_inner();
    let typed = draft.typed.into_inner();
    let mut problems = draft.found.into_inner();
    problems.append(found);
    *found = problems;
    if !found.is_empty() {
        return None;
    }
    let mut exprs = Vec::with_capacity(sources.len());
    for (field, source) in &sources {
        if let Some(State::Done(Some(expr), _)) = typed.get(field) {
            exprs.push((*field, expr.clone(), source.span()));
        }
    }
    let mut schema = schema;
    for (ty, field) in embedded {
        schema.types[ty.0 as usize].fields.push(field);
    }
    for (field, expr, span) in &exprs {
        refuse(&schema, expr, *span, found);
        let place = &mut schema.types[field.ty.0 as usize].fields[field.slot.0 as usize];
        if let FieldKind::Derived { expr: typed, .. } = &mut place.kind {
            *typed = expr.clone();
        }
    }
    if !found.is_empty() {
        return None;
    }
    let mut lowering = Lowering { schema: &mut schema, ids, nodes: Vec::new() };
    for (field, expr, _) in &exprs {
        lowering.derived_field(*field, expr);
    }
    for ty in (0..lowering.schema.types.len()).map(|at| TypeIx(at as u32)) {
        if let Some(end) = lowering.schema.ty(ty).expires.clone() {
            lowering.end(ty, &end);
        }
    }
    let nodes = lowering.nodes;
    if let Err(Cycle(fields)) = finish(&mut schema, nodes) {
        let visible: Vec<FieldRef> =
            fields.into_iter().filter(|field| schema.field(*field).visible()).collect();
        let names: Vec<String> = visible
            .iter()
            .map(|field| format!("{}.{}", schema.ty(field.ty).name, schema.field(*field).name))
            .collect();
        let span =
            exprs.iter().find(|(field, ..)| visible.contains(field)).map_or(Span::default(), |it| it.2);
        found.push(recursion(span, &names));
        return None;
    }
    for ty in &mut schema.types {
        let embedded =
            |field: &Field| field.reference_index && matches!(field.kind, FieldKind::Embedded { .. });
        let found = ty.slots().filter(|(_, field)| embedded(field)).map(|(slot, _)| slot);
        ty.embedded = found.collect();
    }
    Some(schema)
}

fn recursion(span: Span, names: &[String]) -> Diagnostic {
    let mut chain = names.to_vec();
    chain.extend(names.first().cloned());
    let message = format!("derived fields depend on themselves: {}", chain.join(" → "));
    Diagnostic::error("recursion", span, message)
        .help("recursion along links is not part of this version of the language")
}

/// Constructs that have a meaning in the language, but no maintenance rule.
fn refuse(schema: &Schema, expr: &Expr, span: Span, found: &mut Vec<Diagnostic>) {
    let mut message = None;
    visit(expr, &mut |part| {
        if let Node::All(ty) = &part.node {
            let name = schema.ty(*ty).root.clone().unwrap_or_default();
            message = Some(format!(
                "a derived field starts from `self` or `parent`; the root collection `{name}` can be used in queries"
            ));
        }
    });
    if let Some(message) = message {
        found.push(Diagnostic::error("unsupported", span, message));
    }
}

fn visit(expr: &Expr, f: &mut dyn FnMut(&Expr)) {
    f(expr);
    expr.for_parts(&mut |part, _| visit(part, f));
}

/// The most derived fields that may follow from each other in a row.
const MAX_CHAIN: usize = 64;

enum State {
    /// Being typed now, further out.
    Open,
    /// Typed, and how many derived fields follow from each other up to it; nothing where its expression has a mistake.
    Done(Option<Expr>, usize),
}

pub(super) struct Draft<'a, 'i> {
    pub(super) schema: &'a Schema,
    sources: HashMap<FieldRef, Source<'a>>,
    /// Hidden fields with the targets of links in derived objects; they follow the declared fields, in this order.
    embedded: RefCell<Vec<(TypeIx, Field)>>,
    ids: RefCell<&'i mut Ids>,
    typed: RefCell<HashMap<FieldRef, State>>,
    found: RefCell<Vec<Diagnostic>>,
    /// Fields being typed now, each for the one before.
    open: Cell<usize>,
    /// The longest chain up to a field that the one being typed uses.
    chain: Cell<usize>,
}

impl Draft<'_, '_> {
    fn type_of(&self, field: FieldRef, used_at: Span) -> Option<Type> {
        match self.typed.borrow().get(&field) {
            Some(State::Done(expr, chain)) => {
                self.chain.set(self.chain.get().max(*chain));
                return expr.as_ref().map(|expr| expr.ty.clone());
            }
            Some(State::Open) => {
                let name = format!("{}.{}", self.schema.ty(field.ty).name, self.schema.field(field).name);
                self.found.borrow_mut().push(recursion(used_at, &[name]));
                return None;
            }
            None => {}
        }
        let source = *self.sources.get(&field)?;
        if self.open.get() == MAX_CHAIN {
            self.too_long(source.span());
            return None;
        }
        self.typed.borrow_mut().insert(field, State::Open);
        let outer = self.chain.replace(0);
        self.open.update(|open| open + 1);
        let (mut expr, mut problems) = match source {
            Source::Expr(source) => check_expr(self, Place::Derived(field.ty), source),
            Source::Objects(holder, text) => self.extended(field, holder, text),
        };
        if let Source::Expr(_) = source {
            let path = self.schema.field(field).name.clone();
            self.rehome(&mut expr.ty.kind, field, &path);
        }
        self.open.update(|open| open - 1);
        let chain = self.chain.get() + 1;
        self.chain.set(outer.max(chain));
        if chain > MAX_CHAIN {
            self.too_long(source.span());
        }
        if self.is_too_long() {
            // Told already; what follows from it is of no use.
            self.typed.borrow_mut().insert(field, State::Done(None, chain));
            return None;
        }
        if problems.is_empty() && expr.ty.kind == Kind::Null {
            problems.push(Diagnostic::error("always-null", source.span(), "this is always null"));
        }
        let failed = !problems.is_empty() || self.open_was_used(field);
        self.found.borrow_mut().append(&mut problems);
        let ty = expr.ty.clone();
        self.typed.borrow_mut().insert(field, State::Done((!failed).then_some(expr), chain));
        (!failed).then_some(ty)
    }

    fn too_long(&self, span: Span) {
        if !self.is_too_long() {
            let message = format!("more than {MAX_CHAIN} derived fields follow from each other up to here");
            self.found.borrow_mut().push(Diagnostic::error("chain", span, message));
        }
    }

    fn is_too_long(&self) -> bool {
        self.found.borrow().iter().any(|found| found.code == "chain")
    }

    /// Was a mistake already told that makes this field's type unknown? Its users stay silent then.
    fn open_was_used(&self, field: FieldRef) -> bool {
        let name = format!("{}.{}", self.schema.ty(field.ty).name, self.schema.field(field).name);
        self.found.borrow().iter().any(|found| found.code == "recursion" && found.message.contains(&name))
    }
}

impl Draft<'_, '_> {
    /// Gives the links in the objects of a derived field fields of their own that have their targets: from the resource
    /// that holds a copy of an object, the way back from a target leads to that resource.
    pub(super) fn rehome(&self, kind: &mut Kind, home: FieldRef, path: &str) {
        match kind {
            Kind::Object(members) => {
                for_links_of(members, path, &mut |path, member| self.embed(&mut member.ty, home, path));
            }
            Kind::Map(of) => of.for_links(path, &mut |path, member| self.embed(&mut member.ty, home, path)),
            _ => {}
        }
    }

    /// Gives a link, or links, in an object of a derived field a field that has its targets.
    pub(super) fn embed(&self, ty: &mut ValueType, home: FieldRef, path: &str) {
        let Some(target) = Type::of_value(ty).resource() else { return };
        let mut embedded = self.embedded.borrow_mut();
        let resource = self.schema.ty(home.ty);
        let before = embedded.iter().filter(|(ty, _)| *ty == home.ty).count();
        ty.set_via(FieldRef { ty: home.ty, slot: Slot((resource.fields.len() + before) as u32) });
        let kind = FieldKind::Embedded { of: home.slot, target, on_delete: OnDelete::Unlink };
        let field = Field {
            id: self.ids.borrow_mut().field_id(&resource.name, &format!("{path} :=")),
            name: format_smolstr!("#{path}"),
            kind,
            rules: Rules::default(),
            index: false,
            // It has entries where something is read through it, which the plan finds out.
            reference_index: false,
            parent_index: None,
            extended: None,
        };
        embedded.push((home.ty, field));
    }
}

impl Names for Draft<'_, '_> {
    fn schema(&self) -> &Schema {
        self.schema
    }

    fn derived_type(&self, field: FieldRef, used_at: Span) -> Option<Type> {
        self.type_of(field, used_at)
    }
}
