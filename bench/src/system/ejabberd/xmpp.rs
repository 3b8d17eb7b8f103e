//! Minimal XMPP client (RFC 6120, XEP-0045) over plain TCP: as much as a member of a room needs.

use anyhow::{Context as _, ensure};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

const HEADER: &str = "<stream:stream to='localhost' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
const ROOMS: &str = "conference.localhost";
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time without an answer after which a room is entered again, upon which it sends everything again. A session becomes
/// known to the cluster's other nodes only a moment after its login, and what a room there sends it earlier is lost.
const ENTER_AGAIN: Duration = Duration::from_secs(1);
/// Fragments of the stanzas by which the server refuses a request.
const REFUSALS: [&str; 3] = ["<failure", "<stream:error", "type='error'"];
/// Maximum size of a stanza during the set-up, in bytes; a longer one is not what is expected.
const MOST: usize = 1024 * 1024;
/// Length in bytes of a message's mark and number, which two reads may split.
const CUT: usize = 18;

/// A connection that is logged in.
pub(super) struct XmppSession {
    reading: XmppReader,
    writing: XmppWriter,
}

pub(super) struct XmppReader {
    socket: OwnedReadHalf,
    pending: Vec<u8>,
}

pub(super) struct XmppWriter(OwnedWriteHalf);

impl XmppSession {
    /// Connects and logs in anonymously.
    pub(super) async fn open(server: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(server).await.context("cannot connect")?;
        socket.set_nodelay(true)?;
        let (reading, writing) = socket.into_split();
        let reading = XmppReader { socket: reading, pending: Vec::new() };
        let mut session = Self { reading, writing: XmppWriter(writing) };
        session.ask(HEADER, "</stream:features>").await?;
        session.ask("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>", "<success").await?;
        session.ask(HEADER, "</stream:features>").await?;
        let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
        session.ask(bind, "</jid></bind></iq>").await?;
        Ok(session)
    }

    /// Enters a room, and waits for the subject: it is the last that the server sends to someone who enters.
    pub(super) async fn enter(&mut self, room: &str, nick: &str) -> anyhow::Result<()> {
        let presence = format!(
            "<presence to='{room}@{ROOMS}/{nick}'><x xmlns='http://jabber.org/protocol/muc'>\
             <history maxstanzas='0'/></x></presence>"
        );
        let entered = async {
            loop {
                self.writing.0.write_all(presence.as_bytes()).await?;
                let subject = self.reading.until("<subject/></message>");
                if let Ok(entered) = tokio::time::timeout(ENTER_AGAIN, subject).await {
                    return entered;
                }
            }
        };
        let entered = tokio::time::timeout(PATIENCE, entered).await;
        entered.unwrap_or_else(|_| Err(self.reading.silent("room subject")))
    }

    async fn ask(&mut self, stanza: &str, until: &str) -> anyhow::Result<()> {
        self.writing.0.write_all(stanza.as_bytes()).await?;
        let answered = tokio::time::timeout(PATIENCE, self.reading.until(until)).await;
        answered.unwrap_or_else(|_| Err(self.reading.silent(until)))
    }

    pub(super) fn split(self) -> (XmppReader, XmppWriter) {
        (self.reading, self.writing)
    }

    pub(super) async fn read(&mut self, message: impl FnMut(&[u8])) -> anyhow::Result<()> {
        self.reading.read(message).await
    }
}

impl XmppReader {
    /// Reads until `wanted` arrives, and drops it with everything before it.
    async fn until(&mut self, wanted: &str) -> anyhow::Result<()> {
        let wanted = wanted.as_bytes();
        loop {
            if let Some(at) = self.pending.windows(wanted.len()).position(|window| window == wanted) {
                self.pending.drain(..at + wanted.len());
                return Ok(());
            }
            ensure!(!self.is_refused(), "ejabberd refused: {}", String::from_utf8_lossy(&self.pending));
            ensure!(self.pending.len() < MOST, "no {:?} received", String::from_utf8_lossy(wanted));
            self.more().await?;
        }
    }

    fn is_refused(&self) -> bool {
        let said = String::from_utf8_lossy(&self.pending);
        REFUSALS.iter().any(|refusal| said.contains(refusal))
    }

    fn silent(&self, wanted: &str) -> anyhow::Error {
        let said = String::from_utf8_lossy(&self.pending);
        anyhow::anyhow!("no {wanted:?} received within {PATIENCE:?}, but {said:?}")
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        let count = self.socket.read_buf(&mut self.pending).await?;
        ensure!(count > 0, "the server closed the connection: {}", String::from_utf8_lossy(&self.pending));
        Ok(())
    }

    /// Reads once, and passes the mark and number of each message to `message`.
    async fn read_on(&mut self, message: &mut impl FnMut(&[u8])) -> anyhow::Result<()> {
        self.more().await?;
        let done = scan_marks(&self.pending, message);
        self.pending.drain(..done);
        Ok(())
    }

    pub(super) async fn read(&mut self, mut message: impl FnMut(&[u8])) -> anyhow::Result<()> {
        loop {
            self.read_on(&mut message).await?;
        }
    }
}

impl XmppWriter {
    pub(super) async fn say(&mut self, room: &str, body: &str) -> anyhow::Result<()> {
        let stanza = format!("<message to='{room}@{ROOMS}' type='groupchat'><body>{body}</body></message>");
        Ok(self.0.write_all(stanza.as_bytes()).await?)
    }
}

/// Passes each mark with its number to `message`, and returns the number of bytes that are no longer needed.
fn scan_marks(bytes: &[u8], message: &mut impl FnMut(&[u8])) -> usize {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| rest.len() >= CUT) {
        match rest.windows(CUT).position(|window| window.starts_with(b"%%")) {
            Some(at) => {
                message(rest.get(at..at + CUT).unwrap_or_default());
                done += at + CUT;
            }
            None => return done + rest.len() - (CUT - 1),
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_reads_cut_them() {
        let stream: String =
            (1..=5).map(|n| format!("<message><body>{}</body></message>", crate::payload::message_text(n))).collect();
        for size in 1..40 {
            let (mut pending, mut found) = (Vec::new(), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                pending.extend_from_slice(piece);
                let done = scan_marks(&pending, &mut |bytes: &[u8]| found.extend(crate::payload::find_number(bytes)));
                pending.drain(..done);
            }
            assert_eq!(found, [1, 2, 3, 4, 5], "in pieces of {size}");
        }
    }
}
