//! Connections over TLS: rustls, with the same cryptography that the server itself serves with.
//!
//! Invariant: whoever is to be checked is checked before a byte of a password is sent; encryption alone (`require` without
//! certificates) checks nobody, as the address says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::failed;
use crate::StoreError;

/// Who is taken for the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Whoever answers.
    Anybody,
    /// Who has a certificate that one of these, in a PEM file, has signed, or that is one of them.
    Signed {
        /// The file.
        roots: PathBuf,
    },
    /// The same, and its certificate is for the host of the address.
    Named {
        /// The file.
        roots: PathBuf,
    },
}

/// What makes connections over TLS where the address wants them.
pub fn connector(trust: &Trust) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("TLS", error.to_string(), false))?;
    let config = match trust {
        Trust::Named { roots } => builder.with_root_certificates(read(roots)?).with_no_client_auth(),
        Trust::Signed { roots } => {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(read(roots)?), provider.clone())
                    .build()
                    .map_err(|error| failed(&shown(roots), error.to_string(), false))?;
            lenient(builder, Lenient { signed: Some(verifier), provider })
        }
        Trust::Anybody => lenient(builder, Lenient { signed: None, provider }),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn lenient(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>,
    verifier: Lenient,
) -> ClientConfig {
    builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The certificates of a file.
fn read(path: &Path) -> Result<RootCertStore, StoreError> {
    let wrong = |why: String| failed(&shown(path), why, false);
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(roots) }
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
