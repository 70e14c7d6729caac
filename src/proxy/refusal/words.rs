//! What a refusal says: what happened, and what the caller should do.

use super::{Forbidden, Place, Refusal};
use crate::admission::Crowded;
use crate::callers::policy::Excess;
use crate::net::http1::Fault;
use crate::net::paced::BrokenOff;

impl Refusal {
    /// What happened.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Ambiguous(what) => format!("The request is ambiguous: {what}"),
            Self::Malformed(fault) => format!("The request is malformed: {fault}"),
            Self::UriTooLong(limit) => format!("The path with its query is longer than {limit} bytes"),
            Self::HeaderTooLong(what) => format!(
                "The header {} has more than {} bytes, and answers to this path are stored by its value",
                what.name, what.limit
            ),
            Self::Method => "This method is not passed on to Zoho".to_owned(),
            Self::Expectation => "The request expects something that nobody here can promise".to_owned(),
            Self::Browser => "Browsers may not use the sidecar's credentials".to_owned(),
            Self::ForeignHost => "The host of the request is none by which the sidecar is known".to_owned(),
            Self::CallerUnknown => "The sidecar serves known callers only, and this is none of them".to_owned(),
            Self::CallerForbidden(why) => why.message(),
            Self::TenantMissing(why) | Self::TenantUnknown(why) => sentence(&why.to_string()),
            Self::OfAccounts => "The sidecar does not answer this in the place of Zoho's accounts server, and passes nothing on to it".to_owned(),
            Self::FormTooLong(limit) => format!("The form in the body is longer than {limit} bytes"),
            Self::RequestBroken => "The body of the request broke off".to_owned(),
            Self::RequestStalled(BrokenOff::Idle(limit)) => {
                format!("Nothing more of the request's body came for {limit:?}")
            }
            Self::RequestStalled(BrokenOff::Slow(rate)) => {
                format!("The request's body came more slowly than {rate} bytes a second")
            }
            Self::RequestStalled(BrokenOff::Total(limit)) => {
                format!("The request's body took longer than {limit:?}")
            }
            Self::TokenUnavailable(why) => sentence(&why.to_string()),
            Self::TokenRejected(_) => "Zoho refuses an access token that was just minted".to_owned(),
            Self::TokenRejectedHere(_) => {
                "Zoho refuses the sidecar's access token for this request, and accepts it for others".to_owned()
            }
            Self::SendAgain => {
                "The access token was withdrawn, and the request's body is too long to be kept and sent again; Zoho has not executed it".to_owned()
            }
            Self::Crowded(why @ (Crowded::Full | Crowded::Unidentified | Crowded::TooSlow(_))) => sentence(&why.to_string()),
            Self::Crowded(why) => format!("The organisation's limit of concurrent calls is reached: {why}"),
            Self::Unreachable => "Zoho cannot be reached; the request was not sent".to_owned(),
            Self::ConnectTimeout => "Connecting to Zoho took too long; the request was not sent".to_owned(),
            Self::TooManyConnections => {
                "There are as many connections to Zoho as the sidecar may have; the request was not sent".to_owned()
            }
            Self::UpstreamBroken => "The connection to Zoho broke before an answer came".to_owned(),
            Self::NotProcessed => {
                "Zoho's servers turned the request away without processing it: it was not executed".to_owned()
            }
            Self::ResponseHeadTooLarge => {
                "The head of Zoho's answer goes beyond upstream.max_response_headers or upstream.max_response_header_bytes".to_owned()
            }
            Self::FirstByteTimeout(limit) => format!("Zoho did not begin to answer within {limit:?}"),
            Self::UploadTimeout(limit) => {
                format!("Zoho read nothing more of the request's body for {limit:?}")
            }
            Self::IdleTimeout(limit) => format!("Zoho's answer stopped coming for {limit:?}"),
            Self::TotalTimeout(limit) => format!("The call took longer than {limit:?}"),
            Self::NotCached => "Nothing is kept that would do, and the request says only-if-cached".to_owned(),
            Self::Internal => "The sidecar met a defect of its own".to_owned(),
        }
    }

    /// What the caller, or the people behind it, should do.
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Ambiguous(_) => "send the request in its plain form".to_owned(),
            Self::Malformed(Fault::HeadTooLong(_) | Fault::TooManyHeaders(_)) => {
                "send less, or raise server.max_header_bytes or server.max_headers".to_owned()
            }
            Self::Malformed(Fault::MethodTooLong(_)) => {
                "use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS".to_owned()
            }
            Self::Malformed(Fault::TargetTooLong(_)) => "send a shorter query".to_owned(),
            Self::Malformed(Fault::Target) => "percent-encode it (RFC 3986 section 2.1)".to_owned(),
            Self::Malformed(_) => "send HTTP/1.1 as RFC 9112 has it".to_owned(),
            Self::UriTooLong(_) => "send a shorter query, or raise server.max_uri_bytes".to_owned(),
            Self::HeaderTooLong(_) => "send a shorter value, or raise cache.max_key_header_bytes".to_owned(),
            Self::Method => "use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, in capitals".to_owned(),
            Self::Expectation => "expect nothing but 100-continue".to_owned(),
            Self::Browser => {
                "ask from a service, whose requests have no Origin, no Sec-Fetch-Site and no User-Agent of a browser; where those are passed on from one, or a monitor or an old Windows component sends them, show a credential, send another User-Agent, or set server.allow_browsers = true".to_owned()
            },
            Self::ForeignHost => {
                "call it by address, as localhost or by a name without a dot, name the host in server.hosts, or show a credential".to_owned()
            }
            Self::CallerUnknown => {
                "show what the sidecar knows the caller by: Authorization: Bearer TOKEN, a certificate, or the user of its process on a unix socket".to_owned()
            }
            Self::CallerForbidden(why) => {
                format!("ask for less, or have [callers.{}] of the sidecar's configuration allow it", why.caller)
            }
            Self::TenantMissing(_) => {
                "name one tenant: by the header X-Zoho-Tenant, or by a base URL that ends in /tenants/NAME".to_owned()
            }
            Self::TenantUnknown(_) => "check the tenant's name against the sidecar's configuration".to_owned(),
            Self::OfAccounts => {
                "only POST /oauth/v2/token and POST /oauth/v2/token/revoke are answered here; a new refresh token comes from Zoho itself".to_owned()
            }
            Self::FormTooLong(_) => "send grant_type and what belongs to it, and nothing else".to_owned(),
            Self::RequestBroken | Self::RequestStalled(_) => "send the whole body, without long pauses".to_owned(),
            Self::TokenUnavailable(why) => why.health.remedy(),
            Self::TokenRejected(_) => crate::oauth::Health::TokenRejected.remedy(),
            Self::TokenRejectedHere(_) => {
                "check path and method, and whether the user and the scopes behind the refresh token may do this; a new token is tried as Retry-After says".to_owned()
            }
            Self::SendAgain => "send the request again; a new access token is there".to_owned(),
            Self::Crowded(Crowded::Unidentified | Crowded::TooSlow(_)) => {
                "send the whole body at once, or show in the head of the request who calls".to_owned()
            }
            Self::Crowded(_) => "wait as Retry-After says, or spread calls over time".to_owned(),
            Self::Unreachable | Self::ConnectTimeout => {
                "try again later; if it lasts, check name resolution, firewall and egress proxy of the sidecar".to_owned()
            }
            Self::TooManyConnections => {
                "wait as Retry-After says; if it lasts, raise upstream.max_connections".to_owned()
            }
            Self::NotProcessed => "send the request again: it was not executed".to_owned(),
            Self::ResponseHeadTooLarge => {
                "raise the limit in the sidecar's configuration; Zoho may have executed the request".to_owned()
            }
            Self::UpstreamBroken
            | Self::FirstByteTimeout(_)
            | Self::UploadTimeout(_)
            | Self::IdleTimeout(_)
            | Self::TotalTimeout(_) => {
                "Zoho may have executed the request: repeat it only if that does no harm".to_owned()
            }
            Self::NotCached => "leave out only-if-cached, so that Zoho is asked".to_owned(),
            Self::Internal => "report it with the request id; the log has the details".to_owned(),
        }
    }
}

impl Forbidden {
    fn message(&self) -> String {
        let what = match self.excess {
            Excess::Tenant => "use this tenant",
            Excess::Method => "use this method",
            Excess::Path => "ask for this path",
            Excess::ReadOnly => "change anything: it is read-only",
            Excess::Composite => "make a composite request that cannot be looked into",
        };
        let place = match self.place {
            Place::Request => "",
            Place::Composite => ", as a call in the composite request does",
        };
        format!("The caller \"{}\" may not {what}{place}", self.caller)
    }
}

/// An error's message, which begins in lower case, as a sentence of its own.
fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
