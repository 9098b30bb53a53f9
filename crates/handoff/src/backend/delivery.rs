//! Content to an SMTP or LMTP server, once it is complete and the envelope is accepted.

use super::connection::{Connection, Held};
use super::failure::Failure;
use super::message::{Answered, DeliveryError, Message};
use super::pieces::Pieces;
use super::wait::Wait;
use gatepost_smtp::client::Reply;
use std::io::Write as _;

impl Connection {
    /// Sends the content, for an envelope that is accepted, and reads `answers` to it. Afterwards the envelope is used up,
    /// whatever the answers. Where the first came and another doesn't, the failure stands for all that follow, and the connection
    /// is [`Held::Lost`].
    ///
    /// After any error but [`DeliveryError::Unsent`] the connection must be dropped: a command on it could be taken for
    /// content.
    ///
    /// **A backend that answers content twice.** Its second answer is seen when it comes before anything else is asked, and the
    /// connection is closed. When it comes later it is taken for the answer to MAIL, and each answer from there on for that to the command
    /// behind. So whatever is not the first content of a connection is sent by DATA: 354 is the one reply that no other command has, and
    /// where another comes in its place no content is sent. What remains: recipients of that transaction may have heard each other's
    /// verdicts, and an answer that a backend makes up while it is being sent the content is taken for the one to the content.
    pub(super) async fn deliver(
        &mut self,
        message: &mut Message<'_>,
        answers: usize,
    ) -> Result<Answered, DeliveryError> {
        message.begin()?;
        self.held = Held::Stale;
        let mut pieces = Pieces::new(message)?;
        let length = if self.extensions.chunking && !self.carried { pieces.by_length()? } else { None };
        let mut out = Vec::new();
        if let Some(length) = length {
            let _ = write!(out, "BDAT {length} LAST\r\n");
        } else {
            let reply = self.ask(b"DATA\r\n", Wait::Data).await?;
            match reply.code {
                354 => {}
                400..=599 => return Ok(Answered { replies: vec![reply; answers], failure: None }),
                _ => return Err(Failure::Unexpected(reply).into()),
            }
        }
        while pieces.next(&mut out)? {
            self.send(&out, Wait::Block).await?;
            out.clear();
            if pieces.is_over() {
                break;
            }
            // A large message is one piece a turn: other sessions go on meanwhile.
            tokio::task::yield_now().await;
        }
        let mut replies = Vec::new();
        while replies.len() < answers {
            match self.final_reply().await {
                Ok(reply) => replies.push(reply),
                Err(failure) if replies.is_empty() => return Err(DeliveryError::After(failure)),
                Err(failure) => {
                    self.held = Held::Lost;
                    return Ok(Answered { replies, failure: Some(failure) });
                }
            }
        }
        self.carried = true;
        self.held = if self.is_quiet() { Held::Nothing } else { Held::Lost };
        Ok(Answered { replies, failure: None })
    }

    async fn final_reply(&mut self) -> Result<Reply, Failure> {
        let reply = self.reply(Wait::End).await?;
        if matches!(reply.code, 200..=299 | 400..=599) { Ok(reply) } else { Err(Failure::Unexpected(reply)) }
    }
}
