//! What edits make of a value, without anything around them. Over HTTP the cases of the server hold them to more.

use crate::common::*;
use corollary_engine::edit::{Element, edited};
use corollary_engine::{Edit, Refusal};
use corollary_schema::ValueType;
use corollary_value::Value;

fn after(ty: &ValueType, old: &Value, edit: &Edit) -> Result<Value, Refusal> {
    edited("x", Some(ty), old, edit, NOW)
}

#[test]
fn a_count_stops_at_its_limit_in_the_direction_in_which_it_goes() {
    let count = |old: Option<i64>, by: i64, limit: i64, clamp: bool| {
        let edit = Edit::IncrementWithin { by: Value::Int(by), limit: Value::Int(limit), clamp };
        let old = old.map_or(Value::Absent, Value::Int);
        after(&ValueType::Int, &old, &edit).map_err(|refusal| refusal.code)
    };
    for (old, by, limit, clamped, held) in [
        (Some(5), 3, 10, Ok(8), Ok(8)),
        (Some(5), 5, 10, Ok(10), Ok(10)),
        (Some(5), 6, 10, Ok(10), Err("limit")),
        (Some(5), -6, 0, Ok(0), Err("limit")),
        (Some(5), -5, 0, Ok(0), Ok(0)),
        // What is past it already stays, and may come back.
        (Some(12), 1, 10, Ok(12), Err("limit")),
        (Some(12), -1, 20, Ok(12), Err("limit")),
        (Some(12), -3, 10, Ok(10), Err("limit")),
        (Some(12), 0, 10, Ok(12), Ok(12)),
        (None, 3, 10, Ok(3), Ok(3)),
        (None, 11, 10, Ok(10), Err("limit")),
        (Some(i64::MAX), 1, i64::MAX, Ok(i64::MAX), Err("limit")),
        (Some(i64::MIN), -1, i64::MIN, Ok(i64::MIN), Err("limit")),
    ] {
        let asked = format!("{old:?} by {by} to {limit}");
        assert_eq!(count(old, by, limit, true), clamped.map(Value::Int), "{asked}");
        assert_eq!(count(old, by, limit, false), held.map(Value::Int), "{asked}");
    }
}

#[test]
fn elements_come_go_and_move() {
    let list_type = ValueType::List(Box::new(ValueType::Int));
    let of = |values: &[i64]| list(values.iter().copied().map(Value::Int));
    let push =
        |values: &[i64], at| Edit::Push { values: values.iter().copied().map(Value::Int).collect(), at };
    let place = |element, at| Edit::Place { element, at };
    let is = |value| Element::Is(Value::Int(value));
    for (old, edit, new) in [
        (&[1, 2][..], push(&[3, 4], None), Some(&[1, 2, 3, 4][..])),
        (&[1, 2], push(&[3], Some(0)), Some(&[3, 1, 2])),
        (&[1, 2], push(&[3], Some(1)), Some(&[1, 3, 2])),
        (&[1, 2], push(&[3], Some(9)), Some(&[1, 2, 3])),
        (&[1, 2, 3], Edit::Pop { first: true }, Some(&[2, 3])),
        (&[1, 2, 3], Edit::Pop { first: false }, Some(&[1, 2])),
        (&[], Edit::Pop { first: true }, Some(&[])),
        (&[1, 2, 3], place(Element::At(0), None), Some(&[2, 3, 1])),
        (&[1, 2, 3], place(Element::At(0), Some(1)), Some(&[2, 1, 3])),
        (&[1, 2, 3], place(Element::At(2), Some(0)), Some(&[3, 1, 2])),
        (&[1, 2, 2], place(is(2), Some(0)), Some(&[2, 1, 2])),
        (&[1, 2], place(Element::At(2), None), None),
        (&[1, 2], place(is(3), None), None),
    ] {
        let told = format!("{old:?} {edit:?}");
        let result = after(&list_type, &of(old), &edit);
        match new {
            Some(new) => assert_eq!(result.ok(), Some(of(new)), "{told}"),
            None => assert_eq!(result.err().map(|refusal| refusal.code), Some("element"), "{told}"),
        }
    }
}
