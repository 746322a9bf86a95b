//! The HTTP client: one kept connection, HTTP/1.1 or HTTP/2, in the clear or over TLS.
//!
//! hyper does the protocols. This module adds what a check needs: a limit on the time of each exchange, and
//! no retry and no reconnect that the caller did not ask for. `raw` sends what hyper refuses to send.

use std::collections::HashSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The longest wait for a connection, and for the whole answer to a request.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
/// Most bytes of a body that is read, and of one that is read only to keep the connection.
const BODY_LIMIT: usize = 64 * 1024 * 1024;
const SKIP_LIMIT: u64 = 1024 * 1024;
/// Most bytes of an answer's fields over HTTP/2.
const HEADERS_LIMIT: u32 = 256 * 1024;

/// Header fields, name and value.
pub type Fields<'a> = [(&'a [u8], &'a [u8])];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Name and value of each field, in order; then those of the trailers.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of the field `name`.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let field = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_slice())
    }

    pub fn has(&self, name: &str, value: &[u8]) -> bool {
        self.headers.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
    }
}

/// The peer closed the connection or reset the stream without a whole head of an answer, as it may between any two
/// requests. An error of `send` that [`is`](anyhow::Error::is) this one leaves the request undecided.
#[derive(Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was closed before an answer")
    }
}

/// How to speak to a peer.
#[derive(Clone, Debug)]
pub enum Transport {
    Http1,
    /// HTTP/2 in the clear, with prior knowledge.
    Http2,
    /// TLS, with the version of HTTP that ALPN selects.
    Tls(Arc<ClientConfig>),
}

/// A connection, kept open from request to request.
#[derive(Debug)]
pub struct Connection {
    runtime: Runtime,
    sender: Sender,
    peer: SocketAddr,
    authority: Authority,
    transport: Transport,
    timeout: Duration,
    used: bool,
}

impl Connection {
    /// Connects to `port` of 127.0.0.1, for HTTP/1.1.
    pub fn open(port: u16) -> Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, port).into(), "127.0.0.1", Transport::Http1)
    }

    /// Connects to `port` of 127.0.0.1, for HTTP/2.
    pub fn http2(port: u16) -> Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, port).into(), "127.0.0.1", Transport::Http2)
    }

    /// Connects to `peer` in order to ask for `authority`, a host with or without a port.
    pub fn at(peer: SocketAddr, authority: &str, transport: Transport) -> Result<Self> {
        let authority: Authority =
            authority.parse().with_context(|| format!("{authority:?} is not a host"))?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let sender = runtime.block_on(async {
            let connecting = connect(peer, &authority, &transport);
            timeout(TIMEOUT, connecting).await.context("no answer in time")?
        });
        let sender = sender.with_context(|| format!("cannot connect to {peer}"))?;
        Ok(Self { runtime, sender, peer, authority, transport, timeout: TIMEOUT, used: false })
    }

    /// What is spoken.
    pub fn protocol(&self) -> &'static str {
        match (&self.sender, &self.transport) {
            (Sender::Http1(_), Transport::Tls(_)) => "HTTP/1.1 over TLS",
            (Sender::Http2(_), Transport::Tls(_)) => "HTTP/2 over TLS",
            (Sender::Http1(_), _) => "HTTP/1.1",
            (Sender::Http2(_), _) => "HTTP/2",
        }
    }

    /// Whether it has had an answer: a peer may close such a connection between two requests.
    pub fn is_used(&self) -> bool {
        self.used
    }

    /// Replaces the connection by a new one to the same peer.
    pub fn reopen(&mut self) -> Result<()> {
        *self = Self::at(self.peer, self.authority.as_str(), self.transport.clone())?;
        Ok(())
    }

    /// Sends a request and reads the answer. Host and length are added.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        fields: &Fields,
        body: &[u8],
    ) -> Result<Response> {
        self.send_for(method, path, fields, body, |_| true)
    }

    /// As [`Connection::send`], without the body of an answer whose head is not `wanted`: it may never end.
    pub fn send_for(
        &mut self,
        method: &str,
        path: &str,
        fields: &Fields,
        body: &[u8],
        wanted: impl Fn(&Response) -> bool,
    ) -> Result<Response> {
        let body = Either::Left(Full::new(Bytes::copy_from_slice(body)));
        let request = self.request(method, path, fields, body)?;
        let exchange = exchange(&mut self.sender, request, wanted);
        let response = self.runtime.block_on(async { timeout(self.timeout, exchange).await });
        let response = response.context("no whole answer in time")??;
        self.used = true;
        Ok(response)
    }

    /// Begins a POST of `/` whose body never comes, and gives it up; over HTTP/2 this resets the stream.
    pub fn give_up(&mut self, fields: &Fields) -> Result<()> {
        let (_body, channel) = Channel::new(1);
        let request = self.request("POST", "/", fields, Either::Right(channel))?;
        let mut answer = pin!(self.sender.send(request));
        self.runtime.block_on(async {
            // Long enough for the head to be sent; what is dropped then is reset.
            for _ in 0..8 {
                tokio::select! { biased; _ = &mut answer => break, () = yield_now() => {} }
            }
        });
        Ok(())
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        fields: &Fields,
        body: Outgoing,
    ) -> Result<Request<Outgoing>> {
        let mut uri = path.parse::<Uri>()?.into_parts();
        let http2 = matches!(self.sender, Sender::Http2(_));
        if http2 {
            let tls = matches!(self.transport, Transport::Tls(_));
            uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
            uri.authority = Some(self.authority.clone());
        }
        let mut request =
            Request::builder().method(method).uri(Uri::from_parts(uri)?).body(body)?;
        if !http2 {
            request.headers_mut().insert(HOST, self.authority.as_str().parse()?);
        }
        for (name, value) in fields {
            let (name, value) = (HeaderName::from_bytes(name)?, HeaderValue::from_bytes(value)?);
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }
}

/// All addresses of `address`, a host and a port; at least one.
pub fn addresses(address: &str) -> Result<Vec<SocketAddr>> {
    let found = address.to_socket_addrs().with_context(|| format!("cannot find {address}"))?;
    let mut seen = HashSet::new();
    let all: Vec<_> = found.filter(|one| seen.insert(*one)).collect();
    ensure!(!all.is_empty(), "cannot find {address}: the host has no address");
    Ok(all)
}

type Outgoing = Either<Full<Bytes>, Channel<Bytes>>;

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Outgoing>),
    Http2(http2::SendRequest<Outgoing>),
}

impl Sender {
    async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> hyper::Result<hyper::Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }
}

async fn connect(peer: SocketAddr, authority: &Authority, transport: &Transport) -> Result<Sender> {
    let stream = TcpStream::connect(peer).await?;
    stream.set_nodelay(true)?;
    let config = match transport {
        Transport::Http1 => return handshake(stream, false).await,
        Transport::Http2 => return handshake(stream, true).await,
        Transport::Tls(config) => config.clone(),
    };
    let name = authority.host().trim_matches(['[', ']']).to_owned().try_into()?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    handshake(stream, http2).await
}

async fn handshake<S>(stream: S, http2: bool) -> Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    // The connection ends with its task; whoever waits for an answer gets its error.
    Ok(if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        // A gRPC message may be a whole body.
        builder.max_header_list_size(HEADERS_LIMIT);
        let (sender, connection) = builder.handshake(stream).await?;
        tokio::spawn(connection);
        Sender::Http2(sender)
    } else {
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Sender::Http1(sender)
    })
}

async fn exchange(
    sender: &mut Sender,
    request: Request<Outgoing>,
    wanted: impl Fn(&Response) -> bool,
) -> Result<Response> {
    let answer = sender.send(request).await.map_err(|error| {
        let wrong = error.is_parse() || error.is_user();
        let error = anyhow::Error::new(error);
        if wrong { error.context("the answer is not HTTP") } else { error.context(Closed) }
    })?;
    let (head, body) = answer.into_parts();
    let mut response =
        Response { status: head.status.as_u16(), headers: fields(&head.headers), body: Vec::new() };
    let wanted = wanted(&response);
    if !wanted && body.size_hint().exact().is_none_or(|size| size > SKIP_LIMIT) {
        return Ok(response);
    }
    let body = Limited::new(body, BODY_LIMIT).collect().await;
    let body =
        body.map_err(|error| anyhow!(error).context("the answer's body is cut short or too long"))?;
    response.headers.extend(body.trailers().map(fields).unwrap_or_default());
    if wanted {
        response.body = body.to_bytes().to_vec();
    }
    Ok(response)
}

fn fields(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread::{self, JoinHandle};

    use super::*;

    /// A connection to a server that answers the first request like this; the server's end and the request.
    fn server(answer: impl Into<Vec<u8>>) -> (Connection, JoinHandle<(TcpStream, Vec<u8>)>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut connection = Connection::open(listener.local_addr().unwrap().port()).unwrap();
        connection.timeout = Duration::from_millis(500);
        let answer = answer.into();
        let server = thread::spawn(move || {
            let (mut stream, mut request) = (listener.accept().unwrap().0, vec![0; 1024]);
            let size = stream.read(&mut request).unwrap();
            request.truncate(size);
            stream.write_all(&answer).unwrap();
            (stream, request)
        });
        (connection, server)
    }

    #[test]
    fn values_are_sent_and_received_as_they_are() {
        let head = b"HTTP/1.1 200 OK\r\nA: \xff\r\ncontent-length: 2\r\n\r\nhi";
        let (mut connection, server) = server(*head);
        let response = connection.send("GET", "/a?b", &[(b"x", b" \xff ")], b"").unwrap();
        assert_eq!((response.status, &response.body[..]), (200, &b"hi"[..]));
        assert!(response.has("A", b"\xff"));
        let expected = b"GET /a?b HTTP/1.1\r\nhost: 127.0.0.1\r\nx:  \xff \r\n\r\n";
        assert_eq!(server.join().unwrap().1, expected);
    }

    #[test]
    fn neither_an_unwanted_body_nor_an_endless_answer_is_waited_for() {
        let (closed, late) = (Closed.to_string(), "no whole answer in time".to_owned());
        // The server stays silent after these, and does not close.
        for (rest, expected) in [
            ("Transfer-Encoding: chunked\r\n\r\n6\r\nevent\n\r\n", &closed),
            ("Content-Length: 9999999\r\n\r\n", &closed),
            ("\r\n", &closed),
            ("Content-Length: 2\r\n\r\nhi", &late),
        ] {
            let (mut connection, server) = server(format!("HTTP/1.1 200 OK\r\n{rest}"));
            let response = connection.send_for("GET", "/", &[], b"", |head| head.status != 200);
            assert_eq!(response.unwrap().body, b"");
            let _silent = server.join().unwrap();
            let error = connection.send("GET", "/", &[], b"").unwrap_err();
            assert_eq!(error.to_string(), *expected, "{rest}: {error:#}");
        }
    }

    #[test]
    fn closed_means_that_the_request_is_undecided() {
        for (answer, closed) in [
            ("", true),
            ("HTTP/1.1 200", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi", false),
            ("SSH-2.0\r\n\r\n", false),
        ] {
            let (mut connection, server) = server(answer);
            let closes = thread::spawn(move || drop(server.join().unwrap()));
            let error = connection.send("GET", "/", &[], b"").unwrap_err();
            assert_eq!(error.is::<Closed>(), closed, "{answer}: {error:#}");
            closes.join().unwrap();
        }
    }
}
