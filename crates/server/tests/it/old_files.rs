//! Data that earlier versions have written opens, and says what it said: a folder that was closed, one whose server was
//! killed, and a backup, for each format that there has been. They are in `tests/data`, and are never changed.
//!
//! A new format gets files of its own: `make_files_of_this_format` writes them.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::common::company::COMPANY;
use crate::common::*;

/// The files of a format begin with this.
const FORMATS: [&str; 3] = ["2", "4", "5"];

fn stored(format: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{format}-{name}"))
}

const LISTS: [&str; 5] =
    ["/api/divisions", "/api/employees", "/api/desks", "/api/badges", "/api/divisions/d1/sections"];

/// What the data is known to say.
fn expected(format: &str) -> Json {
    serde_json::from_slice(&fs::read(stored(format, "expected.json")).unwrap()).unwrap()
}

/// All that was said is said still; there may be more to say by now.
#[track_caller]
fn says(found: &Json, expected: &Json, at: &str) {
    match (found, expected) {
        (Json::Object(found), Json::Object(expected)) => {
            expected.iter().for_each(|(name, value)| says(&found[name], value, &format!("{at}.{name}")));
        }
        (Json::Array(found), Json::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{at}");
            found.iter().zip(expected).enumerate().for_each(|(n, (a, b))| says(a, b, &format!("{at}[{n}]")));
        }
        _ => assert_eq!(found, expected, "{at}"),
    }
}

/// A place that has data and no file with a schema.
fn without_schema() -> Place {
    let place = Place::new(COMPANY);
    fs::remove_file(place.schema()).unwrap();
    place
}

fn judge(place: &Place, format: &str) {
    let server = place.serve();
    let mut client = server.client();
    let expected = expected(format);
    for list in LISTS {
        says(&client.read(list), &expected[list], list);
    }
    let before = client.read("/api")["revision"].clone();
    assert_eq!(before, expected["revision"]);
    // It takes writes, and what follows from them follows.
    client.patch("/api/employees/e1", &json!({"age": 60})).expect(200);
    assert_eq!(client.read("/api/divisions/d1")["age_total"], json!(90));
    let past = client.read("/api/employees/e1?at=3");
    assert_eq!(past["age"], json!(40), "the log is there");
    drop(client);
    server.stop();
    place.check();
}

fn unpacked(format: &str, name: &str) -> Place {
    let place = without_schema();
    let archive = File::open(stored(format, name)).unwrap();
    zip::ZipArchive::new(archive).unwrap().extract(place.data()).unwrap();
    place
}

#[test]
fn folders_of_each_format_open_and_say_what_they_said() {
    for format in FORMATS {
        judge(&unpacked(format, "closed.zip"), format);
    }
}

#[test]
fn folders_of_each_format_that_were_not_closed_open_as_well() {
    for format in FORMATS {
        judge(&unpacked(format, "killed.zip"), format);
    }
}

#[test]
fn backups_of_each_format_are_restored() {
    for format in FORMATS {
        let place = without_schema();
        let file = stored(format, "all.backup");
        let [_, _, option, data] = place.args();
        let output = corollary(&["restore", file.to_str().unwrap(), &option, &data]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        judge(&place, format);
    }
}

/// Packs a folder.
fn pack(folder: &Path, into: &Path) {
    let mut archive = zip::ZipWriter::new(File::create(into).unwrap());
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&fs::read(entry.path()).unwrap()).unwrap();
    }
    archive.finish().unwrap();
}

/// `COROLLARY_FORMAT=3 cargo nextest run -p corollary-server --run-ignored only make_files_of_this_format`
#[test]
#[ignore = "writes the files of a new format"]
fn make_files_of_this_format() {
    let format = std::env::var("COROLLARY_FORMAT").expect("the name of the format");
    assert!(!stored(&format, "expected.json").exists(), "files of a format are never changed");
    let place = Place::new(COMPANY);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/divisions", &json!({"_id": "d1", "name": "sales", "code": "S"})).expect(201);
    client.post("/api/desks", &json!({"_id": "k1", "place": "left"})).expect(201);
    let employee = json!({
        "_id": "e1", "name": "Ann", "email": "ann@example.org", "age": 40, "level": "upper", "plate": "B-7",
        "nick": null, "born": "1980-02-29", "token": "t", "hired": "2020-01-31T10:00:00.123456789Z",
        "shift": "PT8H30M", "price": "12.50", "score": 0.1, "photo": "AAEC/w==", "any": {"a": [1, 2.5, null, "ü"]},
        "extra": {"x": 1, "y": -2}, "tags": ["b", "a"], "notes": ["one", "two"],
        "address": {"street": "Main", "city": "Rome"}, "division": "d1", "desk": "k1",
    });
    client.post("/api/employees", &employee).expect(201);
    client
        .post(
            "/api/employees",
            &json!({"_id": "e2", "name": "Bob", "age": 30, "division": "d1", "boss": "e1"}),
        )
        .expect(201);
    client.post("/api/employees", &json!({"_id": "gone", "name": "Eve"})).expect(201);
    client.delete("/api/employees/gone").expect(204);
    client.post("/api/divisions/d1/sections", &json!({"_id": "s1", "name": "north", "total": 7})).expect(201);
    client.post("/api/badges", &json!({"_id": "b1", "owner": "e2", "room": "R 1"})).expect(201);
    client.patch("/api/divisions/d1", &json!({"managers": ["e1", "e2"], "sales": 5})).expect(200);
    let mut said = json!({"revision": client.read("/api")["revision"]});
    for list in LISTS {
        said[list] = client.read(list);
    }
    let file = stored(&format, "all.backup");
    let [url, file] = [server.url(), file.to_str().unwrap().to_owned()];
    assert!(run(&["backup", &file, "--server", &url]).status.success());
    drop(client);
    server.kill();
    pack(&place.data(), &stored(&format, "killed.zip"));
    place.serve().stop();
    pack(&place.data(), &stored(&format, "closed.zip"));
    fs::write(stored(&format, "expected.json"), format!("{said:#}\n")).unwrap();
}
