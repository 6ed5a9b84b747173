//! Delivery to a stream of NATS JetStream: an event is taken when the stream says that it has it.
//!
//! One connection for each hook, made when there is something to send. All that is on its way when it ends has failed, and is
//! sent again by who wants that; the stream drops what it has had, by the id of the event (`Nats-Msg-Id`).

pub mod protocol;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::BytesMut;
use hyper_rustls::ConfigBuilderExt;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;

use super::lanes::Event;
use protocol::{Info, Said, acknowledged, publish, take};

/// The port where none is said.
const PORT: u16 = 4_222;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the server may not read what is sent to it.
const WRITE: Duration = Duration::from_secs(10);

/// Bytes of a subject.
const MAX_SUBJECT: usize = 255;

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    /// Is it spoken to in secret, whatever the server wants?
    tls: bool,
    subject: String,
}

impl Address {
    /// Reads what stands behind `nats://` or `tls://`.
    ///
    /// # Errors
    ///
    /// Why that is no address.
    pub fn parse(rest: &str, tls: bool) -> Result<Address, String> {
        let form = "it has the form nats://host:port/SUBJECT";
        let (authority, subject) = rest.split_once('/').ok_or(form)?;
        if authority.contains('@') {
            return Err(
                "an address has no name and password; credentials go into `headers`, as `authorization`"
                    .into(),
            );
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| form)?),
            _ => (authority, PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty()
            || port == 0
            || host.contains(|letter: char| letter.is_whitespace() || letter == '/')
        {
            return Err(form.into());
        }
        let subject = percent_decode_str(subject).decode_utf8().map_err(|_| "a subject is UTF-8")?;
        let is_plain = |token: &str| {
            let plain = |letter: char| letter.is_alphanumeric() || "-_=:".contains(letter);
            !token.is_empty() && token.chars().all(plain)
        };
        if subject.len() > MAX_SUBJECT || !subject.split('.').all(is_plain) {
            return Err(format!(
                "`{subject}` is no subject to publish to: names of letters, digits, `-` and `_` with dots between them"
            ));
        }
        Ok(Address { host: host.into(), port, tls, subject: subject.into_owned() })
    }
}

/// Who is let in: what the header `authorization` of a hook says, as HTTP writes it.
fn credentials(
    headers: &BTreeMap<String, String>,
) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    let mut known = serde_json::Map::new();
    let Some(given) = headers.get("authorization") else { return Ok(known) };
    let form = "`authorization` is `Basic` with name and password, or `Bearer` with a token";
    match given.split_once(' ').ok_or(form)? {
        (kind, token) if kind.eq_ignore_ascii_case("bearer") => {
            known.insert("auth_token".into(), token.trim().into());
        }
        (kind, both) if kind.eq_ignore_ascii_case("basic") => {
            let both = BASE64.decode(both.trim()).ok().and_then(|both| String::from_utf8(both).ok());
            let both = both.ok_or(form)?;
            let (name, password) = both.split_once(':').ok_or(form)?;
            known.insert("user".into(), name.into());
            known.insert("pass".into(), password.into());
        }
        _ => return Err(form.into()),
    }
    Ok(known)
}

/// What of the headers of a hook cannot go to a stream.
///
/// # Errors
///
/// The name, and why.
pub fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), (String, String)> {
    for name in headers.keys() {
        if name.starts_with("nats-") || name.starts_with("corollary-") {
            return Err((name.clone(), format!("`{name}` is set by the server")));
        }
    }
    credentials(headers).map(drop).map_err(|why| ("authorization".into(), why))
}

/// A message that waits to be sent.
struct Message {
    id: String,
    body: bytes::Bytes,
    done: oneshot::Sender<Result<(), String>>,
}

/// Sends to one subject.
#[derive(Clone)]
pub struct Client {
    messages: mpsc::Sender<Message>,
}

impl Client {
    /// Nothing is connected yet; `wait` is how long an answer may take.
    pub fn new(address: Address, hook: &str, headers: &BTreeMap<String, String>, wait: Duration) -> Client {
        let (messages, waiting) = mpsc::channel(1);
        let mut shown = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        shown.push(("Corollary-Hook".into(), hook.to_owned()));
        let others = headers.iter().filter(|(name, _)| *name != "authorization");
        shown.extend(others.map(|(name, value)| (name.clone(), value.clone())));
        // What is wrong with them was told when the hook was declared.
        let credentials = credentials(headers).unwrap_or_default();
        let sender = Sender { address, headers: shown, credentials, wait, tls: None };
        // Ends with the last client.
        tokio::spawn(sender.run(waiting));
        Client { messages }
    }

    /// Sends an event, and waits until a stream has it.
    ///
    /// # Errors
    ///
    /// Why it may not have.
    pub async fn publish(&self, event: &Event) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        let message = Message { id: event.id.clone(), body: event.body.clone(), done };
        let lost = "the connection ended before the stream had answered";
        self.messages.send(message).await.map_err(|_| lost)?;
        answer.await.unwrap_or_else(|_| Err(lost.into()))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that a server has let in.
struct Connection {
    stream: Box<dyn Stream>,
    /// What came and was not read yet.
    come: BytesMut,
    info: Info,
    /// Where answers go, up to the number of the message.
    inbox: String,
}

struct Sender {
    address: Address,
    headers: Vec<(String, String)>,
    credentials: serde_json::Map<String, serde_json::Value>,
    wait: Duration,
    tls: Option<TlsConnector>,
}

/// Messages on their way, by their numbers.
type OnTheirWay = BTreeMap<u64, (oneshot::Sender<Result<(), String>>, Instant)>;

impl Sender {
    async fn run(mut self, mut waiting: mpsc::Receiver<Message>) {
        while let Some(first) = waiting.recv().await {
            let connected = timeout(CONNECT, self.connect()).await;
            let failed = match connected {
                Ok(Ok(connection)) => {
                    let mut on_their_way = OnTheirWay::new();
                    let why = self.talk(connection, first, &mut waiting, &mut on_their_way).await;
                    for (done, _) in on_their_way.into_values() {
                        // Whoever asked may have given up.
                        let _ = done.send(Err(why.clone()));
                    }
                    continue;
                }
                Ok(Err(why)) => why,
                Err(_) => format!("no connection within {} s", CONNECT.as_secs()),
            };
            let Address { host, port, .. } = &self.address;
            let _ = first.done.send(Err(format!("{host}:{port} cannot be reached: {failed}")));
        }
    }

    async fn connect(&mut self) -> Result<Connection, String> {
        let told = |error: io::Error| error.to_string();
        let Address { host, port, tls, .. } = &self.address;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        let inbox = format!("_INBOX.{:016x}{:016x}.", fastrand::u64(..), fastrand::u64(..));
        let mut connection =
            Connection { stream: Box::new(stream), come: BytesMut::new(), info: Info::default(), inbox };
        match connection.hear().await? {
            Said::Info(info) => connection.info = *info,
            other => return Err(format!("it begins with {other:?}")),
        }
        let secret = *tls || connection.info.tls_required;
        if secret {
            if !connection.info.tls_required && !connection.info.tls_available {
                return Err("it does not speak TLS".into());
            }
            let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
            let connector = self.connector()?;
            let Connection { stream, come, info, inbox } = connection;
            let stream = connector.connect(name, stream).await.map_err(told)?;
            connection = Connection { stream: Box::new(stream), come, info, inbox };
        }
        if !connection.info.headers {
            return Err("it takes no headers: JetStream needs version 2.2 or later".into());
        }
        let mut hello = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true, "protocol": 1, "tls_required": secret,
            "lang": "rust", "name": "corollary", "version": env!("CARGO_PKG_VERSION"),
        });
        if let Some(members) = hello.as_object_mut() {
            members.extend(self.credentials.clone());
        }
        let inbox = &connection.inbox;
        let begin = format!("CONNECT {hello}\r\nSUB {inbox}* 1\r\nPING\r\n");
        connection.say(begin.as_bytes()).await?;
        loop {
            match connection.hear().await? {
                Said::Pong => return Ok(connection),
                Said::Error(why) => return Err(why),
                Said::Ping => connection.say(b"PONG\r\n").await?,
                Said::Info(info) => connection.info = *info,
                Said::Ok | Said::Message { .. } => {}
            }
        }
    }

    /// What encrypts, with the certificates that the system trusts.
    fn connector(&mut self) -> Result<TlsConnector, String> {
        if let Some(connector) = &self.tls {
            return Ok(connector.clone());
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = builder.with_native_roots().map_err(|error| error.to_string())?.with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        self.tls = Some(connector.clone());
        Ok(connector)
    }

    /// Sends what comes, and hears what is answered, until the connection ends: why it did.
    async fn talk(
        &self,
        mut connection: Connection,
        first: Message,
        waiting: &mut mpsc::Receiver<Message>,
        on_their_way: &mut OnTheirWay,
    ) -> String {
        let mut number = 0;
        let mut next = Some(first);
        loop {
            if let Some(message) = next.take() {
                number += 1;
                if let Err(why) = self.send(&mut connection, message, number, on_their_way).await {
                    return why;
                }
            }
            // Numbers and times grow together.
            let late = on_their_way.first_key_value().map(|(_, (_, sent))| *sent + self.wait);
            tokio::select! {
                heard = connection.hear() => match heard {
                    Ok(Said::Message { subject, status, body }) => {
                        let number = subject.strip_prefix(&connection.inbox).and_then(|number| number.parse().ok());
                        if let Some((done, _)) = number.and_then(|number: u64| on_their_way.remove(&number)) {
                            let _ = done.send(acknowledged(status, &body));
                        }
                    }
                    Ok(Said::Ping) => {
                        if let Err(why) = connection.say(b"PONG\r\n").await {
                            return why;
                        }
                    }
                    Ok(Said::Info(info)) => connection.info = *info,
                    Ok(Said::Pong | Said::Ok) => {}
                    Ok(Said::Error(why)) | Err(why) => return why,
                },
                message = waiting.recv() => match message {
                    Some(message) => next = Some(message),
                    None => return "nothing more is sent".into(),
                },
                () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => {
                    return format!("no answer of a stream within {} s", self.wait.as_secs_f64());
                }
            }
        }
    }

    async fn send(
        &self,
        connection: &mut Connection,
        message: Message,
        number: u64,
        on_their_way: &mut OnTheirWay,
    ) -> Result<(), String> {
        let reply = format!("{}{number}", connection.inbox);
        let mut headers = vec![("Nats-Msg-Id", message.id.as_str())];
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut out = Vec::with_capacity(message.body.len() + 256);
        publish(&self.address.subject, &reply, &headers, &message.body, &mut out);
        let most = connection.info.max_payload;
        if out.len() > most && most > 0 {
            let why = format!("the event has {} bytes, and the server takes {most}", message.body.len());
            let _ = message.done.send(Err(why));
            return Ok(());
        }
        on_their_way.insert(number, (message.done, Instant::now()));
        connection.say(&out).await
    }
}

impl Connection {
    /// The next that the server says. Nothing is lost where it is not waited for to its end.
    async fn hear(&mut self) -> Result<Said, String> {
        loop {
            if let Some(said) = take(&mut self.come)? {
                return Ok(said);
            }
            match self.stream.read_buf(&mut self.come).await {
                Ok(0) => return Err("the server has ended the connection".into()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        let all = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout(WRITE, all).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the server has read nothing for {} s", WRITE.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_a_host_and_a_subject() {
        let address = Address::parse("stream.example:4333/orders.changes-1", false).unwrap();
        assert_eq!(
            (address.host.as_str(), address.port, address.subject.as_str()),
            ("stream.example", 4_333, "orders.changes-1")
        );
        assert_eq!(
            Address::parse("[::1]/a", true).map(|it| (it.host, it.port, it.tls)),
            Ok(("::1".into(), PORT, true))
        );
        for wrong in [
            "",
            "host",
            "host/",
            "/a",
            "host:x/a",
            "host:0/a",
            "me:pw@host/a",
            "host/a..b",
            "host/a.*",
            "host/a.>",
            "host/a b",
            "host/$JS.x",
            "ho st/a",
            "host/a%0d%0aPUB",
        ] {
            Address::parse(wrong, false).expect_err(wrong);
        }
    }

    #[test]
    fn credentials_are_written_as_in_http() {
        let given = |text: &str| credentials(&BTreeMap::from([("authorization".into(), text.into())]));
        assert_eq!(given("Bearer s3").unwrap()["auth_token"], json!("s3"));
        let basic = given("Basic bWU6YTpi").unwrap();
        assert_eq!((&basic["user"], &basic["pass"]), (&json!("me"), &json!("a:b")));
        for wrong in ["", "s3", "Digest x", "Basic x", "Basic bWU="] {
            given(wrong).expect_err(wrong);
        }
        assert_eq!(credentials(&BTreeMap::new()).unwrap().len(), 0);
    }
}
