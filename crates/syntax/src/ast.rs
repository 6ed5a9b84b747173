//! The syntax tree of schemas and expressions, each node with its place in the text.

use smol_str::SmolStr;

use crate::span::Span;

/// A name with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident {
    /// The name as written.
    pub name: SmolStr,
    /// Its place.
    pub span: Span,
}

/// A whole schema text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SchemaText {
    /// `schema NAME`, where written.
    pub name: Option<Ident>,
    /// The types, in order.
    pub types: Vec<TypeText>,
    /// The mounts, in order; they stand behind the types.
    pub mounts: Vec<MountText>,
}

impl SchemaText {
    /// Where the `n`th of the types, and behind them the mounts, starts in the text.
    pub(crate) fn item_start(&self, n: usize) -> Option<usize> {
        let mut spans = self.types.iter().map(|ty| ty.span).chain(self.mounts.iter().map(|mount| mount.span));
        spans.nth(n).map(|span| span.start as usize)
    }
}

/// One `type … { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeText {
    /// `type NAME`.
    pub name: Ident,
    /// `abstract type`.
    pub is_abstract: bool,
    /// `is B, C`.
    pub interfaces: Vec<Ident>,
    /// `in NAME`: the root collection.
    pub root: Option<Ident>,
    /// Type options (`path name`, `created_at`, `history`, …), between the name and `{`.
    pub options: Vec<OptionText>,
    /// The members, in order.
    pub fields: Vec<FieldText>,
    /// From `type` (or `abstract`) to `}`.
    pub span: Span,
    /// Comments that stand directly before it, without `//`.
    pub comments: Vec<SmolStr>,
}

/// One `mount PATH of TYPE { … }` or `mount PATH proxy "URL" { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct MountText {
    /// The segments of its path, one at least.
    pub path: Vec<MountSegment>,
    /// What stands there.
    pub target: MountTarget,
    /// What is said between the braces, in order.
    pub clauses: Vec<MountClause>,
    /// From `mount` to the end.
    pub span: Span,
}

/// One segment of the path of a mount.
#[derive(Clone, Debug, PartialEq)]
pub enum MountSegment {
    /// `articles`.
    Name(Ident),
    /// `{user}`: stands for a resource.
    Param(Ident),
}

/// What stands at a mount.
#[derive(Clone, Debug, PartialEq)]
pub enum MountTarget {
    /// `of TYPE`: resources of a type.
    Type(Ident),
    /// `proxy "URL"`: what another server has there.
    Proxy(Ident),
}

/// One part of what is said of a mount.
#[derive(Clone, Debug, PartialEq)]
pub struct MountClause {
    /// Which.
    pub kind: MountClauseKind,
    /// From its keyword to its end.
    pub span: Span,
}

/// What a processor does with a write.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleText {
    /// `deny when CONDITION, message TEXT`.
    Deny {
        /// The condition.
        when: Expr,
        /// What whoever writes is told.
        message: Option<SmolStr>,
    },
    /// `set FIELD := EXPRESSION`.
    Set {
        /// The field.
        field: Ident,
        /// Its value.
        value: Expr,
    },
}

/// The kinds of parts of a mount.
#[derive(Clone, Debug, PartialEq)]
pub enum MountClauseKind {
    /// `where EXPR`.
    Where(Expr),
    /// `allow read, create`.
    Allow(Vec<Ident>),
    /// `fields title, by: author`: the name that is shown, and the field where it has another.
    Fields(Vec<(Ident, Option<Ident>)>),
    /// `forward credentials`.
    Forward(Vec<Ident>),
}

/// One member of a type or of an embedded object.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldText {
    /// The field's name.
    pub name: Ident,
    /// What it holds.
    pub kind: FieldKindText,
    /// Options in the order written.
    pub options: Vec<OptionText>,
    /// From the name to the last option.
    pub span: Span,
    /// Comments that stand directly before it.
    pub comments: Vec<SmolStr>,
    /// The comment at the end of its line.
    pub trailing_comment: Option<SmolStr>,
}

/// What stands behind a field's name.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldKindText {
    /// A stored value.
    Stored(TypeExpr),
    /// `link T`, `link T | U`: the types that it may lead to, at least one.
    Link(Vec<Ident>),
    /// `links T`, `links T | U`.
    Links(Vec<Ident>),
    /// `collection T`, `collection T | U`, `ordered collection T`.
    Collection {
        /// The types that the children may have, at least one.
        children: Vec<Ident>,
        /// `ordered`.
        ordered: bool,
    },
    /// `inverse T.field`.
    Inverse {
        /// The type that links here.
        of_type: Ident,
        /// Its link field.
        of_field: Ident,
    },
    /// `:= expression`.
    Derived(Expr),
}

/// The type of a stored value.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeExpr {
    /// Which.
    pub kind: TypeExprKind,
    /// Its place.
    pub span: Span,
}

/// The kinds of types of stored values.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeExprKind {
    /// `str`, `int`, … or a name that the checker will not know.
    Name(SmolStr),
    /// `"upper" | "mid"`.
    Enum(Vec<Ident>),
    /// `{ street: str, … }`.
    Object(Vec<FieldText>),
    /// `union kind { card: { … }, cash: {} }`.
    Union(UnionText),
    /// `[T]`.
    List(Box<TypeExpr>),
    /// `set<T>`.
    Set(Box<TypeExpr>),
    /// `map<T>`.
    Map(Box<TypeExpr>),
}

/// An object of one of several forms.
#[derive(Clone, Debug, PartialEq)]
pub struct UnionText {
    /// The member that says which variant an object is.
    pub discriminator: Ident,
    /// The variants, in order: each a name and, behind a colon, an object.
    pub variants: Vec<FieldText>,
    /// From `{` to `}`.
    pub braces: Span,
}

/// One option of a field or a type: its words joined by one space, and its argument.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionText {
    /// `required`, `on delete`, `write once`, `unique in parent`, `min_length`, …
    pub name: SmolStr,
    /// What follows it.
    pub argument: OptionArgument,
    /// The place of the whole option.
    pub span: Span,
}

/// What an option is given.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionArgument {
    /// Nothing (`required`).
    None,
    /// An expression (`default 3`, `min 0`, `pattern "…"`, `expires after days(3)`, `url := EXPR`).
    Expr(Expr),
    /// One word (`on delete unlink`, `search prefix`, `path name`).
    Word(Ident),
    /// Words in brackets (`normalize (lower, trim)`).
    Words(Vec<Ident>),
    /// Names in brackets, each with a direction (`index (customer, at desc)`).
    Keys(Vec<KeyText>),
}

/// A part of an index over several fields.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyText {
    /// The field.
    pub field: Ident,
    /// Largest first.
    pub descending: bool,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Which.
    pub kind: ExprKind,
    /// Its place.
    pub span: Span,
}

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a point or an exponent, as written (the checker decides between float and decimal).
    Number(SmolStr),
    /// `"…"` or `'…'`, unescaped.
    Str(SmolStr),
    /// A bare name: an item's field within a filter, else a root collection.
    Name(SmolStr),
    /// `self`.
    SelfRef,
    /// `parent`.
    Parent,
    /// `ego`.
    Ego,
    /// `root`.
    Root,
    /// `base.name`.
    Field {
        /// What it is a field of.
        base: Box<Expr>,
        /// The field.
        name: Ident,
    },
    /// `base[condition]`.
    Filter {
        /// The list.
        base: Box<Expr>,
        /// The condition, where a bare name is the item's field.
        condition: Box<Expr>,
    },
    /// `base[order by a desc, b]`.
    Order {
        /// The list.
        base: Box<Expr>,
        /// The keys, first the most significant.
        keys: Vec<OrderKey>,
    },
    /// `base[-1]`: only an integer literal, optionally with a minus, is an index.
    Index {
        /// The list.
        base: Box<Expr>,
        /// Counted from 0, or from the end where negative.
        index: i64,
    },
    /// `base[0..5]`; either end may be left out.
    Slice {
        /// The list.
        base: Box<Expr>,
        /// The first position.
        from: Option<i64>,
        /// One past the last position.
        to: Option<i64>,
    },
    /// `name(arguments)`: functions and aggregates.
    Call {
        /// The function.
        name: Ident,
        /// Its arguments in order.
        arguments: Vec<Argument>,
    },
    /// `-x`, `!x`, `not x`.
    Unary {
        /// The operator.
        op: UnaryOp,
        /// Its operand.
        operand: Box<Expr>,
    },
    /// `a op b`.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// The operator's place.
        op_span: Span,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// `condition -> a : b`.
    Conditional {
        /// The condition.
        condition: Box<Expr>,
        /// The value where it holds.
        then: Box<Expr>,
        /// The value where it does not.
        otherwise: Box<Expr>,
    },
    /// `x -> ('k': a, 'l': b, else: c)`.
    Switch {
        /// What is compared.
        subject: Box<Expr>,
        /// Key and value of each case.
        cases: Vec<(Expr, Expr)>,
        /// The value where no key equals.
        otherwise: Option<Box<Expr>>,
    },
    /// `[a, b]`: a list literal (for `in`).
    List(Vec<Expr>),
    /// Stands where the parser recovered from an error; the checker says nothing of it.
    Error,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// `by:`, `using:`, …
    pub name: Option<Ident>,
    /// Its value.
    pub value: Expr,
}

/// One key of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderKey {
    /// What is compared; a bare name is the item's field.
    pub expr: Expr,
    /// Largest first.
    pub descending: bool,
}

/// Operators of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-x`.
    Negate,
    /// `!x`, `not x`.
    Not,
}

/// Operators of two operands, weakest binding first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `x else y`: `y` where `x` is null or an error.
    Else,
    /// `x ?? y`: `y` where `x` is null; an error passes through.
    IfNull,
    /// `or`, `|`.
    Or,
    /// `and`, `&`.
    And,
    /// `=`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterEqual,
    /// `~`: matches, case-insensitively.
    Match,
    /// `x in list`.
    In,
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
    /// `%`.
    Remainder,
}

impl BinaryOp {
    /// All of them, weakest binding first.
    pub const ALL: [BinaryOp; 17] = [
        BinaryOp::Else,
        BinaryOp::IfNull,
        BinaryOp::Or,
        BinaryOp::And,
        BinaryOp::Equal,
        BinaryOp::NotEqual,
        BinaryOp::Less,
        BinaryOp::LessEqual,
        BinaryOp::Greater,
        BinaryOp::GreaterEqual,
        BinaryOp::Match,
        BinaryOp::In,
        BinaryOp::Add,
        BinaryOp::Subtract,
        BinaryOp::Multiply,
        BinaryOp::Divide,
        BinaryOp::Remainder,
    ];

    /// How it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Else => "else",
            BinaryOp::IfNull => "??",
            BinaryOp::Or => "or",
            BinaryOp::And => "and",
            BinaryOp::Equal => "=",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::Match => "~",
            BinaryOp::In => "in",
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Remainder => "%",
        }
    }
}
