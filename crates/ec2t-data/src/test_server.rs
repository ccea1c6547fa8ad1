//! An HTTP server on the loopback interface that gives prepared answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// One answer: its head, its body, and how much of that is really sent.
pub(crate) struct Reply {
    status: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Reply {
    /// A whole file.
    pub(crate) fn ok(body: &[u8]) -> Self {
        let headers = vec![format!("Content-Length: {}", body.len())];
        Self { status: "200 OK".into(), headers, body: body.to_vec() }
    }

    /// The rest of a file.
    pub(crate) fn partial(whole: &[u8], start: usize) -> Self {
        let len = whole.len();
        let headers = vec![
            format!("Content-Length: {}", len - start),
            format!("Content-Range: bytes {start}-{}/{len}", len - 1),
        ];
        Self { status: "206 Partial Content".into(), headers, body: whole[start..].to_vec() }
    }

    /// A status without a body.
    pub(crate) fn status(status: &str) -> Self {
        Self { status: status.into(), ..Self::ok(b"") }
    }

    /// Closes the connection after `len` bytes of the body.
    pub(crate) fn cut_after(mut self, len: usize) -> Self {
        self.body.truncate(len);
        self
    }

    /// Does not say how long the body is.
    pub(crate) fn without_length(mut self) -> Self {
        self.headers.clear();
        self
    }

    /// Sends the answer. The client may have hung up, which is its right.
    fn send(&self, stream: &mut TcpStream) {
        let head = format!("HTTP/1.1 {}\r\n{}\r\n", self.status, self.header_lines());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&self.body));
    }

    fn header_lines(&self) -> String {
        let all = self.headers.iter().map(String::as_str).chain(["Connection: close"]);
        all.map(|header| format!("{header}\r\n")).collect()
    }
}

/// A server that gives one answer per connection, in order, and then stops.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts to listen.
    pub(crate) fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for reply in replies {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_head(&stream);
                seen.lock().unwrap().push(request);
                reply.send(&mut stream);
            }
        });
        Self { address, requests }
    }

    /// The address of a path on this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Heads of all requests so far, in lower case.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_head(stream: &TcpStream) -> String {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    head.to_lowercase()
}
