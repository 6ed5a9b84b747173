//! The schema that is played with, as the server reads it, and once more as tables that the model goes by.

/// What the server is started with.
pub const SCHEMA: &str = r#"schema model

type Shop in shops {
  name:    str required, unique, min_length 1
  motto:   str max_length 12, normalize (trim)
  opened:  date immutable
  code:    str write once
  visits:  int default 0, min 0, max 100
  tags:    [str] max_length 4
  log:     [str] append only
  address: { street: str, city: str required, no: int default 1, min 1 }
  partner: link Shop
  guests:  links Person max_length 3
  owners:  links Person on delete cascade
  shelves: collection Shelf
  cellar:  collection Shelf
  steps:   ordered collection Step
  orders:  inverse Order.shop

  sold   := sum(self.orders.amount)
  many   := count(self.shelves)
  weight := sum(self.shelves.weight)
  begins := first(self.steps).text
  large  := self.orders[amount > 5]
}

type Shelf {
  label: str required, unique in parent
  size:  int default 1, max 50, index
  boxes: collection Box

  weight := sum(self.boxes.total)
  place  := self.parent_shop_shelves.name else self.parent_shop_cellar.name
}

type Box {
  load:  int default 1
  inner: collection Box

  total := self.load + sum(self.inner.total)
}

type Step {
  text: str required
  done: bool default false
}

type Person in people {
  name:  str required, index
  email: str unique, normalize (trim, lower)
  age:   int nullable, min 0, max 150, index
  level: "low" | "mid" | "high" default "mid"
  marks: set<int>
  notes: map<str>
  extra: json
  boss:  link Person on delete restrict

  spent   := sum(self.link_order_buyer.amount)
  reports := count(self.link_person_boss)
}

type Order in orders {
  amount:   int required, min 1
  price:    decimal min 0
  at:       datetime
  state:    "open" | "paid" | "done" default "open"
  lines:    [{ item: str required, count: int default 1, min 1 }]
  shop:     link Shop required
  buyer:    link Person on delete cascade
  watchers: links Person on delete restrict

  cost  := self.amount * 2
  who   := self.buyer.name else "nobody"
  items := sum(self.lines.count)
}

mount people/{person}/orders of Order {
  where buyer = person
}

mount desk of Order {
  where state = "open"
  fields amount, place: shop, client: buyer, watchers, due: at, cost
}

mount cheap of Order {
  where amount < 10
  allow read, update, delete
}

mount register of Person {
  allow read
  fields name, mail: email, chief: boss, reports
}
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    Shop,
    Shelf,
    Box,
    Step,
    Person,
    Order,
}

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Str,
    Int,
    Decimal,
    Date,
    Datetime,
    Bool,
    Word(&'static [&'static str]),
    List(&'static Kind),
    /// Of ints.
    Set,
    /// Of texts.
    Map,
    Object(&'static [Field]),
    Json,
    Link(Type, OnDelete),
    Links(Type, OnDelete),
    Collection(Type),
    /// The other type, and its link that leads here.
    Inverse(Type, &'static str),
    Derived,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    Unlink,
    Restrict,
    Cascade,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    No,
    Type,
    Parent,
}

/// A field or a member, with its options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    pub nullable: bool,
    /// As JSON.
    pub default: Option<&'static str>,
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub min_length: usize,
    pub max_length: usize,
    pub trim: bool,
    pub lower: bool,
    pub unique: Unique,
    pub immutable: bool,
    pub write_once: bool,
    pub append_only: bool,
}

impl Field {
    /// Is it written, and not what follows or is owned?
    pub fn is_fact(&self) -> bool {
        !matches!(self.kind, Kind::Collection(_) | Kind::Inverse(..) | Kind::Derived)
    }

    pub fn is_link(&self) -> bool {
        matches!(self.kind, Kind::Link(..) | Kind::Links(..))
    }
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        required: false,
        nullable: false,
        default: None,
        min: None,
        max: None,
        min_length: 0,
        max_length: usize::MAX,
        trim: false,
        lower: false,
        unique: Unique::No,
        immutable: false,
        write_once: false,
        append_only: false,
    }
}

use Kind::*;
use OnDelete::*;

const ADDRESS: &[Field] = &[
    field("street", Str),
    Field { required: true, ..field("city", Str) },
    Field { default: Some("1"), min: Some(1), ..field("no", Int) },
];

const LINE: &[Field] = &[
    Field { required: true, ..field("item", Str) },
    Field { default: Some("1"), min: Some(1), ..field("count", Int) },
];

const SHOP: &[Field] = &[
    Field { required: true, unique: Unique::Type, min_length: 1, ..field("name", Str) },
    Field { max_length: 12, trim: true, ..field("motto", Str) },
    Field { immutable: true, ..field("opened", Date) },
    Field { write_once: true, ..field("code", Str) },
    Field { default: Some("0"), min: Some(0), max: Some(100), ..field("visits", Int) },
    Field { max_length: 4, ..field("tags", List(&Str)) },
    Field { append_only: true, ..field("log", List(&Str)) },
    field("address", Object(ADDRESS)),
    field("partner", Link(Type::Shop, Unlink)),
    Field { max_length: 3, ..field("guests", Links(Type::Person, Unlink)) },
    field("owners", Links(Type::Person, Cascade)),
    field("shelves", Collection(Type::Shelf)),
    field("cellar", Collection(Type::Shelf)),
    field("steps", Collection(Type::Step)),
    field("orders", Inverse(Type::Order, "shop")),
    field("sold", Derived),
    field("many", Derived),
    field("weight", Derived),
    field("begins", Derived),
    field("large", Derived),
];

const SHELF: &[Field] = &[
    Field { required: true, unique: Unique::Parent, ..field("label", Str) },
    Field { default: Some("1"), max: Some(50), ..field("size", Int) },
    field("boxes", Collection(Type::Box)),
    field("weight", Derived),
    field("place", Derived),
];

const BOX: &[Field] = &[
    Field { default: Some("1"), ..field("load", Int) },
    field("inner", Collection(Type::Box)),
    field("total", Derived),
];

const STEP: &[Field] = &[
    Field { required: true, ..field("text", Str) },
    Field { default: Some("false"), ..field("done", Bool) },
];

const PERSON: &[Field] = &[
    Field { required: true, ..field("name", Str) },
    Field { trim: true, lower: true, unique: Unique::Type, ..field("email", Str) },
    Field { nullable: true, min: Some(0), max: Some(150), ..field("age", Int) },
    Field { default: Some("\"mid\""), ..field("level", Word(&["low", "mid", "high"])) },
    field("marks", Set),
    field("notes", Map),
    field("extra", Json),
    field("boss", Link(Type::Person, Restrict)),
    field("spent", Derived),
    field("reports", Derived),
];

const ORDER: &[Field] = &[
    Field { required: true, min: Some(1), ..field("amount", Int) },
    Field { min: Some(0), ..field("price", Decimal) },
    field("at", Datetime),
    Field { default: Some("\"open\""), ..field("state", Word(&["open", "paid", "done"])) },
    field("lines", List(&Object(LINE))),
    Field { required: true, ..field("shop", Link(Type::Shop, Unlink)) },
    field("buyer", Link(Type::Person, Cascade)),
    field("watchers", Links(Type::Person, Restrict)),
    field("cost", Derived),
    field("who", Derived),
    field("items", Derived),
];

impl Type {
    pub const ALL: [Type; 6] = [Type::Shop, Type::Shelf, Type::Box, Type::Step, Type::Person, Type::Order];

    pub fn fields(self) -> &'static [Field] {
        match self {
            Type::Shop => SHOP,
            Type::Shelf => SHELF,
            Type::Box => BOX,
            Type::Step => STEP,
            Type::Person => PERSON,
            Type::Order => ORDER,
        }
    }

    pub fn field(self, name: &str) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.name == name)
    }

    pub fn root(self) -> Option<&'static str> {
        match self {
            Type::Shop => Some("shops"),
            Type::Person => Some("people"),
            Type::Order => Some("orders"),
            _ => None,
        }
    }

    pub fn of_root(root: &str) -> Option<Type> {
        Type::ALL.into_iter().find(|ty| ty.root() == Some(root))
    }

    /// The type and the collection that each name of a parent stands for.
    pub fn parent_named(self, name: &str) -> Option<(Type, &'static str)> {
        Type::ALL.into_iter().find_map(|owner| {
            owner.fields().iter().find_map(|field| {
                let named = format!("parent_{}_{}", format!("{owner:?}").to_lowercase(), field.name);
                (field.kind == Collection(self) && named == name).then_some((owner, field.name))
            })
        })
    }
}

/// A list of some resources of a type at a path of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mount {
    pub name: &'static str,
    pub ty: Type,
    /// Read, create, update, delete.
    pub allow: [bool; 4],
    /// What is shown, by which name; all of it otherwise.
    pub names: Option<&'static [(&'static str, &'static str)]>,
}

pub const OF_PERSON: Mount = Mount { name: "people/orders", ty: Type::Order, allow: [true; 4], names: None };

pub const MOUNTS: [Mount; 3] = [
    Mount {
        name: "desk",
        ty: Type::Order,
        allow: [true; 4],
        names: Some(&[
            ("amount", "amount"),
            ("place", "shop"),
            ("client", "buyer"),
            ("watchers", "watchers"),
            ("due", "at"),
            ("cost", "cost"),
        ]),
    },
    Mount { name: "cheap", ty: Type::Order, allow: [true, false, true, true], names: None },
    Mount {
        name: "register",
        ty: Type::Person,
        allow: [true, false, false, false],
        names: Some(&[("name", "name"), ("mail", "email"), ("chief", "boss"), ("reports", "reports")]),
    },
];

impl Mount {
    /// The field of the type that a name stands for here.
    pub fn real<'n>(&self, name: &'n str) -> Option<&'n str> {
        match self.names {
            None => Some(name),
            Some(names) => names.iter().find(|(shown, _)| *shown == name).map(|(_, real)| *real),
        }
    }

    /// The name that a field has here.
    pub fn shown<'n>(&self, field: &'n str) -> Option<&'n str> {
        match self.names {
            None => Some(field),
            Some(names) => names.iter().find(|(_, real)| *real == field).map(|(shown, _)| *shown),
        }
    }

    /// A field with the one value that it has here.
    pub fn forced(&self, parameter: Option<&str>) -> Option<(&'static str, String)> {
        match (self.name, parameter) {
            ("desk", _) => Some(("state", "open".into())),
            ("people/orders", Some(person)) => Some(("buyer", person.into())),
            _ => None,
        }
    }
}
