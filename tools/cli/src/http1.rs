//! A small HTTP/1.1 client that sends exactly the bytes it is given and never hangs.
//!
//! A gate is asked with headers that no well-behaved client would send, so nothing here checks or
//! mends a request.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::net::sockopt::set_socket_linger;

/// The longest wait for the peer's next bytes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most bytes of a response's head or of one line of a chunked body, and most fields of a head.
const HEAD_LIMIT: usize = 256 * 1024;
const FIELD_LIMIT: usize = 128;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Name, as it came, and value of each field, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of the field `name`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let field = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_slice())
    }

    /// Whether there is a field `name` with exactly that value.
    #[must_use]
    pub fn has(&self, name: &str, value: &[u8]) -> bool {
        self.headers.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
    }
}

/// The peer closed the connection and answered nothing, as it may between any two requests. An error
/// of [`Connection::send`] that [`is`](anyhow::Error::is) this one has left the request undecided.
#[derive(Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was closed before an answer")
    }
}

/// A connection, kept alive from request to request; a new one takes its place after an answer that
/// closes it.
#[derive(Debug)]
pub struct Connection {
    address: String,
    host: String,
    stream: BufReader<TcpStream>,
    closing: bool,
}

impl Connection {
    /// Connects to `port` of 127.0.0.1.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(port: u16) -> Result<Self> {
        Self::to(&format!("127.0.0.1:{port}"), "127.0.0.1")
    }

    /// Connects to `address`, a host and a port, in order to ask for `host`.
    ///
    /// # Errors
    /// There is no such host, or nobody listens there.
    pub fn to(address: &str, host: &str) -> Result<Self> {
        let stream = connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let (address, host) = (address.to_owned(), host.to_owned());
        Ok(Self { address, host, stream: BufReader::new(stream), closing: false })
    }

    /// Sends a request and reads the answer. `Host` is added, and `Content-Length` for a body.
    ///
    /// # Errors
    /// The peer closes the connection, is silent for too long, or does not speak HTTP/1.1.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&[u8], &[u8])],
        body: &[u8],
    ) -> Result<Response> {
        if self.closing {
            *self = Self::to(&self.address, &self.host)?;
        }
        let sent = self.write(&request(&self.host, method, path, headers, body));
        match sent.and_then(|()| self.stream.fill_buf()) {
            Ok([]) => return Err(anyhow!(Closed)),
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
            {
                return Err(error).context(Closed);
            }
            Err(error) => return Err(error).context("no answer"),
        }
        self.receive(method)
    }

    /// Sends bytes, such as those of some [`request`]s; on this very connection.
    ///
    /// # Errors
    /// The peer has closed the connection, or takes nothing for too long.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads the answer to a request with `method`.
    ///
    /// # Errors
    /// The peer closes the connection, is silent for too long, or does not speak HTTP/1.1.
    pub fn receive(&mut self, method: &str) -> Result<Response> {
        loop {
            let mut response = self.head()?;
            // Interim answers (100 Continue and the like) have no body, and another one follows.
            if response.status >= 200 {
                self.closing = response.has("connection", b"close");
                response.body = self.body(method, &response)?;
                return Ok(response);
            }
        }
    }

    /// Ends the connection with a TCP reset, whatever is under way.
    ///
    /// # Errors
    /// The system refuses that.
    pub fn reset(self) -> Result<()> {
        let stream = self.stream.into_inner();
        // Closing a socket that is not to linger resets it.
        set_socket_linger(&stream, Some(Duration::ZERO)).context("cannot reset a connection")
    }

    fn head(&mut self) -> Result<Response> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let line = self.line()?;
            head.extend(line);
            ensure!(head.len() <= HEAD_LIMIT, "the answer's head is too long");
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELD_LIMIT];
        let mut parsed = httparse::Response::new(&mut fields);
        parsed.parse(&head).context("the answer is not HTTP/1.1")?;
        Ok(Response {
            status: parsed.code.context("the answer has no status")?,
            headers: parsed.headers.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect(),
            body: Vec::new(),
        })
    }

    fn body(&mut self, method: &str, head: &Response) -> Result<Vec<u8>> {
        let chunked = head.header("transfer-encoding").is_some_and(|v| v.ends_with(b"chunked"));
        let length = head.header("content-length");
        if method == "HEAD" || matches!(head.status, 204 | 304) {
            Ok(Vec::new())
        } else if chunked {
            self.chunks()
        } else if let Some(length) = length {
            let length = str::from_utf8(length).ok().and_then(|text| text.parse().ok());
            self.exactly(length.context("the answer's Content-Length is not a number")?)
        } else {
            let mut body = Vec::new();
            self.closing = true;
            self.stream.read_to_end(&mut body).context("the answer's body does not end")?;
            Ok(body)
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line)
            else {
                bail!("the answer's chunk has no size");
            };
            if size == 0 {
                while self.line()? != b"\r\n" {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            ensure!(self.line()? == b"\r\n", "the answer's chunk is longer than it says");
        }
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        let limit = HEAD_LIMIT as u64;
        self.stream.by_ref().take(limit).read_until(b'\n', &mut line).context("no answer")?;
        ensure!(line.ends_with(b"\n"), "the connection was closed in the middle of an answer");
        Ok(line)
    }

    fn exactly(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.by_ref().take(length).read_to_end(&mut bytes).context("no whole answer")?;
        ensure!(bytes.len() as u64 == length, "the answer's body ends early");
        Ok(bytes)
    }
}

/// The bytes of a request. `Host` is added, and `Content-Length` for a body.
#[must_use]
pub fn request(
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&[u8], &[u8])],
    body: &[u8],
) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
    for &(name, value) in headers {
        request.extend([name, b": ", value, b"\r\n"].concat());
    }
    if !body.is_empty() {
        request.extend(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    request.extend([b"\r\n", body].concat());
    request
}

/// A connection to the first of the host's addresses that takes one.
fn connect(address: &str) -> io::Result<TcpStream> {
    let mut error = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(refusal) => error = refusal,
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;

    /// What [`Connection`] makes of `answer`, after which the connection is closed.
    fn exchange(method: &str, answer: &'static [u8]) -> Result<Response> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut request = vec![0; 1024];
            let size = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
            request.truncate(size);
            request
        });
        let response = Connection::open(port)?.send(method, "/a", &[(b"X", b" \xff ")], b"");
        let request = server.join().unwrap();
        let expected = format!("{method} /a HTTP/1.1\r\nHost: 127.0.0.1\r\nX:  ");
        assert_eq!(request, [expected.as_bytes(), b"\xff \r\n\r\n"].concat());
        response
    }

    #[test]
    fn bodies_end_where_they_say() {
        let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: \xff\r\ncontent-length: 2\r\n\r\nhi";
        let response = exchange("GET", answer).unwrap();
        assert_eq!((response.status, response.body.as_slice()), (200, &b"hi"[..]));
        assert_eq!(response.header("a"), Some(&b"\xff"[..]));

        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\na;x\r\n0123456789\r\n0\r\nT: 1\r\n\r\n";
        assert_eq!(exchange("GET", chunked).unwrap().body, b"hi0123456789");

        let closed = b"HTTP/1.1 200 OK\r\n\r\nall of it";
        assert_eq!(exchange("GET", closed).unwrap().body, b"all of it");

        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(exchange("HEAD", head).unwrap().body, b"");
    }

    #[test]
    fn a_connection_is_kept_until_an_answer_closes_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut connection = Connection::open(listener.local_addr().unwrap().port()).unwrap();
        let server = thread::spawn(move || {
            for answers in [&[" ", " close"][..], &[" keep-alive"]] {
                let mut stream = BufReader::new(listener.accept().unwrap().0);
                for closes in answers {
                    while stream.by_ref().lines().next().unwrap().unwrap() != "" {}
                    let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection:";
                    write!(stream.get_mut(), "{head}{closes}\r\n\r\n").unwrap();
                }
            }
        });
        for _ in 0..3 {
            assert_eq!(connection.send("GET", "/", &[], b"").unwrap().status, 200);
        }
        server.join().unwrap();
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        for cut in [
            &b""[..],
            b"HTTP/1.1 200",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhi\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"SSH-2.0\r\n\r\n",
        ] {
            let error = exchange("GET", cut).unwrap_err();
            assert_eq!(error.is::<Closed>(), cut.is_empty(), "{}: {error:#}", cut.escape_ascii());
        }
    }
}
