//! A sorted tree of entries whose clones share what they have in common.
//!
//! A clone is one reference. A change copies the nodes on its way that others still hold, once for all entries that
//! are merged together, and changes the rest in place. Keys are never taken out (a deletion is an entry too), so there
//! is nothing to rebalance. Invariant: the keys of all leaves, one after the other, strictly increase; the `first` of
//! every child but a node's first is not greater than any key in it, and greater than every key in the children before
//! it. Read next: [`layer`](super::layer).

use std::cmp::Ordering;
use std::ops::Bound;
use std::slice;
use std::sync::Arc;

use super::arena::{Arena, Entry};
use super::heads::Heads;
use super::probe::Probe;
use crate::{Direction, KeyRange, Keyspace};

/// The most entries of a leaf, each of 24 bytes with its head.
const LEAF_ENTRIES: usize = 96;
/// The most children of an inner node.
const CHILDREN: usize = 32;

enum Node {
    Leaf(Leaf),
    Inner(Inner),
}

struct Leaf {
    heads: Heads,
    entries: Vec<Entry>,
}

struct Inner {
    /// Of the `first` of all children but the first.
    heads: Heads,
    children: Vec<Child>,
}

#[derive(Clone)]
struct Child {
    first: Entry,
    node: Arc<Node>,
}

/// Entries sorted by keyspace and key. All of them lie in one arena, which is handed in wherever it is needed.
#[derive(Clone, Default)]
pub(super) struct Tree {
    root: Option<Arc<Node>>,
}

impl Tree {
    /// Puts in entries that are sorted and differ in their keys. They replace those that have the same keys.
    pub(super) fn merge(&mut self, arena: &Arena, new: &[Entry]) {
        let Some(first) = new.first() else { return };
        let mut root = self.root.take().unwrap_or_else(|| Arc::new(Node::Leaf(Leaf::of(arena, Vec::new()))));
        let mut level = merge(&mut root, arena, new);
        if !level.is_empty() {
            // The first child takes every smaller key whatever its own `first` says.
            level.insert(0, Child { first: *first, node: root });
            while level.len() > 1 {
                let parts = split(&mut level, CHILDREN);
                let parts = std::iter::once(std::mem::take(&mut level)).chain(parts);
                level = parts.map(|part| Inner::of(arena, part).child()).collect();
            }
            root = level.swap_remove(0).node;
        }
        self.root = Some(root);
    }

    /// The entry of a key.
    pub(super) fn find(&self, arena: &Arena, probe: Probe<'_>) -> Option<&Entry> {
        let mut node = self.root.as_ref()?;
        loop {
            match &**node {
                Node::Inner(inner) => node = &inner.children[inner.child_of(arena, probe)].node,
                Node::Leaf(leaf) => return leaf.search(arena, probe).ok().map(|at| &leaf.entries[at]),
            }
        }
    }

    /// The entries of a range of one keyspace, in order.
    pub(super) fn range<'a>(
        &'a self,
        arena: &'a Arena,
        keyspace: Keyspace,
        range: &'a KeyRange,
        direction: Direction,
    ) -> Range<'a> {
        let from = match &range.from {
            Bound::Unbounded => Bound::Included(Probe::new(keyspace, &[])),
            Bound::Included(key) => Bound::Included(Probe::new(keyspace, key)),
            Bound::Excluded(key) => Bound::Excluded(Probe::new(keyspace, key)),
        };
        let to = match &range.to {
            Bound::Unbounded => Bound::Excluded(Probe::behind(keyspace)),
            Bound::Included(key) => Bound::Included(Probe::new(keyspace, key)),
            Bound::Excluded(key) => Bound::Excluded(Probe::new(keyspace, key)),
        };
        self.between(arena, from, to, direction)
    }

    /// All entries, in order.
    pub(super) fn all<'a>(&'a self, arena: &'a Arena) -> Range<'a> {
        self.between(arena, Bound::Unbounded, Bound::Unbounded, Direction::Forward)
    }

    fn between<'a>(
        &'a self,
        arena: &'a Arena,
        from: Bound<Probe<'a>>,
        to: Bound<Probe<'a>>,
        direction: Direction,
    ) -> Range<'a> {
        let (start, end) = match direction {
            Direction::Forward => (from, to),
            Direction::Backward => (to, from),
        };
        let mut walk = Range { arena, above: Vec::new(), leaf: [].iter(), end, direction };
        if let Some(root) = &self.root {
            walk.start(root, start);
        }
        walk
    }
}

impl Leaf {
    fn of(arena: &Arena, entries: Vec<Entry>) -> Self {
        Self { heads: Heads::of(arena, entries.iter(), LEAF_ENTRIES), entries }
    }

    fn child(self) -> Child {
        Child { first: self.entries[0], node: Arc::new(Node::Leaf(self)) }
    }

    fn search(&self, arena: &Arena, probe: Probe<'_>) -> Result<usize, usize> {
        self.heads.search(arena, |at| &self.entries[at], probe)
    }

    /// Puts entries in, as many as there is room for.
    fn put(&mut self, arena: &Arena, new: &[Entry]) {
        let mut all_have_heads = true;
        for entry in new {
            let probe = Probe::of(arena.key(entry));
            let place = match all_have_heads {
                true => self.search(arena, probe),
                false => self.entries.binary_search_by(|other| probe.order(arena.key(other))),
            };
            match place {
                Ok(at) => self.entries[at] = *entry,
                Err(at) => {
                    self.entries.insert(at, *entry);
                    all_have_heads = all_have_heads && self.heads.insert(at, probe);
                }
            }
        }
        if !all_have_heads {
            self.heads = Heads::of(arena, self.entries.iter(), LEAF_ENTRIES);
        }
    }

    /// What it has, with others put in.
    fn with(&self, arena: &Arena, new: &[Entry]) -> Vec<Entry> {
        let mut merged = Vec::with_capacity(self.entries.len() + new.len());
        let mut at = 0;
        for entry in new {
            let probe = Probe::of(arena.key(entry));
            let mut order = Ordering::Greater;
            let before = self.entries[at..].iter().enumerate().take_while(|(ahead, other)| {
                order = self.heads.order(arena, at + ahead, other, probe);
                order.is_lt()
            });
            let before = before.count();
            merged.extend_from_slice(&self.entries[at..at + before]);
            merged.push(*entry);
            at += before;
            if at < self.entries.len() && order.is_eq() {
                at += 1;
            }
        }
        merged.extend_from_slice(&self.entries[at..]);
        merged
    }
}

impl Inner {
    fn of(arena: &Arena, children: Vec<Child>) -> Self {
        Self { heads: Self::heads(arena, &children), children }
    }

    fn heads(arena: &Arena, children: &[Child]) -> Heads {
        Heads::of(arena, children[1..].iter().map(|child| &child.first), CHILDREN)
    }

    fn child(self) -> Child {
        Child { first: self.children[0].first, node: Arc::new(Node::Inner(self)) }
    }

    /// The child that a key belongs to: the last that does not begin after it, or the first of all.
    fn child_of(&self, arena: &Arena, probe: Probe<'_>) -> usize {
        match self.heads.search(arena, |at| &self.children[at + 1].first, probe) {
            Ok(at) => at + 1,
            Err(at) => at,
        }
    }

    /// Of entries that are not before a child, those that belong to it.
    fn of_child(&self, arena: &Arena, at: usize, entries: &[Entry]) -> usize {
        let Some(after) = self.children.get(at + 1) else { return entries.len() };
        entries.partition_point(|entry| {
            self.heads.order(arena, at, &after.first, Probe::of(arena.key(entry))).is_gt()
        })
    }
}

/// A node that nobody else holds, with room for more.
fn own(node: &mut Arc<Node>) -> &mut Node {
    if Arc::get_mut(node).is_none() {
        *node = Arc::new(match &**node {
            Node::Leaf(Leaf { heads, entries }) => {
                let mut roomy = Vec::with_capacity(LEAF_ENTRIES.max(entries.len()));
                roomy.extend_from_slice(entries);
                Node::Leaf(Leaf { heads: heads.with_room(LEAF_ENTRIES), entries: roomy })
            }
            Node::Inner(Inner { heads, children }) => {
                Node::Inner(Inner { heads: heads.with_room(0), children: children.clone() })
            }
        });
    }
    Arc::get_mut(node).expect("what was just made has one holder")
}

/// Puts entries into a node; its new siblings to the right, if it had to be split.
fn merge(node: &mut Arc<Node>, arena: &Arena, new: &[Entry]) -> Vec<Child> {
    if let Node::Leaf(leaf) = &**node
        && leaf.entries.len() + new.len() > LEAF_ENTRIES
    {
        let mut merged = leaf.with(arena, new);
        let parts = split(&mut merged, LEAF_ENTRIES);
        *node = Arc::new(Node::Leaf(Leaf::of(arena, merged)));
        return parts.into_iter().map(|part| Leaf::of(arena, part).child()).collect();
    }
    let inner = match own(node) {
        Node::Leaf(leaf) => {
            leaf.put(arena, new);
            return Vec::new();
        }
        Node::Inner(inner) => inner,
    };
    let (mut rest, mut grown) = (new, Vec::new());
    while let Some(next) = rest.first() {
        let at = inner.child_of(arena, Probe::of(arena.key(next)));
        let here = inner.of_child(arena, at, rest);
        let siblings = merge(&mut inner.children[at].node, arena, &rest[..here]);
        rest = &rest[here..];
        if !siblings.is_empty() {
            grown.push((at, siblings));
        }
    }
    if grown.is_empty() {
        return Vec::new();
    }
    for (at, siblings) in grown.into_iter().rev() {
        inner.children.splice(at + 1..at + 1, siblings);
    }
    let parts = split(&mut inner.children, CHILDREN);
    inner.heads = Inner::heads(arena, &inner.children);
    parts.into_iter().map(|part| Inner::of(arena, part).child()).collect()
}

/// Cuts what is over `most` off into further parts, all about equally long.
fn split<T>(items: &mut Vec<T>, most: usize) -> Vec<Vec<T>> {
    let size = items.len().div_ceil(items.len().div_ceil(most).max(1)).max(1);
    let mut parts = Vec::new();
    while items.len() > size {
        parts.push(items.split_off((items.len() - 1) / size * size));
    }
    parts.reverse();
    parts
}

/// A walk over a range of a tree.
pub(in crate::embedded) struct Range<'a> {
    arena: &'a Arena,
    /// What is left of each inner node on the way down.
    above: Vec<slice::Iter<'a, Child>>,
    leaf: slice::Iter<'a, Entry>,
    /// The bound that the walk comes to last.
    end: Bound<Probe<'a>>,
    direction: Direction,
}

impl<'a> Range<'a> {
    /// Goes down to the place where the walk begins.
    fn start(&mut self, mut node: &'a Arc<Node>, start: Bound<Probe<'a>>) {
        let forward = self.direction == Direction::Forward;
        loop {
            match &**node {
                Node::Inner(inner) => {
                    let children = &inner.children;
                    let at = match start {
                        Bound::Unbounded if forward => 0,
                        Bound::Unbounded => children.len() - 1,
                        Bound::Included(probe) | Bound::Excluded(probe) => inner.child_of(self.arena, probe),
                    };
                    let rest = if forward { &children[at + 1..] } else { &children[..at] };
                    self.above.push(rest.iter());
                    node = &children[at].node;
                }
                Node::Leaf(leaf) => {
                    let entries = &leaf.entries;
                    let before = |probe: Probe<'_>, skip_equal: bool| match leaf.search(self.arena, probe) {
                        Ok(at) => at + usize::from(skip_equal),
                        Err(at) => at,
                    };
                    let at = match start {
                        Bound::Unbounded if forward => 0,
                        Bound::Unbounded => entries.len(),
                        Bound::Included(probe) => before(probe, !forward),
                        Bound::Excluded(probe) => before(probe, forward),
                    };
                    self.leaf = if forward { entries[at..].iter() } else { entries[..at].iter() };
                    return;
                }
            }
        }
    }

    fn step(&mut self) -> Option<&'a Entry> {
        let forward = self.direction == Direction::Forward;
        loop {
            let next = if forward { self.leaf.next() } else { self.leaf.next_back() };
            if next.is_some() {
                return next;
            }
            let mut node = loop {
                let siblings = self.above.last_mut()?;
                match if forward { siblings.next() } else { siblings.next_back() } {
                    Some(child) => break &child.node,
                    None => drop(self.above.pop()),
                }
            };
            while let Node::Inner(inner) = &**node {
                let mut children = inner.children.iter();
                let child = if forward { children.next() } else { children.next_back() };
                self.above.push(children);
                node = &child.expect("no node is empty").node;
            }
            if let Node::Leaf(leaf) = &**node {
                self.leaf = leaf.entries.iter();
            }
        }
    }
}

impl<'a> Iterator for Range<'a> {
    /// The key, with its keyspace first, and the value, if the key is not deleted.
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.step()?;
        let key = self.arena.key(entry);
        let wanted = if self.direction == Direction::Forward { Ordering::Less } else { Ordering::Greater };
        let inside = match self.end {
            Bound::Unbounded => true,
            Bound::Included(probe) => matches!(probe.order(key), order if order == wanted || order.is_eq()),
            Bound::Excluded(probe) => probe.order(key) == wanted,
        };
        if inside {
            return Some((key, self.arena.value(entry)));
        }
        // Nothing comes after the end.
        (self.above, self.leaf) = (Vec::new(), [].iter());
        None
    }
}
