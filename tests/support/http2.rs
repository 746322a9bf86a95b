//! An HTTP/2 client with prior knowledge, for plain requests and gRPC calls.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};

/// What came back.
pub struct Response {
    pub status: StatusCode,
    /// Headers, and trailers behind them.
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Sends one request on a connection of its own.
pub fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(Vec<u8>, Vec<u8>)],
    body: &[u8],
) -> Result<Response> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://{to}{path}"))
        .version(Version::HTTP_2)
        .body(())?;
    for (name, value) in headers {
        let (name, value) = (HeaderName::from_bytes(name)?, HeaderValue::from_bytes(value)?);
        request.headers_mut().append(name, value);
    }
    let body = Bytes::copy_from_slice(body);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, exchange(to, request, body)).await.context("no answer")?
    })
}

async fn exchange(to: SocketAddr, request: Request<()>, body: Bytes) -> Result<Response> {
    let stream = tokio::net::TcpStream::connect(to).await?;
    let (sender, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let (response, mut sending) = sender.ready().await?.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        sending.send_data(body, true)?;
    }
    let (head, mut receiving) = response.await?.into_parts();
    let (mut headers, mut received) = (head.headers, Vec::new());
    while let Some(chunk) = receiving.data().await {
        let chunk = chunk?;
        received.extend_from_slice(&chunk);
        receiving.flow_control().release_capacity(chunk.len())?;
    }
    headers.extend(receiving.trailers().await?.unwrap_or_default());
    Ok(Response { status: head.status, headers, body: received })
}
