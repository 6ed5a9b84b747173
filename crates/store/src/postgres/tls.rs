//! Connections over TLS: rustls, with the same cryptography that the server itself serves with.
//!
//! Invariant: whoever is to be checked is checked before a byte of a password is sent; encryption alone (`require` without
//! certificates) checks nobody, as the address says. A private key that others may read is not used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, WantsVerifier,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::failed;
use crate::StoreError;

/// How connections are protected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protection {
    /// Who is taken for the server.
    pub trust: Trust,
    /// What the server takes us by, if it asks.
    pub identity: Option<Identity>,
}

/// Who is taken for the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Whoever answers.
    Anybody,
    /// Who has a certificate that one of these has signed, or that is one of them.
    Signed(Roots),
    /// The same, and its certificate is for the host of the address.
    Named(Roots),
}

/// Certificates that are trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Roots {
    /// Those of a PEM file.
    File(PathBuf),
    /// Those that the system trusts.
    System,
}

/// A certificate of one's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// A PEM file with it, and then those that lead from it to one that the server knows.
    pub certificate: PathBuf,
    /// A PEM file with its private key, which nobody else may read.
    pub key: PathBuf,
}

/// What makes connections over TLS where the address wants them.
pub fn connector(protection: &Protection) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("TLS", error.to_string(), false))?;
    let builder = match &protection.trust {
        Trust::Named(roots) => builder.with_root_certificates(roots.read()?),
        Trust::Signed(roots) => {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots.read()?), provider.clone())
                    .build()
                    .map_err(|error| failed(&roots.shown(), error.to_string(), false))?;
            lenient(builder, Lenient { signed: Some(verifier), provider })
        }
        Trust::Anybody => lenient(builder, Lenient { signed: None, provider }),
    };
    let config = match &protection.identity {
        Some(identity) => {
            let (certificates, key) = identity.read()?;
            builder
                .with_client_auth_cert(certificates, key)
                .map_err(|error| failed(&shown(&identity.certificate), error.to_string(), false))?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn lenient(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    verifier: Lenient,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The certificates of a file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let wrong = |why: String| failed(&shown(path), why, false);
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(found) }
}

impl Roots {
    fn shown(&self) -> String {
        match self {
            Roots::File(path) => shown(path),
            Roots::System => "the certificates of the system".to_owned(),
        }
    }

    fn read(&self) -> Result<RootCertStore, StoreError> {
        let wrong = |why: String| failed(&self.shown(), why, false);
        let mut roots = RootCertStore::empty();
        match self {
            Roots::File(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
            }
            Roots::System => {
                let found = rustls_native_certs::load_native_certs();
                // One that cannot be read, or is none, is no reason not to trust the others.
                roots.add_parsable_certificates(found.certs);
                if let (true, why) = (roots.is_empty(), found.errors.first()) {
                    let why = why.map(|error| format!(": {error}")).unwrap_or_default();
                    return Err(wrong(format!("there are none{why}")));
                }
            }
        }
        Ok(roots)
    }
}

impl Identity {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), StoreError> {
        let wrong = |why: String| failed(&shown(&self.key), why, false);
        check_secret(&self.key).map_err(wrong)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(error.to_string()))?;
        Ok((certificates(&self.certificate)?, key))
    }
}

/// Refuses what others may read, as libpq does: but the group, where it belongs to root.
#[cfg(unix)]
fn check_secret(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata(path).map_err(|error| error.to_string())?;
    let others = if file.uid() == 0 { 0o037 } else { 0o077 };
    match file.mode() & others {
        0 => Ok(()),
        _ => Err(format!("others may read it: its mode is {:o}, and 600 would do", file.mode() & 0o777)),
    }
}

#[cfg(not(unix))]
fn check_secret(_: &Path) -> Result<(), String> {
    Ok(())
}

/// Does not look at the name of the host, or at nothing.
#[derive(Debug)]
struct Lenient {
    /// Who looks at the signatures; nobody, where anybody will do.
    signed: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(signed) = &self.signed else { return Ok(ServerCertVerified::assertion()) };
        // The name is looked at last, when all else is right.
        match signed.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
