//! TLS: the system's roots, and `certs.d/HOST` for roots and client certificates.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::Settings;
use super::pinned::Pinned;
use crate::error::{Error, Result};

/// Where distributions keep their roots.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/share/ssl/certs/ca-bundle.crt",
];

/// The TLS settings for one host, and how to reach it if it has roots of its own.
pub(super) fn config(settings: &Settings, host: &str) -> Result<(TlsConfig, Option<Pinned>)> {
    let mut config = TlsConfig::builder().disable_verification(settings.insecure);
    let own = HostCerts::of(settings, host)?;
    let mut pinned = None;
    if !settings.insecure && !settings.plain_http {
        let mut roots = system(settings);
        roots.extend(own.roots.iter().cloned());
        // Who also asks for our certificate is reached the usual way.
        if !own.roots.is_empty() && own.client.is_none() {
            pinned = Pinned::new(host, &own.roots, &roots);
        }
        config = config.root_certs(RootCerts::Specific(Arc::new(roots)));
    }
    if let Some(client) = own.client {
        config = config.client_cert(Some(client));
    }
    Ok((config.build(), pinned))
}

/// The TLS settings for a docker daemon: `ca.pem`, `cert.pem` and `key.pem` in a folder.
pub(crate) fn of_daemon(dir: Option<&Path>, verify: bool) -> Result<TlsConfig> {
    let mut config = TlsConfig::builder().disable_verification(!verify);
    let mut roots = system(&Settings::default());
    if let Some(dir) = dir {
        let file = |name: &str| Some(dir.join(name)).filter(|p| p.exists());
        if let Some(ca) = file("ca.pem") {
            roots = certificates(&ca)?;
        }
        if let (Some(chain), Some(own)) = (file("cert.pem"), file("key.pem")) {
            config = config.client_cert(Some(client(&chain, &own)?));
        }
    }
    Ok(config.root_certs(RootCerts::Specific(Arc::new(roots))).build())
}

fn system(settings: &Settings) -> Vec<Certificate<'static>> {
    let bundle =
        settings.ca_file.clone().or_else(|| BUNDLES.iter().map(PathBuf::from).find(|p| p.exists()));
    let found =
        rustls_native_certs::load_certs_from_paths(bundle.as_deref(), settings.ca_dir.as_deref());
    // An unreadable root only means that less is trusted; the handshake will say so.
    found.certs.iter().map(|c| Certificate::from_der(c).to_owned()).collect()
}

#[derive(Default)]
struct HostCerts {
    roots: Vec<Certificate<'static>>,
    client: Option<ClientCert>,
}

impl HostCerts {
    /// What is given by flag comes first: for this host, or for whoever is asked.
    fn of(settings: &Settings, host: &str) -> Result<Self> {
        let given = settings.cert_dir.iter().flat_map(|d| [d.join(host), d.clone()]);
        Self::read(given.chain(settings.cert_dirs.iter().map(|d| d.join(host))))
    }

    /// `*.crt` are roots; `X.cert` and `X.key` are a client certificate and its key.
    fn read(dirs: impl Iterator<Item = PathBuf>) -> Result<Self> {
        let mut all = Self::default();
        for dir in dirs {
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
            files.sort();
            for file in files {
                match file.extension().and_then(|e| e.to_str()) {
                    Some("crt") => all.roots.extend(certificates(&file)?),
                    Some("cert") if all.client.is_none() => {
                        all.client = Some(client(&file, &file.with_extension("key"))?);
                    }
                    _ => {}
                }
            }
        }
        Ok(all)
    }
}

/// A client's certificate and its key, checked: later, a bad one would only be found by a panic.
fn client(chain: &Path, own: &Path) -> Result<ClientCert> {
    let (certs, key) = (certificates(chain)?, key(own)?);
    let pem = fs::read(own).map_err(Error::at("read", own))?;
    let der = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|e| Error::invalid(format!("key file {}", own.display()), e))?;
    let list = certs.iter().map(|c| CertificateDer::from(c.der().to_vec())).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let bad = |e: rustls::Error| {
        let why = match e.to_string() {
            text if text.contains("UnsupportedCertVersion") => {
                "it is of version 1, 3 is needed".into()
            }
            text => text,
        };
        Error::invalid(format!("client certificate {}", chain.display()), why)
    };
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(bad)?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_client_auth_cert(list, der)
        .map_err(bad)?;
    Ok(ClientCert::new_with_certs(&certs, key))
}

fn items(path: &Path) -> Result<Vec<PemItem<'static>>> {
    let pem = fs::read(path).map_err(Error::at("read", path))?;
    let bad = |e| Error::invalid(format!("certificate file {}", path.display()), e);
    parse_pem(&pem).collect::<std::result::Result<Vec<_>, _>>().map_err(bad)
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let certificate = |item| match item {
        PemItem::Certificate(c) => Some(c),
        _ => None,
    };
    Ok(items(path)?.into_iter().filter_map(certificate).collect())
}

fn key(path: &Path) -> Result<PrivateKey<'static>> {
    let key = |item| match item {
        PemItem::PrivateKey(k) => Some(k),
        _ => None,
    };
    let found = items(path)?.into_iter().find_map(key);
    found.ok_or_else(|| Error::invalid(path.display().to_string(), "it holds no private key"))
}
