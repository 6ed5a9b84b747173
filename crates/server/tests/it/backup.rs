//! Backups: made while others write, restored into another kind of store, refused where they are not whole.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::*;
use corollary_engine::keys;
use corollary_store::postgres::testing::Server as Database;
use corollary_store::{Batch, Store};

const SHOP: &str = r#"
type Customer in customers {
  name:   str required unique
  orders: inverse Order.customer
  total   := sum(self.orders.amount)
}

type Order in orders {
  amount:   int required
  note:     str
  customer: link Customer on delete cascade
}
"#;

const WRITERS: usize = 3;

fn folder() -> Place {
    Place::new(SHOP)
}

/// A new database of a server, which lives as long as that.
fn database(of: &Arc<Database>, name: &str) -> Place {
    let mut place = Place::new(SHOP);
    place.store = Some(of.database(name));
    place
}

/// The arguments that say where the data is.
fn data(place: &Place) -> [String; 2] {
    let [_, _, option, of] = place.args();
    [option, of]
}

#[track_caller]
fn done(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
    stdout(output)
}

fn restore(file: &str, place: &Place) -> std::process::Output {
    corollary(&["restore", file]).args(data(place)).output().unwrap()
}

/// A write that was acknowledged: its revision, the id of an order, the amount that it has since; none where it is deleted.
type Acknowledged = (u64, String, Option<i64>);

/// Writes orders, changes and deletes them until it is told to stop.
fn write(address: &str, writer: usize, stop: &AtomicBool) -> Vec<Acknowledged> {
    let (mut client, mut random, mut told) = (Client::new(address), Random::new(writer as u64), Vec::new());
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let id = format!("w{writer}-{}", random.below(40));
        let path = format!("/api/orders/{id}");
        let reply = if random.below(5) == 0 {
            client.delete(&path)
        } else {
            n += 1;
            client.put(&path, &json!({"amount": n, "customer": "ann", "note": "n".repeat(300)}))
        };
        match reply.status {
            200 => told.push((reply.revision(), id, Some(n))),
            204 => told.push((reply.revision(), id, None)),
            404 => {
                // It has to be created then.
                let body = json!({"_id": id, "amount": n, "customer": "ann"});
                let created = client.post("/api/orders", &body);
                created.expect(201);
                told.push((created.revision(), id, Some(n)));
            }
            _ => panic!("{}", reply.text()),
        }
    }
    told
}

/// Backups of a server that others write to are what was acknowledged up to their revisions, also in another kind of store.
fn backups_while_writers_write(of: &Place, into: &dyn Fn() -> Place) {
    let server = of.serve();
    server.client().post("/api/customers", &json!({"_id": "ann", "name": "Ann"})).expect(201);
    let stop = AtomicBool::new(false);
    let files: Vec<String> =
        (0..3).map(|n| of.path(&format!("{n}.backup")).to_str().unwrap().to_owned()).collect();
    let mut told: Vec<Acknowledged> = std::thread::scope(|scope| {
        let (address, stop) = (&server.address, &stop);
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(address, writer, stop))).collect();
        for file in &files {
            std::thread::sleep(Duration::from_millis(300));
            done(&corollary(&["backup", file, "--server", &server.url()]).output().unwrap());
        }
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    server.stop();
    told.sort_unstable();
    let mut revisions = Vec::new();
    for file in &files {
        let verified = done(&corollary(&["backup", "verify", file]).output().unwrap());
        let place = into();
        let restored = done(&restore(file, &place));
        let shown = restored.strip_prefix("restored revision ").expect("the revision is told");
        let revision: u64 = shown.split(' ').next().unwrap().parse().unwrap();
        assert!(verified.contains(&format!("is whole: revision {revision} of ")), "{verified}");
        place.check();
        let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
        for (_, id, amount) in told.iter().take_while(|(at, ..)| *at <= revision) {
            match amount {
                Some(amount) => expected.insert(id, *amount),
                None => expected.remove(id.as_str()),
            };
        }
        let server = place.serve();
        let mut client = server.client();
        let listed = client.list("/api/orders?limit=1000");
        let found: BTreeMap<&str, i64> = listed
            .iter()
            .map(|order| (order["_id"].as_str().unwrap(), order["amount"].as_i64().unwrap()))
            .collect();
        assert_eq!(found, expected, "at revision {revision}");
        let ann = client.read("/api/customers/ann");
        assert_eq!(ann["total"], json!(expected.values().sum::<i64>()));
        // It goes on from there.
        let next = client.post("/api/orders", &json!({"_id": "next", "amount": 1, "customer": "ann"}));
        next.expect(201);
        assert_eq!(next.revision(), revision + 1);
        revisions.push(revision);
        drop(client);
        server.stop();
        place.check();
    }
    assert!(revisions.is_sorted_by(|one, next| one < next), "{revisions:?}");
    assert!(told.last().unwrap().0 > revisions[2], "writes went on behind the last backup");
}

#[test]
fn a_backup_of_a_folder_is_restored_into_a_database() {
    let (of, number) = (Database::new(), Cell::new(0));
    backups_while_writers_write(&folder(), &|| {
        number.set(number.get() + 1);
        database(&of, &format!("d{}", number.get()))
    });
}

#[test]
fn a_backup_of_a_server_in_memory_is_restored_into_a_folder() {
    let mut place = folder();
    place.store = Some("memory".into());
    backups_while_writers_write(&place, &folder);
}

#[test]
fn a_backup_of_a_database_is_restored_into_a_folder() {
    let of = Database::new();
    let origin = database(&of, "origin");
    backups_while_writers_write(&origin, &folder);
    // And from there into a database again: nothing is left of the servers that shared the first one.
    let (first, second) = (folder(), database(&of, "second"));
    let [file, again] = ["a.backup", "b.backup"].map(|name| first.path(name).to_str().unwrap().to_owned());
    done(&corollary(&["backup", &file]).args(data(&origin)).output().unwrap());
    done(&restore(&file, &first));
    let server = first.serve();
    server.client().post("/api/orders", &json!({"_id": "more", "amount": 5, "customer": "ann"})).expect(201);
    server.stop();
    done(&corollary(&["backup", &again]).args(data(&first)).output().unwrap());
    done(&restore(&again, &second));
    let server = second.serve();
    assert_eq!(server.client().read("/api/orders/more")["amount"], json!(5));
    server.stop();
    second.check();
}

/// A folder with some thousand orders, and a backup of it.
fn backed_up() -> (Place, String) {
    let place = folder();
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/customers", &json!({"_id": "ann", "name": "Ann"})).expect(201);
    for part in 0..5 {
        let order = |n: i64| json!({"_id": format!("o{part}-{n}"), "amount": n, "customer": "ann"});
        client.post("/api/orders", &(0..2_000).map(order).collect()).expect(201);
    }
    drop(client);
    server.stop();
    let file = place.path("all.backup").to_str().unwrap().to_owned();
    let told = done(&corollary(&["backup", &file]).args(data(&place)).output().unwrap());
    assert!(told.contains("revision 6 of 10001 resources"), "{told}");
    assert!(!fs::exists(format!("{file}.part")).unwrap());
    (place, file)
}

#[track_caller]
fn refused(output: &std::process::Output, why: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", stdout(output));
    assert!(stderr(output).contains(why), "{}", stderr(output));
}

#[test]
fn what_must_not_be_is_refused_and_nothing_is_changed() {
    let (place, file) = backed_up();
    let again = corollary(&["backup", &file]).args(data(&place)).output().unwrap();
    refused(&again, "exists already, and is left as it is");
    refused(
        &restore(&file, &place),
        "has data already: the store is not empty: there is something in `meta`",
    );
    place.check();
    let empty = folder();
    let nothing = corollary(&["backup", "x.backup"]).current_dir(empty.path("")).args(data(&empty)).output();
    refused(&nothing.unwrap(), "there is no data in");
    assert!(!empty.path("x.backup").exists() && !empty.path("x.backup.part").exists());

    let bytes = fs::read(&file).unwrap();
    let cut = place.write("cut.backup", &bytes[..bytes.len() - 1]);
    refused(&restore(&cut, &empty), "before its end mark: it was cut or never finished");
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 4;
    let changed = place.write("changed.backup", &changed);
    refused(&restore(&changed, &empty), "it is damaged at byte");
    refused(&corollary(&["backup", "verify", &changed]).output().unwrap(), "it is damaged at byte");
    let foreign = place.schema().to_str().unwrap().to_owned();
    refused(&restore(&foreign, &empty), "it is no backup of Corollary");
    refused(&restore("absent.backup", &empty), "absent.backup cannot be read");
    assert!(!empty.data().exists(), "nothing was created");

    let running = place.serve();
    let in_use = corollary(&["backup", "x.backup"]).current_dir(empty.path("")).args(data(&place)).output();
    refused(&in_use.unwrap(), "`--server URL` takes a backup of a server that runs");
    drop(running);
}

#[test]
fn a_restore_that_was_killed_is_seen_and_done_anew() {
    let (_origin, file) = backed_up();
    let mut random = Random::new(seed());
    let (mut unfinished, begun) = (0, Instant::now());
    for round in 0..6 {
        let place = folder();
        for _ in 0..4 {
            let mut child = corollary(&["restore", &file]).args(data(&place)).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(random.below(120)));
            child.kill().unwrap();
            child.wait().unwrap();
            match Server::try_start(&place, &[]) {
                Err(said) => {
                    unfinished += 1;
                    assert!(said.contains("has a restore that was not finished"), "{said}");
                    let check = place.run(&["check"]);
                    refused(&check, "has a restore that was not finished");
                }
                // Nothing was written yet, or all.
                Ok(server) => {
                    let found = server.client().read("/api/orders?count=true&limit=1")["count"].clone();
                    assert!(found == json!(10_000) || found == json!(0), "{found}");
                    server.stop();
                    break;
                }
            }
        }
        println!("round {round}: {unfinished} unfinished restores after {:?}", begun.elapsed());
    }
    // In any case there is one.
    let place = folder();
    {
        let store = crate::common::embedded(&place.data()).unwrap();
        let mut batch = Batch::new();
        batch.put(keys::META, keys::RESTORING, "some other");
        batch.put(keys::DOC, "half", "of it");
        store.commit(&batch).unwrap();
    }
    let said = Server::try_start(&place, &[]).err().expect("it is refused");
    assert!(said.contains("has a restore that was not finished; run `corollary restore` again"), "{said}");
    done(&restore(&file, &place));
    place.check();
    let server = place.serve();
    assert_eq!(server.client().read("/api/customers/ann")["total"], json!(5 * 1_999 * 1_000));
}

#[test]
fn a_server_sends_its_backup_as_it_makes_it() {
    let (place, file) = backed_up();
    let server = place.serve();
    let mut client = server.client();
    let features = client.read("/api/_features");
    assert!(features["features"].as_array().unwrap().contains(&json!("backup")), "{features}");
    let reply = client.request("GET", "/api/_backup", &[("accept-encoding", "gzip")], b"");
    assert_eq!((reply.status, reply.header("corollary-revision")), (200, Some("6")));
    assert_eq!(reply.header("content-encoding"), None, "it is compressed as it is");
    assert_eq!(reply.header("content-disposition"), Some("attachment; filename=\"corollary-6.backup\""));
    let kept = corollary_store::backup::verify(&*fs::read(&file).unwrap()).unwrap();
    let sent = corollary_store::backup::verify(&*reply.body).unwrap();
    assert_eq!(sent.keyspaces, kept.keyspaces);
    client.post("/api/_backup", &json!({})).problem(405, "method-not-allowed");
    // Who asks and takes nothing holds a place, and gives it back when it goes. What is sent is more than is on the way.
    let mut random = Random::new(7);
    for n in 0..5 {
        let note: String = (0..5 << 20).map(|_| char::from(b'!' + random.below(90) as u8)).collect();
        let order = json!({"_id": format!("large{n}"), "amount": 0, "customer": "ann", "note": note});
        client.post("/api/orders", &order).expect(201);
    }
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let mut connection = Client::connect(&server.address).unwrap();
            client::send(connection.get_mut(), "GET", "/api/_backup", &[], b"").unwrap();
            assert_eq!(client::read_head(&mut connection).unwrap().status, 200);
            connection
        })
        .collect();
    client.get("/api/_backup").problem(503, "busy");
    drop(waiting);
    let begun = Instant::now();
    while client.get("/api/_backup").status != 200 {
        assert!(begun.elapsed() < PATIENCE);
    }
    let other = Server::try_start(&folder(), &[]).unwrap();
    let nothing = place.path("n.backup");
    let nothing = nothing.to_str().unwrap();
    done(&corollary(&["backup", nothing, "--server", &other.url()]).output().unwrap());
    let unreachable = corollary(&["backup", "u.backup", "--server", "http://127.0.0.1:1"])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    refused(&unreachable, "http://127.0.0.1:1 does not answer");
    assert!(!place.path("u.backup.part").exists());
}
