//! The server over PostgreSQL: the same behaviour, restarts of either side. Several of them: `nodes`.

use std::sync::Arc;

use crate::common::*;
use corollary_store::postgres::testing::Server as Database;

const SHOP: &str = r#"
type Customer in customers {
  name:   str required unique
  orders: inverse Order.customer
  total   := sum(self.orders.amount)
}

type Order in orders {
  amount:   int required
  customer: link Customer on delete cascade
}
"#;

fn place(database: &Arc<Database>) -> Place {
    let mut place = Place::new(SHOP);
    place.store = Some(database.url());
    place
}

fn order(client: &mut Client, amount: i64) -> Reply {
    client.post("/api/orders", &json!({"amount": amount, "customer": "ann"}))
}

fn total(client: &mut Client) -> i64 {
    client.get("/api/customers/ann").json()["total"].as_i64().unwrap()
}

#[test]
fn what_is_written_is_there_after_the_server_is_killed() {
    let database = Database::new();
    let place = place(&database);
    let server = place.serve();
    let mut client = Client::new(&server.address);
    assert_eq!(client.post("/api/customers", &json!({"_id": "ann", "name": "Ann"})).status, 201);
    assert_eq!(client.post("/api/customers", &json!({"name": "Ann"})).status, 409);
    for amount in 1..=20 {
        assert_eq!(order(&mut client, amount).status, 201);
    }
    assert_eq!(total(&mut client), 210);
    server.kill();
    let server = place.serve();
    let mut client = Client::new(&server.address);
    assert_eq!(total(&mut client), 210);
    let listed = client.get("/api/orders?order=-amount&limit=2&count=true").json();
    assert_eq!((&listed["count"], &listed["results"][0]["amount"]), (&json!(20), &json!(20)));
    assert_eq!(client.delete("/api/customers/ann").status, 204);
    assert_eq!(client.get("/api/orders?count=true").json()["count"], json!(0));
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn a_database_that_restarts_is_waited_for_and_found_again() {
    let database = Database::new();
    let place = place(&database);
    let server = place.serve();
    let mut client = Client::new(&server.address);
    assert_eq!(client.post("/api/customers", &json!({"_id": "ann", "name": "Ann"})).status, 201);
    assert_eq!(order(&mut client, 1).status, 201);
    database.stop();
    let refused = order(&mut client, 2);
    assert_eq!(
        (refused.status, refused.json()["code"].as_str()),
        (503, Some("unavailable")),
        "{}",
        refused.text()
    );
    database.start_again();
    assert_eq!(order(&mut client, 4).status, 201);
    assert_eq!(total(&mut client), 5);
    drop(client);
    server.stop();
    place.check();
}
