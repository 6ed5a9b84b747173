//! The named limits of a text, so that no input, however malformed, exhausts the stack, memory or patience.

/// The longest schema or expression text, in bytes.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// How deep brackets, objects, prefix operators and branches of conditionals may nest.
pub const MAX_DEPTH: usize = 64;

/// The greatest height of an expression's tree, in nodes: bounds chains such as `a + b + c + …` and `a.b.c…`,
/// which nest in the tree without nesting in the text. Whoever walks a tree may do so by recursion.
pub const MAX_HEIGHT: usize = 256;

/// The longest name, in characters.
pub const MAX_NAME_CHARACTERS: usize = 128;

/// The most findings reported about one text.
pub const MAX_DIAGNOSTICS: usize = 100;
