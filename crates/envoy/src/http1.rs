//! A small HTTP/1.1 client that sends exactly the bytes it is given and never hangs.
//!
//! A gate is asked with headers that no well-behaved client would send, so nothing here checks or
//! mends a request.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::net::sockopt::set_socket_linger;

/// The longest wait for a connection, and the longest that a whole exchange may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most bytes of a response's head or of one line of a chunked body, and most fields of a head.
const HEAD_LIMIT: usize = 256 * 1024;
const FIELD_LIMIT: usize = 128;
/// Most bytes of a body that is read, and of one that is read only to keep the connection.
const BODY_LIMIT: u64 = 64 * 1024 * 1024;
const SKIP_LIMIT: u64 = 1024 * 1024;

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

    /// Whether `token`, in any case, is in a field `name`, which is a list.
    fn lists(&self, name: &str, token: &str) -> bool {
        let fields = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut tokens = fields.flat_map(|(_, value)| value.split(|&b| b == b','));
        tokens.any(|found| found.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
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
    peer: SocketAddr,
    host: String,
    stream: BufReader<Timed>,
    patience: Duration,
    kept: bool,
    closing: bool,
}

impl Connection {
    /// Connects to `port` of 127.0.0.1.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(port: u16) -> Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, port).into(), "127.0.0.1")
    }

    /// Connects to the first of the addresses of `address`, a host and a port, that takes a
    /// connection, in order to ask for `host`.
    ///
    /// # Errors
    /// There is no such host, or nobody listens there.
    pub fn to(address: &str, host: &str) -> Result<Self> {
        let mut all = addresses(address)?.into_iter().map(|peer| Self::at(peer, host));
        let first = all.next().context("a host has an address")?;
        let any = first.or_else(|error| all.find_map(Result::ok).ok_or(error));
        any.with_context(|| format!("cannot reach {address}"))
    }

    /// Connects to `peer` in order to ask for `host`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn at(peer: SocketAddr, host: &str) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&peer, PATIENCE)
            .with_context(|| format!("cannot connect to {peer}"))?;
        stream.set_nodelay(true)?;
        let stream = BufReader::new(Timed { stream, end: Instant::now() });
        let host = host.to_owned();
        Ok(Self { peer, host, stream, patience: PATIENCE, kept: false, closing: false })
    }

    /// The same connection, on which a whole exchange may take so long.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether it has served before: a peer may close such a connection between two requests.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Puts a new connection to the same peer in its place.
    ///
    /// # Errors
    /// Nobody listens there any more.
    pub fn reopen(&mut self) -> Result<()> {
        *self = Self::at(self.peer, &self.host)?.patience(self.patience);
        Ok(())
    }

    /// Sends a request and reads the answer. `Host` is added, and `Content-Length` for a body.
    ///
    /// # Errors
    /// The peer closes the connection, takes too long, or does not speak HTTP/1.1.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&[u8], &[u8])],
        body: &[u8],
    ) -> Result<Response> {
        self.send_for(method, path, headers, body, |_| true)
    }

    /// As [`Connection::send`]; but the body of an answer whose head is not `wanted`, which may never
    /// end, is left out.
    ///
    /// # Errors
    /// As for [`Connection::send`].
    pub fn send_for(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&[u8], &[u8])],
        body: &[u8],
        wanted: impl Fn(&Response) -> bool,
    ) -> Result<Response> {
        if self.closing {
            self.reopen()?;
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
        self.receive_for(method, wanted)
    }

    /// Sends bytes, such as those of some [`request`]s; on this very connection.
    ///
    /// # Errors
    /// The peer has closed the connection, or takes nothing for too long.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.start();
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads the answer to a request with `method`.
    ///
    /// # Errors
    /// The peer closes the connection, takes too long, or does not speak HTTP/1.1.
    pub fn receive(&mut self, method: &str) -> Result<Response> {
        self.start();
        self.receive_for(method, |_| true)
    }

    fn receive_for(
        &mut self,
        method: &str,
        wanted: impl Fn(&Response) -> bool,
    ) -> Result<Response> {
        loop {
            let (mut response, keeps) = self.head()?;
            // Interim answers (100 Continue and the like) have no body, and another one follows.
            if response.status >= 200 {
                self.kept = true;
                self.closing = !keeps;
                let wanted = wanted(&response);
                let body = self.body(method, &response, wanted)?;
                response.body = if wanted { body } else { Vec::new() };
                return Ok(response);
            }
        }
    }

    /// Ends the connection with a TCP reset, whatever is under way.
    ///
    /// # Errors
    /// The system refuses that.
    pub fn reset(self) -> Result<()> {
        let stream = self.stream.into_inner().stream;
        // Closing a socket that is not to linger resets it.
        set_socket_linger(&stream, Some(Duration::ZERO)).context("cannot reset a connection")
    }

    /// From here on runs the time of an exchange.
    fn start(&mut self) {
        self.stream.get_mut().end = Instant::now() + self.patience;
    }

    /// The head of an answer, and whether the connection may be used after it.
    fn head(&mut self) -> Result<(Response, bool)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let line = self.line()?;
            head.extend(line);
            ensure!(head.len() <= HEAD_LIMIT, "the answer's head is too long");
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELD_LIMIT];
        let mut parsed = httparse::Response::new(&mut fields);
        parsed.parse(&head).context("the answer is not HTTP/1.1")?;
        let old = parsed.version == Some(0);
        let response = Response {
            status: parsed.code.context("the answer has no status")?,
            headers: parsed.headers.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect(),
            body: Vec::new(),
        };
        let says = |token| response.lists("connection", token);
        let keeps = !says("close") && (!old || says("keep-alive"));
        Ok((response, keeps))
    }

    fn body(&mut self, method: &str, head: &Response, wanted: bool) -> Result<Vec<u8>> {
        let length = || -> Result<Option<u64>> {
            let Some(length) = head.header("content-length") else { return Ok(None) };
            let length = str::from_utf8(length).ok().and_then(|text| text.parse().ok());
            Ok(Some(length.context("the answer's Content-Length is not a number")?))
        };
        if method == "HEAD" || matches!(head.status, 204 | 304) {
            return Ok(Vec::new());
        }
        let chunked = head.lists("transfer-encoding", "chunked");
        let length = if chunked { None } else { length()? };
        if !wanted && length.is_none_or(|length| length > SKIP_LIMIT) {
            self.closing = true;
            return Ok(Vec::new());
        }
        if chunked {
            self.chunks()
        } else if let Some(length) = length {
            self.exactly(length)
        } else {
            let mut body = Vec::new();
            self.closing = true;
            let mut rest = self.stream.by_ref().take(BODY_LIMIT + 1);
            rest.read_to_end(&mut body).context("the answer's body does not end")?;
            ensure!(body.len() as u64 <= BODY_LIMIT, "the answer's body is too long");
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
            ensure!(body.len() as u64 <= BODY_LIMIT, "the answer's body is too long");
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
        ensure!(length <= BODY_LIMIT, "the answer's body is too long");
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

/// All addresses of `address`, a host and a port; at least one.
///
/// # Errors
/// There is no such host.
pub fn addresses(address: &str) -> Result<Vec<SocketAddr>> {
    let found = address.to_socket_addrs().with_context(|| format!("cannot find {address}"))?;
    let mut all = Vec::new();
    for one in found {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    ensure!(!all.is_empty(), "cannot find {address}: the host has no address");
    Ok(all)
}

/// A stream that is to be done with at `end`, however often the peer sends a little.
#[derive(Debug)]
struct Timed {
    stream: TcpStream,
    end: Instant,
}

impl Timed {
    /// Does `what` with a stream that waits no longer than to the end.
    fn timed<T>(&mut self, what: impl FnOnce(&mut TcpStream) -> io::Result<T>) -> io::Result<T> {
        let late = || io::Error::new(ErrorKind::TimedOut, "it takes too long");
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.set_write_timeout(Some(left))?;
        what(&mut self.stream).map_err(|error| match error.kind() {
            // What a timeout of the socket is called.
            ErrorKind::WouldBlock => late(),
            _ => error,
        })
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.timed(|stream| stream.read(buffer))
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.timed(|stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
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

    /// A connection, and its other end.
    fn connected() -> (Connection, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let connection = Connection::open(listener.local_addr().unwrap().port()).unwrap();
        (connection, listener.accept().unwrap().0)
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
    fn what_closes_a_connection_is_read_in_any_case_version_and_list() {
        for (head, closes) in [
            ("HTTP/1.1 200 OK\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: Close\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: foo, close\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: closer\r\n", false),
            ("HTTP/1.0 200 OK\r\n", true),
            ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", false),
        ] {
            let (mut connection, mut stream) = connected();
            write!(stream, "{head}Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n").unwrap();
            assert_eq!(connection.send("GET", "/", &[], b"").unwrap().body, b"");
            assert!(connection.is_kept());
            assert_eq!(connection.closing, closes, "{head}");
        }
    }

    #[test]
    fn a_body_that_nobody_wants_is_not_waited_for() {
        // The server stays silent after these, and does not close.
        for (rest, closes) in [
            ("Transfer-Encoding: chunked\r\n\r\n6\r\nevent\n\r\n", true),
            ("Content-Length: 9999999\r\n\r\n", true),
            ("\r\n", true),
            ("Content-Length: 2\r\n\r\nhi", false),
        ] {
            let (mut connection, mut stream) = connected();
            write!(stream, "HTTP/1.1 200 OK\r\n{rest}").unwrap();
            let response = connection.send_for("GET", "/", &[], b"", |head| head.status != 200);
            assert_eq!(response.unwrap().body, b"");
            assert_eq!(connection.closing, closes, "{rest}");
        }
    }

    #[test]
    fn an_answer_that_never_ends_is_an_error() {
        for part in ["x", "X: y\r\n"] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let connection = Connection::open(port).unwrap();
            // Bytes keep coming, so that no single read waits for long.
            let server = thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                stream.write_all(b"HTTP/1.1 200 OK\r\nA: ").unwrap();
                while stream.write_all(part.as_bytes()).is_ok() {
                    thread::sleep(Duration::from_millis(10));
                }
            });
            let mut connection = connection.patience(Duration::from_millis(200));
            let error = connection.send("GET", "/", &[], b"").unwrap_err();
            assert!(format!("{error:#}").contains("it takes too long"), "{error:#}");
            drop(connection);
            server.join().unwrap();
        }
    }

    #[test]
    fn a_body_without_measure_is_an_error() {
        for head in ["Content-Length: 99999999999", "Transfer-Encoding: chunked\r\n\r\nfffffffff"] {
            let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").leak().as_bytes();
            let error = exchange("GET", answer).unwrap_err();
            assert!(error.to_string().contains("too long"), "{error:#}");
        }
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
