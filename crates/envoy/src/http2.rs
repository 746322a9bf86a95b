//! A small HTTP/2 client with prior knowledge, for plain requests and gRPC calls, one or many at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::{HeaderName, HeaderValue, Request, Version};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::http1::Response;

/// The longest wait for a connection, or for all answers to what was sent at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to a port of 127.0.0.1.
#[derive(Debug)]
pub struct Connection {
    runtime: Runtime,
    address: SocketAddr,
    sender: SendRequest<Bytes>,
}

impl Connection {
    /// Connects to `port` of 127.0.0.1.
    ///
    /// # Errors
    /// Nobody listens there, or whoever does speaks no HTTP/2.
    pub fn open(port: u16) -> Result<Self> {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let sender = runtime.block_on(async {
            let connect = async {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = h2::client::handshake(stream).await?;
                // It ends with the connection; whoever waits for an answer gets its error.
                tokio::spawn(connection);
                anyhow::Ok(sender)
            };
            timeout(PATIENCE, connect).await.context("no answer")?
        });
        let sender = sender.with_context(|| format!("cannot connect to {address}"))?;
        Ok(Self { runtime, address, sender })
    }

    /// Sends a request and reads the answer; its trailers stand behind its headers.
    ///
    /// # Errors
    /// The peer resets the stream or closes the connection, or is silent for too long; or a field is
    /// none that the client can send.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&[u8], &[u8])],
        body: &[u8],
    ) -> Result<Response> {
        let request = self.request(method, path, headers)?;
        let answer = exchange(self.sender.clone(), request, Bytes::copy_from_slice(body));
        self.runtime.block_on(async { timeout(PATIENCE, answer).await.context("no answer")? })
    }

    /// Sends a GET of `/` with each of these lists of headers at once.
    ///
    /// # Errors
    /// As for [`Connection::send`]; every answer is lost then.
    pub fn send_all<'a>(
        &self,
        all: impl IntoIterator<Item = Vec<(&'a [u8], &'a [u8])>>,
    ) -> Result<Vec<Response>> {
        let requests = all.into_iter().map(|headers| self.request("GET", "/", &headers));
        let requests = requests.collect::<Result<Vec<_>>>()?;
        self.runtime.block_on(async {
            let answers: Vec<_> = requests
                .into_iter()
                .map(|request| tokio::spawn(exchange(self.sender.clone(), request, Bytes::new())))
                .collect();
            let all = async {
                let mut responses = Vec::with_capacity(answers.len());
                for answer in answers {
                    responses.push(answer.await??);
                }
                anyhow::Ok(responses)
            };
            timeout(PATIENCE, all).await.context("no answer")?
        })
    }

    /// Begins a POST of `/` whose body is announced and never comes, and resets its stream.
    ///
    /// # Errors
    /// As for [`Connection::send`].
    pub fn give_up(&self, headers: &[(&[u8], &[u8])]) -> Result<()> {
        let request = self.request("POST", "/", headers)?;
        self.runtime.block_on(async {
            let ready = timeout(PATIENCE, self.sender.clone().ready()).await;
            let (_, mut sending) = ready.context("no answer")??.send_request(request, false)?;
            sending.send_reset(Reason::CANCEL);
            Ok(())
        })
    }

    fn request(&self, method: &str, path: &str, headers: &[(&[u8], &[u8])]) -> Result<Request<()>> {
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
        let mut request = request.body(())?;
        for (name, value) in headers {
            let (name, value) = (HeaderName::from_bytes(name)?, HeaderValue::from_bytes(value)?);
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }
}

async fn exchange(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> Result<Response> {
    let (response, mut sending) = sender.ready().await?.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        sending.send_data(body, true)?;
    }
    let (head, mut receiving) = response.await?.into_parts();
    let (mut headers, mut body) = (head.headers, Vec::new());
    while let Some(chunk) = receiving.data().await {
        let chunk = chunk?;
        body.extend_from_slice(&chunk);
        receiving.flow_control().release_capacity(chunk.len())?;
    }
    headers.extend(receiving.trailers().await?.unwrap_or_default());
    let headers = headers.iter().map(|(n, v)| (n.to_string(), v.as_bytes().to_vec())).collect();
    Ok(Response { status: head.status.as_u16(), headers, body })
}
