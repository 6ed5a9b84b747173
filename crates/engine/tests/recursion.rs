//! Derived fields that depend on themselves along links: after every commit what is kept is what the oracle says.

mod common;

use common::*;
use corollary_engine::Write;
use corollary_value::{ErrorValue, Value};

const CYCLE: Value = Value::Error(ErrorValue::Cycle);

const FOLDERS: &str = "
type Folder in folders {
  name: str
  bytes: int
  up: link Folder
  flag: bool
  folders: inverse Folder.up
  files: inverse File.folder
  size := sum(self.files.bytes) + sum(self.folders.size) + (self.bytes else 0)
  path := self.up = null -> self.name : self.up.path + '/' + self.name
  depth := 1 + self.up.depth else 0
  archived := self.flag = true | (self.up.archived else false)
  largest := max(self.folders.largest) else self.bytes
}
type File in files { folder: link Folder, bytes: int, path := self.folder.path + '/' + self._id }
";

fn folder(db: &Db, name: &str, up: Option<&str>, bytes: i64) -> Write {
    let mut given = vec![("name", text(name)), ("bytes", Value::Int(bytes))];
    given.extend(up.map(|up| ("up", reference(up))));
    create(db, "Folder", name, &given)
}

fn int(value: i64) -> Value {
    Value::Int(value)
}

#[test]
fn what_is_kept_runs_up_and_down_a_tree() {
    let db = fresh(FOLDERS);
    commit(&db, vec![folder(&db, "a", None, 1)]);
    commit(&db, vec![folder(&db, "b", Some("a"), 2)]);
    commit(&db, vec![folder(&db, "c", Some("b"), 4)]);
    // A whole tree at once, children before their parents.
    let writes = vec![
        folder(&db, "f", Some("e"), 8),
        folder(&db, "e", Some("d"), 16),
        folder(&db, "d", None, 32),
        create(&db, "File", "x", &[("folder", reference("f")), ("bytes", int(64))]),
    ];
    commit(&db, writes);
    agree(&db);
    assert_eq!(get(&db, "Folder", "a", "size"), int(7));
    assert_eq!(get(&db, "Folder", "c", "path"), text("a/b/c"));
    assert_eq!(get(&db, "File", "x", "path"), text("d/e/f/x"));
    // Move it below the other.
    commit(&db, vec![update(&db, "Folder", "d", &[("up", reference("b"))])]);
    agree(&db);
    assert_eq!(get(&db, "Folder", "a", "size"), int(127));
    assert_eq!(get(&db, "File", "x", "path"), text("a/b/d/e/f/x"));
    assert_eq!(get(&db, "Folder", "a", "largest"), int(8));
    assert_eq!(get(&db, "Folder", "f", "depth"), int(4));
    commit(&db, vec![update(&db, "Folder", "b", &[("flag", Value::Bool(true))])]);
    agree(&db);
    assert_eq!(get(&db, "Folder", "f", "archived"), Value::Bool(true));
    commit(&db, vec![delete(&db, "Folder", "b")]);
    agree(&db);
    assert_eq!(get(&db, "File", "x", "path"), text("d/e/f/x"));
    assert_eq!(get(&db, "Folder", "a", "size"), int(1));
}

#[test]
fn a_cycle_has_the_error_and_heals() {
    let db = fresh(FOLDERS);
    commit(&db, vec![folder(&db, "a", None, 0), folder(&db, "b", Some("a"), 0)]);
    commit(&db, vec![folder(&db, "c", Some("b"), 0), folder(&db, "d", Some("c"), 0)]);
    // All sizes are 0, so that no value tells of the change.
    commit(&db, vec![update(&db, "Folder", "a", &[("up", reference("c"))])]);
    agree(&db);
    for name in ["a", "b", "c"] {
        assert_eq!(get(&db, "Folder", name, "size"), CYCLE, "{name}");
        assert_eq!(get(&db, "Folder", name, "depth"), CYCLE, "whatever an else would catch, {name}");
    }
    assert_eq!(get(&db, "Folder", "d", "size"), int(0), "below the cycle");
    assert_eq!(get(&db, "Folder", "d", "depth"), int(0), "reads from the cycle, and catches it");
    assert_eq!(get(&db, "Folder", "d", "path"), CYCLE, "reads from the cycle");
    commit(&db, vec![update(&db, "Folder", "b", &[("up", Value::Absent)])]);
    agree(&db);
    assert_eq!(get(&db, "Folder", "d", "path"), text("b/c/d"));
    // By itself, and away by deletion.
    commit(&db, vec![update(&db, "Folder", "d", &[("up", reference("d"))])]);
    agree(&db);
    assert_eq!(get(&db, "Folder", "d", "path"), CYCLE);
    commit(&db, vec![delete(&db, "Folder", "d")]);
    agree(&db);
    // A cycle that is made and cut in one commit, and one that is created as a whole.
    commit(&db, vec![folder(&db, "x", None, 3), folder(&db, "y", Some("x"), 4)]);
    let writes = vec![
        update(&db, "Folder", "x", &[("up", reference("y"))]),
        update(&db, "Folder", "y", &[("up", Value::Absent)]),
        folder(&db, "p", None, 1),
        folder(&db, "q", Some("p"), 1),
        update(&db, "Folder", "p", &[("up", reference("q"))]),
    ];
    commit(&db, writes);
    agree(&db);
    assert_eq!(get(&db, "Folder", "y", "size"), int(7));
    assert_eq!(get(&db, "Folder", "p", "size"), CYCLE);
}
