//! Who may do what with which resources: grants, and what follows from them for one who asks.
//!
//! A grant says of a path of collections ([`corollary_schema::grants`]) what those whom it is given to may do there. They are kept in records
//! ([`crate::records`]), as processors are, and are as of the same moment as all else. What of the schema a grant does not fit any
//! more, it covers nothing of: nobody is let in by mistake.
//!
//! A [`Sight`] is what the grants come to for one who asks, who they are in the data included. It is used in two ways, which mean the
//! same: as a condition that goes along with a query or a watch, and as a veil over a state that is read ([`Working`]): what may
//! not be read is not there, whichever way somebody comes to it. Stored values are what they are, whoever looks; and what is computed
//! for a reply, a lazy field or a path, is computed from all there is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use corollary_schema::grants::{Covers, covers};
use corollary_schema::typed::{Expr, Kind, Node, Type};
use corollary_schema::{Schema, TypeIx};
use corollary_syntax::ast::BinaryOp;
use corollary_value::Id;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use jiff::Timestamp;
use serde_json::Value as Json;
use smol_str::SmolStr;

use crate::doc::{Doc, Key};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::eval::{Eval, View};
use crate::processors::ego_of;
use crate::records::{Kind as RecordKind, Records};
use crate::working::Working;

/// Records of grants, by their ids. The engine reads the members `path`, `to`, `may` and `paused` of an object in JSON; the rest is for
/// whoever keeps it.
pub const GRANT: RecordKind = RecordKind(4);

/// The record of when grants were changed last, by a commit's revision: 8 bytes. Its key is empty.
pub const CHANGED: RecordKind = RecordKind(5);

/// Grants of a store, at most.
pub const MAX_GRANTS: usize = 10_000;

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum May {
    /// See it.
    Read,
    /// Make one that is there afterwards.
    Create,
    /// Change one that is there before and afterwards.
    Update,
    /// Delete one that is there before.
    Delete,
}

impl May {
    /// All, by the names that people know.
    pub const ALL: [(&'static str, May); 4] =
        [("read", May::Read), ("create", May::Create), ("update", May::Update), ("delete", May::Delete)];
}

/// A grant.
#[derive(Debug)]
struct Grant {
    may: Vec<May>,
    covers: Covers,
}

impl Grant {
    fn give(self: &Arc<Grant>, given: &mut Given) {
        for may in &self.may {
            for (ty, _) in &self.covers.by_type {
                given.entry((*may, *ty)).or_default().push(self.clone());
            }
        }
    }
}

/// Those that are given to somebody, by what they allow of which type: who asks about one type looks at no others.
type Given = HashMap<(May, TypeIx), Vec<Arc<Grant>>, RandomState>;

/// All grants that are not paused.
#[derive(Debug, Default)]
pub struct Grants {
    everyone: Given,
    by_name: HashMap<SmolStr, Given, RandomState>,
    /// They are what they are since this revision.
    since: u64,
}

impl Grants {
    fn load(records: &Records<'_>, schema: &Schema) -> Result<Grants, EngineError> {
        let changed =
            records.get(CHANGED, &[])?.and_then(|row| Some(u64::from_be_bytes(row.try_into().ok()?)));
        let mut grants = Grants { since: changed.unwrap_or(0), ..Grants::default() };
        for (_, bytes) in records.list(GRANT, &[], None, MAX_GRANTS)? {
            let declared: Json =
                serde_json::from_slice(&bytes).map_err(|_| EngineError::corrupt("a grant"))?;
            if declared["paused"] == Json::Bool(true) {
                continue;
            }
            let Ok(covers) = covers(schema, declared["path"].as_str().unwrap_or_default()) else { continue };
            let named = |name: &str| {
                declared["may"].as_array().is_some_and(|may| may.iter().any(|granted| granted == name))
            };
            let may = May::ALL.into_iter().filter(|(name, _)| named(name)).map(|(_, may)| may);
            let grant = Arc::new(Grant { may: may.collect(), covers });
            match declared["to"].as_array() {
                Some(names) => {
                    // One that is named twice is given it once.
                    let names: BTreeSet<&str> = names.iter().filter_map(Json::as_str).collect();
                    for name in names {
                        grant.give(grants.by_name.entry(name.into()).or_default());
                    }
                }
                None => grant.give(&mut grants.everyone),
            }
        }
        Ok(grants)
    }
}

impl Engine {
    /// How often grants may have changed since the engine was opened: who has derived something from them compares.
    pub fn grant_changes(&self) -> u64 {
        self.grants.changes()
    }

    /// The grants, as they are stored.
    fn grants(&self) -> Result<Arc<Grants>, EngineError> {
        let load = |records: &Records<'_>| Grants::load(records, self.schema());
        self.grants.get(|| self.records(Timestamp::MIN, load))
    }

    /// What the grants come to for one who asks, in a state.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn sight(&self, working: &Working<'_>, actor: Option<&SmolStr>) -> Result<Sight, EngineError> {
        let grants = self.grants()?;
        let ego = ego_of(working, actor)?;
        Ok(Sight { grants, actor: actor.cloned(), ego, known: RefCell::default() })
    }

    /// Reads one consistent state as [`Engine::read`] does, under the veil of one who asks.
    pub fn read_as<T>(
        &self,
        now: Timestamp,
        actor: Option<&SmolStr>,
        f: impl Fn(&Working<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.read_veiled(now, &|working| Ok(Some(Veil::new(self.sight(working, actor)?))), f)
    }

    /// Reads one consistent state as [`Engine::walk`] does, under the veil of one who asks.
    pub fn walk_as<T>(
        &self,
        now: Timestamp,
        actor: Option<&SmolStr>,
        f: impl FnOnce(&Working<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.walk_veiled(now, |working| Ok(Some(Veil::new(self.sight(working, actor)?))), f)
    }
}

/// What of a type is covered for one who asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Covered {
    /// Nothing.
    Nothing,
    /// Those for which this holds; there may be none.
    Where(Arc<Expr>),
    /// All.
    All,
}

/// See the module.
#[derive(Debug)]
pub struct Sight {
    grants: Arc<Grants>,
    actor: Option<SmolStr>,
    ego: Option<Id>,
    known: RefCell<HashMap<(May, TypeIx), Covered, RandomState>>,
}

impl Sight {
    /// Is it known who asks?
    pub fn is_known(&self) -> bool {
        self.actor.is_some()
    }

    /// The resource of who asks.
    pub fn ego(&self) -> Option<&Id> {
        self.ego.as_ref()
    }

    /// The revision since which the grants are what they are.
    pub fn since(&self) -> u64 {
        self.grants.since
    }

    /// What of a type may be done so with.
    pub fn covered(&self, schema: &Schema, may: May, ty: TypeIx) -> Covered {
        if let Some(known) = self.known.borrow().get(&(may, ty)) {
            return known.clone();
        }
        let named = self.actor.as_ref().and_then(|actor| self.grants.by_name.get(actor));
        let given = [Some(&self.grants.everyone), named].into_iter().flatten();
        let mine = given.filter_map(|given| given.get(&(may, ty))).flatten();
        // Who is nobody in the data is not whoever has nobody in a field.
        let mine = mine.filter(|grant| self.ego.is_some() || !grant.covers.asks_ego);
        let mut extents = mine.filter_map(|grant| grant.covers.of(ty)).peekable();
        let covered = match extents.peek() {
            None => Covered::Nothing,
            Some(_) => {
                let mut parts: Option<Vec<Expr>> = Some(Vec::new());
                for extent in extents {
                    match (extent.for_ego(schema, self.ego.as_ref()), &mut parts) {
                        (Some(part), Some(known)) if !known.contains(&part) => known.push(part),
                        (Some(_), _) => {}
                        (None, _) => parts = None,
                    }
                }
                match parts {
                    Some(parts) => match any_of(parts) {
                        Some(condition) => Covered::Where(Arc::new(condition)),
                        None => Covered::Nothing,
                    },
                    None => Covered::All,
                }
            }
        };
        self.known.borrow_mut().insert((may, ty), covered.clone());
        covered
    }

    /// May it be done so with a resource as it is in a view?
    pub fn may(
        &self,
        schema: &Schema,
        view: &dyn View,
        may: May,
        key: &Key,
        doc: &Doc,
    ) -> Result<bool, EngineError> {
        match self.covered(schema, may, key.ty) {
            Covered::Nothing => Ok(false),
            Covered::All => Ok(true),
            Covered::Where(condition) => Eval::of(view, &key.id, doc).holds(&condition),
        }
    }

    /// May all of these types be read, all of them?
    pub fn reads_all(&self, schema: &Schema, types: impl IntoIterator<Item = TypeIx>) -> bool {
        types.into_iter().all(|ty| self.covered(schema, May::Read, ty) == Covered::All)
    }
}

/// One of these, as a tree that is no deeper than it has to be: who evaluates it goes down into it.
fn any_of(mut parts: Vec<Expr>) -> Option<Expr> {
    while parts.len() > 1 {
        let mut pairs = parts.into_iter();
        let mut joined = Vec::with_capacity(pairs.len().div_ceil(2));
        while let Some(left) = pairs.next() {
            joined.push(match pairs.next() {
                Some(right) => {
                    let node = Node::Binary(BinaryOp::Or, Box::new(left), Box::new(right));
                    Expr { node, ty: Type::one(Kind::Bool) }
                }
                None => left,
            });
        }
        parts = joined;
    }
    parts.pop()
}

/// Hides of a state what may not be read.
pub(crate) struct Veil {
    sight: Sight,
    /// How many at the moment look at all there is.
    lifted: Cell<usize>,
    known: RefCell<HashMap<Key, bool, RandomState>>,
}

/// Lets it down again.
pub(crate) struct Lifted<'v>(&'v Cell<usize>);

impl<'v> From<&'v Cell<usize>> for Lifted<'v> {
    fn from(lifted: &'v Cell<usize>) -> Lifted<'v> {
        lifted.set(lifted.get() + 1);
        Lifted(lifted)
    }
}

impl Drop for Lifted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Veil {
    pub(crate) fn new(sight: Sight) -> Veil {
        Veil { sight, lifted: Cell::new(0), known: RefCell::default() }
    }

    fn lift(&self) -> Lifted<'_> {
        Lifted::from(&self.lifted)
    }

    /// For [`View::unveil`].
    pub(crate) fn depth(&self) -> &Cell<usize> {
        &self.lifted
    }
}

impl Working<'_> {
    /// What one who reads may do, where that is not everything.
    pub fn sight(&self) -> Option<&Sight> {
        self.veil.as_ref().map(|veil| &veil.sight)
    }

    /// Does something with all there is: to compute what follows from it, not to show it.
    pub fn unveiled<T>(&self, f: impl FnOnce() -> T) -> T {
        let _lifted = self.lift();
        f()
    }

    /// The same as long as it is held.
    pub(crate) fn lift(&self) -> Option<Lifted<'_>> {
        self.veil.as_ref().map(Veil::lift)
    }

    /// Are there resources of a type that are not shown here?
    pub(crate) fn hides(&self, ty: TypeIx) -> bool {
        self.veil.as_ref().is_some_and(|veil| {
            veil.lifted.get() == 0 && veil.sight.covered(self.schema, May::Read, ty) != Covered::All
        })
    }

    /// Is a resource shown that is there?
    pub fn shows(&self, key: &Key, doc: &Arc<Doc>) -> Result<bool, EngineError> {
        let Some(veil) = &self.veil else { return Ok(true) };
        if veil.lifted.get() > 0 {
            return Ok(true);
        }
        match veil.sight.covered(self.schema, May::Read, key.ty) {
            Covered::All => Ok(true),
            Covered::Nothing => Ok(false),
            Covered::Where(condition) => {
                if let Some(known) = veil.known.borrow().get(key) {
                    return Ok(*known);
                }
                let _lifted = veil.lift();
                let shows = Eval::of(self, &key.id, doc).holds(&condition)?;
                veil.known.borrow_mut().insert(key.clone(), shows);
                Ok(shows)
            }
        }
    }

    /// Keeps of some resources of a type those that are shown.
    pub(crate) fn retain_shown(&self, ty: TypeIx, ids: &mut Vec<Id>) -> Result<(), EngineError> {
        if !self.hides(ty) {
            return Ok(());
        }
        let keys: Vec<Key> = ids.iter().map(|id| Key::new(ty, id.clone())).collect();
        let docs = self.after_many(&keys)?;
        let mut docs = docs.into_iter();
        ids.retain(|_| docs.next().is_some_and(|doc| doc.is_some()));
        Ok(())
    }
}
