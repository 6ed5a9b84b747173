//! How a receiver knows that a delivery is this server's, and not an old one sent again by somebody else: the scheme of
//! Standard Webhooks, for which there are libraries in most languages.
//!
//! ```text
//! webhook-id: the id of the event
//! webhook-timestamp: seconds since 1970 of this attempt
//! webhook-signature: v1,base64(hmac-sha256(secret, "{id}.{timestamp}.{body}"))
//! ```

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// How secrets begin.
const PREFIX: &str = "whsec_";

/// Bytes of a secret that is made here, and that one may have.
const FRESH_BYTES: usize = 32;
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// What both ends know.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", BASE64.encode(&self.0))
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> String {
        secret.to_string()
    }
}

impl TryFrom<String> for Secret {
    type Error = String;

    fn try_from(text: String) -> Result<Secret, String> {
        text.parse()
    }
}

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Secret, String> {
        let bytes = text.strip_prefix(PREFIX).and_then(|text| BASE64.decode(text).ok());
        bytes.filter(|bytes| BYTES.contains(&bytes.len())).map(Secret).ok_or_else(|| {
            format!("a secret is `{PREFIX}` and {} to {} bytes in base64", BYTES.start(), BYTES.end())
        })
    }
}

impl Secret {
    /// One that nobody knows.
    ///
    /// # Panics
    ///
    /// The system has no random numbers.
    pub fn fresh() -> Secret {
        let mut bytes = vec![0; FRESH_BYTES];
        assert!(SystemRandom::new().fill(&mut bytes).is_ok(), "the system has no random numbers");
        Secret(bytes)
    }

    /// The signature of a body that is sent under an id at a time, in seconds since 1970.
    pub fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut signed = hmac::Context::with_key(&key);
        signed.update(format!("{id}.{timestamp}.").as_bytes());
        signed.update(body);
        format!("v1,{}", BASE64.encode(signed.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_the_standard_says() {
        // From the page of Standard Webhooks, as its libraries test it.
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().expect("a secret");
        let signature =
            secret.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(secret.to_string().parse(), Ok(secret));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for text in ["", "whsec_", "whsec_short", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_*"] {
            assert!(text.parse::<Secret>().is_err(), "{text}");
        }
    }
}
