//! The record of an update: what it is, how far it is, who is at it; and its form in the store.

use std::fmt;
use std::ops::ControlFlow;

use corollary_schema::plan::{Hop, Rule};
use corollary_schema::{FieldId, FieldKind, FieldRef, Schema, Slot, TypeId, TypeIx};
use corollary_store::{Direction, KeyRange, Snapshot};
use corollary_value::Id;
use hashbrown::HashMap;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};
use smol_str::SmolStr;

use super::budget::Edge;
use super::indexing::Indexed;
use super::ledger::Target;
use super::walk::Place;
use crate::doc::Key;
use crate::error::EngineError;
use crate::group::Gathered;
use crate::keys;
use crate::log::Commit;

/// How long whoever works on an update holds it without a sign of life.
pub const LEASE: SignedDuration = SignedDuration::from_secs(10);

/// The id of an update: the revision that began it, and which of its updates it is. Written `412-0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdateId {
    /// Of the commit that began it.
    pub revision: u64,
    /// Among those that the commit began.
    pub number: u32,
}

impl UpdateId {
    /// The bytes in keys: their order is the order in which updates began.
    pub fn to_key(self) -> [u8; 12] {
        let mut key = [0; 12];
        key[..8].copy_from_slice(&self.revision.to_be_bytes());
        key[8..].copy_from_slice(&self.number.to_be_bytes());
        key
    }

    /// From the key of a record.
    pub fn read_key(key: &[u8]) -> Option<UpdateId> {
        let (revision, number) = key.get(1..)?.split_first_chunk::<8>()?;
        Some(UpdateId {
            revision: u64::from_be_bytes(*revision),
            number: u32::from_be_bytes(number.try_into().ok()?),
        })
    }

    /// Reads what it is written as.
    pub fn parse(text: &str) -> Option<UpdateId> {
        let (revision, number) = text.split_once('-')?;
        Some(UpdateId { revision: revision.parse().ok()?, number: number.parse().ok()? })
    }
}

impl fmt::Display for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.revision, self.number)
    }
}

/// Where an update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is done yet.
    Waiting,
    /// At work.
    Running,
    /// All is done.
    Done,
    /// The last batch failed: it will be tried again.
    Failed,
}

impl State {
    const ALL: [State; 4] = [State::Waiting, State::Running, State::Done, State::Failed];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
        }
    }
}

/// What is done with the resources that an update comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// They follow a change: the sources are walked back to them.
    Follow,
    /// The groups of all owners are made empty, before they are filled.
    Empty,
    /// What the members give to their owners' groups is gathered in memory, and then the groups of all owners are written.
    Gather,
    /// A definition that is new, or was found wrong, is brought about for all of them.
    Fill,
    /// They are given their entries in an index.
    Index,
}

impl Task {
    const ALL: [Task; 5] = [Task::Follow, Task::Empty, Task::Gather, Task::Fill, Task::Index];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Task::Follow => "follow",
            Task::Empty => "empty",
            Task::Gather => "gather",
            Task::Fill => "fill",
            Task::Index => "index",
        }
    }

    /// Is it because of a definition, and not of a change?
    pub fn is_filling(self) -> bool {
        self != Task::Follow
    }
}

/// What began an update.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// The revision of the change; that of the last commit before a change of the schema, or before a repair.
    pub revision: u64,
    /// The change; none where the schema changed, or for a repair.
    pub change: Option<ChangedField>,
    /// Was something found wrong, and is mended?
    pub repair: bool,
}

/// A changed field of a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangedField {
    /// The type of the resource.
    pub ty: TypeId,
    /// Its id.
    pub id: Id,
    /// The field.
    pub field: FieldId,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: UpdateId,
    /// What began it.
    pub cause: Cause,
    /// What it does.
    pub task: Task,
    /// The node that is brought up to date, or the number of the index.
    pub definition: FieldId,
    /// From the node's `self` to a source, true where against the link; of an index to all of a type.
    pub path: Vec<(bool, FieldId)>,
    /// The type of the resources that are brought up to date, by name, as it was then.
    pub ty: SmolStr,
    /// The derived field, by name, as it was then; of an index what it is of, as in `a, b desc`.
    pub field: SmolStr,
    /// Where it is.
    pub state: State,
    /// Why the last batch failed.
    pub error: Option<String>,
    /// Resources that will have been visited in the end; a lower bound while they are being counted.
    pub estimated: u64,
    /// Resources that were evaluated again, one that was reached twice counted twice.
    pub visited: u64,
    /// Values that came out otherwise, those that follow in the same batches among them.
    pub changed: u64,
    /// By field, in the order of their numbers, how many values its batches changed of those that are told.
    pub fields: Vec<(FieldId, u64)>,
    /// When it began.
    pub started: Timestamp,
    /// The last sign of life.
    pub heartbeat: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The node that works on it.
    pub owner: SmolStr,
    /// Until when nobody else may.
    pub lease: Timestamp,
    /// Counts who worked on it: one with a lower number may write nothing any more.
    pub token: u64,
    /// The updates that it came of, the nearest last.
    pub origins: Vec<UpdateId>,
    /// How far it is.
    pub place: Place,
}

impl Record {
    /// Has it ended?
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// A new one, for a change of a resource.
    pub fn new(
        schema: &Schema,
        id: UpdateId,
        edge: &Edge,
        cause: &(Key, FieldRef),
        now: Timestamp,
    ) -> Record {
        let (key, field) = cause;
        let change =
            ChangedField { ty: schema.ty(key.ty).id, id: key.id.clone(), field: schema.field(*field).id };
        Record::with(schema, id, edge, Some(change), Task::Follow, now)
    }

    /// A new one, that fills what a node gives.
    pub fn filling(schema: &Schema, id: UpdateId, node: usize, now: Timestamp) -> Record {
        let planned = &schema.plan.nodes[node];
        let task = match planned.rule {
            Rule::Evaluate(_) => Task::Fill,
            Rule::Group(ref group) if Gathered::suits(group) => Task::Gather,
            Rule::Group(_) => Task::Empty,
        };
        let edge = Edge { node, path: vec![Hop::Everywhere(planned.subject())] };
        Record::with(schema, id, &edge, None, task, now)
    }

    /// A new one, that brings what a node gives about once more because something of it is wrong.
    pub fn repairing(schema: &Schema, id: UpdateId, node: usize, now: Timestamp) -> Record {
        let mut record = Record::filling(schema, id, node, now);
        record.cause.repair = true;
        record
    }

    fn with(
        schema: &Schema,
        id: UpdateId,
        edge: &Edge,
        change: Option<ChangedField>,
        task: Task,
        now: Timestamp,
    ) -> Record {
        let shown = visible(schema, edge.node);
        let definition = schema.plan.nodes[edge.node].definition;
        // A hidden field goes by the name of what it is for.
        let field = schema.field(shown).name.trim_start_matches('#').into();
        let record = Record::begun(schema, id, (task, definition), &edge.path, (shown.ty, field), now);
        Record { cause: Cause { change, ..record.cause }, ..record }
    }

    /// A new one, that fills an index.
    pub fn indexing(schema: &Schema, id: UpdateId, index: &Indexed, now: Timestamp) -> Record {
        let of = (index.at.ty, index.label(schema).into());
        Record::begun(schema, id, (Task::Index, index.number), &index.path(), of, now)
    }

    /// A new one without a change.
    fn begun(
        schema: &Schema,
        id: UpdateId,
        (task, definition): (Task, FieldId),
        path: &[Hop],
        (ty, field): (TypeIx, SmolStr),
        now: Timestamp,
    ) -> Record {
        let hop = |hop: &Hop| match hop {
            Hop::Link(field) => (false, schema.field(*field).id),
            Hop::Reverse(field) => (true, schema.field(*field).id),
            // No type has the number of a field.
            Hop::Everywhere(ty) => (true, FieldId(schema.ty(*ty).id.0)),
        };
        Record {
            id,
            cause: Cause { revision: id.revision, change: None, repair: false },
            task,
            definition,
            path: path.iter().map(hop).collect(),
            ty: schema.ty(ty).name.clone(),
            field,
            state: State::Waiting,
            error: None,
            estimated: 0,
            visited: 0,
            changed: 0,
            fields: Vec::new(),
            started: now,
            heartbeat: now,
            ended: None,
            owner: SmolStr::default(),
            lease: now,
            token: 0,
            origins: Vec::new(),
            place: Place::default(),
        }
    }

    /// Counts the derived values that one of its batches changed.
    pub(crate) fn tally(&mut self, schema: &Schema, commit: &Commit) {
        let mut counts: HashMap<(TypeIx, Slot), u64> = HashMap::new();
        for change in &commit.changes {
            for slot in &change.changed {
                *counts.entry((change.key.ty, *slot)).or_default() += 1;
            }
        }
        for ((ty, slot), count) in counts {
            let field = schema.field(FieldRef { ty, slot });
            if field.is_fact() {
                continue;
            }
            match self.fields.binary_search_by_key(&field.id, |(id, _)| *id) {
                Ok(at) => self.fields[at].1 += count,
                Err(at) => self.fields.insert(at, (field.id, count)),
            }
        }
    }

    /// What it is to bring about; none where the schema has that no more, or not in this form.
    pub fn target(&self, schema: &Schema) -> Option<Target> {
        match self.task {
            Task::Index => Indexed::of(schema, self.definition).map(Target::Index),
            _ => self.edge(schema).map(Target::Edge),
        }
    }

    /// Its edge in a plan.
    fn edge(&self, schema: &Schema) -> Option<Edge> {
        let node = schema.plan.nodes.iter().position(|node| node.definition == self.definition)?;
        let path = self.path.iter().map(|(reverse, field)| {
            if let Some((ty, _)) = schema.types().find(|(_, ty)| ty.id.0 == field.0) {
                return Some(Hop::Everywhere(ty));
            }
            let field = field_with(schema, *field)?;
            Some(if *reverse { Hop::Reverse(field) } else { Hop::Link(field) })
        });
        Some(Edge { node, path: path.collect::<Option<_>>()? })
    }

    /// For the store.
    pub fn encode(&self) -> Vec<u8> {
        json!({
            "cause": {
                "revision": self.cause.revision,
                "change": self.cause.change.as_ref().map(|change| json!({
                    "type": change.ty.0,
                    "id": change.id.to_string(),
                    "field": change.field.0,
                })),
                "repair": self.cause.repair,
            },
            "task": self.task.name(),
            "definition": self.definition.0,
            "path": self.path.iter().map(|(reverse, field)| json!([reverse, field.0])).collect::<Vec<_>>(),
            "type": self.ty.as_str(),
            "field": self.field.as_str(),
            "state": self.state.name(),
            "error": self.error,
            "estimated": self.estimated,
            "visited": self.visited,
            "changed": self.changed,
            "fields": self.fields.iter().map(|(field, count)| json!([field.0, count])).collect::<Vec<_>>(),
            "started": self.started.to_string(),
            "heartbeat": self.heartbeat.to_string(),
            "ended": self.ended.map(|ended| ended.to_string()),
            "owner": self.owner.as_str(),
            "lease": self.lease.to_string(),
            "token": self.token,
            "origins": self.origins.iter().map(UpdateId::to_string).collect::<Vec<_>>(),
            "level": self.place.level,
            "source": self.place.source.as_ref().map(Id::to_string),
            "cursor": self.place.cursor.as_ref().map(Id::to_string),
        })
        .to_string()
        .into_bytes()
    }

    /// All that stand in a store, in the order in which they began.
    pub(crate) fn all(snapshot: &dyn Snapshot) -> Result<Vec<Record>, EngineError> {
        let (mut records, range) = (Vec::new(), KeyRange::prefix(keys::UPDATE_RECORDS));
        snapshot.scan(keys::UPDATE, &range, Direction::Forward, usize::MAX, &mut |key, value| {
            records.push(Record::decode(key, value));
            ControlFlow::Continue(())
        })?;
        records.into_iter().collect()
    }

    /// From the store: a row's key and value.
    pub fn decode(key: &[u8], bytes: &[u8]) -> Result<Record, EngineError> {
        read(key, bytes).ok_or_else(|| EngineError::corrupt("the record of an update"))
    }
}

fn read(key: &[u8], bytes: &[u8]) -> Option<Record> {
    let id = UpdateId::read_key(key)?;
    let json: Json = serde_json::from_slice(bytes).ok()?;
    let number = |at: &Json| u32::try_from(at.as_u64()?).ok();
    let time = |at: &Json| at.as_str()?.parse::<Timestamp>().ok();
    let name = |at: &Json| Id::parse(at.as_str()?).ok();
    let cause = &json["cause"];
    let change = match &cause["change"] {
        Json::Null => None,
        change => Some(ChangedField {
            ty: TypeId(number(&change["type"])?),
            id: name(&change["id"])?,
            field: FieldId(number(&change["field"])?),
        }),
    };
    let path = json["path"].as_array()?.iter();
    let optional = |at: &Json, f: &dyn Fn(&Json) -> Option<Timestamp>| match at {
        Json::Null => Some(None),
        at => f(at).map(Some),
    };
    Some(Record {
        id,
        cause: Cause {
            revision: cause["revision"].as_u64()?,
            change,
            // Before there were repairs it was not written.
            repair: cause["repair"].as_bool().unwrap_or(false),
        },
        task: Task::ALL.into_iter().find(|task| json["task"] == task.name())?,
        definition: FieldId(number(&json["definition"])?),
        path: path.map(|hop| Some((hop[0].as_bool()?, FieldId(number(&hop[1])?)))).collect::<Option<_>>()?,
        ty: json["type"].as_str()?.into(),
        field: json["field"].as_str()?.into(),
        state: State::ALL.into_iter().find(|state| json["state"] == state.name())?,
        error: json["error"].as_str().map(str::to_string),
        estimated: json["estimated"].as_u64()?,
        visited: json["visited"].as_u64()?,
        changed: json["changed"].as_u64()?,
        fields: match &json["fields"] {
            // Before form 3 of the data they were not counted.
            Json::Null => Vec::new(),
            fields => fields
                .as_array()?
                .iter()
                .map(|it| Some((FieldId(number(&it[0])?), it[1].as_u64()?)))
                .collect::<Option<_>>()?,
        },
        started: time(&json["started"])?,
        heartbeat: time(&json["heartbeat"])?,
        ended: optional(&json["ended"], &time)?,
        owner: json["owner"].as_str()?.into(),
        lease: time(&json["lease"])?,
        token: json["token"].as_u64()?,
        origins: json["origins"]
            .as_array()?
            .iter()
            .map(|id| UpdateId::parse(id.as_str()?))
            .collect::<Option<_>>()?,
        place: read_place(&json)?,
    })
}

fn read_place(json: &Json) -> Option<Place> {
    let name = |at: &Json| Id::parse(at.as_str()?).ok();
    let optional = |at: &Json| match at {
        Json::Null => Some(None),
        at => name(at).map(Some),
    };
    let source = optional(&json["source"])?;
    let Some(cursor) = json["cursor"].as_array() else {
        let level = usize::try_from(json["level"].as_u64()?).ok()?;
        return Some(Place { level, source, cursor: optional(&json["cursor"])? });
    };
    // Before form 3 of the data a cursor had an id for each step down from the source. Where it has several, the source
    // is walked once more.
    let cursor = match &cursor[..] {
        [one] if json["path"].as_array()?.len() == 1 => Some(name(one)?),
        _ => None,
    };
    Some(Place { level: 0, source, cursor })
}

/// The field that people know a node by: its result, or the first that is computed from it.
pub(crate) fn visible(schema: &Schema, node: usize) -> FieldRef {
    let result = schema.plan.nodes[node].result;
    match schema.field(result).kind {
        FieldKind::Aggregate { .. } => {
            let reader = schema.plan.readers(result).first();
            reader.map_or(result, |reader| visible(schema, reader.node))
        }
        _ => result,
    }
}

fn field_with(schema: &Schema, id: FieldId) -> Option<FieldRef> {
    schema.types().find_map(|(ty, resource)| {
        let (slot, _) = resource.slots().find(|(_, field)| field.id == id)?;
        Some(FieldRef { ty, slot })
    })
}
