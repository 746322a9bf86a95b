//! A raw HTTP/1.1 client, for bytes that no well-behaved client sends: names in odd case, control characters,
//! requests that are cut short, resets. It reads what Envoy answers by itself: bodies with a `Content-Length`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::client::{Closed, Fields, Response, TIMEOUT};

const FIELDS: usize = 64;

/// A kept connection to a port of 127.0.0.1.
#[derive(Debug)]
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("cannot connect to 127.0.0.1:{port}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a [`request`] and reads the answer.
    pub fn send(
        &mut self,
        method: &str,
        uri: &str,
        fields: &Fields,
        body: &[u8],
    ) -> Result<Response> {
        self.write(&request("127.0.0.1", method, uri, fields, body)).context(Closed)?;
        self.receive(method)
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Reads the answer to a request with `method`.
    pub fn receive(&mut self, method: &str) -> Result<Response> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read_until(b'\n', &mut head) {
                Ok(0) if head.is_empty() => return Err(anyhow!(Closed)),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && head.is_empty() => {
                    return Err(error).context(Closed);
                }
                read => ensure!(read.context("no answer")? > 0, "the answer's head is cut short"),
            }
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut parsed = httparse::Response::new(&mut fields);
        parsed.parse(&head).context("the answer is not HTTP/1.1")?;
        let headers =
            parsed.headers.iter().map(|f| (f.name.to_owned(), f.value.to_vec())).collect();
        let status = parsed.code.context("the answer has no status")?;
        let mut response = Response { status, headers, body: Vec::new() };
        if method != "HEAD" {
            let size = response
                .header("content-length")
                .and_then(|n| str::from_utf8(n).ok()?.parse().ok());
            response.body = vec![0; size.context("the answer has no Content-Length")?];
            self.0.read_exact(&mut response.body).context("the answer's body is cut short")?;
        }
        Ok(response)
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(self) -> Result<()> {
        // Closing a socket that does not linger resets the connection.
        rustix::net::sockopt::set_socket_linger(self.0.get_ref(), Some(Duration::ZERO))
            .context("cannot reset a connection")
    }
}

/// The bytes of a request. `Host` is added, and `Content-Length` for a body.
pub fn request(host: &str, method: &str, uri: &str, fields: &Fields, body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {uri} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
    for &(name, value) in fields {
        request.extend([name, b": ", value, b"\r\n"].concat());
    }
    if !body.is_empty() {
        request.extend(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    request.extend([b"\r\n", body].concat());
    request
}
