//! Connections that lose nothing when they are closed.
//!
//! A socket that is closed while its peer still sends (a window update for the last bytes is enough) is
//! reset, and the reset takes with it what the peer has not read yet: a call that was answered in full would
//! break all the same. So the sending side is closed first, and the socket only when the peer has closed
//! its own (RFC 9112 section 9.6 asks the same of HTTP/1.1).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

/// What a peer has to read the rest and to close its side.
const LINGER: Duration = Duration::from_secs(5);

/// A connection whose end waits for the peer's, [`LINGER`] at most.
pub(super) struct Lingering<C> {
    connection: C,
    /// Runs since the sending side was closed.
    left: Option<Pin<Box<Sleep>>>,
}

impl<C> Lingering<C> {
    pub(super) fn new(connection: C) -> Self {
        Self {
            connection,
            left: None,
        }
    }
}

impl<C: Connected> Connected for Lingering<C> {
    type ConnectInfo = C::ConnectInfo;

    fn connect_info(&self) -> C::ConnectInfo {
        self.connection.connect_info()
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Lingering<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, into)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.left.is_none() {
            ready!(Pin::new(&mut this.connection).poll_shutdown(cx))?;
        }
        let left = this.left.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut unread = [0; 1024];
        while left.as_mut().poll(cx).is_pending() {
            let mut unread = ReadBuf::new(&mut unread);
            let read = ready!(Pin::new(&mut this.connection).poll_read(cx, &mut unread));
            if read.is_err() || unread.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (Lingering<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (Lingering::new(accepted.unwrap().0), client.unwrap())
    }

    #[tokio::test]
    async fn what_was_sent_arrives_though_the_peer_still_sends() {
        let (mut server, mut client) = pair().await;
        let sent = vec![7; 100_000];
        server.write_all(&sent).await.unwrap();
        client.write_all(b"more, please").await.unwrap();
        let ending = tokio::spawn(async move { server.shutdown().await });
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        assert!(!ending.is_finished(), "the peer's side is open");
        client.write_all(b"thank you").await.unwrap();
        drop(client);
        ending.await.unwrap().unwrap();
        assert_eq!(got, sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_closes_its_side_is_left_after_a_while() {
        let (mut server, _client) = pair().await;
        let from = tokio::time::Instant::now();
        server.shutdown().await.unwrap();
        assert!(from.elapsed() >= LINGER);
    }
}
