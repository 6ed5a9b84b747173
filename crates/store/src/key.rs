//! Building keys: numbers whose bytes order as they do, and the end of a prefix.
//!
//! Invariant: for numbers of one width, the order of the bytes is the order of the numbers. Read next:
//! [`range`](crate::range).

/// Appends `number` in four bytes, most significant first.
pub fn push_u32(key: &mut Vec<u8>, number: u32) {
    key.extend_from_slice(&number.to_be_bytes());
}

/// Appends `number` in eight bytes, most significant first.
pub fn push_u64(key: &mut Vec<u8>, number: u64) {
    key.extend_from_slice(&number.to_be_bytes());
}

/// Takes a number that [`push_u32`] wrote off the front of `key`; `None` if `key` is too short.
pub fn take_u32<'a>(key: &mut &'a [u8]) -> Option<u32> {
    let (number, rest): (&'a [u8; 4], &'a [u8]) = key.split_first_chunk()?;
    *key = rest;
    Some(u32::from_be_bytes(*number))
}

/// Takes a number that [`push_u64`] wrote off the front of `key`; `None` if `key` is too short.
pub fn take_u64<'a>(key: &mut &'a [u8]) -> Option<u64> {
    let (number, rest): (&'a [u8; 8], &'a [u8]) = key.split_first_chunk()?;
    *key = rest;
    Some(u64::from_be_bytes(*number))
}

/// The smallest key greater than every key that starts with `prefix`; `None` if there is none, which is so for a
/// prefix without a byte below 0xff, the empty one among them.
pub fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut successor = prefix[..=last].to_vec();
    successor[last] += 1;
    Some(successor)
}

/// The smallest key greater than `key`: `key` with a zero byte appended.
pub fn next(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn successors() {
        assert_eq!(successor(b""), None);
        assert_eq!(successor(&[0xff, 0xff]), None);
        assert_eq!(successor(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(successor(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(successor(&[0]), Some(vec![1]));
    }

    #[test]
    fn short_keys_give_no_number() {
        let mut key: &[u8] = &[0, 0, 1];
        assert_eq!(take_u32(&mut key), None);
        assert_eq!(take_u64(&mut key), None);
        assert_eq!(key, [0, 0, 1], "a failed take leaves the key as it was");
    }

    proptest! {
        #[test]
        fn numbers_order_as_bytes_and_come_back(a: u64, b: u64, c: u32, d: u32) {
            let build = |wide, narrow| {
                let mut key = Vec::new();
                push_u64(&mut key, wide);
                push_u32(&mut key, narrow);
                key
            };
            prop_assert_eq!(build(a, c).cmp(&build(b, d)), (a, c).cmp(&(b, d)));
            let key = build(a, c);
            let mut rest = key.as_slice();
            prop_assert_eq!(take_u64(&mut rest), Some(a));
            prop_assert_eq!(take_u32(&mut rest), Some(c));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn successor_is_the_least_upper_bound(prefix: Vec<u8>, tail: Vec<u8>, other: Vec<u8>) {
            let extended = [prefix.as_slice(), &tail].concat();
            if let Some(successor) = successor(&prefix) {
                prop_assert!(extended < successor);
                prop_assert!(!(other > extended && other < successor) || other.starts_with(&prefix));
            }
        }

        #[test]
        fn next_is_adjacent(key: Vec<u8>, other: Vec<u8>) {
            let next = next(&key);
            prop_assert!(key < next && !(key < other && other < next));
        }
    }
}
