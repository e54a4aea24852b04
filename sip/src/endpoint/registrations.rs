//! Registrations: the REGISTERs that [`Registration`] asks for, and what their answers are to it.
#![warn(clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::config::{Event, RegistrationId};
use super::originate::{request, unusable};
use super::schedule::Owner;
use super::table::{ClientUser, Path};
use super::{Endpoint, InviteError};
use crate::auth::Credentials;
use crate::invite::{Failure, Identity, branch};
use crate::limits::MAX_CSEQ;
use crate::message::{HeaderName, Method, NameAddr, Request, Response, Scheme, Uri, escape_user};
use crate::options::allow;
use crate::register::{Output, RegisterSpec, Registration};

/// A registration, and what the endpoint keeps beside it.
#[derive(Debug)]
pub(super) struct Registered {
    spec: RegisterSpec,
    machine: Registration,
    /// One Call-ID for all REGISTERs (RFC 3261 §10.2), and the CSeq number of the last.
    identity: Identity,
    /// The REGISTER that is out.
    pub(super) client: Option<u64>,
    /// The Contact that it carries.
    contact: Option<Uri>,
    /// The Contact that the registrar has.
    bound: Option<Uri>,
}

impl Registered {
    pub(super) fn credentials(&self) -> Option<Arc<Credentials>> {
        self.spec.credentials.clone()
    }

    /// The CSeq number of the next REGISTER.
    pub(super) fn next_cseq(&mut self) -> u32 {
        self.identity.cseq = self.identity.cseq.wrapping_add(1) & MAX_CSEQ;
        self.identity.cseq
    }
}

impl Endpoint {
    /// Registers, and stays registered until [`unregister`](Self::unregister); each change of its
    /// state is an [`Event::Registration`].
    pub fn register(&mut self, now: Instant, spec: RegisterSpec) -> RegistrationId {
        let id = RegistrationId(self.next_id);
        self.next_id += 1;
        let machine = Registration::new(now, spec.remotes.len(), spec.expires, &mut self.rng);
        let identity = Identity::generate(&mut self.rng);
        let entry =
            Registered { spec, machine, identity, client: None, contact: None, bound: None };
        self.registrations.insert(id, entry);
        self.settle_registration(now, id, Vec::new());
        id
    }

    /// The registrar's addresses have changed, or ours towards it: registers anew at once, in place
    /// of what was registered.
    pub fn readdress(
        &mut self,
        now: Instant,
        id: RegistrationId,
        remotes: Vec<SocketAddr>,
        credentials: Option<Arc<Credentials>>,
    ) {
        let Some(entry) = self.registrations.get_mut(&id) else { return };
        entry.spec.remotes = remotes;
        entry.spec.credentials = credentials;
        let mut out = Vec::new();
        entry.machine.readdress(now, entry.spec.remotes.len(), &mut out);
        self.settle_registration(now, id, out);
    }

    /// Ends a registration (RFC 3261 §10.2.2); [`RegistrationState::Ended`] is its last event.
    ///
    /// [`RegistrationState::Ended`]: crate::register::RegistrationState::Ended
    pub fn unregister(&mut self, now: Instant, id: RegistrationId) {
        let Some(entry) = self.registrations.get_mut(&id) else { return };
        let mut out = Vec::new();
        entry.machine.unregister(now, &mut out);
        self.settle_registration(now, id, out);
    }

    pub(super) fn registration_timeout(&mut self, now: Instant, id: RegistrationId) {
        let Some(entry) = self.registrations.get_mut(&id) else { return };
        let mut out = Vec::new();
        entry.machine.handle_timeout(now, &mut self.rng, &mut out);
        self.settle_registration(now, id, out);
    }

    /// The end of the REGISTER that is out.
    pub(super) fn registration_result(
        &mut self,
        now: Instant,
        id: RegistrationId,
        result: Result<Response, Failure>,
    ) {
        let Some(entry) = self.registrations.get_mut(&id) else { return };
        entry.client = None;
        let Some(contact) = entry.contact.clone() else { return };
        if result.as_ref().is_ok_and(Response::is_success) {
            entry.bound = Some(contact.clone());
        }
        let mut out = Vec::new();
        entry.machine.handle_result(now, &contact, result.as_ref(), &mut self.rng, &mut out);
        self.settle_registration(now, id, out);
    }

    fn settle_registration(&mut self, now: Instant, id: RegistrationId, mut out: Vec<Output>) {
        // A REGISTER that cannot be sent at all is a failure that may lead to the next address.
        let mut at = 0;
        while let Some(output) = out.get(at).cloned() {
            at += 1;
            match output {
                Output::Send { at, expires } => {
                    if let Err(error) = self.send_register(now, id, at, expires)
                        && let Some(entry) = self.registrations.get_mut(&id)
                    {
                        let (failure, rng) = (Failure::Transport(error.to_string()), &mut self.rng);
                        let contact = entry.spec.registrar.clone(); // of no use to a failure
                        entry.machine.handle_result(now, &contact, Err(&failure), rng, &mut out);
                    }
                }
                Output::Drop => {
                    let client = self.registrations.get_mut(&id).and_then(|it| it.client.take());
                    if let Some(client) = client {
                        self.drop_client(client);
                    }
                }
                Output::Tell(state) => self.events.push_back(Event::Registration { id, state }),
            }
        }
        let Some(entry) = self.registrations.get(&id) else { return };
        let due = entry.machine.poll_timeout();
        if entry.machine.is_ended() {
            self.registrations.remove(&id);
        }
        self.schedule.set(Owner::Registration(id), due);
    }

    fn send_register(
        &mut self,
        now: Instant,
        id: RegistrationId,
        at: usize,
        expires: u32,
    ) -> Result<(), InviteError> {
        let Some(entry) = self.registrations.get_mut(&id) else { return Ok(()) };
        let Some(remote) = entry.spec.remotes.get(at).copied() else {
            return Err(InviteError::Unusable("no address of the registrar".to_owned()));
        };
        entry.next_cseq();
        entry.identity.branch = branch(&mut self.rng);
        let (spec, identity, bound) =
            (entry.spec.clone(), entry.identity.clone(), entry.bound.clone());
        let mut link = self.link(spec.transport, remote, spec.tls_name.as_deref())?;
        link.is_sips = spec.registrar.scheme == Scheme::Sips;
        let (uri, aor) = (&spec.registrar, spec.aor.clone());
        let mut register = request(&identity, Method::Register, uri, aor.clone(), aor, &link)?;
        // The way back to us, and the user by which calls to this registration are known.
        let way_back = register.contact().map_err(|_| unusable("Contact"))?;
        let contact = Uri { user: Some(escape_user(&spec.contact_user)), ..way_back.uri };
        set_contacts(&mut register, &contact, bound.filter(|_| expires > 0));
        register.headers.push(HeaderName::EXPIRES, expires);
        allow(&mut register.headers);
        self.introduce(&mut register);
        self.authorize(spec.credentials.as_ref(), remote.ip(), &mut register);
        let path = Path::of_link(&link);
        if let Some(entry) = self.registrations.get_mut(&id) {
            entry.contact = Some(contact);
        }
        let client = self.start_request(now, ClientUser::Registration(id), path, register, false);
        // The answer cannot have come yet, but a socket may have failed.
        if let Some(entry) = self.registrations.get_mut(&id) {
            entry.client = client.filter(|client| self.clients.get(*client).is_some());
        }
        Ok(())
    }
}

/// Our Contact; where we were registered at another address, that one is taken back (§10.2.2).
fn set_contacts(register: &mut Request, contact: &Uri, bound: Option<Uri>) {
    register.headers.set(HeaderName::CONTACT, NameAddr::from(contact.clone()));
    if let Some(old) = bound.filter(|old| old != contact) {
        let mut old = NameAddr::from(old);
        old.params.set("expires", "0");
        register.headers.push(HeaderName::CONTACT, old);
    }
}
