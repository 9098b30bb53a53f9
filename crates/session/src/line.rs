//! The client's line, in clear or in TLS.

use gatepost_tls::ServerConfig;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What was negotiated: code points of protocol version and cipher suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) version: u16,
    pub(crate) suite: u16,
}

/// A line to the client.
pub(crate) enum Line<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
    /// A handshake failed half-way: nothing can be said any more.
    Broken,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// TLS from here on. Must hold no octet that the client sent before.
    pub(crate) async fn start_tls(&mut self, config: &Arc<ServerConfig>) -> io::Result<Negotiated> {
        let Self::Plain(stream) = std::mem::replace(self, Self::Broken) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // Boxed, or a session in clear would carry the room for it on its stack.
        let handshake = Box::pin(TlsAcceptor::from(Arc::clone(config)).accept(stream));
        let stream = Box::new(handshake.await?);
        let (_, connection) = stream.get_ref();
        let version = connection.protocol_version().map(u16::from).unwrap_or_default();
        let suite = connection.negotiated_cipher_suite().map(|s| u16::from(s.suite())).unwrap_or_default();
        *self = Self::Tls(stream);
        Ok(Negotiated { version, suite })
    }

    /// Reads some octets into `buffer`. None only at an end that the client meant; TLS cut off is an error.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Broken => Poll::Ready(Ok(())),
        }
    }

    /// Writes some of `octets`.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Broken => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Sends what TLS still holds.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            // A socket holds nothing back.
            Self::Plain(_) | Self::Broken => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Ends our half: close_notify in TLS, then FIN.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Broken => Poll::Ready(Ok(())),
        }
    }
}
