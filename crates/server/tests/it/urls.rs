//! Urls (`url := …`): read, shown and written as paths.

use crate::common::*;

const SCHEMA: &str = "
type Blog in blogs url := '/' + self.name {
  name: str
  posts: collection Post
}
type Post url := '/blog/' + self.parent_blog_posts.name + '/' + self.slug {
  slug: str
  next: link Post
  comments: collection Comment
  link := url(self.next)
  place := path(self)
}
type Comment { text: str }
";

#[test]
fn a_url_is_the_path_of_a_resource() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let client = &mut server.client();
    let created = client.post("/api/blogs", &json!({"_id": "b", "name": "ned"}));
    assert_eq!(created.header("location"), Some("/api/ned"));
    assert_eq!(created.expect(201)["_self"], "/api/ned");
    let post = client.post("/api/ned/posts", &json!({"_id": "p", "slug": "hello"})).expect(201);
    assert_eq!(
        (&post["_self"], &post["place"]),
        (&json!("/api/blog/ned/hello"), &json!("/api/blogs/b/posts/p"))
    );
    // What cannot stand in a path as it is, is written so that it can; a link may be a url.
    let other = json!({"_id": "q", "slug": "über uns?", "next": "/api/blog/ned/hello"});
    let other = client.post("/api/blogs/b/posts", &other).expect(201);
    assert_eq!(other["_self"], "/api/blog/ned/%C3%BCber%20uns%3F");
    assert_eq!(other["next"], json!({"_id": "p", "_self": "/api/blog/ned/hello"}));
    assert_eq!(other["link"], "/blog/ned/hello");
    assert_eq!(client.read("/api/blog/ned/%C3%BCber%20uns%3F")["_id"], "q");
    // By the ordinary path it is there as before.
    let ordinary = client.get("/api/blogs/b/posts/p");
    assert_eq!(ordinary.header("content-location"), Some("/api/blog/ned/hello"));
    assert_eq!(ordinary.expect(200)["slug"], "hello");
    // Behind a url a path goes on.
    let comment =
        client.post("/api/blog/ned/hello/comments", &json!({"_id": "c", "text": "well"})).expect(201);
    assert_eq!(comment["_self"], "/api/blogs/b/posts/p/comments/c");
    assert_eq!(client.ids("/api/blog/ned/hello/comments"), ["c"]);
    client.get("/api/blog/ned/hello%2Fcomments").problem(404, "not-found");
    client.get("/api/blog/ned").problem(404, "not-found");

    // It follows, and the old one is gone.
    client.patch("/api/ned", &json!({"name": "Ned"})).expect(200);
    client.get("/api/blog/ned/hello").problem(404, "not-found");
    assert_eq!(client.read("/api/blog/Ned/hello")["_id"], "p");
    assert_eq!(client.read("/api/blogs/b/posts/q")["link"], "/blog/Ned/hello");
    client.patch("/api/blog/Ned/hello", &json!({"slug": "again"})).expect(200);

    // Two with the same: the first has it, and both are there.
    let twin = client.post("/api/Ned/posts", &json!({"_id": "r", "slug": "again"})).expect(201);
    assert_eq!(twin["_self"], "/api/blogs/b/posts/r");
    assert_eq!(client.read("/api/blog/Ned/again")["_id"], "p");
    client.delete("/api/blog/Ned/again").expect(204);
    assert_eq!(client.read("/api/blog/Ned/again")["_id"], "r");
    // A root collection goes before.
    let root = client.post("/api/blogs", &json!({"_id": "x", "name": "blogs"})).expect(201);
    assert_eq!(root["_self"], "/api/blogs/x");
    server.stop();
    place.check();
}
