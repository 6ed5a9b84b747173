//! Properties of values: order, encodings, sums.

use std::cmp::Ordering;

use corollary_value::codec::{decode, encode};
use corollary_value::order_key::{push_order_key, push_order_key_desc, skip_order_key, skip_order_key_desc};
use corollary_value::{BasicKind, ErrorValue, Id, SumState, Value, compare, ops, parse_as, same};
use jiff::{SignedDuration, Timestamp, civil};
use proptest::prelude::*;
use rust_decimal::Decimal;

fn number() -> impl Strategy<Value = Value> {
    let nasty = [0.0, -0.0, 0.1, 0.5, 1.0, 5e-324, -5e-324, 1e300, -1e300, f64::MAX, f64::INFINITY, f64::NAN];
    let near = [9007199254740992i64, 9007199254740993, 9007199254740991, i64::MAX, i64::MIN, 0, 1, -1];
    prop_oneof![
        any::<i64>().prop_map(Value::Int),
        (-20i64..20).prop_map(Value::Int),
        prop::sample::select(near.to_vec()).prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        prop::sample::select(nasty.to_vec()).prop_map(Value::Float),
        prop::sample::select(near.to_vec()).prop_map(|int| Value::Float(int as f64)),
        decimal().prop_map(Value::Decimal),
    ]
}

fn decimal() -> impl Strategy<Value = Decimal> {
    prop_oneof![
        (-100i64..100, 0u32..4).prop_map(|(mantissa, scale)| Decimal::new(mantissa, scale)),
        (-(10i128.pow(28) - 1)..10i128.pow(28), 0u32..=28)
            .prop_map(|(mantissa, scale)| Decimal::from_i128_with_scale(mantissa, scale)),
        (-20i32..20).prop_map(|tenths| Decimal::new(i64::from(tenths), 1)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[a-c\u{0}é]{0,4}", ".{0,80}"];
    let leaf = prop_oneof![
        6 => number(),
        1 => Just(Value::Absent),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => text.prop_map(|text| Value::Str(text.into())),
        1 => prop::collection::vec(prop_oneof![Just(0u8), Just(255), any::<u8>()], 0..5)
            .prop_map(|bytes| Value::Bytes(bytes.into())),
        1 => any::<u128>().prop_map(|bits| Value::Uuid(uuid::Uuid::from_u128(bits))),
        1 => (-9_000_000_000i64..9_000_000_000, 0..1_000_000_000)
            .prop_map(|(s, n)| Value::Datetime(Timestamp::new(s, n).unwrap())),
        1 => (-9999i16..9999, 1i8..=12, 1i8..=28).prop_map(|(y, m, d)| Value::Date(civil::date(y, m, d))),
        1 => (any::<i32>(), 0..1_000_000_000).prop_map(|(s, n)| {
            Value::Duration(SignedDuration::from_nanos(i64::from(s) * 1_000_000 + i64::from(n)))
        }),
        1 => "[a-z0-9]{1,5}".prop_map(|name| Value::Ref(Id::parse(&name).unwrap())),
        1 => any::<u128>().prop_map(|bits| Value::Ref(Id::Uuid(uuid::Uuid::from_u128(bits)))),
        1 => Just(Value::Error(ErrorValue::Div0)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| Value::List(items.into())),
            prop::collection::vec(("[a-b\u{0}]{0,2}", inner), 0..4).prop_map(|members| {
                Value::Object(members.into_iter().map(|(key, value)| (key.into(), value)).collect())
            }),
        ]
    })
}

fn key(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    push_order_key(value, &mut out);
    out
}

fn key_desc(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    push_order_key_desc(value, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn bytes_sort_as_values_do(a in value(), b in value(), c in number(), d in number()) {
        for (a, b) in [(&a, &b), (&c, &d), (&a, &a)] {
            prop_assert_eq!(key(a).cmp(&key(b)), compare(a, b));
            prop_assert_eq!(key_desc(a).cmp(&key_desc(b)), compare(b, a));
            prop_assert_eq!(compare(a, b), compare(b, a).reverse());
        }
    }

    #[test]
    fn the_order_is_transitive(a in number(), b in number(), c in number()) {
        if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
            prop_assert_ne!(compare(&a, &c), Ordering::Greater);
        }
    }

    #[test]
    fn a_key_tells_where_it_ends(value in value(), rest in prop::collection::vec(any::<u8>(), 0..4)) {
        let (mut bytes, mut desc) = (key(&value), key_desc(&value));
        bytes.extend(&rest);
        desc.extend(&rest);
        prop_assert_eq!(skip_order_key(&bytes), Some(&rest[..]));
        prop_assert_eq!(skip_order_key_desc(&desc), Some(&rest[..]));
    }

    #[test]
    fn the_encoding_is_lossless(value in value()) {
        let mut bytes = Vec::new();
        encode(&value, &mut bytes);
        let mut rest = &bytes[..];
        let back = decode(&mut rest).unwrap();
        prop_assert!(same(&value, &back), "{:?} came back as {:?}", value, back);
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = decode(&mut &bytes[..]);
        let _ = SumState::decode(&mut &bytes[..]);
        let _ = skip_order_key(&bytes);
        let _ = skip_order_key_desc(&bytes);
        let _ = Id::read_key(&bytes);
    }

    #[test]
    fn text_is_read_or_refused(text in ".{0,30}") {
        for kind in [BasicKind::Int, BasicKind::Float, BasicKind::Decimal, BasicKind::Datetime, BasicKind::Date,
            BasicKind::Duration, BasicKind::Uuid, BasicKind::Bool] {
            let _ = parse_as(kind, &text);
        }
        let _ = Id::parse(&text);
    }

    #[test]
    fn decimals_survive_text(decimal in decimal()) {
        let back = parse_as(BasicKind::Decimal, &decimal.to_string());
        prop_assert_eq!(back, Ok(Value::Decimal(decimal)));
    }

    #[test]
    fn sums_forget_nothing(
        values in prop::collection::vec(number(), 0..12),
        others in prop::collection::vec(number(), 0..12),
    ) {
        let mut straight = SumState::default();
        values.iter().for_each(|value| straight.add(value));
        let mut detour = SumState::default();
        others.iter().for_each(|value| detour.add(value));
        values.iter().rev().for_each(|value| detour.add(value));
        others.iter().for_each(|value| detour.remove(value));
        prop_assert_eq!(&straight, &detour);
        let mut bytes = Vec::new();
        straight.encode(&mut bytes);
        prop_assert_eq!(SumState::decode(&mut &bytes[..]), Ok(straight));
    }

    #[test]
    fn what_happened_to_one_state_may_happen_to_another(
        there in prop::collection::vec(number(), 0..12),
        gone in prop::collection::vec(number(), 0..12),
        come in prop::collection::vec(number(), 0..12),
    ) {
        let mut straight = SumState::default();
        there.iter().chain(&gone).for_each(|value| straight.add(value));
        let mut merged = straight.clone();
        let mut apart = SumState::default();
        // Removed before it was ever added there.
        gone.iter().for_each(|value| apart.remove(value));
        come.iter().for_each(|value| apart.add(value));
        merged.merge(&apart);
        gone.iter().for_each(|value| straight.remove(value));
        come.iter().for_each(|value| straight.add(value));
        prop_assert_eq!(&straight, &merged);
        let mut alone = SumState::default();
        there.iter().chain(&come).for_each(|value| alone.add(value));
        prop_assert_eq!(&alone, &merged);
    }

    #[test]
    fn float_sums_are_the_rounded_true_sum(values in prop::collection::vec((-(1i64 << 53)..(1i64 << 53), -60i32..60), 1..10)) {
        // All are multiples of 2^-60 and below 2^113 + 2^4, so the true sum is a whole number of those in an i128
        // as long as the exponents are scaled down.
        let mut sum = SumState::default();
        let mut exact = 0i128;
        for (significand, exponent) in &values {
            let exponent = exponent / 2;
            sum.add(&Value::Float(*significand as f64 * 2f64.powi(exponent)));
            exact += i128::from(*significand) << (exponent + 30);
        }
        // The conversion of an i128 to a double rounds to nearest, ties to even; scaling by a power of two is exact.
        prop_assert_eq!(sum.sum(&Value::Float(0.0)), Value::Float(exact as f64 * 2f64.powi(-30)));
    }

    #[test]
    fn averages_of_ints_are_correctly_rounded(values in prop::collection::vec(-1_000_000i64..1_000_000, 1..9)) {
        let mut state = SumState::default();
        values.iter().for_each(|value| state.add(&Value::Int(*value)));
        let total: i64 = values.iter().sum();
        // Both operands are exact doubles, so the division rounds once.
        prop_assert_eq!(compare(&state.average(), &Value::Float(total as f64 / values.len() as f64)), Ordering::Equal);
    }
}

/// The state after -2.2e135 + 1e300 - 1e300 kept words of sign extension, and so was not the state of -2.2e135.
#[test]
fn a_negative_sum_has_one_state() {
    let mut straight = SumState::default();
    straight.add(&Value::Float(-2.2312335499813408e135));
    let mut detour = straight.clone();
    detour.add(&Value::Float(1e300));
    detour.remove(&Value::Float(1e300));
    assert_eq!(straight, detour);
}

#[test]
fn a_sum_across_the_whole_range_of_doubles() {
    let mut sum = SumState::default();
    for value in [1e300, 1.0, -1e300, 5e-324, 1e-300] {
        sum.add(&Value::Float(value));
    }
    sum.remove(&Value::Float(1e-300));
    sum.remove(&Value::Float(1.0));
    assert_eq!(sum.sum(&Value::Float(0.0)), Value::Float(5e-324));
    sum.add(&Value::Float(f64::MAX));
    sum.add(&Value::Float(f64::MAX));
    assert_eq!(sum.sum(&Value::Float(0.0)), Value::Error(ErrorValue::Overflow));
    sum.remove(&Value::Float(f64::MAX));
    assert_eq!(sum.sum(&Value::Float(0.0)), Value::Float(f64::MAX));
}

#[test]
fn operators() {
    let int = Value::Int;
    let decimal = |text: &str| parse_as(BasicKind::Decimal, text).unwrap();
    let overflow = Value::Error(ErrorValue::Overflow);
    let div0 = Value::Error(ErrorValue::Div0);
    let cases = [
        (ops::add(&int(2), &int(3)), int(5)),
        (ops::add(&int(i64::MAX), &int(1)), overflow.clone()),
        (ops::add(&int(1), &Value::Null), Value::Null),
        (ops::add(&div0, &Value::Null), div0.clone()),
        (ops::divide(&int(10), &int(4)), Value::Float(2.5)),
        (ops::divide(&int(1), &int(0)), div0.clone()),
        (ops::divide(&Value::Float(1.0), &Value::Float(0.0)), div0.clone()),
        (ops::remainder(&int(-7), &int(2)), int(-1)),
        (ops::add(&decimal("0.1"), &decimal("0.20")), decimal("0.30")),
        (ops::multiply(&decimal("1.5"), &int(2)), decimal("3.0")),
        (ops::multiply(&decimal("0.00000000000001"), &decimal("0.000000000000001")), overflow.clone()),
        (ops::and(&Value::Bool(false), &div0), Value::Bool(false)),
        (ops::and(&div0, &Value::Bool(false)), Value::Bool(false)),
        (ops::or(&div0, &Value::Null), div0.clone()),
        (ops::equal(&Value::Null, &Value::Absent), Value::Bool(true)),
        (ops::equal(&int(5), &Value::Float(5.0)), Value::Bool(true)),
        (ops::compare_with(&Value::Null, &int(1), Ordering::is_lt), Value::Bool(false)),
        (ops::matches(&Value::Str("Fred".into()), &Value::Str("ED".into())), Value::Bool(true)),
        (ops::round(&Value::Float(2.5), 0), Value::Float(2.0)),
        (ops::round(&Value::Float(3.5), 0), Value::Float(4.0)),
        (ops::round(&int(250), -2), int(200)),
    ];
    for (at, (got, wanted)) in cases.into_iter().enumerate() {
        assert_eq!(got, wanted, "case {at}");
    }
    // 29 digits do not fit, not even where the last would be a zero before the point.
    assert_eq!(ops::add(&decimal("9999999999999999999999999999"), &int(1)), overflow);
}
