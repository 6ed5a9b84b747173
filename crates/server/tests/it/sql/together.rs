//! Those who write at the same time: in SQL, over HTTP, in transactions that stay open.

use super::*;

const COUNTERS: &str = r#"
type Group in groups {
  name:    str
  members: inverse Counter.group
  sum      := sum(self.members.n)
  most     := max(self.members.n)
}

type Counter in counters {
  n:     int default 0, max 1000
  label: str unique
  group: link Group
  twice  := self.n * 2
}
"#;

#[test]
fn whoever_holds_a_row_holds_up_nobody_else() {
    let database = Database::new();
    let place = place(&database, COUNTERS);
    let server = serve(&database, &place);
    let mut client = server.client();
    for id in ["a", "b"] {
        client.post("/api/counters", &json!({"_id": id})).expect(201);
    }
    expect_sql(&database, "SELECT count(*) FROM docs.counters", "2");
    let (holder, inserter) = (Sql::new(&database), Sql::new(&database));
    holder.run("BEGIN; UPDATE docs.counters SET n = 5 WHERE _id = 'a'");
    inserter.run("BEGIN; INSERT INTO docs.counters (_id, n) VALUES ('c', 7)");
    // Over HTTP the rows that they hold, and another one.
    client.patch("/api/counters/a", &json!({"label": "held"})).expect(200);
    client.post("/api/counters", &json!({"_id": "c", "n": 1})).expect(201);
    let changed = client.patch("/api/counters/b", &json!({"n": 3}));
    changed.expect(200);
    caught_up(&database, &changed);
    assert_eq!(database.sql("SELECT n FROM docs.counters WHERE _id = 'b'"), "3");
    assert_eq!(database.sql("SELECT string_agg(id, ' ' ORDER BY id) FROM docs._late"), "a c");
    // And another transaction of SQL.
    database.sql("UPDATE docs.counters SET n = 4 WHERE _id = 'b'");
    expect_sql(&database, "SELECT count(*) FROM docs._changes", "0");
    assert_eq!(client.read("/api/counters/b")["n"], json!(4));
    holder.run("COMMIT");
    inserter.run("ROLLBACK");
    taken_in(&database);
    let shown = "SELECT string_agg(concat_ws(':', _id, n, label), ' ' ORDER BY _id) FROM docs.counters";
    assert_eq!(database.sql(shown), "a:5:held b:4 c:1");
    assert_eq!(client.read("/api/counters/a")["twice"], json!(10));
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn of_two_who_change_a_value_at_once_none_overwrites_unseen() {
    let database = Database::new();
    let place = place(&database, COUNTERS);
    let server = serve(&database, &place);
    let mut client = server.client();
    let created = client.post("/api/counters", &json!({"_id": "a"}));
    created.expect(201);
    caught_up(&database, &created);
    let one = Sql::new(&database);
    one.run("BEGIN; UPDATE docs.counters SET n = n + 1");
    let waits = std::thread::scope(|scope| {
        let other = scope.spawn(|| Sql::new(&database).code("UPDATE docs.counters SET n = n + 1"));
        expect_sql(
            &database,
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%'",
            "1",
        );
        one.run("COMMIT");
        other.join().unwrap()
    });
    assert_eq!(waits.as_deref(), Some("40001"));
    // Before it is taken in, too, whoever comes next goes on from it.
    for _ in 0..10 {
        let mut tries = 0;
        while Sql::new(&database).code("UPDATE docs.counters SET n = n + 1").is_some() {
            tries += 1;
            assert!(tries < 100);
        }
    }
    taken_in(&database);
    assert_eq!(client.read("/api/counters/a")["n"], json!(11));
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn a_transaction_that_began_first_and_ends_last_is_the_later_one() {
    let database = Database::new();
    let place = place(&database, COUNTERS);
    let server = serve(&database, &place);
    let mut client = server.client();
    for id in ["a", "b"] {
        client.post("/api/counters", &json!({"_id": id})).expect(201);
    }
    expect_sql(&database, "SELECT count(*) FROM docs.counters", "2");
    server.kill();
    let long = Sql::new(&database);
    long.run("BEGIN; UPDATE docs.counters SET n = 1 WHERE _id = 'a'");
    database.sql("UPDATE docs.counters SET n = 2 WHERE _id = 'b'");
    long.run("UPDATE docs.counters SET n = 3 WHERE _id = 'b'; COMMIT");
    // A large one between those that are looked at together.
    database.sql("INSERT INTO docs.counters (_id, n, label) SELECT 'm' || i, i % 1000, i::text FROM generate_series(1, 1200) AS i");
    database.sql("UPDATE docs.counters SET n = 4 WHERE _id = 'm1200'");
    let server = serve(&database, &place);
    taken_in(&database);
    let mut client = server.client();
    assert_eq!(
        (&client.read("/api/counters/a")["n"], &client.read("/api/counters/b")["n"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(client.read("/api/counters?count=true&limit=1")["count"], json!(1_202));
    assert_eq!(client.read("/api/counters/m1200")["n"], json!(4));
    expect_sql(
        &database,
        "SELECT sum(twice) FROM docs.counters",
        &format!("{}", 2 * (519_600 - 200 + 4 + 1 + 3)),
    );
    drop(client);
    server.stop();
    place.check();
}

/// Random changes of the same resources in SQL and over HTTP; in the end all show the same, and it follows from the facts.
#[test]
fn whoever_writes_what_all_is_the_same_in_the_end() {
    const STEPS: u64 = 120;
    let database = Database::new();
    let place = place(&database, COUNTERS);
    let seed = seed();
    println!("COROLLARY_SEED={seed}");
    let mut random = Random::new(seed);
    let mut server = serve(&database, &place);
    let mut client = server.client();
    for step in 0..STEPS {
        let (id, group, n) = (random.below(6), random.below(3), random.below(1_100));
        match random.below(12) {
            0 => drop(client.post("/api/counters", &json!({"_id": format!("c{id}"), "n": n % 1_000}))),
            1 | 2 => drop(client.patch(&format!("/api/counters/c{id}"), &json!({"n": n % 1_000}))),
            3 => drop(client.patch(&format!("/api/counters/c{id}"), &json!({"group": format!("g{group}")}))),
            4 => drop(client.delete(&format!("/api/counters/c{id}"))),
            5 => drop(client.post("/api/groups", &json!({"_id": format!("g{group}")}))),
            6 => drop(refused_sql(
                &database,
                &format!("INSERT INTO docs.counters (_id, n, label) VALUES ('c{id}', {n}, 'l{group}')"),
            )),
            7 => drop(refused_sql(
                &database,
                &format!("UPDATE docs.counters SET n = n + {} WHERE _id < 'c{id}'", n % 300),
            )),
            8 => drop(refused_sql(
                &database,
                &format!(
                    "UPDATE docs.counters SET \"group\" = 'g{group}', label = 'l{id}' WHERE _id = 'c{id}'"
                ),
            )),
            9 => drop(refused_sql(&database, &format!("DELETE FROM docs.counters WHERE _id = 'c{id}'"))),
            10 => drop(refused_sql(
                &database,
                &format!(
                    "INSERT INTO docs.groups (_id, name) VALUES ('g{group}', '{n}'); DELETE FROM docs.groups WHERE _id = 'g{id}'"
                ),
            )),
            _ if step % 5 == 0 => {
                server.kill();
                server = Server::start(&place, &["--sql", WITHIN]);
                client = server.client();
            }
            _ => {}
        }
    }
    taken_in(&database);
    let last = client.post("/api/groups", &json!({"name": "last"}));
    last.expect(201);
    caught_up(&database, &last);
    taken_in(&database);
    let listed = |client: &mut Client, path: &str, fields: &[&str]| {
        let listed = client.read(&format!("{path}?limit=100"))["results"].clone();
        let line = |of: &Json| {
            let shown = |field: &&str| match &of[*field] {
                Json::Null => "-".into(),
                Json::String(text) => text.clone(),
                Json::Object(link) => link["_id"].as_str().unwrap().to_string(),
                other => other.to_string(),
            };
            fields.iter().map(shown).collect::<Vec<_>>().join("|")
        };
        let mut lines: Vec<String> = listed.as_array().unwrap().iter().map(line).collect();
        lines.sort();
        lines.join("\n")
    };
    let stored = |columns: &str, view: &str| {
        let lines = database.sql(&format!("SELECT {columns} FROM docs.{view}"));
        let mut lines: Vec<&str> = lines.lines().collect();
        lines.sort();
        lines.join("\n")
    };
    let counters =
        listed(&mut client, "/api/counters", &["_id", "_revision", "n", "label", "group", "twice"]);
    let columns = "_id, _revision, coalesce(n::text, '-'), coalesce(label, '-'), coalesce(\"group\", '-'), coalesce(twice::text, '-')";
    assert_eq!(stored(columns, "counters"), counters, "COROLLARY_SEED={seed}");
    let groups = listed(&mut client, "/api/groups", &["_id", "_revision", "name", "sum", "most"]);
    let columns = "_id, _revision, coalesce(name, '-'), sum, coalesce(most::text, '-')";
    assert_eq!(stored(columns, "groups"), groups, "COROLLARY_SEED={seed}");
    drop(client);
    server.stop();
    place.check();
}
