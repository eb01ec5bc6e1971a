//! Servers for the tests, in this process and on loopback: a CouchDB with one database, and the far end of a webhook.

#![allow(dead_code, reason = "each test uses its part")]

pub mod couch;
pub mod hook;

use axum::Router;
use tokio::net::TcpListener;

/// Serves until the test's runtime ends; gives the address.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}
