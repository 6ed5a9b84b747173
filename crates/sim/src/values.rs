//! Random values of stored types: from small ranges, so that resources come to have the same ones, with what is hard
//! (zeros of both signs, the largest numbers, nothing at all) more often than it would be found.

use corollary_value::{BasicKind, Value, parse_as};
use jiff::{SignedDuration, Timestamp, civil};
use smol_str::SmolStr;
use uuid::Uuid;

use crate::draft::{Member, Rules, ValueType};
use crate::files;
use crate::random::Random;
use crate::rules;
use crate::union;
use crate::workload;

const FLOATS: [f64; 12] = [0.0, -0.0, 0.1, 0.2, 0.5, 1.0, 2.0, -3.0, 3.5, 7.0, 1e300, -1e300];
const DECIMALS: [&str; 8] =
    ["0", "1.5", "1.50", "-2.25", "0.1", "3", "7.125", "9999999999999999999999999999"];
const TEXTS: [&str; 12] =
    ["", "a", "ab", "abc", "A ", " b", "B", "é", "z\0", "10", "a'b", "something that is longer"];

/// A decimal from its text.
pub fn decimal(text: &str) -> Value {
    parse_as(BasicKind::Decimal, text).expect("only well formed texts are given")
}

/// How often a value of a type is one of the extremes that make sums overflow.
const EXTREME_PERCENT: usize = 2;

/// A value of a type, whatever the rules.
pub fn of_type(random: &mut Random, ty: &ValueType) -> Value {
    let elements = |random: &mut Random, of: &ValueType| -> Vec<Value> {
        (0..random.below(4)).map(|_| of_type(random, of)).collect()
    };
    match ty {
        ValueType::Str => Value::Str((*random.pick(&TEXTS)).into()),
        ValueType::Int if random.percent(EXTREME_PERCENT) => {
            Value::Int(*random.pick(&[i64::MAX, i64::MIN, i64::MAX / 2]))
        }
        ValueType::Int => Value::Int(random.between(-3, 12)),
        ValueType::Float => Value::Float(*random.pick(&FLOATS)),
        ValueType::Bool => Value::Bool(random.percent(50)),
        ValueType::Decimal => {
            let all = if random.percent(EXTREME_PERCENT) { &DECIMALS[..] } else { &DECIMALS[..7] };
            decimal(random.pick::<&str>(all))
        }
        ValueType::Datetime => Value::Datetime(
            Timestamp::from_second(random.between(0, 9) * 40_000).expect("a time soon after 1970"),
        ),
        ValueType::Date => {
            Value::Date(civil::date(2024, 1 + random.below(3) as i8, 27 + random.below(3) as i8))
        }
        ValueType::Duration => Value::Duration(SignedDuration::from_secs(random.between(-2, 3) * 43_200)),
        ValueType::Uuid => Value::Uuid(Uuid::from_u128(random.below(5) as u128)),
        ValueType::Bytes => Value::Bytes((0..random.below(3)).map(|_| random.below(3) as u8).collect()),
        ValueType::Json => match random.below(7) {
            0 => Value::Bool(true),
            1 => Value::Float(*random.pick(&FLOATS)),
            2 => Value::Str((*random.pick(&TEXTS)).into()),
            3 => Value::List(elements(random, &ValueType::Int).into()),
            4 => Value::Object([("a".into(), of_type(random, &ValueType::Int))].into()),
            _ => of_type(random, &ValueType::Int),
        },
        ValueType::Enum(words) => Value::Str((*random.pick(words)).into()),
        ValueType::List(of) | ValueType::Set(of) => Value::List(elements(random, of).into()),
        ValueType::Map(of) => {
            let keys: Vec<&str> = ["a", "b", "c"].into_iter().filter(|_| random.percent(40)).collect();
            Value::Object(keys.into_iter().map(|key| (key.into(), of_type(random, of))).collect())
        }
        ValueType::Elements(members, _) => {
            Value::List(elements(random, &ValueType::Object(members.clone())).into())
        }
        ValueType::File => files::any(random).value(),
        ValueType::Link(target, _) => Value::Ref(workload::id(*target, random.below(4))),
        ValueType::Object(declared) => {
            let (variant, mut declared) = union::random_form(random, declared);
            random.shuffle(&mut declared);
            let members = declared
                .into_iter()
                .filter(|member| member.rules.required || random.percent(60))
                .collect::<Vec<_>>();
            let value = |it: &Member| match variant {
                Some(variant) if it.name == union::DISCRIMINATOR => Value::Str(variant.into()),
                _ => valid(random, &it.ty, &it.rules),
            };
            let values: Vec<Value> = members.iter().copied().map(value).collect();
            Value::Object(members.iter().map(|it| it.name.into()).zip(values).collect())
        }
    }
}

/// A value that the rules allow, if one is found soon.
pub fn valid(random: &mut Random, ty: &ValueType, rules: &Rules) -> Value {
    if rules.nullable && random.percent(15) {
        return Value::Null;
    }
    let mut value = Value::Absent;
    for _ in 0..8 {
        value = of_type(random, ty);
        if rules::is_within(rules, &value) {
            break;
        }
    }
    value
}

/// A value that the rules probably forbid: of another type, null, or out of bounds.
pub fn odd(random: &mut Random, ty: &ValueType) -> Value {
    let others = [
        ValueType::Str,
        ValueType::Int,
        ValueType::Float,
        ValueType::Bytes,
        ValueType::List(ValueType::Int.into()),
    ];
    match (random.below(5), ty) {
        (0, _) => Value::Null,
        (1, ValueType::Object(members)) => {
            // Of a union, those of all variants.
            let mut given: Vec<(SmolStr, Value)> = Vec::new();
            for it in members {
                if given.iter().all(|(name, _)| name != it.name) {
                    given.push((it.name.into(), of_type(random, &it.ty)));
                }
            }
            if union::variants(members).is_empty() || random.percent(20) {
                given.push(("unknown".into(), Value::Int(1)));
            }
            Value::Object(given.into())
        }
        (2, ValueType::Enum(_)) => Value::Str("no such word".into()),
        (2, ValueType::Float) => Value::Float(f64::INFINITY),
        (3, _) => of_type(random, ty),
        _ => {
            let other = random.pick(&others).clone();
            of_type(random, &other)
        }
    }
}
