//! What is written over HTTP is read in SQL.

use super::*;

#[test]
fn each_kind_of_field_has_a_column_of_its_type() {
    let database = Database::new();
    let place = place(&database, KINDS);
    let server = serve(&database, &place);
    let mut client = server.client();
    for name in ["p1", "p2"] {
        client.post("/api/people", &json!({"_id": name, "name": name})).expect(201);
    }
    client.post("/api/firms", &json!({"_id": "f"})).expect(201);
    let thing = json!({
        "_id": "t", "text": "it's \\ \"so\" \u{0}\u{1f600}", "whole": 9_007_199_254_740_993i64, "real": 0.1, "exact": "12.50",
        "yes": true, "at": "2024-02-29T12:00:00.123456Z", "day": "2024-02-29", "span": "-PT90M",
        "key": "6f1c1b8e-7f0a-4a9e-9c3b-2f4d5e6a7b8c", "raw": "AAH/", "any": {"a": [1, null, "x"]}, "word": "big",
        "parts": {"a": 1, "to": "p1"}, "list": [3, 1], "some": ["b", "a"], "map": {"x": 1},
        "shape": {"kind": "circle", "r": 2}, "owner": "p1", "owners": ["p2", "p1"],
        "holder": {"_id": "f", "_type": "Firm"}, "none": null
    });
    client.post("/api/things", &thing).expect(201);
    let zero = client.post("/api/things", &json!({"_id": "zero", "whole": 0}));
    zero.expect(201);
    caught_up(&database, &zero);
    let shown = |columns: &str, id: &str| {
        database.sql(&format!(
            "SET timezone = 'UTC'; SET intervalstyle = 'postgres'; SELECT {columns} FROM docs.things WHERE _id = '{id}'"
        ))
    };
    assert_eq!(shown("text", "t"), "it's \\ \"so\" \u{fffd}\u{1f600}");
    assert_eq!(
        shown("whole, real, exact, yes, at, day, span, key, raw, word, owner", "t"),
        "9007199254740993|0.1|12.50|t|2024-02-29 12:00:00.123456+00|2024-02-29|-01:30:00|\
         6f1c1b8e-7f0a-4a9e-9c3b-2f4d5e6a7b8c|\\x0001ff|big|p1"
    );
    assert_eq!(
        shown(r#""any", parts, list, "some", map, shape, owners, holder"#, "t"),
        r#"{"a": [1, null, "x"]}|{"a": 1, "to": "p1"}|[3, 1]|["a", "b"]|{"x": 1}|{"r": 2, "kind": "circle"}|["p2", "p1"]|{"_id": "f", "_type": "Firm"}"#
    );
    assert_eq!(
        shown("none IS NULL, tenth, later, names", "t"),
        r#"t|1.25|2024-02-29 10:30:00.123456+00|["p1", "p2"]"#
    );
    // An error value is null in a column of a type, and told in the JSON.
    assert_eq!(shown("whole, twice, inverse IS NULL, text IS NULL", "zero"), "0|0|t|t");
    assert_eq!(
        database.sql(r#"SELECT doc -> 'inverse' FROM docs."_doc_Thing" WHERE _id = 'zero'"#),
        r##"{"_error": "#div0"}"##
    );
    let types = "SELECT string_agg(column_name || ' ' || data_type, ', ' ORDER BY ordinal_position) \
                 FROM information_schema.columns WHERE table_schema = 'docs' AND table_name = 'things'";
    assert_eq!(
        database.sql(types),
        "_id text, _revision bigint, text text, whole bigint, real double precision, exact numeric, yes boolean, \
         at timestamp with time zone, day date, span interval, key uuid, raw bytea, any jsonb, word text, parts jsonb, \
         list jsonb, some jsonb, map jsonb, shape jsonb, owner text, owners jsonb, holder jsonb, none text, \
         twice bigint, inverse double precision, tenth numeric, later timestamp with time zone, names jsonb"
    );
    let comment = |view: &str, column: &str| {
        database.sql(&format!(
            "SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = 'docs.{view}'::regclass AND attname = '{column}'"
        ))
    };
    assert_eq!(comment("regions", "name"), "as it's called; \"quoted\"");
    assert_eq!(comment("things", "twice"), "= self.whole * 2");
    assert_eq!(comment("things", "owner"), "the id of a Person");
    assert_eq!(comment("things", "word"), "one of big, small");
    assert_eq!(comment("shop", "parent_region_shops"), "the id of the Region in whose `shops` it is");
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn what_follows_and_what_is_deleted_is_seen() {
    let database = Database::new();
    let place = place(&database, KINDS);
    let server = serve(&database, &place);
    let mut client = server.client();
    client.post("/api/regions", &json!({"_id": "n", "name": "North"})).expect(201);
    for count in 1..=3 {
        client.post("/api/regions/n/shops", &json!({"_id": format!("s{count}"), "count": count})).expect(201);
    }
    let joined = "SELECT name, areas, \"all\", string_agg(shop._id || ':' || count, ' ' ORDER BY shop._id) \
                  FROM docs.regions JOIN docs.shop ON parent_region_shops = regions._id GROUP BY 1, 2, 3";
    expect_sql(&database, joined, "North|3|6|s1:1 s2:2 s3:3");
    client.patch("/api/regions/n/shops/s2", &json!({"count": 40})).expect(200);
    expect_sql(&database, joined, "North|3|44|s1:1 s2:40 s3:3");
    let deleted = client.delete("/api/regions/n/shops/s1");
    assert_eq!(deleted.status, 204);
    caught_up(&database, &deleted);
    assert_eq!(database.sql(joined), "North|2|43|s2:40 s3:3");
    assert_eq!(client.delete("/api/regions/n").status, 204);
    expect_sql(&database, "SELECT count(*) FROM docs.shop", "0");
    // What is there says so, and says as at when.
    assert_eq!(
        database.sql("SELECT revision = cursor, at > now() - interval '1 day' FROM docs._state"),
        "t|t"
    );
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn tables_are_filled_from_what_is_there_and_go_on_from_where_they_were() {
    let database = Database::new();
    let place = place(&database, KINDS);
    // Without anybody who keeps tables.
    let server = place.serve();
    let mut client = server.client();
    let many: Vec<Json> = (0..2_500).map(|n| json!({"_id": format!("t{n}"), "whole": n})).collect();
    client.post("/api/things", &json!(many)).expect(201);
    client.post("/api/things", &json!({"_id": "gone"})).expect(201);
    server.kill();
    let server = serve(&database, &place);
    let sums = "SELECT count(*), sum(twice) FROM docs.things";
    assert_eq!(database.sql(sums), format!("2501|{}", 2_499 * 2_500));
    server.kill();
    // While nobody looks.
    let server = place.serve();
    let mut client = server.client();
    assert_eq!(client.delete("/api/things/gone").status, 204);
    client.patch("/api/things/t0", &json!({"whole": 5})).expect(200);
    server.kill();
    assert_eq!(database.sql(sums), format!("2501|{}", 2_499 * 2_500));
    // A row that is right already is not written again.
    let untouched = database.sql(r#"SELECT xmin FROM docs."_doc_Thing" WHERE _id = 't1'"#);
    let server = serve(&database, &place);
    expect_sql(&database, sums, &format!("2500|{}", 2_499 * 2_500 + 10));
    // Where the log does not go back to the cursor all is compared.
    server.kill();
    database.sql("SET corollary.sql = 'on'; UPDATE docs._state SET cursor = 0, revision = NULL; \
         DELETE FROM docs.\"_doc_Thing\" WHERE _id = 't7'; INSERT INTO docs.\"_doc_Thing\" VALUES ('other', 1, '{}'); \
         DELETE FROM corollary.ks_log WHERE k < (SELECT k FROM corollary.ks_log ORDER BY k DESC LIMIT 1)");
    let server = serve(&database, &place);
    assert_eq!(database.sql(sums), format!("2500|{}", 2_499 * 2_500 + 10));
    assert_eq!(database.sql(r#"SELECT xmin FROM docs."_doc_Thing" WHERE _id = 't1'"#), untouched);
    server.stop();
    place.check();
}

#[test]
fn another_schema_brings_its_tables_along() {
    let database = Database::new();
    let place = place(&database, "type A in as { n: int, s: str }\ntype B in bs { n: int }\n");
    let server = serve(&database, &place);
    let mut client = server.client();
    client.post("/api/as", &json!({"_id": "a", "n": 2})).expect(201);
    let created = client.post("/api/bs", &json!({"_id": "b", "n": 3}));
    created.expect(201);
    caught_up(&database, &created);
    database.sql("CREATE ROLE reader; GRANT USAGE ON SCHEMA docs TO reader; GRANT SELECT ON docs.as, docs.bs TO reader");
    let next = "type A in as { s: str, n: decimal, double := self.n * 2 }\ntype C in cs { of: link A }\n";
    let replaced = client.request(
        "PUT",
        "/api/_schema",
        &[("corollary-consent", "all"), ("content-type", "text/plain")],
        next.as_bytes(),
    );
    assert!(replaced.status >= 400, "it loses data: {}", replaced.text());
    let next = "type A in as { t: str, s: str, n: int, double := self.n * 2 }\ntype B in bs { n: int, m: int }\ntype C in cs { of: link A }\n";
    client.request("PUT", "/api/_schema", &[], next.as_bytes()).expect(200);
    let created = client.post("/api/cs", &json!({"_id": "c", "of": "a"}));
    created.expect(201);
    caught_up(&database, &created);
    // With other columns before those that were there it is another view, and whoever might read it may.
    let read = |columns: &str, view: &str| {
        database.sql(&format!("SET ROLE reader; SELECT {columns} FROM docs.{view}"))
    };
    assert_eq!(read("_id, t, s, n, double", "as"), "a|||2|4");
    assert_eq!(read("_id, n, m", "bs"), "b|3|");
    assert_eq!(database.sql("SELECT _id, of FROM docs.cs"), "c|a");
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn one_server_keeps_the_tables_and_another_goes_on() {
    let database = Database::new();
    let (one, other) = (place(&database, KINDS), place(&database, KINDS));
    let a = serve(&database, &one);
    let keeper = database.sql("SELECT follower FROM docs._state");
    let b = Server::start(&other, &["--sql", WITHIN]);
    let mut to_b = b.client();
    let created = to_b.post("/api/people", &json!({"_id": "p", "name": "P"}));
    created.expect(201);
    caught_up(&database, &created);
    assert_eq!(database.sql("SELECT follower FROM docs._state"), keeper);
    a.kill();
    let changed = to_b.patch("/api/people/p", &json!({"name": "Q"}));
    changed.expect(200);
    caught_up(&database, &changed);
    assert_eq!(database.sql("SELECT name FROM docs.people"), "Q");
    assert_ne!(database.sql("SELECT follower FROM docs._state"), keeper);
    drop(to_b);
    b.stop();
    one.check();
}

#[test]
fn a_database_that_breaks_the_connection_is_asked_again() {
    let database = Database::new();
    let place = place(&database, KINDS);
    let server = serve(&database, &place);
    let mut client = server.client();
    for n in 0..3 {
        let changed = client.post("/api/people", &json!({"_id": format!("p{n}"), "name": "P"}));
        changed.expect(201);
        caught_up(&database, &changed);
        database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%_doc_%' AND pid <> pg_backend_pid()");
    }
    assert_eq!(database.sql("SELECT count(*) FROM docs.people"), "3");
    database.stop();
    database.start_again();
    let changed = client.patch("/api/people/p0", &json!({"name": "R"}));
    changed.expect(200);
    caught_up(&database, &changed);
    assert_eq!(database.sql("SELECT name FROM docs.people WHERE _id = 'p0'"), "R");
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn tables_are_not_mixed_with_those_of_others_and_not_written_by_them() {
    let database = Database::new();
    let place = place(&database, KINDS);
    let refused = |args: &[&str]| Server::try_start(&place, args).map(drop).unwrap_err();
    assert!(refused(&["--sql", "corollary"]).contains("holds the store itself"));
    assert!(refused(&["--sql", "a b"]).contains("1 to 40 of a-z"));
    let alone = Place::new(KINDS);
    let told = Server::try_start(&alone, &["--sql", WITHIN]).map(drop).unwrap_err();
    assert!(told.contains("needs --store postgres://"), "{told}");
    database.sql("CREATE SCHEMA docs; CREATE TABLE docs.mine (a int)");
    let server = Server::start(&place, &["--sql", WITHIN]);
    let begun = Instant::now();
    while !server.said().contains("the schema docs of the database holds tables of others") {
        assert!(begun.elapsed() < PATIENCE_BEHIND, "{}", server.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    database.sql("DROP TABLE docs.mine");
    expect_sql(&database, "SELECT count(*) FROM pg_tables WHERE tablename = '_doc_Thing'", "1");
    let refused = database.sql(
        "DO $$ BEGIN INSERT INTO docs.\"_doc_Firm\" VALUES ('x', 1, '{}'); RAISE 'written'; \
         EXCEPTION WHEN insufficient_privilege THEN NULL; END $$; SELECT count(*) FROM docs.firms",
    );
    assert_eq!(refused, "0");
    server.stop();
    place.check();
}
