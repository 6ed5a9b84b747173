//! `path(x)` where a type can be above itself: kept along the parents, whatever is above.

use crate::common::*;
use corollary_engine::{Destination, Write};
use corollary_value::Value;

const FOLDERS: &str = "
type Drive in drives path name {
  name: str required unique
  folders: collection Folder
}
type Folder in folders {
  name: str
  folders: collection Folder
  shelves: collection Shelf
  at := path(self)
}
type Shelf { label: str, folders: collection Folder, best: link Folder, best_at := path(self.best) }
";

fn below(db: &Db, ty: &str, name: &str, by: &str, parent: &str) -> Write {
    create(db, ty, name, &[(by, reference(parent))])
}

#[test]
fn a_path_runs_through_any_number_of_parents_of_any_type() {
    let db = fresh(FOLDERS);
    let writes = vec![
        create(&db, "Drive", "d", &[("name", text("disk a"))]),
        below(&db, "Folder", "f", "parent_drive_folders", "d"),
        below(&db, "Folder", "g", "parent_folder_folders", "f"),
        below(&db, "Shelf", "s", "parent_folder_shelves", "g"),
        below(&db, "Folder", "h", "parent_shelf_folders", "s"),
        create(&db, "Folder", "r", &[]),
    ];
    commit(&db, writes);
    commit(&db, vec![update(&db, "Shelf", "s", &[("best", reference("h"))])]);
    agree(&db);
    let h = "/api/drives/disk%20a/folders/f/folders/g/shelves/s/folders/h";
    assert_eq!(get(&db, "Folder", "h", "at"), text(h));
    assert_eq!(get(&db, "Shelf", "s", "best_at"), text(h));
    assert_eq!(get(&db, "Folder", "r", "at"), text("/api/folders/r"));
    // Who is above has another name.
    commit(&db, vec![update(&db, "Drive", "d", &[("name", text("b"))])]);
    agree(&db);
    assert_eq!(
        get(&db, "Shelf", "s", "best_at"),
        text("/api/drives/b/folders/f/folders/g/shelves/s/folders/h")
    );
    // A subtree moves, and comes out from under all parents.
    let to = |under: Option<(&str, &str)>| {
        let under = under.map(|(via, parent)| (slot(&db, "Folder", via), id(parent)));
        vec![Write::Move(key(&db, "Folder", "g"), Destination { under, at: None })]
    };
    commit(&db, to(Some(("parent_folder_folders", "r"))));
    agree(&db);
    let below_r = "/api/folders/r/folders/g/shelves/s/folders/h";
    assert_eq!(get(&db, "Folder", "h", "at"), text(below_r));
    assert_eq!(get(&db, "Shelf", "s", "best_at"), text(below_r));
    commit(&db, to(None));
    agree(&db);
    assert_eq!(get(&db, "Folder", "h", "at"), text("/api/folders/g/shelves/s/folders/h"));
    commit(&db, vec![delete(&db, "Folder", "g")]);
    agree(&db);
    assert_eq!(get(&db, "Folder", "f", "at"), text("/api/drives/b/folders/f"));
}

#[test]
fn what_is_new_in_a_schema_has_its_path_at_once_and_what_nobody_asks_for_is_not_kept() {
    let store = memory();
    let without = "type Folder in folders { folders: collection Folder }";
    let db = opened(&store, without);
    assert!(!db.engine().schema().types[0].fields.iter().any(|field| field.name == "#path"));
    commit(&db, vec![create(&db, "Folder", "a", &[])]);
    commit(&db, vec![below(&db, "Folder", "b", "parent_folder_folders", "a")]);
    drop(db);
    let with = "type Folder in folders { folders: collection Folder, at := path(self) }";
    let db = opened(&store, with);
    db.finish_updates();
    assert_eq!(get(&db, "Folder", "b", "at"), text("/api/folders/a/folders/b"));
    agree(&db);
    // Names instead of ids.
    drop(db);
    let db = opened(
        &store,
        &with
            .replace("at :=", "name: str unique required, at :=")
            .replace("folders {", "folders path name {"),
    );
    db.finish_updates();
    agree(&db);
    commit(&db, vec![update(&db, "Folder", "a", &[("name", text("top"))])]);
    assert_eq!(get(&db, "Folder", "b", "at"), text("/api/folders/top/folders/b"));
    agree(&db);
    drop(db);
    let db = opened(&store, "type Folder in folders { name: str, folders: collection Folder }");
    assert!(!db.engine().schema().types[0].fields.iter().any(|field| field.name == "#path"));
    agree(&db);
}

/// One evaluation of the path, and one of what reads it, for each folder that has another one then.
#[test]
fn a_new_name_at_the_top_of_a_tree_1000_deep_costs_each_below_once() {
    const DEEP: usize = 1_000;
    let db = fresh(
        "type Folder in folders path name {
           name: str required unique
           folders: collection Folder
           at := path(self)
         }",
    );
    let name = |at: usize| format!("f{at}");
    let folder = |at: usize| {
        let mut given = vec![("name", text(&name(at)))];
        let above = name(at.saturating_sub(1));
        if at > 0 {
            given.push(("parent_folder_folders", reference(&above)));
        }
        create(&db, "Folder", &name(at), &given)
    };
    commit(&db, (0..DEEP).map(folder).collect());
    let last = name(DEEP - 1);
    let Value::Str(path) = get(&db, "Folder", &last, "at") else { panic!("no path") };
    assert_eq!(path.matches("/folders/").count(), DEEP);
    let begin = std::time::Instant::now();
    let work = commit(&db, vec![update(&db, "Folder", "f0", &[("name", text("top"))])]).work;
    println!("a new name above {DEEP}: {work:?} in {:.1?}", begin.elapsed());
    assert!(work.evaluations <= 2 * DEEP as u64, "{work:?}");
    let Value::Str(path) = get(&db, "Folder", &last, "at") else { panic!("no path") };
    assert!(path.starts_with("/api/folders/top/"), "{path}");
    // In the middle of it only what is below.
    let work = commit(&db, vec![update(&db, "Folder", "f990", &[("name", text("other"))])]).work;
    assert!(work.evaluations <= 20, "{work:?}");
    agree(&db);
}
