//! Push gateway that keeps what it gets, and answers as it is told.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Gateway that serves until the test's process ends.
#[derive(Clone)]
pub struct Gateway {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Value>>>,
    answer: Arc<Mutex<(u16, Value)>>,
}

impl Gateway {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let gateway = Self {
            address: listener.local_addr().expect("an address"),
            got: Arc::default(),
            answer: Arc::new(Mutex::new((200, json!({})))),
        };
        let serving = gateway.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever hangs up before the end is of no interest.
                let _whole = serving.serve(stream);
            }
        });
        gateway
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut length = 0;
        let mut line = String::new();
        while reader.read_line(&mut line).ok()? > 2 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (status, answer) = self.answer.lock().expect("whole").clone();
        self.got.lock().expect("whole").push(json!({
            "status": status,
            "body": serde_json::from_slice::<Value>(&body).ok()?,
        }));
        let answer = answer.to_string();
        let length = answer.len();
        write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}").ok()
    }

    pub fn url(&self) -> String {
        format!("http://{}/_matrix/push/v1/notify", self.address)
    }

    /// Sets the answer to all requests from now on.
    pub fn answers(&self, status: u16, body: Value) {
        *self.answer.lock().expect("whole") = (status, body);
    }

    /// Returns the notifications that were answered with this status.
    pub fn got(&self, status: u16) -> Vec<Value> {
        let got = self.got.lock().expect("whole");
        got.iter().filter(|got| got["status"] == status).map(|got| got["body"]["notification"].clone()).collect()
    }
}
