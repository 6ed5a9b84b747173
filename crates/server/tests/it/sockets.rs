//! Many watches over one WebSocket.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tungstenite::{Message, WebSocket, client};

use crate::common::*;

const SHOP: &str = r#"
type Customer in customers {
  name:   str required
  orders: inverse Order.customer
  total := sum(self.orders.amount)
}

type Order in orders {
  amount:   int default 0
  note:     str
  customer: link Customer
}

mount big of Order {
  where amount > 100
}
mount there proxy "http://127.0.0.1:9/api"
"#;

fn shop() -> (Place, Server) {
    let place = Place::new(SHOP);
    let server = place.serve();
    let mut client = server.client();
    let customers = json!([{"_id": "ann", "name": "Ann"}, {"_id": "bob", "name": "Bob"}]);
    client.post("/api/customers", &customers).expect(201);
    let orders: Vec<Json> =
        (0..6).map(|at| json!({"_id": format!("o{at}"), "amount": at * 10, "customer": "ann"})).collect();
    client.post("/api/orders", &orders.into()).expect(201);
    (place, server)
}

/// An open connection.
struct Socket(WebSocket<TcpStream>);

impl Socket {
    fn open(address: &str) -> Socket {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, reply) = client(format!("ws://{address}/api/_watch"), stream).unwrap();
        assert_eq!(reply.status(), 101);
        Socket(socket)
    }

    fn say(&mut self, message: &Json) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    fn subscribe(&mut self, id: &str, path: &str, more: Json) {
        let mut asked = json!({"id": id, "path": path});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.say(&json!({"subscribe": asked}));
    }

    /// The next event; none when the connection was closed, with its code.
    fn try_next(&mut self) -> Result<Json, Option<u16>> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(frame)) => return Err(frame.map(|frame| frame.code.into())),
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => return Err(None),
                Err(error) => panic!("no event: {error}"),
            }
        }
    }

    #[track_caller]
    fn next(&mut self) -> Json {
        self.try_next().unwrap_or_else(|code| panic!("closed: {code:?}"))
    }

    /// The type of the next event, of which subscription, and of what.
    #[track_caller]
    fn told(&mut self) -> String {
        let event = self.next();
        let text = |name: &str| event[name].as_str().unwrap_or("-").to_string();
        let of = event["path"].as_str().map_or(String::new(), |path| format!(" {path}"));
        format!("{} {}{of}", text("id"), text("type"))
    }

    /// All up to `synced`.
    #[track_caller]
    fn synced(&mut self, id: &str) -> Vec<Json> {
        let mut events = Vec::new();
        loop {
            let event = self.next();
            assert_eq!(event["id"], id, "{event}");
            if event["type"] == "synced" {
                return events;
            }
            events.push(event);
        }
    }

    /// The code of the problem that is told next.
    #[track_caller]
    fn problem(&mut self, id: Option<&str>) -> String {
        let event = self.next();
        assert_eq!((event["type"].as_str(), event["id"].as_str()), (Some("error"), id), "{event}");
        assert!(event["problem"]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{event}");
        event["problem"]["code"].as_str().unwrap().to_string()
    }
}

#[test]
fn subscriptions_of_one_connection_are_told_each_by_its_name_and_in_the_order_of_commits() {
    let (_place, server) = shop();
    let (mut client, mut socket) = (server.client(), Socket::open(&server.address));
    socket.subscribe("all", "/api/orders", json!({}));
    assert_eq!(socket.synced("all").len(), 6);
    socket.subscribe(
        "of ann",
        "/api/orders",
        json!({"filter": "customer.name = 'Ann'", "fields": ["amount"]}),
    );
    let there = socket.synced("of ann");
    assert_eq!((there.len(), &there[0]["resource"]["amount"]), (6, &json!(0)));
    assert_eq!(there[0]["resource"].get("customer"), None);
    socket.subscribe("top", "/api/orders", json!({"order": "-amount", "limit": 2}));
    let top = socket.synced("top");
    let places: Vec<(&Json, &Json)> = top.iter().map(|it| (&it["resource"]["_id"], &it["after"])).collect();
    assert_eq!(places, [(&json!("o5"), &Json::Null), (&json!("o4"), &json!("o5"))]);
    socket.subscribe("total", "/api/customers/ann.total", json!({}));
    assert_eq!(socket.synced("total")[0]["value"], 150);

    // One commit, told to all whom it concerns before the next one is told to anybody.
    for amount in [70, 71] {
        let revision = client.patch("/api/orders/o1", &json!({"amount": amount})).revision().to_string();
        let mut told: Vec<String> = Vec::new();
        for _ in 0..(if amount == 70 { 9 } else { 8 }) {
            let event = socket.next();
            assert_eq!(event["revision"], revision, "{event}");
            told.push(format!("{} {}", event["id"].as_str().unwrap(), event["type"].as_str().unwrap()));
        }
        told.sort();
        let mut expected = vec![
            "all bookmark",
            "all modified",
            "of ann bookmark",
            "of ann modified",
            "top bookmark",
            "total bookmark",
            "total changed",
        ];
        expected.extend(if amount == 70 { vec!["top added", "top left"] } else { vec!["top modified"] });
        expected.sort();
        assert_eq!(told, expected);
    }
    // A change of another resource takes all of them out of one, and leaves the others alone.
    client.patch("/api/customers/ann", &json!({"name": "Anna"})).expect(200);
    let mut left: Vec<String> = (0..7).map(|_| socket.told()).collect();
    left.sort();
    let expected: Vec<String> = (0..6).map(|at| format!("of ann left /api/orders/o{at}")).collect();
    assert_eq!(left, [vec!["of ann bookmark".to_string()], expected].concat());
    // What is not among the fields is not told.
    client.patch("/api/customers/ann", &json!({"name": "Ann"})).expect(200);
    (0..7).for_each(|_| drop(socket.next()));
    client.patch("/api/orders/o1", &json!({"note": "x"})).expect(200);
    let mut told: Vec<String> = (0..4).map(|_| socket.told()).collect();
    told.sort();
    assert_eq!(
        told,
        ["all bookmark", "all modified /api/orders/o1", "top bookmark", "top modified /api/orders/o1"]
    );
    // Who has left hears nothing more, and its name is free.
    for id in ["all", "of ann", "top"] {
        socket.say(&json!({"unsubscribe": id}));
        assert_eq!(socket.told(), format!("{id} unsubscribed"));
    }
    client.patch("/api/orders/o1", &json!({"amount": 1})).expect(200);
    assert_eq!(socket.next()["value"], json!(141));
    assert_eq!(socket.told(), "total bookmark");
    let last = client.patch("/api/orders/o2", &json!({"note": "y"})).revision();
    socket.subscribe("all", "/api/orders", json!({"since": last - 1}));
    assert_eq!(socket.told(), "all modified /api/orders/o2");
    assert_eq!((socket.told().as_str(), socket.told().as_str()), ("all bookmark", "all synced"));
    socket.subscribe("big", "/api/big", json!({}));
    assert_eq!(socket.synced("big").len(), 0);
    client.patch("/api/orders/o3", &json!({"amount": 101})).expect(200);
    let mut told: Vec<String> = (0..6).map(|_| socket.told()).collect();
    told.sort();
    assert!(told.contains(&"big added /api/big/o3".to_string()), "{told:?}");
}

#[test]
fn what_is_wrong_with_one_subscription_is_told_and_ends_nothing_else() {
    let (_place, server) = shop();
    let (mut client, mut socket) = (server.client(), Socket::open(&server.address));
    socket.subscribe("good", "/api/orders", json!({}));
    assert_eq!(socket.synced("good").len(), 6);
    let last = client.get("/api/orders").json()["revision"].as_str().unwrap().parse::<u64>().unwrap();
    for (at, (more, path, code)) in [
        (json!({"filter": "amout > 1"}), "/api/orders", "filter"),
        (json!({"filter": "now() > amount"}), "/api/orders", "filter"),
        (json!({"order": "amout"}), "/api/orders", "order"),
        (json!({"limit": 0}), "/api/orders", "parameter"),
        (json!({"expand": "customer"}), "/api/orders", "parameter"),
        (json!({"since": last + 1}), "/api/orders", "since"),
        (json!({"since": "x"}), "/api/orders", "message"),
        (json!({"wait": true}), "/api/orders", "message"),
        (json!({"filter": {}}), "/api/orders", "message"),
        (json!({}), "/api/ordres", "not-found"),
        (json!({}), "/api/there/orders", "watch-proxy"),
        (json!({}), "/api/orders?limit=1", "message"),
        (json!({}), "/api/orders/_query", "not-found"),
        (json!({}), "/api/customers/zoe/orders", "not-found"),
        (json!({}), "/api/orders[amount >", "path"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("bad {at}");
        socket.subscribe(&id, path, more.clone());
        assert_eq!(socket.problem(Some(&id)), code, "{path} {more}");
    }
    socket.subscribe("good", "/api/orders", json!({}));
    assert_eq!(socket.problem(Some("good")), "exists");
    socket.say(&json!({"unsubscribe": "bad"}));
    assert_eq!(socket.problem(Some("bad")), "not-found");
    for message in
        ["", "{", "[]", "{}", r#"{"subscribe": 1}"#, r#"{"subscribe": {"id": ""}}"#, r#"{"a": 1, "b": 2}"#]
    {
        socket.0.send(Message::text(message)).unwrap();
        let code = socket.problem(None);
        assert!(["message", "json"].contains(&code.as_str()), "{message}: {code}");
    }
    socket.0.send(Message::binary(vec![1, 2, 3])).unwrap();
    assert_eq!(socket.problem(None), "message");
    client.patch("/api/orders/o1", &json!({"amount": 7})).expect(200);
    assert_eq!(socket.told(), "good modified /api/orders/o1");
    // What is too large ends the connection: what it was of is not known.
    socket.0.send(Message::text("x".repeat(100 << 10))).unwrap();
    assert_eq!(socket.told(), "good bookmark");
    assert_eq!(socket.try_next(), Err(Some(1009)));
    client.get("/api/_watch").problem(426, "upgrade");
    client.post("/api/_watch", &json!({})).problem(405, "method-not-allowed");
}

/// A browser lets any page open a WebSocket, to servers on the own machine too.
#[test]
fn a_page_of_another_origin_opens_no_socket() {
    let place = Place::new(SHOP);
    let server = Server::start(&place, &["--cors", "https://friend.example"]);
    let address = &server.address;
    // The name by which it is asked.
    let own = "http://localhost".to_string();
    for (origin, status) in [
        (None, 101),
        (Some(own.as_str()), 101),
        (Some("https://friend.example"), 101),
        (Some("http://evil.example"), 403),
        (Some("null"), 403),
    ] {
        let mut headers = vec![
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        headers.extend(origin.map(|origin| ("origin", origin)));
        let mut connection = Client::connect(address).unwrap();
        crate::common::client::send(connection.get_mut(), "GET", "/api/_watch", &headers, b"").unwrap();
        let head = crate::common::client::read_head(&mut connection).unwrap();
        assert_eq!(head.status, status, "{origin:?}");
    }
}

#[test]
fn a_connection_has_so_many_subscriptions_and_ends_with_the_server() {
    let place = Place::new(SHOP);
    let server = Server::start(&place, &["--max-subscriptions", "3"]);
    let mut socket = Socket::open(&server.address);
    for at in 0..3 {
        let id = at.to_string();
        socket.subscribe(&id, "/api/orders", json!({}));
        assert!(socket.synced(&id).is_empty());
    }
    socket.subscribe("3", "/api/orders", json!({}));
    assert_eq!(socket.problem(Some("3")), "subscription-limit");
    socket.say(&json!({"unsubscribe": "1"}));
    assert_eq!(socket.told(), "1 unsubscribed");
    socket.subscribe("3", "/api/orders", json!({}));
    assert!(socket.synced("3").is_empty());
    let stopping = thread::spawn(move || server.stop());
    assert_eq!(socket.try_next(), Err(Some(1012)));
    assert!(stopping.join().unwrap().0.success());
}

/// A client that subscribes and never reads has a bounded queue: it is told so when it reads, and others notice nothing.
#[test]
fn one_that_never_reads_is_told_that_it_has_missed_something_and_what_waits_for_it_is_bounded() {
    let (place, server) = shop();
    let mut slow = Socket::open(&server.address);
    rustix::net::sockopt::set_socket_recv_buffer_size(slow.0.get_ref(), 1 << 16).unwrap();
    for at in 0..4 {
        let id = format!("s{at}");
        slow.subscribe(&id, "/api/orders", json!({}));
        assert_eq!(slow.synced(&id).len(), 6);
    }
    let mut quick = server.watch("/api/orders?watch=true");
    quick.synced();
    let mut client = server.client();
    let large = "x".repeat(10_000);
    let slowest = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..1_800 {
                assert_eq!(quick.next().kind(), "modified");
            }
        });
        let times = (0..1_800).map(|at| {
            let begun = Instant::now();
            let body = json!({"note": format!("{large}{at}")});
            client.patch(&format!("/api/orders/o{}", at % 6), &body).expect(200);
            begun.elapsed()
        });
        let slowest = times.max().unwrap();
        reader.join().unwrap();
        slowest
    });
    assert!(slowest < Duration::from_secs(3), "a write took {slowest:?}");
    let mut expired = 0;
    let mut last = [0_u64; 4];
    while expired < 4 {
        let event = slow.next();
        let Some(at) = event["id"].as_str().map(|id| id[1..].parse::<usize>().unwrap()) else { continue };
        let revision: u64 = event["revision"].as_str().unwrap().parse().unwrap();
        match event["type"].as_str().unwrap() {
            "expired" => {
                expired += 1;
                assert_eq!(revision, last[at], "it says from where it may resume");
            }
            "modified" => {
                assert!(last[at] == 0 || revision == last[at] + 1, "{revision} after {}", last[at]);
                last[at] = revision;
            }
            kind => assert_eq!(kind, "bookmark"),
        }
    }
    // The connection goes on, and so may they.
    slow.subscribe("s0", "/api/orders", json!({"since": last[0]}));
    loop {
        let event = slow.next();
        if event["id"] == "s0" && event["type"] == "modified" {
            assert_eq!(event["revision"], (last[0] + 1).to_string());
            break;
        }
    }
    drop(slow);
    let (status, _) = server.stop();
    assert!(status.success());
    place.check();
}

/// Nonsense in messages, whole or cut, mixed with what is right: each is answered, and the server goes on.
#[test]
fn messages_of_every_kind_of_nonsense_are_answered() {
    let (place, server) = shop();
    let texts = proptest::sample::select(vec![
        "subscribe",
        "unsubscribe",
        "id",
        "path",
        "filter",
        "order",
        "limit",
        "fields",
        "since",
        "/api/orders",
        "/api/customers/ann.total",
        "/api/orders[amount > 10].note",
        "amount > 10",
        "-amount",
        "customer.name = 'Ann'",
        "s",
        "\u{0}",
        "/api/%ff",
        "count(customer.orders) > 1",
        "/api/big",
    ]);
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        texts.clone().prop_map(Json::from),
        ".{0,8}".prop_map(Json::from),
    ];
    let value = leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::vec((texts.clone(), inner), 0..6).prop_map(|members| Json::Object(
                members.into_iter().map(|(name, it)| (name.into(), it)).collect()
            )),
        ]
    });
    let asked = (value.clone(), value.clone(), value.clone(), value.clone()).prop_map(|(path, filter, order, limit)| {
        json!({"subscribe": {"id": "s", "path": path, "filter": filter, "order": order, "limit": limit}})
    });
    let message =
        prop_oneof![value.prop_map(|it| it.to_string()), asked.prop_map(|it| it.to_string()), ".{0,40}"];
    let messages = proptest::collection::vec((message, 0_usize..200), 1..12);
    let times: u32 = std::env::var("COROLLARY_FUZZ_TIMES").map_or(1, |times| times.parse().unwrap());
    let config = ProptestConfig { cases: 60 * times, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&messages, |messages| {
        let mut socket = Socket::open(&server.address);
        for (message, cut) in &messages {
            let cut =
                (0..=*cut.min(&message.len())).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            let text = if cut % 3 == 0 { &message[..cut] } else { message };
            socket.0.send(Message::text(text)).unwrap();
        }
        // Behind all of them a subscription that must come about.
        socket.subscribe("last", "/api/customers", json!({}));
        loop {
            let event = socket.try_next().map_err(|code| TestCaseError::fail(format!("closed: {code:?}")))?;
            if event["type"] == "error" {
                let status = event["problem"]["status"].as_u64().unwrap_or(500);
                prop_assert!(status < 500 || status == 501, "{event}");
            }
            if event["id"] == "last" && event["type"] == "synced" {
                return Ok(());
            }
        }
    });
    if let Err(error) = outcome {
        panic!("{error}\n{}", server.said());
    }
    let (status, _) = server.stop();
    assert!(status.success());
    place.check();
}
