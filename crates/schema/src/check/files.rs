//! The options of files: how large they may be, and of which media types.

use corollary_syntax::ast::{Expr, ExprKind};
use corollary_syntax::diagnostic::Diagnostic;
use smol_str::SmolStr;

/// The units of sizes, in lower case, the longer ones first; each with its bytes.
const UNITS: [(&str, u64); 7] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("b", 1),
];

/// The size that `max` gives: a number of bytes, or a text with a unit.
pub(super) fn size(expr: &Expr) -> Result<u64, Diagnostic> {
    let size = match &expr.kind {
        ExprKind::Int(bytes) => u64::try_from(*bytes).ok().filter(|bytes| *bytes > 0),
        ExprKind::Str(text) => parse_size(text),
        _ => None,
    };
    size.ok_or_else(|| {
        let message = "the largest file is a number of bytes, or a text such as '5 MB' or '64 MiB'";
        let help = "the units are B, kB, MB, GB (thousands) and KiB, MiB, GiB (1024)";
        Diagnostic::error("option-argument", expr.span, message).help(help)
    })
}

/// A size with a unit, in bytes; none where it is none, or zero.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, unit) = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)))?;
    let number: u64 = number.trim_end().parse().ok()?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0 && i64::try_from(*bytes).is_ok())
}

/// The media types that `accept` gives: one text, or a list of them.
pub(super) fn accepted(expr: &Expr) -> Result<Vec<SmolStr>, Diagnostic> {
    let items = match &expr.kind {
        ExprKind::List(items) if !items.is_empty() => items.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    let one = |item: &Expr| {
        let kind = match &item.kind {
            ExprKind::Str(text) => media_range(text),
            _ => None,
        };
        kind.ok_or_else(|| {
            let message = "`accept` takes media types, such as 'image/png' or 'image/*'";
            let help = "several are a list: accept ['image/*', 'application/pdf']";
            Diagnostic::error("option-argument", item.span, message).help(help)
        })
    };
    items.iter().map(one).collect()
}

/// A media type in lower case, whose part behind the slash may be `*`.
fn media_range(text: &str) -> Option<SmolStr> {
    let text = text.trim().to_ascii_lowercase();
    let (kind, of) = text.split_once('/')?;
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    (is_token(kind) && (is_token(of) || of == "*")).then(|| text.into())
}
