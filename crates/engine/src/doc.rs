//! Documents: one resource with its facts, its derived values and the state of its groups.
//!
//! Decoded, values stand by slot; stored, by the stable number of their field, so that a schema may rename and reorder
//! fields without touching what is stored. A field that the schema no longer has is passed over.
//!
//! ```text
//! document = varint revision, entry…
//! entry    = varint field number * 2, value            (a fact or a derived value)
//!          | varint definition number * 2 + 1, state   (what a sum needs to go on from here)
//! ```

use corollary_schema::plan::{Keeping, Rule};
use corollary_schema::{FieldKind, FieldRef, Schema, Slot, TypeIx};
use corollary_value::codec::{self, DecodeError, push_varint, read_varint};
use corollary_value::{Id, SumState, Value};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smol_str::SmolStr;

/// A resource: its type and its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its type.
    pub ty: TypeIx,
    /// Its id.
    pub id: Id,
}

impl Key {
    /// A resource of a type.
    pub fn new(ty: TypeIx, id: Id) -> Key {
        Key { ty, id }
    }
}

/// One resource as it is at one revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Doc {
    /// The commit that changed it last.
    pub revision: u64,
    /// By slot; absent where there is none.
    pub values: Vec<Value>,
    /// By slot: the states of the groups whose result is there.
    pub states: Vec<(Slot, SumState)>,
}

impl Doc {
    /// A resource of a type without any value.
    pub fn new(schema: &Schema, ty: TypeIx) -> Doc {
        Doc { revision: 0, values: vec![Value::Absent; schema.ty(ty).fields.len()], states: Vec::new() }
    }

    /// Bytes that it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let values: usize = self.values.iter().map(heap_bytes).sum();
        size_of::<Doc>()
            + self.values.len() * size_of::<Value>()
            + values
            + self.states.len() * size_of::<(Slot, SumState)>()
    }

    /// A little of all that it takes in memory, which is near the processor then.
    pub(crate) fn glance(&self) -> u64 {
        let is_there = |value: Option<&Value>| value.is_some_and(|value| *value != Value::Absent);
        let (first, last) = (is_there(self.values.first()), is_there(self.values.last()));
        let state = self.states.first().map_or(0, |(slot, _)| slot.0);
        self.revision ^ u64::from(first) ^ u64::from(last) ^ u64::from(state)
    }

    /// The collection that owns the resource, and whose it is.
    pub fn parent(&self, schema: &Schema, ty: TypeIx) -> Option<(FieldRef, &Id)> {
        schema.ty(ty).parents.iter().find_map(|slot| {
            match (&schema.field(FieldRef { ty, slot: *slot }).kind, self.get(*slot)) {
                (FieldKind::Parent { collection }, Value::Ref(id)) => Some((*collection, id)),
                _ => None,
            }
        })
    }

    /// The value in a slot.
    pub fn get(&self, slot: Slot) -> &Value {
        &self.values[slot.0 as usize]
    }

    /// Puts a value into a slot; was it another one before?
    pub fn set(&mut self, slot: Slot, value: Value) -> bool {
        let place = &mut self.values[slot.0 as usize];
        if *place == value {
            return false;
        }
        *place = value;
        true
    }

    /// The state of the group whose result is in a slot.
    pub fn state(&self, slot: Slot) -> SumState {
        let state = self.states.iter().find(|(at, _)| *at == slot);
        state.map(|(_, state)| state.clone()).unwrap_or_default()
    }

    /// Puts the state of the group whose result is in a slot; an empty one is not kept.
    pub fn set_state(&mut self, slot: Slot, state: SumState) {
        let at = self.states.binary_search_by_key(&slot, |(at, _)| *at);
        match (at, state.is_empty()) {
            (Ok(at), true) => {
                self.states.remove(at);
            }
            (Ok(at), false) => self.states[at].1 = state,
            (Err(_), true) => {}
            (Err(at), false) => self.states.insert(at, (slot, state)),
        }
    }
}

/// Bytes that a value has beside itself in memory, about.
pub fn heap_bytes(value: &Value) -> usize {
    match value {
        Value::Str(text) if text.is_heap_allocated() => text.len() + 16,
        Value::Bytes(bytes) => bytes.len() + 16,
        Value::List(elements) => {
            16 + elements.iter().map(|element| size_of::<Value>() + heap_bytes(element)).sum::<usize>()
        }
        Value::Object(members) => {
            let member = size_of::<(SmolStr, Value)>();
            16 + members.iter().map(|(_, value)| member + heap_bytes(value)).sum::<usize>()
        }
        _ => 0,
    }
}

/// How the documents of one type are stored.
#[derive(Debug)]
pub struct Layout {
    /// By slot: the number of the field, where it is kept in the document.
    fields: Vec<Option<u32>>,
    by_field: HashMap<u32, Slot, RandomState>,
    /// By slot: the number of the definition, where the group there has a state.
    definitions: Vec<Option<u32>>,
    by_definition: HashMap<u32, Slot, RandomState>,
}

/// Bytes that most states take at most.
const STATE_BYTES: usize = 24;

impl Layout {
    /// The layouts of all types.
    pub fn of(schema: &Schema) -> Vec<Layout> {
        let mut layouts: Vec<Layout> = schema
            .types()
            .map(|(_, ty)| {
                let fields: Vec<Option<u32>> =
                    ty.fields.iter().map(|field| field.in_document().then_some(field.id.0)).collect();
                let numbered = fields.iter().enumerate();
                let by_field = numbered.filter_map(|(at, id)| Some(((*id)?, Slot(at as u32)))).collect();
                let definitions = vec![None; fields.len()];
                Layout { fields, by_field, definitions, by_definition: HashMap::default() }
            })
            .collect();
        for node in &schema.plan.nodes {
            if let Rule::Group(group) = &node.rule
                && group.keeping() == Keeping::Sums
                && group.by.is_none()
            {
                let layout = &mut layouts[node.result.ty.0 as usize];
                layout.definitions[node.result.slot.0 as usize] = Some(node.definition.0);
                layout.by_definition.insert(node.definition.0, node.result.slot);
            }
        }
        layouts
    }

    /// Appends a document.
    pub fn encode(&self, doc: &Doc, out: &mut Vec<u8>) {
        push_varint(doc.revision, out);
        for (field, value) in self.fields.iter().zip(&doc.values) {
            if let Some(field) = field
                && !matches!(value, Value::Absent)
            {
                push_varint(u64::from(*field) << 1, out);
                codec::encode(value, out);
            }
        }
        let mut bytes = Vec::new();
        for (slot, state) in &doc.states {
            if let Some(definition) = self.definitions[slot.0 as usize] {
                push_varint(u64::from(definition) << 1 | 1, out);
                bytes.clear();
                bytes.reserve(STATE_BYTES);
                state.encode(&mut bytes);
                push_varint(bytes.len() as u64, out);
                out.extend_from_slice(&bytes);
            }
        }
    }

    /// Reads a document.
    pub fn decode(&self, mut bytes: &[u8]) -> Result<Doc, DecodeError> {
        let mut doc = Doc {
            revision: read_varint(&mut bytes)?,
            values: vec![Value::Absent; self.fields.len()],
            states: Vec::new(),
        };
        // Entries stand in the order of slots as long as the schema has not changed: the next slot is tried first.
        let mut next = 0;
        while !bytes.is_empty() {
            let head = read_varint(&mut bytes)?;
            let number = u32::try_from(head >> 1).map_err(|_| DecodeError)?;
            if head & 1 == 1 {
                let length = usize::try_from(read_varint(&mut bytes)?).map_err(|_| DecodeError)?;
                let mut state = codec::read_slice(&mut bytes, length)?;
                if let Some(slot) = self.by_definition.get(&number) {
                    doc.set_state(*slot, SumState::decode(&mut state)?);
                }
                continue;
            }
            let value = codec::decode(&mut bytes)?;
            while next < self.fields.len() && self.fields[next].is_none() {
                next += 1;
            }
            let slot = match self.fields.get(next) {
                Some(Some(field)) if *field == number => Some(next),
                _ => self.by_field.get(&number).map(|slot| slot.0 as usize),
            };
            if let Some(slot) = slot {
                doc.values[slot] = value;
                next = slot + 1;
            }
        }
        Ok(doc)
    }
}
