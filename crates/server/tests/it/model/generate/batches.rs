//! Random batches.

use super::super::request::{ACTIONS, CURRENT, Request};
use super::super::schema::Type;
use super::Generator;
use crate::common::{Json, json};

impl Generator<'_> {
    fn chance(&mut self, of_hundred: u64) -> bool {
        self.random.below(100) < of_hundred
    }
}

/// A batch of some items, later ones of which refer to earlier ones.
pub fn batch(generator: &mut Generator<'_>) -> Request {
    let many = 1 + generator.random.below(4);
    let mut items: Vec<Json> = Vec::new();
    for at in 0..many {
        items.push(match generator.random.below(12) {
            0 => json!({"method": "POST", "path": "/shops", "body": generator.new_body(Type::Shop, None)}),
            1 | 2 => {
                let mut body = generator.new_body(Type::Order, None);
                if at > 0 && is_new(&items[0], "/shops") && generator.chance(80) {
                    body["shop"] = "$0._id".into();
                }
                json!({"method": "POST", "path": "/api/orders", "body": body})
            }
            3 if at > 0 && is_new(&items[0], "/shops") => {
                json!({"method": "POST", "path": "$0._self/shelves", "body": generator.new_body(Type::Shelf, None)})
            }
            3 | 4 => {
                let (path, ty, through) = generator.resource();
                json!({"method": "PATCH", "path": path, "body": generator.body(ty, through.as_ref(), false)})
            }
            5 => {
                let (path, ty, through) = generator.resource();
                json!({"method": "PUT", "path": path, "body": generator.body(ty, through.as_ref(), true)})
            }
            6 => json!({"method": "DELETE", "path": generator.resource().0}),
            7 => json!({"method": "GET", "path": generator.resource().0}),
            8 => {
                let (path, ty, through) = generator.resource();
                let body = json!([generator.action(ty, through.as_ref())]);
                json!({"method": "PATCH", "path": path, "content_type": ACTIONS, "body": body})
            }
            9 => {
                // Whatever its revision is when it is sent.
                let (path, ty, through) = generator.resource();
                let body = generator.body(ty, through.as_ref(), false);
                json!({"method": "PATCH", "path": path, "body": body, "if_match": CURRENT})
            }
            10 => generator.move_of_one(),
            _ => {
                let shop = generator.id(Type::Shop);
                let person = generator.id(Type::Person);
                json!({"method": "POST", "path": format!("/api/shops/{shop}/guests"), "body": {"_id": person}})
            }
        });
    }
    Request::new("POST", "/api/_batch").with(items.into())
}

fn is_new(item: &Json, path: &str) -> bool {
    item["method"] == "POST" && item["path"] == path
}
