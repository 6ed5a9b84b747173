//! What may be read may change while somebody watches: what is no longer there for them leaves, and nothing of it is told behind that.

use std::time::Duration;

use corollary_store::postgres::testing::Server as Database;

use super::*;

/// For so long nothing more is said.
const QUIET: Duration = Duration::from_millis(300);

#[track_caller]
fn begins(watch: &mut Watch, with: &[&str]) {
    let events = watch.synced();
    let paths: Vec<&str> = events[..events.len() - 1].iter().map(|event| event.path()).collect();
    assert_eq!(paths, with);
}

#[test]
fn a_watch_shows_what_may_be_read() {
    let world = World::filled();
    world.grant("lead", "/teams[boss = ego]", &["read"], None);
    let mut watch = world.watch("ann", "/api/teams?watch=true");
    begins(&mut watch, &["/api/teams/t1"]);
    let mut root = world.of("root");
    root.send("PATCH", "/api/teams/t2", &json!({"secret": 9})).expect(200);
    root.send("PATCH", "/api/teams/t1", &json!({"secret": 10})).expect(200);
    let event = watch.next();
    assert_eq!((event.kind(), &event.data["resource"]["secret"]), ("modified", &json!(10)));
    // What comes is told as it is, and nothing of what it was.
    root.send("PATCH", "/api/teams/t2", &json!({"boss": "ann", "secret": 11})).expect(200);
    let event = watch.next();
    assert_eq!((event.kind(), event.path()), ("added", "/api/teams/t2"));
    assert_eq!(event.data["resource"]["secret"], json!(11));
    assert_eq!((event.data.get("old"), &event.data["changed"]), (None, &json!([])));
    // What goes is told as gone, and nothing of what it has become.
    root.send("PATCH", "/api/teams/t2", &json!({"boss": "bob", "secret": 1200})).expect(200);
    let event = watch.next();
    assert_eq!((event.kind(), event.path()), ("left", "/api/teams/t2"));
    assert_eq!(event.data["resource"], json!(null));
    assert!(!event.data.to_string().contains("1200"), "{event:?}");
    root.send("PATCH", "/api/teams/t2", &json!({"secret": 13})).expect(200);
    assert!(watch.is_silent(QUIET));
}

#[test]
fn grants_come_and_go_while_somebody_watches() {
    let world = World::filled();
    world.grant("red", "/teams/t1", &["read"], None);
    let mut teams = world.watch("ann", "/api/teams?watch=true");
    let mut tasks = world.watch("ann", "/api/teams/t1/tasks?watch=true");
    let mut one = world.watch("ann", "/api/teams/t1?watch=true");
    let mut page = world.watch("ann", "/api/teams?watch=true&order=-name&limit=1");
    begins(&mut teams, &["/api/teams/t1"]);
    begins(&mut tasks, &["/api/teams/t1/tasks/a1", "/api/teams/t1/tasks/b1"]);
    begins(&mut one, &["/api/teams/t1"]);
    begins(&mut page, &["/api/teams/t1"]);
    world.grant("all", "/teams[name != 'green']", &["read"], None);
    assert_eq!(teams.told(), "added /api/teams/t2");
    assert!(tasks.is_silent(QUIET) && one.is_silent(QUIET) && page.is_silent(QUIET));
    world.revoke("red");
    assert!(teams.is_silent(QUIET));
    let mut root = world.of("root");
    // By a condition that does not hold any more everything leaves.
    root.send("PATCH", "/api/teams/t1", &json!({"name": "green"})).expect(200);
    assert_eq!(teams.told(), "left /api/teams/t1");
    assert_eq!(one.told(), "left /api/teams/t1");
    assert_eq!([tasks.told(), tasks.told()], ["left /api/teams/t1/tasks/a1", "left /api/teams/t1/tasks/b1"]);
    assert_eq!([page.told(), page.told()], ["left /api/teams/t1", "added /api/teams/t2"]);
    // And with the grant.
    world.revoke("all");
    assert_eq!(teams.told(), "left /api/teams/t2");
    assert_eq!(page.told(), "left /api/teams/t2");
    root.send("PATCH", "/api/teams/t2", &json!({"secret": 99})).expect(200);
    root.send("PATCH", "/api/teams/t1/tasks/a1", &json!({"cost": 99})).expect(200);
    assert!(
        teams.is_silent(QUIET) && tasks.is_silent(QUIET) && one.is_silent(QUIET) && page.is_silent(QUIET)
    );
    world.grant("again", "/", &["read"], Some(&["ann"]));
    assert_eq!([teams.told(), teams.told()], ["added /api/teams/t1", "added /api/teams/t2"]);
    assert_eq!(one.told(), "added /api/teams/t1");
    assert_eq!(page.told(), "added /api/teams/t1");
}

#[test]
fn who_somebody_is_may_change_while_they_watch() {
    let world = World::filled();
    world.grant("lead", "/teams[boss = ego]", &["read"], None);
    world.grant("own", "/people[team = ego.team and team != null]", &["read"], None);
    let mut root = world.of("root");
    root.send("PATCH", "/api/people/ann", &json!({"team": "t1"})).expect(200);
    let mut teams = world.watch("ann", "/api/teams?watch=true");
    let mut people = world.watch("ann", "/api/people?watch=true");
    begins(&mut teams, &["/api/teams/t1"]);
    begins(&mut people, &["/api/people/ann"]);
    // What a grant asks of who watches.
    root.send("PATCH", "/api/people/bob", &json!({"team": "t2"})).expect(200);
    assert!(people.is_silent(QUIET));
    root.send("PATCH", "/api/people/ann", &json!({"team": "t2"})).expect(200);
    let mut told = [people.told(), people.told()];
    told.sort();
    assert_eq!(told, ["added /api/people/bob", "modified /api/people/ann"]);
    // Another one by the same name.
    root.send("PATCH", "/api/people/ann", &json!({"login": "anna"})).expect(200);
    assert_eq!(teams.told(), "left /api/teams/t1");
    root.send("PATCH", "/api/people/bob", &json!({"login": "ann"})).expect(200);
    assert_eq!(teams.told(), "added /api/teams/t2");
    root.send("DELETE", "/api/people/bob", &json!(null)).expect_status(204);
    assert_eq!(teams.told(), "left /api/teams/t2");
}

#[test]
fn a_watch_goes_on_where_nothing_of_it_has_changed_and_begins_anew_otherwise() {
    let world = World::filled();
    world.grant("lead", "/teams[boss = ego]", &["read"], None);
    let mut root = world.of("root");
    let since = root.send("PATCH", "/api/teams/t1", &json!({"secret": 1})).revision();
    root.send("PATCH", "/api/teams/t1", &json!({"secret": 2})).expect(200);
    let path = format!("/api/teams?watch=true&since={since}");
    let mut watch = world.watch("ann", &path);
    assert_eq!(watch.told(), "modified /api/teams/t1");
    // Over many changes of others, and of grants: it cannot know what it has shown before these.
    world.grant("more", "/pages", &["read"], None);
    let refused = world.of("ann").get(&path);
    refused.problem(410, "expired");
    let since = root.send("PATCH", "/api/teams/t1", &json!({"secret": 3})).revision();
    let path = format!("/api/teams?watch=true&since={since}");
    root.send("PATCH", "/api/people/ann", &json!({"login": "anna"})).expect(200);
    let mut watch = world.watch("anna", &path);
    assert_eq!(watch.next().kind(), "expired");
}

#[test]
fn what_goes_by_what_may_not_be_read_is_not_watched() {
    let world = World::filled();
    world.grant("lead", "/teams[boss = ego]", &["read"], None);
    let mut ann = world.of("ann");
    let filtered = |filter: &str| format!("/api/teams?watch=true&filter={}", encoded(filter));
    ann.get(&filtered("boss.name = 'Ann'")).problem(403, "not-granted");
    ann.get("/api/people?watch=true").problem(403, "not-granted");
    ann.get("/api/teams.secret?watch=true").problem(403, "not-granted");
    // What is not there for her may come to be.
    let mut hidden = world.watch("ann", "/api/teams/t2?watch=true");
    begins(&mut hidden, &[]);
    let mut own = world.watch("ann", &filtered("secret = 7"));
    begins(&mut own, &["/api/teams/t1"]);
    world.grant("people", "/people", &["read"], None);
    let mut through = world.watch("ann", &filtered("boss.name = 'Ann'"));
    begins(&mut through, &["/api/teams/t1"]);
    // Where that may not be read any more it ends.
    world.revoke("people");
    assert_eq!(through.next().kind(), "expired");
    assert!(own.is_silent(QUIET));
    world.of("root").send("PATCH", "/api/teams/t2", &json!({"boss": "ann"})).expect(200);
    assert_eq!(hidden.told(), "added /api/teams/t2");
}

#[test]
fn grants_count_on_every_server() {
    let database = Database::new();
    let place = Place::over(&database, SCHEMA);
    let options = ["--actor-header", WHO, "--administrator", "root"];
    let other = Server::start(&place, &options);
    let world = World { server: Server::start(&place, &options), place };
    let mut root = world.of("root");
    root.send("POST", "/api/people", &json!({"_id": "ann", "login": "ann"})).expect(201);
    let teams = json!([{"_id": "t1", "name": "red", "boss": "ann"}, {"_id": "t2", "name": "blue"}]);
    let made = root.send("POST", "/api/teams", &teams);
    made.expect(201);
    let mut there = other.client();
    let mut list = |since: u64, status: u16| {
        let headers = [(WHO, "ann"), ("corollary-at-least", &*since.to_string())];
        let list = there.request("GET", "/api/teams", &headers, b"").expect(status);
        list["results"].as_array().map_or(0, Vec::len)
    };
    list(made.revision(), 403);
    let granted = root.send("PUT", "/api/_grants/lead", &json!({"path": "/teams[boss = ego]"})).revision();
    assert_eq!(list(granted, 200), 1);
    let mut watch = Watch::begin(&other.address, "/api/teams?watch=true", &[(WHO, "ann")]);
    begins(&mut watch, &["/api/teams/t1"]);
    root.send("PATCH", "/api/teams/t2", &json!({"boss": "ann"})).expect(200);
    assert_eq!(watch.told(), "added /api/teams/t2");
    let revoked = root.send("DELETE", "/api/_grants/lead", &json!(null)).revision();
    let mut told = [watch.told(), watch.told()];
    told.sort();
    assert_eq!(told, ["left /api/teams/t1", "left /api/teams/t2"]);
    list(revoked, 403);
    root.send("PATCH", "/api/teams/t1", &json!({"secret": 1})).expect(200);
    assert!(watch.is_silent(QUIET));
}
