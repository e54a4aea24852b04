//! The handle by which the rest of the program uses the SIP stack.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::driver::Command;
use super::start;
use super::tls::Tls;
use crate::auth::Credentials;
use crate::endpoint::{
    Counters, EndpointConfig, InviteError, Network, OptionsSpec, RegistrationId, Stats,
};
use crate::invite::{Body, Failure, IncomingCall, InviteSpec, LegEvent, LegId, Orphan};
use crate::limits::{MAX_ACCEPTED, MAX_COMMANDS, MAX_INCOMING};
use crate::message::{HeaderValue, Transport};
use crate::register::{RegisterSpec, RegistrationState};

/// How the stack is started.
#[derive(Clone, Debug)]
pub struct SipConfig {
    /// The protocol's part.
    pub endpoint: EndpointConfig,
    /// UDP addresses to listen on; port 0 takes a free one.
    pub udp: Vec<SocketAddr>,
    /// TCP addresses to listen on. Without one TCP is dialled all the same.
    pub tcp: Vec<SocketAddr>,
    /// TLS addresses to listen on.
    pub tls: Vec<SocketAddr>,
    /// What TLS is spoken with.
    pub with_tls: Tls,
    /// Connections that one listener holds.
    pub max_connections: usize,
    /// The addresses that Via and Contact carry, before a NAT, one of each family; by default that
    /// of the socket or, where it listens on all, that of the route.
    pub public_addresses: Vec<IpAddr>,
    /// Differentiated services code point, 0–63; CS3 is 24.
    pub dscp: u8,
    /// From where requests are taken outside of dialogs.
    pub trusted: Vec<Network>,
}

impl Default for SipConfig {
    fn default() -> Self {
        Self {
            endpoint: EndpointConfig::default(),
            udp: vec![([0, 0, 0, 0], 5060).into()],
            tcp: Vec::new(),
            tls: Vec::new(),
            with_tls: Tls::default(),
            max_connections: MAX_ACCEPTED,
            public_addresses: Vec::new(),
            dscp: 24,
            trusted: Vec::new(),
        }
    }
}

/// The stack could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({transport}): {error}")]
    Bind {
        /// Over what.
        transport: Transport,
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A listener of TLS has no certificate.
    #[error("cannot listen on {0} (TLS) without a certificate")]
    NoCertificate(SocketAddr),
}

/// An address that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Over what.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// The stack has been shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the SIP stack is shut down")]
pub struct Gone;

/// A call or an OPTIONS could not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// By the endpoint's reasons.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// The stack has been shut down.
    #[error(transparent)]
    Gone(#[from] Gone),
}

/// A call that came in.
#[derive(Debug)]
pub struct Incoming {
    /// Its leg.
    pub leg: LegId,
    /// Who calls whom.
    pub call: IncomingCall,
    /// The leg's events. Whoever drops it hangs up.
    pub events: mpsc::Receiver<LegEvent>,
}

/// The running stack; cheap to clone. When the last handle is dropped, it stops.
///
/// Every leg's events go to a bounded channel of its owner. Ladder rows are left out while it is
/// full; other events wait, and an owner that lets too many wait, or drops its receiver, loses
/// the leg: it is hung up.
#[derive(Clone)]
pub struct Sip {
    commands: mpsc::Sender<Command>,
    bound: Arc<[Bound]>,
    local_addrs: Arc<[SocketAddr]>,
}

impl fmt::Debug for Sip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sip").field("local_addrs", &self.local_addrs).finish_non_exhaustive()
    }
}

impl Sip {
    /// Binds the sockets and starts the task, in the current tokio runtime. Calls that come in
    /// are given out by the receiver; where nobody takes them they are refused with 503.
    ///
    /// # Errors
    /// If an address cannot be listened on.
    pub fn start(config: SipConfig) -> Result<(Self, mpsc::Receiver<Incoming>), StartError> {
        let (commands, command_queue) = mpsc::channel(MAX_COMMANDS);
        let (incoming, incoming_queue) = mpsc::channel(MAX_INCOMING);
        let bound = start::start(config, command_queue, incoming)?;
        let local_addrs = bound.iter().map(|bound| bound.address).collect();
        Ok((Self { commands, bound: bound.into(), local_addrs }, incoming_queue))
    }

    /// Sends an INVITE; its events go to `events`.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub async fn invite(
        &self,
        spec: InviteSpec,
        events: mpsc::Sender<LegEvent>,
    ) -> Result<LegId, PlaceError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Invite { spec: Box::new(spec), events, reply }).await?;
        Ok(answer.await.map_err(|_| Gone)??)
    }

    /// See [`Endpoint::hang_up`](crate::endpoint::Endpoint::hang_up).
    ///
    /// # Errors
    /// If the stack is shut down, as with all that follow.
    pub async fn hang_up(&self, leg: LegId, reason: Option<HeaderValue>) -> Result<(), Gone> {
        self.command(Command::HangUp(leg, reason)).await
    }

    /// See [`Endpoint::acknowledge`](crate::endpoint::Endpoint::acknowledge).
    ///
    /// # Errors
    /// If the stack is shut down.
    pub async fn acknowledge(&self, leg: LegId) -> Result<(), Gone> {
        self.command(Command::Acknowledge(leg)).await
    }

    /// See [`Endpoint::ring`](crate::endpoint::Endpoint::ring).
    ///
    /// # Errors
    /// If the stack is shut down.
    pub async fn ring(&self, leg: LegId, body: Option<Body>) -> Result<(), Gone> {
        self.command(Command::Ring(leg, body)).await
    }

    /// See [`Endpoint::accept`](crate::endpoint::Endpoint::accept).
    ///
    /// # Errors
    /// If the stack is shut down.
    pub async fn accept(&self, leg: LegId, body: Body) -> Result<(), Gone> {
        self.command(Command::Accept(leg, body)).await
    }

    /// See [`Endpoint::reject`](crate::endpoint::Endpoint::reject).
    ///
    /// # Errors
    /// If the stack is shut down.
    pub async fn reject(&self, leg: LegId, status: u16) -> Result<(), Gone> {
        self.command(Command::Reject(leg, status)).await
    }

    /// See [`Endpoint::answer_offer`](crate::endpoint::Endpoint::answer_offer).
    ///
    /// # Errors
    /// If the stack is shut down.
    pub async fn answer_offer(&self, leg: LegId, answer: Result<Body, u16>) -> Result<(), Gone> {
        self.command(Command::AnswerOffer(leg, answer)).await
    }

    /// See [`Endpoint::info`](crate::endpoint::Endpoint::info).
    ///
    /// # Errors
    /// If the stack is shut down.
    pub async fn info(&self, leg: LegId, body: Body) -> Result<(), Gone> {
        self.command(Command::Info(leg, body)).await
    }

    /// Sends OPTIONS and waits for the status of its answer.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub async fn options(&self, spec: OptionsSpec) -> Result<Result<u16, Failure>, PlaceError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Options { spec: Box::new(spec), reply }).await?;
        Ok(answer.await.map_err(|_| Gone)??)
    }

    /// Ends a leg of an earlier process. Returns once CANCEL or BYE is sent; the stack sees to
    /// the rest. `credentials`: of the trunk that it went to, should that ask.
    ///
    /// # Errors
    /// If nothing can be sent there.
    pub async fn end_orphan(
        &self,
        orphan: Orphan,
        credentials: Option<Arc<Credentials>>,
    ) -> Result<LegId, PlaceError> {
        let (reply, answer) = oneshot::channel();
        let orphan = Box::new(orphan);
        self.command(Command::EndOrphan { orphan, credentials, reply }).await?;
        Ok(answer.await.map_err(|_| Gone)??)
    }

    /// See [`Endpoint::set_trusted`](crate::endpoint::Endpoint::set_trusted).
    ///
    /// # Errors
    /// If the stack is shut down.
    pub async fn set_trusted(&self, networks: Vec<Network>) -> Result<(), Gone> {
        self.command(Command::SetTrusted(networks)).await
    }

    /// See [`Endpoint::set_accounts`](crate::endpoint::Endpoint::set_accounts).
    ///
    /// # Errors
    /// If the stack is shut down.
    pub async fn set_accounts(&self, accounts: Vec<Arc<Credentials>>) -> Result<(), Gone> {
        self.command(Command::SetAccounts(accounts)).await
    }

    /// Registers, and stays registered until it is [unregistered](Self::unregister) or the stack is
    /// shut down. The receiver shows its state; [`RegistrationState::Ended`] is the last.
    ///
    /// # Errors
    /// If the stack is shut down.
    pub async fn register(
        &self,
        spec: RegisterSpec,
    ) -> Result<(RegistrationId, watch::Receiver<RegistrationState>), Gone> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Register { spec: Box::new(spec), reply }).await?;
        answer.await.map_err(|_| Gone)
    }

    /// See [`Endpoint::readdress`](crate::endpoint::Endpoint::readdress).
    ///
    /// # Errors
    /// If the stack is shut down.
    pub async fn readdress(
        &self,
        id: RegistrationId,
        remotes: Vec<SocketAddr>,
        credentials: Option<Arc<Credentials>>,
    ) -> Result<(), Gone> {
        self.command(Command::Readdress(id, remotes, credentials)).await
    }

    /// See [`Endpoint::unregister`](crate::endpoint::Endpoint::unregister).
    ///
    /// # Errors
    /// If the stack is shut down.
    pub async fn unregister(&self, id: RegistrationId) -> Result<(), Gone> {
        self.command(Command::Unregister(id)).await
    }

    /// What was counted, and what lives.
    ///
    /// # Errors
    /// If the stack is shut down.
    pub async fn counters(&self) -> Result<(Counters, Stats), Gone> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Counters(reply)).await?;
        answer.await.map(|both| *both).map_err(|_| Gone)
    }

    /// What is listened on: UDP, TCP and TLS, each in the order of the configuration.
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// The bound addresses, in the same order.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Stops the task and closes the sockets; legs that live are left as they are: hang up first.
    /// Returns once the sockets are closed.
    pub async fn shutdown(&self) {
        let (reply, answer) = oneshot::channel();
        if self.command(Command::Shutdown(reply)).await.is_ok() {
            let _ = answer.await;
        }
    }

    async fn command(&self, command: Command) -> Result<(), Gone> {
        self.commands.send(command).await.map_err(|_| Gone)
    }
}
