//! Collections of several types, and inverses of links that an abstract type declares: what follows from them, and what a
//! deletion does.

use crate::common::*;
use corollary_engine::{OpenError, Write};
use corollary_value::Value;
use proptest::prelude::*;

const PAGES: &str = "
abstract type Block {
  size:   int default 1
  weight: float
  about:  link Topic
  heard:  links Topic
  shade  := self.size * 2
}
type Text is Block { words: str, notes: collection Note }
type Image is Block in images { alt: str, beside := count(self.about.blocks) }
type Box is Block { items: collection Block }
type Note { size: int, page := self.parent_text_notes.parent_page_items.title }
type Page in pages {
  title: str
  items: collection Block
  extra: collection Text | Note
  total  := sum(self.items.size)
  large  := count(self.items[size > 3])
  shades := sum(self.items.shade)
  mean   := average(self.items.weight)
  kinds  := join(distinct(self.items._id), ',')
  ids    := join(self.items[size > 1]._id, ',')
  topics := self.items.about
  named  := count(self.items.about[name = 'a'])
  best   := max(self.items.size)
  texts  := self.extra.size
  share  := self.total / sum(pages.total) else 0
}
type Topic in topics {
  name:   str
  blocks: inverse Block.about
  ears:   inverse Block.heard
  weight := sum(self.blocks.size)
  noise  := count(self.ears[size > 1])
  again  := sum(self.link_block_about.size)
  loud   := sum(self.link_block_heard[size > 2].size)
  images := count(self.link_image_about)
  homes  := join(self.blocks._id, ',')
}
";

fn pages() -> Db {
    let db = fresh(PAGES);
    commit(
        &db,
        vec![
            create(&db, "Topic", "t", &[("name", text("a"))]),
            create(&db, "Topic", "u", &[("name", text("b"))]),
            create(&db, "Page", "p", &[("title", text("one"))]),
            create(&db, "Page", "q", &[("title", text("two"))]),
        ],
    );
    db
}

fn under(name: &str, size: i64) -> Vec<(&'static str, Value)> {
    vec![("parent_page_items", reference(name)), ("size", Value::Int(size))]
}

#[test]
fn children_of_several_types_stand_in_one_collection() {
    let db = pages();
    commit(
        &db,
        vec![
            create(&db, "Text", "b", &[under("p", 4), vec![("about", reference("t"))]].concat()),
            create(&db, "Image", "a", &[under("p", 6), vec![("about", reference("t"))]].concat()),
            create(&db, "Text", "c", &[under("q", 1), vec![("about", reference("u"))]].concat()),
            create(&db, "Note", "n", &[("parent_page_extra", reference("p")), ("size", Value::Int(9))]),
            create(&db, "Note", "m", &[("parent_text_notes", reference("b"))]),
        ],
    );
    agree(&db);
    assert_eq!(get(&db, "Page", "p", "total"), Value::Int(10));
    assert_eq!(get(&db, "Page", "p", "large"), Value::Int(2));
    assert_eq!(get(&db, "Page", "p", "shades"), Value::Int(20));
    assert_eq!(get(&db, "Page", "p", "best"), Value::Int(6));
    assert_eq!(get(&db, "Page", "p", "topics"), references(&["t"]));
    assert_eq!(get(&db, "Page", "p", "named"), Value::Int(1));
    assert_eq!(get(&db, "Page", "p", "texts"), list([Value::Int(9)]));
    assert_eq!(get(&db, "Note", "m", "page"), text("one"));
    assert_eq!(get(&db, "Topic", "t", "weight"), Value::Int(10));
    assert_eq!(get(&db, "Topic", "t", "again"), Value::Int(10));
    assert_eq!(get(&db, "Topic", "t", "images"), Value::Int(1));
    assert_eq!(get(&db, "Image", "a", "beside"), Value::Int(2));
    // Each changes by itself, whichever its type.
    commit(&db, vec![update(&db, "Image", "a", &[("size", Value::Int(1))])]);
    assert_eq!(get(&db, "Page", "p", "total"), Value::Int(5));
    assert_eq!(get(&db, "Topic", "t", "weight"), Value::Int(5));
    commit(&db, vec![update(&db, "Text", "b", &[("about", reference("u"))])]);
    assert_eq!(get(&db, "Topic", "u", "weight"), Value::Int(5));
    assert_eq!(get(&db, "Image", "a", "beside"), Value::Int(1));
    agree(&db);
    // The parent takes them all along, and what they own.
    commit(&db, vec![delete(&db, "Page", "p")]);
    for (ty, name) in [("Text", "b"), ("Image", "a"), ("Note", "n"), ("Note", "m")] {
        assert!(doc(&db, ty, name).is_none(), "{ty} {name}");
    }
    assert_eq!(get(&db, "Topic", "u", "weight"), Value::Int(1));
    agree(&db);
}

/// Under one parent a path leads to one of them, by an id or by a name.
#[test]
fn neither_an_id_nor_a_name_leads_to_two_children() {
    let db = fresh(
        "type Page in pages { items: collection Text | Image }
         type Text path slug { slug: str required unique in parent }
         type Image {}",
    );
    let child = |ty: &str, name: &str, page: &str, slug: Option<&str>| {
        let parent = ("parent_page_items", reference(page));
        let slug = slug.map(|slug| ("slug", text(slug)));
        create(&db, ty, name, &[parent].into_iter().chain(slug).collect::<Vec<_>>())
    };
    commit(&db, vec![create(&db, "Page", "p", &[]), create(&db, "Page", "q", &[])]);
    commit(&db, vec![child("Text", "a", "p", Some("intro")), child("Image", "b", "p", None)]);
    for (ty, name, slug, code) in [
        ("Image", "a", None, "unique _id"),
        ("Image", "intro", None, "unique _id"),
        ("Text", "b", Some("end"), "unique _id"),
        ("Text", "c", Some("b"), "unique slug"),
    ] {
        assert_eq!(codes(&refused(&db, vec![child(ty, name, "p", slug)])), [code], "{ty} {name}");
    }
    let renamed = refused(&db, vec![update(&db, "Text", "a", &[("slug", text("b"))])]);
    assert_eq!(codes(&renamed), ["unique slug"]);
    assert_eq!(
        renamed[0].message,
        "`items` of Page p holds Image b already, and a path with `b` leads there"
    );
    // Both at once; and where the other goes, it may come.
    let both = vec![child("Text", "x", "p", Some("one")), child("Image", "x", "p", None)];
    assert_eq!(codes(&refused(&db, both)), ["unique _id", "unique _id"]);
    commit(&db, vec![delete(&db, "Text", "a"), child("Image", "a", "p", None)]);
    // Under another parent it is another path.
    commit(&db, vec![child("Image", "intro", "q", None), child("Text", "b", "q", Some("a"))]);
    agree(&db);
}

/// Where names are unique everywhere and in the parent, an id that was the name of another parent's child was taken.
#[test]
fn a_name_that_is_unique_everywhere_is_nobodys_id() {
    let db = fresh(
        "type Page in pages { items: collection Text }
         type Text path slug { slug: str required unique, unique in parent }",
    );
    let child = |name: &str, page: &str, slug: &str| {
        create(&db, "Text", name, &[("slug", text(slug)), ("parent_page_items", reference(page))])
    };
    commit(&db, vec![create(&db, "Page", "p", &[]), create(&db, "Page", "q", &[]), child("a", "p", "b")]);
    assert_eq!(codes(&refused(&db, vec![child("b", "q", "c")])), ["unique _id"]);
    assert_eq!(codes(&refused(&db, vec![child("c", "q", "a")])), ["unique slug"]);
    commit(&db, vec![child("d", "q", "c")]);
    agree(&db);
}

/// A schema that gave names to children of one type was taken though another type's child had such a name as its id: a path
/// then led to two.
#[test]
fn names_that_come_later_lead_to_no_child_of_another_type() {
    let store = memory();
    let schema = |option: &str| {
        format!(
            "type Page in pages {{ items: collection Text | Image }}
             type Text {option} {{ slug: str required unique in parent }}
             type Image {{}}"
        )
    };
    let db = opened(&store, &schema(""));
    let under = |page: &str| ("parent_page_items", reference(page));
    let named = |slug: &str, page: &str| [("slug", text(slug)), under(page)];
    commit(&db, vec![create(&db, "Page", "p", &[]), create(&db, "Page", "q", &[])]);
    commit(&db, vec![create(&db, "Text", "a", &named("b", "p")), create(&db, "Image", "b", &[under("p")])]);
    commit(&db, vec![create(&db, "Text", "c", &named("d", "p")), create(&db, "Image", "d", &[under("q")])]);
    drop(db);
    let Err(OpenError::Refused(reasons)) = try_open(&store, &schema("path slug")) else { panic!("taken") };
    let [reason] = &reasons[..] else { panic!("{reasons:?}") };
    assert!(reason.starts_with("a path with `b` in Page.items of p would lead to "), "{reason}");
    let db = opened(&store, &schema(""));
    commit(&db, vec![update(&db, "Text", "a", &[("slug", text("e"))])]);
    drop(db);
    agree(&opened(&store, &schema("path slug")));
}

/// It was not asked for where no field of the schema had an index.
#[test]
fn an_id_leads_to_one_child_also_where_nothing_is_indexed() {
    let db = pages();
    commit(&db, vec![create(&db, "Text", "x", &under("p", 1))]);
    assert_eq!(codes(&refused(&db, vec![create(&db, "Image", "x", &under("p", 1))])), ["unique _id"]);
    commit(&db, vec![create(&db, "Image", "x", &under("q", 1))]);
    agree(&db);
}

#[test]
fn a_box_holds_what_it_is_itself() {
    let db = pages();
    let mut writes = vec![create(&db, "Box", "k0", &under("p", 0))];
    for at in 1..5 {
        let parent = format!("k{}", at - 1);
        writes.push(create(&db, "Box", &format!("k{at}"), &[("parent_box_items", reference(&parent))]));
    }
    commit(&db, writes);
    commit(&db, vec![create(&db, "Text", "x", &[("parent_box_items", reference("k4"))])]);
    agree(&db);
    commit(&db, vec![delete(&db, "Box", "k1")]);
    assert!(doc(&db, "Text", "x").is_none() && doc(&db, "Box", "k0").is_some());
    agree(&db);
}

/// The link to the parent goes by the name of the collection, whatever that holds besides.
#[test]
fn a_collection_of_one_type_becomes_one_of_several() {
    let store = memory();
    let db =
        opened(&store, "type Page in pages { items: collection Text, n := count(self.items) } type Text {}");
    commit(
        &db,
        vec![
            create(&db, "Page", "p", &[]),
            create(&db, "Text", "x", &[("parent_page_items", reference("p"))]),
        ],
    );
    drop(db);
    let db = opened(
        &store,
        "type Page in pages { items: collection Text | Image, n := count(self.items) } type Text {} type Image {}",
    );
    commit(&db, vec![create(&db, "Image", "y", &[("parent_page_items", reference("p"))])]);
    assert_eq!(get(&db, "Page", "p", "n"), Value::Int(2));
    agree(&db);
}

/// One step: what, which of its kind, and numbers to choose values by.
type Step = (u8, u8, Vec<(u8, u8)>);

fn write(db: &Db, step: &Step) -> Write {
    let (what, which, chosen) = step;
    let ty = ["Text", "Image", "Box", "Page", "Topic", "Note"][*what as usize % 6];
    // Resources of different types have the same ids.
    let name = format!("x{}", which % 3);
    if *what > 14 {
        return delete(db, ty, &name);
    }
    let there = doc(db, ty, &name).is_some();
    let mut given: Vec<(&str, Value)> = Vec::new();
    for (field, n) in chosen {
        let names: &[&str] = match ty {
            "Page" => &["title"],
            "Topic" => &["name"],
            "Note" => &["size", "parent_page_extra", "parent_text_notes"],
            _ => &["size", "weight", "about", "heard", "parent_page_items", "parent_box_items"],
        };
        let field = names[*field as usize % names.len()];
        if field.starts_with("parent_") && (there || given.iter().any(|(it, _)| it.starts_with("parent_"))) {
            continue;
        }
        let other = format!("x{}", n % 3);
        let value = match field {
            "name" | "title" => text(["a", "b", "c"][*n as usize % 3]),
            "size" => Value::Int((n % 6).into()),
            "weight" => Value::Float([0.1, 0.2, 1.5, 1e300, -1e300][*n as usize % 5]),
            "heard" => references(&["x0", "x1", "x2"][..*n as usize % 4]),
            "about" if n % 5 == 0 => Value::Absent,
            _ => reference(&other),
        };
        given.retain(|(name, _)| *name != field);
        given.push((field, value));
    }
    if there { update(db, ty, &name, &given) } else { create(db, ty, &name, &given) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_follows_agrees_after_every_history(
        steps in prop::collection::vec((0u8..18, any::<u8>(), prop::collection::vec(any::<(u8, u8)>(), 0..5)), 1..25),
        budget in prop::sample::select(vec![0, 1, 2, 1_000]),
    ) {
        let db = opened_within(&memory(), PAGES, budget);
        agrees_throughout(&db, &steps, write);
    }
}
