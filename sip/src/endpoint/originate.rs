//! What goes out unasked: INVITE, OPTIONS, the end of orphans.

use std::sync::Arc;
use std::time::Instant;

use super::Endpoint;
use super::config::{InviteError, OptionsId, OptionsSpec};
use super::schedule::Owner;
use super::table::{ClientUser, Path};
use crate::auth::Credentials;
use crate::invite::{
    Failure, Identity, InviteSpec, Leg, LegId, Link, Orphan, ask_for_extensions, token,
};
use crate::limits::ORPHAN_CSEQ_MARGIN;
use crate::message::{CSeq, HeaderName, HeaderValue, Method, NameAddr, Request, Scheme, Uri};
use crate::options::{accept_types, allow};

/// An OPTIONS that waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its client transaction.
    pub(super) client: Option<u64>,
    pub(super) credentials: Option<Arc<Credentials>>,
}

/// Headers that the stack writes itself.
const RESERVED: [HeaderName; 19] = [
    HeaderName::VIA,
    HeaderName::FROM,
    HeaderName::TO,
    HeaderName::CALL_ID,
    HeaderName::CSEQ,
    HeaderName::CONTACT,
    HeaderName::MAX_FORWARDS,
    HeaderName::RECORD_ROUTE,
    HeaderName::ALLOW,
    HeaderName::SUPPORTED,
    HeaderName::REQUIRE,
    HeaderName::SESSION_EXPIRES,
    HeaderName::MIN_SE,
    HeaderName::RSEQ,
    HeaderName::RACK,
    HeaderName::CONTENT_TYPE,
    HeaderName::CONTENT_LENGTH,
    HeaderName::AUTHORIZATION,
    HeaderName::PROXY_AUTHORIZATION,
];

impl Endpoint {
    /// Sends an INVITE. Its events follow, [`LegEvent::Closed`](crate::invite::LegEvent::Closed)
    /// last.
    ///
    /// # Errors
    /// If it cannot be sent; nothing was.
    pub fn invite(&mut self, now: Instant, spec: InviteSpec) -> Result<LegId, InviteError> {
        if let Some((name, _)) = spec.headers.iter().find(|(name, _)| RESERVED.contains(name)) {
            return Err(InviteError::ReservedHeader(name.to_string()));
        }
        if self.legs.len() >= self.config.max_legs {
            self.counters.overload += 1;
            return Err(InviteError::Full);
        }
        let Identity { call_id, from_tag, .. } = &spec.identity;
        if self.dialogs.contains_key(&(call_id.clone(), from_tag.clone())) {
            return Err(InviteError::IdentityInUse);
        }
        let mut link = self.link(spec.transport, spec.remote, spec.tls_name.as_deref())?;
        link.is_sips = spec.request_uri.scheme == Scheme::Sips;
        link.large_over_tcp = spec.large_over_tcp;
        let mut request = self.invite_request(&spec, &link)?;
        self.authorize(spec.credentials.as_ref(), spec.remote.ip(), &mut request);
        self.make_leg(now, |cx| Some(Leg::call(cx, &spec, link, request))).ok_or(InviteError::Full)
    }

    /// Asks whether somebody is there (RFC 3261 §11); the answer is an
    /// [`Event::Options`](super::Event::Options).
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn options(&mut self, now: Instant, spec: OptionsSpec) -> Result<OptionsId, InviteError> {
        let mut link = self.link(spec.transport, spec.remote, spec.tls_name.as_deref())?;
        link.is_sips = spec.uri.scheme == Scheme::Sips;
        let identity = Identity::generate(&mut self.rng);
        let to = NameAddr::from(spec.uri.clone());
        let mut request = request(&identity, Method::Options, &spec.uri, spec.from, to, &link)?;
        accept_types(&mut request.headers);
        self.introduce(&mut request);
        let id = OptionsId(self.next_id);
        self.next_id += 1;
        let path = Path::of_link(&link);
        self.authorize(spec.credentials.as_ref(), spec.remote.ip(), &mut request);
        // Before it is sent: it may fail at once.
        self.options.insert(id, Asked { client: None, credentials: spec.credentials });
        self.schedule.set(Owner::Options(id), Some(now + spec.timeout));
        let client = self.start_request(now, ClientUser::Options(id), path, request, false);
        if let Some(asked) = self.options.get_mut(&id) {
            asked.client = client;
        }
        Ok(id)
    }

    pub(super) fn options_timeout(&mut self, id: OptionsId) {
        if let Some(client) = self.options.get(&id).and_then(|asked| asked.client) {
            self.drop_client(client);
        }
        self.options_result(id, Err(Failure::Timeout));
    }

    /// Ends a leg that an earlier process left: CANCEL, or BYE with a margin on its CSeq. What
    /// the far end still sends of it is answered for 64 × T1. `credentials`: of the trunk that it
    /// went to, should that ask.
    ///
    /// # Errors
    /// If nothing can be sent there.
    pub fn end_orphan(
        &mut self,
        now: Instant,
        orphan: Orphan,
        credentials: Option<Arc<Credentials>>,
    ) -> Result<LegId, InviteError> {
        let leg = match orphan {
            Orphan::Early { identity, request_uri, from, to, remote, transport, tls_name } => {
                let link = self.link(transport, remote, tls_name.as_deref())?;
                let invite = request(&identity, Method::Invite, &request_uri, from, to, &link)?;
                self.make_leg(now, |cx| {
                    let mut leg = Leg::orphan_early(cx, link, invite);
                    leg.common.credentials = credentials;
                    Some(leg)
                })
            }
            Orphan::Confirmed { dialog: state } => {
                let link = self.link(state.transport, state.remote, state.tls_name.as_deref())?;
                let dialog = state.dialog.after_restart(ORPHAN_CSEQ_MARGIN);
                self.make_leg(now, |cx| {
                    let mut leg = Leg::orphan_confirmed(cx, link, dialog);
                    leg.common.credentials = credentials;
                    Some(leg)
                })
            }
        };
        leg.ok_or(InviteError::Full)
    }

    fn invite_request(&mut self, spec: &InviteSpec, link: &Link) -> Result<Request, InviteError> {
        let (from, to) = (spec.from.clone(), spec.to.clone());
        let uri = &spec.request_uri;
        let mut request = request(&spec.identity, Method::Invite, uri, from, to, link)?;
        allow(&mut request.headers);
        let interval = self.config.session_interval;
        ask_for_extensions(&mut request.headers, spec.body.is_some(), interval);
        self.introduce(&mut request);
        for (name, value) in &spec.headers {
            request.headers.push(name.clone(), value.clone());
        }
        if let Some(body) = &spec.body {
            let content_type = HeaderValue::try_from(body.content_type.as_str())
                .map_err(|_| unusable("content type"))?;
            request.headers.push(HeaderName::CONTENT_TYPE, content_type);
            request.body = body.bytes.clone();
        }
        Ok(request)
    }

    pub(super) fn introduce(&self, request: &mut Request) {
        if let Ok(user_agent) = HeaderValue::try_from(self.config.user_agent.as_str()) {
            request.headers.push(HeaderName::USER_AGENT, user_agent);
        }
    }

    /// A random tag.
    pub(super) fn tag(&mut self) -> String {
        token(&mut self.rng, 16)
    }
}

/// A request that makes a dialog or stands alone (RFC 3261 §8.1.1), with Via and Contact.
pub(super) fn request(
    identity: &Identity,
    method: Method,
    uri: &Uri,
    from: NameAddr,
    to: NameAddr,
    link: &Link,
) -> Result<Request, InviteError> {
    let call_id =
        HeaderValue::try_from(identity.call_id.as_str()).map_err(|_| unusable("Call-ID"))?;
    let mut request = Request::new(method.clone(), uri.clone());
    request.headers.push(HeaderName::FROM, from.with_tag(&identity.from_tag));
    request.headers.push(HeaderName::TO, to);
    request.headers.push(HeaderName::CALL_ID, call_id);
    request.headers.push(HeaderName::CSEQ, CSeq { seq: identity.cseq, method });
    link.contact(&mut request.headers);
    link.stamp(&mut request, &identity.branch);
    Ok(request)
}

pub(super) fn unusable(what: &str) -> InviteError {
    InviteError::Unusable(what.to_owned())
}
