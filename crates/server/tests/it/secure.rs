//! TLS and HTTP/2 on the real binary, with certificates made here.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::common::*;

const SCHEMA: &str = "type Firm in firms { name: str required }";

/// Writes a new certificate of `localhost` and its key; returns what a client is to trust.
fn renew(place: &Place) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    place.write("key.pem", made.signing_key.serialize_pem());
    place.write("cert.pem", made.cert.pem());
    CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()
}

fn start(place: &Place) -> Server {
    let path = |name: &str| place.path(name).to_str().unwrap().to_string();
    let server = Server::start(place, &["--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")]);
    assert!(server.ready.contains("https://"), "{}", server.ready);
    server
}

/// What a client does that trusts one certificate and speaks these protocols.
fn config(trusted: &CertificateDer<'static>, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// The first line of what HTTP/1.1 over TLS is answered with.
fn ask(server: &Server, trusted: &CertificateDer<'static>) -> std::io::Result<String> {
    let stream = TcpStream::connect(&server.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = ClientConnection::new(config(trusted, &[b"http/1.1"]), localhost()).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply.lines().next().unwrap_or_default().to_string())
}

#[test]
fn connections_are_encrypted_and_a_renewed_certificate_is_taken_up() {
    let place = Place::new(SCHEMA);
    let first = renew(&place);
    let server = start(&place);
    assert_eq!(ask(&server, &first).unwrap(), "HTTP/1.1 200 OK");
    // Without TLS nobody is answered, and nobody else is harmed.
    let plain = server.client().try_request("GET", "/healthz", &[], b"");
    assert!(plain.is_err(), "{plain:?}");
    let second = renew(&place);
    assert!(ask(&server, &second).is_err(), "not read yet");
    server.signal(Signal::HUP);
    let taken = (0..500).any(|_| {
        sleep(Duration::from_millis(10));
        ask(&server, &second).is_ok_and(|line| line == "HTTP/1.1 200 OK")
    });
    assert!(taken, "{}", server.said());
    assert!(ask(&server, &first).is_err());
    // One that cannot be read changes nothing.
    place.write("cert.pem", "nonsense");
    server.signal(Signal::HUP);
    let told = (0..500).any(|_| {
        sleep(Duration::from_millis(10));
        server.said().contains("the certificate stays as it was")
    });
    assert!(told, "{}", server.said());
    assert_eq!(ask(&server, &second).unwrap(), "HTTP/1.1 200 OK");
}

#[test]
fn what_is_no_certificate_is_told_by_name() {
    let place = Place::new(SCHEMA);
    renew(&place);
    let (key, wrong) = (place.path("key.pem"), place.write("wrong.pem", "nonsense"));
    let key = key.to_str().unwrap();
    let error = Server::try_start(&place, &["--tls-cert", &wrong, "--tls-key", key]).err().unwrap();
    assert!(error.contains("wrong.pem: there is no certificate in it"), "{error}");
    let error = run(&["serve", "--tls-cert", &wrong]);
    assert!(stderr(&error).contains("--tls-key"), "{}", stderr(&error));
    // The key of another certificate.
    let cert = place.write("other.pem", std::fs::read(place.path("cert.pem")).unwrap());
    renew(&place);
    let error = Server::try_start(&place, &["--tls-cert", &cert, "--tls-key", key]).err().unwrap();
    assert!(error.contains("key.pem"), "{error}");
}

/// Many requests at a time on one HTTP/2 connection.
async fn many(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    scheme: &str,
) {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let requests = (0..100).map(|at| {
        let mut sender = sender.clone();
        let body = json!({"_id": format!("{scheme}{at}"), "name": "one"}).to_string();
        async move {
            let request = hyper::Request::post(format!("{scheme}://localhost/api/firms"))
                .header("content-type", "application/json")
                .body(body)
                .unwrap();
            sender.send_request(request).await.unwrap().status().as_u16()
        }
    });
    let statuses = futures_util::future::join_all(requests).await;
    assert_eq!(statuses, vec![201; 100]);
    driver.abort();
}

#[tokio::test]
async fn http2_is_spoken_with_and_without_tls() {
    let place = Place::new(SCHEMA);
    let trusted = renew(&place);
    let server = start(&place);
    let stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
    let stream = TlsConnector::from(config(&trusted, &[b"h2"])).connect(localhost(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    many(stream, "https").await;
    server.kill();
    let server = place.serve();
    many(tokio::net::TcpStream::connect(&server.address).await.unwrap(), "http").await;
    assert_eq!(server.client().read("/api/firms?count=true")["count"], 200);
}

/// The stream was reset before the reply was sent, so that mostly nobody heard why.
#[tokio::test]
async fn over_http2_it_is_told_that_a_body_is_too_large() {
    let place = Place::new(SCHEMA);
    let server = Server::start(&place, &["--max-body-mib", "1"]);
    for _ in 0..8 {
        let stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = hyper::Request::post("http://localhost/api/firms")
            .header("content-type", "application/json")
            .body(format!("{{\"name\": \"{}\"}}", "x".repeat(2 << 20)))
            .unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status().as_u16(), 413);
        driver.abort();
    }
    server.stop();
}
