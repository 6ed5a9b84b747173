//! The shop that the tests of the command line work on, and what they assert of a command.

use std::process::Output;

use super::*;

pub const SHOP: &str = r#"schema shop

type Customer in customers {
  name:   str required
  email:  str unique
  tags:   [str]
  orders: inverse Order.customer

  total := sum(self.orders.net)
  count := count(self.orders)
}

type Order in orders {
  customer: link Customer required
  amount:   int required, min 1
  price:    decimal
  at:       datetime
  lines:    collection Line

  net   := self.amount * 2
  items := count(self.lines)
}

type Line {
  text: str required
}
"#;

#[track_caller]
pub fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
    stdout(output)
}

/// Asserts the exit code; returns what was said on standard error.
#[track_caller]
pub fn failed(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(output), stderr(output));
    let said = stderr(output);
    assert!(!said.trim().is_empty() && !said.contains("panicked"), "{said}");
    said
}

#[track_caller]
pub fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

/// A shop with two customers and three orders.
pub fn shop() -> Place {
    let place = Place::new(SHOP);
    let customers = place.write(
        "customers.csv",
        "_id,name,email,tags\nC1,ann,a@x,\"[\"\"x\"\",\"\"y\"\"]\"\nC2,\"bob\nthe second\",,\n",
    );
    succeeded(&place.run(&["import", "Customer", &customers]));
    let orders = "_id,customer,amount,price,at\nO1,C1,3,1.50,2024-01-02T03:04:05Z\nO2,C1,4,,\nO3,C2,5,,\n";
    let orders = place.write("orders.csv", orders);
    succeeded(&place.run(&["import", "Order", &orders]));
    let lines = "{\"_id\":\"L1\",\"text\":\"one\",\"parent_order_lines\":\"O1\"}\n";
    let lines = place.write("lines.ndjson", lines);
    succeeded(&place.run(&["import", "Line", &lines]));
    place
}
