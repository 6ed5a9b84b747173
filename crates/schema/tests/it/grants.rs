//! What the paths of grants cover, as conditions over each type.

use corollary_schema::grants::{Extent, covers};
use corollary_schema::typed::Show;
use corollary_schema::{Ids, Schema, check};

fn schema(text: &str) -> Schema {
    let checked = check(text, &mut Ids::default());
    assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
    checked.schema.unwrap()
}

/// Each type with what is covered of it, a line each; or what is wrong.
fn told(schema: &Schema, path: &str) -> String {
    let covered = match covers(schema, path) {
        Err(why) => return why,
        Ok(covered) => covered,
    };
    let lines = covered.by_type.iter().map(|(ty, extent)| {
        let name = &schema.ty(*ty).name;
        match extent {
            Extent::All => format!("{name}: all"),
            Extent::Where(condition) => format!("{name}: {}", Show(condition, schema)),
        }
    });
    let mut lines: Vec<String> = lines.collect();
    if covered.asks_ego {
        lines.push("for ego".into());
    }
    lines.join("\n")
}

const FIRM: &str = "
type Person in people { login: str unique actor, friends: links Person on delete unlink }
type Division in divisions { name: str, head: link Person on delete unlink, sections: collection Section }
type Section { name: str, desks: collection Desk }
type Desk { owner: link Person on delete unlink }
";

#[test]
fn what_is_owned_is_covered_through_its_parents() {
    let firm = schema(FIRM);
    assert_eq!(told(&firm, "/divisions"), "Division: all\nSection: all\nDesk: all");
    assert_eq!(told(&firm, "/divisions/*"), "Division: all\nSection: all\nDesk: all");
    assert_eq!(told(&firm, "/divisions/*/sections"), "Section: all\nDesk: all");
    let chosen = told(&firm, "/divisions[name = 'x']/*/sections");
    let lines: Vec<&str> = chosen.lines().collect();
    assert_eq!(lines.len(), 2, "{chosen}");
    assert!(
        lines[0].starts_with("Section: Equal(self.") && lines[0].ends_with(".name, Str(\"x\"))"),
        "{chosen}"
    );
    // Two links up.
    assert_eq!(lines[1].matches("self.").count(), 1, "{chosen}");
    assert!(lines[1].starts_with("Desk: Equal(self.parent_"), "{chosen}");
    let one = told(&firm, "/divisions/north/sections");
    assert!(one.starts_with("Section: Equal(self.parent_") && one.contains("._id, Str(\"north\"))"), "{one}");
    assert!(told(&firm, "/").lines().all(|line| line.ends_with(": all")));
}

#[test]
fn ego_is_known_at_any_depth() {
    let firm = schema(FIRM);
    let told = told(&firm, "/people[count(friends[login = ego.login]) > 0]");
    // Within the brackets of a list it is one item further out.
    assert_eq!(
        told,
        "Person: Greater(count(self.friends[Equal(item0.login, item1.login)]), Int(0))\nfor ego"
    );
    let covered = covers(&firm, "/people[count(friends[login = ego.login]) > 0]").unwrap();
    let id = corollary_value::Id::parse("ann").unwrap();
    let mine = covered.by_type[0].1.for_ego(&firm, Some(&id)).unwrap();
    let shown = Show(&mine, &firm).to_string();
    assert!(shown.contains("item0.login") && !shown.contains("item1"), "{shown}");
    assert!(shown.contains("ann"), "{shown}");
}

/// What stands elsewhere has no such parent, and of nothing `!=` holds as well: such a grant covered what it does not name.
#[test]
fn what_may_stand_elsewhere_is_covered_where_it_is_named_alone() {
    let firm = schema(
        "type Division in divisions { name: str, desks: collection Desk }
         type Company in companies { desks: collection Desk }
         type Desk in desks { name: str }",
    );
    let told = |path| told(&firm, path);
    let (by_division, at_root) = (told("/divisions[name != 'x']"), told("/desks"));
    let desk = by_division.lines().find(|line| line.starts_with("Desk")).unwrap();
    assert!(desk.starts_with("Desk: And(NotEqual(self.parent_"), "{by_division}");
    assert!(
        at_root.starts_with("Desk: And(Equal(self.parent_") && at_root.matches("Null").count() == 2,
        "{at_root}"
    );
    assert!(told("/companies/*/desks").starts_with("Desk: NotEqual(self.parent_"));
}

#[test]
fn what_owns_others_of_itself_is_covered_wholly_or_not_below() {
    let tree = schema(
        "type Folder in folders { name: str, folders: collection Folder, files: collection Page }
         type Page { name: str }
         type Root in roots { pages: collection Page }",
    );
    let told = |path| told(&tree, path);
    // The pages of folders in folders were not covered, those of folders at the root alone.
    assert_eq!(told("/folders"), "Folder: all\nPage: NotEqual(self.parent_folder_files, Null)");
    for path in ["/folders[name = 'x']", "/folders/one", "/folders/*/folders"] {
        assert!(told(path).contains("any number of times"), "{path}: {}", told(path));
    }
    assert!(told("/folders/*/files").starts_with("Page: "), "{}", told("/folders/*/files"));
}

#[test]
fn a_path_that_is_none_is_refused() {
    let firm = schema(FIRM);
    for (path, why) in [
        ("", "begins with `/`"),
        ("divisions", "begins with `/`"),
        ("//", "the name of a collection"),
        ("/divisions/", "`*` or an id"),
        ("/divisions/*/", "the name of a collection"),
        ("/divisions/*/section", "did you mean `sections`?"),
        ("/divisions/*/head", "no collection of one type"),
        ("/divisions[name = 'x'", "ends without `]`"),
        ("/divisions[name = 'x']x", "cannot stand behind the brackets"),
        ("/divisions[name]", "true or false"),
        ("/divisions[nme = 'x']", "column 1"),
        ("/divisions/a b", "an id cannot hold"),
    ] {
        assert!(told(&firm, path).contains(why), "{path}: {}", told(&firm, path));
    }
    let deep = "/divisions".repeat(80);
    assert!(told(&firm, &deep).contains("at most 32"), "{}", told(&firm, &deep));
    // Without a field that says whose a name is there is no `ego`.
    let nobody = schema("type A in as { b: link A on delete unlink }");
    assert!(told(&nobody, "/as[b = ego]").contains("ego"), "{}", told(&nobody, "/as[b = ego]"));
}
