//! Mounts: what each shows, under which names, what is forced, and that its path leads to nothing else.
//!
//! They are read when all else of the schema is there; nothing in it knows of them. Read next: `place`, for their paths.

mod place;

use std::sync::Arc;

use corollary_syntax::ast::{self, BinaryOp, ExprKind, MountClauseKind, MountTarget, MountText};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::span::Span;
use corollary_syntax::{format_expression, format_mount, nearest};
use corollary_value::Value;
use smol_str::{SmolStr, format_smolstr};

use crate::expr::check_condition;
use crate::model::{Field, FieldKind, Schema, Slot, TypeIx, ValueType};
use crate::mounts::{Allow, MAX_MOUNTS, Mount, Proxy, Segment, Target, View};
use crate::plan::Plan;
use crate::typed::{Expr, Node};

/// The headers that say who asks.
const CREDENTIALS: &str = "credentials";

/// Reads the mounts of a schema.
pub fn declare(tree: &ast::SchemaText, schema: &mut Schema, found: &mut Vec<Diagnostic>) {
    if let Some(more) = tree.mounts.get(MAX_MOUNTS) {
        let message = format!("a schema has at most {MAX_MOUNTS} mounts");
        found.push(Diagnostic::error("too-many-mounts", more.span, message));
        return;
    }
    let mut mounts: Vec<(Arc<Mount>, Span)> = Vec::with_capacity(tree.mounts.len());
    for text in &tree.mounts {
        let before = found.len();
        let mount = match &text.target {
            MountTarget::Type(name) => Reader { schema, text, found, before }.view(name),
            MountTarget::Proxy(url) => Reader { schema, text, found, before }.proxy(url),
        };
        let Some(mount) = mount.filter(|_| found.len() == before) else { continue };
        let span = place::span(text);
        place::check(schema, &mount, text, found);
        place::check_among(&mount, &mounts, span, found);
        mounts.push((Arc::new(mount), span));
    }
    schema.mounts = mounts.into_iter().map(|(mount, _)| mount).collect();
}

struct Reader<'r> {
    schema: &'r Schema,
    text: &'r MountText,
    found: &'r mut Vec<Diagnostic>,
    /// How much was found before.
    before: usize,
}

/// What the conditions of a view say.
#[derive(Default)]
struct Said {
    /// The links that lead to what a parameter stands for, each with the parameter.
    scopes: Vec<(Slot, SmolStr)>,
    fixed: Vec<(Slot, Value)>,
    conditions: Vec<(String, Expr)>,
}

impl Reader<'_> {
    fn tell(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    fn proxy(mut self, url: &ast::Ident) -> Option<Mount> {
        if let Err(why) = check_url(&url.name) {
            let message = format!("\"{}\" is no address of a server: {why}", url.name);
            let help = Some("as in \"https://partners.example/api/partners\"".to_string());
            self.tell(Diagnostic::error("mount-url", url.span, message).maybe_help(help));
        }
        let allow = self.allow();
        let mut credentials = false;
        for clause in &self.text.clauses {
            let word = match &clause.kind {
                MountClauseKind::Allow(_) => continue,
                MountClauseKind::Forward(words) => {
                    for word in words {
                        if word.name == CREDENTIALS {
                            credentials = true;
                            continue;
                        }
                        let help = Some(format!(
                            "`{CREDENTIALS}` are Authorization and Cookie; other headers go along anyway"
                        ));
                        let message = format!("`{}` is nothing that a proxy forwards", word.name);
                        self.tell(Diagnostic::error("mount-forward", word.span, message).maybe_help(help));
                    }
                    continue;
                }
                MountClauseKind::Where(_) => "where",
                MountClauseKind::Fields(_) => "fields",
            };
            let message = format!("a proxy has no `{word}`: what the other server shows is shown");
            self.tell(Diagnostic::error("mount-clause", clause.span, message));
        }
        for segment in &self.text.path {
            if let ast::MountSegment::Param(name) = segment {
                let message =
                    format!("`{{{}}}` stands for nothing: the path of a proxy has names only", name.name);
                self.tell(Diagnostic::error("mount-param", name.span, message));
            }
        }
        let path = place::segments(self.text, &[]);
        let url = url.name.trim_end_matches('/').into();
        let target = Target::Proxy(Proxy { url, credentials });
        Some(Mount { path, allow, target, text: format_mount(self.text) })
    }

    fn view(mut self, name: &ast::Ident) -> Option<Mount> {
        let (schema, text) = (self.schema, self.text);
        let Some(ty) = schema.type_named(&name.name).filter(|ty| schema.ty(*ty).visible()) else {
            if !name.name.is_empty() {
                let names = schema.types().filter(|(_, ty)| ty.visible()).map(|(_, ty)| ty.name.as_str());
                let near = nearest(&name.name, names).map(|near| format!("did you mean `{near}`?"));
                let help = near.or(Some("a mount is of one type that is not abstract".into()));
                self.tell(
                    Diagnostic::error(
                        "unknown-type",
                        name.span,
                        format!("there is no type `{}` to mount", name.name),
                    )
                    .maybe_help(help),
                );
            }
            return None;
        };
        let allow = self.allow();
        let said = self.said(ty);
        let path = place::segments(text, &self.params(ty, &said));
        let shown = self.shown(ty);
        let scope_of = |param: &SmolStr| {
            path.iter().position(|segment| matches!(segment, Segment::Param(name, _) if name == param))
        };
        let scopes: Vec<(Slot, usize)> =
            said.scopes.iter().filter_map(|(slot, param)| Some((*slot, scope_of(param)?))).collect();
        let forced: Vec<Slot> =
            scopes.iter().map(|(slot, _)| *slot).chain(said.fixed.iter().map(|(slot, _)| *slot)).collect();
        let names = Names::of(schema, ty, shown.as_deref(), &forced);
        if allow.create {
            self.check_creation(ty, &names, &forced);
        }
        let Names { schema: names, hidden, renamed } = names;
        let view = View {
            ty,
            names: Arc::new(names),
            scopes,
            fixed: said.fixed,
            conditions: said.conditions,
            hidden,
            renamed,
        };
        Some(Mount { path, allow, target: Target::View(view), text: format_mount(text) })
    }

    /// What may be done: everything, unless it is said.
    fn allow(&mut self) -> Allow {
        let mut allowed: Option<Allow> = None;
        for clause in &self.text.clauses {
            let MountClauseKind::Allow(words) = &clause.kind else { continue };
            if allowed.is_some() {
                self.tell(Diagnostic::error("duplicate-clause", clause.span, "`allow` stands twice"));
            }
            let allowed = allowed.get_or_insert_with(Allow::default);
            for word in words {
                if let Some(may) = allowed.named(&word.name) {
                    *may = true;
                    continue;
                }
                let help = match nearest(&word.name, Allow::NAMES) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("a mount allows {}", Allow::NAMES.join(", ")),
                };
                let message = format!("`{}` is nothing that a mount allows", word.name);
                self.tell(Diagnostic::error("mount-allow", word.span, message).help(help));
            }
        }
        allowed.unwrap_or(Allow::ALL)
    }

    /// What the conditions say of resources of a type.
    fn said(&mut self, ty: TypeIx) -> Said {
        let mut said = Said::default();
        let text = self.text;
        for clause in &text.clauses {
            match &clause.kind {
                MountClauseKind::Where(condition) => self.condition(ty, condition, &mut said),
                MountClauseKind::Forward(_) => {
                    let message = "a mount of a type has no `forward`: it is for proxies".to_string();
                    self.tell(Diagnostic::error("mount-clause", clause.span, message));
                }
                MountClauseKind::Allow(_) | MountClauseKind::Fields(_) => {}
            }
        }
        said
    }

    fn condition(&mut self, ty: TypeIx, condition: &ast::Expr, said: &mut Said) {
        let schema = self.schema;
        if let ExprKind::Binary { op: BinaryOp::And, left, right, .. } = &condition.kind {
            self.condition(ty, left, said);
            self.condition(ty, right, said);
            return;
        }
        if let Some((field, param)) = self.scope(condition) {
            let resource = schema.ty(ty);
            let Some((slot, of)) = resource.named(&field.name) else {
                let names =
                    resource.fields.iter().filter(|field| field.visible()).map(|field| field.name.as_str());
                let help = nearest(&field.name, names).map(|near| format!("did you mean `{near}`?"));
                let message = format!("`{}` has no field `{}`", resource.name, field.name);
                return self.tell(Diagnostic::error("unknown-field", field.span, message).maybe_help(help));
            };
            if !matches!(of.kind, FieldKind::Link { .. }) {
                let message = format!(
                    "`{}.{}` is no link to one type, and `{}` stands for a resource",
                    resource.name, field.name, param.name
                );
                return self.tell(Diagnostic::error("mount-param", field.span, message));
            }
            return self.force(slot, of, condition.span, said, |said| said.scopes.push((slot, param.name)));
        }
        let (typed, found) = check_condition(schema, ty, condition);
        if !found.is_empty() {
            self.found.extend(found);
            return;
        }
        if let Some((slot, value)) = fixed(schema, ty, &typed) {
            let of = schema.ty(ty).field(slot);
            return self.force(slot, of, condition.span, said, |said| said.fixed.push((slot, value)));
        }
        said.conditions.push((format_expression(condition), typed));
    }

    /// Notes the one value of a field, unless it has one.
    fn force(&mut self, slot: Slot, of: &Field, span: Span, said: &mut Said, note: impl FnOnce(&mut Said)) {
        let twice =
            said.scopes.iter().any(|(at, _)| *at == slot) || said.fixed.iter().any(|(at, _)| *at == slot);
        if twice {
            let message = format!("`{}` has a value here already", of.name);
            return self.tell(Diagnostic::error("mount-where", span, message));
        }
        note(said);
    }

    /// The field and the parameter that a condition compares.
    fn scope(&self, condition: &ast::Expr) -> Option<(ast::Ident, ast::Ident)> {
        let ExprKind::Binary { op: BinaryOp::Equal, left, right, .. } = &condition.kind else { return None };
        let name = |expr: &ast::Expr| match &expr.kind {
            ExprKind::Name(name) => Some(ast::Ident { name: name.clone(), span: expr.span }),
            ExprKind::Field { base, name } if base.kind == ExprKind::SelfRef => Some(name.clone()),
            _ => None,
        };
        let is_param = |expr: &ast::Expr, name: &ast::Ident| {
            matches!(expr.kind, ExprKind::Name(_))
                && place::params(self.text).any(|param| param.name == name.name)
        };
        let (first, second) = (name(left)?, name(right)?);
        if is_param(right, &second) {
            return Some((first, second));
        }
        is_param(left, &first).then_some((second, first))
    }

    /// The type that each parameter stands for.
    fn params(&mut self, ty: TypeIx, said: &Said) -> Vec<(SmolStr, TypeIx)> {
        let (schema, text) = (self.schema, self.text);
        let mut types: Vec<(SmolStr, TypeIx)> = Vec::new();
        for param in place::params(text) {
            if types.iter().any(|(name, _)| *name == param.name) {
                let message = format!("there are two parameters `{}`", param.name);
                self.tell(Diagnostic::error("mount-param", param.span, message));
                continue;
            }
            if schema.ty(ty).named(&param.name).is_some() {
                let message = format!("`{}` is also a field of `{}`", param.name, schema.ty(ty).name);
                self.tell(
                    Diagnostic::error("mount-param", param.span, message)
                        .help("give the parameter another name"),
                );
                continue;
            }
            let link = said.scopes.iter().find(|(_, name)| *name == param.name);
            match link.and_then(|(slot, _)| schema.ty(ty).link_target(*slot)) {
                Some(target) => types.push((param.name.clone(), target)),
                // What is wrong with the condition was told already.
                None if self.found.len() > self.before => {}
                None => {
                    let message = format!("no link leads to `{}`", param.name);
                    let help = format!("say which: `where LINK = {}`", param.name);
                    self.tell(Diagnostic::error("mount-param", param.span, message).help(help));
                }
            }
        }
        types
    }

    /// The names that are shown, each with its field; none where all are.
    fn shown(&mut self, ty: TypeIx) -> Option<Vec<(SmolStr, Slot)>> {
        let (resource, text) = (self.schema.ty(ty), self.text);
        let mut shown: Option<Vec<(SmolStr, Slot)>> = None;
        for clause in &text.clauses {
            let MountClauseKind::Fields(fields) = &clause.kind else { continue };
            if shown.is_some() {
                self.tell(Diagnostic::error("duplicate-clause", clause.span, "`fields` stands twice"));
            }
            let so_far = shown.get_or_insert_default();
            for (name, field) in fields {
                let of = field.as_ref().unwrap_or(name);
                let Some((slot, declared)) = resource.named(&of.name).filter(|(_, field)| field.visible())
                else {
                    let names = resource
                        .fields
                        .iter()
                        .filter(|field| field.visible())
                        .map(|field| field.name.as_str());
                    let help = nearest(&of.name, names).map(|near| format!("did you mean `{near}`?"));
                    let message = format!("`{}` has no field `{}`", resource.name, of.name);
                    self.tell(Diagnostic::error("unknown-field", of.span, message).maybe_help(help));
                    continue;
                };
                if field.is_some() {
                    super::declare::check_name(name, "a field", self.found);
                }
                let owns = matches!(
                    declared.kind,
                    FieldKind::Collection { .. } | FieldKind::Several { owned: true, .. }
                );
                if owns && name.name != of.name {
                    let message =
                        format!("`{}` is a collection: the paths of its resources go by its name", of.name);
                    self.tell(
                        Diagnostic::error("mount-field", name.span, message)
                            .help("show it under its own name"),
                    );
                }
                if so_far.iter().any(|(other, at)| *other == name.name || *at == slot) {
                    let message = format!("`{}` stands twice among the fields", name.name);
                    self.tell(Diagnostic::error("mount-field", name.span, message));
                    continue;
                }
                so_far.push((name.name.clone(), slot));
            }
        }
        shown
    }

    /// That what has to be given for a new resource can be given.
    fn check_creation(&mut self, ty: TypeIx, names: &Names, forced: &[Slot]) {
        let (resource, span) = (self.schema.ty(ty), place::span(self.text));
        let help = || Some("allow read, update or delete only".to_string());
        if resource.root.is_none() {
            let message =
                format!("`{}` has no root collection: nothing can be created at a mount", resource.name);
            self.tell(Diagnostic::error("mount-create", span, message).maybe_help(help()));
        }
        for (slot, field) in resource.slots() {
            let needed = field.rules.required && field.rules.default.is_none();
            let given = forced.contains(&slot) || names.schema.ty(ty).field(slot).visible();
            if needed && !given && field.is_written() && field.visible() && !field.is_file() {
                let message = format!(
                    "`{}.{}` is required, and the mount has no name for it",
                    resource.name, field.name
                );
                let help = format!("add `{}` to the fields, or allow no create", field.name);
                self.tell(Diagnostic::error("mount-create", span, message).help(help));
            }
        }
    }
}

/// The field and its one value, where a condition says that of a fact.
fn fixed(schema: &Schema, ty: TypeIx, condition: &Expr) -> Option<(Slot, Value)> {
    let Node::Binary(BinaryOp::Equal, left, right) = &condition.node else { return None };
    let (field, value) = match (&left.node, &right.node) {
        (Node::Get(base, field), Node::Const(value)) if base.node == Node::Owner => (field, value),
        (Node::Const(value), Node::Get(base, field)) if base.node == Node::Owner => (field, value),
        _ => return None,
    };
    let of = schema.field(*field);
    let fits = match (&of.kind, value) {
        (FieldKind::Stored(of), value) => matches!(
            (of, value),
            (ValueType::Str | ValueType::Enum(_), Value::Str(_))
                | (ValueType::Int, Value::Int(_))
                | (ValueType::Float, Value::Float(_))
                | (ValueType::Bool, Value::Bool(_))
                | (ValueType::Decimal, Value::Decimal(_))
                | (ValueType::Date, Value::Date(_))
                | (ValueType::Datetime, Value::Datetime(_))
                | (ValueType::Duration, Value::Duration(_))
                | (ValueType::Uuid, Value::Uuid(_))
        ),
        (FieldKind::Link { .. }, Value::Ref(_)) => true,
        _ => false,
    };
    (fits && field.ty == ty && of.is_written() && of.visible()).then(|| (field.slot, value.clone()))
}

/// A schema with the names of a mount, and what has none.
struct Names {
    schema: Schema,
    hidden: Vec<Slot>,
    renamed: Vec<(SmolStr, SmolStr)>,
}

impl Names {
    fn of(schema: &Schema, ty: TypeIx, shown: Option<&[(SmolStr, Slot)]>, forced: &[Slot]) -> Names {
        let mut names = Schema {
            name: schema.name.clone(),
            types: schema.types.clone(),
            roots: schema.roots.clone(),
            abstract_roots: schema.abstract_roots.clone(),
            plan: Plan::default(),
            shared: schema.shared,
            mounts: Vec::new(),
            uses: schema.uses,
            by_id: schema.by_id.clone(),
            ego: schema.ego,
        };
        let (mut hidden, mut renamed) = (Vec::new(), Vec::new());
        let resource = &mut names.types[ty.0 as usize];
        for slot in forced {
            resource.fields[slot.0 as usize].rules.required = false;
        }
        if let Some(shown) = shown {
            resource.by_name.clear();
            resource.gathered.clear();
            for (at, field) in resource.fields.iter_mut().enumerate() {
                let slot = Slot(at as u32);
                match shown.iter().find(|(_, shown)| *shown == slot) {
                    Some((name, _)) => {
                        if field.name != *name {
                            renamed.push((field.name.clone(), name.clone()));
                            field.name = name.clone();
                        }
                        resource.by_name.insert(name.clone(), slot);
                    }
                    None if field.visible() => {
                        if field.is_fact() && field.is_written() && !field.is_file() {
                            hidden.push(slot);
                        }
                        if let FieldKind::Among { parts, .. } = &field.kind {
                            hidden.extend(parts);
                        }
                        field.rules.required = false;
                        field.name = format_smolstr!("#{}", field.name);
                    }
                    None => {}
                }
            }
        }
        Names { schema: names, hidden, renamed }
    }
}

/// Why a text is no address of a server.
fn check_url(url: &str) -> Result<(), &'static str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.ok_or("it begins with `http://` or `https://`")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.contains('@') {
        return Err("a schema holds no names and passwords of users");
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => {
            if port.parse::<u16>().map_or(true, |port| port == 0) {
                return Err("what stands behind `:` is no port");
            }
            name
        }
        _ => host,
    };
    if name.is_empty() {
        return Err("the host is missing");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:[]".contains(c);
    if !name.chars().all(plain) {
        return Err("the host has letters, digits, `-` and `.`");
    }
    let in_path = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@%/".contains(c);
    if !path.chars().all(in_path) {
        return Err("behind the host stands a path, without `?` and `#`");
    }
    Ok(())
}
