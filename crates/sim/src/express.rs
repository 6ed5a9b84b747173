//! Random expressions of a wanted type: paths up and down, filters, orders, aggregates, operators.
//!
//! They are made from the types that the draft declares, and read derived fields of lower ranks only, or, where they may
//! recur, of any rank of other resources; so nearly all are accepted. What they mean is the checker's business.

use crate::among;
use crate::draft::{Derived, DerivedMember, Draft, FieldDraft, FieldKind, Kind, Shape, ValueType, root_name};
use crate::elements::{self, MEMBER_RANK};
use crate::files;
use crate::owners;
use crate::random::Random;
use crate::union;

mod calls;
mod operations;

/// Where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// After `:=`; derived fields below this rank may be read.
    Derived(u32),
    /// In the filter or the order of a query.
    Query,
}

/// A maker of expressions over one type.
pub struct Express<'a> {
    draft: &'a Draft,
    random: &'a mut Random,
    /// The type of `self`.
    owner: usize,
    standing: Standing,
    /// The types of the items of the enclosing filters.
    items: Vec<usize>,
    /// How deep the expression may still become.
    depth: u32,
    /// May it read derived fields of any rank of other resources?
    recurs: bool,
}

const NUMBERS: [Kind; 3] = [Kind::Int, Kind::Float, Kind::Decimal];
const COMPARED: [Kind; 8] =
    [Kind::Int, Kind::Int, Kind::Float, Kind::Decimal, Kind::Str, Kind::Datetime, Kind::Date, Kind::Duration];

/// Is this the text of a path that has not left `self`?
fn is_own(text: &str) -> bool {
    text == "self."
}

/// The shapes of fields that may depend on themselves: not those that could double with each step of a recursion.
pub fn may_recur(shape: &Shape) -> bool {
    match shape {
        Shape::One(kind) => matches!(kind, Kind::Bool | Kind::Int | Kind::Float | Kind::Decimal),
        Shape::Resource(_) | Shape::Set(_) => true,
        _ => false,
    }
}

impl<'a> Express<'a> {
    /// A maker of expressions of a depth.
    pub fn new(
        draft: &'a Draft,
        random: &'a mut Random,
        owner: usize,
        standing: Standing,
        depth: u32,
    ) -> Self {
        Express { draft, random, owner, standing, items: Vec::new(), depth, recurs: false }
    }

    /// Lets it depend on itself, by other resources.
    pub fn recurring(self) -> Self {
        Express { recurs: true, ..self }
    }

    /// An expression of a shape; none where the schema has nothing to make it of.
    pub fn shaped(&mut self, shape: &Shape) -> Option<String> {
        match shape {
            Shape::One(kind) => self.one(*kind),
            Shape::List(kind) => self.list(*kind),
            Shape::Resource(ty) => self.resource(*ty),
            Shape::Set(ty) => self.set_of(*ty),
            Shape::Map(kind) => self.map_of(*kind),
        }
    }

    /// A condition.
    pub fn condition(&mut self) -> String {
        self.one(Kind::Bool).unwrap_or_else(|| "true".into())
    }

    /// A key of an order.
    pub fn key(&mut self) -> String {
        let kind = *self.random.pick(&COMPARED);
        self.one(kind).unwrap_or_else(|| "1".into())
    }

    /// Runs `f` a level deeper; nothing where that is too deep.
    fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth == 0 {
            return None;
        }
        self.depth -= 1;
        let made = f(self);
        self.depth += 1;
        made
    }

    /// From where a path starts: the text before its first step, and the type.
    fn start(&mut self) -> (String, usize) {
        match (self.items.last(), self.standing) {
            (Some(item), _) if self.random.percent(80) => (String::new(), *item),
            (None, Standing::Query) if self.random.percent(70) => (String::new(), self.owner),
            (None, Standing::Derived(rank)) if rank > MEMBER_RANK && self.random.percent(5) => {
                match self.draft.parents(self.owner).as_slice() {
                    [(parent, _)] => ("parent.".into(), *parent),
                    _ => ("self.".into(), self.owner),
                }
            }
            _ => ("self.".into(), self.owner),
        }
    }

    /// May what has this rank be read, of whatever resource?
    fn is_below(&self, rank: u32) -> bool {
        match self.standing {
            Standing::Derived(limit) => rank < limit,
            Standing::Query => true,
        }
    }

    /// May a derived field be read? `own` where it is that of `self`.
    fn readable(&self, it: &Derived, own: bool) -> bool {
        self.is_below(it.rank) || (self.recurs && !own && !it.background && may_recur(&it.shape))
    }

    /// Is it one that only a recursion may read?
    fn recurs_by(&self, it: &Derived) -> bool {
        !self.is_below(it.rank)
    }

    /// Steps from a type to one resource.
    fn to_one(&self, ty: usize, own: bool) -> Vec<(String, usize)> {
        let mut found: Vec<(String, usize)> =
            self.draft.parents(ty).into_iter().map(|(owner, name)| (name, owner)).collect();
        for field in &self.draft.types[ty].fields {
            match &field.kind {
                FieldKind::Link(target, _) => found.push((field.name.clone(), *target)),
                FieldKind::Derived(it) if self.readable(it, own) => {
                    if let Shape::Resource(target) = it.shape {
                        found.push((field.name.clone(), target));
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Steps from a type to many resources.
    fn to_many(&self, ty: usize, own: bool) -> Vec<(String, usize)> {
        let mut found: Vec<(String, usize)> =
            self.draft.reverses(ty).into_iter().map(|(source, name)| (name, source)).collect();
        found.extend(owners::ways_back(self.draft, ty).into_iter().map(|way| (way, ty)));
        for field in &self.draft.types[ty].fields {
            if let FieldKind::Stored(of) = &field.kind {
                let links = elements::links(of);
                found.extend(links.map(|(member, to, _)| (format!("{}.{member}", field.name), to)));
                continue;
            }
            if let FieldKind::Among(..) = &field.kind {
                // By way of whatever type it leads to, to those that lead there.
                let back = format!("link_{}_{}", self.draft.types[ty].name.to_lowercase(), field.name);
                found.push((format!("{}.{back}", field.name), ty));
                continue;
            }
            let target = match &field.kind {
                FieldKind::Links(target, _)
                | FieldKind::Collection(target)
                | FieldKind::Inverse(target, _) => *target,
                FieldKind::Derived(it) if self.readable(it, own) => match it.shape {
                    Shape::Set(target) => target,
                    _ => continue,
                },
                _ => continue,
            };
            found.push((field.name.clone(), target));
        }
        found
    }

    /// Fields of a type with one value of a kind, members of objects among them.
    fn fields(&self, ty: usize, kind: Kind, own: bool) -> Vec<String> {
        let mut found = among::common(self.draft, ty, kind, false);
        for field in &self.draft.types[ty].fields {
            match &field.kind {
                FieldKind::Stored(ValueType::Object(members)) => {
                    let members = members.iter().filter(|member| member.ty.kind() == Some(kind));
                    found.extend(members.map(|member| format!("{}.{}", field.name, member.name)));
                }
                FieldKind::Stored(ValueType::File) => {
                    let members = files::members().into_iter().filter(|it| it.ty.kind() == Some(kind));
                    found.extend(members.map(|member| format!("{}.{}", field.name, member.name)));
                }
                FieldKind::Stored(ValueType::Map(of)) if of.kind() == Some(kind) => {
                    found.push(format!("{}.a", field.name));
                }
                FieldKind::Stored(of) if of.kind() == Some(kind) => found.push(field.name.clone()),
                FieldKind::Derived(it) if self.readable(it, own) && it.shape == Shape::Map(kind) => {
                    found.push(format!("{}.a", field.name));
                }
                FieldKind::Derived(it) if self.readable(it, own) && it.shape == Shape::One(kind) => {
                    // What is computed makes the better input, and most of all what makes a recursion.
                    let times = if self.recurs_by(it) { 6 } else { 2 };
                    found.extend(std::iter::repeat_n(field.name.clone(), times));
                }
                _ => {}
            }
        }
        found
    }

    /// A path by links to one resource, with the text to go on from (`self.`, `self.boss.`, or nothing at all).
    fn up(&mut self) -> (String, usize) {
        let (mut text, mut ty) = self.start();
        for _ in 0..self.random.weighted(&[5, 4, 1]) {
            let steps = self.to_one(ty, is_own(&text));
            let Some((step, target)) = self.random.pick_any(&steps) else { break };
            text = format!("{text}{step}.");
            ty = *target;
        }
        (text, ty)
    }

    /// A field with one value of a kind, of what a path by links leads to.
    fn field(&mut self, kind: Kind) -> Option<String> {
        for _ in 0..4 {
            let (base, ty) = self.up();
            let fields = self.fields(ty, kind, is_own(&base));
            if let Some(field) = self.random.pick_any(&fields) {
                return Some(format!("{base}{field}"));
            }
        }
        None
    }

    /// A root collection, and the type of what is in it.
    fn root(&mut self) -> Option<(String, usize)> {
        let types = self.draft.types.iter().enumerate();
        let roots: Vec<(String, usize)> = types
            .filter(|(_, ty)| ty.root)
            .map(|(at, ty)| (format!("root.{}", root_name(ty.name)), at))
            .collect();
        self.random.pick_any(&roots).cloned()
    }

    /// A path to many resources, with filters, and perhaps an order at the end.
    fn many(&mut self, ordered: bool) -> Option<(String, usize)> {
        for _ in 0..4 {
            // Each root path inside the filter of another multiplies what one evaluation looks at by all that there is.
            let root = if self.items.len() < 2 && self.random.percent(12) { self.root() } else { None };
            let mut reached = root.is_some();
            let (mut text, mut ty) = root.unwrap_or_else(|| self.up());
            let steps = self.random.weighted(&[6, 3, 1]) + usize::from(!reached);
            if reached && self.random.percent(50) {
                let condition = self.within(ty, Express::filter);
                text.extend(condition.map(|condition| format!("[{condition}]")));
            }
            for _ in 0..steps {
                let mut steps = self.to_many(ty, !reached && is_own(&text));
                if reached {
                    steps.extend(self.to_one(ty, false));
                }
                let Some((step, target)) = self.random.pick_any(&steps).cloned() else { break };
                text = format!("{}{step}", if reached { format!("{text}.") } else { text });
                (reached, ty) = (true, target);
                if self.random.percent(35) {
                    let condition = self.within(ty, Express::filter);
                    text.extend(condition.map(|condition| format!("[{condition}]")));
                }
            }
            if reached {
                if ordered {
                    text.push_str(&self.order(ty));
                }
                return Some((text, ty));
            }
        }
        None
    }

    /// Runs `f` inside a filter over items of a type.
    fn within<T>(&mut self, item: usize, f: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.deeper(|it| {
            it.items.push(item);
            let made = f(it);
            it.items.pop();
            made
        })
    }

    fn order(&mut self, item: usize) -> String {
        let keys: Vec<String> = (0..1 + self.random.below(2))
            .filter_map(|_| {
                let key = self.within(item, |it| Some(it.key()))?;
                Some(if self.random.percent(50) { format!("{key} desc") } else { key })
            })
            .collect();
        if keys.is_empty() { String::new() } else { format!("[order by {}]", keys.join(", ")) }
    }

    fn resource(&mut self, wanted: usize) -> Option<String> {
        for _ in 0..12 {
            if self.random.percent(40) {
                let (text, ty) = self.up();
                if ty == wanted && !text.is_empty() && text != "self." {
                    return Some(text.trim_end_matches('.').into());
                }
                continue;
            }
            let ordered = self.random.percent(70);
            let (text, ty) = self.many(ordered)?;
            if ty == wanted {
                return Some(match self.random.below(5) {
                    0 => format!("{text}[0]"),
                    1 => format!("{text}[-1]"),
                    2 => format!("last({text})"),
                    _ => format!("first({text})"),
                });
            }
        }
        None
    }

    fn set_of(&mut self, wanted: usize) -> Option<String> {
        for _ in 0..12 {
            let ordered = self.random.percent(15);
            let (text, ty) = self.many(ordered)?;
            if ty == wanted {
                return Some(match self.random.below(12) {
                    0 => format!("{text}[{}..{}]", self.random.below(2), 2 + self.random.below(3)),
                    1 => {
                        let condition = self.deeper(|it| it.one(Kind::Bool)).unwrap_or_else(|| "true".into());
                        format!("({condition} -> {text} : {text}[1..])")
                    }
                    _ => text,
                });
            }
        }
        None
    }

    /// Fields of a type with many values of a kind.
    fn lists(&self, ty: usize, kind: Kind, own: bool) -> Vec<String> {
        let is = |field: &&FieldDraft| match &field.kind {
            FieldKind::Stored(ValueType::List(of) | ValueType::Set(of)) => of.kind() == Some(kind),
            FieldKind::Derived(it) => self.readable(it, own) && it.shape == Shape::List(kind),
            _ => false,
        };
        let fields = &self.draft.types[ty].fields;
        let mut found: Vec<String> = fields.iter().filter(is).map(|field| field.name.clone()).collect();
        found.extend(among::common(self.draft, ty, kind, true));
        for field in fields {
            if let FieldKind::Stored(ValueType::List(of)) = &field.kind
                && let ValueType::Object(members) = &**of
            {
                for member in members.iter().filter(|member| member.ty.kind() == Some(kind)) {
                    let (name, member, of) = (&field.name, member.name, member.of.unwrap_or(union::NAMES[0]));
                    found.push(format!("{name}.{member}"));
                    found.push(format!("{name}[{} = '{of}'].{member}", union::DISCRIMINATOR));
                }
            }
            let FieldKind::Stored(ValueType::Elements(members, derived)) = &field.kind else { continue };
            let members = members.iter().filter(|member| member.ty.kind() == Some(kind));
            let members = members.map(|member| member.name);
            let follows = |member: &&DerivedMember| member.kind == kind && self.is_below(MEMBER_RANK);
            let derived = derived.iter().filter(follows).map(|member| member.name);
            for member in members.chain(derived) {
                let name = &field.name;
                found.extend([format!("{name}.{member}"), format!("{name}[m > 1].{member}")]);
                found.push(format!("{name}[order by m desc, {member}].{member}"));
            }
        }
        found
    }

    /// Values of a kind: those that there are, each once, or the largest of them.
    fn list(&mut self, kind: Kind) -> Option<String> {
        let list = self.plain_list(kind)?;
        Some(match self.random.below(8) {
            0 => format!("distinct({list})"),
            1 => format!("top({}, {list})", 1 + self.random.below(4)),
            _ => list,
        })
    }

    /// A map of values of a kind: an aggregate over many resources for each key that they have.
    fn map_of(&mut self, kind: Kind) -> Option<String> {
        let ordered = self.random.percent(25);
        let (text, ty) = self.many(ordered)?;
        let by = self.within(ty, Express::map_key)?;
        let aggregate = self.within(ty, |it| it.aggregate_of_items(kind))?;
        Some(format!("group({text}, by: {by}, {aggregate})"))
    }

    /// What the keys of a map are made of.
    fn map_key(&mut self) -> Option<String> {
        const KEYS: [Kind; 6] = [Kind::Str, Kind::Str, Kind::Int, Kind::Bool, Kind::Date, Kind::Datetime];
        match self.random.below(8) {
            0 => {
                let (text, _) = self.up();
                let path = text.trim_end_matches('.');
                (!path.is_empty() && path != "self").then(|| path.into())
            }
            1 => Some(format!("int({})", self.one(Kind::Float)?)),
            2 => self.field(Kind::Enum).or_else(|| self.field(Kind::Str)),
            _ => {
                let kind = *self.random.pick(&KEYS);
                if self.random.percent(70) { self.field(kind) } else { self.one(kind) }
            }
        }
    }

    /// An aggregate that gives a value of a kind for each key of a map.
    fn aggregate_of_items(&mut self, kind: Kind) -> Option<String> {
        Some(match (kind, self.random.below(4)) {
            (Kind::Int, 0 | 1) => "count()".into(),
            (Kind::Int | Kind::Float | Kind::Decimal | Kind::Duration, 2) => {
                format!("sum({})", self.one(kind)?)
            }
            (Kind::Float, 0) => format!("average({})", self.one(Kind::Int)?),
            (Kind::Float, 1) => {
                let from = *self.random.pick(&[Kind::Int, Kind::Float]);
                self.percentile(from, Express::one)?
            }
            (Kind::Bool, 0 | 1) => {
                format!("{}({})", ["any", "all"][self.random.below(2)], self.one(Kind::Bool)?)
            }
            (Kind::Str, 0 | 1) => format!("join({}, '{}')", self.one(kind)?, ["", "-"][self.random.below(2)]),
            _ => {
                let function = ["min", "max", "first", "last"][self.random.below(4)];
                format!("{function}({})", self.one(kind)?)
            }
        })
    }

    /// A median or a percentile of what `of` makes.
    fn percentile(
        &mut self,
        kind: Kind,
        of: impl FnOnce(&mut Self, Kind) -> Option<String>,
    ) -> Option<String> {
        let of = of(self, kind)?;
        Some(match self.random.below(3) {
            0 => format!("median({of})"),
            _ => format!(
                "percentile({of}, {})",
                ["0", "10", "33.3", "50", "97.25", "100"][self.random.below(6)]
            ),
        })
    }

    /// Values of a kind, of many resources or of a list that one has.
    fn plain_list(&mut self, kind: Kind) -> Option<String> {
        if kind == Kind::Str && self.random.percent(20) {
            let text = self.deeper(|it| it.one(Kind::Str))?;
            return Some(format!("split({text}, {})", self.literal(Kind::Str)?));
        }
        if self.random.percent(15) {
            let (base, ty) = self.up();
            let lists = self.lists(ty, kind, is_own(&base));
            if let Some(list) = self.random.pick_any(&lists) {
                return Some(format!("{base}{list}"));
            }
        }
        for _ in 0..6 {
            let ordered = self.random.percent(20);
            let (text, ty) = self.many(ordered)?;
            let mut fields = self.fields(ty, kind, false);
            fields.extend(self.lists(ty, kind, false));
            if let Some(field) = self.random.pick_any(&fields) {
                return Some(format!("{text}.{field}"));
            }
        }
        None
    }

    fn literal(&mut self, kind: Kind) -> Option<String> {
        Some(match kind {
            Kind::Bool => ["true", "false"][self.random.below(2)].into(),
            Kind::Int => self.random.between(-2, 9).to_string(),
            Kind::Float => ["0.5", "2.0", "-1.5", "0.1", "1e10"][self.random.below(5)].into(),
            Kind::Decimal => format!("decimal('{}')", ["1.5", "0.25", "-3", "2"][self.random.below(4)]),
            Kind::Str => format!("'{}'", ["a", "ab", "", "b", "c"][self.random.below(5)]),
            Kind::Datetime => format!("datetime('1970-01-0{}T00:00:00Z')", 1 + self.random.below(5)),
            Kind::Duration => format!("hours({})", self.random.between(-12, 24)),
            Kind::Date | Kind::Enum => return None,
        })
    }

    /// One value of a kind.
    fn one(&mut self, kind: Kind) -> Option<String> {
        let composed = self.random.percent(60).then(|| self.deeper(|it| it.composed(kind))).flatten();
        composed.or_else(|| self.field(kind)).or_else(|| self.literal(kind))
    }

    fn composed(&mut self, kind: Kind) -> Option<String> {
        if kind == Kind::Bool && self.random.percent(85) {
            return self.composed_condition();
        }
        Some(match self.random.below(12) {
            0 => format!("({} -> {} : {})", self.condition(), self.one(kind)?, self.one(kind)?),
            1 => {
                let operator = ["else", "else", "??"][self.random.below(3)];
                format!("({} {operator} {})", self.one(kind)?, self.one(kind)?)
            }
            2 if kind != Kind::Date && kind != Kind::Enum => {
                format!("coalesce({}, {})", self.field(kind)?, self.literal(kind)?)
            }
            3 => self.switch(kind)?,
            4 | 5 => {
                let ordered = self.random.percent(60);
                let (text, ty) = self.many(ordered)?;
                let fields = self.fields(ty, kind, false);
                let field = self.random.pick_any(&fields)?;
                let function = ["first", "last"][self.random.below(2)];
                if self.random.percent(40) {
                    format!("{function}({text}).{field}")
                } else {
                    format!("{function}({text}.{field})")
                }
            }
            6 | 7 if kind != Kind::Bool => {
                let function = ["min", "max"][self.random.below(2)];
                format!("{function}({})", self.list(kind)?)
            }
            _ => self.operation(kind)?,
        })
    }

    fn switch(&mut self, kind: Kind) -> Option<String> {
        let subject = self.field(Kind::Int)?;
        let (one, other) = (self.one(kind)?, self.one(kind)?);
        Some(format!("({subject} -> ({}: {one}, else: {other}))", self.random.between(0, 4)))
    }

    fn composed_condition(&mut self) -> Option<String> {
        Some(match self.random.below(21) {
            17..=20 => self.about_time()?,
            16 if self.random.percent(70) => {
                let pattern = ["^a", "b+$", "a|c", "[ab]{2}"][self.random.below(4)];
                format!("matches({}, '{pattern}')", self.one(Kind::Str)?)
            }
            16 => format!("matches({}, {})", self.one(Kind::Str)?, self.one(Kind::Str)?),
            0 | 1 => format!("({} & {})", self.condition(), self.condition()),
            2 | 3 => format!("({} | {})", self.condition(), self.condition()),
            4 => format!("{}({})", ["!", "not "][self.random.below(2)], self.condition()),
            5 => format!("exists({})", self.many(false)?.0),
            6 => {
                let (text, _) = self.up();
                let path = text.trim_end_matches('.').to_string();
                let operator = ["=", "!="][self.random.below(2)];
                if path.is_empty() || path == "self" {
                    return None;
                }
                format!("{path} {operator} null")
            }
            7 => self.about_words()?,
            8 => {
                let kind = *self.random.pick(&NUMBERS);
                format!("is_error({})", self.one(kind)?)
            }
            9 => format!("({} ~ {})", self.one(Kind::Str)?, self.literal(Kind::Str)?),
            10 => format!(
                "{} in [{}, {}]",
                self.field(Kind::Int)?,
                self.literal(Kind::Int)?,
                self.literal(Kind::Int)?
            ),
            11 if self.standing == Standing::Query && self.random.percent(30) => {
                let ty = &self.draft.types[self.owner];
                let root = ty.root.then(|| root_name(ty.name))?;
                format!("count(root.{root}) > {}", self.random.below(4))
            }
            12 => self.call(Kind::Bool)?,
            _ => self.comparison()?,
        })
    }

    /// The condition of a filter, windows among them.
    fn filter(&mut self) -> Option<String> {
        let window = self.random.percent(20).then(|| self.about_time()).flatten();
        window.or_else(|| self.one(Kind::Bool))
    }

    /// A comparison with the clock, which changes without a write.
    fn about_time(&mut self) -> Option<String> {
        // What follows in an embedded object reads facts alone.
        if !matches!(self.standing, Standing::Derived(rank) if rank > MEMBER_RANK) {
            return None;
        }
        let operator = ["<", "<=", ">", ">="][self.random.below(4)];
        if self.random.percent(20) {
            let spans = ["", " - days(1)", " + weeks(1)", " - months(1)", " + years(1)"];
            let span = *self.random.pick(&spans);
            return Some(format!("({} {operator} today(){span})", self.one(Kind::Date)?));
        }
        let moment = self.one(Kind::Datetime)?;
        let time = match self.random.below(6) {
            4 => format!("now() - minutes({})", self.random.below(90)),
            5 => ["now() + months(1)", "now() - years(1)", "now() - weeks(1)"][self.random.below(3)].into(),
            0 => "now()".to_string(),
            1 => format!("now() - days({})", self.random.below(3)),
            2 => format!("now() + hours({})", self.random.below(40)),
            _ => format!("now() - hours({})", self.random.below(40)),
        };
        Some(if self.random.percent(80) {
            format!("({moment} {operator} {time})")
        } else {
            format!("({time} {operator} {moment})")
        })
    }

    /// A condition about an enum.
    fn about_words(&mut self) -> Option<String> {
        let (base, ty) = self.up();
        let enums = self.draft.types[ty].fields.iter().filter_map(|field| match &field.kind {
            FieldKind::Stored(ValueType::Enum(words)) => Some((field.name.clone(), words.clone())),
            FieldKind::Stored(ValueType::Object(members)) if !union::variants(members).is_empty() => {
                Some((format!("{}.{}", field.name, union::DISCRIMINATOR), union::variants(members).to_vec()))
            }
            _ => None,
        });
        let enums: Vec<(String, Vec<&'static str>)> = enums.collect();
        let (name, words) = self.random.pick_any(&enums)?;
        let word = *self.random.pick(words);
        Some(match self.random.below(3) {
            0 => format!("{base}{name} in ['{word}', '{}']", words[0]),
            1 => format!("{base}{name} != '{word}'"),
            _ => format!("{base}{name} = '{word}'"),
        })
    }

    fn comparison(&mut self) -> Option<String> {
        let operator = ["=", "!=", "<", "<=", ">", ">="][self.random.below(6)];
        let kind = *self.random.pick(&COMPARED);
        if kind == Kind::Datetime && self.random.percent(50) {
            return self.about_time();
        }
        let left = self.field(kind).or_else(|| self.one(kind))?;
        let right = match kind {
            Kind::Int | Kind::Float if self.random.percent(30) => {
                let other = *self.random.pick(&[Kind::Int, Kind::Float]);
                self.one(other)?
            }
            _ if self.random.percent(60) => self.literal(kind).or_else(|| self.field(kind))?,
            _ => self.one(kind)?,
        };
        let turned = self.random.percent(15);
        Some(if turned {
            format!("({right} {operator} {left})")
        } else {
            format!("({left} {operator} {right})")
        })
    }
}
