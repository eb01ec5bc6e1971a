//! The HTTP client of both connectors.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use outflow_sdk::{Result, ResultExt, Url};
use reqwest::Client;
use rustls::{ClientConfig, RootCertStore};

/// A client that is made when it is first needed and keeps its connections.
#[derive(Default)]
pub(crate) struct Http(OnceLock<Client>);

impl Http {
    pub(crate) fn client(&self) -> Result<&Client> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        let client = connect()?;
        Ok(self.0.get_or_init(|| client))
    }
}

/// Where a URL leads, without the credentials that may stand in it.
pub(crate) fn address(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

/// rustls with a provider that is named here: a library must neither need nor set the default of its process.
fn connect() -> Result<Client> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .permanent("http.tls")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(Duration::from_secs(10))
        // Longer than a server holds a long poll back.
        .timeout(Duration::from_secs(90))
        .build()
        .permanent("http.client")
}
