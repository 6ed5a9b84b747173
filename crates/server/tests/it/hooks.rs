//! Hooks: what others are told of by HTTP, at least once, in order for each resource, through failures of both sides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::receiver::{Delivery, Receiver, until};
use crate::common::*;
use corollary_store::postgres::testing::Server as Database;

const SCHEMA: &str = "
type Customer in customers { name: str, orders: inverse Order.customer, total := sum(self.orders.amount) }
type Order in orders { customer: link Customer, amount: int default 0 }
";

/// A hook that tries again soon.
fn hook(receiver: &Receiver, path: &str) -> Json {
    json!({ "_id": "h", "path": path, "url": receiver.url(),
        "retry": { "first_seconds": 0.02, "most_seconds": 0.1, "give_up_seconds": 60 } })
}

/// Of each resource the first deliveries are in the order of revisions, and what came twice is the same.
fn check_order(came: &[Delivery]) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for delivery in came.iter().filter(|delivery| (200..300).contains(&delivery.status)) {
        if let Some(body) = known.insert(&delivery.id, &delivery.body) {
            assert_eq!(body, delivery.body, "one id, two bodies");
            continue;
        }
        let before = last.insert(delivery.path(), delivery.revision());
        assert!(before.is_none_or(|before| before < delivery.revision()), "{delivery:?} behind {before:?}");
    }
}

#[test]
fn each_change_is_delivered_signed_and_told_of() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/customers", &json!({"_id": "c", "name": "Ann"})).expect(201);
    let receiver = Receiver::new();
    let mut wanted = hook(&receiver, "customers");
    wanted["headers"] = json!({"authorization": "Bearer x"});
    let made = client.post("/api/_hooks", &wanted);
    assert_eq!(made.header("location"), Some("/api/_hooks/h"));
    let made = made.expect(201);
    let secret = made["secret"].as_str().unwrap();
    let order = client.post("/api/orders", &json!({"customer": "c", "amount": 5}));
    client.patch("/api/customers/c", &json!({"name": "Anna"})).expect(200);
    client.delete("/api/customers/c").expect_status(204);
    let came = receiver.until_taken(3);
    let told: Vec<(&str, &str)> =
        came.iter().map(|delivery| (delivery.event["type"].as_str().unwrap(), delivery.path())).collect();
    assert_eq!(
        told,
        [("modified", "/api/customers/c"), ("modified", "/api/customers/c"), ("removed", "/api/customers/c")]
    );
    assert_eq!(came[0].event["resource"]["total"], json!(5));
    assert_eq!((&came[0].event["changed"], &came[0].event["old"]), (&json!(["total"]), &json!({"total": 0})));
    assert_eq!(came[0].revision(), order.revision());
    assert_eq!(came[1].event["old"], json!({"name": "Ann"}));
    for delivery in &came {
        assert!(delivery.is_signed(secret), "{delivery:?}");
        assert_eq!((delivery.header("corollary-hook"), delivery.header("authorization")), ("h", "Bearer x"));
    }
    let state = until(&mut client, "h", "it has caught up", |state| state["delivered"] == json!(3));
    assert_eq!(
        (&state["status"], &state["failures"], &state["letters"]),
        (&json!("active"), &json!(0), &json!(0))
    );
    let shown = client.read("/api/_hooks/h");
    assert_eq!((&shown["secret"], &shown["headers"]), (&Json::Null, &json!({"authorization": "***"})));
    let deliveries = client.read("/api/_hooks/h/deliveries");
    assert_eq!(deliveries["results"].as_array().unwrap().len(), 3);
    assert_eq!(deliveries["results"][0]["id"], json!(came[2].id));
    assert_eq!(client.read("/api/_hooks")["results"].as_array().unwrap().len(), 1);
    let metrics = client.get("/metrics").text();
    assert!(metrics.contains("corollary_hook_attempts_total{hook=\"h\",outcome=\"taken\"} 3"), "{metrics}");
    assert!(metrics.contains("corollary_hook_letters{hook=\"h\"} 0"), "{metrics}");
    client.delete("/api/_hooks/h").expect_status(204);
    client.get("/api/_hooks/h").problem(404, "not-found");
    client.post("/api/customers", &json!({"_id": "d"})).expect(201);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(receiver.came().len(), 3, "who is gone is told no more");
    server.stop();
}

#[test]
fn a_filter_and_the_kinds_of_events_say_what_is_sent() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    let receiver = Receiver::new();
    let mut wanted = hook(&receiver, "/orders");
    wanted["filter"] = json!("amount > 100");
    wanted["events"] = json!(["added", "left"]);
    client.post("/api/_hooks", &wanted).expect(201);
    client.post("/api/orders", &json!({"_id": "a", "amount": 5})).expect(201);
    client.patch("/api/orders/a", &json!({"amount": 105})).expect(200);
    client.patch("/api/orders/a", &json!({"amount": 106})).expect(200);
    client.patch("/api/orders/a", &json!({"amount": 6})).expect(200);
    client.post("/api/orders", &json!({"_id": "b", "amount": 500})).expect(201);
    client.delete("/api/orders/b").expect_status(204);
    client.post("/api/orders", &json!({"_id": "z", "amount": 101})).expect(201);
    let came = receiver.until_taken(4);
    let mut told: Vec<String> =
        came.iter().map(|it| format!("{} {}", it.event["type"].as_str().unwrap(), it.path())).collect();
    told.sort();
    assert_eq!(
        told,
        ["added /api/orders/a", "added /api/orders/b", "added /api/orders/z", "left /api/orders/a"]
    );
    check_order(&receiver.came());
    server.stop();
}

#[test]
fn one_that_is_refused_holds_up_its_own_resource_only() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    let receiver = Receiver::new();
    let heal: Arc<AtomicBool> = Arc::default();
    let healed = heal.clone();
    receiver.set(move |delivery| {
        match delivery.path() == "/api/orders/bad" && !healed.load(Ordering::Relaxed) {
            true => 500,
            false => 200,
        }
    });
    client.post("/api/_hooks", &hook(&receiver, "/orders")).expect(201);
    for n in 0..30 {
        let id = if n % 3 == 0 { "bad" } else { "good" };
        client.put(&format!("/api/orders/{id}"), &json!({"amount": n}));
        if n == 0 {
            client.post("/api/orders", &json!({"_id": "bad"})).expect(201);
            client.post("/api/orders", &json!({"_id": "good"})).expect(201);
        }
    }
    let taken = receiver.until_taken(21);
    assert!(taken.iter().all(|delivery| delivery.path() == "/api/orders/good"), "{taken:?}");
    let state = until(&mut client, "h", "it fails", |state| state["status"] == json!("failing"));
    assert!(state["lag"].as_u64().unwrap() > 0, "{state}");
    heal.store(true, Ordering::Relaxed);
    receiver.until_taken(21 + 10);
    check_order(&receiver.came());
    until(&mut client, "h", "it has caught up", |state| {
        state["lag"] == json!(0) && state["status"] == json!("active")
    });
    server.stop();
}

#[test]
fn what_is_given_up_is_kept_and_can_be_sent_again() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    let receiver = Receiver::new();
    receiver.set(|delivery| if delivery.path().ends_with('x') { 422 } else { 200 });
    let mut wanted = hook(&receiver, "/orders");
    wanted["retry"]["give_up_seconds"] = json!(0.1);
    client.post("/api/_hooks", &wanted).expect(201);
    for id in ["ax", "b", "cx", "d", "ex"] {
        client.post("/api/orders", &json!({ "_id": id })).expect(201);
    }
    until(&mut client, "h", "three are given up", |state| {
        state["letters"] == json!(3) && state["lag"] == json!(0)
    });
    assert_eq!(receiver.taken().len(), 2);
    let first = client.read("/api/_hooks/h/letters?limit=2");
    let letters = first["results"].as_array().unwrap();
    assert_eq!(
        (&letters[0]["path"], &letters[1]["path"]),
        (&json!("/api/orders/ax"), &json!("/api/orders/cx"))
    );
    assert_eq!(letters[0]["event"]["type"], json!("added"));
    assert!(letters[0]["error"].as_str().unwrap().contains("422"), "{first}");
    let rest = client.read(first["next"].as_str().unwrap());
    assert_eq!((rest["results"].as_array().unwrap().len(), &rest["next"]), (1, &Json::Null));
    let id = rest["results"][0]["_id"].as_str().unwrap().to_owned();
    client.delete(&format!("/api/_hooks/h/letters/{id}")).expect_status(204);
    client.delete(&format!("/api/_hooks/h/letters/{id}")).problem(404, "not-found");
    // Sent again in vain, they are letters again.
    let again = client.post("/api/_hooks/h/replay", &json!({"ids": [letters[0]["_id"]]})).expect(202);
    assert_eq!(again, json!({"letters": 1}));
    let before = receiver.came().len();
    receiver.until("it was tried again", |came| came.len() > before + 1);
    thread::sleep(Duration::from_millis(400));
    assert_eq!(client.read("/api/_hooks/h")["state"]["letters"], json!(2));
    receiver.set(|_| 200);
    client.post("/api/_hooks/h/replay", &json!({"all": true})).expect(202);
    let taken = receiver.until_taken(4);
    assert_eq!((taken[2].path(), taken[3].path()), ("/api/orders/ax", "/api/orders/cx"));
    assert_eq!(json!(taken[2].id), letters[0]["_id"]);
    until(&mut client, "h", "no letter is left", |state| state["letters"] == json!(0));
    assert_eq!(client.read("/api/_hooks/h/letters")["results"], json!([]));
    server.stop();
}

#[test]
fn who_pauses_or_is_gone_misses_nothing() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    let receiver = Receiver::new();
    client.post("/api/_hooks", &hook(&receiver, "/orders")).expect(201);
    client.post("/api/orders", &json!({"_id": "a"})).expect(201);
    receiver.until_taken(1);
    assert_eq!(client.patch("/api/_hooks/h", &json!({"paused": true})).expect(200)["paused"], json!(true));
    until(&mut client, "h", "it pauses", |state| state["status"] == json!("paused"));
    thread::sleep(Duration::from_millis(100));
    client.post("/api/orders", &json!({"_id": "b"})).expect(201);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(receiver.came().len(), 1);
    // The receiver wants no more: then it pauses by itself.
    receiver.set(|_| 410);
    client.patch("/api/_hooks/h", &json!({"paused": false})).expect(200);
    let begun = Instant::now();
    while client.read("/api/_hooks/h")["paused"] != json!(true) {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(10));
    }
    client.post("/api/orders", &json!({"_id": "c"})).expect(201);
    receiver.set(|_| 200);
    let other = Receiver::new();
    client.patch("/api/_hooks/h", &json!({"paused": false, "url": other.url()})).expect(200);
    let taken = other.until_taken(2);
    let mut paths: Vec<&str> = taken.iter().map(Delivery::path).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/api/orders/b", "/api/orders/c"]);
    // From the beginning once more.
    client.patch("/api/_hooks/h", &json!({"since": "0"})).expect(200);
    other.until_taken(5);
    client.patch("/api/_hooks/h", &json!({"since": "1000000"})).problem(422, "invalid");
    server.stop();
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    let receiver = Receiver::new();
    let wrong = json!({"path": "/orders", "url": "mailto:x", "parallel": 1000, "evens": []});
    let refused = client.post("/api/_hooks", &wrong);
    assert_eq!(refused.expect_status(422).errors(), ["type /parallel", "unknown-field /evens", "url /url"]);
    for (path, filter) in [("/nothing", None), ("/orders", Some("amount >")), ("/orders", Some("amuont > 1"))]
    {
        let mut wanted = hook(&receiver, path);
        wanted["filter"] = json!(filter);
        let problem = client.post("/api/_hooks", &wanted).problem(422, "invalid");
        assert_eq!(problem["errors"][0]["path"], json!("/path"), "{problem}");
    }
    client.post("/api/_hooks", &hook(&receiver, "/orders")).expect(201);
    client.post("/api/_hooks", &hook(&receiver, "/orders")).problem(409, "exists");
    let replaced = client.put("/api/_hooks/h", &hook(&receiver, "/customers")).expect(200);
    assert_eq!(replaced["path"], json!("/customers"));
    let mut other = hook(&receiver, "/orders");
    other["_id"] = json!("_x");
    client.post("/api/_hooks", &other).problem(422, "id");
    client.patch("/api/_hooks/h", &json!({"_id": "other"})).problem(422, "immutable");
    client.patch("/api/_hooks/none", &json!({})).problem(404, "not-found");
    client.delete("/api/_hooks").problem(405, "method-not-allowed");
    client.post("/api/_hooks/h/replay", &json!({})).problem(400, "replay");
    client.get("/api/_hooks/h/letters?limit=0").problem(400, "parameter");
    client.get("/api/_hooks/h/other").problem(404, "not-found");
    client.get("/api/_hooks?x=1").problem(400, "parameter");
    server.stop();
}

/// Writes orders one after the other until it is told to stop; how many.
fn write_until(server: &Server, done: Arc<AtomicBool>, next: Arc<AtomicU64>) -> thread::JoinHandle<()> {
    let mut client = server.client();
    thread::spawn(move || {
        while !done.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            // Who is killed in between may have written it or not: it is written again.
            let path = format!("/api/orders/o{}", n % 7);
            let body = json!({ "amount": n }).to_string();
            let kind = ("content-type", "application/json");
            if client.try_request("PUT", &path, &[kind], body.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_server_that_is_killed_and_a_receiver_that_fails_lose_nothing() {
    let place = Place::new(SCHEMA);
    let receiver = Receiver::new();
    let calls = AtomicU64::new(0);
    receiver.set(move |_| match calls.fetch_add(1, Ordering::Relaxed) % 7 {
        2 => 0,
        5 => 503,
        _ => 200,
    });
    let next = Arc::new(AtomicU64::new(1));
    let server = place.serve();
    let mut client = server.client();
    for n in 0..7 {
        client.post("/api/orders", &json!({ "_id": format!("o{n}") })).expect(201);
    }
    client.post("/api/_hooks", &hook(&receiver, "/orders")).expect(201);
    let since = client.get("/api/orders/o0").header("corollary-revision").map(str::to_owned);
    drop((client, since));
    server.kill();
    let mut random = Random::new(seed());
    for _ in 0..6 {
        let server = place.serve();
        let done: Arc<AtomicBool> = Arc::default();
        let writer = write_until(&server, done.clone(), next.clone());
        thread::sleep(Duration::from_millis(100 + random.below(400)));
        server.kill();
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    }
    let server = place.serve();
    let mut client = server.client();
    // What was written, as the log tells it.
    let mut watch = server.watch("/api/orders?watch=true&since=0");
    let mut expected: Vec<(u64, String)> = Vec::new();
    loop {
        let event = watch.next();
        match event.kind() {
            "synced" => break,
            "bookmark" => {}
            _ => expected.push((event.revision(), event.path().to_owned())),
        }
    }
    // The hook began behind the first seven.
    let expected: Vec<_> = expected.split_off(7);
    assert!(expected.len() > 50, "{}", expected.len());
    until(&mut client, "h", "all is delivered", |state| state["lag"] == json!(0));
    let mut taken: Vec<(u64, String)> =
        receiver.taken().iter().map(|delivery| (delivery.revision(), delivery.path().to_owned())).collect();
    taken.sort();
    let all = taken.len();
    taken.dedup();
    println!("{} events, {all} deliveries that were taken, {} attempts", taken.len(), receiver.came().len());
    assert_eq!(taken, expected);
    server.stop();
}

#[test]
fn of_two_servers_one_delivers_and_the_other_takes_over() {
    let database = Database::new();
    let start = |name: &'static str| {
        let place = Place::over(&database, SCHEMA);
        let server = Server::start(&place, &["--node", name]);
        (name, place, server)
    };
    let (a, b) = (start("a"), start("b"));
    let receiver = Receiver::new();
    a.2.client().post("/api/_hooks", &hook(&receiver, "/orders")).expect(201);
    let has = until(&mut b.2.client(), "h", "one of them delivers", |state| state["node"].is_string());
    // Whichever that is.
    let ((first, one, a), (second, _other, b)) = if has["node"] == json!("a") { (a, b) } else { (b, a) };
    let (mut to_a, mut to_b) = (a.client(), b.client());
    for n in 0..10 {
        let to = if n % 2 == 0 { &mut to_a } else { &mut to_b };
        to.post("/api/orders", &json!({ "_id": format!("o{n}") })).expect(201);
    }
    receiver.until_taken(10);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(receiver.came().len(), 10, "each once, as long as nobody dies");
    // One that stops gives it up at once.
    drop(to_a);
    a.stop();
    to_b.post("/api/orders", &json!({ "_id": "p" })).expect(201);
    receiver.until_taken(11);
    // What is not kept yet when it dies is delivered again, which is right, but not what is asked here.
    until(&mut to_b, "h", "the other one delivers", |state| {
        state["node"] == json!(second) && state["delivered"] == json!(11)
    });
    let a = Server::start(&one, &["--node", first]);
    let mut to_a = a.client();
    drop(to_b);
    b.kill();
    to_a.post("/api/orders", &json!({ "_id": "q" })).expect(201);
    // What the other one had delivered and not kept yet may come once more.
    receiver.until("q is taken", |came| came.iter().any(|delivery| delivery.path() == "/api/orders/q"));
    until(&mut to_a, "h", "the first has it again", |state| state["node"] == json!(first));
    check_order(&receiver.came());
    drop(to_a);
    a.stop();
}

#[test]
fn a_change_of_the_schema_goes_on_and_says_what_it_cannot_find() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    let receiver = Receiver::new();
    client.post("/api/_hooks", &hook(&receiver, "/orders")).expect(201);
    client.post("/api/orders", &json!({"_id": "a"})).expect(201);
    receiver.until_taken(1);
    let schema = |text: &str| json!({ "text": text });
    let more = SCHEMA.replace("amount: int default 0", "amount: int default 0, note: str");
    client.put("/api/_schema", &schema(&more)).expect(200);
    client.post("/api/orders", &json!({"_id": "b", "note": "n"})).expect(201);
    assert_eq!(receiver.until_taken(2)[1].event["resource"]["note"], json!("n"));
    let moved = more.replace("in orders", "in purchases");
    client.put("/api/_schema", &schema(&moved)).expect(200);
    client.post("/api/purchases", &json!({"_id": "c"})).expect(201);
    let state = until(&mut client, "h", "it is stuck", |state| state["status"] == json!("stuck"));
    assert!(state["error"].as_str().unwrap().contains("orders"), "{state}");
    client.patch("/api/_hooks/h", &json!({"path": "/purchases"})).expect(200);
    let taken = receiver.until_taken(3);
    assert_eq!(taken[2].path(), "/api/purchases/c");
    server.stop();
}
