//! `outflow check`.

use outflow_sdk::Findings;

use crate::config::PollingConfig;
use crate::options::Options;
use crate::url::Backend;

/// Looks at the database without changing anything (invariant 11).
pub(crate) async fn check(config: &PollingConfig, findings: &mut Findings) {
    let (options, backend) = match Options::new(config).and_then(|o| Ok((o, config.url.backend()?))) {
        Ok(both) => both,
        Err(error) => return findings.fail(&error),
    };
    match backend {
        #[cfg(feature = "sqlite")]
        Backend::Sqlite(path) => {
            crate::sqlite::check(&crate::sqlite::File::new(path.into()), &options, findings);
        }
        #[cfg(feature = "postgres")]
        Backend::Postgres(url) => {
            match crate::postgres::Endpoint::new(url, config, std::path::Path::new("")) {
                Ok(endpoint) => crate::postgres::check(&endpoint, &options, findings).await,
                Err(error) => findings.fail(&error),
            }
        }
    }
}
