//! The command line: what each command does, says, and returns; above all where something is wrong.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::shop::{SHOP, assert_says, failed, shop, succeeded};
use crate::common::*;
use corollary_engine::{EngineOptions, keys};
use corollary_store::{Batch, Direction, KeyRange, Store};
use corollary_value::Value;
use jiff::Timestamp;

#[test]
fn a_schema_with_mistakes_is_told_with_all_of_them_and_leaves_nothing_behind() {
    let place = Place::new("type A in as {\n  name: strr\n  b: link B\n  n := self.nme + 1\n}\n");
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["check"], &["export", "A"]] {
        let said = failed(&place.run(command), 2);
        assert_says(&said, &["schema.cor:2:", "schema.cor:3:", "schema.cor:4:", "strr", "nme", "^"]);
        assert!(!place.data().exists(), "nothing is created for a schema that is wrong");
    }
    // The same for data that is there: it stays as it was.
    let place = shop();
    fs::write(place.schema(), "type Customer in customers {").unwrap();
    failed(&place.run(&["serve", "--listen", "127.0.0.1:0"]), 2);
    fs::write(place.schema(), SHOP).unwrap();
    place.check();
    // And for one that does not fit the data.
    fs::write(place.schema(), "type Customer in customers {\n  name: int\n}\n").unwrap();
    let said = failed(&place.run(&["serve", "--listen", "127.0.0.1:0"]), 1);
    assert_says(&said, &["does not fit", "Customer.name", "Customer.email", "type Order"]);
    fs::write(place.schema(), SHOP).unwrap();
    place.check();
}

#[test]
fn what_stands_in_the_way_of_serving_is_named() {
    let place = Place::new(SHOP);
    fs::remove_file(place.schema()).unwrap();
    let said = failed(&place.run(&["serve"]), 1);
    assert_says(&said, &["there is no schema", "schema.cor", "type Customer in customers"]);
    assert!(!place.data().exists());
    fs::create_dir(place.data()).unwrap();
    failed(&place.run(&["serve"]), 1);
    assert_eq!(fs::read_dir(place.data()).unwrap().count(), 0);

    let place = Place::new(SHOP);
    fs::write(place.schema(), b"type \xff").unwrap();
    assert_says(&failed(&place.run(&["serve"]), 1), &["not UTF-8", "byte 5"]);
    fs::remove_file(place.schema()).unwrap();
    fs::create_dir(place.schema()).unwrap();
    assert_says(&failed(&place.run(&["serve"]), 1), &["schema.cor cannot be read"]);

    let place = Place::new(SHOP);
    fs::write(place.data(), "a file").unwrap();
    let listen = ["serve", "--listen", "127.0.0.1:0"];
    assert_says(&failed(&place.run(&listen), 1), &["the data folder", "data"]);
    assert_eq!(fs::read(place.data()).unwrap(), b"a file");

    // A database that is none is left as it is.
    let place = shop();
    let database = data_file(&place.data());
    for garbage in [b"garbage, and nothing else".to_vec(), vec![0x5a; 1 << 20]] {
        fs::write(&database, &garbage).unwrap();
        let said = failed(&place.run(&listen), 1);
        assert_says(&said, &["is not a Corollary store"]);
        assert_eq!(fs::read(&database).unwrap(), garbage);
    }

    let place = Place::new(SHOP);
    let server = place.serve();
    let said = failed(&place.run(&listen), 1);
    assert_says(&said, &["in use by another process"]);
    failed(&place.run(&["check"]), 1);
    let other = Place::new(SHOP);
    let said = failed(&other.run(&["serve", "--listen", &server.address]), 1);
    assert_says(&said, &[&server.address, "cannot be listened on"]);
    drop(server);

    for wrong in [
        &["serve", "--listen", "nowhere"][..],
        &["serve", "--log-days", "0"],
        &["serve", "--max-body-mib", "0"],
        &["serve", "--cache-mb", "99999999999"],
        &["sevre"],
        &[],
    ] {
        failed(&run(wrong), 2);
    }
    assert_says(&succeeded(&run(&["--help"])), &["serve", "import", "export", "check", "schema", "demo"]);
    assert_says(&succeeded(&run(&["--version"])), &["corollary "]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let place = Place::new(SHOP);
    let listen = ["serve", "--listen", "127.0.0.1:0"];
    fs::create_dir(place.data()).unwrap();
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o500)).unwrap();
    // The superuser may write everywhere; then there is nothing to see here.
    if File::create(place.data().join("probe")).is_ok() {
        println!("skipped: this user may write everywhere");
        return;
    }
    let said = failed(&place.run(&listen), 1);
    assert_says(&said, &["data", "ermission"]);
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o700)).unwrap();
}

/// The database in a data folder: its largest file.
fn data_file(folder: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn a_server_says_once_that_it_is_ready_and_stops_when_it_is_told() {
    let place = shop();
    let server = place.serve();
    assert_eq!(server.ready, format!("Corollary is ready at http://{}\n", server.address));
    let mut client = server.client();
    assert_eq!(client.get("/healthz").text(), "ok\n");
    assert_eq!(client.get("/readyz").text(), "ok\n");
    assert_eq!(client.read("/api")["collections"][1], json!({"type": "Order", "path": "/api/orders"}));
    let told = client.read("/api/_schema");
    assert_eq!((&told["name"], &told["text"]), (&json!("shop"), &json!(SHOP)));
    assert_eq!(told["json"]["types"][0]["type"], "Customer");
    assert_eq!(client.read("/api/_features")["transactions"], "serial");
    let mut watches: Vec<Watch> = ["/api/customers", "/api/customers/C1", "/api/orders/O1/lines"]
        .iter()
        .map(|path| server.watch(&format!("{path}?watch=true")))
        .collect();
    watches.iter_mut().for_each(|watch| drop(watch.synced()));
    client.patch("/api/orders/O1", &json!({"amount": 10})).expect(200);
    let begun = Instant::now();
    let said = server.said();
    let (status, rest) = server.stop();
    assert_eq!((status.code(), rest.as_str(), said.as_str()), (Some(0), "", ""));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // What was written before is told before the end.
    assert_eq!(watches[1].told(), "modified /api/customers/C1");
    assert!(watches[1].try_next().is_err());
    // The schema file may be gone: the data has it.
    fs::remove_file(place.schema()).unwrap();
    let server = place.serve();
    assert_eq!(server.client().read("/api/customers/C1")["total"], 28);
    server.stop();
    fs::write(place.schema(), SHOP).unwrap();
    place.check();
}

/// The signals were listened to only after the server had said that it was ready: who stopped it then killed it.
#[test]
fn a_server_may_be_stopped_as_soon_as_it_is_ready() {
    let place = Place::new(SHOP);
    for _ in 0..15 {
        let (status, _) = place.serve().stop();
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

#[test]
fn a_schema_may_grow_over_data() {
    let place = shop();
    let grown = SHOP
        .replace("  count :=", "  biggest := max(self.orders.amount)\n  count :=")
        .replace("at:       datetime", "at:       datetime index");
    fs::write(place.schema(), &grown).unwrap();
    let server = place.serve();
    assert_says(
        &server.said(),
        &["building the values of Customer.biggest", "building the index of Order.at"],
    );
    let mut client = server.client();
    assert_eq!(client.read("/api/customers/C1")["biggest"], 4);
    // The log ends where that begins: who resumes from before it starts afresh.
    let mut watch = server.watch("/api/customers?watch=true&since=1");
    let event = watch.next();
    assert_eq!((event.kind(), event.id), ("expired", None));
    server.stop();
    place.check();
}

/// A misspelled folder was created, checked, and found in order.
#[test]
fn there_is_nothing_to_check_or_export_where_there_is_no_data() {
    let place = Place::new(SHOP);
    for command in [&["check"][..], &["check", "--repair"], &["export", "Order"]] {
        assert_says(&failed(&place.run(command), 1), &["there is no data in", "data"]);
        assert!(!place.data().exists());
    }
}

/// Changes stored derived values by hand.
fn corrupt(place: &Place, ty: &str, id: &str, field: &str, value: Value) {
    let store: Arc<dyn Store> = Arc::new(crate::common::embedded(&place.data()).unwrap());
    let executor =
        corollary_engine::open(store.clone(), SHOP, &EngineOptions::default(), Timestamp::now(), &mut |_| {})
            .unwrap();
    let engine = executor.engine();
    let schema = engine.schema();
    let ty = schema.type_named(ty).unwrap();
    let id = corollary_value::Id::parse(id).unwrap();
    let key = keys::doc(schema.ty(ty).id, &id);
    let layout = &engine.layouts()[ty.0 as usize];
    let mut doc = layout.decode(&store.snapshot().unwrap().get(keys::DOC, &key).unwrap().unwrap()).unwrap();
    let (slot, _) = schema.ty(ty).named(field).unwrap();
    assert!(doc.set(slot, value));
    let mut bytes = Vec::new();
    layout.encode(&doc, &mut bytes);
    let mut batch = Batch::new();
    batch.put(keys::DOC, key, bytes);
    store.commit(&batch).unwrap();
}

#[test]
fn a_check_names_the_values_that_are_wrong_and_mends_them() {
    let place = shop();
    let clean = succeeded(&place.run(&["check"]));
    assert_eq!(clean, "compared 10 derived values of 5 resources: no difference\n");
    assert_eq!(
        succeeded(&place.run(&["check", "--sample", "1"])),
        "compared 4 derived values of 2 resources: no difference\n"
    );
    // One at the end, one that others are made of, one that is missing, one of another type.
    for (ty, id, field, value, told) in [
        (
            "Customer",
            "C1",
            "total",
            Value::Int(15),
            "Customer C1: total is 15, and 14 follows from the facts",
        ),
        ("Order", "O2", "net", Value::Int(9), "Order O2: net is 9, and 8 follows from the facts"),
        ("Order", "O1", "items", Value::Absent, "Order O1: items is"),
        ("Customer", "C2", "count", Value::Str("x".into()), "Customer C2: count is"),
    ] {
        corrupt(&place, ty, id, field, value);
        let output = place.run(&["check"]);
        assert_says(
            &failed(&output, 1),
            &["compared 10 derived values of 5 resources: 1 difference", "--repair"],
        );
        let said = stdout(&output);
        assert!(said.starts_with(told) && said.lines().count() == 1, "{said}");
        failed(&place.run(&["check", "--sample", "100"]), 1);
        let said = succeeded(&place.run(&["check", "--repair"]));
        assert!(
            said.ends_with("after the repair: compared 10 derived values of 5 resources: no difference\n"),
            "{said}"
        );
        assert_eq!(succeeded(&place.run(&["check"])), clean);
    }
    // Two at once, and what is kept beside the values.
    corrupt(&place, "Customer", "C1", "total", Value::Int(15));
    corrupt(&place, "Customer", "C2", "total", Value::Int(15));
    let said = stdout(&place.run(&["check"]));
    assert_eq!(said.lines().count(), 2, "{said}");
    succeeded(&place.run(&["check", "--repair"]));
    {
        let store = crate::common::embedded(&place.data()).unwrap();
        let mut first = None;
        let snapshot = store.snapshot().unwrap();
        snapshot
            .scan(keys::REFERENCE, &KeyRange::all(), Direction::Forward, 1, &mut |key, _| {
                first = Some(key.to_vec());
                std::ops::ControlFlow::Break(())
            })
            .unwrap();
        drop(snapshot);
        let mut batch = Batch::new();
        batch.delete(keys::REFERENCE, first.unwrap());
        store.commit(&batch).unwrap();
    }
    let output = place.run(&["check"]);
    failed(&output, 1);
    assert_says(&stdout(&output), &["the references of"]);
    succeeded(&place.run(&["check", "--repair"]));
    assert_eq!(succeeded(&place.run(&["check"])), clean);
    failed(&place.run(&["check", "--repair", "--sample", "3"]), 2);
    let server = place.serve();
    assert_eq!(server.client().read("/api/customers/C1")["total"], 14);
}

#[test]
fn schema_files_are_checked_and_formatted() {
    let place = Place::new(SHOP);
    let file = place.schema();
    let file = file.to_str().unwrap();
    assert_says(&succeeded(&run(&["schema", "check", file])), &["is in order: 3 types, 4 derived fields"]);
    assert_says(&succeeded(&run(&["schema", "check", "--plan", file])), &["Customer.total", "Order.items"]);
    assert_eq!(succeeded(&run(&["schema", "fmt", "--check", file])), "");
    let loose = "type A in as{name:str required\nn:=count(as)}";
    let path = place.write("loose.cor", loose);
    assert_says(&failed(&run(&["schema", "fmt", "--check", &path]), 1), &["not in the canonical format"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), loose);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    succeeded(&run(&["schema", "fmt", &path]));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_ne!(fs::read_to_string(&path).unwrap(), loose);
    assert_eq!(succeeded(&run(&["schema", "fmt", "--check", &path])), "");
    let broken = "type A in as { name str }";
    let path = place.write("broken.cor", broken);
    for command in [&["schema", "check"][..], &["schema", "fmt"]] {
        let said = failed(&corollary(command).arg(&path).output().unwrap(), 2);
        assert_says(&said, &["broken.cor:1:"]);
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), broken);
    assert_says(&failed(&run(&["schema", "check", "/nowhere.cor"]), 1), &["/nowhere.cor cannot be read"]);
}

#[test]
fn the_demonstration_runs_to_its_end() {
    let said = succeeded(&run(&["demo", "flights"]));
    assert_says(
        &said,
        &[
            "imported 27004 Flight",
            "PATCH /api/flights/2013-01-01-UA1545-EWR-0515",
            "worst_dep_delay: ",
            " -> 1500",
        ],
    );
    let changed = said.split("What the watches say").nth(1).unwrap();
    for path in
        ["/api/airlines/UA", "/api/airports/EWR", "/api/routes/EWR-IAH", "/api/weather/EWR-2013-01-01T10Z"]
    {
        assert_says(changed, &[path]);
    }
}
