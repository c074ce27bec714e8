//! Logins of users whose mail is elsewhere (RFC 2221).

use mailwright_line_proto::AuthRefusal;

use super::Server;
use crate::{
    Referral,
    refusal::Refusal,
    response::{ResponseCode, Status},
};

impl Server {
    /// Says where the mail of the user is who logs in, before the login is answered; `None` if it is here. The client is told with the
    /// answer: with a success, that there is mail here too, with [`AuthRefusal::NotAuthorized`] that there is none. It is not told with
    /// other refusals, since whoever has not shown who they are must not learn it (RFC 2221 §6); nor if
    /// [`Config::login_referrals`](super::Config::login_referrals) is off.
    pub fn refer(&mut self, referral: Option<Referral>) {
        // A bracket, as in addresses of IPv6, would end the code.
        let fits = |referral: &Referral| !referral.host.contains(']');
        self.referral = referral.filter(fits).filter(|_| self.config.login_referrals);
    }

    pub(super) fn logged_in_status(&mut self) -> Status {
        let capabilities = self.capabilities();
        let code = match self.referral.take() {
            // There is room for one code: what can be done now is told before it.
            Some(referral) => {
                capabilities.encode(self.out());
                ResponseCode::Referral(vec![referral])
            }
            None => ResponseCode::Capability(capabilities),
        };
        Status::ok("logged in").with(code)
    }

    pub(super) fn refused_login(&mut self, refusal: AuthRefusal) -> Status {
        match (self.referral.take(), refusal) {
            (Some(referral), AuthRefusal::NotAuthorized) => {
                let code = ResponseCode::Referral(vec![referral]);
                Status::no("the mail of this user is on another server").with(code)
            }
            _ => Refusal::from(refusal).into(),
        }
    }
}
