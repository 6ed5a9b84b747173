//! Urls: kept true like any derived field, and each leads to one resource.

use crate::common::*;
use corollary_engine::urls;

const BLOG: &str = "
type Blog in blogs url := '/' + self.name {
  name: str
  posts: collection Post
}
type Post url := url(self.parent_blog_posts) + '/' + self.slug { slug: str, best := url(self.next), next: link Post }
type Page in pages url := (url(self.parent_page_pages) else '/site') + '/' + self.name {
  name: str
  pages: collection Page
}
";

/// Where a url leads, as the type and the id.
fn led(db: &Db, url: &str) -> Option<String> {
    let found = db.engine().read(NOW, |working| urls::find(working, url)).unwrap()?;
    Some(format!("{} {}", db.engine().schema().ty(found.ty).name, found.id))
}

/// The url of a resource, where it leads there.
fn url(db: &Db, ty: &str, name: &str) -> Option<String> {
    let (key, doc) = (key(db, ty, name), doc(db, ty, name).unwrap());
    let url = db.engine().read(NOW, |working| Ok(urls::of(working, &key, &doc)?.map(str::to_string)));
    url.unwrap()
}

fn blog(db: &Db) {
    let named = |name: &str| [("name", text(name))];
    let slug = |slug: &str| [("parent_blog_posts", reference("b")), ("slug", text(slug))];
    commit(
        db,
        vec![
            create(db, "Blog", "b", &named("blog")),
            create(db, "Post", "p", &slug("hello")),
            create(db, "Post", "q", &slug("über uns")),
            create(db, "Page", "x", &named("x")),
        ],
    );
    commit(db, vec![create(db, "Page", "y", &[("parent_page_pages", reference("x")), ("name", text("y"))])]);
}

#[test]
fn a_url_follows_from_what_it_reads_and_leads_back() {
    let db = fresh(BLOG);
    blog(&db);
    agree(&db);
    assert_eq!(led(&db, "/blog/hello").as_deref(), Some("Post p"));
    assert_eq!(led(&db, "/blog/über uns").as_deref(), Some("Post q"));
    assert_eq!(led(&db, "/site/x/y").as_deref(), Some("Page y"));
    assert_eq!(url(&db, "Page", "y").as_deref(), Some("/site/x/y"));
    commit(&db, vec![update(&db, "Post", "p", &[("next", reference("q"))])]);
    commit(
        &db,
        vec![
            update(&db, "Blog", "b", &[("name", text("log"))]),
            update(&db, "Page", "x", &[("name", text("z"))]),
        ],
    );
    agree(&db);
    assert_eq!((led(&db, "/blog/hello"), led(&db, "/site/x/y")), (None, None));
    assert_eq!(led(&db, "/log/hello").as_deref(), Some("Post p"));
    assert_eq!(led(&db, "/site/z/y").as_deref(), Some("Page y"));
    assert_eq!(get(&db, "Post", "p", "best"), text("/log/über uns"));
    commit(&db, vec![delete(&db, "Blog", "b")]);
    assert_eq!((led(&db, "/log"), led(&db, "/log/hello")), (None, None));
    agree(&db);
}

#[test]
fn of_two_with_the_same_the_first_has_it() {
    let db = fresh(BLOG);
    blog(&db);
    // Of one type the least id, of several the type that is declared first.
    let named = |name: &str| [("name", text(name))];
    commit(&db, vec![create(&db, "Blog", "a", &named("blog")), create(&db, "Blog", "c", &named("site/x"))]);
    assert_eq!(led(&db, "/blog").as_deref(), Some("Blog a"));
    assert_eq!((url(&db, "Blog", "a").as_deref(), url(&db, "Blog", "b")), (Some("/blog"), None));
    assert_eq!(led(&db, "/site/x").as_deref(), Some("Blog c"));
    assert_eq!(url(&db, "Page", "x"), None);
    commit(&db, vec![delete(&db, "Blog", "a"), update(&db, "Blog", "c", &named("other"))]);
    assert_eq!(led(&db, "/blog").as_deref(), Some("Blog b"));
    assert_eq!(url(&db, "Page", "x").as_deref(), Some("/site/x"));
    agree(&db);
}

#[test]
fn what_cannot_be_a_url_leads_nowhere_and_stops_nobody() {
    let db = fresh(BLOG);
    let long = "x".repeat(20_000);
    for (at, name) in ["", "/", "a//b", ".", "_x", "pages", "blogs/x", &long].into_iter().enumerate() {
        let id = format!("b{at}");
        commit(&db, vec![create(&db, "Blog", &id, &[("name", text(name))])]);
        assert_eq!((url(&db, "Blog", &id), led(&db, &format!("/{name}"))), (None, None), "{name:.20}");
    }
    commit(&db, vec![create(&db, "Blog", "null", &[])]);
    assert_eq!(url(&db, "Blog", "null"), None);
    agree(&db);
}

#[test]
fn a_schema_that_begins_to_have_urls_finds_all_by_them() {
    let store = memory();
    let without = "type Page in pages { name: str }";
    let db = opened(&store, without);
    let page = |db: &Db, id: &str| commit(db, vec![create(db, "Page", id, &[("name", text(id))])]);
    page(&db, "a");
    drop(db);
    let db = opened(&store, "type Page in pages url := '/p/' + self.name { name: str }");
    db.finish_updates();
    page(&db, "b");
    assert_eq!(led(&db, "/p/a").as_deref(), Some("Page a"));
    agree(&db);
    drop(db);
    let db = opened(&store, "type Page in pages url := '/q/' + self.name { name: str }");
    db.finish_updates();
    assert_eq!((led(&db, "/p/a"), led(&db, "/q/b").as_deref()), (None, Some("Page b")));
    agree(&db);
    drop(db);
    let db = opened(&store, without);
    page(&db, "c");
    assert_eq!(led(&db, "/q/b"), None);
    agree(&db);
}
