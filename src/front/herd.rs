//! The way to the root actor.

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, MailboxError, Message, Recipient};

use super::refusal::Refusal;
use super::upgrade::Upgrades;
use crate::herder::{AwaitKept, Command, Reload, SendSignal, Shutdown, Subscribe, Survey};

/// All that the front can tell and ask the herd. Made [`From`] the address of any actor that handles the seven messages.
#[derive(Clone)]
pub struct Herd {
    /// Who knows the roster.
    pub survey: Recipient<Survey>,
    /// Who obeys.
    pub command: Recipient<Command>,
    /// Who sends signals.
    pub signal: Recipient<SendSignal>,
    /// Who knows what is written.
    pub kept: Recipient<AwaitKept>,
    /// Who reads the confs again.
    pub reload: Recipient<Reload>,
    /// Who ends the herd.
    pub shutdown: Recipient<Shutdown>,
    /// Who has the bus.
    pub subscribe: Recipient<Subscribe>,
    /// Who replaces the daemon's program; nobody in a program that embeds a herd.
    pub upgrades: Option<Upgrades>,
}

impl<A> From<Addr<A>> for Herd
where
    A: Actor
        + Handler<Survey>
        + Handler<Command>
        + Handler<SendSignal>
        + Handler<AwaitKept>
        + Handler<Reload>
        + Handler<Shutdown>
        + Handler<Subscribe>,
    A::Context: ToEnvelope<A, Survey>
        + ToEnvelope<A, Command>
        + ToEnvelope<A, SendSignal>
        + ToEnvelope<A, AwaitKept>
        + ToEnvelope<A, Reload>
        + ToEnvelope<A, Shutdown>
        + ToEnvelope<A, Subscribe>,
{
    fn from(herder: Addr<A>) -> Self {
        Self {
            survey: herder.clone().recipient(),
            command: herder.clone().recipient(),
            signal: herder.clone().recipient(),
            kept: herder.clone().recipient(),
            reload: herder.clone().recipient(),
            shutdown: herder.clone().recipient(),
            subscribe: herder.recipient(),
            upgrades: None,
        }
    }
}

/// Sends a message and waits for its answer; a herd that has ended can't answer any.
pub(super) async fn ask<M>(whom: &Recipient<M>, message: M) -> Result<M::Result, Refusal>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    whom.send(message).await.map_err(|(MailboxError::Closed | MailboxError::Timeout)| Refusal::HerdGone)
}
