//! How the forwarders are served.

use tokio::net::TcpListener;

/// What deliveries are sent as.
pub const CONTENT_TYPE: &str = "application/webhook+json";

/// Idle connections to the receiver that are kept.
pub const IDLE: usize = 64;

/// Serves at a free port and prints the address.
pub async fn serve(app: axum::Router) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    axum::serve(listener, app).await.expect("serving");
}
