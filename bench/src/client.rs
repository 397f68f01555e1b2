//! The least of a client: HTTP/1.1 and Redis's protocol over one blocking connection, to prepare and to check.
//! What is measured is driven by wrk and redis-benchmark.

use crate::process::Outcome;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in order of appearance.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(1))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::with_capacity(64 << 10, stream) })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err("the server closed the connection".into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    fn bytes(&mut self, length: usize) -> Outcome<String> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The next HTTP answer. Its body must have a length.
    pub(crate) fn answer(&mut self) -> Outcome<Answer> {
        let head = self.line()?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| format!("not an HTTP answer: {head:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: String::new() };
        let length = answer.header("content-length").ok_or("an answer without Content-Length")?.parse()?;
        answer.body = self.bytes(length)?;
        Ok(answer)
    }

    /// One HTTP request and its answer.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Outcome<Answer> {
        self.send(request)?;
        self.answer()
    }

    /// Sends requests in batches, and reads one answer for each by this function.
    pub(crate) fn pipeline(
        &mut self,
        requests: impl Iterator<Item = Vec<u8>>,
        mut read: impl FnMut(&mut Self) -> Outcome<()>,
    ) -> Outcome<()> {
        const BATCH_BYTES: usize = 32 << 10;
        let (mut batch, mut open) = (Vec::new(), 0);
        for request in requests {
            batch.extend_from_slice(&request);
            open += 1;
            if batch.len() >= BATCH_BYTES {
                self.send(&batch)?;
                (0..open).try_for_each(|_| read(self))?;
                batch.clear();
                open = 0;
            }
        }
        self.send(&batch)?;
        (0..open).try_for_each(|_| read(self))
    }

    /// The next answer in Redis's protocol: the text of a line or of a bulk string.
    pub(crate) fn redis_answer(&mut self) -> Outcome<String> {
        let line = self.line()?;
        match line.split_at_checked(1) {
            Some(("+" | ":", text)) => Ok(text.to_owned()),
            Some(("$", length)) => {
                let mut text = self.bytes(length.parse::<usize>()? + 2)?;
                text.truncate(text.len() - 2);
                Ok(text)
            }
            _ => Err(format!("Redis answered {line:?}").into()),
        }
    }

    /// One command to Redis and its answer.
    pub(crate) fn redis(&mut self, words: &[&str]) -> Outcome<String> {
        self.send(&redis_command(words))?;
        self.redis_answer()
    }
}

/// A command in Redis's protocol.
pub(crate) fn redis_command(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    text.into_bytes()
}

/// An HTTP request with these further header lines (each ended by a line break) and this body.
pub(crate) fn http(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n{headers}{length}\r\n{body}").into_bytes()
}
