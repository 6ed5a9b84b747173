//! Types the expressions of derived fields, in whatever order they need each other, and makes the plan.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};

use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::span::Span;

use super::declare::{Source, Sources};
use super::urls;
use crate::expr::about::check_path;
use crate::expr::{Names, Place, check_expr};
use crate::ids::Ids;
use crate::members::for_links_of;
use crate::model::{Field, FieldKind, FieldRef, OnDelete, Rules, Schema, Slot, TypeIx, ValueType};
use crate::names::PATH_FIELD;
use crate::plan::lower::Lowering;
use crate::plan::order::finish;
use crate::plan::recursion::{Cycle, Recursion, cycle};
use crate::typed::{Expr, Kind, Type, mentions_now};
use corollary_value::Value;
use smol_str::{SmolStr, format_smolstr};

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
        hidden: RefCell::default(),
        ids: RefCell::new(ids),
        typed: RefCell::default(),
        found: RefCell::default(),
        open: Cell::default(),
        chain: Cell::default(),
        looped: RefCell::default(),
        checked: Cell::default(),
        lazies: RefCell::default(),
        paths: RefCell::default(),
    };
    for (field, _) in &sources {
        draft.type_of(*field);
    }
    if draft.lazies_end(&sources) {
        draft.settle(&sources);
    }
    let mut paths = draft.written_paths();
    let hidden = draft.hidden.into_inner();
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
    for (ty, field) in hidden {
        schema.types[ty.0 as usize].fields.push(field);
    }
    exprs.append(&mut paths);
    for (field, expr, _) in &exprs {
        let place = &mut schema.types[field.ty.0 as usize].fields[field.slot.0 as usize];
        if let FieldKind::Derived { expr: typed, .. } = &mut place.kind {
            *typed = expr.clone();
        }
    }
    if !found.is_empty() {
        return None;
    }
    let is_kept = |field: FieldRef| !schema.field(field).is_lazy();
    // What is computed when it is read is not kept true; what reads it has its expression.
    let kept = exprs.iter().filter(|(field, ..)| is_kept(*field));
    let typed: Vec<(FieldRef, &Expr)> = kept.map(|(field, expr, _)| (*field, expr)).collect();
    let recursion = match Recursion::of(&typed) {
        Ok(recursion) => recursion,
        Err(Cycle(fields)) => {
            let span = exprs.iter().find(|(field, ..)| fields.first() == Some(field));
            found.push(needs_itself(&schema, span.map_or(Span::default(), |it| it.2), &fields));
            return None;
        }
    };
    for (field, expr, span) in &exprs {
        if mentions_now(expr) && recursion.group_of(*field).is_some() {
            found.push(by_clock_and_itself(&schema, *span, *field));
        }
        if recursion.reads_itself_everywhere(*field, expr) {
            found.push(through_a_root(&schema, *span, *field));
        }
        let background = matches!(schema.field(*field).kind, FieldKind::Derived { background: true, .. });
        if background && recursion.group_of(*field).is_some() {
            found.push(always_at_once(&schema, *span, *field));
        }
    }
    if !found.is_empty() {
        return None;
    }
    let mut lowering = Lowering::new(&mut schema, ids, &recursion);
    for (field, expr) in &typed {
        lowering.derived_field(*field, expr);
    }
    for ty in (0..lowering.schema.types.len()).map(|at| TypeIx(at as u32)) {
        if let Some(end) = lowering.schema.ty(ty).expires.clone() {
            lowering.end(ty, &end);
        }
    }
    let nodes = lowering.nodes;
    finish(&mut schema, nodes, &typed, &recursion);
    for ty in &mut schema.types {
        let embedded =
            |field: &Field| field.reference_index && matches!(field.kind, FieldKind::Embedded { .. });
        let found = ty.slots().filter(|(_, field)| embedded(field)).map(|(slot, _)| slot);
        ty.embedded = found.collect();
        ty.lazy = ty.slots().filter(|(_, field)| field.is_lazy()).map(|(slot, _)| slot).collect();
    }
    Some(schema)
}

fn name_of(schema: &Schema, field: FieldRef) -> String {
    // A hidden field goes by the name of the option that it is for.
    format!("{}.{}", schema.ty(field.ty).name, schema.field(field).name.trim_start_matches('#'))
}

/// The refusal of the clock in a field that needs itself.
fn by_clock_and_itself(schema: &Schema, span: Span, field: FieldRef) -> Diagnostic {
    let name = name_of(schema, field);
    let message = format!("`{name}` depends on itself, and such a field cannot look at the clock");
    Diagnostic::error("recursion-clock", span, message)
        .help("put the comparison into a field of its own, `late := self.due < now()`, and read that")
}

/// The refusal of a field that reads itself of all resources of a type, itself among them.
fn through_a_root(schema: &Schema, span: Span, field: FieldRef) -> Diagnostic {
    let name = name_of(schema, field);
    let message =
        format!("`{name}` depends on itself through a root collection, which holds this resource too");
    Diagnostic::error("recursion-root", span, message)
        .help("a field may depend on itself along links, parents, collections and inverses")
}

/// The refusal of an option that means to follow later.
fn always_at_once(schema: &Schema, span: Span, field: FieldRef) -> Diagnostic {
    let name = name_of(schema, field);
    let message = format!("`{name}` depends on itself, and such a field cannot be `background`");
    Diagnostic::error("background-recursion", span, message)
        .help("it follows each write along the resources, as far as values change; leave `background` out")
}

/// The refusal of fields that need each other on one and the same resource.
fn needs_itself(schema: &Schema, span: Span, fields: &[FieldRef]) -> Diagnostic {
    let chain = fields.iter().chain(fields.first()).map(|field| name_of(schema, *field));
    let chain = chain.collect::<Vec<_>>().join(" → ");
    let message = format!("derived fields depend on themselves on one resource: {chain}");
    Diagnostic::error("recursion", span, message)
        .help("a field may depend on itself of another resource, as in `1 + self.boss.chain else 1`")
}

/// The most derived fields that may follow from each other in a row, those that depend on themselves counted once.
const MAX_CHAIN: usize = 64;

/// The most parts of an expression, those of the lazy fields that it reads included: all are computed each time.
pub const MAX_PARTS: usize = 10_000;

/// How often the fields of a schema in which some depend on themselves are typed, at most. A type becomes known from
/// where the recursion ends, and wider by what is mixed into it, a step in each round.
const MAX_ROUNDS: usize = 2 * MAX_CHAIN;

enum State {
    /// Being typed now, further out.
    Open,
    /// Typed, and how many derived fields follow from each other up to it; nothing where its expression has a mistake.
    Done(Option<Expr>, usize),
}

pub(super) struct Draft<'a, 'i> {
    pub(super) schema: &'a Schema,
    sources: HashMap<FieldRef, Source<'a>>,
    /// Hidden fields that follow the declared ones, in this order: the targets of links in derived objects, and the paths
    /// of resources.
    hidden: RefCell<Vec<(TypeIx, Field)>>,
    ids: RefCell<&'i mut Ids>,
    typed: RefCell<HashMap<FieldRef, State>>,
    found: RefCell<Vec<Diagnostic>>,
    /// Fields being typed now, each for the one before.
    open: Cell<usize>,
    /// The longest chain up to a field that the one being typed uses.
    chain: Cell<usize>,
    /// Fields that were used while they were being typed: they depend on themselves.
    looped: RefCell<BTreeSet<FieldRef>>,
    /// The field that is being typed.
    checked: Cell<Option<FieldRef>>,
    /// Lazy fields with the lazy fields that they read.
    lazies: RefCell<BTreeMap<FieldRef, BTreeSet<FieldRef>>>,
    /// The hidden field with the path of each resource, by the type, in the order in which they are asked for.
    paths: RefCell<Vec<FieldRef>>,
}

impl Draft<'_, '_> {
    fn type_of(&self, field: FieldRef) -> Option<Type> {
        match self.typed.borrow().get(&field) {
            Some(State::Done(expr, chain)) => {
                self.chain.set(self.chain.get().max(*chain));
                return expr.as_ref().map(|expr| expr.ty.clone());
            }
            Some(State::Open) => {
                // Not known yet: null fits everywhere, and `settle` looks again.
                self.looped.borrow_mut().insert(field);
                return Some(Type::one(Kind::Null));
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
        let (expr, mut problems) = self.check(field, source);
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
        if problems.is_empty() && expr.ty.kind == Kind::Null && self.looped.borrow().is_empty() {
            problems.push(always_null(source.span()));
        }
        let expr = problems.is_empty().then_some(expr);
        self.found.borrow_mut().append(&mut problems);
        let ty = expr.as_ref().map(|expr| expr.ty.clone());
        self.typed.borrow_mut().insert(field, State::Done(expr, chain));
        ty
    }

    /// Types the expression of a field.
    fn check(&self, field: FieldRef, source: Source<'_>) -> (Expr, Vec<Diagnostic>) {
        let outer = self.checked.replace(Some(field));
        let (expr, mut problems) = match source {
            // It is stored nowhere: links in its objects are followed from where those are.
            Source::Expr(source) if self.schema.field(field).is_lazy() => {
                check_expr(self, Place::Lazy(field.ty), source)
            }
            Source::Expr(source) => {
                let (mut expr, problems) = check_expr(self, Place::Derived(field.ty), source);
                let path = self.schema.field(field).name.clone();
                self.rehome(&mut expr.ty.kind, field, &path);
                (expr, problems)
            }
            Source::Objects(holder, text) => self.extended(field, holder, text),
        };
        self.checked.set(outer);
        if problems.is_empty() {
            problems.extend(urls::misfit(self.schema, field, &expr, source));
        }
        if problems.is_empty() && !expr.has_parts_within(&mut MAX_PARTS.clone()) {
            let message = format!("with the lazy fields that it reads this has more than {MAX_PARTS} parts");
            let help = "leave `lazy` out of one of those that it reads: it is computed once then";
            problems.push(Diagnostic::error("lazy-size", source.span(), message).help(help));
        }
        (expr, problems)
    }

    /// Does no lazy field need itself by way of lazy fields alone? What would stand in its place has no end.
    fn lazies_end(&self, sources: &Sources) -> bool {
        let lazies = self.lazies.borrow();
        let fields: Vec<FieldRef> = lazies.keys().copied().collect();
        let at = |field: &FieldRef| fields.binary_search(field).ok();
        let needs: Vec<Vec<usize>> =
            lazies.values().map(|read| read.iter().filter_map(at).collect()).collect();
        let Some(cycle) = cycle(&needs) else { return true };
        let names = cycle.iter().chain(cycle.first()).map(|at| self.name(fields[*at]));
        let names = names.collect::<Vec<_>>().join(" → ");
        let first = cycle.first().map(|at| fields[*at]);
        let source = sources.iter().find(|(field, _)| Some(*field) == first);
        let span = source.map_or(Span::default(), |(_, source)| source.span());
        let message = format!("lazy fields read themselves: {names}");
        // What else was found was found without knowing what these are.
        *self.found.borrow_mut() = vec![
            Diagnostic::error("lazy-recursion", span, message)
                .help("leave `lazy` out of one of them: what depends on itself is stored"),
        ];
        false
    }

    /// Types all fields again, where some depend on themselves, until no type changes: from null for what is not known,
    /// a field has the type that the ends of its recursion give it. What was found wrong before does not count, since
    /// it was found with types that were not known yet.
    fn settle(&self, sources: &Sources) {
        if self.looped.borrow().is_empty() || self.is_too_long() {
            return;
        }
        let mut changed = Vec::new();
        for _ in 0..MAX_ROUNDS {
            self.found.borrow_mut().clear();
            changed.clear();
            for (field, source) in sources {
                let (expr, mut problems) = self.check(*field, *source);
                let expr = problems.is_empty().then_some(expr);
                self.found.borrow_mut().append(&mut problems);
                let mut typed = self.typed.borrow_mut();
                let before = match typed.get(field) {
                    Some(State::Done(before, _)) => before.as_ref(),
                    _ => None,
                };
                // What stands in for a lazy field has to be the same, and not its type alone.
                let is_same = match self.schema.field(*field).is_lazy() {
                    true => before == expr.as_ref(),
                    false => before.map(|expr| &expr.ty) == expr.as_ref().map(|expr| &expr.ty),
                };
                if !is_same {
                    changed.push((*field, source.span()));
                }
                typed.insert(*field, State::Done(expr, 0));
            }
            if changed.is_empty() {
                break;
            }
        }
        let mut found = self.found.borrow_mut();
        if let Some((field, span)) = changed.first() {
            found.push(unknown_type(*span, &format!("the type of `{}` does not settle", self.name(*field))));
        }
        if !found.is_empty() {
            return;
        }
        let typed = self.typed.borrow();
        let is_null = |field: &FieldRef| matches!(typed.get(field), Some(State::Done(Some(expr), _)) if expr.ty.kind == Kind::Null);
        let looped = self.looped.borrow();
        for (field, source) in sources.iter().filter(|(field, _)| is_null(field) && looped.contains(field)) {
            let message = format!("what `{}` is follows from nothing but itself", self.name(*field));
            found.push(unknown_type(source.span(), &message));
        }
        if found.is_empty() {
            let nulls = sources.iter().filter(|(field, _)| is_null(field));
            found.extend(nulls.map(|(_, source)| always_null(source.span())));
        }
    }

    fn name(&self, field: FieldRef) -> String {
        name_of(self.schema, field)
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
}

fn always_null(span: Span) -> Diagnostic {
    Diagnostic::error("always-null", span, "this is always null").help("read a field, as in `self.name`")
}

fn unknown_type(span: Span, message: &str) -> Diagnostic {
    Diagnostic::error("recursion-type", span, message)
        .help("say what it is where it ends, as in `1 + self.boss.chain else 1`")
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
        let resource = self.schema.ty(home.ty);
        let name = format_smolstr!("#{path}");
        let kind = FieldKind::Embedded { of: home.slot, target, on_delete: OnDelete::Unlink };
        // Where the field is typed again, it has one already.
        let there = {
            let hidden = self.hidden.borrow();
            let mut here = hidden.iter().filter(|(ty, _)| *ty == home.ty);
            here.position(|(_, field)| field.name == name)
        };
        if let Some(before) = there {
            ty.set_via(FieldRef { ty: home.ty, slot: Slot((resource.fields.len() + before) as u32) });
            let mut hidden = self.hidden.borrow_mut();
            let mut here = hidden.iter_mut().filter(|(ty, _)| *ty == home.ty);
            if let Some((_, field)) = here.nth(before) {
                field.kind = kind;
            }
            return;
        }
        ty.set_via(self.hide(home.ty, name, &format!("{path} :="), kind));
    }

    /// Gives a type one more hidden field; `number` is the name that its number in storage is given for.
    fn hide(&self, ty: TypeIx, name: SmolStr, number: &str, kind: FieldKind) -> FieldRef {
        let resource = self.schema.ty(ty);
        let mut hidden = self.hidden.borrow_mut();
        let before = hidden.iter().filter(|(of, _)| *of == ty).count();
        let field = Field {
            id: self.ids.borrow_mut().field_id(&resource.name, number),
            name,
            kind,
            rules: Rules::default(),
            index: false,
            // It has entries where something is read through it, which the plan finds out.
            reference_index: false,
            parent_index: None,
            extended: None,
        };
        hidden.push((ty, field));
        FieldRef { ty, slot: Slot((resource.fields.len() + before) as u32) }
    }

    /// The expressions of the hidden fields with paths. A path may ask for those of further types.
    fn written_paths(&self) -> Vec<(FieldRef, Expr, Span)> {
        let mut written = Vec::new();
        loop {
            let Some(field) = self.paths.borrow().get(written.len()).copied() else { return written };
            let (expr, mut problems) = check_path(self, field.ty);
            self.found.borrow_mut().append(&mut problems);
            written.push((field, expr, Span::default()));
        }
    }
}

impl Names for Draft<'_, '_> {
    fn schema(&self) -> &Schema {
        self.schema
    }

    fn derived_type(&self, field: FieldRef, _used_at: Span) -> Option<Type> {
        if let Some(reader) = self.checked.get().filter(|reader| self.schema.field(*reader).is_lazy()) {
            let mut lazies = self.lazies.borrow_mut();
            lazies.entry(reader).or_default();
            if self.schema.field(field).is_lazy() {
                lazies.entry(reader).or_default().insert(field);
            }
        }
        self.type_of(field)
    }

    fn lazy(&self, field: FieldRef) -> Option<Expr> {
        match self.typed.borrow().get(&field) {
            Some(State::Done(expr, _)) if self.schema.field(field).is_lazy() => expr.clone(),
            _ => None,
        }
    }

    fn path_field(&self, ty: TypeIx) -> Option<FieldRef> {
        let there = self.paths.borrow().iter().find(|field| field.ty == ty).copied();
        Some(there.unwrap_or_else(|| {
            let text = format!("the path of each {}", self.schema.ty(ty).name);
            let expr = Expr::constant(Value::Null, Kind::Str);
            let kind = FieldKind::Derived { text, expr, strict: false, background: false, lazy: false };
            let field = self.hide(ty, PATH_FIELD.into(), &format!("{PATH_FIELD} :="), kind);
            self.paths.borrow_mut().push(field);
            field
        }))
    }
}
