//! The address of a database: what libpq reads (`postgres://…`, or words `key=value`), as far as it is of use here.
//!
//! Invariant: how a connection is protected is what the address says, or the address is refused; nothing in it that
//! concerns trust is passed over. Read next: `tls`.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::error::{failed, not_an_address};
use super::tls::{Identity, Protection, Roots, Trust};
use crate::StoreError;

/// How a connection that has broken without a word shows: probes begin after this time without traffic, unless the address
/// says otherwise.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);

/// Between two of these probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How many remain unanswered until the connection is given up.
const KEEPALIVE_RETRIES: u32 = 3;

/// How long what was sent may remain unacknowledged, unless the address says otherwise.
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// What the library takes for keepalive where an address says nothing of it.
const LIBRARY_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

/// What an address says.
pub struct Address {
    /// Whom to ask, and as whom.
    pub config: Config,
    /// How connections to them are protected.
    pub protection: Protection,
}

impl Address {
    /// Reads the text.
    ///
    /// # Errors
    ///
    /// A text that is none, or asks for a check that cannot be made; the password stands in none of them.
    pub fn parse(text: &str) -> Result<Address, StoreError> {
        let (rest, words) = if is_url(text) { split_query(text) } else { split_words(text) };
        let word =
            |name: &str| words.iter().rev().find(|(of, _)| of == name).map(|(_, value)| value.as_str());
        let mut config: Config = rest.parse().map_err(|error| not_an_address(&error))?;
        let (mode, protection) =
            protection(&word).map_err(|why| failed("the address of the database", why, false))?;
        #[cfg(unix)]
        let by_socket = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        #[cfg(not(unix))]
        let by_socket = false;
        // PostgreSQL encrypts nothing on a socket, so it need not be asked.
        config.ssl_mode(if by_socket && mode == SslMode::Prefer { SslMode::Disable } else { mode });
        if config.get_keepalives_idle() == LIBRARY_IDLE {
            config.keepalives_idle(KEEPALIVE_IDLE);
            config.keepalives_interval(KEEPALIVE_INTERVAL);
            config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(USER_TIMEOUT);
        }
        // Of several servers the one is meant that takes writes: what the others show may be behind it.
        if config.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Address { config, protection })
    }
}

/// What the words of an address say of protection; or why that cannot be.
fn protection<'w>(word: &dyn Fn(&str) -> Option<&'w str>) -> Result<(SslMode, Protection), String> {
    let file = |name: &str| word(name).filter(|path| !path.is_empty());
    let roots = file("sslrootcert").map(|path| match path {
        "system" => Roots::System,
        path => Roots::File(path.into()),
    });
    // As libpq has it: what everybody's authorities have signed says nothing without the name that is in it.
    let system = roots == Some(Roots::System);
    let mode = word("sslmode").unwrap_or(if system { "verify-full" } else { "prefer" });
    let (mode, trust) = match (mode, roots) {
        (mode, Some(Roots::System)) if mode != "verify-full" => {
            return Err(format!("sslrootcert=system is for sslmode=verify-full, not for {mode}"));
        }
        ("disable", _) => (SslMode::Disable, Trust::Anybody),
        ("prefer", _) => (SslMode::Prefer, Trust::Anybody),
        ("require", None) => (SslMode::Require, Trust::Anybody),
        // As libpq has it: who says whom to trust wants that to be looked at.
        ("require" | "verify-ca", Some(roots)) => (SslMode::Require, Trust::Signed(roots)),
        ("verify-full", Some(roots)) => (SslMode::Require, Trust::Named(roots)),
        (mode @ ("verify-ca" | "verify-full"), None) => {
            return Err(format!(
                "sslmode={mode} needs sslrootcert=FILE, the certificates that are trusted, in PEM, or with \
                 verify-full sslrootcert=system"
            ));
        }
        (mode, _) => {
            return Err(format!(
                "sslmode={mode} is none of disable, prefer, require, verify-ca, verify-full"
            ));
        }
    };
    let identity = match (file("sslcert"), file("sslkey")) {
        (Some(certificate), Some(key)) => Some(Identity { certificate: certificate.into(), key: key.into() }),
        (None, None) => None,
        (Some(_), None) => return Err("sslcert=FILE needs sslkey=FILE, its private key, in PEM".to_owned()),
        (None, Some(_)) => return Err("sslkey=FILE needs sslcert=FILE, its certificate, in PEM".to_owned()),
    };
    Ok((mode, Protection { trust, identity }))
}

fn is_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// What is read here and not by the library.
fn is_ours(name: &str) -> bool {
    matches!(name, "sslmode" | "sslrootcert" | "sslcert" | "sslkey")
}

type Words = Vec<(String, String)>;

/// Takes the parameters out of a URL that are read here.
fn split_query(text: &str) -> (String, Words) {
    let Some((base, query)) = text.split_once('?') else { return (text.to_owned(), Words::new()) };
    let (mut rest, mut words) = (Vec::new(), Words::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some((name, value)) if is_ours(name) => {
                words.push((name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned()));
            }
            _ => rest.push(pair),
        }
    }
    let rest = rest.join("&");
    (if rest.is_empty() { base.to_owned() } else { format!("{base}?{rest}") }, words)
}

/// Takes the words out of a connection string that are read here: `key = value`, a value in single quotes where it has
/// spaces, with `\` before a quote or another `\`.
fn split_words(text: &str) -> (String, Words) {
    let (mut rest, mut words) = (String::new(), Words::new());
    let mut chars = text.char_indices().peekable();
    while let Some(&(begin, first)) = chars.peek() {
        if first.is_whitespace() {
            chars.next();
            continue;
        }
        let mut name = String::new();
        while let Some((_, c)) = chars.next_if(|(_, c)| !c.is_whitespace() && *c != '=') {
            name.push(c);
        }
        while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        if chars.next_if(|(_, c)| *c == '=').is_some() {
            while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        }
        let quoted = chars.next_if(|(_, c)| *c == '\'').is_some();
        let mut value = String::new();
        while let Some((_, c)) = chars.next_if(|(_, c)| quoted || !c.is_whitespace()) {
            match c {
                '\'' if quoted => break,
                '\\' => value.extend(chars.next().map(|(_, c)| c)),
                c => value.push(c),
            }
        }
        let end = chars.peek().map_or(text.len(), |(at, _)| *at);
        if is_ours(&name) {
            words.push((name, value));
        } else {
            rest.push_str(&text[begin..end]);
            rest.push(' ');
        }
    }
    (rest, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn both_forms_say_how_a_connection_is_protected() {
        let file = "/etc/ssl/my certs/root.pem";
        for (text, mode, trust) in [
            ("postgres://u:p@h/d", SslMode::Prefer, Trust::Anybody),
            ("host=h dbname=d", SslMode::Prefer, Trust::Anybody),
            ("postgres://h/d?sslmode=disable", SslMode::Disable, Trust::Anybody),
            ("postgres://h/d?sslmode=require", SslMode::Require, Trust::Anybody),
            ("host=h sslmode = 'require' dbname=d", SslMode::Require, Trust::Anybody),
            (
                "postgresql://h/d?connect_timeout=3&sslrootcert=/etc/ssl/my%20certs/root.pem&sslmode=verify-full",
                SslMode::Require,
                Trust::Named(Roots::File(file.into())),
            ),
            (
                "sslrootcert='/etc/ssl/my certs/root.pem' sslmode=verify-ca host=h dbname=d",
                SslMode::Require,
                Trust::Signed(Roots::File(file.into())),
            ),
            (
                "host=h sslmode=require sslrootcert='/etc/ssl/my certs/root.pem' dbname=d",
                SslMode::Require,
                Trust::Signed(Roots::File(file.into())),
            ),
            ("host=/var/run/postgresql dbname=d", SslMode::Disable, Trust::Anybody),
            ("postgres://h/d?sslrootcert=system", SslMode::Require, Trust::Named(Roots::System)),
            (
                "host=h dbname=d sslmode=verify-full sslrootcert=system",
                SslMode::Require,
                Trust::Named(Roots::System),
            ),
        ] {
            let address = parsed(text);
            assert_eq!((address.config.get_ssl_mode(), &address.protection.trust), (mode, &trust), "{text}");
            assert_eq!(address.config.get_dbname(), Some("d"), "{text}");
        }
    }

    #[test]
    fn what_is_not_read_here_is_left_to_the_library() {
        let address = parsed(r"password='it\'s \\ a = secret' host=h sslmode=disable user=u");
        assert_eq!(address.config.get_password(), Some(br"it's \ a = secret".as_slice()));
        assert_eq!(address.config.get_user(), Some("u"));
        assert_eq!(address.config.get_keepalives_idle(), KEEPALIVE_IDLE);
        let address = parsed("postgres://h/d?sslmode=require&keepalives_idle=77&tcp_user_timeout=3");
        assert_eq!(address.config.get_keepalives_idle(), Duration::from_secs(77));
        assert_eq!(address.config.get_tcp_user_timeout(), Some(&Duration::from_secs(3)));
        assert_eq!(address.config.get_target_session_attrs(), TargetSessionAttrs::Any);
        let several = parsed("postgres://one:5432,two:5433/d?sslmode=require");
        assert_eq!(several.config.get_hosts().len(), 2);
        assert_eq!(several.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for (text, why) in [
            ("postgres://u:secret@h/d?sslmode=verify-full", "sslmode=verify-full needs sslrootcert=FILE"),
            ("host=h password=secret sslmode=verify-ca", "sslmode=verify-ca needs sslrootcert=FILE"),
            ("host=h password=secret sslmode=allow", "sslmode=allow is none of disable"),
            ("host=h password=secret sslmode=", "sslmode= is none of disable"),
            (
                "host=h password=secret sslrootcert=system sslmode=require",
                "sslrootcert=system is for sslmode=verify-full",
            ),
            ("host=h password=secret sslcert=x", "sslcert=FILE needs sslkey=FILE"),
            ("postgres://u:secret@h/d?sslkey=x", "sslkey=FILE needs sslcert=FILE"),
            ("host=h password=secret sslcrl=x", "it is not one"),
            ("host=h password='secret", "it is not one"),
        ] {
            let refused = Address::parse(text).map(drop).unwrap_err().to_string();
            assert!(refused.contains(why) && !refused.contains("secret"), "{text}: {refused}");
        }
    }
}
