//! HTTP/1.1 over one connection, a request at a time: little work, because the servers share the cores.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

/// Sizes of the buffers of a connection, in bytes; small, because a crowd has thousands.
const READ_BUFFER: usize = 4096;
const WRITE_BUFFER: usize = 512;

/// A connection that is kept open, and the session of whoever asks over it.
#[derive(Debug)]
pub(crate) struct HttpConnection {
    stream: BufStream<TcpStream>,
    address: SocketAddr,
    /// Value of the `Authorization` header; empty without a session.
    bearer: String,
    body: Vec<u8>,
}

impl HttpConnection {
    /// Opens a connection that is not shared.
    ///
    /// # Errors
    /// Fails if nobody listens.
    pub(crate) async fn open(address: SocketAddr, bearer: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect to the Matrix API")?;
        let stream = BufStream::with_capacity(READ_BUFFER, WRITE_BUFFER, stream);
        Ok(Self { stream, address, bearer: bearer.to_owned(), body: Vec::new() })
    }

    /// Sends a request, and returns the body of its answer.
    ///
    /// # Errors
    /// Fails if the answer has another status than 200.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<&[u8]> {
        self.ask(method, path, body).await?;
        self.answer().await
    }

    /// Makes a call with JSON, and returns the JSON of its answer.
    ///
    /// # Errors
    /// Fails as [`HttpConnection::call`] does, or if the answer is not JSON.
    pub(crate) async fn call_json(&mut self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self.call(method, path, body.to_string().as_bytes()).await;
        serde_json::from_slice(answer.with_context(|| format!("{method} {path}"))?).context("the answer is not JSON")
    }

    /// Sends a request, whose answer is read with [`HttpConnection::answer`].
    ///
    /// # Errors
    /// Fails if the connection was closed.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<()> {
        let Self { address, bearer, .. } = self;
        let authorization = if bearer.is_empty() { String::new() } else { format!("Authorization: {bearer}\r\n") };
        let length = body.len();
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Content-Length: {length}\r\n\r\n")
                .into_bytes();
        // In one piece: the second of two small packets would wait for the acknowledgement of the first.
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        Ok(self.stream.flush().await?)
    }

    /// Reads an answer, and returns its body.
    ///
    /// # Errors
    /// Fails if its status is not 200; the error quotes it and the body.
    pub(crate) async fn answer(&mut self) -> anyhow::Result<&[u8]> {
        let mut head = AnswerHead::default();
        let mut line = String::new();
        while !self.read_line(&mut line).await?.is_empty() {
            head.take(&line)?;
        }
        self.body.clear();
        if head.chunked {
            self.read_chunks().await?;
        } else {
            self.body.resize(head.length, 0);
            self.stream.read_exact(&mut self.body).await?;
        }
        ensure!(head.status.contains(" 200 "), "{}: {}", head.status, String::from_utf8_lossy(&self.body));
        Ok(&self.body)
    }

    /// Reads a body that comes in chunks, each behind a line with its length.
    async fn read_chunks(&mut self) -> anyhow::Result<()> {
        let mut line = String::new();
        loop {
            let size = self.read_line(&mut line).await?.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).context("invalid length of a chunk")?;
            let begun = self.body.len();
            self.body.resize(begun + size, 0);
            self.stream.read_exact(self.body.get_mut(begun..).unwrap_or_default()).await?;
            // The line behind a chunk is empty, and behind the last one there are no trailers.
            ensure!(self.read_line(&mut line).await?.is_empty(), "a chunk is longer than announced");
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Reads a line, and returns it without its end.
    async fn read_line<'l>(&mut self, line: &'l mut String) -> anyhow::Result<&'l str> {
        line.clear();
        ensure!(self.stream.read_line(line).await? > 0, "the connection was closed");
        line.truncate(line.trim_end().len());
        Ok(line.as_str())
    }
}

/// Head of an answer, as far as the client needs it.
#[derive(Debug, Default)]
struct AnswerHead {
    status: String,
    length: usize,
    chunked: bool,
}

impl AnswerHead {
    fn take(&mut self, line: &str) -> anyhow::Result<()> {
        if self.status.is_empty() {
            line.clone_into(&mut self.status);
        } else if let Some((name, value)) = line.split_once(':') {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                self.length = value.parse().context("invalid Content-Length")?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                self.chunked = value.eq_ignore_ascii_case("chunked");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;

    /// Answers one connection with these bytes, and returns what was asked.
    async fn asked(answers: &'static str, requests: usize) -> (Vec<anyhow::Result<Value>>, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answers.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            heard
        });
        let mut connection = HttpConnection::open(address, "Bearer x").await.unwrap();
        let mut found = Vec::new();
        for _ in 0..requests {
            found.push(connection.call_json("PUT", "/a", &json!({"b": 1})).await);
        }
        drop(connection);
        (found, server.await.unwrap())
    }

    #[tokio::test]
    async fn bodies_with_a_length_and_in_chunks_are_read_from_one_connection() {
        let answers = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}\
                       HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n3;x=y\r\n:2}\r\n0\r\n\r\n\
                       HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        let (found, heard) = asked(answers, 3).await;
        let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
        assert_eq!(found, [json!({"a": 1}), json!({"a": 2}), json!({})]);
        assert!(heard.starts_with("PUT /a HTTP/1.1\r\nHost: 127.0.0.1:"), "{heard}");
        assert!(heard.contains("\r\nAuthorization: Bearer x\r\nContent-Length: 7\r\n\r\n{\"b\":1}PUT"), "{heard}");
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_that_says_why() {
        let (found, _) = asked("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\n\"no\"", 2).await;
        let errors: Vec<_> = found.into_iter().map(|answer| format!("{:#}", answer.unwrap_err())).collect();
        assert_eq!(errors[0], "PUT /a: HTTP/1.1 403 Forbidden: \"no\"");
        assert!(errors[1].starts_with("PUT /a: "), "the connection is closed: {}", errors[1]);
    }
}
