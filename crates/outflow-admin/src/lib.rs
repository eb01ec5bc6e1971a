//! Health and metrics of Outflow pipelines over HTTP
