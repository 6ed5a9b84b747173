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
use crate::{Direction, KeyRange, Keyspace};

/// The most entries of a leaf, which are 16 bytes each.
const LEAF_ENTRIES: usize = 96;
/// The most children of an inner node.
const CHILDREN: usize = 32;

#[derive(Clone)]
enum Node {
    Leaf(Vec<Entry>),
    Inner(Vec<Child>),
}

#[derive(Clone)]
struct Child {
    first: Entry,
    node: Arc<Node>,
}

/// A key to look for, in the order of [`Arena::key`] without being put together.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a> {
    keyspace: u8,
    key: &'a [u8],
}

impl<'a> Probe<'a> {
    pub(super) fn new(keyspace: Keyspace, key: &'a [u8]) -> Self {
        Self { keyspace: keyspace.0, key }
    }

    fn of(full: &'a [u8]) -> Self {
        Self { keyspace: full[0], key: &full[1..] }
    }

    /// How the key of an entry compares with this one.
    fn order(self, full: &[u8]) -> Ordering {
        full[0].cmp(&self.keyspace).then_with(|| full[1..].cmp(self.key))
    }
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
        let mut root = self.root.take().unwrap_or_else(|| Arc::new(Node::Leaf(Vec::new())));
        let mut level = merge(&mut root, arena, new);
        if !level.is_empty() {
            // The first child takes every smaller key whatever its own `first` says.
            level.insert(0, Child { first: *first, node: root });
            while level.len() > 1 {
                let parts = split(&mut level, CHILDREN);
                let parts = std::iter::once(std::mem::take(&mut level)).chain(parts);
                level = parts
                    .map(|part| Child { first: part[0].first, node: Arc::new(Node::Inner(part)) })
                    .collect();
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
                Node::Inner(children) => node = &children[child_of(children, arena, probe)].node,
                Node::Leaf(entries) => {
                    let found = entries.binary_search_by(|entry| probe.order(arena.key(entry)));
                    return found.ok().map(|at| &entries[at]);
                }
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
            Bound::Unbounded => Bound::Included(Probe { keyspace: keyspace.0, key: &[] }),
            Bound::Included(key) => Bound::Included(Probe::new(keyspace, key)),
            Bound::Excluded(key) => Bound::Excluded(Probe::new(keyspace, key)),
        };
        let to = match &range.to {
            // Keyspaces are few, so there is always a next number.
            Bound::Unbounded => Bound::Excluded(Probe { keyspace: keyspace.0 + 1, key: &[] }),
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

/// Puts entries into a node; its new siblings to the right, if it had to be split.
fn merge(node: &mut Arc<Node>, arena: &Arena, new: &[Entry]) -> Vec<Child> {
    match Arc::make_mut(node) {
        Node::Leaf(entries) => {
            merge_leaf(entries, arena, new);
            let parts = split(entries, LEAF_ENTRIES).into_iter();
            parts.map(|part| Child { first: part[0], node: Arc::new(Node::Leaf(part)) }).collect()
        }
        Node::Inner(children) => {
            let (mut rest, mut done) = (new, 0);
            while let Some(next) = rest.first() {
                let at = done + child_of(&children[done..], arena, Probe::of(arena.key(next)));
                let here = match children.get(at + 1) {
                    Some(after) => {
                        let end = Probe::of(arena.key(&after.first));
                        rest.partition_point(|entry| end.order(arena.key(entry)).is_lt())
                    }
                    None => rest.len(),
                };
                let siblings = merge(&mut children[at].node, arena, &rest[..here]);
                rest = &rest[here..];
                done = at + siblings.len();
                children.splice(at + 1..at + 1, siblings);
            }
            let parts = split(children, CHILDREN).into_iter();
            parts.map(|part| Child { first: part[0].first, node: Arc::new(Node::Inner(part)) }).collect()
        }
    }
}

/// Puts entries into a leaf, however many.
fn merge_leaf(entries: &mut Vec<Entry>, arena: &Arena, new: &[Entry]) {
    let compare = |a: &Entry, b: &Entry| arena.key(a).cmp(arena.key(b));
    let behind = entries.last().is_none_or(|last| compare(last, &new[0]).is_lt());
    if behind {
        entries.extend_from_slice(new);
    } else if new.len() * 8 < entries.len() {
        for entry in new {
            match entries.binary_search_by(|found| compare(found, entry)) {
                Ok(at) => entries[at] = *entry,
                Err(at) => entries.insert(at, *entry),
            }
        }
    } else {
        let old = std::mem::replace(entries, Vec::with_capacity(entries.len() + new.len()));
        let (mut old, mut new) = (old.into_iter().peekable(), new.iter().copied().peekable());
        while let (Some(was), Some(is)) = (old.peek(), new.peek()) {
            let order = compare(was, is);
            if order.is_ne() {
                entries.extend(if order.is_lt() { old.next() } else { new.next() });
            } else {
                old.next();
                entries.extend(new.next());
            }
        }
        entries.extend(old);
        entries.extend(new);
    }
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

/// The child that a key belongs to: the last that does not begin after it, or the first of all.
fn child_of(children: &[Child], arena: &Arena, probe: Probe<'_>) -> usize {
    children[1..].partition_point(|child| probe.order(arena.key(&child.first)).is_le())
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
                Node::Inner(children) => {
                    let at = match start {
                        Bound::Unbounded if forward => 0,
                        Bound::Unbounded => children.len() - 1,
                        Bound::Included(probe) | Bound::Excluded(probe) => {
                            child_of(children, self.arena, probe)
                        }
                    };
                    let rest = if forward { &children[at + 1..] } else { &children[..at] };
                    self.above.push(rest.iter());
                    node = &children[at].node;
                }
                Node::Leaf(entries) => {
                    let before = |probe: Probe<'_>, skip_equal: bool| {
                        entries.partition_point(|entry| {
                            let order = probe.order(self.arena.key(entry));
                            order.is_lt() || (skip_equal && order.is_eq())
                        })
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
            while let Node::Inner(children) = &**node {
                let mut children = children.iter();
                let child = if forward { children.next() } else { children.next_back() };
                self.above.push(children);
                node = &child.expect("no node is empty").node;
            }
            if let Node::Leaf(entries) = &**node {
                self.leaf = entries.iter();
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
