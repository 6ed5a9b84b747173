//! Import and export: every kind of file, what is said of bad rows, and that nothing is lost on the way.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::shop::{SHOP, assert_says, failed, shop, succeeded};
use crate::common::*;
use flate2::Compression;
use flate2::write::GzEncoder;

#[test]
fn rows_are_imported_from_every_kind_of_file() {
    let place = shop();
    let csv = "_id,customer,amount\nX1,C1,7\nX2,C2,8\n";
    let gz = |text: &str| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let zip = |entries: &[(&str, &str)]| {
        let mut packed = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, text) in entries {
            packed.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            packed.write_all(text.as_bytes()).unwrap();
        }
        packed.finish().unwrap().into_inner()
    };
    let id = |at: &str| csv.replace('X', at);
    let line = |at: &str| {
        format!(
            "{{\"_id\":\"{at}1\",\"customer\":{{\"_id\":\"C1\"}},\"amount\":1}}\n\n{{\"_id\":\"{at}2\",\"customer\":\"C1\",\"amount\":2}}"
        )
    };
    let files = [
        place.write("a.csv", id("A").replace('\n', "\r\n")),
        place.write("b.csv.gz", gz(&id("B"))),
        place.write("c.zip", zip(&[("README.txt", "x"), ("folder/c.csv", &id("C"))])),
        place.write("d.ndjson", line("D")),
        place.write("e.jsonl.gz", gz(&line("E"))),
        place.write("f.ndjson.zip", zip(&[("f.ndjson", &line("F"))])),
        place.write("g.csv", format!("\u{feff}{}", id("G"))),
        place.write("h.CSV", id("H")),
    ];
    for file in &files {
        let said = succeeded(&place.run(&["import", "Order", file]));
        assert!(
            said.starts_with("imported 2 Order in ") && said.ends_with(" 0 rejected\n"),
            "{file}: {said}"
        );
    }
    let listed = succeeded(&place.run(&["export", "Order"]));
    assert_eq!(listed.lines().count(), 3 + 2 * files.len());
    place.check();

    let wrong = [
        (place.write("none.txt", csv), "neither .csv nor .ndjson"),
        (place.write("two.zip", zip(&[("a.csv", csv), ("b.csv", csv)])), "holds 2 files of rows"),
        (place.write("broken.zip", "PK"), "no zip archive"),
        (place.write("broken.csv.gz", "this is no gzip at all"), "gzip"),
        (place.write("cut.csv.gz", &gz(csv)[..30]), "cannot be read"),
        (place.path("missing.csv").to_str().unwrap().to_string(), "cannot be opened"),
        (place.write("column.csv", "_id,custmer,amount\n"), "did you mean `customer`?"),
        (
            place.write("derived.csv", "_id,customer,amount,net\n"),
            "column `net`: it follows from other fields",
        ),
        (place.write("twice.csv", "customer,amount,amount\nC1,1,2\n"), "column `amount` is there twice"),
    ];
    for (file, part) in &wrong {
        assert_says(&failed(&place.run(&["import", "Order", file]), 1), &[part]);
    }
    assert_says(
        &failed(&place.run(&["import", "Ordr", &files[0]]), 2),
        &["no type Ordr; did you mean Order?"],
    );
    assert_eq!(succeeded(&place.run(&["export", "Order"])), listed, "nothing of that was taken in");
}

#[test]
fn bad_rows_are_told_by_line_and_the_good_ones_are_in() {
    let place = shop();
    let rows = "_id,customer,amount,price\n\
        N1,C1,1,\n\
        N2,C1,x,\n\
        N3,C9,3,\n\
        N4,\"C1\",4,\"1\n2\"\n\
        O1,C1,5,\n\
        N6,,6,\n\
        N7,C1,0,\n\
        a b,C1,8,\n\
        N9,C1,9\n\
        \n\
        N10,C1,10,2.5\n\
        N1,C1,11,\n";
    let file = place.write("rows.csv", rows);
    let output = place.run(&["import", "Order", &file]);
    let said = failed(&output, 1);
    assert!(stdout(&output).starts_with("imported 2 Order in "), "{}", stdout(&output));
    let line = |number: u64| {
        let start = format!("line {number}: ");
        said.lines()
            .find(|line| line.starts_with(&start))
            .unwrap_or_else(|| panic!("no line {number}: {said}"))
    };
    for (number, part) in [
        (3, "`amount`"),
        (4, "C9, which is not there"),
        (5, "`price`"),
        (7, "Order O1 is there already"),
        (8, "`customer` is required"),
        (9, "at least 1"),
        (10, "`_id`"),
        (11, "3 cells, where the first row has 4"),
        (14, "Order N1 is there already"),
    ] {
        assert_says(line(number), &[part]);
    }
    assert_says(&said, &["9 rows were rejected"]);
    let file = place.write("rows.ndjson", "{\"_id\":\"M1\",\"customer\":\"C1\",\"amount\":1}\nnull\n{\"customer\":\n{\"customer\":\"C1\",\"amunt\":1}\n{\"customer\":\"C1\",\"amount\":\"1\"}\n");
    let said = failed(&place.run(&["import", "Order", &file]), 1);
    assert_says(
        &said,
        &[
            "line 2: not a JSON object",
            "line 3: no JSON",
            "line 4: ",
            "did you mean `amount`?",
            "line 5: `amount` is a whole number",
        ],
    );
    let exported = succeeded(&place.run(&["export", "Order"]));
    let ids: Vec<&str> = exported.lines().map(|line| line.split('"').nth(3).unwrap()).collect();
    assert_eq!(ids, ["M1", "N1", "N10", "O1", "O2", "O3"]);
    place.check();
}

/// A row of an owned type that named no parent was taken in: a resource in no collection, with the path `/api/_/ID`.
#[test]
fn what_is_owned_is_not_imported_without_its_parent() {
    let place = shop();
    let csv = place.write("lines.csv", "_id,text,parent_order_lines\nL2,two,O1\nL3,three,\nL4,four,O9\n");
    let said = failed(&place.run(&["import", "Line", &csv]), 1);
    assert_says(
        &said,
        &[
            "line 3: Line L3 is owned, and needs a parent: `parent_order_lines`",
            "line 4: ",
            "O9, which is not there",
        ],
    );
    let ndjson = place.write("more.ndjson", "{\"_id\":\"L5\",\"text\":\"five\"}\n");
    assert_says(&failed(&place.run(&["import", "Line", &ndjson]), 1), &["line 1: Line L5 is owned"]);
    let server = place.serve();
    let mut client = server.client();
    assert_eq!(client.ids("/api/orders/O1/lines"), ["L1", "L2"]);
    assert_eq!(client.read("/api/orders/O1")["items"], 2);
    server.stop();
    place.check();
}

/// Rows whose ids are taken were found one at a time, and each time all others were tried again: 6,000 rows a second time
/// took a minute.
#[test]
fn a_file_is_refused_a_second_time_as_fast_as_it_was_taken_the_first() {
    let place = shop();
    let mut rows = String::from("_id,name\n");
    for at in 0..6_000 {
        rows.push_str(&format!("R{at},x\n"));
    }
    let file = place.write("many.csv", &rows);
    succeeded(&place.run(&["import", "Customer", &file]));
    let begun = Instant::now();
    let output = place.run(&["import", "Customer", &file]);
    assert_says(&failed(&output, 1), &["line 2: Customer R0 is there already", "6000 rows were rejected"]);
    assert!(stdout(&output).starts_with("imported 0 "), "{}", stdout(&output));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let server = place.serve();
    let begun = Instant::now();
    let said = failed(&run(&["import", "Customer", &file, "--url", &server.url()]), 1);
    assert_says(&said, &["line 2: Customer R0 is there already", "6000 rows were rejected"]);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_running_server_takes_imports() {
    let place = shop();
    let server = place.serve();
    let url = server.url();
    let file =
        place.write("more.csv", "_id,customer,amount,price\nU1,C2,1,10.25\nU2,C9,1,\nO1,C1,1,\nU3,C2,2,\n");
    let said = failed(&place.run(&["import", "Order", &file]), 1);
    assert_says(&said, &["in use by another process"]);
    let output = run(&["import", "Order", &file, "--url", &format!("{url}/")]);
    let said = failed(&output, 1);
    assert_says(&said, &["line 3: ", "C9", "line 4: Order O1 is there already", "2 rows were rejected"]);
    assert!(stdout(&output).starts_with("imported 2 Order in "));
    let mut client = server.client();
    assert_eq!(client.read("/api/orders/U1")["price"], "10.25");
    assert_eq!(client.read("/api/customers/C2")["total"], 16);
    failed(&run(&["import", "Ordr", &file, "--url", &url]), 2);
    let lines = place.write("lines.csv", "text\nx\n");
    assert_says(
        &failed(&run(&["import", "Line", &lines, "--url", &url]), 1),
        &["Line has no root collection"],
    );
    assert_says(
        &failed(&run(&["import", "Order", &file, "--url", "http://127.0.0.1:1"]), 1),
        &["does not answer"],
    );
    server.stop();
    place.check();
}

/// A batch of rows that was more than a server takes in one body ended the import.
#[test]
fn wide_rows_are_sent_to_a_server_in_parts() {
    let place = shop();
    let server = place.serve();
    let mut rows = String::from("_id,name\n");
    for at in 0..12 {
        rows.push_str(&format!("W{at},{}\n", "x".repeat(1 << 20)));
    }
    rows.push_str(&format!("huge,{}\nlast,x\n", "x".repeat(9 << 20)));
    let file = place.write("wide.csv", &rows);
    let output = run(&["import", "Customer", &file, "--url", &server.url()]);
    assert_says(&failed(&output, 1), &["line 14: more than 8388608 bytes", "1 rows were rejected"]);
    assert!(stdout(&output).starts_with("imported 13 Customer in "), "{}", stdout(&output));
    assert_eq!(server.client().read("/api/customers?count=true&limit=1")["count"], 15);
}

#[test]
fn an_export_imported_is_the_same_again() {
    let place = shop();
    let other = Place::new(SHOP);
    for ty in ["Customer", "Order", "Line"] {
        let file = place.path(&format!("{ty}.ndjson"));
        let path = file.to_str().unwrap();
        let to_file = succeeded(&place.run(&["export", ty, "--out", path]));
        assert_eq!(to_file, "");
        let exported = fs::read_to_string(&file).unwrap();
        assert_eq!(exported, succeeded(&place.run(&["export", ty])));
        succeeded(&other.run(&["import", ty, path]));
        assert_eq!(exported, succeeded(&other.run(&["export", ty])));
    }
    assert_eq!(
        succeeded(&place.run(&["export", "Order", "--derived"])),
        succeeded(&other.run(&["export", "Order", "--derived"]))
    );
    let order = succeeded(&other.run(&["export", "Order", "--derived"]));
    let first: Json = serde_json::from_str(order.lines().next().unwrap()).unwrap();
    let expected = json!({"_id": "O1", "customer": "C1", "amount": 3, "price": "1.50", "at": "2024-01-02T03:04:05Z", "net": 6, "items": 1});
    assert_eq!(first, expected);
    other.check();
    assert_says(&failed(&place.run(&["export", "Ordr"]), 2), &["did you mean Order?"]);
    assert_says(
        &failed(&place.run(&["export", "Order", "--out", "/nowhere/x"]), 1),
        &["/nowhere/x cannot be written"],
    );
    // Whoever reads may have had enough.
    let mut child = corollary(&["export", "Order"])
        .args(place.args())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// Two programs that know nothing of each other compute the same from the same files.
#[test]
fn the_flights_are_what_another_program_makes_of_them() {
    let flights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights");
    let Ok(expected) = Command::new("python3").arg(flights.join("expected.py")).output() else {
        println!("skipped: there is no python3");
        return;
    };
    let expected = succeeded(&expected);
    let place = Place::new(&fs::read_to_string(flights.join("flights.cor")).unwrap());
    for (ty, name) in [
        ("Airline", "airlines"),
        ("Airport", "airports"),
        ("Plane", "planes"),
        ("Route", "routes"),
        ("Weather", "weather"),
        ("Flight", "flights"),
    ] {
        let file = flights.join(format!("sample/{name}.csv.gz"));
        succeeded(&place.run(&["import", ty, file.to_str().unwrap()]));
    }
    let mut resources = std::collections::HashMap::new();
    for ty in ["Airline", "Airport", "Plane"] {
        for line in succeeded(&place.run(&["export", ty, "--derived"])).lines() {
            let resource: Json = serde_json::from_str(line).unwrap();
            resources.insert((ty.to_string(), resource["_id"].as_str().unwrap().to_string()), resource);
        }
    }
    let mut compared = 0;
    for line in expected.lines() {
        let it: Json = serde_json::from_str(line).unwrap();
        let text = |name: &str| it[name].as_str().unwrap().to_string();
        let found = &resources[&(text("type"), text("id"))][text("field")];
        let same = match (it["value"].as_f64(), found.as_f64()) {
            (Some(expected), Some(found)) => (expected - found).abs() <= 1e-9 * expected.abs(),
            _ => it["value"] == *found,
        };
        assert!(same, "{it}, and found {found}");
        compared += 1;
    }
    assert!(compared > 10_000, "only {compared} values");
    place.check();
}

#[test]
fn rows_of_later_batches_meet_those_of_batches_before_them() {
    let place = shop();
    let mut rows = String::from("_id,customer,amount\n");
    for at in 0..9_000 {
        rows.push_str(&format!("N{at},C1,1\n"));
    }
    // Of a batch that may not be durable yet, of one long before, and in the batch itself; and one that leads nowhere.
    rows.push_str("N8999,C1,1\nN0,C1,1\nM1,C1,1\nM1,C1,1\nM2,C99,1\nM3,C1,1\n");
    let file = place.write("many.csv", &rows);
    let said = succeeded(&place.run(&["export", "Order"])).lines().count();
    let run = place.run(&["import", "Order", &file]);
    let told = String::from_utf8(run.stdout).unwrap() + &String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{told}");
    assert_says(
        &told,
        &["imported 9002 Order in ", " 4 rejected", "line 9002", "line 9003", "line 9005", "line 9006"],
    );
    assert_eq!(succeeded(&place.run(&["export", "Order"])).lines().count(), said + 9_002);
    place.check();
}
