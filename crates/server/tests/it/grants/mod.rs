//! Who may do what: grants, as those whom they are given to meet them.

mod random;
mod reading;
mod records;
mod routes;
mod watching;
mod writing;

use crate::common::client::encoded;
use crate::common::watch::Watch;
use crate::common::*;

pub const WHO: &str = "x-forwarded-user";

/// People, of whom two have names that the proxy knows; teams with tasks with notes; and a page whose name is its path.
pub const SCHEMA: &str = "
type Person in people {
  login: str unique actor
  name: str
  team: link Team on delete unlink
  boss_of: inverse Team.boss
}
type Team in teams {
  name: str index
  secret: int default 0
  boss: link Person index on delete unlink
  tasks: collection Task
  people: inverse Person.team
  cost := sum(self.tasks.cost)
  said := 'led by ' + (self.boss.name ?? 'nobody'), lazy
}
type Task {
  title: str
  cost: int default 0
  open: bool default true
  owner: link Person index on delete unlink
  after: link Task on delete restrict
  photo: file
  notes: collection Note
}
type Note { text: str }
type Page in pages path name { name: str required unique, text: str }
";

pub struct World {
    pub place: Place,
    pub server: Server,
}

impl World {
    pub fn new() -> World {
        World::with(SCHEMA)
    }

    pub fn with(schema: &str) -> World {
        let place = Place::new(schema);
        let server = Server::start(&place, &["--actor-header", WHO, "--administrator", "root"]);
        World { place, server }
    }

    /// Ann leads the first team and Bob the second; each has a task in either.
    pub fn filled() -> World {
        let world = World::new();
        let mut root = world.of("root");
        for (path, body) in [
            (
                "/api/people",
                json!([{"_id": "ann", "login": "ann", "name": "Ann"}, {"_id": "bob", "login": "bob", "name": "Bob"}]),
            ),
            (
                "/api/teams",
                json!([{"_id": "t1", "name": "red", "secret": 7, "boss": "ann"}, {"_id": "t2", "name": "blue", "secret": 8, "boss": "bob"}]),
            ),
            (
                "/api/teams/t1/tasks",
                json!([{"_id": "a1", "title": "dig", "cost": 3, "owner": "ann"}, {"_id": "b1", "title": "fill", "cost": 4, "owner": "bob"}]),
            ),
            (
                "/api/teams/t2/tasks",
                json!([{"_id": "a2", "title": "lift", "cost": 5, "owner": "ann"}, {"_id": "b2", "title": "drop", "cost": 6, "owner": "bob"}]),
            ),
            ("/api/teams/t1/tasks/a1/notes", json!([{"_id": "n1", "text": "deep"}])),
            ("/api/teams/t2/tasks/a2/notes", json!([{"_id": "n2", "text": "high"}])),
            ("/api/pages", json!([{"_id": "p1", "name": "home", "text": "welcome"}])),
        ] {
            root.send("POST", path, &body).expect(201);
        }
        world
    }

    pub fn of<'w>(&self, who: &'w str) -> Asker<'w> {
        Asker { client: self.server.client(), who }
    }

    /// Grants something to all, or to some.
    pub fn grant(&self, id: &str, path: &str, may: &[&str], to: Option<&[&str]>) {
        let grant = json!({"path": path, "may": may, "to": to});
        let reply = self.of("root").send("PUT", &format!("/api/_grants/{id}"), &grant);
        assert!(matches!(reply.status, 200 | 201), "{path}: {}", reply.text());
    }

    pub fn revoke(&self, id: &str) {
        self.of("root").send("DELETE", &format!("/api/_grants/{id}"), &json!(null)).expect_status(204);
    }

    pub fn watch(&self, who: &str, path: &str) -> Watch {
        Watch::begin(&self.server.address, path, &[(WHO, who)])
    }
}

/// One who asks.
pub struct Asker<'w> {
    pub client: Client,
    pub who: &'w str,
}

impl Asker<'_> {
    pub fn send(&mut self, method: &str, path: &str, body: &Json) -> Reply {
        self.with(method, path, &[], body)
    }

    pub fn with(&mut self, method: &str, path: &str, more: &[(&str, &str)], body: &Json) -> Reply {
        let mut headers = more.to_vec();
        if !self.who.is_empty() {
            headers.push((WHO, self.who));
        }
        match body {
            Json::Null => self.client.request(method, path, &headers, b""),
            body => self.client.with(method, path, &headers, body),
        }
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, &json!(null))
    }

    #[track_caller]
    pub fn read(&mut self, path: &str) -> Json {
        self.get(path).expect(200)
    }

    /// The ids of a list, in its order.
    #[track_caller]
    pub fn ids(&mut self, path: &str) -> Vec<String> {
        let list = self.read(path);
        let ids = list["results"].as_array().unwrap().iter().map(|item| item["_id"].as_str().unwrap().into());
        ids.collect()
    }
}
