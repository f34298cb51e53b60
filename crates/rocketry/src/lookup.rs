//! Asking a web server for the addresses of the name servers: one GET, whose answer is the list.
//!
//! Java: `DefaultTopAddressing.fetchNSAddr`.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::name_server::{NameServers, parse_address};

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookup {
    /// `host:port` to connect to.
    address: Arc<str>,
    path: String,
}

impl Lookup {
    /// Reads `http://host[:port][/path]`.
    pub(crate) fn new(url: &str) -> Result<Self, String> {
        let fault = |why: &str| format!("name server lookup {url:?}: {why}");
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| fault("must begin with http://"))?;
        let (host, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        if path.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
            return Err(fault("the path holds a character that a URL cannot"));
        }
        let address = parse_address(host, HTTP_PORT).map_err(fault)?;
        Ok(Self {
            address: address.into(),
            path: path.to_owned(),
        })
    }

    /// Asks for the servers of a unit. Java: `ClientConfig.unitName`.
    pub(crate) fn of_unit(&mut self, unit: &str) {
        self.path.push('-');
        for byte in unit.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    self.path.push(char::from(byte));
                }
                // writing to a string does not fail
                _ => drop(write!(self.path, "%{byte:02X}")),
            }
        }
        self.path.push_str("?nofix=1");
    }

    /// The list, or why there is none.
    pub(crate) async fn ask(&self, now_ms: i64) -> Result<NameServers, String> {
        let answer = timeout(TIME_LIMIT, self.get(now_ms))
            .await
            .map_err(|_| self.fault(&format!("no answer within {TIME_LIMIT:?}")))?
            .map_err(|error| self.fault(&error.to_string()))?;
        let list = body(&answer).map_err(|why| self.fault(&why))?;
        let servers = NameServers::new(list);
        match servers.faults() {
            [] if servers.addresses().next().is_none() => Err(self.fault("the answer is empty")),
            [] => Ok(servers),
            faults => Err(self.fault(&faults.join("; "))),
        }
    }

    /// The whole answer. HTTP/1.0, so that it comes in one piece and ends with the connection.
    async fn get(&self, now_ms: i64) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&*self.address).await?;
        let request = format!(
            "GET {} HTTP/1.0\r\nHost: {}\r\nClient-Version: V5_5_0\r\nMetaq-Client-RequestTS: {now_ms}\r\nConnection: close\r\n\r\n",
            self.path, self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_BYTES + 1).read_to_end(&mut answer).await?;
        if answer.len() as u64 > MAX_BYTES {
            return Err(std::io::Error::other("the answer is too long for a list"));
        }
        Ok(answer)
    }

    fn fault(&self, why: &str) -> String {
        format!("the lookup at http://{}{}: {why}", self.address, self.path)
    }
}

/// First line of the body of an answer with status 200.
fn body(answer: &[u8]) -> Result<&str, String> {
    let answer = std::str::from_utf8(answer).map_err(|_| "the answer is no text".to_owned())?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or("the answer is not one of HTTP")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let mut words = status.split(' ');
    if !words.next().unwrap_or_default().starts_with("HTTP/1.") {
        return Err("the answer is not one of HTTP".to_owned());
    }
    if words.next() != Some("200") {
        return Err(format!("the answer is {status:?}"));
    }
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") && !value.eq_ignore_ascii_case("identity")
        {
            return Err(format!("the answer is encoded as {value:?}"));
        }
        if name.eq_ignore_ascii_case("content-length")
            && value.parse().is_ok_and(|length: usize| length > body.len())
        {
            return Err("the answer is cut off".to_owned());
        }
    }
    Ok(body.trim().split(['\r', '\n']).next().unwrap_or_default())
}

/// The port of a URL that names none.
const HTTP_PORT: u16 = 80;
/// Longest time for one answer. Java: 3 s for connecting and for reading each.
const TIME_LIMIT: Duration = Duration::from_secs(3);
/// An answer is not read beyond this.
const MAX_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let read = |url| {
            let lookup = Lookup::new(url).unwrap();
            (lookup.address.to_string(), lookup.path)
        };
        let of = |address: &str, path: &str| (address.to_owned(), path.to_owned());
        assert_eq!(
            read("http://config.example:8080/rocketmq/nsaddr"),
            of("config.example:8080", "/rocketmq/nsaddr")
        );
        assert_eq!(read("http://host"), of("host:80", "/"));
        assert_eq!(read("http://[::1]/a"), of("[::1]:80", "/a"));
        for bad in [
            "host/a",
            "https://host/a",
            "http://",
            "http:///a",
            "http://h:0/",
            "http://h/a b",
        ] {
            assert!(Lookup::new(bad).is_err(), "{bad}");
        }
        let mut unit = Lookup::new("http://h/rocketmq/nsaddr").unwrap();
        unit.of_unit("u 1");
        assert_eq!(unit.path, "/rocketmq/nsaddr-u%201?nofix=1");
    }

    #[test]
    fn the_first_line_of_the_body_counts() {
        let answer = |head: &str, text: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{text}");
        for (text, line) in [("x:1;y:2\n", "x:1;y:2"), (" x:1\r\ny:2", "x:1"), ("", "")] {
            assert_eq!(body(answer("A: b", text).as_bytes()), Ok(line));
        }
        let length = answer("content-length: 3", "x:1");
        assert_eq!(body(length.as_bytes()), Ok("x:1"));
        for (answer, why) in [
            ("HTTP/1.1 404 Not Found\r\n\r\nx:1".to_owned(), "404"),
            ("SSH-2.0\r\n\r\n200".to_owned(), "not one of HTTP"),
            ("HTTP/1.1 200 OK\r\n".to_owned(), "not one of HTTP"),
            (answer("Content-Length: 9", "x:1"), "cut off"),
            (answer("Transfer-Encoding: chunked", "3\r\nx:1"), "chunked"),
        ] {
            let fault = body(answer.as_bytes()).unwrap_err();
            assert!(fault.contains(why), "{answer:?}: {fault}");
        }
        assert!(body(&[0xff, 0xfe]).is_err());
    }
}
