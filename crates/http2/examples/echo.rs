//! Serves the tests' toy service on a port, for measurements and for clients in other languages: `echo 127.0.0.1:50051 [threads]`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| String::from("127.0.0.1:50051"));
    let threads = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let toy = Arc::new(common::Toy::default());
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            common::serve(socket, http2::Config::default(), &toy);
        }
    })
}
