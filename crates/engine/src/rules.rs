//! The rules for the values of one field: type, bounds, pattern, and what may change.
//!
//! Each rule says what is wrong by a stable code and a sentence. Rules that look at other resources (unique, links) are
//! elsewhere: [`crate::index`], [`mod@crate::write`].

use corollary_schema::{Field, FieldKind, Normalize, Rules, ValueType};
use corollary_value::{Value, compare};

/// A stable code and a sentence.
pub type Broken = (&'static str, String);

/// The value as it is stored.
pub fn normalised(rules: &Rules, value: &Value) -> Value {
    let Value::Str(text) = value else { return value.clone() };
    let mut text = text.clone();
    for step in &rules.normalize {
        text = match step {
            Normalize::Lower => text.to_lowercase().into(),
            Normalize::Upper => text.to_uppercase().into(),
            Normalize::Trim => text.trim().into(),
        };
    }
    Value::Str(text)
}

/// Does a value fit its field?
pub fn check(field: &Field, value: &Value) -> Result<(), Broken> {
    let name = &field.name;
    if value.is_null() {
        return check_null(&field.rules, name, value);
    }
    match &field.kind {
        FieldKind::Stored(ty) => {
            check_type(name, ty, value)?;
            check_bounds(&field.rules, name, value)
        }
        FieldKind::Link { .. } | FieldKind::Parent { .. } => match value {
            Value::Ref(_) => Ok(()),
            _ => Err(("type", format!("`{name}` is a link, and {value} is no reference"))),
        },
        FieldKind::Links { .. } => match value {
            Value::List(elements) if elements.iter().all(|element| matches!(element, Value::Ref(_))) => {
                check_bounds(&field.rules, name, value)
            }
            _ => Err(("type", format!("`{name}` holds links, and {value} is no list of references"))),
        },
        _ => Err(("read-only", format!("`{name}` cannot be written"))),
    }
}

fn check_null(rules: &Rules, name: &str, value: &Value) -> Result<(), Broken> {
    match value {
        _ if rules.required && !rules.nullable => Err(("required", format!("`{name}` is required"))),
        Value::Null if !rules.nullable => Err(("null", format!("`{name}` cannot be null"))),
        _ => Ok(()),
    }
}

/// Is a value one of a type, all the way down?
fn check_type(name: &str, ty: &ValueType, value: &Value) -> Result<(), Broken> {
    let wrong = || Err(("type", format!("{value} is no value of `{name}`")));
    match (ty, value) {
        (ValueType::Json, _) => Ok(()),
        (ValueType::Enum(words), Value::Str(word)) => {
            if words.contains(word) {
                return Ok(());
            }
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            Err(("enum", format!("\"{word}\" is none of {}", words.join(", "))))
        }
        (ValueType::List(of) | ValueType::Set(of), Value::List(elements)) => elements
            .iter()
            .enumerate()
            .try_for_each(|(at, element)| check_type(&format!("{name}/{at}"), of, element)),
        (ValueType::Map(of), Value::Object(members)) => {
            members.iter().try_for_each(|(key, value)| check_type(&format!("{name}/{key}"), of, value))
        }
        (ValueType::Object(declared), Value::Object(members)) => {
            for (key, _) in members.iter() {
                if !declared.iter().any(|member| member.name == *key) {
                    return Err(("unknown-field", format!("`{name}` has no member `{key}`")));
                }
            }
            for member in declared {
                let path = format!("{name}/{}", member.name);
                let given = members.iter().find(|(key, _)| *key == member.name).map(|(_, value)| value);
                match given {
                    Some(value) if !value.is_null() => {
                        check_type(&path, &member.ty, value)?;
                        check_bounds(&member.rules, &path, value)?;
                    }
                    given => check_null(&member.rules, &path, given.unwrap_or(&Value::Absent))?,
                }
            }
            Ok(())
        }
        (ValueType::Float, Value::Float(float)) => {
            if float.is_finite() {
                Ok(())
            } else {
                wrong()
            }
        }
        (ValueType::Str, Value::Str(_))
        | (ValueType::Int, Value::Int(_))
        | (ValueType::Bool, Value::Bool(_))
        | (ValueType::Decimal, Value::Decimal(_))
        | (ValueType::Datetime, Value::Datetime(_))
        | (ValueType::Date, Value::Date(_))
        | (ValueType::Duration, Value::Duration(_))
        | (ValueType::Uuid, Value::Uuid(_))
        | (ValueType::Bytes, Value::Bytes(_)) => Ok(()),
        _ => wrong(),
    }
}

fn check_bounds(rules: &Rules, name: &str, value: &Value) -> Result<(), Broken> {
    if let Some(min) = rules.min.as_ref().filter(|min| compare(value, min).is_lt()) {
        return Err(("min", format!("`{name}` is at least {min}")));
    }
    if let Some(max) = rules.max.as_ref().filter(|max| compare(value, max).is_gt()) {
        return Err(("max", format!("`{name}` is at most {max}")));
    }
    let length = match value {
        Value::Str(text) if rules.min_length.is_some() || rules.max_length.is_some() => text.chars().count(),
        Value::List(elements) => elements.len(),
        Value::Object(members) => members.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    } as u64;
    if let Some(min) = rules.min_length.filter(|min| length < *min) {
        return Err((
            "min_length",
            format!("`{name}` has a length of at least {min}, and this has {length}"),
        ));
    }
    if let Some(max) = rules.max_length.filter(|max| length > *max) {
        return Err(("max_length", format!("`{name}` has a length of at most {max}, and this has {length}")));
    }
    if let (Some(pattern), Value::Str(text)) = (&rules.pattern, value)
        && !pattern.regex.is_match(text)
    {
        return Err(("pattern", format!("`{name}` does not match {}", pattern.regex.as_str())));
    }
    Ok(())
}

/// May an existing resource's value change to this one?
pub fn check_change(field: &Field, old: &Value, new: &Value) -> Result<(), Broken> {
    let same = old == new || (old.is_null() && new.is_null());
    if same {
        return Ok(());
    }
    if field.rules.immutable {
        return Err(("immutable", format!("`{}` cannot be changed", field.name)));
    }
    if field.rules.write_once && !old.is_null() {
        return Err(("write-once", format!("`{}` has been set, and cannot be changed", field.name)));
    }
    Ok(())
}
